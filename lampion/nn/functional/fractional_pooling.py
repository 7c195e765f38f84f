"""Fractional max pooling: windows at random distances, so that an image shrinks by any factor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from lampion import dtype as dtypes
from lampion import ops
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn.functional.checks import check_tensors
from lampion.nn.functional.convolution import Sizes, sizes_of
from lampion.tensor import Tensor

Ratios = float | Sequence[float]


def fractional_max_pool2d(
    input: Tensor, kernel_size: Sizes, output_size: Sizes | None = None, output_ratio: Ratios | None = None,
    return_indices: bool = False, _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """The largest number of each window of an image, where the windows start at random distances.

    Along each dimension, with n places, n' windows of k places, alpha = (n - k) / (n' - 1) and one u, drawn
    between 0 and 1 for each channel of each sample: window i starts at floor((i + u) * alpha) -
    floor(u * alpha), and the last one at n - k.

    Args:
        kernel_size: of a window.
        output_size: H' and W', or one number for both.
        output_ratio: H' and W' as parts of H and W, instead.
        return_indices: whether the places of the maxima are returned as well, counted in the whole image.
        _random_samples: (N, C, 2), the numbers u of the width and of the height, to have them anew.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C, H', W') or (C, H', W').

    Raises:
        OptionError: neither or both of size and ratio.
        ShapeError: windows that do not fit: kernel_size + output_size - 1 must not exceed the input's size.

    Source: B. Graham: "Fractional max-pooling" (2014).

    >>> import lampion
    >>> lampion.nn.functional.fractional_max_pool2d(lampion.ones(1, 5, 9), 2, output_size=(3, 4)).shape
    (1, 3, 4)
    """
    return _pooled(
        "fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, return_indices,
        _random_samples,
    )  # fmt: skip


def fractional_max_pool3d(
    input: Tensor, kernel_size: Sizes, output_size: Sizes | None = None, output_ratio: Ratios | None = None,
    return_indices: bool = False, _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """The largest number of each window of a volume; see `fractional_max_pool2d`.

    Here the numbers u, (N, C, 3), are those of depth, height and width, in that order.
    """
    return _pooled(
        "fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, return_indices,
        _random_samples,
    )  # fmt: skip


def _pooled(
    name: str, count: int, input: Tensor, kernel_size: Sizes, output_size: Sizes | None,
    output_ratio: Ratios | None, return_indices: bool, samples: Tensor | None,
) -> Any:  # fmt: skip
    check_tensors(name, input, *([] if samples is None else [samples]))
    if input.ndim not in (count + 1, count + 2):
        raise ShapeError(name, "the input has another number of dimensions",
                         expected=f"{count + 1} or {count + 2}", got=str(tuple(input.shape)))  # fmt: skip
    if not input.dtype.is_floating_point:
        raise DTypeError(name, "expected floats", got=str(input.dtype), fix="convert it: x.float()")
    x = input if input.ndim == count + 2 else ops.unsqueeze(input, 0)
    places = tuple(x.shape[2:])
    taps = sizes_of(name, "kernel_size", kernel_size, count, 1)
    sizes = window_counts(name, places, output_size, output_ratio)
    least = tuple(k + windows - 1 for k, windows in zip(taps, sizes, strict=True))
    if any(have < n for have, n in zip(places, least, strict=True)):
        raise ShapeError(name, "the windows do not fit into the input", expected=f"at least {least}",
                         got=str(places), fix="smaller windows, or fewer")  # fmt: skip
    if samples is None:
        samples = ops.rand(*x.shape[:2], count, dtype=_wide(input))
    elif x is not input:
        samples = samples[:1]  # without a batch, PyTorch takes the first ones
    if tuple(samples.shape) != (*x.shape[:2], count):
        raise ShapeError(name, "_random_samples has a number for each dimension of each channel",
                         expected=str((*x.shape[:2], count)), got=str(tuple(samples.shape)))  # fmt: skip
    members = _members(places, taps, sizes, samples.to(_wide(input)), reverse=count == 2)
    flat = ops.reshape(x, (*x.shape[:2], math.prod(places)))
    seen = ops.gather(flat.detach(), -1, ops.reshape(members, (*x.shape[:2], -1 if x.numel() else 0)))
    found = ops.argmax(ops.reshape(seen, members.shape), -1).unsqueeze(-1) if x.numel() else members[..., :1]
    where = ops.gather(members, -1, found).squeeze(-1)  # (N, C, windows)
    out = ops.reshape(ops.gather(flat, -1, where), (*x.shape[:2], *sizes))
    where = ops.reshape(where, out.shape)
    if x is not input:
        out, where = ops.squeeze(out, 0), ops.squeeze(where, 0)
    return (out, where) if return_indices else out


def window_counts(
    name: str, places: Sequence[int], output_size: Sizes | None, output_ratio: Ratios | None
) -> tuple[int, ...]:
    """How many windows there are along each dimension."""
    if (output_size is None) is (output_ratio is None):
        raise OptionError(name, "the output is given by its size, or by a ratio", expected="one of the two",
                          got=f"output_size={output_size}, output_ratio={output_ratio}")  # fmt: skip
    if output_size is not None:
        return sizes_of(name, "output_size", output_size, len(places), 1)
    ratios = ratios_of(name, output_ratio, len(places))
    counts = tuple(int(n * ratio) for n, ratio in zip(places, ratios, strict=True))
    if not all(counts):
        raise ShapeError(name, "the ratio leaves no window", got=f"output_ratio={output_ratio}",
                         expected=f"output_ratio * {tuple(places)} from 1 on",
                         fix="output_size gives their number")  # fmt: skip
    return counts


def ratios_of(name: str, ratio: Any, count: int) -> tuple[float, ...]:
    """One number between 0 and 1 for each dimension."""
    one = isinstance(ratio, Real) or not hasattr(ratio, "__len__")  # NumPy's numbers are real ones, too
    ratios = (ratio,) * count if one else tuple(ratio)
    if len(ratios) != count or not all(isinstance(r, Real) and 0 < float(r) < 1 for r in ratios):
        raise OptionError(name, "output_ratio is not right",
                          expected=f"a number between 0 and 1, or {count} of them",
                          got=repr(ratio))  # fmt: skip
    return ratios


def _wide(x: Tensor) -> Any:
    """The type in which the places are computed: halves could not tell far places apart."""
    return dtypes.float32 if x.dtype.is_half else x.dtype


def _members(
    places: Sequence[int], taps: Sequence[int], sizes: Sequence[int], samples: Tensor, reverse: bool
) -> Tensor:
    """The numbers of the places of each window, (N, C, windows, places of a window)."""
    count = len(places)
    total: Any = 0
    for axis in range(count):
        u = samples[..., count - 1 - axis if reverse else axis]
        starts = _starts(places[axis], taps[axis], sizes[axis], u)  # (N, C, windows)
        along = starts.unsqueeze(-1) + ops.arange(taps[axis])  # (N, C, windows, taps)
        shape = [*samples.shape[:2], *(1,) * (2 * count)]
        shape[2 + axis], shape[2 + count + axis] = sizes[axis], taps[axis]
        total = total + ops.reshape(along, shape) * math.prod(places[axis + 1 :])
    members: Tensor = ops.reshape(total, (*samples.shape[:2], math.prod(sizes), math.prod(taps)))
    return members


def _starts(n: int, taps: int, windows: int, u: Tensor) -> Tensor:
    """Where the windows along one dimension start, (N, C, windows)."""
    last = ops.full((*u.shape, 1), n - taps, dtype="int64")
    if windows == 1:
        return last
    alpha = (n - taps) / (windows - 1)
    steps = (ops.arange(windows - 1).to(u.dtype) + u.unsqueeze(-1)) * alpha
    first = ops.trunc(u * alpha).unsqueeze(-1)
    return ops.cat([(ops.trunc(steps) - first).long(), last], -1)
