"""Operations that combine elements along dimensions."""

from __future__ import annotations

import math
from typing import overload

from lampion import dtype as dtypes
from lampion.errors import ShapeError
from lampion.mode import mode
from lampion.ops.creation import arange, full, zeros
from lampion.ops.define import (
    apply_wide,
    cast_to,
    kernel,
    operation,
    reduction,
    refuse_complex,
    to_float,
    widened,
)  # fmt: skip
from lampion.ops.elementwise import add, div, eq, exp, log, maximum, minimum, mul, ne, sub, where
from lampion.ops.logic import isfinite, logical_or
from lampion.ops.movement import reshape
from lampion.ops.results import Extremes, Found
from lampion.ops.shapes import normalize_dim, normalize_dims, reduced_shape
from lampion.tensor import Tensor, as_tensor

# -- sums and products -----------------------------------------------------------------------------------


def _with_dtype(plain):
    """The public form has a `dtype`, to which the elements are converted first."""

    def function(input, dim=None, keepdim=False, *, dtype=None):
        if dtype is None:
            return plain(input, dim, keepdim)
        dtype = dtypes.of(dtype)
        return cast_to(plain(cast_to(as_tensor(input), dtype), dim, keepdim), dtype)

    return function


def _widened_integers(x): return x if x.dtype.is_inexact else cast_to(x, dtypes.int64)


@reduction
class sum:
    """The sum over the given dimensions (default: all). Integers and booleans add up as int64.

    Args:
        dtype: the elements are converted to it first.
    """

    extend = _with_dtype
    prepare = _widened_integers
    def forward(xp, x, axis, keepdims): return xp.add.reduce(x, axis=axis, keepdims=keepdims)
    def combine(xp, a, b): return xp.add(a, b)
    def identity(dtype): return 0
    def vjp(g, axis): return g


@reduction(saves="inputs")
class prod:
    """The product over a dimension (default: all). Integers and booleans are multiplied as int64.

    The gradient of each element is the product of the others, computed without dividing: right where
    elements are 0 too.

    Args:
        dtype: the elements are converted to it first.
    """

    extend = _with_dtype
    prepare = _widened_integers
    def forward(xp, x, axis, keepdims): return xp.multiply.reduce(x, axis=axis, keepdims=keepdims)
    def combine(xp, a, b): return xp.multiply(a, b)
    def identity(dtype): return 1

    def vjp(g, x, axis):
        from lampion.ops.cumulative import product_of_others

        return mul(g, product_of_others(x, axis))


@operation
def mean(input, dim=None, keepdim=False, *, dtype=None):
    """The average over the given dimensions (default: all)."""
    x = to_float(as_tensor(input)) if dtype is None else cast_to(as_tensor(input), dtypes.of(dtype))
    if x.dtype.is_half:
        return cast_to(mean(widened(x), dim, keepdim), x.dtype)  # the sum may be larger than the type holds
    count = math.prod([x.shape[axis] for axis in normalize_dims("mean", dim, x.ndim)])
    return div(sum(x, dim, keepdim), float(count))


@operation
def nansum(input, dim=None, keepdim=False, *, dtype=None):
    """The sum over the given dimensions (default: all) of those elements that are not NaN."""
    x = as_tensor(input)
    return sum(where(eq(x, x), x, 0) if x.dtype.is_inexact else x, dim, keepdim, dtype=dtype)


@operation
def nanmean(input, dim=None, keepdim=False, *, dtype=None):
    """The average over the given dimensions (default: all) of those elements that are not NaN.

    >>> import lampion
    >>> lampion.nanmean(lampion.tensor([1.0, float("nan"), 3.0]))
    tensor(2.)
    """
    x = to_float(as_tensor(input))
    total = nansum(x, dim, keepdim, dtype=dtype)
    return div(total, cast_to(sum(eq(x, x), dim, keepdim), total.dtype))


