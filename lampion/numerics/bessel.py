"""Bessel functions of orders 0 and 1, and Airy's function.

Near 0 power-like series (with the logarithm that Y and K have split off), far out the amplitudes of their
waves and decays: M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions" (1964), 9.1.13, 9.2.5,
9.6.13, 9.7.1, 10.4.59; the split as in S. Moshier's Cephes library (1989).
"""

from __future__ import annotations

import math
from typing import Any

from lampion.numerics import tables
from lampion.numerics.series import Table, chebyshev

TWO_OVER_PI = 2 / math.pi
ROOT_HALF = math.sqrt(0.5)


# -- modified: I and K, which grow and decay --------------------------------------------------------------


def _grown(xp: Any, x: Any, near: Table, far: Table) -> tuple[Any, Any]:
    """Both series of an e**-x I(x), for x >= 0: up to 8, and beyond."""
    large = xp.maximum(x, 8.0)
    return chebyshev(xp, near, x), chebyshev(xp, far, 8.0 / large) / xp.sqrt(large)


def i0e(xp: Any, x: Any) -> Any:
    """e**-|x| I0(x)."""
    size = xp.absolute(x)
    near, far = _grown(xp, size, tables.I0_NEAR, tables.I0_FAR)
    return xp.where(size < 8.0, near, far)


def i1e(xp: Any, x: Any) -> Any:
    """e**-|x| I1(x)."""
    size = xp.absolute(x)
    near, far = _grown(xp, size, tables.I1_NEAR, tables.I1_FAR)
    return xp.where(size < 8.0, near * x, xp.copysign(far, x))


def i0(xp: Any, x: Any) -> Any:
    """I0(x)."""
    return _unscaled(xp, i0e(xp, x), xp.absolute(x))


def i1(xp: Any, x: Any) -> Any:
    """I1(x)."""
    return _unscaled(xp, i1e(xp, x), xp.absolute(x))


def _unscaled(xp: Any, scaled: Any, size: Any) -> Any:
    """Times e**size, in two steps: the factor may be infinite where the product is not."""
    half = xp.exp(0.5 * size)
    return xp.where(size == math.inf, scaled + xp.copysign(math.inf, scaled), scaled * half * half)


def _k(xp: Any, x: Any, near: Any, far: Table) -> tuple[Any, Any]:
    """K below 2 (from `near`), e**x K above; infinite at 0, NaN below."""
    large = xp.maximum(x, 2.0)
    decay = chebyshev(xp, far, 2.0 / large) / xp.sqrt(large)
    near = xp.where(x > 0, near, xp.where(x == 0, math.inf, math.nan))
    return xp.where(x <= 2.0, near, decay), xp.where(x <= 2.0, 0.0, x)


def _k0(xp: Any, x: Any) -> tuple[Any, Any]:
    near = chebyshev(xp, tables.K0_NEAR, x * x) - xp.log(0.5 * x) * i0(xp, xp.minimum(x, 2.0))
    return _k(xp, x, near, tables.K0_FAR)


def _k1(xp: Any, x: Any) -> tuple[Any, Any]:
    near = chebyshev(xp, tables.K1_NEAR, x * x) / x + xp.log(0.5 * x) * i1(xp, xp.minimum(x, 2.0))
    return _k(xp, x, near, tables.K1_FAR)


def k0(xp: Any, x: Any) -> Any:
    """K0(x)."""
    value, scale = _k0(xp, x)
    return value * xp.exp(-scale)


def k1(xp: Any, x: Any) -> Any:
    """K1(x)."""
    value, scale = _k1(xp, x)
    return value * xp.exp(-scale)


def k0e(xp: Any, x: Any) -> Any:
    """e**x K0(x)."""
    value, scale = _k0(xp, x)
    return value * xp.exp(xp.minimum(x, 2.0) * (scale == 0))


def k1e(xp: Any, x: Any) -> Any:
    """e**x K1(x)."""
    value, scale = _k1(xp, x)
    return value * xp.exp(xp.minimum(x, 2.0) * (scale == 0))


# -- J and Y, which swing -------------------------------------------------------------------------------


