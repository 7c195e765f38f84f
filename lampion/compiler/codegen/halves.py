"""float16 and bfloat16: two bytes in memory, a float32 that two bytes can hold in registers.

So loads widen, stores narrow, and what is computed in between is computed in float32; `rounded` makes the
result of an operation one of the type again (NumPy and ml_dtypes do the same: compute, then round to even).
float16 is converted by the processor where it can; nowhere is a library called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import llvmlite.ir as ir

from lampion.dtype import DType, float16, float32, float64, uint32, uint64

if TYPE_CHECKING:
    from lampion.compiler.codegen.builder import IRType, IRValue, KernelBuilder

# IEEE 754-2019, table 3.5: of float16, the least normal number is 2**-14; from 2**16 on it is infinite.
_LEAST, _BEYOND, _DIGITS = -14, 16, 10
_HALF, _SINGLE = ir.HalfType(), ir.FloatType()
_I16, _I32 = ir.IntType(16), ir.IntType(32)


def widen(k: KernelBuilder, bits: IRValue, dtype: DType) -> IRValue:
    """The float32 that these 16 bits stand for."""
    if dtype is not float16:  # bfloat16 is the upper half of a float32
        return k.ir.bitcast(_shift(k, "shl", _resized(k, "zext", bits, _I32), 16), _like(_SINGLE, bits))
    if k.target.converts_halves:
        return k.ir.fpext(k.ir.bitcast(bits, _like(_HALF, bits)), _like(_SINGLE, bits))
    return _widen_float16(k, bits)


def narrow(k: KernelBuilder, value: IRValue, dtype: DType, *, is_rounded: bool = False) -> IRValue:
    """The 16 bits that stand for a float32, which is rounded unless it is known to be so."""
    if dtype is float16 and k.target.converts_halves:
        return k.ir.bitcast(k.ir.fptrunc(value, _like(_HALF, value)), _like(_I16, value))
    if not is_rounded:
        value = rounded(k, value, dtype)
    if dtype is float16:
        return _narrow_float16(k, value)
    bits = k.ir.bitcast(value, _like(_I32, value))
    return _resized(k, "trunc", _shift(k, "lshr", bits, 16), _I16)


def rounded(k: KernelBuilder, value: IRValue, dtype: DType) -> IRValue:
    """The number of that type nearest to a float32 or float64, as a float32; to even where two are."""
    single = _scalar(value) == _SINGLE
    if dtype is not float16:
        # From float64 by way of float32, as ml_dtypes rounds it.
        return _round_bfloat16(k, value if single else k.ir.fptrunc(value, _like(_SINGLE, value)))
    if single and k.target.converts_halves:
        return k.ir.fpext(k.ir.fptrunc(value, _like(_HALF, value)), value.type)
    out = _round_float16(k, value)
    return out if single else k.ir.fptrunc(out, _like(_SINGLE, value))


def _round_bfloat16(k: KernelBuilder, value: IRValue) -> IRValue:
    """Add just under half of the last place that is kept, and one more if that place is odd; cut off.

    (vcvtneps2bf16 of AVX-512 would take subnormal numbers for 0, which NumPy does not.)
    """
    b, bits = k.ir, k.ir.bitcast(value, _like(_I32, value))
    odd = b.and_(_shift(k, "lshr", bits, 16), _number(k, bits, 1))
    up = b.add(bits, b.add(odd, _number(k, bits, 0x7FFF)))
    quiet = b.or_(bits, _number(k, bits, 0x400000))  # of a NaN something must be left
    chosen = b.select(b.fcmp_unordered("uno", value, value), quiet, up)
    return b.bitcast(b.and_(chosen, _number(k, bits, 0xFFFF0000)), value.type)


def _round_float16(k: KernelBuilder, value: IRValue) -> IRValue:
    """The same for float16, which ends earlier on either side; of a float32 or a float64, in its own type."""
    b = k.ir
    single = _scalar(value) == _SINGLE
    digits, bias, dtype = (23, 127, float32) if single else (52, 1023, float64)
    bits = b.bitcast(value, _like(ir.IntType(32 if single else 64), value))
    sign = b.and_(bits, _number(k, bits, 1 << (31 if single else 63)))
    size = b.xor(bits, sign)
    drop, infinity = digits - _DIGITS, (2 * bias + 1) << digits

    odd = b.and_(_shift(k, "lshr", size, drop), _number(k, bits, 1))
    up = b.add(size, b.add(odd, _number(k, bits, (1 << (drop - 1)) - 1)))
    out = b.and_(up, _number(k, bits, -1 << drop))
    beyond = b.icmp_unsigned(">=", out, _number(k, bits, (bias + _BEYOND) << digits))
    out = b.select(beyond, _number(k, bits, infinity), out)
    # The last place of this sum is that of float16's subnormal numbers.
    magic = k.constant(dtype, 2.0 ** (digits + _LEAST - _DIGITS), _count(value))
    tiny = b.fsub(b.fadd(b.bitcast(size, value.type), magic), magic)
    is_tiny = b.icmp_unsigned("<", size, _number(k, bits, (bias + _LEAST) << digits))
    out = b.select(is_tiny, b.bitcast(tiny, bits.type), out)
    quiet = b.and_(b.or_(size, _number(k, bits, 1 << (digits - 1))), _number(k, bits, -1 << drop))
    out = b.select(b.icmp_unsigned(">", size, _number(k, bits, infinity)), quiet, out)
    return b.bitcast(b.or_(out, sign), value.type)


def _narrow_float16(k: KernelBuilder, value: IRValue) -> IRValue:
    """The bits of a float32 that float16 holds."""
    b, bits = k.ir, k.ir.bitcast(value, _like(_I32, value))
    sign = b.and_(_shift(k, "lshr", bits, 16), _number(k, bits, 0x8000))
    size = b.and_(bits, _number(k, bits, 0x7FFFFFFF))
    normal = _shift(k, "lshr", b.sub(size, _number(k, bits, (127 - 15) << 23)), 13)
    # A subnormal number is a multiple of 2**-24, which is the last place of 0.5 in float32.
    counted = b.fadd(b.bitcast(size, value.type), k.constant(float32, 0.5, _count(value)))
    tiny = b.and_(b.bitcast(counted, bits.type), _number(k, bits, 0x3FF))
    out = b.select(b.icmp_unsigned("<", size, _number(k, bits, (127 - 14) << 23)), tiny, normal)
    special = b.and_(b.or_(_shift(k, "lshr", size, 13), _number(k, bits, 0x7C00)), _number(k, bits, 0x7FFF))
    out = b.select(b.icmp_unsigned(">=", size, _number(k, bits, 0xFF << 23)), special, out)
    return _resized(k, "trunc", b.or_(out, sign), _I16)


def _widen_float16(k: KernelBuilder, bits: IRValue) -> IRValue:
    """Exponent and mantissa moved to their places, and times 2**112, by which the biases differ: exact, and
    right for subnormal numbers too.
    """
    b, wide = k.ir, _resized(k, "zext", bits, _I32)
    single = _like(_SINGLE, bits)
    sign = _shift(k, "shl", b.and_(wide, _number(k, wide, 0x8000)), 16)
    size = _shift(k, "shl", b.and_(wide, _number(k, wide, 0x7FFF)), 13)
    scaled = b.fmul(b.bitcast(size, single), k.constant(float32, 2.0**112, _count(bits)))
    special = b.icmp_unsigned(">=", size, _number(k, wide, 0x1F << 23))
    out = b.select(special, b.or_(size, _number(k, wide, 0xFF << 23)), b.bitcast(scaled, wide.type))
    return b.bitcast(b.or_(out, sign), single)


def _count(value: IRValue) -> int:
    return value.type.count if isinstance(value.type, ir.VectorType) else 1


def _scalar(value: IRValue) -> IRType:
    return value.type.element if isinstance(value.type, ir.VectorType) else value.type


def _like(typ: IRType, value: IRValue) -> IRType:
    """That type, in as many lanes as the value has."""
    return ir.VectorType(typ, value.type.count) if isinstance(value.type, ir.VectorType) else typ


def _number(k: KernelBuilder, like: IRValue, value: int) -> IRValue:
    return k.constant(uint32 if _scalar(like).width == 32 else uint64, value, _count(like))


def _shift(k: KernelBuilder, name: str, value: IRValue, amount: int) -> IRValue:
    return getattr(k.ir, name)(value, _number(k, value, amount))


def _resized(k: KernelBuilder, name: str, value: IRValue, typ: IRType) -> IRValue:
    return getattr(k.ir, name)(value, _like(typ, value))
