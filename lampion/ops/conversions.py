"""To other types, devices and memory formats; and writing whole tensors: copy_, fill_, zero_."""

from __future__ import annotations

from lampion import dtype as dtypes
from lampion.contents import Device
from lampion.errors import LampionError, ShapeError
from lampion.layouts import MemoryFormat, contiguous_format
from lampion.ops import elementwise, movement
from lampion.ops.define import cast_to, operation
from lampion.tensor import Tensor, as_tensor, check_device


def arranged(x, memory_format):
    """`x` with its elements in that order in memory: itself where they are, otherwise a copy."""
    if memory_format is None or memory_format.name == "preserve_format" or x.is_contiguous(memory_format):
        return x
    order = memory_format.order
    if order is None:
        return movement.reshape(movement.reshape(x, -1), x.shape)
    if x.ndim != len(order):
        raise ShapeError("memory_format", f"{memory_format} is for tensors of {len(order)} dimensions",
                         got=str(tuple(x.shape)))  # fmt: skip
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return movement.permute(arranged(movement.permute(x, order), contiguous_format), inverse)


def contiguous(self, memory_format: MemoryFormat = contiguous_format):
    """This tensor if its elements lie in order, otherwise a copy where they do."""
    return arranged(self, memory_format)


def converter(name, dtype):
    """The method that converts to one type: ``x.float()``."""

    def method(self, memory_format: MemoryFormat | None = None):
        return arranged(cast_to(self, dtype), memory_format)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"Converted to {dtype.name}; the tensor itself where it has that type."
    return method


CONVERTERS = {
    name: converter(name, dtype)
    for name, dtype in {
        "bool": dtypes.bool_, "byte": dtypes.uint8, "char": dtypes.int8, "short": dtypes.int16,
        "int": dtypes.int32, "long": dtypes.int64, "half": dtypes.float16, "bfloat16": dtypes.bfloat16,
        "float": dtypes.float32,
        "double": dtypes.float64, "cfloat": dtypes.complex64, "cdouble": dtypes.complex128,
    }.items()
}  # fmt: skip


def to(
    self, *args: object, dtype=None, device=None, other: Tensor | None = None, non_blocking: bool = False,
    copy: bool = False, memory_format: MemoryFormat | None = None,
):
    """Convert to a dtype, to a device, or to those of another tensor; itself where nothing changes.

    ``x.to(lampion.float64)``, ``x.to("cpu", lampion.int64)``, ``x.to(y)``, each with ``copy=True``.
    """
    flags = []
    for argument in args:
        if isinstance(argument, Tensor):
            other = argument
        elif isinstance(argument, bool):
            flags.append(argument)
        elif isinstance(argument, str | int) and device is None:
            device = argument
        elif argument is not None:
            dtype = argument
    if len(flags) > 2:
        raise LampionError("to", "too many arguments", got=repr(args))
    copy = copy or (len(flags) == 2 and flags[1])
    check_device("to", device)
    if other is not None:
        dtype = other.dtype
    result = self if dtype is None else cast_to(self, dtypes.of(dtype))
    result = arranged(result, memory_format)
    return elementwise.clone(result) if copy and result is self else result


def type_(self, dtype=None, non_blocking: bool = False):
    """The name of the type, such as ``"lampion.FloatTensor"``; or the tensor converted to a type."""
    if dtype is None:
        return f"lampion.{_TYPE_NAMES[self.dtype]}"
    if isinstance(dtype, str) and "Tensor" in dtype:
        found = {name: known for known, name in _TYPE_NAMES.items()}.get(dtype.rpartition(".")[2])
        if found is None:
            raise LampionError("type", "there is no such type", got=repr(dtype))
        dtype = found
    return cast_to(self, dtypes.of(dtype))


_TYPE_NAMES = {
    dtypes.bool_: "BoolTensor", dtypes.uint8: "ByteTensor", dtypes.int8: "CharTensor",
    dtypes.int16: "ShortTensor", dtypes.int32: "IntTensor", dtypes.int64: "LongTensor",
    dtypes.float16: "HalfTensor",
    dtypes.bfloat16: "BFloat16Tensor", dtypes.float32: "FloatTensor", dtypes.float64: "DoubleTensor",
    dtypes.complex64: "ComplexFloatTensor", dtypes.complex128: "ComplexDoubleTensor",
    dtypes.uint16: "UInt16Tensor", dtypes.uint32: "UInt32Tensor", dtypes.uint64: "UInt64Tensor",
}  # fmt: skip


def type_as(self, other: Tensor):
    """Converted to the type of another tensor."""
    return cast_to(self, other.dtype)


def cpu(self, memory_format: MemoryFormat | None = None):
    """The tensor on the CPU, where it is."""
    return arranged(self, memory_format)


def cuda(self, device=None, non_blocking: bool = False, memory_format: MemoryFormat | None = None):
    """The tensor on a GPU. There is none yet: an error says so."""
    check_device("cuda", Device("cuda") if device is None else device)
    return self


# -- writing whole tensors ---------------------------------------------------------------------------


def copy_(self, source, non_blocking: bool = False):
    """Overwrite this tensor with `source` (broadcast, and converted to this tensor's type)."""
    source = cast_to(as_tensor(source), self.dtype)
    return self._assign(elementwise.second(self, source), "copy_")


@operation(inplace=True)
def fill(x, value):
    """`value`, a number or a 0-d tensor, in every place of the shape of `x`."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise ShapeError("fill", "a tensor is filled with one number", got=str(tuple(value.shape)),
                             fix="use copy_ for several")  # fmt: skip
        return elementwise.second(x, cast_to(value, x.dtype))
    from lampion.ops.creation import full

    return elementwise.second(x, full((), value, dtype=x.dtype))


def zero_(self):
    """Overwrite every element with zero."""
    return self.fill_(0)
