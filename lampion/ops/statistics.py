"""Spread, middle and quantiles."""

from __future__ import annotations

import math
from typing import overload

from lampion import dtype as dtypes
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.mode import mode as mode_
from lampion.ops.arithmetic import clamp_min
from lampion.ops.complex_numbers import conj
from lampion.ops.creation import full
from lampion.ops.define import (
    apply_wide,
    cast_to,
    elementwise,
    kernel,
    operation,
    reduction,
    refuse_complex,
    widened,
)  # fmt: skip
from lampion.ops.elementwise import div, eq, mul, sub, where
from lampion.ops.logic import isnan
from lampion.ops.matrix import matmul
from lampion.ops.movement import permute, reshape
from lampion.ops.reduce import found_at, mean, share, sum
from lampion.ops.results import Found
from lampion.ops.rounding import ceil, floor, floor_divide, round
from lampion.ops.scatter import gather
from lampion.ops.shapes import normalize_dim, normalize_dims, reduced_shape
from lampion.ops.sorting import order, sort
from lampion.ops.views import unsqueeze
from lampion.tensor import Tensor, as_tensor

# -- spread ------------------------------------------------------------------------------------------------


def _moments(name, x, dim, unbiased, keepdim, correction):
    """The variance, and the mean with the dimensions kept.

    In two passes: the squares are of differences from the mean. Half floats are widened.
    """
    x = widened(as_tensor(x))
    if not x.dtype.is_inexact:
        raise DTypeError(name, "expected floats", got=str(x.dtype), fix="convert it: x.float()")
    if isinstance(dim, bool):  # PyTorch's older form: var(x, unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    elif unbiased is not None:
        raise LampionError(name, "unbiased and correction exclude each other", expected="one of them")
    axis = normalize_dims(name, dim, x.ndim)
    count = math.prod([x.shape[a] for a in axis])
    middle = mean(x, axis, True) if axis else x
    apart = sub(x, middle)
    squares = mul(apart, conj(apart)).real if x.dtype.is_complex else mul(apart, apart)
    return div(sum(squares, axis, keepdim) if axis else squares, float(max(count - correction, 0))), middle


def _like(x, input):
    """A result in the type of a half-float input."""
    return cast_to(x, input.dtype) if isinstance(input, Tensor) and input.dtype.is_half else x


@elementwise(saves="output", public=False)
class root:
    """The square root of a sum of squares. Its slope at 0 is taken as 0, as in PyTorch."""

    def forward(xp, x): return xp.sqrt(x)
    def vjp(g, y): return div(where(eq(y, 0), 0.0, g), where(eq(y, 0), 1.0, y * 2))


@operation
def var(
    input, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
):
    """The variance over the given dimensions (default: all): ``sum((x - mean)**2) / (n - correction)``.

    Args:
        correction: 1 by default, with which the expected value is the variance of what x is a sample of.
        unbiased: the older name of it: True is a correction of 1, False one of 0.

    >>> import lampion
    >>> lampion.var(lampion.tensor([1.0, 2.0, 3.0]))
    tensor(1.)
    """
    return _like(_moments("var", input, dim, unbiased, keepdim, correction)[0], input)


@operation
def std(
    input, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
):
    """The standard deviation over the given dimensions (default: all): the square root of `var`."""
    return _like(root(_moments("std", input, dim, unbiased, keepdim, correction)[0]), input)


