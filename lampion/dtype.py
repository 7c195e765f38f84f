"""Element types, under PyTorch's names, and PyTorch's rules for mixing them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion.errors import DTypeError
from lampion.mode import mode


class DType:
    """An element type, such as ``lampion.float32``.

    Each one exists once, so ``x.dtype is lampion.float32`` and ``==`` say the same thing.

    Attributes:
        kind: "b" bool, "i" signed, "u" unsigned, "f" floating, "c" complex.
        is_floating_point, is_complex, is_signed: as in PyTorch.
        is_inexact: floating or complex: what has gradients.
        is_half: two bytes for a float. Numbers are kept so, and computed with as float32.
        min, max: the least and the largest value (of a floating type: infinities).

    >>> import lampion
    >>> lampion.complex64.to_real(), lampion.float64.to_complex()
    (lampion.float32, lampion.complex128)
    """

    __slots__ = (
        "is_complex", "is_floating_point", "is_half", "is_inexact", "is_signed", "itemsize", "kind", "max",
        "min", "name", "numpy",
    )  # fmt: skip
    numpy: Any

    def __init__(self, name: str) -> None:
        self.name = name
        if name == "bfloat16":  # NumPy has no such type; `numpy` is filled in when first asked for
            self.kind, self.itemsize = "f", 2
        else:
            self.numpy = np.dtype(name)
            self.kind, self.itemsize = self.numpy.kind, self.numpy.itemsize
        self.is_floating_point = self.kind == "f"
        self.is_complex = self.kind == "c"
        self.is_inexact = self.kind in "fc"
        self.is_half = self.kind == "f" and self.itemsize == 2
        self.is_signed = self.kind in "ifc"
        self.min, self.max = _limits(self)

    def __getattr__(self, name: str) -> Any:
        if name != "numpy":
            raise AttributeError(f"a dtype has no attribute {name!r}")
        import ml_dtypes

        self.numpy = np.dtype(ml_dtypes.bfloat16)
        _BY_NUMPY[self.numpy] = self
        return self.numpy

    def __repr__(self) -> str:
        return f"lampion.{self.name}"

    @property
    def short(self) -> str:
        """The name as graphs print it: ``f32``, ``i64``, ``bool``."""
        if self.kind == "b":
            return "bool"
        return "bf16" if self.name == "bfloat16" else f"{self.kind}{self.itemsize * 8}"

    def to_real(self) -> DType:
        """The type of the real part: float32 for complex64; any other type itself."""
        return _REAL.get(self, self)

    def to_complex(self) -> DType:
        """The complex type with such parts: complex128 for float64, complex64 for shorter floats."""
        if self.is_complex:
            return self
        if not self.is_floating_point:
            return get_default_dtype().to_complex()
        return complex128 if self is float64 else complex64

    def __reduce__(self) -> tuple[Any, ...]:
        return (of, (self.name,))


def _limits(dtype: DType) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return -float("inf"), float("inf")
    if dtype.kind == "b":
        return False, True
    if dtype.kind == "c":
        return None, None  # complex numbers have no order
    return int(np.iinfo(dtype.numpy).min), int(np.iinfo(dtype.numpy).max)


bool_ = DType("bool")
uint8 = DType("uint8")
uint16 = DType("uint16")
uint32 = DType("uint32")
uint64 = DType("uint64")
int8 = DType("int8")
int16 = DType("int16")
int32 = DType("int32")
int64 = DType("int64")
float16 = DType("float16")
bfloat16 = DType("bfloat16")
float32 = DType("float32")
float64 = DType("float64")
complex64 = DType("complex64")
complex128 = DType("complex128")

ALL = (
    bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64, float16, bfloat16, float32, float64,
    complex64, complex128,
)  # fmt: skip
_BY_NUMPY = {dtype.numpy: dtype for dtype in ALL if dtype is not bfloat16}
_BY_NAME = {dtype.name: dtype for dtype in ALL}
_REAL = {complex64: float32, complex128: float64}
_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
_default = float32


def of(thing: Any) -> DType:
    """The DType of a NumPy dtype, a Python type, a name or a DType."""
    if isinstance(thing, DType):
        return thing
    try:
        found = _BY_NUMPY.get(thing)  # a NumPy dtype: the common case, one look-up
    except TypeError:
        found = None  # not hashable, so no type either: NumPy says so below
    if found is not None:
        return found
    if thing is bool:
        return bool_
    if thing is int:
        return int64
    if thing is float:
        return _default
    if thing is complex:
        return _default.to_complex()
    name = thing if isinstance(thing, str) else getattr(thing, "name", "")
    found = _BY_NAME.get(name) or _BY_NUMPY.get(np.dtype(thing))
    if found is None:
        names = ", ".join(dtype.name for dtype in ALL)
        raise TypeError(f"dtype {np.dtype(thing).name} is not supported; Lampion has {names}")
    found.numpy  # noqa: B018  # the array's type is known from here on: see `__getattr__`
    return found


def promote(x: DType, y: DType) -> DType:
    """The type of ``x + y``: the wider one, where complex beats float beats integer (PyTorch's rule).

    Integers become one that holds the values of both. For uint64 and a signed type there is none, and
    Lampion raises (PyTorch does so for every uint16, uint32 and uint64 beside another integer type).

    >>> import lampion
    >>> lampion.promote_types(lampion.float16, lampion.bfloat16)
    lampion.float32
    """
    if x is y:
        return x
    higher, lower = (x, y) if _RANK[x.kind] >= _RANK[y.kind] else (y, x)
    if _RANK[lower.kind] < 2 <= _RANK[higher.kind]:
        return higher
    if higher.is_complex:
        return complex128 if higher is complex128 or lower in (float64, complex128) else complex64
    if higher.is_half and lower.is_half:
        return float32  # float16 has more digits, bfloat16 more range
    if higher.kind == "f":
        return higher if higher.itemsize > lower.itemsize else lower
    target = np.promote_types(x.numpy, y.numpy)
    if target.kind == "f":
        raise DTypeError("promote_types", "no integer type holds the values of both", got=f"{x} and {y}",
                         fix="convert one of them first: x.to(lampion.int64)")  # fmt: skip
    return _BY_NUMPY[target]


def combine(x: DType, y: DType) -> DType:
    """The type of a tensor of type `x` with one of type `y` that counts less: it is 0-d, or a number.

    Only a higher kind (complex > float > integer > bool) has a say, and a float keeps its width.
    """
    if _RANK[x.kind] >= _RANK[y.kind]:
        return x
    return x.to_complex() if x.kind == "f" else y


def rank(kind: str) -> int:
    """0 for bool, 1 for integers, 2 for floats, 3 for complex: a scalar only raises a lower rank."""
    return _RANK[kind]


def of_number(number: complex) -> DType:
    """The type that a Python number has by itself."""
    if isinstance(number, bool):
        return bool_
    if isinstance(number, int):
        return int64
    return _default if isinstance(number, float) else _default.to_complex()


def can_cast(from_: Any, to: Any) -> bool:
    """Whether `from_` may be converted to `to` by an in-place operation: not to a lower kind.

    >>> import lampion
    >>> lampion.can_cast(lampion.float64, lampion.float32), lampion.can_cast(lampion.float32, lampion.int64)
    (True, False)
    """
    source, target = of(from_), of(to)
    return _RANK[source.kind] <= _RANK[target.kind]


def promote_types(type1: Any, type2: Any) -> DType:
    """The smallest type that both can be converted to: that of ``x + y``."""
    return promote(of(type1), of(type2))


def get_default_dtype() -> DType:
    """The floating type that new tensors get from Python floats; float32 unless set."""
    return _default


def set_default_dtype(d: DType) -> None:
    """Set the floating type that new tensors get from Python floats."""
    global _default
    if mode.trace is not None:
        mode.trace.refuse("sets the default dtype", "do that outside of the compiled function")
    if not isinstance(d, DType) or not d.is_floating_point:
        raise TypeError(f"set_default_dtype: expected a floating type such as float32 or float64, got {d}")
    _default = d


class finfo:
    """The numbers of a floating type: ``lampion.finfo(lampion.float32).eps``. Of a complex type: its parts.

    Attributes:
        bits: its size. eps: from 1 to the next number. max, min: largest and least finite number.
        tiny, smallest_normal: the least positive number of full precision. smallest_subnormal.
        resolution: 10 to the minus number of decimal digits. dtype: its name.
    """

    __slots__ = (
        "bits", "dtype", "eps", "max", "min", "resolution", "smallest_normal", "smallest_subnormal", "tiny",
    )  # fmt: skip

    def __init__(self, type: Any = None) -> None:
        found = (_default if type is None else of(type)).to_real()
        if not found.is_floating_point:
            raise TypeError(f"finfo: {found} is not a floating type; iinfo describes integers")
        if found is bfloat16:
            import ml_dtypes

            describe: Any = ml_dtypes.finfo  # without annotations
            numbers: Any = describe(found.numpy)
        else:
            numbers = np.finfo(found.numpy)
        self.bits, self.dtype = found.itemsize * 8, found.name
        self.eps, self.max, self.min = float(numbers.eps), float(numbers.max), float(numbers.min)
        self.tiny = self.smallest_normal = float(numbers.smallest_normal)
        self.smallest_subnormal = float(numbers.smallest_subnormal)
        self.resolution = float(str(numbers.resolution))

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """The range of an integer type: ``lampion.iinfo(lampion.uint8).max``."""

    __slots__ = ("bits", "dtype", "max", "min")

    def __init__(self, type: Any) -> None:
        found = of(type)
        if found.kind not in "iu":
            raise TypeError(f"iinfo: {found} is not an integer type; finfo describes floats")
        self.bits, self.dtype, self.min, self.max = found.itemsize * 8, found.name, found.min, found.max

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
