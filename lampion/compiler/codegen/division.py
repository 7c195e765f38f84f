"""NumPy's floor division, remainder and power."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from lampion.compiler.codegen import powers
from lampion.compiler.codegen.library import or_library
from lampion.dtype import float32, int8

if TYPE_CHECKING:
    from lampion.compiler.codegen.emitter import Emitter
    from lampion.compiler.codegen.lanes import Lanes, Operand


def floor_divide(xp: Emitter, x: Lanes, y: Lanes) -> Lanes:
    """x // y; 0 where an integer is divided by 0."""
    if x.dtype.kind == "f":
        return _float_divmod(xp, x, y)[0]
    return _integer_divmod(xp, x, y)[0]


def remainder(xp: Emitter, x: Lanes, y: Lanes) -> Lanes:
    """x - (x // y) * y, with the sign of y; 0 where an integer is divided by 0."""
    if x.dtype.kind == "f":
        return _float_divmod(xp, x, y)[1]
    return _integer_divmod(xp, x, y)[1]


def fmod(xp: Emitter, x: Lanes, y: Lanes) -> Lanes:
    """x - trunc(x / y) * y, with the sign of x; 0 where an integer is divided by 0."""
    if x.dtype.kind == "f":
        return _float_fmod(xp, x, y)
    rest = remainder(xp, x, y)
    if x.dtype.kind == "u":
        return rest
    # `rest` has the sign of y, unless it is 0: where x has the other sign, it is one y too far.
    return xp.where((rest != 0) & ((x ^ y) < 0), rest - y, rest)


def _integer_divmod(xp: Emitter, x: Lanes, y: Lanes) -> tuple[Lanes, Lanes]:
    b, zero = xp.k.ir, y == 0
    if x.dtype.kind == "u":
        divisor = xp.where(zero, 1, y)
        quotient = xp.made(b.udiv(x.value, divisor.value), x)
        rest = xp.made(b.urem(x.value, divisor.value), x)
        return xp.where(zero, 0, quotient), xp.where(zero, 0, rest)
    smallest = -1 << (8 * x.dtype.itemsize - 1)
    overflow = (x == smallest) & (y == -1)  # the quotient wraps around to `smallest`, as x / 1 does
    divisor = xp.where(zero | overflow, 1, y)
    quotient = xp.made(b.sdiv(x.value, divisor.value), x)
    rest = x - quotient * divisor
    below = (rest != 0) & ((rest ^ divisor) < 0)  # truncated upwards: one too many
    quotient, rest = xp.where(below, quotient - 1, quotient), xp.where(below, rest + divisor, rest)
    return xp.where(zero, 0, quotient), xp.where(zero, 0, rest)


def _float_fmod(xp: Emitter, x: Lanes, y: Lanes) -> Lanes:
    """The exact C fmod. With fma, what the division leaves is exact as long as the quotient has its last
    digit before the point: it is less than y, and a multiple of the last digit of y. The quotient may have
    been rounded up to the next whole number.
    """
    if not xp.k.target.fma:
        return xp.libm("fmod", x, y)
    size, step = xp.absolute(x), xp.absolute(y)
    ratio = size / step
    rest = xp.muladd(-xp.floor(ratio), step, size)
    rest = xp.where(rest < 0, rest + step, rest)
    reached = (ratio < 2.0 ** (23 if x.dtype is float32 else 52)) & (step < math.inf)
    return or_library(xp, xp.copysign(rest, x), reached, "fmod", x, y)


def _float_divmod(xp: Emitter, x: Lanes, y: Lanes) -> tuple[Lanes, Lanes]:
    """Python's float_divmod, which NumPy's npy_divmod follows: from the exact C fmod."""
    modulo = _float_fmod(xp, x, y)
    quotient = (x - modulo) / y
    below = (modulo != 0) & ((y < 0) != (modulo < 0))
    quotient = xp.where(below, quotient - 1.0, quotient)
    floored = xp.floor(quotient)
    floored = xp.where(quotient - floored > 0.5, floored + 1.0, floored)
    floored = xp.where(quotient == 0, xp.copysign(0.0, x / y), floored)
    rest = xp.where(modulo == 0, xp.copysign(0.0, y), xp.where(below, modulo + y, modulo))
    by_zero = y == 0
    return xp.where(by_zero, x / y, floored), xp.where(by_zero, modulo, rest)


def power(xp: Emitter, x: Operand, y: Operand) -> Lanes:
    """x ** y. Small constant exponents of floats are multiplied out, within 2 ulp."""
    known = xp.number_of(y)
    base, exponent = xp.together(x, y)
    if base.dtype.is_half:
        base, exponent = base.astype(float32), exponent.astype(float32)
    if base.dtype.kind == "f":
        if known in _MULTIPLIED_OUT:
            return _MULTIPLIED_OUT[known](xp, base)
        return powers.power(xp, base, exponent)
    if base.dtype.kind == "b":
        base, exponent = base.astype(int8), exponent.astype(int8)
    return _integer_power(xp, base, exponent)


_MULTIPLIED_OUT: dict[float | None, Callable[[Emitter, Lanes], Lanes]] = {
    -1: lambda xp, x: 1.0 / x,
    0.5: lambda xp, x: xp.sqrt(x),  # also of -inf and -0, as NumPy has it for constant exponents
    1: lambda xp, x: x,
    2: lambda xp, x: x * x,
    3: lambda xp, x: x * x * x,
    4: lambda xp, x: (x * x) * (x * x),
}


def _integer_power(xp: Emitter, x: Lanes, y: Lanes) -> Lanes:
    """By squaring, wrapping around. A negative power is 1 / x ** -y cut off, as in PyTorch."""
    k, one = xp.k, xp.literal(1, x.dtype).spread(x.count)
    with k.loop(0, 8 * x.dtype.itemsize, carried=[one.value, x.value, y.value]) as loop:
        out, base, left = (xp.made(value, x) for value in loop.values)
        out = xp.where((left & 1) != 0, out * base, out)
        loop.carry(out.value, (base * base).value, k.ir.lshr(left.value, one.value))
    out = xp.made(loop.results[0], x)
    if x.dtype.kind == "u":
        return out
    odd = (y & 1) != 0
    inverse = xp.where(x == 1, 1, xp.where(x == -1, xp.where(odd, -one, one), 0))
    return xp.where(y < 0, inverse, out)
