"""Sums, means, extremes."""

from __future__ import annotations

import math

from lampion import dtype as dtypes
from lampion.array_api._rules import DType, Tensor, axes_of, op

__all__ = ["cumulative_prod", "cumulative_sum", "max", "mean", "min", "prod", "std", "sum", "var"]

_Axis = int | tuple[int, ...] | None


def _adding_type(x: Tensor, dtype: DType | None) -> DType:
    """Integers add up in 64 bits, signed or not as they are; floats in their own type."""
    if dtype is not None:
        return dtypes.of(dtype)
    if x.dtype.kind == "u":
        return dtypes.uint64
    return x.dtype if x.dtype.is_inexact else dtypes.int64


def _reduced(name: str, x: Tensor, axis: _Axis, keepdims: bool) -> Tensor:
    axes = axes_of(name, axis, x.ndim)
    if x.ndim and not axes:
        return x.clone()  # no axis is combined: of an empty tuple, PyTorch makes all of them
    out: Tensor = op[name](x, axes, keepdims)
    return out


def sum(x: Tensor, /, *, axis: _Axis = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    """The sum along the axes (default: all)."""
    target = _adding_type(x, dtype)
    if target is dtypes.uint64:  # of which Lampion's sum makes int64; the bits are the same
        return _reduced("sum", x.long(), axis, keepdims).to(target)
    return _reduced("sum", x.to(target), axis, keepdims).to(target)


def prod(x: Tensor, /, *, axis: _Axis = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    """The product along the axes (default: all)."""
    target = _adding_type(x, dtype)
    out = x.long() if target is dtypes.uint64 else x.to(target)
    for a in sorted(axes_of("prod", axis, x.ndim), reverse=True):
        out = op["prod"](out, a, keepdims)
    return out.to(target)


def max(x: Tensor, /, *, axis: _Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element along the axes (default: all)."""
    return _reduced("amax", x, axis, keepdims)


def min(x: Tensor, /, *, axis: _Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest element along the axes (default: all)."""
    return _reduced("amin", x, axis, keepdims)


def mean(x: Tensor, /, *, axis: _Axis = None, keepdims: bool = False) -> Tensor:
    """The average along the axes (default: all)."""
    axes = axes_of("mean", axis, x.ndim)
    return sum(x, axis=axes, keepdims=keepdims) / float(math.prod(x.shape[a] for a in axes))


def var(x: Tensor, /, *, axis: _Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The average squared distance from the mean; `correction` is subtracted from the count."""
    axes = axes_of("var", axis, x.ndim)
    count = math.prod(x.shape[a] for a in axes) - correction
    distance = x - mean(x, axis=axes, keepdims=True)
    total = sum(distance * distance, axis=axes, keepdims=keepdims)
    return total / (float(count) if count > 0 else math.nan)


def std(x: Tensor, /, *, axis: _Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The square root of `var`."""
    return var(x, axis=axis, correction=correction, keepdims=keepdims).sqrt()


def _running(
    name: str, start: int, x: Tensor, axis: int | None, dtype: DType | None, include_initial: bool
) -> Tensor:
    target = _adding_type(x, dtype)
    if axis is None:
        if x.ndim > 1:
            raise ValueError(f"{name}: of an array of {x.ndim} dimensions, an axis must be named")
        axis = 0
    if not x.ndim:
        x = x.reshape(1)
    (axis,) = axes_of(name, axis, x.ndim)
    out: Tensor = op[name](x.long() if target is dtypes.uint64 else x.to(target), axis).to(target)
    if include_initial:
        shape = [1 if a == axis else n for a, n in enumerate(x.shape)]
        out = op["cat"]([op["full"](shape, start, target), out], axis)
    return out


def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Tensor:
    """The sums of the first elements along an axis; with `include_initial`, beginning with 0."""
    return _running("cumsum", 0, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Tensor:
    """The products of the first elements along an axis; with `include_initial`, beginning with 1."""
    return _running("cumprod", 1, x, axis, dtype, include_initial)
