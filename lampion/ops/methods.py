"""Which operations are also methods and operators of Tensor. In-place forms write the result back."""

from __future__ import annotations

from lampion import dtype as dtypes
from lampion.errors import ShapeError
from lampion.ops import composite, creation, elementwise, indexing, matrix, movement, random, reduce
from lampion.ops.define import OPERATIONS, cast_to
from lampion.tensor import Tensor, as_tensor


def _reflected(operation):
    def method(self, other):
        return operation(other, self)

    return method


def _checked(operation):
    """An operator that lets Python try the other operand's side when it cannot handle its type."""

    def method(self, other):
        if not isinstance(other, Tensor | int | float) and not hasattr(other, "__array__"):
            return NotImplemented
        return operation(self, other)

    return method


def _inplace(name, operation):
    def method(self, *args):
        return self._assign(operation(self, *args), name)

    method.__name__ = name
    method.__doc__ = f"`{name[:-1]}`, written back into this tensor."
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


def any_(self, dim=None, keepdim=False):
    """Whether any element is true (non-zero)."""
    return elementwise.ne(reduce.sum(elementwise.ne(self, 0), dim, keepdim), 0)


def all_(self, dim=None, keepdim=False):
    """Whether all elements are true (non-zero)."""
    return elementwise.eq(any_(elementwise.eq(self, 0), dim, keepdim), False)


E, M, R, I = elementwise, movement, reduce, indexing  # noqa: E741  # beside E, M and R it is no 1
METHODS = {
    "mean": R.mean, "max": R.max, "argmax": R.argmax, "any": any_, "all": all_,
    "view": view, "transpose": M.transpose, "t": M.full_transpose, "squeeze": M.squeeze,
    "unsqueeze": M.unsqueeze, "flatten": M.flatten, "expand": M.expand, "narrow": I.narrow,
    "log_softmax": composite.log_softmax,
    "gather": I.gather, "scatter_add": I.scatter_add, "index_select": I.index_select,
    "matmul": matrix.matmul, "mm": matrix.matmul,
    "copy_": copy_, "fill_": fill_, "zero_": zero_, "uniform_": uniform_, "normal_": normal_,
    "add_": _inplace("add_", E.add), "sub_": _inplace("sub_", E.sub), "mul_": _inplace("mul_", E.mul),
    "div_": _inplace("div_", E.div), "exp_": _inplace("exp_", E.exp), "relu_": _inplace("relu_", E.relu),
    "contiguous": contiguous, "to": to,
    "float": lambda self: cast_to(self, dtypes.float32), "double": lambda self: cast_to(self, dtypes.float64),
    "long": lambda self: cast_to(self, dtypes.int64), "int": lambda self: cast_to(self, dtypes.int32),
    "bool": lambda self: cast_to(self, dtypes.bool_),
    "__getitem__": I.getitem, "__setitem__": I.setitem,
    "__neg__": E.neg, "__pos__": lambda self: self,
    "__add__": _checked(E.add), "__radd__": _reflected(E.add), "__sub__": _checked(E.sub),
    "__rsub__": _reflected(E.sub), "__mul__": _checked(E.mul), "__rmul__": _reflected(E.mul),
    "__truediv__": _checked(E.div), "__rtruediv__": _reflected(E.div), "__pow__": _checked(E.pow),
    "__rpow__": _reflected(E.pow),
    "__matmul__": _checked(matrix.matmul), "__rmatmul__": _reflected(matrix.matmul),
    "__eq__": _checked(E.eq), "__ne__": _checked(E.ne), "__lt__": _checked(E.lt), "__le__": _checked(E.le),
    "__gt__": _checked(E.gt), "__ge__": _checked(E.ge),
    "__iadd__": _inplace("add_", E.add), "__isub__": _inplace("sub_", E.sub),
    "__imul__": _inplace("mul_", E.mul), "__itruediv__": _inplace("div_", E.div),
}  # fmt: skip

# Operations on one tensor are methods under their own names; the table holds what is more than that.
_OWN = {
    name: operation for name, operation in OPERATIONS.items()
    if operation.primitive.kind in ("elementwise", "reduction", "movement") and name != "where"
}  # fmt: skip
for _name, _operation in {**_OWN, **METHODS}.items():
    setattr(Tensor, _name, _operation)
Tensor.T = property(movement.full_transpose)
Tensor.mT = property(movement.matrix_transpose)
