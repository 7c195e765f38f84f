"""An array as LLVM sees it: one element a lane, with Python's operators meaning what NumPy's do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

import numpy as np

from lampion.compiler.codegen import casts
from lampion.compiler.codegen.builder import IRValue, Splat, is_vector, register
from lampion.dtype import DType, float32, float64, of, uint32, uint64

if TYPE_CHECKING:
    from lampion.compiler.codegen.emitter import Emitter

Number = bool | int | float | np.generic
Operand = Union["Lanes", Number]  # at run time, where a string has no |


class Lanes:
    """One LLVM value, scalar or vector, with its element type."""

    __slots__ = ("dtype", "value", "xp")
    __array_ufunc__ = None  # so that a NumPy scalar on the left leaves the operation to us

    def __init__(self, xp: Emitter, value: IRValue, dtype: DType) -> None:
        self.xp = xp
        self.value = value
        self.dtype = dtype

    @property
    def count(self) -> int:
        """How many lanes; 1 for a scalar, which goes with any other number."""
        return self.value.type.count if is_vector(self.value) else 1

    def spread(self, lanes: int) -> Lanes:
        """The same as a vector of that many lanes."""
        if self.count == lanes:
            return self
        k = self.xp.k
        if isinstance(self.value, Splat):
            typ = register(self.dtype, lanes)
            return Lanes(self.xp, Splat(typ, f"splat ({self.value.type} {self.value.constant})"), self.dtype)
        return Lanes(self.xp, k.splat(self.value, lanes), self.dtype)

    def astype(self, dtype: Any) -> Lanes:
        """Convert, as NumPy does."""
        dtype = of(dtype)
        return self if dtype is self.dtype else casts.cast(self, dtype)

    def bits(self) -> Lanes:
        """The bits of a float32 or float64 as an unsigned integer of the same size."""
        return self._reinterpret(uint32 if self.dtype.itemsize == 4 else uint64)

    def as_float(self) -> Lanes:
        """The float with these bits."""
        return self._reinterpret(float32 if self.dtype.itemsize == 4 else float64)

    def _reinterpret(self, dtype: DType) -> Lanes:
        return Lanes(self.xp, self.xp.k.ir.bitcast(self.value, register(dtype, self.count)), dtype)

    def __neg__(self) -> Lanes:
        return self.xp.negative(self)

    def __pos__(self) -> Lanes:
        return self

    def __abs__(self) -> Lanes:
        return self.xp.absolute(self)

    def __invert__(self) -> Lanes:
        return self.xp.invert(self)

    def __add__(self, y: Operand) -> Lanes:
        return self.xp.add(self, y)

    def __radd__(self, x: Operand) -> Lanes:
        return self.xp.add(x, self)

    def __sub__(self, y: Operand) -> Lanes:
        return self.xp.subtract(self, y)

    def __rsub__(self, x: Operand) -> Lanes:
        return self.xp.subtract(x, self)

    def __mul__(self, y: Operand) -> Lanes:
        return self.xp.multiply(self, y)

    def __rmul__(self, x: Operand) -> Lanes:
        return self.xp.multiply(x, self)

    def __truediv__(self, y: Operand) -> Lanes:
        return self.xp.divide(self, y)

    def __rtruediv__(self, x: Operand) -> Lanes:
        return self.xp.divide(x, self)

    def __floordiv__(self, y: Operand) -> Lanes:
        return self.xp.floor_divide(self, y)

    def __rfloordiv__(self, x: Operand) -> Lanes:
        return self.xp.floor_divide(x, self)

    def __mod__(self, y: Operand) -> Lanes:
        return self.xp.remainder(self, y)

    def __rmod__(self, x: Operand) -> Lanes:
        return self.xp.remainder(x, self)

    def __pow__(self, y: Operand) -> Lanes:
        return self.xp.power(self, y)

    def __rpow__(self, x: Operand) -> Lanes:
        return self.xp.power(x, self)

    def __and__(self, y: Operand) -> Lanes:
        return self.xp.bitwise_and(self, y)

    def __rand__(self, x: Operand) -> Lanes:
        return self.xp.bitwise_and(x, self)

    def __or__(self, y: Operand) -> Lanes:
        return self.xp.bitwise_or(self, y)

    def __ror__(self, x: Operand) -> Lanes:
        return self.xp.bitwise_or(x, self)

    def __xor__(self, y: Operand) -> Lanes:
        return self.xp.bitwise_xor(self, y)

    def __rxor__(self, x: Operand) -> Lanes:
        return self.xp.bitwise_xor(x, self)

    def __lshift__(self, y: Operand) -> Lanes:
        return self.xp.left_shift(self, y)

    def __rlshift__(self, x: Operand) -> Lanes:
        return self.xp.left_shift(x, self)

    def __rshift__(self, y: Operand) -> Lanes:
        return self.xp.right_shift(self, y)

    def __rrshift__(self, x: Operand) -> Lanes:
        return self.xp.right_shift(x, self)

    def __lt__(self, y: Operand) -> Lanes:
        return self.xp.less(self, y)

    def __le__(self, y: Operand) -> Lanes:
        return self.xp.less_equal(self, y)

    def __gt__(self, y: Operand) -> Lanes:
        return self.xp.greater(self, y)

    def __ge__(self, y: Operand) -> Lanes:
        return self.xp.greater_equal(self, y)

    def __eq__(self, y: Operand) -> Lanes:  # type: ignore[override]  # a mask, as NumPy's
        return self.xp.equal(self, y)

    def __ne__(self, y: Operand) -> Lanes:  # type: ignore[override]  # a mask, as NumPy's
        return self.xp.not_equal(self, y)

    __hash__ = None  # type: ignore[assignment]  # since equality is a mask

    def __bool__(self) -> bool:
        raise TypeError("a value of compiled code has no truth value; use xp.where")
