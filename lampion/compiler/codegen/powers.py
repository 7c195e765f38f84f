"""x**y for floats: 2**(y log2(x)), with a logarithm that has digits to spare.

A rounding of y log2(x), which may be as large as 1024, is that many times as large in the result. So float32
is computed in float64; and for float64 the logarithm is the sum of two numbers, `high` and `low`, in which
T. J. Dekker's sums and products ("A floating-point technique for extending the available precision", 1971)
lose next to nothing. Whole powers that are numbers of the type come out exactly.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lampion.compiler.codegen.mathlib import exp2, log2, polynomial, scaled, split_any
from lampion.compiler.codegen.polynomials import FLOAT64
from lampion.dtype import float32, float64, int64

if TYPE_CHECKING:
    from lampion.compiler.codegen.emitter import Emitter
    from lampion.compiler.codegen.lanes import Lanes

Pair = tuple["Lanes", "Lanes"]

# Numbers, each as the float64 nearest to it and what is left.
_TWO_THIRDS = (2 / 3, float.fromhex("0x1.5555555555555p-55"))
_LOG2_E = (1 / math.log(2), float.fromhex("0x1.777d0ffda0d24p-56"))
_LN_2 = (math.log(2), float.fromhex("0x1.abc9e3b39803fp-56"))
# 2 / (2n + 5): the series of log((1 + s) / (1 - s)) = 2 atanh(s) in powers of s**2, from s**5 on.
_TAIL = tuple(2 / (2 * n + 5) for n in range(11))
_END = 1100.0  # exponents beyond which a power of 2 is 0 or infinite


def power(xp: Emitter, x: Lanes, y: Lanes) -> Lanes:
    """x**y. Specials are C's."""
    if x.dtype is float32:
        base, exponent = x.astype(float64), y.astype(float64)
        out = exp2(xp, exponent * log2(xp, xp.absolute(base)))
        return _with_specials(xp, base, exponent, out).astype(float32)
    if not xp.k.target.fma:  # exact products would take five times as long
        return xp.libm("pow", x, y)
    return _with_specials(xp, x, y, _exp2(xp, *_times(xp, y, _log2(xp, xp.absolute(x)))))


def _with_specials(xp: Emitter, x: Lanes, y: Lanes, out: Lanes) -> Lanes:
    """|x|**y with its sign, and where x or y is 0, 1, infinite, negative or NaN."""
    size = xp.absolute(x)
    out = xp.where(size == 1.0, xp.where(xp.isnan(y), y, 1.0), out)  # not 0 * infinity
    whole = xp.floor(y) == y
    odd = whole & (xp.floor(0.5 * y) != 0.5 * y)
    negative = (x.bits() >> 63) != 0
    out = xp.where(negative & odd, -out, out)
    out = xp.where((x < 0) & ~whole & (size < math.inf), xp.literal(math.nan, float64), out)
    return xp.where((y == 0) | (x == 1.0), xp.literal(1.0, float64), out)


def _log2(xp: Emitter, x: Lanes) -> Pair:
    """k + log2(e) (2s + s**3 (2/3 + s**2 Q(s**2))), where x = 2**k (1 + f) and s = f / (2 + f)."""
    k, f = split_any(xp, x, FLOAT64)
    below = 2.0 + f
    high = f / below
    left = xp.muladd(-high, below, f) - high * (f - (below - 2.0))  # what the division left
    s = high, left / below
    z = _product(xp, s, s)
    inner = z[0] * polynomial(xp, z[0], _TAIL)
    log = _product(xp, s, _product(xp, z, _sum(_constant(xp, x, _TWO_THIRDS), (inner, z[1] * _TAIL[0]))))
    log = _product(xp, _sum((2.0 * s[0], 2.0 * s[1]), log), _constant(xp, x, _LOG2_E))
    high, low = _sum((k, xp.literal(0.0, float64)), log)
    plain = (x > 0) & (x < math.inf)
    return xp.where(plain, high, xp.where(x == 0, -math.inf, x)), xp.where(plain, low, 0.0)


def _times(xp: Emitter, y: Lanes, x: Pair) -> Pair:
    high = y * x[0]
    low = xp.muladd(y, x[0], -high) + y * x[1]
    return high, xp.where(xp.absolute(high) < _END, low, 0.0)  # else NaN, of infinities


def _exp2(xp: Emitter, high: Lanes, low: Lanes) -> Lanes:
    """2**(high + low) = 2**k e**r, where k is the integer nearest to `high`."""
    high = xp.minimum(xp.maximum(high, -_END), _END)  # a NaN stays one
    shifted = high + FLOAT64.magic
    rest = _sum((high - (shifted - FLOAT64.magic), xp.literal(0.0, float64)), (low, xp.literal(0.0, float64)))
    r, left = _product(xp, rest, _constant(xp, high, _LN_2))
    above = 1.0 + r
    curve = xp.muladd(r * r, polynomial(xp, r, FLOAT64.expm1), left)
    out = above + (((1.0 - above) + r) + curve)
    k = shifted.bits() - xp.literal(FLOAT64.magic, float64).bits()
    return scaled(xp, out, k.astype(int64), FLOAT64)


def _sum(x: Pair, y: Pair) -> Pair:
    """The sum of two numbers of two parts, the first of which is larger, or 0."""
    high = x[0] + y[0]
    return high, ((x[0] - high) + y[0]) + (x[1] + y[1])


def _product(xp: Emitter, x: Pair, y: Pair) -> Pair:
    """The product of two numbers of two parts."""
    high = x[0] * y[0]
    return high, xp.muladd(x[0], y[0], -high) + (x[0] * y[1] + x[1] * y[0])


def _constant(xp: Emitter, like: Lanes, parts: tuple[float, float]) -> Pair:
    return xp.literal(parts[0], like.dtype), xp.literal(parts[1], like.dtype)
