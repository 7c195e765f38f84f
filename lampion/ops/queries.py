"""Questions about tensors, answered without computing: types, shapes, whether two are alike."""

from __future__ import annotations

from lampion import dtype as dtypes
from lampion.ops.define import common_dtype, operation
from lampion.tensor import Tensor


@operation(method=False)
def is_tensor(obj: object) -> bool:
    """Whether it is a Tensor."""
    return isinstance(obj, Tensor)


@operation(method=False)
def is_floating_point(x) -> bool:
    """Whether the elements are floats."""
    return x.dtype.is_floating_point


@operation(method=False)
def is_complex(x) -> bool:
    """Whether the elements are complex numbers."""
    return x.dtype.is_complex


@operation(method=False)
def is_signed(x) -> bool:
    """Whether the type has negative numbers."""
    return x.dtype.is_signed


@operation(method=False)
def is_nonzero(x) -> bool:
    """Whether the one element is not zero."""
    return bool(x)


@operation(method=False)
def numel(x) -> int:
    """The number of elements."""
    return x.numel()


@operation
def is_same_size(x, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    return x.shape == other.shape


@operation(method=False)
def result_type(tensor1: object, tensor2: object) -> dtypes.DType:
    """The type that an operation on these two (tensors or Python numbers) computes in.

    >>> import lampion
    >>> lampion.result_type(lampion.tensor([1, 2]), 1.5)
    lampion.float32
    """
    if isinstance(tensor1, Tensor) and isinstance(tensor2, Tensor):
        return common_dtype(tensor1, tensor2)
    if isinstance(tensor1, Tensor):
        return _with_number(tensor1, tensor2)
    if isinstance(tensor2, Tensor):
        return _with_number(tensor2, tensor1)
    return dtypes.promote(dtypes.of_number(tensor1), dtypes.of_number(tensor2))


def _with_number(x, number):
    return dtypes.combine(x.dtype, dtypes.of_number(number))
