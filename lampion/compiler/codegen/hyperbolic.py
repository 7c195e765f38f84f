"""What `mathlib`'s exponentials and logarithms make up: hyperbolic functions, their inverses, sums of powers.

In the way of Sun's fdlibm (1993): formulas that do not cancel where the argument is small, and do not
overflow before the result does. Errors, measured by tests/test_codegen_math.py, are below 4 ulp.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lampion.compiler.codegen import mathlib

if TYPE_CHECKING:
    from lampion.compiler.codegen.emitter import Emitter
    from lampion.compiler.codegen.lanes import Lanes

LN2 = math.log(2)


def sinh(xp: Emitter, x: Lanes) -> Lanes:
    """(e**x - e**-x) / 2; with t = e**|x| - 1 it is (t + t / (t + 1)) / 2."""
    size = xp.absolute(x)
    t = mathlib.expm1(xp, xp.minimum(size, 1.0))
    small = 0.5 * (t + t / (t + 1.0))
    root = mathlib.exp(xp, 0.5 * size)  # its square may be infinite where half of that is not
    large = (0.5 * root) * root - 0.5 / root / root
    return xp.copysign(xp.where(size < 1.0, small, large), x)


def cosh(xp: Emitter, x: Lanes) -> Lanes:
    """(e**x + e**-x) / 2."""
    root = mathlib.exp(xp, 0.5 * xp.absolute(x))
    return (0.5 * root) * root + 0.5 / root / root


def arcsinh(xp: Emitter, x: Lanes) -> Lanes:
    """log(x + sqrt(x**2 + 1)) = log1p(x + x**2 / (1 + sqrt(x**2 + 1)))."""
    size = xp.absolute(x)
    a = xp.minimum(size, 2.0**30)  # beyond, the 1 is lost, and the square may be infinite
    square = a * a
    near = mathlib.log1p(xp, a + square / (1.0 + xp.sqrt(square + 1.0)))
    far = mathlib.log(xp, size) + LN2
    return xp.copysign(xp.where(size < 2.0**30, near, far), x)


def arccosh(xp: Emitter, x: Lanes) -> Lanes:
    """log(x + sqrt(x**2 - 1)), with t = x - 1: log1p(t + sqrt(t (t + 2))). NaN below 1."""
    t = xp.minimum(x, 2.0**30) - 1.0
    near = mathlib.log1p(xp, t + xp.sqrt(t * (t + 2.0)))
    nan = xp.literal(math.nan, x.dtype)
    near = xp.where(x < 1.0, nan, near)  # far below, the product is above 0 again
    return xp.where(x < 2.0**30, near, mathlib.log(xp, x) + LN2)


def arctanh(xp: Emitter, x: Lanes) -> Lanes:
    """log((1 + x) / (1 - x)) / 2 = log1p(2x / (1 - x)) / 2."""
    size = xp.absolute(x)
    twice = size + size
    small = twice + twice * size / (1.0 - size)  # less rounding before the logarithm
    ratio = xp.where(size < 0.5, small, twice / (1.0 - size))
    return xp.copysign(0.5 * mathlib.log1p(xp, ratio), x)


def hypot(xp: Emitter, x: Lanes, y: Lanes) -> Lanes:
    """sqrt(x**2 + y**2) = large sqrt(1 + (small / large)**2); infinite where either is, even beside NaN."""
    x, y = xp.absolute(x), xp.absolute(y)
    large, small = xp.maximum(x, y), xp.minimum(x, y)
    ratio = small / xp.where(large == 0, 1.0, large)
    out = large * xp.sqrt(1.0 + ratio * ratio)
    return xp.where((x == math.inf) | (y == math.inf), xp.literal(math.inf, x.dtype), out)


def logaddexp(xp: Emitter, x: Lanes, y: Lanes) -> Lanes:
    """log(e**x + e**y) = the larger + log1p(e**-|x - y|)."""
    gap = xp.where(
        x == y, xp.literal(0.0, x.dtype), xp.absolute(x - y)
    )  # equal infinities have no difference
    return xp.maximum(x, y) + mathlib.log1p(xp, mathlib.exp(xp, -gap))


def logaddexp2(xp: Emitter, x: Lanes, y: Lanes) -> Lanes:
    """log2(2**x + 2**y) = the larger + log2(1 + 2**-|x - y|)."""
    gap = xp.where(x == y, xp.literal(0.0, x.dtype), xp.absolute(x - y))
    return xp.maximum(x, y) + mathlib.log1p(xp, mathlib.exp(xp, -gap * LN2)) * (1 / LN2)
