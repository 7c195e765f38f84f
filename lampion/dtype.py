"""Element types, under PyTorch's names, and PyTorch's rules for mixing them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion.mode import mode


class DType:
    """An element type, such as ``lampion.float32``.

    Each one exists once, so ``x.dtype is lampion.float32`` and ``==`` say the same thing.
    """

    __slots__ = ("is_floating_point", "itemsize", "kind", "max", "min", "name", "numpy")

    def __init__(self, name: str) -> None:
        self.name = name
        self.numpy = np.dtype(name)
        self.kind = self.numpy.kind  # "b" bool, "i" signed, "u" unsigned, "f" floating
        self.itemsize = self.numpy.itemsize
        self.is_floating_point = self.kind == "f"
        #: The least and the largest value (of a floating type: infinities).
        self.min, self.max = _limits(self.numpy)

    def __repr__(self) -> str:
        return f"lampion.{self.name}"

    @property
    def short(self) -> str:
        """The name as graphs print it: ``f32``, ``i64``, ``bool``."""
        return "bool" if self.kind == "b" else f"{self.kind}{self.itemsize * 8}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (of, (self.name,))


def _limits(dtype: Any) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return -float("inf"), float("inf")
    if dtype.kind == "b":
        return False, True
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


bool_ = DType("bool")
uint8 = DType("uint8")
uint32 = DType("uint32")
uint64 = DType("uint64")
int8 = DType("int8")
int16 = DType("int16")
int32 = DType("int32")
int64 = DType("int64")
float32 = DType("float32")
float64 = DType("float64")

ALL = (bool_, uint8, uint32, uint64, int8, int16, int32, int64, float32, float64)
_BY_NUMPY = {dtype.numpy: dtype for dtype in ALL}
_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}
_default = float32


def of(thing: Any) -> DType:
    """The DType of a NumPy dtype, a name or a DType."""
    if isinstance(thing, DType):
        return thing
    found = _BY_NUMPY.get(thing)  # a NumPy dtype: the common case, one look-up
    if found is not None:
        return found
    if thing is bool:
        return bool_
    if thing is int:
        return int64
    if thing is float:
        return _default
    found = _BY_NUMPY.get(np.dtype(thing))
    if found is None:
        names = ", ".join(dtype.name for dtype in ALL)
        raise TypeError(f"dtype {np.dtype(thing).name} is not supported; Lampion has {names}")
    return found


def promote(x: DType, y: DType) -> DType:
    """The type of ``x + y``: the wider one, where any float beats any integer (PyTorch's rule)."""
    if x is y:
        return x
    if _RANK[x.kind] == 2 and _RANK[y.kind] < 2:
        return x
    if _RANK[y.kind] == 2 and _RANK[x.kind] < 2:
        return y
    return _BY_NUMPY[np.promote_types(x.numpy, y.numpy)]


def rank(kind: str) -> int:
    """0 for bool, 1 for integers, 2 for floats: a scalar only changes the type of a lower rank."""
    return _RANK[kind]


def get_default_dtype() -> DType:
    """The floating type that new tensors get from Python floats; float32 unless set."""
    return _default


def set_default_dtype(dtype: DType) -> None:
    """Set the floating type that new tensors get from Python floats."""
    global _default
    if mode.trace is not None:
        mode.trace.refuse("sets the default dtype", "do that outside of the compiled function")
    if dtype not in (float32, float64):
        raise TypeError(f"set_default_dtype: expected float32 or float64, got {dtype}")
    _default = dtype
