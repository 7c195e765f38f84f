"""Running sums, products and extremes along a dimension; differences, and areas under points."""

from __future__ import annotations

import math

from lampion import dtype as dtypes
from lampion.ops.creation import full
from lampion.ops.define import apply_wide, cast_to, kernel, operation, refuse_complex, to_float
from lampion.ops.elementwise import eq, exp, mul, sub, where
from lampion.ops.joining import cat
from lampion.ops.movement import flip, permute, reshape
from lampion.ops.reduce import found_at
from lampion.ops.results import Found
from lampion.ops.scatter import gather
from lampion.ops.shapes import normalize_dim
from lampion.ops.views import narrow
from lampion.tensor import as_tensor

# -- kernels ---------------------------------------------------------------------------------------------


def _like_first(x, *others, dim): return x.shape, x.dtype


def _at(dim, place): return (slice(None),) * dim + (place,)


@kernel(public=False)
class running_sum:
    """y[i] = x[0] + ... + x[i] along `dim`."""

    infer = _like_first
    def forward(xp, x, dim): return xp.add.accumulate(x, axis=dim)
    def vjp(g, dim): return flip(running_sum(flip(g, dim), dim), dim)
    def call(x, dim): return apply_wide(running_sum.primitive, x, dim=dim)


@kernel(public=False, saves="both")
class running_product:
    """y[i] = x[0] * ... * x[i] along `dim`.

    x[j] is in all y[i] with i >= j, so its gradient is y[j - 1] times the sum of g[i] x[j + 1] ... x[i],
    which is a `recurrence` from the end: nothing is divided, and zeros are as good as other numbers.
    """

    infer = _like_first
    def forward(xp, x, dim): return xp.multiply.accumulate(x, axis=dim)

    def vjp(g, x, y, dim):
        return mul(_shifted(y, dim, 1), _from_the_end(_next(x, dim), g, dim))

    def call(x, dim): return apply_wide(running_product.primitive, x, dim=dim)


@kernel(public=False, saves="inputs")
class running_logsumexp:
    """y[i] = log(e**x[0] + ... + e**x[i]) along `dim`.

    The gradient of x[j] is the sum over i >= j of g[i] e**(x[j] - y[i]). As a recurrence its factors are
    e**(y[i] - y[i + 1]), which are at most 1.
    """

    infer = _like_first
    def forward(xp, x, dim): return xp.logaddexp.accumulate(x, axis=dim)

    def vjp(g, x, dim):
        y = running_logsumexp(x, dim)
        factors = _power(y, _next(y, dim, float("inf")))
        return mul(_power(x, y), _from_the_end(factors, g, dim))

    def call(x, dim): return apply_wide(running_logsumexp.primitive, x, dim=dim)


@kernel(public=False, saves="both")
class recurrence:
    """y[i] = a[i] * y[i - 1] + b[i] along `dim`, from y[-1] = 0.

    Its gradient is another, from the end: h[i] = g[i] + a[i + 1] * h[i + 1] is that of b[i], and
    h[i] * y[i - 1] that of a[i]. So derivatives of any order are recurrences.
    """

    infer = _like_first

    def forward(xp, a, b, dim):
        out = xp.empty(b.shape, b.dtype)
        before = 0
        for i in range(b.shape[dim]):
            place = _at(dim, i)
            before = out[place] = a[place] * before + b[place]
        return out

    def vjp(g, a, b, y, dim):
        slope = _from_the_end(_next(a, dim), g, dim)
        return lambda: mul(slope, _shifted(y, dim, 0)), slope

    def call(a, b, dim): return apply_wide(recurrence.primitive, a, b, dim=dim)


def _from_the_end(a, b, dim):
    """y[i] = a[i] * y[i + 1] + b[i]."""
    return flip(recurrence(flip(a, dim), flip(b, dim), dim), dim)


def _edge(x, dim, value):
    return full([1 if a == dim else n for a, n in enumerate(x.shape)], value, x.dtype)


def _shifted(x, dim, first):
    """``first, x[0], x[1], ...`` without the last."""
    return cat([_edge(x, dim, first), narrow(x, dim, 0, x.shape[dim] - 1)], dim) if x.shape[dim] else x


