"""Bessel functions, and Airy's: for `lampion.special`. The formulas are in `lampion/numerics/bessel.py`.

PyTorch gives most of them no gradient; here all but Airy's have theirs (Abramowitz and Stegun, 9.1.28 and
9.6.27).
"""

from __future__ import annotations

from lampion.numerics import bessel
from lampion.numerics.series import double
from lampion.ops.arithmetic import sign
from lampion.ops.define import elementwise
from lampion.ops.elementwise import eq, neg, sub, where
from lampion.ops.gamma import apart_from_zero
from lampion.ops.trigonometry import slope_of_sine_ratio


def _bessel(rules):
    return elementwise(rules, saves="inputs", inputs="float", complexes=False, public=False)


@_bessel
class i0e:
    """e**-|x| I0(x): the modified Bessel function of the first kind of order 0, which does not overflow."""

    def forward(xp, x): return double(xp, bessel.i0e, x)
    def vjp(g, x): return g * sub(i1e(x), sign(x) * i0e(x))


@_bessel
class i1e:
    """e**-|x| I1(x): the modified Bessel function of the first kind of order 1, which does not overflow."""

    def forward(xp, x): return double(xp, bessel.i1e, x)

    def vjp(g, x):
        apart = apart_from_zero(x)
        slope = sub(i0e(apart), i1e(apart) * (sign(apart) + 1 / apart))
        return g * where(eq(apart, x), slope, 0.5)


@_bessel
class modified_bessel_k0:
    """The modified Bessel function of the second kind of order 0; infinite at 0."""

    def forward(xp, x): return double(xp, bessel.k0, x)
    def vjp(g, x): return neg(g * modified_bessel_k1(x))


@_bessel
class modified_bessel_k1:
    """The modified Bessel function of the second kind of order 1; infinite at 0."""

    def forward(xp, x): return double(xp, bessel.k1, x)
    def vjp(g, x): return neg(g * (modified_bessel_k0(x) + modified_bessel_k1(x) / x))


@_bessel
class scaled_modified_bessel_k0:
    """e**x K0(x): see `modified_bessel_k0`."""

    def forward(xp, x): return double(xp, bessel.k0e, x)
    def vjp(g, x): return g * sub(scaled_modified_bessel_k0(x), scaled_modified_bessel_k1(x))


@_bessel
class scaled_modified_bessel_k1:
    """e**x K1(x): see `modified_bessel_k1`."""

    def forward(xp, x): return double(xp, bessel.k1e, x)

    def vjp(g, x):
        return g * sub(scaled_modified_bessel_k1(x) * (1 - 1 / x), scaled_modified_bessel_k0(x))


@_bessel
class bessel_j0:
    """The Bessel function of the first kind of order 0."""

    def forward(xp, x): return double(xp, bessel.j0, x)
    def vjp(g, x): return neg(g * bessel_j1(x))


@_bessel
class bessel_j1:
    """The Bessel function of the first kind of order 1."""

    def forward(xp, x): return double(xp, bessel.j1, x)

    def vjp(g, x):
        apart = apart_from_zero(x)
        return g * where(eq(apart, x), sub(bessel_j0(apart), bessel_j1(apart) / apart), 0.5)


@_bessel
class bessel_y0:
    """The Bessel function of the second kind of order 0: -infinity at 0, NaN below."""

    def forward(xp, x): return double(xp, bessel.y0, x)
    def vjp(g, x): return neg(g * bessel_y1(x))


@_bessel
class bessel_y1:
    """The Bessel function of the second kind of order 1: -infinity at 0, NaN below."""

    def forward(xp, x): return double(xp, bessel.y1, x)
    def vjp(g, x): return g * sub(bessel_y0(x), bessel_y1(x) / x)


@_bessel
class spherical_bessel_j0:
    """The spherical Bessel function of order 0: sin(x) / x, and 1 at 0."""

    def forward(xp, x): return double(xp, bessel.spherical_j0, x)
    def vjp(g, x): return g * slope_of_sine_ratio(x)


@_bessel
class airy_ai:
    """Airy's function Ai: a wave below 0, and above it a rapid decay. Not differentiable here."""

    def forward(xp, x): return double(xp, bessel.airy_ai, x)
