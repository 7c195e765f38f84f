"""What stands inside of a kernel record: operands, windows, and the values of a loop nest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lampion.dtype import DType
from lampion.primitive import Primitive


@dataclass(frozen=True)
class Operand:
    """A buffer handed to the kernel: its element type, and whether the kernel writes to it."""

    dtype: DType
    written: bool = False


@dataclass(frozen=True)
class Window:
    """Element (i, j, ...) of the loop nest is at ``offset + i*strides[0] + j*strides[1] + ...``."""

    operand: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)


# The body of a loop nest is a list of values, each one scalar at each point of the iteration space.
# Values are numbered from 0 in the order of the list; later ones refer to earlier ones by number.


@dataclass(frozen=True)
class Load:
    """Read an operand. The window's shape equals the loop nest's shape (strides 0 to broadcast)."""

    window: Window
    dtype: DType


@dataclass(frozen=True)
class Literal:
    """A constant. Two are the same if they are written the same: 0.0 is not -0.0, and a NaN is a NaN."""

    value: bool | int | float
    dtype: DType

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._written() == other._written()

    def __hash__(self) -> int:
        return hash(self._written())

    def _written(self) -> tuple[str, DType]:
        return repr(self.value), self.dtype


@dataclass(frozen=True)
class Compute:
    """Apply an elementwise primitive: `primitive.forward(emitter, *values, **params)`."""

    primitive: Primitive
    args: tuple[int, ...]
    dtype: DType
    params: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Result:
    """In an epilogue: the value number `index` that the kernel's main part produced.

    For `Reduce`, the index-th reduction; for `Matmul`, the accumulator (index 0).
    """

    index: int
    dtype: DType


@dataclass(frozen=True)
class Position:
    """The index along the last axis of the loop nest."""

    dtype: DType


@dataclass(frozen=True)
class Chosen:
    """Among a row's values (see `Rows`): value number `value` of its points, at the point that value number
    `index` of the row says. An index outside of the row is reported through the kernel's status: 1 + the
    number of the row. `dim` is the dimension that messages name.
    """

    value: int
    index: int
    dtype: DType
    dim: int = -1


Value = Load | Literal | Compute | Result | Position | Chosen


@dataclass(frozen=True)
class Store:
    """Write value number `value` of the body through a window. The window's operand is `written`.

    A window's stores never overlap one another. A kernel may load and store the same operand through
    *identical* windows (an in-place update: load before store at each point); any other overlap of a
    stored operand with a loaded one is kept out by the scheduler.
    """

    window: Window
    value: int
