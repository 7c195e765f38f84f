"""Element types: their names, their limits, and how they mix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lampion import dtype as dtypes
from lampion.array_api._rules import DType, Tensor, number_type, on_device
from lampion.contents import Device
from lampion.dtype import bool_ as bool
from lampion.dtype import (
    complex64,
    complex128,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)

__all__ = [
    "astype", "bool", "can_cast", "complex64", "complex128", "finfo", "float32",
    "float64", "iinfo", "int8", "int16", "int32", "int64", "isdtype", "result_type", "uint8", "uint16",
    "uint32", "uint64",
]  # fmt: skip

_SIGNED = (int8, int16, int32, int64)
_UNSIGNED = (uint8, uint16, uint32, uint64)
_REAL = (float32, float64)
_COMPLEX = (complex64, complex128)
#: The standard's names of groups of types. The short floats, which it does not know, belong to theirs.
_KINDS = {
    "bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu", "real floating": "f",
    "complex floating": "c", "numeric": "iufc",
}  # fmt: skip
_ALL = (bool, *_SIGNED, *_UNSIGNED, *_REAL, *_COMPLEX)


def _of(thing: Any) -> DType:
    return thing.dtype if isinstance(thing, Tensor) else dtypes.of(thing)


def astype(x: Tensor, dtype: DType, /, *, copy: Any = True, device: Any = None) -> Tensor:
    """`x` converted to a type; a copy, unless nothing changes and `copy` is False."""
    on_device("astype", device)
    return x.to(dtypes.of(dtype), copy=copy is True)


def can_cast(from_: DType | Tensor, to: DType, /) -> Any:
    """Whether the promotion rules lead from one type (or an array's) to another."""
    source, target = _of(from_), dtypes.of(to)
    try:
        return dtypes.promote(source, target) is target
    except TypeError:
        return False


@dataclass(frozen=True)
class FInfo:
    """The numbers of a floating type."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@dataclass(frozen=True)
class IInfo:
    """The range of an integer type."""

    bits: int
    max: int
    min: int
    dtype: DType


def finfo(type: DType | Tensor, /) -> FInfo:
    """The numbers of a floating type (of the parts of a complex one)."""
    found = _of(type).to_real()
    numbers = dtypes.finfo(found)
    return FInfo(numbers.bits, numbers.eps, numbers.max, numbers.min, numbers.smallest_normal, found)


def iinfo(type: DType | Tensor, /) -> IInfo:
    """The range of an integer type."""
    found = _of(type)
    numbers = dtypes.iinfo(found)
    return IInfo(numbers.bits, numbers.max, numbers.min, found)


def isdtype(dtype: DType, kind: DType | str | tuple[DType | str, ...]) -> Any:
    """Whether a type is of a kind: a type, a name such as "real floating", or any of several."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ValueError(f"isdtype: there is no kind {kind!r}; there are {', '.join(_KINDS)}")
        return dtype.kind in _KINDS[kind]
    if not isinstance(kind, DType):
        raise TypeError(f"isdtype: a kind is a type or a name, got {kind!r}")
    return dtype is kind


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The type that arrays, types and Python numbers promote to."""
    numbers = [thing for thing in arrays_and_dtypes if isinstance(thing, complex | float | int)]
    typed = [_of(thing) for thing in arrays_and_dtypes if not isinstance(thing, complex | float | int)]
    if not typed:
        raise ValueError("result_type: at least one array or type is needed")
    found = typed[0]
    for dtype in typed[1:]:
        found = dtypes.promote(found, dtype)
    for number in numbers:
        found = number_type("result_type", number, found)
    return found


class Info:
    """What there is: devices, types, capabilities."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean masks and shapes that depend on data work; arrays have up to 64 dimensions."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """The CPU."""
        return Device("cpu")

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The types that new arrays get."""
        on_device("default_dtypes", device)
        real = dtypes.get_default_dtype()
        found = {"real floating": real, "complex floating": real.to_complex()}
        return {**found, "integral": int64, "indexing": int64}

    def devices(self) -> list[Device]:
        """The CPU."""
        return [Device("cpu")]

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The types of the standard, by name; all, or those of a kind."""
        on_device("dtypes", device)
        return {d.name: d for d in _ALL if kind is None or isdtype(d, kind)}


def __array_namespace_info__() -> Info:
    """What this namespace has to offer."""
    return Info()