def _wave(xp: Any, x: Any, order: int) -> tuple[Any, Any]:
    """J and Y beyond 5: sqrt(2 / (pi x)) (P cos - Q sin, P sin + Q cos) of x - pi/4 - order pi/2."""
    x = xp.minimum(x, 1e300)
    ratio = 5.0 / x
    p, q = (tables.P0, tables.Q0) if order == 0 else (tables.P1, tables.Q1)
    p, q = chebyshev(xp, p, ratio * ratio), chebyshev(xp, q, ratio * ratio) * ratio
    # The angle by the addition theorem: x - pi/4 would have lost digits.
    sine, cosine = xp.sin(x) * ROOT_HALF, xp.cos(x) * ROOT_HALF
    sine, cosine = sine - cosine, sine + cosine  # of x - pi/4
    if order == 1:
        sine, cosine = -cosine, sine
    size = xp.sqrt(TWO_OVER_PI / x)
    return size * (p * cosine - q * sine), size * (p * sine + q * cosine)


def j0(xp: Any, x: Any) -> Any:
    """J0(x)."""
    size = xp.absolute(x)
    near = _j0_near(xp, xp.minimum(size, 5.0))
    return xp.where(size < 5.0, near, xp.where(size == math.inf, 0.0, _wave(xp, xp.maximum(size, 5.0), 0)[0]))


def _j0_near(xp: Any, x: Any) -> Any:
    high, low = tables.J0_ZERO
    return chebyshev(xp, tables.J0_NEAR, x * x) * (((x - high) - low) * (x + high))


def j1(xp: Any, x: Any) -> Any:
    """J1(x)."""
    size = xp.absolute(x)
    near = _j1_near(xp, xp.minimum(size, 5.0))
    far = xp.where(size == math.inf, 0.0, _wave(xp, xp.maximum(size, 5.0), 1)[0])
    return xp.where(size < 5.0, xp.where(x < 0, -near, near), xp.where(x < 0, -far, far))


def _j1_near(xp: Any, x: Any) -> Any:
    high, low = tables.J1_ZERO
    return chebyshev(xp, tables.J1_NEAR, x * x) * x * (((x - high) - low) * (x + high))


def y0(xp: Any, x: Any) -> Any:
    """Y0(x); -infinity at 0, NaN below."""
    small = xp.minimum(x, 5.0)
    near = chebyshev(xp, tables.Y0_NEAR, small * small) + TWO_OVER_PI * xp.log(small) * _j0_near(xp, small)
    return _second_kind(xp, x, near, 0)


def y1(xp: Any, x: Any) -> Any:
    """Y1(x); -infinity at 0, NaN below."""
    small = xp.minimum(x, 5.0)
    near = chebyshev(xp, tables.Y1_NEAR, small * small) * small
    near = near + TWO_OVER_PI * (xp.log(small) * _j1_near(xp, small) - 1.0 / small)
    return _second_kind(xp, x, near, 1)


def _second_kind(xp: Any, x: Any, near: Any, order: int) -> Any:
    far = xp.where(x == math.inf, 0.0, _wave(xp, xp.maximum(x, 5.0), order)[1])
    near = xp.where(x > 0, near, xp.where(x == 0, -math.inf, math.nan))
    return xp.where(x < 5.0, near, xp.where(xp.isnan(x), x, far))


def spherical_j0(xp: Any, x: Any) -> Any:
    """sin(x) / x, and 1 at 0."""
    apart = xp.where(x == 0, 1.0, x)
    return xp.where(x == 0, 1.0, xp.where(xp.isinf(x), 0.0, xp.sin(apart) / apart))


# -- Airy -----------------------------------------------------------------------------------------------


def airy_ai(xp: Any, x: Any) -> Any:
    """Ai(x)."""
    size = xp.maximum(xp.absolute(x), 2.0)
    zeta = size * xp.sqrt(size) * (2.0 / 3.0)
    root = xp.sqrt(xp.sqrt(size))
    decay = chebyshev(xp, tables.AIRY_DECAY, 2.0 / zeta) * xp.exp(-zeta) / (2.0 * math.sqrt(math.pi) * root)
    decay = xp.where(x > 110.0, 0.0, decay)  # below the smallest float
    ratio = 2.0 / zeta
    f = chebyshev(xp, tables.AIRY_WAVE_F, ratio * ratio)
    g = chebyshev(xp, tables.AIRY_WAVE_G, ratio * ratio) * ratio
    sine, cosine = xp.sin(zeta) * ROOT_HALF, xp.cos(zeta) * ROOT_HALF
    sine, cosine = sine - cosine, sine + cosine  # of zeta - pi/4
    wave = (cosine * f + sine * g) / (math.sqrt(math.pi) * root)
    middle = chebyshev(xp, tables.AIRY_MIDDLE, x)
    return xp.where(x > 2.1, decay, xp.where(x < -2.1, wave, middle))
