"""Powers and logarithms beyond exp and log."""

from __future__ import annotations

import math

from lampion.ops.arithmetic import clamp
from lampion.ops.define import elementwise, operation, to_float
from lampion.ops.elementwise import add, div, eq, exp, ge, le, log, sigmoid, sub, where
from lampion.ops.logic import logical_and
from lampion.tensor import Tensor, as_tensor

LN2, LN10 = math.log(2), math.log(10)


@elementwise(saves="inputs", inputs="float")
class log2:
    """The logarithm of x to the base 2."""

    def forward(xp, x): return xp.log2(x)
    def vjp(g, x): return g / (x * LN2)


@elementwise(saves="inputs", inputs="float")
class log10:
    """The logarithm of x to the base 10."""

    def forward(xp, x): return xp.log10(x)
    def vjp(g, x): return g / (x * LN10)


@elementwise(saves="inputs", inputs="float")
class log1p:
    """log(1 + x), accurate near 0 too."""

    def forward(xp, x): return xp.log1p(x)
    def vjp(g, x): return g / (x + 1)


@elementwise(saves="output", inputs="float")
class exp2:
    """2 to the power x."""

    def forward(xp, x): return xp.exp2(x) if x.dtype.kind == "f" else xp.exp(x * LN2)
    def vjp(g, y): return g * y * LN2


@elementwise(saves="inputs", inputs="float", complexes=False)
class logaddexp:
    """log(e**x + e**y), without overflow."""

    def extend(plain):
        def logaddexp(input, other):
            if any(isinstance(v, Tensor) and v.dtype.is_complex for v in (input, other)):
                return _complex_logaddexp(as_tensor(input), as_tensor(other))
            return plain(input, other)

        return logaddexp

    def forward(xp, x, y): return xp.logaddexp(x, y)
    def vjp(g, x, y): return lambda: g * _part(x, y), lambda: g * _part(y, x)


def _complex_logaddexp(x, y):
    """The number with the larger real part + log(1 + e**(the other - that one))."""
    first = ge(x.real, y.real)
    larger, smaller = where(first, x, y), where(first, y, x)
    return add(larger, log1p(exp(sub(smaller, larger))))


@elementwise(saves="inputs", inputs="float", complexes=False)
class logaddexp2:
    """log2(2**x + 2**y), without overflow."""

    def forward(xp, x, y): return xp.logaddexp2(x, y)
    def vjp(g, x, y): return lambda: g * _part(x, y, LN2), lambda: g * _part(y, x, LN2)


def _part(x, y, scale=1.0):
    """The part that e**x has in e**x + e**y; a half where both are the same infinity."""
    return sigmoid(where(eq(x, y), 0.0, sub(x, y)) * scale)


@elementwise(saves="inputs", inputs="float", complexes=False)
class xlogy:
    """x log(y); 0 where x is 0, whatever y is but NaN."""

    def forward(xp, x, y):
        nothing = xp.logical_and(xp.equal(x, 0), xp.logical_not(xp.isnan(y)))
        return xp.where(nothing, 0, x * xp.log(y)).astype((y if hasattr(y, "dtype") else x).dtype)

    def vjp(g, x, y):
        return (
            lambda: where(logical_and(eq(x, 0), le(y, 0)), 0.0, g * log(y)),
            lambda: g * div(x, y),
        )


@operation(inplace=True)
def logit(input, eps=None):
    """log(x / (1 - x)), the inverse of the sigmoid.

    Args:
        eps: x is first brought between eps and 1 - eps; without it, what lies outside of [0, 1] becomes NaN.
    """
    input = to_float(as_tensor(input))
    if eps is not None:
        input = clamp(input, eps, 1 - eps)
    return _logit(input)


@elementwise(saves="inputs", public=False)
class _logit:
    """log(x / (1 - x))."""

    def forward(xp, x): return xp.log(x / (1 - x))

    def vjp(g, x):
        # NaN where the value is: the slope's formula would go on.
        return where(logical_and(ge(x, 0), le(x, 1)), g / (x * (1 - x)), math.nan)
