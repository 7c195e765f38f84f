"""sin, cos, tan and their inverses, for vectors of any width, as arithmetic.

An angle is brought to [-pi/4, pi/4] by subtracting k pi/2, with pi/2 in three parts (Cody and Waite,
"Software Manual for the Elementary Functions", 1980). With fma the first difference is exact. Where an angle
is beyond 2**30, infinite or NaN, the C library is asked, lane by lane; on processors without fma, always.
float32 is computed as float64. Errors, measured by tests/test_codegen_math.py, are below 2.5 ulp (tan, atan2:
3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lampion.compiler.codegen.library import or_library
from lampion.dtype import DType, float32, float64

if TYPE_CHECKING:
    from lampion.compiler.codegen.emitter import Emitter
    from lampion.compiler.codegen.lanes import Lanes

FAR = 2.0**30
TINY = 2.0**-27  # below, sin(x) and tan(x) are x, with its sign
# The coefficients, lowest power first, interpolate at Chebyshev nodes; the bound of the relative error of the
# whole function is noted beside each.
#: pi/2, and what is missing from it.
HALF_PI, HALF_PI_LOW, HALF_PI_LOWEST = 1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33
MAGIC = 1.5 * 2.0**52  # adding this rounds to a whole number, which then stands in the low bits
#: (sin(r) / r - 1) / r**2 in powers of r**2, for |r| <= pi/4.
SINE: dict[DType, tuple[float, ...]] = {
    float32: (  # 2**-35.7
        -0.16666666663832777,
        0.008333331865963797,
        -0.00019840082015127998,
        2.72493143604168e-06,
    ),
    float64: (  # 2**-57.3
        -0.16666666666666666,
        0.008333333333333331,
        -0.00019841269841265017,
        2.7557319219301936e-06,
        -2.5052106219528367e-08,
        1.6058529573291737e-10,
        -7.586576648405261e-13,
    ),
}
#: (cos(r) - 1 + r**2 / 2) / r**4 in powers of r**2, for |r| <= pi/4.
COSINE: dict[DType, tuple[float, ...]] = {
    float32: (  # 2**-40.0
        0.04166666666430242,
        -0.0013888887664717277,
        2.4800596437593728e-05,
        -2.73004488746506e-07,
    ),
    float64: (  # 2**-60.0
        0.041666666666666664,
        -0.0013888888888887382,
        2.480158729874308e-05,
        -2.755731726001471e-07,
        2.0876143829213935e-09,
        -1.1382456865840483e-11,
    ),
}
#: (atan(t) / t - 1) / t**2 in powers of t**2, for |t| <= tan(pi/8).
ARCTAN: dict[DType, tuple[float, ...]] = {
    float32: (  # 2**-38.3
        -0.3333333333141708,
        0.19999998905840732,
        -0.1428561162947598,
        0.11107470633694948,
        -0.09028679226419752,
        0.07133599448303293,
        -0.04039582608317734,
    ),
    float64: (  # 2**-58.1
        -0.3333333333333333,
        0.199999999999998,
        -0.1428571428565887,
        0.11111111105062217,
        -0.09090908748866046,
        0.07692296241152069,
        -0.06666422483428941,
        0.05878901402471912,
        -0.05230251222202872,
        0.045506678905969974,
        -0.034546787010101984,
        0.01625943380140557,
    ),
}
#: (asin(s) / s - 1) / s**2 in powers of s**2, for |s| <= 1/2.
ARCSINE: dict[DType, tuple[float, ...]] = {
    float32: (  # 2**-37.9
        0.1666666666547371,
        0.0750000060853572,
        0.04464235142235344,
        0.030397824038387495,
        0.022130040145904292,
        0.019321727582135132,
        0.005394220892614709,
        0.02936573002725576,
    ),
    float64: (  # 2**-58.8
        0.16666666666666666,
        0.07500000000000122,
        0.04464285714254326,
        0.030381944476347046,
        0.02237215740373685,
        0.01735281769074104,
        0.013963758735074137,
        0.01156672237119713,
        0.009619629203687472,
        0.009332327156165665,
        0.002995311657156326,
        0.019678367430162,
        -0.01942149876336336,
        0.029727286869498975,
    ),
}


def sin(xp: Emitter, x: Lanes) -> Lanes:
    """The sine: of the rest r, the sine or the cosine of r, as k says."""
    return _by_quadrant(xp, x, "sin", 0)


def cos(xp: Emitter, x: Lanes) -> Lanes:
    """The cosine: the sine, one quadrant on."""
    return _by_quadrant(xp, x, "cos", 1)


def tan(xp: Emitter, x: Lanes) -> Lanes:
    """sin / cos, or -cos / sin in every other quadrant."""
    if not xp.k.target.fma:
        return xp.libm("tan", x)
    wide = x.astype(float64)
    k, sine, cosine = _both(xp, wide, x.dtype)
    odd = (k & 1) != 0
    out = xp.where(odd, -cosine, sine) / xp.where(odd, sine, cosine)
    out = xp.where(xp.absolute(wide) < TINY, wide, out)
    return or_library(xp, out.astype(x.dtype), xp.absolute(x) <= FAR, "tan", x)


def _by_quadrant(xp: Emitter, x: Lanes, name: str, ahead: int) -> Lanes:
    if not xp.k.target.fma:
        return xp.libm(name, x)
    wide = x.astype(float64)
    k, sine, cosine = _both(xp, wide, x.dtype)
    k = k + ahead
    out = xp.where((k & 1) != 0, cosine, sine)
    out = xp.where((k & 2) != 0, -out, out)
    if not ahead:
        out = xp.where(xp.absolute(wide) < TINY, wide, out)
    return or_library(xp, out.astype(x.dtype), xp.absolute(x) <= FAR, name, x)


def _both(xp: Emitter, x: Lanes, dtype: DType) -> tuple[Lanes, Lanes, Lanes]:
    """k, and the sine and cosine of r = x - k pi/2; x is float64, the result good enough for `dtype`."""
    shifted = xp.muladd(x, 2 / math.pi, MAGIC)
    k = shifted - MAGIC
    r = xp.muladd(k, -HALF_PI, x)  # exact
    if dtype is float32:
        r = xp.muladd(k, -HALF_PI_LOW, r)
        rest = None
    else:
        low = k * HALF_PI_LOW
        lost = xp.muladd(k, HALF_PI_LOW, -low)
        shorter = r - low
        rest = xp.muladd(k, -HALF_PI_LOWEST, ((r - shorter) - low) - lost)
        r = shorter
    z = r * r
    sine, cosine = r * z * _polynomial(xp, z, SINE[dtype]), z * z * _polynomial(xp, z, COSINE[dtype])
    if rest is not None:
        sine = sine + rest * (1.0 - 0.5 * z)
        cosine = cosine - r * rest
    half = 0.5 * z
    whole = 1.0 - half
    return shifted.bits(), r + sine, whole + (((1.0 - whole) - half) + cosine)


# -- inverses -------------------------------------------------------------------------------------------


def arctan(xp: Emitter, x: Lanes) -> Lanes:
    """The angle whose tangent is x: that of |x|, of (|x| - 1) / (|x| + 1) + pi/4, or of -1 / |x| + pi/2."""
    wide = x.astype(float64)
    size = xp.absolute(wide)
    angle = _arctan(xp, size, xp.literal(1.0, float64).spread(size.count), x.dtype)
    return xp.copysign(angle, wide).astype(x.dtype)


def arctan2(xp: Emitter, y: Lanes, x: Lanes) -> Lanes:
    """The angle of the point (x, y)."""
    dtype = x.dtype
    x, y = x.astype(float64), y.astype(float64)
    width, height = xp.absolute(x), xp.absolute(y)
    both = (width == math.inf) & (height == math.inf)
    one = xp.literal(1.0, float64)
    angle = _arctan(xp, xp.where(both, one, height), xp.where(both, one, width), dtype)
    behind = (x.bits() >> 63) != 0
    angle = xp.where(behind, 2 * HALF_PI - (angle - 2 * HALF_PI_LOW), angle)
    return xp.copysign(angle, y).astype(dtype)


def _arctan(xp: Emitter, height: Lanes, width: Lanes, dtype: DType) -> Lanes:
    """The angle from 0 to pi/2 with the tangent height / width; 0 where both are 0."""
    steep = height > width
    small, large = xp.where(steep, width, height), xp.where(steep, height, width)
    ratio = xp.where((small == 0) & (large == 0), small, small / large)  # 0 / 0 is 0 here; NaN stays
    middle = ratio > math.tan(math.pi / 8)
    t = xp.where(middle, (ratio - 1.0) / (ratio + 1.0), ratio)
    angle = xp.muladd(t * (t * t), _polynomial(xp, t * t, ARCTAN[dtype]), t)
    angle = xp.where(middle, HALF_PI / 2 + (angle + HALF_PI_LOW / 2), angle)
    return xp.where(steep, HALF_PI - (angle - HALF_PI_LOW), angle)


def arcsin(xp: Emitter, x: Lanes) -> Lanes:
    """The angle whose sine is x: beyond 1/2, pi/2 - 2 asin(sqrt((1 - x) / 2))."""
    wide = x.astype(float64)
    large, s = _half_angle(xp, xp.absolute(wide))
    angle = _arcsin(xp, s, x.dtype)
    angle = xp.where(large, HALF_PI - (2.0 * angle - HALF_PI_LOW), angle)
    return xp.copysign(angle, wide).astype(x.dtype)


def arccos(xp: Emitter, x: Lanes) -> Lanes:
    """pi/2 - asin(x); beyond 1/2, 2 asin(sqrt((1 - x) / 2))."""
    wide = x.astype(float64)
    large, s = _half_angle(xp, xp.absolute(wide))
    angle = _arcsin(xp, s, x.dtype)
    beyond = xp.where(wide < 0, 2 * HALF_PI - (2.0 * angle - 2 * HALF_PI_LOW), 2.0 * angle)
    out = xp.where(large, beyond, HALF_PI - (xp.copysign(angle, wide) - HALF_PI_LOW))
    return out.astype(x.dtype)


def _half_angle(xp: Emitter, size: Lanes) -> tuple[Lanes, Lanes]:
    """Where the sine is beyond 1/2, and there the sine of half the angle that is left to pi/2."""
    large = size > 0.5
    return large, xp.where(large, xp.sqrt(0.5 - 0.5 * size), size)


def _arcsin(xp: Emitter, s: Lanes, dtype: DType) -> Lanes:
    return xp.muladd(s * (s * s), _polynomial(xp, s * s, ARCSINE[dtype]), s)


def _polynomial(xp: Emitter, x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """Horner's rule."""
    out = xp.muladd(x, coefficients[-1], coefficients[-2])
    for c in coefficients[-3::-1]:
        out = xp.muladd(x, out, c)
    return out
