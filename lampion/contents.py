"""What a tensor shows of itself: its shape, type and place in memory, and how its values get out.

`Tensor` inherits this. Nothing here is recorded or changes anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from lampion import dtype as dtypes
from lampion.errors import DTypeError, GradientError, LampionError, ShapeError
from lampion.mode import known, mode


class Device(str):
    """Where a tensor lives: a string such as ``"cpu"``, with PyTorch's `type` and `index`.

    >>> import lampion
    >>> lampion.zeros(1).device == "cpu", lampion.device("cuda:1").index
    (True, 1)
    """

    __slots__ = ()

    def __new__(cls, type: str, index: int | None = None) -> Device:
        """``device("cuda:1")``, or ``device("cuda", 1)``."""
        return super().__new__(cls, type if index is None else f"{type}:{index}")

    @property
    def type(self) -> str:
        """``"cpu"`` or ``"cuda"``."""
        return self.partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]  # PyTorch's name, for what str has nothing like
        """The number of the device among those of its type, where one was given."""
        number = self.partition(":")[2]
        return int(number) if number else None

    def __repr__(self) -> str:
        number = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{number})"


_CPU, _CUDA = Device("cpu"), Device("cuda")


class Contents:
    """The side of a tensor that is an array."""

    _array: Any  # a NumPy or CuPy array; a Tracer while lampion.compile records
    requires_grad: bool

    # -- what it is --------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each dimension."""
        return self._array.shape  # type: ignore[no-any-return]  # of any array library

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._array.shape)

    @property
    def dtype(self) -> dtypes.DType:
        """The type of the elements."""
        return dtypes.of(self._array.dtype)

    @property
    def device(self) -> Device:
        """``"cpu"``, or ``"cuda"`` where the array lives on a GPU."""
        return _CUDA if type(self._array).__module__.startswith("cupy") else _CPU

    @property
    def is_cuda(self) -> bool:
        """Whether the array lives on a GPU."""
        return self.device is _CUDA

    @property
    def is_sparse(self) -> bool:
        """False: only gradients can be sparse, and these are no tensors (`autograd.SparseGradient`)."""
        return False

    @property
    def itemsize(self) -> int:
        """The size of one element in bytes."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The size of all elements in bytes."""
        return self.numel() * self.dtype.itemsize

    def element_size(self) -> int:
        """The size of one element in bytes."""
        return self.dtype.itemsize

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self._array.shape)

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self._array.shape)

    nelement = numel

    def is_floating_point(self) -> bool:
        """Whether the elements are floats."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the elements are complex numbers."""
        return self.dtype.is_complex

    def is_signed(self) -> bool:
        """Whether the type has negative numbers."""
        return self.dtype.is_signed

    def __len__(self) -> int:
        if not self._array.shape:
            raise TypeError("len: a 0-d tensor has no length; use x.item() for its value")
        return self.shape[0]

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in memory in the order of their indices (or in another given one)."""
        if memory_format is not None and memory_format.order:
            order = memory_format.order
            return self.ndim == len(order) and self.permute(order).is_contiguous()  # type: ignore[attr-defined]  # of ops/methods.py
        if mode.trace is not None:
            return mode.trace.is_contiguous(self)  # type: ignore[arg-type]  # it is a Tensor
        return bool(self._array.flags.c_contiguous)

    def stride(self, dim: int | None = None) -> Any:
        """How many elements further in memory the next index of each dimension (or of one) lies."""
        strides = self._real_array("stride").strides
        steps = tuple(n // self.dtype.itemsize for n in strides)
        return steps if dim is None else steps[dim]

    def storage_offset(self) -> int:
        """How many elements after the beginning of its memory the tensor begins."""
        array = self._real_array("storage_offset")
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        start: int = array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
        return start // self.dtype.itemsize

    def data_ptr(self) -> int:
        """The address of the first element."""
        array = self._real_array("data_ptr")
        return int(array.__array_interface__["data"][0]) if array.size else 0

    def _real_array(self, name: str) -> Any:
        if mode.trace is not None:
            mode.trace.refuse(f"{name}() asks where a tensor lies in memory", "ask outside of the function")
        return self._array

    # -- its values, outside of Lampion ------------------------------------------------------------

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        array = known(self, "reads the value of a tensor", "return the tensor, and call item() outside")
        if self.numel() != 1:
            raise ShapeError("item", "only a tensor with one element is a number", got=f"shape {self.shape}",
                             fix="use tolist(), or index first")  # fmt: skip
        return _native(array).item()

    def tolist(self) -> Any:
        """The elements as (nested lists of) Python numbers."""
        array = known(self, "reads the values of a tensor", "return the tensor, and read it outside")
        return _native(array).tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """The NumPy array behind this tensor (the same memory).

        Args:
            force: also where the tensor requires a gradient, or lives on a GPU: then it is a copy.
        """
        if mode.trace is not None:
            mode.trace.refuse("takes the NumPy array of a tensor", "use Tensor operations instead")
        if self.requires_grad and not force:
            raise GradientError(
                "numpy", "the array of a tensor that requires a gradient would bypass autograd",
                fix="use x.detach().numpy()",
            )  # fmt: skip
        # A view, so that what is done to its shape or flags is not done to the tensor.
        return self._array.view() if isinstance(self._array, np.ndarray) else self._array.get()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        if dtype is not None:
            if copy is False and array.dtype != dtype:
                raise ValueError(f"{array.dtype} as {dtype} cannot be had without a copy")
            return array.astype(dtype, copy=bool(copy))
        return array.copy() if copy else array

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: Any = None,
        copy: bool | None = None,
    ) -> Any:
        """The memory, for other array libraries to share: ``torch.from_dlpack(x)``."""
        array = self._real_array("__dlpack__")
        if self.requires_grad:
            raise BufferError("a tensor that requires a gradient cannot be shared: use x.detach()")
        if self.dtype is dtypes.bfloat16:
            raise BufferError("NumPy cannot share bfloat16: convert it, x.float()")
        return array.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self._array.__dlpack_device__()
        return device

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        """The tensor on a device: the array API standard's name for ``x.to(device)``."""
        return self.to(device)  # type: ignore[attr-defined]  # of ops/methods.py

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """The functions of the Python array API standard, for tensors: the module `lampion.array_api`."""
        from lampion import array_api

        if api_version is not None and api_version not in array_api.VERSIONS:
            raise ValueError(f"array API version {api_version!r}; Lampion follows {array_api.VERSIONS[-1]}")
        return array_api

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise ShapeError("bool", "the truth of a tensor with several elements is ambiguous",
                             got=f"shape {tuple(self.shape)}", fix="use (x > 0).all() or .any()")  # fmt: skip
        array = known(
            self, "asks whether a tensor is true", "use lampion.where(condition, a, b) instead of if"
        )
        return bool(_native(array).item())

    is_nonzero = __bool__

    def __float__(self) -> float:
        return float(self._number("float"))

    def __int__(self) -> int:
        return int(self._number("int"))

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.dtype.kind in "fc":
            raise TypeError("only an integer tensor can be used as an index")
        return int(self.item())

    def _number(self, name: str) -> Any:
        value = self.item()
        if isinstance(value, complex):
            if value.imag:
                raise DTypeError(name, "a complex number with an imaginary part", got=f"{value}",
                                 fix="take x.real or x.abs()")  # fmt: skip
            return value.real
        return value

    def __iter__(self) -> Iterator[Any]:
        if not self._array.shape:
            raise TypeError("iteration: a 0-d tensor has no elements to go through; use x.item()")
        return (self[i] for i in range(len(self)))  # type: ignore[index]  # of ops/methods.py

    def __reversed__(self) -> Any:
        return self.flip(0) if self._array.shape else self  # type: ignore[attr-defined]  # the same

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, Contents | int | float | complex):
            return bool((self == element).any())  # type: ignore[attr-defined]  # a Tensor
        raise LampionError("in", "an element is a number or a tensor", got=type(element).__name__)

    def __hash__(self) -> int:
        return id(self)

    def _repr_html_(self) -> str:
        from lampion.viz.notebook import tensor_html

        return tensor_html(self)  # type: ignore[arg-type]  # a Tensor: see the class

    def _repr_markdown_(self) -> str:
        from lampion.viz.notebook import tensor_markdown

        return tensor_markdown(self)  # type: ignore[arg-type]  # a Tensor: see the class

    def __repr__(self) -> str:
        from lampion.printing import format_tensor

        if mode.trace is not None:
            return mode.trace.show(self)  # type: ignore[arg-type]  # it is a Tensor
        return format_tensor(self)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if not self._array.shape else object.__format__(self, spec)


def _native(array: Any) -> Any:
    """The array, in a type whose elements NumPy turns into Python numbers."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array
