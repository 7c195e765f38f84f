"""Images of another size: nearest neighbours, straight lines, cubic curves, or means in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lampion import dtype as dtypes
from lampion import ops
from lampion.construct import tensor
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn.functional.checks import check_tensors
from lampion.nn.functional.convolution import sizes_of
from lampion.nn.functional.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from lampion.ops.define import refuse_bools, refuse_complex, widened
from lampion.tensor import Tensor

_AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}
#: The numbers of dimensions that a mode is for.
_MODES = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3),
    "linear": (1,), "bilinear": (2,), "trilinear": (3,), "bicubic": (2,),
}  # fmt: skip


def interpolate(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None, antialias: bool = False,
) -> Tensor:  # fmt: skip
    """The input at another size.

    A place i of the output lies at scale * (i + 1/2) - 1/2 of the input, where scale is the ratio of the
    sizes: both cover the same area. With `align_corners` it lies at i * (H - 1) / (H' - 1) instead: the
    first and last places are the same ones.

    Args:
        size: of the output: a number, or one for each dimension.
        scale_factor: instead of it, how many times as large the output is.
        mode: "nearest" (as PyTorch and older libraries count: at scale * i, rounded down), "nearest-exact"
            (the nearest one indeed), "linear", "bilinear", "trilinear", "bicubic", or "area" (the mean of
            what a place covers, `adaptive_avg_pool2d`).
        align_corners: see above; for the linear and cubic modes.
        recompute_scale_factor: whether scale is the ratio of the sizes, which are integers, instead of
            1 / scale_factor.
        antialias: whether an output that is smaller takes all the places into account that it covers, as
            Pillow does; for "bilinear" and "bicubic".

    Shape:
        (N, C, L), (N, C, H, W) or (N, C, D, H, W), with other sizes after. Floats; with nearest neighbours,
        bytes (uint8) too.

    Source: R. Keys: "Cubic convolution interpolation for digital image processing" (IEEE TASSP 1981), with
    a = -3/4, and -1/2 with `antialias`.

    >>> import lampion
    >>> x = lampion.tensor([[[0.0, 4.0]]])
    >>> lampion.nn.functional.interpolate(x, size=4, mode="linear")
    tensor([[[0., 1., 3., 4.]]])
    """
    check_tensors("interpolate", input)
    count = input.ndim - 2
    _check("interpolate", input, count, mode, align_corners, antialias)
    places = tuple(input.shape[2:])
    sizes, factors = _sizes("interpolate", places, size, scale_factor)
    if recompute_scale_factor:
        if factors is None:
            raise OptionError("interpolate", "recompute_scale_factor is for a scale_factor",
                              expected="scale_factor", got=f"size={size}")  # fmt: skip
        factors = None
    if mode == "area":
        return _AREA[count](input, sizes)
    ratios = [
        _ratio(n, m, bool(align_corners), None if factors is None else factors[axis])
        for axis, (n, m) in enumerate(zip(places, sizes, strict=True))
    ]
    if mode.startswith("nearest"):
        return _nearest(input, sizes, ratios, 0.5 if mode == "nearest-exact" else 0.0)
    x = widened(input)
    for axis, (n, m, ratio) in enumerate(zip(places, sizes, ratios, strict=True), 2):
        if antialias:
            x = _smoothed(x, axis, n, m, ratio, cubic=mode == "bicubic")
        elif mode == "bicubic":
            x = _cubic(x, axis, n, m, ratio, bool(align_corners))
        else:
            x = _linear(x, axis, n, m, ratio, bool(align_corners))
    out: Tensor = x.to(input.dtype)
    return out


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """`interpolate` under its old name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` by nearest neighbours, under its old name."""
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` by straight lines between corners that stay where they are, under its old name."""
    return interpolate(input, size, scale_factor, "bilinear", align_corners=True)


def _check(
    name: str, input: Tensor, count: int, mode: str, align_corners: bool | None, antialias: bool
) -> None:
    if mode not in _MODES:
        raise OptionError(name, "the mode is not known", expected=", ".join(map(repr, _MODES)),
                          got=repr(mode))  # fmt: skip
    if count not in _MODES[mode] or 0 in input.shape[1:]:
        raise ShapeError(name, f'mode="{mode}" is for other shapes',
                         expected=f"{' or '.join(str(n + 2) for n in _MODES[mode])} dimensions, not empty",
                         got=str(tuple(input.shape)))  # fmt: skip
    if align_corners is not None and (mode.startswith("nearest") or mode == "area"):
        raise OptionError(name, "align_corners is for the linear and cubic modes",
                          expected="None", got=repr(align_corners))  # fmt: skip
    if antialias and mode not in ("bilinear", "bicubic"):
        raise OptionError(name, "antialias is for two modes", expected='"bilinear" or "bicubic"',
                          got=repr(mode))  # fmt: skip
    refuse_bools(name, input)
    refuse_complex(name, input)
    if not input.dtype.is_floating_point and (input.dtype is not dtypes.uint8 or mode[:7] != "nearest"):
        raise DTypeError(name, "the type is not one that images have",
                         expected="floats; or bytes, whose nearest neighbours are taken",
                         got=f'{input.dtype}, mode="{mode}"',
                         fix="x.float() before, and x.round().byte() after")  # fmt: skip


def _sizes(
    name: str, places: Sequence[int], size: Any, scale_factor: Any
) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """The output's sizes; and the factors, if they are given."""
    if (size is None) == (scale_factor is None):
        raise OptionError(name, "one of size and scale_factor says how large the output is",
                          expected="one of them", got=f"{size} and {scale_factor}")  # fmt: skip
    given = scale_factor if size is None else size
    each = (given,) * len(places) if isinstance(given, int | float) else tuple(given)
    if len(each) != len(places):
        raise ShapeError(name, "there is one size for each dimension of the image",
                         expected=f"{len(places)} numbers", got=repr(given))  # fmt: skip
    factors = tuple(float(f) for f in each) if size is None else None
    if factors is None:
        sizes = sizes_of(name, "size", each, len(places), 0)
    else:
        sizes = tuple(math.floor(n * f) for n, f in zip(places, factors, strict=True))
    if min(sizes) < 1:
        raise ShapeError(name, "nothing is left of the image", expected="sizes from 1 on",
                         got=str(sizes))  # fmt: skip
    return sizes, factors


def _ratio(n: int, m: int, align_corners: bool, factor: float | None) -> float:
    """How far apart, in the input, neighbours of the output are."""
    if align_corners:
        return (n - 1) / (m - 1) if m > 1 else 0.0
    return 1 / factor if factor else n / m


def _nearest(x: Tensor, sizes: Sequence[int], ratios: Sequence[float], offset: float) -> Tensor:
    for axis, (m, ratio) in enumerate(zip(sizes, ratios, strict=True), 2):
        n = x.shape[axis]
        if m == n and ratio == 1:
            continue
        # In float32, like PyTorch: it decides which neighbour it is.
        where = ops.floor((ops.arange(m, dtype=dtypes.float32) + offset) * ratio)
        x = ops.index_select(x, axis, ops.clamp(where, max=n - 1).long())
    return x


def _sources(m: int, ratio: float, align_corners: bool) -> list[float]:
    return [i * ratio if align_corners else ratio * (i + 0.5) - 0.5 for i in range(m)]


def _linear(x: Tensor, axis: int, n: int, m: int, ratio: float, align_corners: bool) -> Tensor:
    where = [min(max(0.0, p), n - 1) for p in _sources(m, ratio, align_corners)]
    low = [int(p) for p in where]
    share = [p - i for p, i in zip(where, low, strict=True)]
    high = [min(i + 1, n - 1) for i in low]
    return _blend(x, axis, [(low, [1 - t for t in share]), (high, share)])


def _cubic(x: Tensor, axis: int, n: int, m: int, ratio: float, align_corners: bool) -> Tensor:
    where = _sources(m, ratio, align_corners)
    first = [math.floor(p) for p in where]
    taps = []
    for k in (-1, 0, 1, 2):
        places = [min(max(i + k, 0), n - 1) for i in first]
        taps.append((places, [keys(p - i - k, -0.75) for p, i in zip(where, first, strict=True)]))
    return _blend(x, axis, taps)


def _blend(x: Tensor, axis: int, taps: list[tuple[list[int], list[float]]]) -> Tensor:
    """The sum of neighbours along a dimension, each times its weights."""
    shape = [-1 if d == axis else 1 for d in range(x.ndim)]
    total: Any = None
    for places, weights in taps:
        part = ops.index_select(x, axis, tensor(places)) * ops.reshape(tensor(weights, dtype=x.dtype), shape)
        total = part if total is None else total + part
    out: Tensor = total
    return out


def _smoothed(x: Tensor, axis: int, n: int, m: int, ratio: float, *, cubic: bool) -> Tensor:
    """Each place as the weighted mean of all the places that it covers."""
    curve: Callable[[float], float] = (lambda t: keys(t, -0.5)) if cubic else (lambda t: max(0.0, 1 - abs(t)))
    wide = max(ratio, 1.0)
    reach = (2 if cubic else 1) * wide
    shares = []
    for i in range(m):
        centre = ratio * (i + 0.5)
        start, stop = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), n)
        weights = [curve((j - centre + 0.5) / wide) for j in range(start, stop)]
        total = sum(weights) or 1.0
        shares.append([0.0] * start + [weight / total for weight in weights] + [0.0] * (n - stop))
    matrix = tensor(shares, dtype=x.dtype)
    return ops.transpose(ops.transpose(x, axis, -1) @ matrix.T, axis, -1)


def keys(t: float, a: float) -> float:
    """The weight of a neighbour at a distance t, in cubic convolution."""
    t = abs(t)
    if t <= 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a if t < 2 else 0.0
