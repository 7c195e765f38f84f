"""Functions of angles, their inverses, and their hyperbolic relatives."""

from __future__ import annotations

import math

from lampion.ops.arithmetic import abs, rsqrt
from lampion.ops.define import elementwise, operation, to_float
from lampion.ops.elementwise import cos, div, eq, lt, mul, neg, sin, sub, where
from lampion.tensor import as_tensor


@elementwise(saves="output", inputs="float")
class tan:
    """The tangent of x, in radians."""

    def forward(xp, x): return xp.tan(x)
    def vjp(g, y): return g * (y * y + 1)


@elementwise(saves="inputs", inputs="float")
class asin:
    """The angle, from -pi/2 to pi/2, whose sine is x."""

    def forward(xp, x): return xp.arcsin(x)
    def vjp(g, x): return g * rsqrt(1 - x * x)


@elementwise(saves="inputs", inputs="float")
class acos:
    """The angle, from 0 to pi, whose cosine is x."""

    def forward(xp, x): return xp.arccos(x)
    def vjp(g, x): return neg(g * rsqrt(1 - x * x))


@elementwise(saves="inputs", inputs="float")
class atan:
    """The angle, from -pi/2 to pi/2, whose tangent is x."""

    def forward(xp, x): return xp.arctan(x)
    def vjp(g, x): return g / (x * x + 1)


@elementwise(saves="inputs", inputs="float", complexes=False)
class atan2:
    """The angle, from -pi to pi, of the point with height x and width y, seen from the origin.

    >>> import lampion
    >>> lampion.atan2(lampion.tensor([1.0, -1.0]), lampion.tensor([-1.0, 1.0]))
    tensor([ 2.3562, -0.7854])
    """

    def forward(xp, x, y): return xp.arctan2(x, y)

    def vjp(g, x, y):
        # At the origin there is no angle; PyTorch's slope there is 0.
        square = x * x + y * y
        slope = where(eq(square, 0), 0.0, g / square)
        return lambda: slope * y, lambda: neg(slope * x)


@elementwise(saves="inputs", inputs="float")
class sinh:
    """The hyperbolic sine: (e**x - e**-x) / 2."""

    def forward(xp, x): return xp.sinh(x)
    def vjp(g, x): return g * cosh(x)


@elementwise(saves="inputs", inputs="float")
class cosh:
    """The hyperbolic cosine: (e**x + e**-x) / 2."""

    def forward(xp, x): return xp.cosh(x)
    def vjp(g, x): return g * sinh(x)


@elementwise(saves="inputs", inputs="float")
class asinh:
    """The number whose hyperbolic sine is x: log(x + sqrt(x**2 + 1))."""

    def forward(xp, x): return xp.arcsinh(x)
    def vjp(g, x): return g * rsqrt(x * x + 1)


@elementwise(saves="inputs", inputs="float")
class acosh:
    """The number above 0 whose hyperbolic cosine is x: log(x + sqrt(x**2 - 1))."""

    def forward(xp, x): return xp.arccosh(x)
    # In this form it is right for complex numbers too, on both sides of the cut.
    def vjp(g, x): return g * rsqrt(x - 1) * rsqrt(x + 1) if x.dtype.is_complex else g * rsqrt(x * x - 1)


@elementwise(saves="inputs", inputs="float")
class atanh:
    """The number whose hyperbolic tangent is x: log((1 + x) / (1 - x)) / 2."""

    def forward(xp, x): return xp.arctanh(x)
    def vjp(g, x): return g / (1 - x * x)


@elementwise(saves="both", inputs="float", complexes=False)
class hypot:
    """sqrt(x**2 + y**2), without overflow on the way."""

    def forward(xp, x, y): return xp.hypot(x, y)
    def vjp(g, x, y, out): return lambda: g * (x / out), lambda: g * (y / out)


@operation(inplace=True)
def sinc(input):
    """sin(pi x) / (pi x), and 1 at 0.

    >>> import lampion
    >>> lampion.sinc(lampion.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])
    """
    return _sinc(to_float(as_tensor(input)))


@elementwise(saves="inputs", public=False)
class _sinc:
    """sin(pi x) / (pi x)."""

    def forward(xp, x):
        angle = xp.multiply(xp.where(xp.equal(x, 0), 1, x), math.pi)
        return xp.where(xp.equal(x, 0), 1, xp.sin(angle) / angle).astype(x.dtype)

    def vjp(g, x): return g * (slope_of_sine_ratio(mul(x, math.pi)) * math.pi)


def slope_of_sine_ratio(x):
    """The derivative of sin(x) / x: (cos(x) - sin(x) / x) / x. Near 0, where that cancels, its series."""
    near = lt(abs(x), 0.5)
    apart = where(near, 1.0, x)
    ratio = div(sub(cos(apart), div(sin(apart), apart)), apart)
    square = mul(x, x)
    series = 1 / 518918400
    for coefficient in (-1 / 3991680, 1 / 45360, -1 / 840, 1 / 30, -1 / 3):
        series = series * square + coefficient
    return where(near, x * series, ratio)


@operation(inplace=True)
def deg2rad(input):
    """Degrees as radians: x * pi / 180."""
    return mul(to_float(as_tensor(input)), math.pi / 180)


@operation(inplace=True)
def rad2deg(input):
    """Radians as degrees: x * 180 / pi."""
    return mul(to_float(as_tensor(input)), 180 / math.pi)


@operation
def angle(input):
    """The angle of a complex number in the plane; of real numbers 0, or pi where they are negative.

    >>> import lampion
    >>> lampion.angle(lampion.tensor([1 + 1j, -2 + 0j]))
    tensor([0.7854, 3.1416])
    """
    input = as_tensor(input)
    if input.dtype.is_complex:
        return atan2(input.imag, input.real)
    return _real_angle(to_float(input))


@elementwise(public=False)
class _real_angle:
    """0 or pi, as the number is positive or negative; NaN for NaN."""

    def forward(xp, x): return xp.where(xp.isnan(x), x, xp.less(x, 0).astype(x.dtype) * math.pi)
    def vjp(g): return g * 0.0
