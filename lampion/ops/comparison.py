"""Whether tensors are equal, or nearly so."""

from __future__ import annotations

from lampion.errors import DTypeError, LampionError
from lampion.ops.arithmetic import abs
from lampion.ops.define import operation
from lampion.ops.elementwise import add, eq, le, mul, sub
from lampion.ops.logic import isfinite, isnan, logical_and, logical_or
from lampion.tensor import Tensor, as_tensor


@operation
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether ``abs(x - y) <= atol + rtol * abs(y)``. Infinities are close to themselves only.

    Args:
        equal_nan: whether NaN is close to NaN.
    """
    input, other = as_tensor(input), as_tensor(other)
    if input.dtype is not other.dtype:
        raise DTypeError("isclose", "both tensors must have one type", got=f"{input.dtype} and {other.dtype}",
                         fix="convert one of them")  # fmt: skip
    if rtol < 0 or atol < 0:
        raise LampionError("isclose", "a tolerance is negative", got=f"rtol={rtol}, atol={atol}")
    close = eq(input, other)
    if input.dtype.is_inexact and equal_nan:
        close = logical_or(close, logical_and(isnan(input), isnan(other)))
    if rtol == 0 and atol == 0:
        return close
    if not input.dtype.is_inexact:
        input, other = input.double(), other.double()
    apart = abs(sub(input, other))
    near = le(apart, add(abs(mul(other, rtol)), atol))
    return logical_or(close, logical_and(near, isfinite(apart)))


@operation
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False) -> bool:
    """Whether all elements are close: see `isclose`. A Python bool."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@operation
def equal(input, other: Tensor) -> bool:
    """Whether both tensors have the same shape and the same elements. A Python bool.

    >>> import lampion
    >>> lampion.equal(lampion.tensor([1, 2]), lampion.tensor([1, 2]))
    True
    """
    return tuple(input.shape) == tuple(other.shape) and bool(eq(input, other).all())
