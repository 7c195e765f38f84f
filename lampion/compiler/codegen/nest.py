"""Rewrites a loop nest to one that is equal and quicker: fewer axes, the innermost one along memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.prices import price
from lampion.compiler.kernel_ir import Compute, Load, Store, Value, Window
from lampion.dtype import DType

# What a point of the iteration space costs is counted in additions.
_DEAR = 16  # from here on an operation counts as more than one
_CHUNK = 8192  # a chunk is worth this many additions at least
_SMALL = 16384  # work that is not worth sharing
_MOST = 1024  # chunks

T = TypeVar("T")


class Axes:
    """A new sequence of axes, each a run of old ones that lie together in memory.

    `shape` is the new shape; `reduced[i]` says of which kind axis i is (kinds never run together).
    """

    def __init__(
        self,
        shape: Sequence[int],
        windows: Sequence[Window],
        key: Callable[[int], Any],
        reduced: Sequence[bool] | None = None,
    ) -> None:
        """Sort the axes by `key`, outermost first; then join neighbours where every window allows it."""
        kind = reduced or [False] * len(shape)
        order = sorted((axis for axis, n in enumerate(shape) if n != 1), key=key)
        self._runs: list[list[int]] = []
        for axis in order:
            last = self._runs[-1][-1] if self._runs else None
            if last is not None and kind[last] == kind[axis] and _joined(windows, last, axis, shape[axis]):
                self._runs[-1].append(axis)
            else:
                self._runs.append([axis])
        self.shape = tuple(math.prod(shape[axis] for axis in run) for run in self._runs)
        self.reduced = tuple(kind[run[0]] for run in self._runs)

    def window(self, window: Window) -> Window:
        """A window of the old loop nest as one of the new."""
        return replace(window, shape=self.shape, strides=tuple(window.strides[run[-1]] for run in self._runs))


def rewindow(things: Sequence[T], change: Callable[[Window], Window]) -> tuple[T, ...]:
    """Values or stores, with other windows."""
    return tuple(
        replace(thing, window=change(thing.window)) if isinstance(thing, Load | Store) else thing
        for thing in things
    )


def points(
    k: KernelBuilder,
    start: IRValue | int,
    stop: IRValue | int,
    length: int,
    lanes: int,
    once: bool,
    emit: Callable[[IRValue | int, int], None],
) -> None:
    """Emit points [start, stop) of a row of `length`: `emit(i, n)` is to do the `n` points from i on.

    `start` is a multiple of `lanes`, and so is `stop`, unless it is the end of the row. If the row is no
    whole number of vectors, its last one ends where the row does, and so does some points again; or, where
    each must be done `once` (an update in place), the rest is done one by one.
    """
    whole = length // lanes * lanes
    if whole == length or once:
        main = k.smaller(stop, whole)
        with k.loop(start, main, lanes) as loop:
            emit(loop.index, lanes)
        if whole < length:
            with k.loop(k.larger(start, main), stop) as loop:
                emit(loop.index, 1)
        return
    with k.loop(start, stop, lanes) as loop:
        emit(k.smaller(loop.index, length - lanes), lanes)


def windows_of(*parts: Sequence[Value | Store]) -> list[Window]:
    return [thing.window for part in parts for thing in part if isinstance(thing, Load | Store)]


def in_place(body: Sequence[Value], stores: Sequence[Store]) -> bool:
    """Whether a stored operand is also read, so that no point may be computed twice."""
    written = {store.window.operand for store in stores}
    return any(window.operand in written for window in windows_of(body))


def chunk_count(points: int, body: Sequence[Value], most: int) -> int:
    """How many chunks a loop nest is cut into: from its shape and body alone, at most `most`."""
    work = points * sum(_cost(value) for value in body)
    return 1 if work < _SMALL else max(1, min(work // _CHUNK, most, _MOST))


def vector_dtype(dtypes: Sequence[DType]) -> DType:
    """The type whose lanes fill a register: the smallest float, else the widest type."""
    floats = [dtype for dtype in dtypes if dtype.kind == "f"]
    return min(floats, key=_size) if floats else max(dtypes, key=_size)


def power_of_two(limit: int) -> int:
    """The largest power of two not above the limit (which is at least 1)."""
    return 1 << (limit.bit_length() - 1)


def _size(dtype: DType) -> int:
    return 4 if dtype.is_half else dtype.itemsize  # in registers


def dear(body: Sequence[Value]) -> bool:
    """Whether a body holds a function that takes many instructions."""
    return any(_cost(value) > 1 for value in body)


def _cost(value: Value) -> int:
    cost = price(value.primitive.name) if isinstance(value, Compute) else 1.0
    return round(cost) if cost >= _DEAR else 1


def _joined(windows: Sequence[Window], outer: int, inner: int, n: int) -> bool:
    return all(window.strides[outer] == n * window.strides[inner] for window in windows)
