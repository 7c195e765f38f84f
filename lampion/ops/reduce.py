"""Operations that combine elements along dimensions."""

from __future__ import annotations

from typing import overload

from lampion import dtype as dtypes
from lampion.ops.creation import arange, zeros
from lampion.ops.define import cast_to, operation, reduction, to_float
from lampion.ops.elementwise import div, eq, maximum, where
from lampion.ops.shapes import normalize_dim, normalize_dims
from lampion.tensor import Tensor, as_tensor


@reduction
class sum:
    """The sum over the given dimensions (default: all). Integers and booleans add up as int64."""

    def prepare(x): return x if x.dtype.is_inexact else cast_to(x, dtypes.int64)
    def forward(xp, x, axis, keepdims): return xp.add.reduce(x, axis=axis, keepdims=keepdims)
    def combine(xp, a, b): return xp.add(a, b)
    def identity(dtype): return 0
    def vjp(g, axis): return g


@reduction(saves="both", complexes=False)
class amax:
    """The largest element over the given dimensions. Equal ones share the gradient."""

    empty = False
    def forward(xp, x, axis, keepdims): return xp.maximum.reduce(x, axis=axis, keepdims=keepdims)
    def combine(xp, a, b): return xp.maximum(a, b)
    def identity(dtype): return dtype.min

    def vjp(g, x, y, axis): return g * _share(x, y, axis)


@reduction(saves="both", complexes=False)
class amin:
    """The smallest element over the given dimensions. Equal ones share the gradient."""

    empty = False
    def forward(xp, x, axis, keepdims): return xp.minimum.reduce(x, axis=axis, keepdims=keepdims)
    def combine(xp, a, b): return xp.minimum(a, b)
    def identity(dtype): return dtype.max
    def vjp(g, x, y, axis): return g * _share(x, y, axis)


def _share(x, y, axis):
    """1 / n for each of the n elements of x that equal the extreme y, 0 for the others."""
    ties = cast_to(eq(x, y), x.dtype)
    return ties / sum(ties, axis, True)


@operation
def mean(x, dim=None, keepdim=False):
    """The average over the given dimensions (default: all)."""
    x = to_float(as_tensor(x))
    count = 1
    for axis in normalize_dims("mean", dim, x.ndim):
        count *= x.shape[axis]
    return div(sum(x, dim, keepdim), float(count))


@operation
def argmax(x, dim: int | None = None, keepdim=False):
    """The index of the largest element (the first of equals) over all elements, or along `dim`."""
    x = as_tensor(x)
    if dim is None:
        flat = argmax(x.reshape(-1), 0)
        return flat.reshape([1] * x.ndim) if keepdim else flat
    if not x.ndim:
        normalize_dim("argmax", dim, 0)
        return zeros(dtype=dtypes.int64)
    axis = normalize_dim("argmax", dim, x.ndim)
    n = x.shape[axis]
    # Count down, so that the first of several maxima is the largest count.
    countdown = (n - 1 - arange(n)).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    largest = amax(x, axis, True)
    is_largest = where(eq(largest, largest), eq(x, largest), x != x)  # a NaN counts as the largest
    return n - 1 - amax(where(is_largest, countdown, -1), axis, keepdim)


@overload
def max(x, dim: Tensor | None = None, keepdim=False): ...
@overload
def max(x, dim: int, keepdim=False) -> tuple[Tensor, Tensor]: ...
@operation
def max(x, dim=None, keepdim=False):
    """The largest element; with `dim`, a pair (values, indices). With a tensor, `maximum`.

    With `dim`, the gradient goes to the one element that `indices` names.
    """
    x = as_tensor(x)
    if dim is None:
        return amax(x)
    if isinstance(dim, Tensor):
        return maximum(x, dim)
    from lampion.ops.indexing import gather, squeeze_dim

    indices = argmax(x, dim, True)
    if not x.ndim:
        return x.clone(), indices
    values = gather(x, dim, indices)
    if keepdim:
        return values, indices
    return squeeze_dim(values, dim), squeeze_dim(indices, dim)
