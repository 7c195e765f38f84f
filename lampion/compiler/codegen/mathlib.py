"""exp, log, tanh and their kin, for vectors of any width, as arithmetic.

Each function is written on `Lanes` as NumPy code is on arrays, and takes one lane or many to the same
bits. Errors, measured by tests/test_codegen_math.py, are below 2 ulp (tanh: 3), special values are
NumPy's, subnormal arguments and results included. Only `muladd` may be fused, so that processors
without fma differ from others in the last bit, but not in accuracy.

The methods are the classical ones: Cody and Waite, "Software Manual for the Elementary Functions" (1980),
for the reductions; Tang's and Sun's fdlibm (1993) for log and log1p in float64; J. F. Hart et al.,
"Computer Approximations" (1968), for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lampion.compiler.codegen.polynomials import LOG2_E, Format, format_of
from lampion.dtype import float32, float64, int32, int64

LN_2 = math.log(2)
# Each as a number of few bits, and the rest.
_LOG10_2 = (float.fromhex("0x1.34413509f7p-2"), float.fromhex("0x1.3fde623e2566bp-43"))
_LOG10_E = (float.fromhex("0x1.bcb7b14p-2"), float.fromhex("0x1.26e50e32a6ab7p-30"))

if TYPE_CHECKING:
    from lampion.compiler.codegen.emitter import Emitter
    from lampion.compiler.codegen.lanes import Lanes


def exp(xp: Emitter, x: Lanes) -> Lanes:
    """e**x = 2**k * e**r, where x = k log(2) + r and |r| <= log(2)/2."""
    form = format_of(x.dtype)
    low, high = form.exp_range
    x = xp.minimum(xp.maximum(x, low), high)  # a NaN stays one
    k, r = _reduce(xp, x, form)
    power = polynomial(xp, r, form.expm1)
    power = xp.muladd(r * r, power, r) + 1.0
    return scaled(xp, power, k.astype(int32 if x.dtype.itemsize == 4 else int64), form)


def exp2(xp: Emitter, x: Lanes) -> Lanes:
    """2**x = 2**k * e**r, where k is the integer nearest to x, and r = (x - k) log(2)."""
    form = format_of(x.dtype)
    x = xp.minimum(xp.maximum(x, float(-form.bias - form.mantissa - 3)), form.bias + 2.0)  # a NaN stays one
    shifted = x + form.magic
    r = (x - (shifted - form.magic)) * LN_2
    power = xp.muladd(r * r, polynomial(xp, r, form.expm1), r) + 1.0
    k = shifted.bits() - _bits(form.magic, form)
    return scaled(xp, power, k.astype(int32 if x.dtype.itemsize == 4 else int64), form)


def expm1(xp: Emitter, x: Lanes) -> Lanes:
    """e**x - 1, without cancellation near 0."""
    form = format_of(x.dtype)
    clipped = xp.minimum(xp.maximum(x, form.expm1_low), form.exp_range[1])
    # Of tiny numbers (subnormal ones do not survive the halving) and of zeros, the rest is lost in x.
    tiny = xp.absolute(x) < 2.0 ** (-2 - form.mantissa)
    return xp.where(tiny, x, 2.0 * _half_expm1(xp, clipped, form))


def tanh(xp: Emitter, x: Lanes) -> Lanes:
    """tanh(x) = -h / (h + 1), where h = (e**(-2|x|) - 1) / 2, and the sign of x.

    Within 2.5 units of the last place; so in float64 it is a polynomial, or 1 - 2 / (e**(2|x|) + 1), which
    are within 1.5.
    """
    form = format_of(x.dtype)
    if form.tanh_small:
        size, z = xp.absolute(x), x * x
        small = xp.muladd(x * z, polynomial(xp, z, form.tanh_small), x)
        large = 1.0 - 2.0 / (exp(xp, size + size) + 1.0)
        return xp.copysign(xp.where(size < 0.55, small, large), x)
    h = _half_expm1(xp, xp.maximum(-2.0 * xp.absolute(x), form.expm1_low), form)
    return xp.copysign(h / (h + 1.0), x)


def _half_expm1(xp: Emitter, x: Lanes, form: Format) -> Lanes:
    """(e**x - 1) / 2 = 2**(k-1) (e**r - 1) + (2**(k-1) - 1/2). Halves, since 2**128 is no float32."""
    k, r = _reduce(xp, x, form)
    power = polynomial(xp, r, form.expm1)
    power = xp.muladd(r * r, power, r)
    scale = _power_of_two(k - 1, form)
    return xp.muladd(scale, power, scale - 0.5)


def _reduce(xp: Emitter, x: Lanes, form: Format) -> tuple[Lanes, Lanes]:
    """k, the integer nearest to x / log(2), as unsigned bits; and x - k log(2), with log(2) in two parts."""
    shifted = xp.muladd(x, LOG2_E, form.magic)
    whole = shifted - form.magic
    r = xp.muladd(whole, -form.ln2_high, x)
    r = xp.muladd(whole, -form.ln2_low, r)
    return shifted.bits() - _bits(form.magic, form), r


def scaled(xp: Emitter, x: Lanes, k: Lanes, form: Format) -> Lanes:
    """x * 2**k, rounded once."""
    if xp.k.target.scales:
        return xp.made(xp.k.intrinsic("ldexp", x.value, k.astype(int32).value), x)
    # 2**k may lie outside the format (below, for subnormal results), but its two halves do not. The
    # last product is the only one that may round.
    half = k >> 1
    return x * _power_of_two(half, form) * _power_of_two(k - half, form)


def _power_of_two(k: Lanes, form: Format) -> Lanes:
    """2**k for a normal result."""
    return ((k + form.bias) << form.mantissa).as_float()


def log(xp: Emitter, x: Lanes) -> Lanes:
    """log(x) = k log(2) + log(1 + f), where x = 2**k (1 + f) and 1/sqrt(2) <= 1 + f < sqrt(2)."""
    form = format_of(x.dtype)
    k, f = split_any(xp, x, form)
    return _log_specials(xp, x, 0.0, _log1p(xp, k, f, 0.0, form))


def log2(xp: Emitter, x: Lanes) -> Lanes:
    """log2(x) = k + log(1 + f) / log(2). Exact for powers of two."""
    form = format_of(x.dtype)
    k, f = split_any(xp, x, form)
    zero = xp.literal(0.0, x.dtype).spread(x.count)
    return _log_specials(xp, x, 0.0, xp.muladd(_log1p(xp, zero, f, 0.0, form), LOG2_E, k))


def log10(xp: Emitter, x: Lanes) -> Lanes:
    """log10(x); of float32 in float64. Of float64 in two parts each, since of 1000 it should be 3 exactly.

    The parts of log(1 + f), as fdlibm (Sun, 1993) has them: `high`, which is short enough for its product
    with a short log10(e) to be exact, and what is left.
    """
    if x.dtype is float32:
        return (log2(xp, x.astype(float64)) * math.log10(2)).astype(float32)
    form = format_of(x.dtype)
    k, f = split_any(xp, x, form)
    half = 0.5 * (f * f)
    s = f / (2.0 + f)
    z = s * s
    high = _upper_half(f - half)
    low = ((f - high) - half) + s * (half + z * polynomial(xp, z, form.log))
    whole, product = k * _LOG10_2[0], high * _LOG10_E[0]
    total = whole + product
    rest = k * _LOG10_2[1] + (low + high) * _LOG10_E[1] + low * _LOG10_E[0]
    return _log_specials(xp, x, 0.0, total + (rest + ((whole - total) + product)))


def _upper_half(x: Lanes) -> Lanes:
    """A float64 without the lower half of its bits."""
    return (x.bits() & 0xFFFFFFFF00000000).as_float()


def split_any(xp: Emitter, x: Lanes, form: Format) -> tuple[Lanes, Lanes]:
    """`_split`, of subnormal numbers too: scaled up, for the exponent to be where it is looked for."""
    tiny = x < form.smallest
    k, f = _split(xp, xp.where(tiny, x * 2.0**form.mantissa, x), form)
    return xp.where(tiny, k - form.mantissa, k), f


def log1p(xp: Emitter, x: Lanes) -> Lanes:
    """log(1 + x), where what 1 + x rounds away is made good: log(u + c) = log(u) + c/u."""
    form = format_of(x.dtype)
    u = 1.0 + x
    lost = xp.where(x < 1.0, x - (u - 1.0), 1.0 - (u - x))
    k, f = _split(xp, u, form)
    near = (x > -0.29) & (x < 0.41)  # no reduction needed, and none of its rounding
    k, f, c = xp.where(near, 0.0, k), xp.where(near, x, f), xp.where(near, 0.0, lost / u)
    out = _log1p(xp, k, f, c, form)
    return _log_specials(xp, x, -1.0, xp.where(x == 0, x, out))


def _split(xp: Emitter, x: Lanes, form: Format) -> tuple[Lanes, Lanes]:
    """k and f, as floats, with x = 2**k (1 + f). Subtracting the bits of 1/sqrt(2) carries into the
    exponent just where the mantissa is above it.
    """
    start = _bits(math.sqrt(0.5), form)
    one = form.bias << form.mantissa
    shifted = x.bits() - start + one
    k = (shifted >> form.mantissa) + (_bits(form.magic, form) - form.bias)
    mantissa = (shifted & ((1 << form.mantissa) - 1)) + start
    return k.as_float() - form.magic, mantissa.as_float() - 1.0


def _log1p(xp: Emitter, k: Lanes, f: Lanes, c: Lanes | float, form: Format) -> Lanes:
    """k log(2) + log(1 + f) + c, summed from the smallest term up."""
    square = f * f
    low = xp.muladd(k, form.ln2_low, c)
    if form.mantissa < 50:  # f - f**2/2 + f**3 P(f)
        rest = xp.muladd(f * square, polynomial(xp, f, form.log), low)
        return xp.muladd(k, form.ln2_high, f + xp.muladd(square, -0.5, rest))
    # With s = f / (2 + f): log(1 + f) = 2 atanh(s) = 2s + s**3 P(s**2), and 2s = f - f**2/2 + s f**2/2.
    s = f / (2.0 + f)
    z = s * s
    half = 0.5 * square
    tail = s * (half + z * polynomial(xp, z, form.log)) + low
    return xp.muladd(k, form.ln2_high, f - (half - tail))


def _log_specials(xp: Emitter, x: Lanes, pole: float, out: Lanes) -> Lanes:
    """-inf at the pole, NaN below, inf at inf."""
    out = xp.where(x < math.inf, out, x)  # inf and NaN
    nan = xp.literal(math.nan, x.dtype)  # typed: NumPy's choice between two plain numbers is a float64
    return xp.where(x > pole, out, xp.where(x == pole, -math.inf, nan))


def erf(xp: Emitter, x: Lanes) -> Lanes:
    """The error function: x + x P(x**2) up to 1; beyond, 1 - exp(-Q(|x|)).

    In float32, where networks use it, -expm1(-Q(|x|)) everywhere: within 2 units of the last place, not 1,
    but quicker by a fifth.
    """
    form = format_of(x.dtype)
    size = xp.minimum(xp.absolute(x), form.erf_high)
    if form.erf_log:
        k, r = _reduce(xp, -xp.muladd(size, polynomial(xp, size, form.erf_log), size), form)
        power = xp.muladd(r * r, polynomial(xp, r, form.expm1), r)
        scale = _power_of_two(k, form)
        return xp.copysign(xp.muladd(scale, power, scale - 1.0), x)
    small = xp.muladd(x, polynomial(xp, x * x, form.erf_small), x)
    large = 1.0 - exp(xp, -polynomial(xp, size, form.erf_large))
    return xp.where(size < 1.0, small, xp.copysign(large, x))


def polynomial(xp: Emitter, x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """Horner's rule."""
    last = len(coefficients) - 1
    out = xp.muladd(x, coefficients[last], coefficients[last - 1])
    for n in range(last - 2, -1, -1):
        out = xp.muladd(x, out, coefficients[n])
    return out


def _bits(number: float, form: Format) -> int:
    """The bits of a float in this format."""
    fraction, exponent = math.frexp(number)  # number = 2 fraction * 2**(exponent - 1)
    mantissa = round((2 * fraction - 1) * 2.0**form.mantissa)
    return ((exponent - 1 + form.bias) << form.mantissa) + mantissa
