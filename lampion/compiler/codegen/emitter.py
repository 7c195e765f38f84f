"""NumPy's names on LLVM vectors: what an elementwise primitive's `forward` runs on to emit its code.

`Emitter` stands for the `numpy` module, `Lanes` for its arrays. Each operation gives NumPy's answer, to
the bit for + - * / and sqrt, whose results are rounded to float16 and bfloat16 where the arguments are such
(functions of those are float32): integers wrap around and divide by zero to 0, `maximum` propagates NaN, a
cast from float to integer is what NumPy does on x86.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lampion.compiler.codegen import angles, division, halves, hyperbolic, library, mathlib
from lampion.compiler.codegen.builder import IRValue, KernelBuilder, Splat
from lampion.compiler.codegen.lanes import Lanes, Operand
from lampion.dtype import DType, bfloat16, bool_, float32, float64, of


class Emitter:
    """The `xp` of a `forward` under compilation."""

    pi, e, inf, nan = math.pi, math.e, math.inf, math.nan

    def __init__(self, k: KernelBuilder) -> None:
        self.k = k

    def apply(
        self, primitive: Any, args: Sequence[Lanes], dtype: DType, params: Sequence[tuple[str, Any]] = ()
    ) -> Lanes:
        """The code of an elementwise primitive: its own `lower`, else its `forward`."""
        emit = getattr(primitive, "lower", None) or primitive.forward
        return self._lanes(emit(self, *args, **dict(params)), dtype).astype(dtype)

    def literal(self, value: bool | int | float, dtype: DType) -> Lanes:
        return Lanes(self, self.k.constant(dtype, value), dtype)

    # Types -------------------------------------------------------------------------------------------

    def _lanes(self, x: Operand, dtype: DType) -> Lanes:
        """A Python number becomes a constant of `dtype`; all else keeps its own type."""
        if isinstance(x, Lanes):
            return x
        if isinstance(x, np.generic):
            return self.literal(x.item(), of(x.dtype))
        return self.literal(x, dtype)

    def number_of(self, x: Operand) -> bool | int | float | None:
        """The number that an operand is known to be while compiling, or None."""
        if isinstance(x, Lanes):
            return x.value.number if isinstance(x.value, Splat) else None
        return x.item() if isinstance(x, np.generic) else x

    def together(self, *args: Operand) -> list[Lanes]:
        """All as the type and the number of lanes that NumPy would compute them in."""
        dtype = _common(*(_type_of(x) for x in args))
        lanes = [self._lanes(x, dtype).astype(dtype) for x in args]
        count = max(x.count for x in lanes)
        return [x.spread(count) for x in lanes]

    def floating(self, *args: Operand) -> list[Lanes]:
        """The same for functions that compute in floats: integers become float64, short floats float32."""
        lanes = self._floats(*args)
        return [x.astype(float32) for x in lanes] if lanes[0].dtype.is_half else lanes

    def _floats(self, *args: Operand) -> list[Lanes]:
        lanes = self.together(*args)
        return lanes if lanes[0].dtype.kind == "f" else [x.astype(float64) for x in lanes]

    def made(self, value: IRValue, like: Lanes) -> Lanes:
        return Lanes(self, value, like.dtype)

    def result(self, value: IRValue, like: Lanes) -> Lanes:
        """The same for results of arithmetic, which may have more digits than a short float holds."""
        return self.made(halves.rounded(self.k, value, like.dtype) if like.dtype.is_half else value, like)

    # Arithmetic --------------------------------------------------------------------------------------

    def add(self, x: Operand, y: Operand) -> Lanes:
        x, y = self.together(x, y)
        b = self.k.ir
        emit = {"f": b.fadd, "b": b.or_}.get(x.dtype.kind, b.add)
        return self.result(emit(x.value, y.value), x)

    def subtract(self, x: Operand, y: Operand) -> Lanes:
        x, y = self.together(x, y)
        if x.dtype.kind == "b":
            raise TypeError("subtract: booleans have no difference; use ^")
        emit = self.k.ir.fsub if x.dtype.kind == "f" else self.k.ir.sub
        return self.result(emit(x.value, y.value), x)

    def multiply(self, x: Operand, y: Operand) -> Lanes:
        x, y = self.together(x, y)
        b = self.k.ir
        emit = {"f": b.fmul, "b": b.and_}.get(x.dtype.kind, b.mul)
        return self.result(emit(x.value, y.value), x)

    def divide(self, x: Operand, y: Operand) -> Lanes:
        x, y = self._floats(x, y)
        return self.result(self.k.ir.fdiv(x.value, y.value), x)

    def negative(self, x: Operand) -> Lanes:
        (x,) = self.together(x)
        if x.dtype.kind == "b":
            raise TypeError("negative: booleans have no negative; use ~")
        return self.made((self.k.ir.fneg if x.dtype.kind == "f" else self.k.ir.neg)(x.value), x)

    def muladd(self, x: Operand, y: Operand, z: Operand) -> Lanes:
        """x * y + z, rounded once where the processor has fma. For approximations only: not a sum of
        products that the user wrote, since NumPy rounds twice.
        """
        x, y, z = self.together(x, y, z)
        if self.k.target.fma:
            return self.made(self.k.intrinsic("fma", x.value, y.value, z.value), x)
        return self.made(self.k.ir.fadd(self.k.ir.fmul(x.value, y.value), z.value), x)

    def absolute(self, x: Operand) -> Lanes:
        (x,) = self.together(x)
        if x.dtype.kind == "f":
            return self.made(self.k.intrinsic("fabs", x.value), x)
        return self.where(x < 0, -x, x) if x.dtype.kind == "i" else x

    def copysign(self, x: Operand, y: Operand) -> Lanes:
        x, y = self._floats(x, y)
        return self.made(self.k.intrinsic("copysign", x.value, y.value), x)

    def sign(self, x: Operand) -> Lanes:
        (x,) = self.together(x)
        zero, one = self.literal(0, x.dtype), self.literal(1, x.dtype)
        if x.dtype.kind in "bu":
            return self.where(x != zero, one, zero)
        signed = self.where(x > zero, one, self.where(x < zero, -one, zero))
        return self.where(self.isnan(x), x, signed) if x.dtype.kind == "f" else signed

    def maximum(self, x: Operand, y: Operand) -> Lanes:
        return self._extreme(">", x, y)

    def minimum(self, x: Operand, y: Operand) -> Lanes:
        return self._extreme("<", x, y)

    def _extreme(self, better: str, x: Operand, y: Operand) -> Lanes:
        if self.number_of(x) is not None:  # the number second: see below
            x, y = y, x
        known = self.number_of(y)
        x, y = self.together(x, y)
        if x.dtype.kind != "f":
            return self.where(self._compare(better, x, y), x, y)
        # Where either is NaN, `y > x ? y : x` gives x (and is one instruction). That is wrong only if
        # y is the NaN, which a plain number is not.
        picked = self.where(self._compare(better, y, x), y, x)
        return picked if known is not None and known == known else self.where(self.isnan(y), y, picked)

    def fmax(self, x: Operand, y: Operand) -> Lanes:
        return self._present(">", x, y)

    def fmin(self, x: Operand, y: Operand) -> Lanes:
        return self._present("<", x, y)

    def _present(self, better: str, x: Operand, y: Operand) -> Lanes:
        """The better one, or that which is not NaN: `y > x ? y : x` is x where either is NaN."""
        x, y = self.together(x, y)
        picked = self.where(self._compare(better, y, x), y, x)
        return self.where(self.isnan(x), y, picked) if x.dtype.kind == "f" else picked

    def hypot(self, x: Operand, y: Operand) -> Lanes:
        return hyperbolic.hypot(self, *self.floating(x, y))

    def square(self, x: Operand) -> Lanes:
        return self.multiply(x, x)

    def reciprocal(self, x: Operand) -> Lanes:
        (x,) = self.together(x)
        if x.dtype.kind != "f":
            raise TypeError("reciprocal: expected a float; integers have no reciprocals")
        return self.divide(1.0, x)

    def _widened(self, x: Operand, y: Operand) -> list[Lanes]:
        """The same as `together`, with short floats as float32."""
        return [lanes.astype(float32) if lanes.dtype.is_half else lanes for lanes in self.together(x, y)]

    def floor_divide(self, x: Operand, y: Operand) -> Lanes:
        return division.floor_divide(self, *self._widened(x, y))

    def remainder(self, x: Operand, y: Operand) -> Lanes:
        return division.remainder(self, *self._widened(x, y))

    def fmod(self, x: Operand, y: Operand) -> Lanes:
        return division.fmod(self, *self._widened(x, y))

    def power(self, x: Operand, y: Operand) -> Lanes:
        return division.power(self, x, y)

    # Rounding ----------------------------------------------------------------------------------------

    def _rounded(self, name: str, x: Operand) -> Lanes:
        (x,) = self.together(x)
        return self.made(self.k.intrinsic(name, x.value), x) if x.dtype.kind == "f" else x

    def floor(self, x: Operand) -> Lanes:
        return self._rounded("floor", x)

    def ceil(self, x: Operand) -> Lanes:
        return self._rounded("ceil", x)

    def trunc(self, x: Operand) -> Lanes:
        return self._rounded("trunc", x)

    def rint(self, x: Operand) -> Lanes:
        return self._rounded("rint", *self._floats(x))

    # Choosing, comparing -----------------------------------------------------------------------------

    def where(self, condition: Operand, x: Operand, y: Operand) -> Lanes:
        chosen = self._lanes(condition, bool_).astype(bool_)
        x, y = self.together(x, y)
        count = max(chosen.count, x.count)
        picks = [lanes.spread(count).value for lanes in (chosen, x, y)]
        return self.made(self.k.ir.select(*picks), x)

    def equal(self, x: Operand, y: Operand) -> Lanes:
        return self._compare("==", x, y)

    def not_equal(self, x: Operand, y: Operand) -> Lanes:
        return self._compare("!=", x, y)

    def less(self, x: Operand, y: Operand) -> Lanes:
        return self._compare("<", x, y)

    def less_equal(self, x: Operand, y: Operand) -> Lanes:
        return self._compare("<=", x, y)

    def greater(self, x: Operand, y: Operand) -> Lanes:
        return self._compare(">", x, y)

    def greater_equal(self, x: Operand, y: Operand) -> Lanes:
        return self._compare(">=", x, y)

    def _compare(self, operator: str, x: Operand, y: Operand) -> Lanes:
        x, y = self.together(x, y)
        b = self.k.ir
        if x.dtype.kind == "f":  # all comparisons with NaN are false, except !=
            emit = b.fcmp_unordered if operator == "!=" else b.fcmp_ordered
        else:
            emit = b.icmp_signed if x.dtype.kind == "i" else b.icmp_unsigned
        return Lanes(self, emit(operator, x.value, y.value), bool_)

    def isnan(self, x: Operand) -> Lanes:
        (x,) = self.together(x)
        if x.dtype.kind != "f":
            return self.literal(False, bool_).spread(x.count)
        return Lanes(self, self.k.ir.fcmp_unordered("uno", x.value, x.value), bool_)

    def signbit(self, x: Operand) -> Lanes:
        (x,) = self.floating(x)
        return x.bits() >> (8 * x.dtype.itemsize - 1) != 0

    def isinf(self, x: Operand) -> Lanes:
        (x,) = self._floats(x)
        return self.absolute(x) == math.inf

    def isfinite(self, x: Operand) -> Lanes:
        (x,) = self._floats(x)
        return self.absolute(x) < math.inf

    def logical_not(self, x: Operand) -> Lanes:
        return ~self._truth(x)

    def logical_and(self, x: Operand, y: Operand) -> Lanes:
        return self._truth(x) & self._truth(y)

    def logical_or(self, x: Operand, y: Operand) -> Lanes:
        return self._truth(x) | self._truth(y)

    def logical_xor(self, x: Operand, y: Operand) -> Lanes:
        return self._truth(x) ^ self._truth(y)

    def _truth(self, x: Operand) -> Lanes:
        return self._lanes(x, bool_).astype(bool_)

    # Bits --------------------------------------------------------------------------------------------

    def bitwise_and(self, x: Operand, y: Operand) -> Lanes:
        x, y = self._integers("bitwise_and", x, y)
        return self.made(self.k.ir.and_(x.value, y.value), x)

    def bitwise_or(self, x: Operand, y: Operand) -> Lanes:
        x, y = self._integers("bitwise_or", x, y)
        return self.made(self.k.ir.or_(x.value, y.value), x)

    def bitwise_xor(self, x: Operand, y: Operand) -> Lanes:
        x, y = self._integers("bitwise_xor", x, y)
        return self.made(self.k.ir.xor(x.value, y.value), x)

    def invert(self, x: Operand) -> Lanes:
        (x,) = self._integers("invert", x)
        return self.made(self.k.ir.xor(x.value, self.literal(-1, x.dtype).spread(x.count).value), x)

    def left_shift(self, x: Operand, y: Operand) -> Lanes:
        """0 where the amount is negative or not below the width; LLVM leaves that undefined."""
        plain = y
        x, y = self._integers("left_shift", x, y)
        if _in_width(plain, x.dtype):
            return self.made(self.k.ir.shl(x.value, y.value), x)
        amount, small = self._amount(y)
        return self.where(small, self.made(self.k.ir.shl(x.value, amount.value), x), 0)

    def right_shift(self, x: Operand, y: Operand) -> Lanes:
        """0 or -1, as the sign says, where the amount is negative or not below the width."""
        plain = y
        x, y = self._integers("right_shift", x, y)
        emit = self.k.ir.ashr if x.dtype.kind == "i" else self.k.ir.lshr
        if _in_width(plain, x.dtype):
            return self.made(emit(x.value, y.value), x)
        amount, small = self._amount(y)
        far = self.where(x < 0, self.literal(-1, x.dtype), 0) if x.dtype.kind == "i" else 0
        return self.where(small, self.made(emit(x.value, amount.value), x), far)

    def _amount(self, y: Lanes) -> tuple[Lanes, Lanes]:
        """A shift amount made harmless, and where it was so already."""
        width = self.literal(8 * y.dtype.itemsize, y.dtype).spread(y.count)
        small = Lanes(self, self.k.ir.icmp_unsigned("<", y.value, width.value), bool_)
        return self.where(small, y, 0), small

    def _integers(self, name: str, *args: Operand) -> list[Lanes]:
        lanes = self.together(*args)
        if lanes[0].dtype.kind == "f":
            raise TypeError(f"{name}: expected integers or booleans, got {lanes[0].dtype}")
        return lanes

    # Functions ---------------------------------------------------------------------------------------

    def sqrt(self, x: Operand) -> Lanes:
        (x,) = self._floats(x)
        return self.result(self.k.intrinsic("sqrt", x.value), x)

    def exp(self, x: Operand) -> Lanes:
        return mathlib.exp(self, *self.floating(x))

    def expm1(self, x: Operand) -> Lanes:
        return mathlib.expm1(self, *self.floating(x))

    def log(self, x: Operand) -> Lanes:
        return mathlib.log(self, *self.floating(x))

    def log1p(self, x: Operand) -> Lanes:
        return mathlib.log1p(self, *self.floating(x))

    def tanh(self, x: Operand) -> Lanes:
        return mathlib.tanh(self, *self.floating(x))

    def erf(self, x: Operand) -> Lanes:
        return mathlib.erf(self, *self.floating(x))

    def libm(self, name: str, *args: Lanes) -> Lanes:
        """Call the C library's function lane by lane."""
        return library.libm(self, name, *args)

    def sin(self, x: Operand) -> Lanes:
        return angles.sin(self, *self.floating(x))

    def cos(self, x: Operand) -> Lanes:
        return angles.cos(self, *self.floating(x))

    def tan(self, x: Operand) -> Lanes:
        return angles.tan(self, *self.floating(x))

    def arcsin(self, x: Operand) -> Lanes:
        return angles.arcsin(self, *self.floating(x))

    def arccos(self, x: Operand) -> Lanes:
        return angles.arccos(self, *self.floating(x))

    def arctan(self, x: Operand) -> Lanes:
        return angles.arctan(self, *self.floating(x))

    def log2(self, x: Operand) -> Lanes:
        return mathlib.log2(self, *self.floating(x))

    def log10(self, x: Operand) -> Lanes:
        return mathlib.log10(self, *self.floating(x))

    def exp2(self, x: Operand) -> Lanes:
        return mathlib.exp2(self, *self.floating(x))

    def arctan2(self, x: Operand, y: Operand) -> Lanes:
        return angles.arctan2(self, *self.floating(x, y))

    def sinh(self, x: Operand) -> Lanes:
        return hyperbolic.sinh(self, *self.floating(x))

    def cosh(self, x: Operand) -> Lanes:
        return hyperbolic.cosh(self, *self.floating(x))

    def arcsinh(self, x: Operand) -> Lanes:
        return hyperbolic.arcsinh(self, *self.floating(x))

    def arccosh(self, x: Operand) -> Lanes:
        return hyperbolic.arccosh(self, *self.floating(x))

    def arctanh(self, x: Operand) -> Lanes:
        return hyperbolic.arctanh(self, *self.floating(x))

    def logaddexp(self, x: Operand, y: Operand) -> Lanes:
        return hyperbolic.logaddexp(self, *self.floating(x, y))

    def logaddexp2(self, x: Operand, y: Operand) -> Lanes:
        return hyperbolic.logaddexp2(self, *self.floating(x, y))

    true_divide = divide
    abs = absolute


def _type_of(x: Operand) -> Any:
    """What `np.result_type` should see of it: a Python number yields to any type of its kind."""
    if isinstance(x, Lanes):
        return x.dtype.numpy
    return x.dtype if isinstance(x, np.generic) else type(x)


@functools.cache
def _common(*types: Any) -> DType:
    """NumPy's result type, where bool, int and float stand for Python's numbers."""
    if {getattr(t, "name", None) for t in types if t not in _NUMBERS} == {"bfloat16"}:
        return bfloat16  # NumPy does not know that a Python float yields to it
    return of(np.result_type(*(t(0) if isinstance(t, type) else t for t in types)))


_NUMBERS = (bool, int, float)


def _in_width(amount: Operand, dtype: DType) -> bool:
    """Whether a shift is by a constant that LLVM's shifts are defined for."""
    return isinstance(amount, int) and 0 <= amount < 8 * dtype.itemsize