@operation
def count_nonzero(input, dim=None):
    """How many elements along the given dimensions (default: all) are not 0."""
    return sum(ne(as_tensor(input), 0), dim)


@operation
def logsumexp(input, dim: int | tuple[int, ...] | None, keepdim=False):
    """log(sum(e**x)) over the given dimensions, without overflow.

    >>> import lampion
    >>> lampion.logsumexp(lampion.tensor([1000.0, 1000.0]), 0)
    tensor(1000.6932)
    """
    x = to_float(as_tensor(input))
    axis = normalize_dims("logsumexp", dim, x.ndim)
    if not x.numel():
        return log(sum(exp(x), axis or None, keepdim))
    largest = x.detach()
    if axis:
        largest = amax(largest.real, axis, True)
    # Infinities are left to exp and log: infinity - infinity is no number.
    largest = where(isfinite(largest), largest, 0.0)
    total = log(sum(exp(sub(x, largest)), axis, True)) if axis else sub(x, largest)
    total = add(total, largest)
    return total if keepdim or not axis else reshape(total, reduced_shape(x.shape, axis, False))


# -- whether -----------------------------------------------------------------------------------------------


def _truth(x): return x if x.dtype is dtypes.bool_ else ne(x, 0)


def _of_no_dims(plain):
    """Over no dimensions, which an empty tuple means here as in PyTorch, each element is for itself."""

    def function(input, dim=None, keepdim=False):
        if dim is None or isinstance(dim, int) or len(dim):
            return plain(input, dim, keepdim)
        return ne(as_tensor(input), 0)

    return function


@reduction
class any_:
    """Whether any element along the given dimensions (default: all) is true (non-zero)."""

    extend = _of_no_dims
    prepare = _truth
    def forward(xp, x, axis, keepdims): return xp.logical_or.reduce(x, axis=axis, keepdims=keepdims)
    def combine(xp, a, b): return xp.logical_or(a, b)
    def identity(dtype): return False


@reduction
class all_:
    """Whether all elements along the given dimensions (default: all) are true (non-zero)."""

    extend = _of_no_dims
    prepare = _truth
    def forward(xp, x, axis, keepdims): return xp.logical_and.reduce(x, axis=axis, keepdims=keepdims)
    def combine(xp, a, b): return xp.logical_and(a, b)
    def identity(dtype): return True


# -- extremes ------------------------------------------------------------------------------------------------


@reduction(saves="both", complexes=False)
class amax:
    """The largest element over the given dimensions. Equal ones share the gradient."""

    empty = False
    def forward(xp, x, axis, keepdims): return xp.maximum.reduce(x, axis=axis, keepdims=keepdims)
    def combine(xp, a, b): return xp.maximum(a, b)
    def identity(dtype): return dtype.min

    def vjp(g, x, y, axis): return g * share(x, y, axis)


@reduction(saves="both", complexes=False)
class amin:
    """The smallest element over the given dimensions. Equal ones share the gradient."""

    empty = False
    def forward(xp, x, axis, keepdims): return xp.minimum.reduce(x, axis=axis, keepdims=keepdims)
    def combine(xp, a, b): return xp.minimum(a, b)
    def identity(dtype): return dtype.max
    def vjp(g, x, y, axis): return g * share(x, y, axis)


def share(x, y, axis):
    """1 / n for each of the n elements of x that equal the extreme y, 0 for the others."""
    ties = cast_to(eq(x, y), x.dtype)
    return ties / sum(ties, axis, True)


@operation
def aminmax(input, *, dim: int | None = None, keepdim=False) -> Extremes:
    """The smallest and the largest element, of all or along `dim`: ``.min`` and ``.max``."""
    return Extremes(amin(input, dim, keepdim), amax(input, dim, keepdim))


@operation
def argmax(input, dim: int | None = None, keepdim=False):
    """The index of the largest element (the first of equals) over all elements, or along `dim`."""
    return _place("argmax", amax, input, dim, keepdim)


