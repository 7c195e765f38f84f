"""Less common pooling: the maxima of so many windows, norms of windows, and maxima put back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from lampion import ops
from lampion.amp.policy import by_policy
from lampion.construct import tensor
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn.functional.convolution import Sizes, sizes_of
from lampion.nn.functional.pooling import (
    adaptive_sizes,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)  # fmt: skip
from lampion.ops.define import refuse_bools, refuse_complex
from lampion.tensor import Tensor

_MEANS = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}
_MAXIMA = {1: max_pool1d, 2: max_pool2d, 3: max_pool3d}


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of so many windows, however long the input is; see `adaptive_max_pool2d`."""
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of so many windows, however large the image is.

    Window i goes from floor(i * H / H') up to ceil((i + 1) * H / H'), and so in each dimension.

    Args:
        output_size: H' and W', or one number for both; None: as large as the input.
        return_indices: whether the places of the maxima are returned as well, counted in the whole image.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C, H', W') or (C, H', W').

    >>> import lampion
    >>> lampion.nn.functional.adaptive_max_pool2d(lampion.arange(15.0).view(1, 3, 5), (1, 2))
    tensor([[[12., 14.]]])
    """
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size, return_indices)


@by_policy
def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maxima of so many windows, however large the volume is; see `adaptive_max_pool2d`."""
    return _adaptive_max("adaptive_max_pool3d", 3, input, output_size, return_indices)