@operation(method=False)
def var_mean(
    input, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """The variance and the mean: see `var`."""
    variance, middle = _moments("var_mean", input, dim, unbiased, keepdim, correction)
    return _like(variance, input), _like(reshape(middle, variance.shape), input)


@operation(method=False)
def std_mean(
    input, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean: see `std`."""
    variance, middle = _moments("std_mean", input, dim, unbiased, keepdim, correction)
    return _like(root(variance), input), _like(reshape(middle, variance.shape), input)


@operation
def cov(input, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None):
    """The covariances of variables, which are the rows; each column is an observation.

    Args:
        correction: subtracted from the number of observations that is divided by.
        fweights: how often each observation was made: integers.
        aweights: how much each observation counts.

    >>> import lampion
    >>> lampion.cov(lampion.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    x = as_tensor(input)
    if x.ndim > 2:
        raise ShapeError("cov", "expected at most two dimensions", got=str(tuple(x.shape)))
    if x.dtype is dtypes.bool_:
        raise DTypeError("cov", "booleans have no covariance", got=str(x.dtype), fix="x.float()")
    rows = reshape(x, 1, -1) if x.ndim < 2 else x
    count = rows.shape[1]
    weights = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is not None:
            if given.ndim > 1 or given.numel() != count:
                raise ShapeError("cov", f"{name} must hold a number for every observation",
                                 expected=f"({count},)", got=str(tuple(given.shape)))  # fmt: skip
            if name == "fweights" and given.dtype.is_inexact:
                raise DTypeError("cov", "fweights are whole numbers", got=str(given.dtype), fix="aweights")
            if mode_.trace is None and bool((given < 0).any()):
                raise LampionError("cov", f"{name} are not negative", expected="0 or more", got="less")
            weights = given if weights is None else mul(weights, given)
    if weights is None:
        total, middle = float(count), div(sum(rows, 1, True), count)
        norm = max(total - correction, 0.0)
    else:
        total = sum(weights)
        middle = div(sum(mul(rows, weights), 1, True), total)
        norm = total if aweights is None else div(sum(mul(weights, aweights)), total)
        norm = sub(total, mul(norm, correction) if aweights is not None else correction)
        norm = where(norm > 0, norm, 0)
    apart = sub(rows, middle)
    weighted = apart if weights is None else mul(apart, weights)
    found = div(matmul(weighted, conj(permute(apart, 1, 0))), norm)
    return reshape(found, ()) if found.numel() == 1 else found


@operation
def corrcoef(input):
    """The correlations of variables, which are the rows: `cov`, divided by both standard deviations."""
    found = cov(input)
    if not found.ndim:
        return div(found, found)
    from lampion.ops.arithmetic import clamp
    from lampion.ops.complex_numbers import complex

    deviations = root(found.diagonal().real)
    found = div(div(found, unsqueeze(deviations, 1)), unsqueeze(deviations, 0))
    if found.dtype.is_complex:
        return complex(clamp(found.real, -1, 1), clamp(found.imag, -1, 1))
    return clamp(found, -1, 1)


# -- the middle ----------------------------------------------------------------------------------------------


@reduction(saves="both", public=False, complexes=False)
class median_of_all:
    """The middle element of all, the lower of two. Equal ones share the gradient."""

    empty = False

    def forward(xp, x, axis, keepdims):
        flat = xp.sort(x, axis=None)
        out = flat[-1] if flat[-1] != flat[-1] else flat[(flat.size - 1) // 2]
        return out.reshape((1,) * x.ndim if keepdims else ())

    def vjp(g, x, y, axis): return g * share(x, y, axis)


@kernel(public=False)
class middle_place:
    """Where the middle element along `dim` stands, the lower of two; unless ignored, a NaN is it."""

    def infer(x, dim, ignore): return reduced_shape(x.shape, (dim,), True), dtypes.int64.numpy

    def forward(xp, x, dim, ignore):
        if not (x != x).any():  # then there is no need to sort: a 20th of the time
            at = (x.shape[dim] - 1) // 2
            value = xp.take(xp.partition(x, at, axis=dim), [at], axis=dim)
            smaller = xp.count_nonzero(x < value, axis=dim, keepdims=True)
            count = xp.cumsum(x == value, axis=dim)  # of equal ones, take that which sorting would put there
            return xp.argmax(count == at + 1 - smaller, axis=dim, keepdims=True)
        places = xp.argsort(x, axis=dim, kind="stable")
        n = x.shape[dim]
        numbers = xp.count_nonzero(x == x, axis=dim, keepdims=True)
        # NaNs are sorted behind the numbers.
        middle = xp.maximum(numbers - 1, 0) // 2
        if not ignore:
            middle = xp.where(numbers == n, middle, numbers)
        return xp.take_along_axis(places, middle, axis=dim)

    def call(x, dim, ignore):
        if mode_.trace is None:
            return apply_wide(middle_place.primitive, x, dim=dim, ignore=ignore)
        # In parts that have machine code.
        numbers = sum(cast_to(eq(x, x), dtypes.int64), dim, True)
        middle = floor_divide(clamp_min(sub(numbers, 1), 0), 2)
        if not ignore:
            middle = where(eq(numbers, x.shape[dim]), middle, numbers)
        return gather(order(x, dim, False), dim, middle)


def _median(name, x, dim, keepdim, ignore):
    x = as_tensor(x)
    refuse_complex(name, x)
    if dim is None:
        if not x.numel():
            return full((), float("nan"), x.dtype)
        flat = reshape(x, -1)
        return median_of_all(where(isnan(x), _median(name, flat, 0, False, True)[0], x) if ignore else x)
    axis = normalize_dim(name, dim, x.ndim)
    if not x.ndim:
        return found_at(x, 0, full((), 0, dtypes.int64), True)
    if not x.shape[axis]:
        raise ShapeError(name, "an empty dimension has no middle", got=f"shape {tuple(x.shape)}, dim {dim}")
    return found_at(x, axis, middle_place(x, axis, ignore), keepdim)


@overload
def median(input, dim: None = None, keepdim: bool = False): ...
@overload
def median(input, dim: int, keepdim: bool = False) -> Found: ...
@operation
def median(input, dim=None, keepdim=False):
    """The middle element along `dim`, the lower of two, and where it is; without `dim`, of all, alone.

    Where there is a NaN, it is the median.

    >>> import lampion
    >>> lampion.median(lampion.tensor([3.0, 1.0, 2.0, 4.0]))
    tensor(2.)
    """
    return _median("median", input, dim, keepdim, False)


@overload
def nanmedian(input, dim: None = None, keepdim: bool = False): ...
@overload
def nanmedian(input, dim: int, keepdim: bool = False) -> Found: ...
@operation
def nanmedian(input, dim=None, keepdim=False):
    """The middle of those elements that are not NaN: see `median`."""
    return _median("nanmedian", input, dim, keepdim, True)


@kernel(public=False)
class most_frequent:
    """Where the element that occurs most often (the smallest of those) stands last, along `dim`."""

    def infer(x, dim): return reduced_shape(x.shape, (dim,), True), dtypes.int64.numpy

    def forward(xp, x, dim):
        places = xp.moveaxis(xp.argsort(x, axis=dim, kind="stable"), dim, -1)
        ordered = xp.take_along_axis(xp.moveaxis(x, dim, -1), places, -1)
        # How long the run of equal elements is by now: largest where the longest ends (the first of them).
        position = xp.arange(x.shape[dim])
        starts = xp.ones(ordered.shape, bool)
        starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
        length = position - xp.maximum.accumulate(xp.where(starts, position, 0), axis=-1)
        ends = xp.argmax(length, axis=-1)[..., None]
        return xp.moveaxis(xp.take_along_axis(places, ends, -1), -1, dim)

    def call(x, dim): return apply_wide(most_frequent.primitive, x, dim=dim)


@operation
def mode(input, dim: int = -1, keepdim: bool = False) -> Found:
    """The element that occurs most often along a dimension (the smallest of those), and where it is last.

    >>> import lampion
    >>> lampion.mode(lampion.tensor([2, 1, 2, 3]))
    Found(values=tensor(2), indices=tensor(2))
    """
    x = as_tensor(input)
    refuse_complex("mode", x)
    dim = normalize_dim("mode", dim, x.ndim)
    if not x.ndim:
        return found_at(x, 0, full((), 0, dtypes.int64), True)
    if not x.shape[dim]:
        raise ShapeError("mode", "an empty dimension has no mode", got=f"shape {tuple(x.shape)}, dim {dim}")
    return found_at(x, dim, most_frequent(x, dim), keepdim)


# -- quantiles -----------------------------------------------------------------------------------------------

INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(name, x, q, dim, keepdim, interpolation, ignore):
    x = as_tensor(x)
    if x.dtype not in (dtypes.float32, dtypes.float64):
        raise DTypeError(name, "expected float32 or float64", got=str(x.dtype), fix="x.float()")
    if interpolation not in INTERPOLATIONS:
        raise LampionError(name, "there is no such interpolation", expected=", ".join(INTERPOLATIONS),
                           got=repr(interpolation))  # fmt: skip
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise LampionError(name, "q is a share", expected="0 <= q <= 1", got=str(q))
        q = full((), q, x.dtype)
    if q.dtype is not x.dtype or q.ndim > 1:
        raise DTypeError(name, "q is a number, or a tensor of at most one dimension in the type of the input",
                         got=f"{q.dtype}, {tuple(q.shape)}")  # fmt: skip
    if not x.numel():
        raise ShapeError(name, "a tensor without elements has no quantiles", got=str(tuple(x.shape)))
    if dim is None:
        axis, shape = 0, [1] * x.ndim if keepdim else []
        x = reshape(x, -1)
    else:
        axis = normalize_dim(name, dim, x.ndim)
        shape = reduced_shape(x.shape, (axis,), keepdim)
        x = x if x.ndim else reshape(x, 1)
    # Sorted with the dimension in front: (n, rest), NaN last.
    ordered = sort(reshape(x.movedim(axis, 0), x.shape[axis], -1), 0).values
    numbers = sum(cast_to(eq(ordered, ordered), x.dtype), 0, True)  # (1, rest)
    n = ordered.shape[0]
    many = reshape(q, -1, 1)  # (number of quantiles, 1)
    if ignore:
        rank = mul(many, where(numbers > 0, numbers - 1, 0.0))
    else:  # a NaN, if there is one, is the last of them
        rank = where(eq(numbers, n), mul(many, n - 1), float(n - 1))
    if interpolation == "lower":
        rank = floor(rank)
    elif interpolation == "higher":
        rank = ceil(rank)
    elif interpolation == "nearest":
        rank = round(rank)
    below = floor(rank)
    out = gather(ordered, 0, cast_to(below, dtypes.int64))
    if interpolation in ("linear", "midpoint"):
        weight = sub(rank, below) if interpolation == "linear" else full(rank.shape, 0.5, x.dtype)
        above = gather(ordered, 0, cast_to(ceil(rank), dtypes.int64))
        out = out.lerp(above, weight)
    return reshape(out, [*q.shape, *shape])


@operation
def quantile(input, q, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"):
    """The values below which a share `q` of the elements lies, over all of them or along `dim`.

    Args:
        q: a share between 0 and 1, or several: then the result has a dimension more, the first.
        interpolation: where the place falls between two elements: "linear", or "lower", "higher",
            "midpoint", "nearest".

    A NaN among the elements makes the result NaN.

    >>> import lampion
    >>> lampion.quantile(lampion.tensor([0.0, 1.0, 2.0, 3.0]), 0.5)
    tensor(1.5000)
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@operation
def nanquantile(input, q, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"):
    """`quantile` of those elements that are not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)
