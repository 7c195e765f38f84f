"""Which operations are also methods and operators of Tensor. In-place forms write the result back."""

from __future__ import annotations

from lampion.ops import (
    arithmetic,
    complex_numbers,
    conversions,
    creation,
    elementwise,
    indexing,
    logic,
    matrix,
    rounding,
    views,
)  # fmt: skip
from lampion.ops.conversions import copy_
from lampion.ops.define import METHODS
from lampion.tensor import Tensor

_OPERANDS = (Tensor, int, float, complex)


def _reflected(operation):
    def method(self, other):
        return operation(other, self)

    return method


def _checked(operation):
    """An operator that lets Python try the other operand's side when it cannot handle its type."""
    operation = getattr(operation, "plain", operation)  # an operator has no options

    def method(self, other):
        if isinstance(other, _OPERANDS) or hasattr(other, "__array__"):
            return operation(self, other)
        return NotImplemented

    return method


def _inplace_matmul(self, other: Tensor | float):
    return self._assign(matrix.matmul(self, other), "__imatmul__")


E = elementwise
METHODS.update({
    "copy_": copy_, "zero_": conversions.zero_,
    "contiguous": conversions.contiguous, "to": conversions.to, "type": conversions.type_,
    "type_as": conversions.type_as, "cpu": conversions.cpu, "cuda": conversions.cuda,
    **conversions.CONVERTERS,
    "new_tensor": creation.new_tensor, "new_full": creation.new_full, "new_zeros": creation.new_zeros,
    "new_ones": creation.new_ones, "new_empty": creation.new_empty,
    "new_empty_strided": creation.new_empty_strided,
    "__getitem__": indexing.getitem, "__setitem__": indexing.setitem,
    "__neg__": E.neg, "__pos__": lambda self: self,
    "__add__": _checked(E.add), "__radd__": _reflected(E.add), "__sub__": _checked(E.sub),
    "__rsub__": _reflected(E.sub), "__mul__": _checked(E.mul), "__rmul__": _reflected(E.mul),
    "__truediv__": _checked(E.div), "__rtruediv__": _reflected(E.div), "__rdiv__": _reflected(E.div),
    "__pow__": _checked(E.pow), "__rpow__": _reflected(E.pow),
    "__floordiv__": _checked(rounding.floor_divide), "__rfloordiv__": _reflected(rounding.floor_divide),
    "__mod__": _checked(rounding.remainder), "__rmod__": _reflected(rounding.remainder),
    "__abs__": arithmetic.abs, "__invert__": logic.bitwise_not,
    "__and__": _checked(logic.bitwise_and), "__rand__": _reflected(logic.bitwise_and),
    "__or__": _checked(logic.bitwise_or), "__ror__": _reflected(logic.bitwise_or),
    "__xor__": _checked(logic.bitwise_xor), "__rxor__": _reflected(logic.bitwise_xor),
    "__lshift__": _checked(logic.bitwise_left_shift), "__rlshift__": _reflected(logic.bitwise_left_shift),
    "__rshift__": _checked(logic.bitwise_right_shift), "__rrshift__": _reflected(logic.bitwise_right_shift),
    "__ifloordiv__": METHODS["floor_divide_"], "__imod__": METHODS["remainder_"],
    "__iand__": METHODS["bitwise_and_"], "__ior__": METHODS["bitwise_or_"],
    "__ixor__": METHODS["bitwise_xor_"], "__ilshift__": METHODS["bitwise_left_shift_"],
    "__irshift__": METHODS["bitwise_right_shift_"], "__ipow__": METHODS["pow_"],
    "__matmul__": _checked(matrix.matmul), "__rmatmul__": _reflected(matrix.matmul),
    "__eq__": _checked(E.eq), "__ne__": _checked(E.ne), "__lt__": _checked(E.lt), "__le__": _checked(E.le),
    "__gt__": _checked(E.gt), "__ge__": _checked(E.ge),
    "__iadd__": METHODS["add_"], "__isub__": METHODS["sub_"], "__imul__": METHODS["mul_"],
    "__itruediv__": METHODS["div_"], "__imatmul__": _inplace_matmul,
})  # fmt: skip

for _name, _operation in METHODS.items():
    setattr(Tensor, _name, _operation)
Tensor.T = property(views.full_transpose)
Tensor.mT = property(views.matrix_transpose)
Tensor.H = property(complex_numbers.adjoint_of_matrix)
Tensor.mH = property(complex_numbers.matrix_adjoint)
Tensor.real = property(complex_numbers.real, lambda self, value: copy_(self.real, value))
Tensor.imag = property(complex_numbers.imag, lambda self, value: copy_(self.imag, value))