def _adaptive_max(name: str, count: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    _check_places(name, count, input)
    refuse_bools(name, input)
    refuse_complex(name, input)
    places = tuple(input.shape[-count:])
    sizes = adaptive_sizes(name, output_size, places)
    if 0 in places:
        raise ShapeError(name, "there is nothing to take maxima of", expected="at least one place",
                         got=str(tuple(input.shape)))  # fmt: skip
    if all(n and place % n == 0 for n, place in zip(sizes, places, strict=True)):
        taps = tuple(place // n for n, place in zip(sizes, places, strict=True))
        return _MAXIMA[count](input, taps, return_indices=return_indices)
    front = tuple(input.shape[:-count])
    windows = ops.reshape(tensor(_members(sizes, places)), (math.prod(sizes), -1 if all(sizes) else 1))
    flat = ops.reshape(input, (*front, math.prod(places)))
    seen = flat.detach()[..., windows]  # (..., windows, places of a window)
    found = ops.argmax(seen, -1).unsqueeze(-1)
    where = ops.gather(ops.broadcast_to(windows, seen.shape), -1, found).squeeze(-1)
    out = ops.reshape(ops.gather(flat, -1, where), (*front, *sizes))
    return (out, ops.reshape(where, (*front, *sizes))) if return_indices else out


def _members(sizes: Sequence[int], places: Sequence[int]) -> list[list[int]]:
    """The places of each window, in order; the last ones several times, where windows are not alike."""
    sides = []
    for n, place in zip(sizes, places, strict=True):
        bounds = [(i * place // n, -(-(i + 1) * place // n)) for i in range(n)]
        longest = max((stop - start for start, stop in bounds), default=1)
        sides.append([[min(start + j, stop - 1) for j in range(longest)] for start, stop in bounds])
    steps = [math.prod(places[axis + 1 :]) for axis in range(len(places))]
    return [
        [sum(i * step for i, step in zip(place, steps, strict=True)) for place in itertools.product(*window)]
        for window in itertools.product(*sides)
    ]


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window along the last dimension; see `lp_pool2d`."""
    return _norms("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window of an image: (sum of x**p) ** (1 / p).

    With p = 1 it is a window's sum; the larger p, the nearer its maximum. The powers are of the numbers as
    they are, so that an odd p lets signs cancel; a sum below zero stays below zero under the root.

    Args:
        norm_type: p.
        kernel_size, stride, ceil_mode: as in `max_pool2d`. Of a window that ends beyond the edge, the mean of
            what is there counts for each of its places.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C, H', W') or (C, H', W'); see `max_pool2d`.

    Source: P. Sermanet et al.: "Convolutional neural networks applied to house numbers digit
    classification" (ICPR 2012).

    >>> import lampion
    >>> lampion.nn.functional.lp_pool2d(lampion.tensor([[[3.0, 4.0]]]), 2, (1, 2))
    tensor([[[5.]]])
    """
    return _norms("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window of a volume; see `lp_pool2d`."""
    return _norms("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


def _norms(
    name: str, count: int, input: Tensor, p: float, kernel_size: Sizes, stride: Sizes | None, ceil_mode: bool
) -> Tensor:
    if not input.dtype.is_floating_point:
        raise DTypeError(name, "expected floats", got=str(input.dtype), fix="convert it: x.float()")
    if not p:
        raise OptionError(name, "norm_type is the power of the norm", expected="not 0", got=repr(p))
    _check_places(name, count, input)
    mean = _MEANS[count](ops.pow(input, p), kernel_size, stride, 0, ceil_mode)
    total = mean * math.prod(sizes_of(name, "kernel_size", kernel_size, count, 1))
    # The same number, but for a sum that is 0: there the root has an infinite slope, and this has none.
    kept = ops.sign(total) * ops.maximum(ops.abs(total), ops.zeros((), dtype=total.dtype))
    return ops.pow(kept, 1 / p)


@by_policy
def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Maxima put back where they come from; see `max_unpool2d`."""
    return _unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


@by_policy
def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Maxima put back where they come from, in an image that is zero elsewhere.

    Args:
        input, indices: what `max_pool2d(..., return_indices=True)` returns.
        kernel_size, stride, padding: what it was called with.
        output_size: how large the image was; by default, (H - 1) * stride - 2 * padding + kernel_size: of the
            sizes that `max_pool2d` would turn into the input's, the smallest.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C, H', W') or (C, H', W').

    Source: M. Zeiler, R. Fergus: "Visualizing and understanding convolutional networks" (ECCV 2014).

    >>> import lampion
    >>> F = lampion.nn.functional
    >>> largest, places = F.max_pool2d(lampion.tensor([[[1.0, 4.0, 3.0, 2.0]]]), (1, 2), return_indices=True)
    >>> F.max_unpool2d(largest, places, (1, 2))
    tensor([[[0., 4., 3., 0.]]])
    """
    return _unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


@by_policy
def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Maxima put back where they come from, in a volume; see `max_unpool2d`."""
    return _unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


def _unpool(
    name: str, count: int, input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None,
    padding: Sizes, output_size: Sequence[int] | None,
) -> Tensor:  # fmt: skip
    _check_places(name, count, input)
    if indices.shape != input.shape or indices.dtype.is_floating_point:
        raise ShapeError(name, "there is an index for each number", expected=f"integers {tuple(input.shape)}",
                         got=f"{indices.dtype} {tuple(indices.shape)}",
                         fix="give what max_pool returned with return_indices=True")  # fmt: skip
    taps = sizes_of(name, "kernel_size", kernel_size, count, 1)
    strides = taps if stride is None or stride == () else sizes_of(name, "stride", stride, count, 1)
    around = sizes_of(name, "padding", padding, count, 0)
    places = input.shape[-count:]
    least = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(places, strides, around, taps, strict=True)]
    sizes = least if output_size is None else [int(n) for n in output_size][-count:]
    fits = len(sizes) == count and all(
        output_size is None or abs(n - m) < s for n, m, s in zip(sizes, least, strides, strict=True)
    )
    if not fits:
        raise OptionError(name, "output_size is not a size that pooling turns into the input's",
                          expected=f"within less than {strides} of {tuple(least)}",
                          got=repr(output_size))  # fmt: skip
    front = tuple(input.shape[:-count])
    room = ops.zeros(*front, math.prod(sizes), dtype=input.dtype)
    flat = (*front, math.prod(places))
    out = ops.scatter(room, -1, ops.reshape(indices, flat), ops.reshape(input, flat))
    return ops.reshape(out, (*front, *sizes))


def _check_places(name: str, count: int, input: Tensor) -> None:
    if input.ndim not in (count + 1, count + 2):
        raise ShapeError(name, "the input has another number of dimensions",
                         expected=f"{count + 1} or {count + 2}", got=str(tuple(input.shape)))  # fmt: skip
