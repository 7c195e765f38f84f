"""Which operations are also methods and operators of Tensor. In-place forms write the result back."""

from __future__ import annotations

from lampion import dtype as dtypes
from lampion.errors import ShapeError
from lampion.ops import (
    arithmetic, complex_numbers, creation, elementwise, indexing, logic, matrix, movement, random, reduce, rounding,
)  # fmt: skip
from lampion.ops.define import METHODS, cast_to, operation
from lampion.tensor import Tensor, as_tensor


_OPERANDS = (Tensor, int, float, complex)


def _reflected(operation):
    def method(self, other):
        return operation(other, self)

    return method


def _checked(operation):
    """An operator that lets Python try the other operand's side when it cannot handle its type."""

    def method(self, other):
        if isinstance(other, _OPERANDS) or hasattr(other, "__array__"):
            return operation(self, other)
        return NotImplemented

    return method


def copy_(self, source):
    """Overwrite this tensor with `source` (broadcast, and converted to this tensor's type)."""
    source = cast_to(as_tensor(source), self.dtype)
    return self._assign(elementwise.second(self, source), "copy_")


def fill_(self, value):
    """Overwrite every element with one number."""
    return copy_(self, creation.full((), value, dtype=self.dtype))


def zero_(self):
    """Overwrite every element with zero."""
    return fill_(self, 0)


def uniform_(self, low=0.0, high=1.0):
    """Overwrite with uniform numbers in [low, high)."""
    return copy_(self, random.rand_like(self) * (high - low) + low)


def normal_(self, mean=0.0, std=1.0):
    """Overwrite with normal numbers."""
    return copy_(self, random.randn_like(self) * std + mean)


def contiguous(self):
    """This tensor if its elements lie in order, otherwise a copy where they do."""
    return self if self.is_contiguous() else movement.reshape(movement.reshape(self, -1), self.shape)


def to(self, target: dtypes.DType | Tensor | str, *_: object):
    """Convert to a dtype (or to the device that it is on)."""
    if isinstance(target, Tensor):
        target = target.dtype
    if isinstance(target, dtypes.DType):
        return cast_to(self, target)
    from lampion.tensor import check_device

    check_device("to", target)
    return self


def view(self, *shape):
    """The same memory in another shape. Where that is not possible, an error: `reshape` would copy."""
    out = movement.reshape(self, *shape)
    if out is not self and out._base is None:
        raise ShapeError("view", "the elements do not lie in memory so that they can be seen in that shape",
                         got=f"{tuple(self.shape)} as {tuple(out.shape)}, not contiguous",
                         fix="use reshape(), which copies where it must, or contiguous() first")  # fmt: skip
    return out


@operation
def any_(self, dim=None, keepdim=False):
    """Whether any element is true (non-zero)."""
    return elementwise.ne(reduce.sum(elementwise.ne(self, 0), dim, keepdim), 0)


@operation
def all_(self, dim=None, keepdim=False):
    """Whether all elements are true (non-zero)."""
    return elementwise.eq(any_(elementwise.eq(self, 0), dim, keepdim), False)


E = elementwise
METHODS.update({
    "t": movement.full_transpose, "expand": movement.expand, "mm": matrix.matmul,
    "copy_": copy_, "fill_": fill_, "zero_": zero_, "uniform_": uniform_, "normal_": normal_,
    "contiguous": contiguous, "to": to, "view": view,
    "float": lambda self: cast_to(self, dtypes.float32), "double": lambda self: cast_to(self, dtypes.float64),
    "long": lambda self: cast_to(self, dtypes.int64), "int": lambda self: cast_to(self, dtypes.int32),
    "bool": lambda self: cast_to(self, dtypes.bool_),
    "half": lambda self: cast_to(self, dtypes.float16), "bfloat16": lambda self: cast_to(self, dtypes.bfloat16),
    "cfloat": lambda self: cast_to(self, dtypes.complex64),
    "cdouble": lambda self: cast_to(self, dtypes.complex128),
    "__getitem__": indexing.getitem, "__setitem__": indexing.setitem,
    "__neg__": E.neg, "__pos__": lambda self: self,
    "__add__": _checked(E.add), "__radd__": _reflected(E.add), "__sub__": _checked(E.sub),
    "__rsub__": _reflected(E.sub), "__mul__": _checked(E.mul), "__rmul__": _reflected(E.mul),
    "__truediv__": _checked(E.div), "__rtruediv__": _reflected(E.div), "__pow__": _checked(E.pow),
    "__rpow__": _reflected(E.pow),
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
    "__itruediv__": METHODS["div_"],
})  # fmt: skip

for _name, _operation in METHODS.items():
    setattr(Tensor, _name, _operation)
Tensor.T = property(movement.full_transpose)
Tensor.mT = property(movement.matrix_transpose)
Tensor.H = property(complex_numbers.adjoint_of_matrix)
Tensor.mH = property(complex_numbers.matrix_adjoint)
Tensor.real = property(complex_numbers.real, lambda self, value: copy_(self.real, value))
Tensor.imag = property(complex_numbers.imag, lambda self, value: copy_(self.imag, value))
