"""Reductions and normalizations over those elements for which a mask is true.

Where the mask is false, an element is replaced by one that changes nothing: 0 in a sum, 1 in a product,
-infinity in a maximum. Every function takes ``mask=``, a boolean tensor that broadcasts to the input, or
None for all elements. The names and signatures are those of `torch.masked`, which keeps the type of the
input (or `dtype`) for its results, also for indices.

>>> import lampion
>>> lampion.masked.sum(lampion.tensor([1.0, 2.0, 4.0]), mask=lampion.tensor([True, False, True]))
tensor(5.)
"""

from __future__ import annotations

import math
from typing import Any

from lampion import dtype as dtypes
from lampion import linalg, ops
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.ops.shapes import normalize_dims
from lampion.tensor import Tensor, as_tensor

__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean",
    "median", "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var",
]  # fmt: skip

_Dim = int | tuple[int, ...] | list[int] | None


def _filled(name: str, x: Tensor, mask: Tensor | None, value: float) -> Tensor:
    """`x` with `value` where the mask is false."""
    x = as_tensor(x)
    if mask is None:
        return x
    mask = mask if mask.dtype is dtypes.bool_ else ops.ne(mask, 0)
    if mask.ndim > x.ndim:
        raise ShapeError(f"masked.{name}", "the mask has more dimensions than the input",
                         got=f"{tuple(mask.shape)} and {tuple(x.shape)}")  # fmt: skip
    if isinstance(value, float) and not x.dtype.is_inexact:
        value = int(value)
    return ops.where(ops.broadcast_to(mask, x.shape), x, value)


def _least(x: Tensor) -> float:
    return -math.inf if x.dtype.is_inexact else int(dtypes.iinfo(x.dtype).min)


def _converted(x: Tensor, dtype: Any, source: Tensor) -> Tensor:
    return x.to(dtypes.of(source.dtype if dtype is None else dtype))


# -- reductions --------------------------------------------------------------------------------------


