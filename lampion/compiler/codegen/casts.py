"""Conversions between element types, as NumPy does them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lampion.compiler.codegen import halves
from lampion.compiler.codegen.builder import IRValue, element, register
from lampion.dtype import DType, float32, int32, int64, uint64

if TYPE_CHECKING:
    from lampion.compiler.codegen.lanes import Lanes


def cast(x: Lanes, dtype: DType) -> Lanes:
    """x with another element type."""
    xp, b = x.xp, x.xp.k.ir
    old, new = x.dtype, dtype
    if new.kind == "b":
        return x != 0
    if new.is_half:
        if old.kind != "f":
            x = x.astype(float32)
        return type(x)(xp, halves.rounded(xp.k, x.value, new), new)
    typ = register(new, x.count)
    if new.kind == "f":
        if old.kind == "f":
            if element(new) == element(old):  # a short float, which is a float32 in registers
                return type(x)(xp, x.value, new)
            emit = b.fpext if new.itemsize > old.itemsize else b.fptrunc
        else:
            emit = b.sitofp if old.kind == "i" else b.uitofp
        return type(x)(xp, emit(x.value, typ), new)
    if old.kind == "f":
        return _float_to_integer(x, new)
    return type(x)(xp, _resize(x, new), new)


def _resize(x: Lanes, dtype: DType) -> IRValue:
    b, typ = x.xp.k.ir, register(dtype, x.count)
    if x.dtype.kind == "b":
        return b.zext(x.value, typ)
    if dtype.itemsize == x.dtype.itemsize:
        return x.value
    if dtype.itemsize < x.dtype.itemsize:
        return b.trunc(x.value, typ)
    return (b.sext if x.dtype.kind == "i" else b.zext)(x.value, typ)


def _float_to_integer(x: Lanes, dtype: DType) -> Lanes:
    """Towards zero. Where the value does not fit, or is NaN, C leaves the answer open; this is what
    NumPy gives on x86: the smallest int64 or int32, of which a smaller type keeps the low bits.
    """
    if dtype.name in ("int64", "int32"):
        return _signed(x, dtype)
    if dtype.name == "uint64":
        high = 2.0**63
        below = _signed(x, int64).astype(uint64)
        above = _signed(x - high, int64).astype(uint64) ^ (1 << 63)
        return x.xp.where(x < high, below, above)
    return _signed(x, int64 if dtype.name == "uint32" else int32).astype(dtype)


def _signed(x: Lanes, dtype: DType) -> Lanes:
    xp, limit = x.xp, 2.0 ** (8 * dtype.itemsize - 1)
    converted = type(x)(xp, xp.k.ir.fptosi(x.value, register(dtype, x.count)), dtype)
    # LLVM's result for what does not fit is poison, which `select` drops where it is not chosen.
    fits = (x >= -limit) & (x < limit)
    return xp.where(fits, converted, -int(limit))
