"""Pooling: a number for each window of an image, its largest or its mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lampion import ops
from lampion.amp.policy import by_policy
from lampion.construct import tensor
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn.functional.checks import check_tensors
from lampion.nn.functional.convolution import Sizes, sizes_of
from lampion.ops.convolution import convolution
from lampion.ops.define import refuse_bools, refuse_complex
from lampion.ops.pooling import pool_pick
from lampion.tensor import Tensor


def max_pool1d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest number of each window along the last dimension; see `max_pool2d`.

    >>> import lampion
    >>> lampion.nn.functional.max_pool1d(lampion.tensor([[3.0, 1.0, 2.0, 5.0]]), 2)
    tensor([[3., 5.]])
    """
    return _max("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest number of each window of an image.

    Where several are largest, the first one gets the gradient; a NaN counts as larger than numbers.

    Args:
        kernel_size: of a window.
        stride: from one window to the next; the size of a window, unless given.
        padding: how far windows reach beyond the edges: at most half of a window. What is there never counts.
        dilation: how far apart the places of a window are.
        ceil_mode: whether windows that end beyond the edge count too, if they start before it.
        return_indices: whether the places of the maxima are returned as well, counted in the whole image.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C, H', W') or (C, H', W'), where
        H' = (H + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1.

    Source: Deep Learning from Scratch 1, section 7.3.

    >>> import lampion
    >>> lampion.nn.functional.max_pool2d(lampion.arange(16.0).view(1, 4, 4), 2)
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """
    return _max("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@by_policy
def max_pool3d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest number of each window of a volume; see `max_pool2d`."""
    return _max("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    ceil_mode: bool = False, count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The mean of each window along the last dimension; see `avg_pool2d`."""
    return _mean("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window of an image.

    Args:
        kernel_size, stride, padding, ceil_mode: as in `max_pool2d`.
        count_include_pad: whether the zeros around the image count.
        divisor_override: what sums are divided by, instead of how many numbers there are.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C, H', W') or (C, H', W'); see `max_pool2d`.

    >>> import lampion
    >>> lampion.nn.functional.avg_pool2d(lampion.arange(16.0).view(1, 4, 4), 2)
    tensor([[[ 2.5000,  4.5000],
             [10.5000, 12.5000]]])
    """
    return _mean(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@by_policy
def avg_pool3d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window of a volume; see `avg_pool2d`."""
    return _mean(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


class _Windows:
    """The windows of a pooling: sizes, and how far they reach beyond the edges."""

    def __init__(
        self, name: str, count: int, input: Tensor, kernel_size: Sizes, stride: Sizes | None, padding: Sizes,
        dilation: Sizes, ceil_mode: bool,
    ) -> None:  # fmt: skip
        check_tensors(name, input)
        if input.ndim not in (count + 1, count + 2):
            raise ShapeError(name, "the input has another number of dimensions",
                             expected=f"{count + 1} or {count + 2}", got=str(tuple(input.shape)))  # fmt: skip
        refuse_bools(name, input)
        refuse_complex(name, input)
        self.taps = sizes_of(name, "kernel_size", kernel_size, count, 1)
        given = stride is not None and stride != ()
        self.stride = sizes_of(name, "stride", stride, count, 1) if given else self.taps
        self.dilation = sizes_of(name, "dilation", dilation, count, 1)
        self.around = sizes_of(name, "padding", padding, count, 0)
        if any(2 * p > n for p, n in zip(self.around, self.taps, strict=True)):
            raise OptionError(name, "padding is at most half of a window",
                              expected=f"up to {tuple(n // 2 for n in self.taps)}",
                              got=str(self.around))  # fmt: skip
        self.sizes: list[int] = []
        self.padding: list[tuple[int, int]] = []
        axes = zip(input.shape[-count:], self.taps, self.stride, self.around, self.dilation, strict=True)
        for n, taps, s, p, d in axes:
            reach = d * (taps - 1) + 1
            free = n + 2 * p - reach
            windows = (-(-free // s) if ceil_mode else free // s) + 1
            if ceil_mode and (windows - 1) * s >= n + p:
                windows -= 1  # it would start beyond the edge
            if windows < 1:
                raise ShapeError(name, "a window is larger than the padded input",
                                 expected=f"at least {reach} places", got=f"{n} and 2 * {p} of padding",
                                 fix="pad more, or use a smaller window")  # fmt: skip
            self.sizes.append(windows)
            # The last windows may end beyond the padding (ceil_mode), or before it.
            self.padding.append((p, max(0, (windows - 1) * s + reach - n - p)))


def _max(
    name: str, count: int, input: Tensor, kernel_size: Sizes, stride: Sizes | None, padding: Sizes,
    dilation: Sizes, ceil_mode: bool, return_indices: bool,
) -> Any:  # fmt: skip
    w = _Windows(name, count, input, kernel_size, stride, padding, dilation, ceil_mode)
    x = input if input.ndim == count + 2 else ops.unsqueeze(input, 0)
    geometry = (w.taps, w.stride, tuple(w.padding), w.dilation)
    out = pool_pick(x, x.detach(), *geometry)
    if not return_indices:
        return out if x is input else ops.squeeze(out, 0)
    numbers = ops.reshape(ops.arange(math.prod(x.shape[2:])), (1, 1, *x.shape[2:]))
    indices = pool_pick(ops.broadcast_to(numbers, x.shape), x.detach(), *geometry)
    return (out, indices) if x is input else (ops.squeeze(out, 0), ops.squeeze(indices, 0))


def _mean(
    name: str, count: int, input: Tensor, kernel_size: Sizes, stride: Sizes | None, padding: Sizes,
    ceil_mode: bool, count_include_pad: bool, divisor: int | None,
) -> Tensor:  # fmt: skip
    w = _Windows(name, count, input, kernel_size, stride, padding, 1, ceil_mode)
    if divisor is not None and divisor == 0:
        raise OptionError(name, "divisor_override is what sums are divided by", expected="not 0", got="0")
    if not input.dtype.is_floating_point and input.dtype.itemsize < 8:
        raise DTypeError(name, "expected floats", got=str(input.dtype), fix="convert it: x.float()")
    total = _sums(input, w, count)
    if divisor is not None:
        return _divided(total, divisor)
    counts = _counts(input, w, count, count_include_pad)
    return _divided(total, counts)


def _divided(total: Tensor, counts: Any) -> Tensor:
    """The quotient; of integers, rounded towards zero, as PyTorch does it."""
    rounding = None if total.dtype.is_floating_point else "trunc"
    return ops.div(total, counts, rounding_mode=rounding)


def _sums(input: Tensor, w: _Windows, count: int) -> Tensor:
    """The sum of each window."""
    places = tuple(input.shape[-count:])
    if w.stride == w.taps and not any(map(any, w.padding)) and all(
        n % taps == 0 for n, taps in zip(places, w.taps, strict=True)
    ):  # fmt: skip
        # Windows side by side: another view of the same numbers.
        split = [part for n, taps in zip(places, w.taps, strict=True) for part in (n // taps, taps)]
        view = ops.reshape(input, (*input.shape[:-count], *split))
        inner = tuple(range(view.ndim - 2 * count + 1, view.ndim, 2))
        return ops.sum(view, inner)
    front = tuple(input.shape[:-count])
    images = ops.reshape(input, (math.prod(front), 1, *places))
    filters = ops.ones(1, 1, *w.taps, dtype=input.dtype)
    inside = [slice(0, n) for n in w.sizes]
    total = convolution(images, filters, w.stride, tuple(w.padding), (1,) * count, 1)
    total = total[(slice(None), slice(None), *inside)]
    return ops.reshape(total, (*front, *w.sizes))


def _counts(input: Tensor, w: _Windows, count: int, include: bool) -> Any:
    """How many numbers each window has; one number, if all have as many."""
    sides = []
    for n, taps, s, p, windows in zip(input.shape[-count:], w.taps, w.stride, w.around, w.sizes, strict=True):
        low, high = (-p, n + p) if include else (0, n)
        sides.append([min(i * s - p + taps, high) - max(i * s - p, low) for i in range(windows)])
    if all(len(set(side)) == 1 for side in sides):
        return math.prod(side[0] for side in sides)
    total: Any = 1
    for axis, side in enumerate(sides):
        shape = [1] * count
        shape[axis] = len(side)
        total = total * ops.reshape(tensor(side, dtype=input.dtype), shape)
    return total


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The means of so many windows, however long the input is; see `adaptive_avg_pool2d`."""
    return _adaptive_mean("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of so many windows, however large the image is.

    Window i goes from floor(i * H / H') up to ceil((i + 1) * H / H'), and so in each dimension.

    Args:
        output_size: H' and W', or one number for both; None: as large as the input.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C, H', W') or (C, H', W').

    >>> import lampion
    >>> lampion.nn.functional.adaptive_avg_pool2d(lampion.arange(16.0).view(1, 4, 4), 1)
    tensor([[[7.5000]]])
    """
    return _adaptive_mean("adaptive_avg_pool2d", 2, input, output_size)


@by_policy
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The means of so many windows, however large the volume is; see `adaptive_avg_pool2d`."""
    return _adaptive_mean("adaptive_avg_pool3d", 3, input, output_size)


def _adaptive_mean(name: str, count: int, input: Tensor, output_size: Any) -> Tensor:
    check_tensors(name, input)
    if input.ndim not in (count + 1, count + 2):
        raise ShapeError(name, "the input has another number of dimensions",
                         expected=f"{count + 1} or {count + 2}", got=str(tuple(input.shape)))  # fmt: skip
    if not input.dtype.is_floating_point:
        raise DTypeError(name, "expected floats", got=str(input.dtype), fix="convert it: x.float()")
    places = tuple(input.shape[-count:])
    sizes = adaptive_sizes(name, output_size, places)
    if 0 in places:
        raise ShapeError(name, "there is nothing to take means of", expected="at least one place",
                         got=str(tuple(input.shape)))  # fmt: skip
    if all(n and place % n == 0 for n, place in zip(sizes, places, strict=True)):
        split = [part for n, place in zip(sizes, places, strict=True) for part in (n, place // n)]
        view = ops.reshape(input, (*input.shape[:-count], *split))
        inner = tuple(range(view.ndim - 2 * count + 1, view.ndim, 2))
        return ops.mean(view, inner)
    out = input
    for axis, (n, place) in enumerate(zip(sizes, places, strict=True), -count):
        out = _averaged(out, axis, n, place)
    return out


def _averaged(x: Tensor, axis: int, windows: int, places: int) -> Tensor:
    """The means of windows along one dimension: a product with a matrix of shares."""
    shares = [[0.0] * places for _ in range(windows)]
    for i, row in enumerate(shares):
        start, stop = i * places // windows, -(-(i + 1) * places // windows)
        row[start:stop] = [1 / (stop - start)] * (stop - start)
    matrix = ops.reshape(tensor(shares, dtype=x.dtype), (windows, places))
    return ops.transpose(ops.transpose(x, axis, -1) @ matrix.T, axis, -1)


def adaptive_sizes(name: str, output_size: Any, places: Sequence[int]) -> tuple[int, ...]:
    """The sizes that are asked for; None stands for the input's."""
    single = output_size is None or isinstance(output_size, int)
    wanted = (output_size,) * len(places) if single else output_size
    sizes = tuple(n if size is None else size for size, n in zip(wanted, places, strict=False))
    if len(tuple(wanted)) != len(places) or not all(isinstance(n, int) and n >= 0 for n in sizes):
        raise OptionError(name, "output_size is not right",
                          expected=f"an integer from 0 on, or {len(places)} of them",
                          got=repr(output_size))  # fmt: skip
    return sizes