def sum(
    input: Tensor, dim: _Dim = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The sum of the elements that the mask leaves; 0 where it leaves none."""
    return ops.sum(_filled("sum", input, mask, 0), dim, keepdim, dtype=dtype)


def prod(
    input: Tensor, dim: _Dim = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The product of the elements that the mask leaves; 1 where it leaves none."""
    x = _filled("prod", input, mask, 1)
    for axis in reversed(normalize_dims("masked.prod", dim, x.ndim)):
        x = ops.prod(x, axis, keepdim, dtype=dtype)
    if dtype is None:
        dtype = x.dtype if x.dtype.is_inexact else dtypes.int64
    return x.to(dtypes.of(dtype))


def amax(
    input: Tensor, dim: _Dim = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The largest element that the mask leaves; the least number of the type where it leaves none."""
    return _converted(ops.amax(_filled("amax", input, mask, _least(input)), dim, keepdim), dtype, input)


def amin(
    input: Tensor, dim: _Dim = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The smallest element that the mask leaves; the greatest number of the type where it leaves none."""
    return _converted(ops.amin(_filled("amin", input, mask, _greatest(input)), dim, keepdim), dtype, input)


def _greatest(x: Tensor) -> float:
    return math.inf if x.dtype.is_inexact else int(dtypes.iinfo(x.dtype).max)


def argmax(
    input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The index of the largest element that the mask leaves."""
    found = ops.argmax(_filled("argmax", input, mask, _least(input)), dim, keepdim)
    return _converted(found, dtype, input)


def argmin(
    input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The index of the smallest element that the mask leaves."""
    found = ops.argmin(_filled("argmin", input, mask, _greatest(input)), dim, keepdim)
    return _converted(found, dtype, input)


def _count(input: Tensor, dim: _Dim, keepdim: bool, mask: Tensor | None) -> Tensor:
    return sum(ops.ones_like(input, dtype=dtypes.int64), dim, keepdim=keepdim, mask=mask)


def mean(
    input: Tensor, dim: _Dim = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The average of the elements that the mask leaves; NaN where it leaves none."""
    if not dtypes.of(input.dtype if dtype is None else dtype).is_inexact:
        raise DTypeError("masked.mean", "expected floats", got=str(input.dtype), fix="name a dtype")
    total = sum(input, dim, keepdim=keepdim, dtype=dtype, mask=mask)
    return total / _count(input, dim, keepdim, mask)


def median(
    input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The middle one of the elements that the mask leaves; NaN where it leaves none."""
    whole = not input.dtype.is_floating_point
    x = _filled("median", input.to(dtypes.float32) if whole else input, mask, math.nan)
    found: Tensor = ops.nanmedian(x, dim, keepdim).values
    if not whole:
        return found
    if bool(ops.isnan(found).any()):
        raise LampionError("masked.median", "the mask leaves nothing of a row, and integers have no NaN",
                           fix="convert it: x.float()")  # fmt: skip
    return _converted(found, dtype, input)


def norm(
    input: Tensor, ord: float = 2.0, dim: _Dim = None, *, keepdim: bool = False, dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The norm of the vector of those elements that the mask leaves: see `lampion.linalg.vector_norm`."""
    x = _filled("norm", input, mask, math.inf if ord == -math.inf else 0)
    return linalg.vector_norm(x, ord, dim, keepdim, dtype=dtype)


def var(
    input: Tensor, dim: _Dim = None, unbiased: bool | None = None, *, correction: float | None = None,
    keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The variance of the elements that the mask leaves: see `lampion.var`."""
    if unbiased is not None and correction is not None:
        raise LampionError("masked.var", "unbiased and correction exclude each other", expected="one of them")
    if correction is None:
        correction = 0.0 if unbiased is False else 1.0
    kind = dtypes.of(input.dtype if dtype is None else dtype)
    if dtype is None and not kind.is_inexact:
        kind = dtypes.float32
    wide = kind if kind.is_inexact else dtypes.float32
    middle = sum(input, dim, keepdim=True, dtype=kind, mask=mask) / _count(input, dim, True, mask)
    apart = input - middle
    total = sum(apart * apart.conj(), dim, keepdim=keepdim, dtype=wide, mask=mask)
    count = ops.sub(_count(input, dim, keepdim, mask).to(wide.to_real()), correction)
    return (total / ops.clamp_min(count, 0)).to(kind)


def std(
    input: Tensor, dim: _Dim = None, unbiased: bool | None = None, *, correction: float | None = None,
    keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The standard deviation of the elements that the mask leaves: see `lampion.std`."""
    spread = var(input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask)
    return ops.sqrt(spread)


def logsumexp(
    input: Tensor, dim: _Dim = None, *, keepdim: bool = False, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """The logarithm of the sum of e**x over the elements that the mask leaves."""
    dims = tuple(normalize_dims("masked.logsumexp", dim, input.ndim))
    found = ops.logsumexp(_filled("logsumexp", input, mask, _least(input)), dims, keepdim)
    return _converted(found, dtype, input)


# -- the same shape ----------------------------------------------------------------------------------


def logaddexp(
    input: Tensor, other: Tensor, *, dtype: Any = None, input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """log(e**x + e**y), in which a masked element counts as -infinity."""
    x = _filled("logaddexp", input, input_mask, -math.inf)
    return _converted(ops.logaddexp(x, _filled("logaddexp", other, other_mask, -math.inf)), dtype, input)


def cumsum(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The running sum of the elements that the mask leaves."""
    return ops.cumsum(_filled("cumsum", input, mask, 0), dim, dtype=input.dtype if dtype is None else dtype)


def cumprod(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The running product of the elements that the mask leaves."""
    return ops.cumprod(_filled("cumprod", input, mask, 1), dim, dtype=input.dtype if dtype is None else dtype)


def softmax(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The softmax of the elements that the mask leaves, 0 for the others."""
    return ops.softmax(_filled("softmax", input, mask, _least(input)), dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The logarithm of `softmax`, -infinity for masked elements."""
    return ops.log_softmax(_filled("log_softmax", input, mask, _least(input)), dim, dtype=dtype)


def softmin(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """The softmax of -x over the elements that the mask leaves, 0 for the others."""
    return ops.softmax(-_filled("softmin", input, mask, _greatest(input)), dim, dtype=dtype)


def normalize(
    input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """x divided by its norm along `dim` (at least `eps`); masked elements are 0."""
    length = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    least = ops.full((), eps, length.dtype)
    return _filled("normalize", input, mask, 0) / ops.maximum(length, least)