def _next(x, dim, last=0):
    """``x[1], x[2], ..., last``."""
    return cat([narrow(x, dim, 1, x.shape[dim] - 1), _edge(x, dim, last)], dim) if x.shape[dim] else x


def _power(x, y):
    """e**(x - y) for x <= y; 1 where both are the same infinity."""
    return exp(where(eq(x, y), 0.0, sub(x, y)))


def product_of_others(x, axis):
    """For each element the product of all others along the dimensions `axis`."""
    if len(axis) != 1:
        moved = (*(a for a in range(x.ndim) if a not in axis), *axis)  # with those behind, and then as one
        there = permute(x, *moved)
        kept = tuple(there.shape)[: x.ndim - len(axis)]
        others = product_of_others(reshape(there, (*kept, math.prod(there.shape[len(kept) :]))), (len(kept),))
        return permute(reshape(others, there.shape), *sorted(range(x.ndim), key=moved.__getitem__))
    dim = axis[0]
    before = _shifted(running_product(x, dim), dim, 1)
    after = flip(_shifted(running_product(flip(x, dim), dim), dim, 1), dim)
    return mul(before, after)


@kernel(public=False)
class running_place:
    """Where the largest (or smallest) element so far stands along `dim`: the last of equals; NaN stays."""

    def infer(x, dim, largest): return x.shape, dtypes.int64.numpy

    def forward(xp, x, dim, largest):
        best = (xp.maximum if largest else xp.minimum).accumulate(x, axis=dim)
        n = x.shape[dim]
        places = xp.arange(n).reshape([n if a == dim else 1 for a in range(x.ndim)])
        taken = xp.where((x == best) | (x != x), places, 0)
        return xp.maximum.accumulate(taken, axis=dim)

    def call(x, dim, largest): return apply_wide(running_place.primitive, x, dim=dim, largest=largest)


# -- running ---------------------------------------------------------------------------------------------


def _running(name, kernel_, x, dim, dtype):
    x = as_tensor(x)
    if dtype is not None:
        x = cast_to(x, dtypes.of(dtype))
    if not x.dtype.is_inexact:
        dtype, x = dtype or dtypes.int64, cast_to(x, dtypes.int64)
    dim = normalize_dim(name, dim, x.ndim)
    out = kernel_(x, dim) if x.ndim else x.clone()
    return out if dtype is None else cast_to(out, dtypes.of(dtype))


@operation(inplace=True)
def cumsum(input, dim, *, dtype=None):
    """The sums of the first 1, 2, 3... elements along a dimension. Integers and booleans add up as int64.

    >>> import lampion
    >>> lampion.cumsum(lampion.tensor([1, 2, 3]), 0)
    tensor([1, 3, 6])
    """
    return _running("cumsum", running_sum, input, dim, dtype)


@operation(inplace=True)
def cumprod(input, dim, *, dtype=None):
    """The products of the first 1, 2, 3... elements along a dimension; of integers as int64.

    >>> import lampion
    >>> lampion.cumprod(lampion.tensor([1, 2, 3]), 0)
    tensor([1, 2, 6])
    """
    return _running("cumprod", running_product, input, dim, dtype)


@operation
def logcumsumexp(input, dim):
    """The logarithm of the running sum of e**x along a dimension, without overflow."""
    refuse_complex("logcumsumexp", input)
    return _running("logcumsumexp", running_logsumexp, to_float(as_tensor(input)), dim, None)


@operation
def cummax(input, dim) -> Found:
    """The largest of the first 1, 2, 3... elements along a dimension, and where (the last of equals).

    >>> import lampion
    >>> lampion.cummax(lampion.tensor([1, 3, 2]), 0).values
    tensor([1, 3, 3])
    """
    return _running_extreme("cummax", input, dim, True)


@operation
def cummin(input, dim) -> Found:
    """The smallest of the first 1, 2, 3... elements along a dimension, and where (the last of equals)."""
    return _running_extreme("cummin", input, dim, False)


def _running_extreme(name, x, dim, largest):
    x = as_tensor(x)
    refuse_complex(name, x)
    dim = normalize_dim(name, dim, x.ndim)
    if not x.ndim:
        return found_at(x, 0, full((), 0, dtypes.int64), True)
    indices = running_place(x, dim, largest)
    return Found(gather(x, dim, indices), indices)
