"""Where elements lie in memory, without any memory: movements run on arrays that have no contents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lampion.primitive import Primitive


def contiguous_strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """The strides of an array whose elements lie in the order of their indices.

    In bytes; in elements with an `itemsize` of 1.
    """
    strides, step = [], itemsize
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def is_contiguous(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> bool:
    """Whether elements lie in index order; strides of dimensions of size 1 do not matter."""
    if 0 in shape:
        return True
    plain = contiguous_strides(shape, itemsize)
    return all(n == 1 or a == b for n, a, b in zip(shape, strides, plain, strict=True))


def overlap(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> bool:
    """Whether two elements may share a place: what decides whether eager's array is read-only."""
    from lampion.ops.movement import overlaps

    return bool(overlaps(shape, [stride // itemsize for stride in strides]))


_known_moves: dict[Any, tuple[tuple[int, ...], tuple[int, ...], int | None, Any]] = {}


def moved(
    primitive: Primitive, params: dict[str, Any], shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any
) -> tuple[tuple[int, ...], tuple[int, ...], int | None, Any]:
    """`move`, which is asked the same again and again: for each layer, and each pass."""
    key = (primitive, *params.items(), shape, strides, dtype)
    try:
        found = _known_moves.get(key)
    except TypeError:  # a slice or a list among the parameters
        return move(primitive, params, shape, strides, dtype)
    if found is None:
        if len(_known_moves) >= 4096:
            _known_moves.clear()
        found = _known_moves[key] = move(primitive, params, shape, strides, dtype)
    return found


def move(
    primitive: Primitive, params: dict[str, Any], shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any
) -> tuple[tuple[int, ...], tuple[int, ...], int | None, Any]:
    """Run a movement on a shadow: the shape and strides of its result, where it starts (in bytes), its dtype.

    The start is None where the movement has to copy (some reshapes). So `forward` alone says what a
    movement does, in every reading of it.
    """
    spans = [s * (n - 1) for n, s in zip(shape, strides, strict=True)] if 0 not in shape else []
    low, high = sum(min(0, s) for s in spans), sum(max(0, s) for s in spans)
    block = np.empty(high - low + dtype.itemsize, np.uint8)  # taken, but never touched
    shadow = np.ndarray(shape, dtype, block, -low, strides)
    if primitive.name == "reshape":  # the one movement that may copy: ask NumPy not to, since it would read
        try:
            out = np.reshape(shadow, params["shape"], copy=False)
        except ValueError:
            return params["shape"], contiguous_strides(params["shape"], dtype.itemsize), None, dtype
    else:
        out = primitive.forward(np, shadow, **params)
    if not out.size:
        return out.shape, out.strides, 0, out.dtype
    if not np.may_share_memory(out, block):
        return out.shape, out.strides, None, out.dtype
    start = out.__array_interface__["data"][0] - shadow.__array_interface__["data"][0]
    return out.shape, out.strides, int(start), out.dtype