@operation
def argmin(input, dim: int | None = None, keepdim=False):
    """The index of the smallest element (the first of equals) over all elements, or along `dim`."""
    return _place("argmin", amin, input, dim, keepdim)


@kernel(public=False)
class extreme_place:
    """The index of the largest (or smallest) element along `axis`, the first of equals; NaN is it."""

    def infer(x, axis, keepdims, largest):
        return reduced_shape(x.shape, (axis,), keepdims), dtypes.int64.numpy

    def forward(xp, x, axis, keepdims, largest):
        return (xp.argmax if largest else xp.argmin)(x, axis=axis, keepdims=keepdims)

    def call(x, axis, keepdims, largest):
        return apply_wide(extreme_place.primitive, x, axis=axis, keepdims=keepdims, largest=largest)


def _place(name, extreme, x, dim, keepdim):
    x = as_tensor(x)
    refuse_complex(name, x)
    if dim is None:
        flat = _place(name, extreme, reshape(x, -1), 0, False)
        return reshape(flat, [1] * x.ndim) if keepdim else flat
    axis = normalize_dim(name, dim, x.ndim)
    if not x.ndim:
        return zeros(dtype=dtypes.int64)
    n = x.shape[axis]
    if not n:
        raise ShapeError(name, "an empty dimension has no result", got=f"shape {tuple(x.shape)}, dim {dim}",
                         expected="at least one element")  # fmt: skip
    if not x.numel():
        return full(reduced_shape(x.shape, (axis,), keepdim), 0, dtypes.int64)
    if mode.trace is None:
        return extreme_place(x, axis, bool(keepdim), extreme is amax)
    # In parts that have machine code. (Eager, that would be six times as much work.)
    found = extreme(x, axis, True)
    is_it = eq(x, found)
    if x.dtype.is_floating_point:
        is_it = logical_or(is_it, ne(x, x))  # a NaN is the extreme, if there is one
    places = reshape(arange(n), [n if a == axis else 1 for a in range(x.ndim)])
    return amin(where(is_it, places, n), axis, keepdim)


@overload
def max(input, dim: Tensor | None = None, keepdim=False, *, other: Tensor | None = None): ...
@overload
def max(input, dim: int, keepdim=False, *, other: None = None) -> Found: ...
@operation
def max(input, dim=None, keepdim=False, *, other=None):
    """The largest element; with `dim`, a pair (values, indices). With a tensor, `maximum`.

    With `dim`, the gradient goes to the one element that `indices` names.
    """
    return _extreme(amax, argmax, maximum, input, dim if other is None else other, keepdim)


@overload
def min(input, dim: Tensor | None = None, keepdim=False, *, other: Tensor | None = None): ...
@overload
def min(input, dim: int, keepdim=False, *, other: None = None) -> Found: ...
@operation
def min(input, dim=None, keepdim=False, *, other=None):
    """The smallest element; with `dim`, a pair (values, indices). With a tensor, `minimum`.

    With `dim`, the gradient goes to the one element that `indices` names.
    """
    return _extreme(amin, argmin, minimum, input, dim if other is None else other, keepdim)


def _extreme(of_all, place, of_two, x, dim, keepdim):
    x = as_tensor(x)
    if dim is None:
        return of_all(x)
    if isinstance(dim, Tensor):
        return of_two(x, dim)
    return found_at(x, dim, place(x, dim, True), keepdim)


def found_at(x, dim, indices, keepdim):
    """The elements that `indices` (of size 1 along `dim`) name, with them."""
    from lampion.ops.scatter import gather
    from lampion.ops.views import squeeze_dim

    if not x.ndim:
        return Found(x.clone(), indices)
    values = gather(x, dim, indices)
    if keepdim:
        return Found(values, indices)
    return Found(squeeze_dim(values, dim), squeeze_dim(indices, dim))
