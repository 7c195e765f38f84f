"""What a kernel computes, before any machine code: loops over strided windows of buffers.

The scheduler turns a graph into a `Plan`: a list of kernel calls. Each kernel is one of the small
immutable records below, and is the same record (and so the same machine code) wherever it recurs.
`codegen` turns a record into LLVM IR; `str(kernel)` prints it as the loops that a reader would write.

Three words used throughout:
  operand  a buffer that the kernel is handed at run time (a typed pointer), known by its position;
  window   how a loop nest walks an operand: offset and strides, counted in elements (0 = broadcast);
  chunk    a unit of parallel work. The number of chunks depends on the shape alone, never on the
           number of threads, and each chunk is computed in a fixed order: so the bits are the same
           for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lampion.compiler.kernel_body import (
    Chosen,
    Compute,
    Literal,
    Load,
    Operand,
    Position,
    Result,
    Store,
    Value,
    Window,
)
from lampion.compiler.kernel_layers import (
    Attention,
    AttentionSlopes,
    Convolution,
    ConvolutionWeight,
    Pool,
    WinogradFilters,
)
from lampion.dtype import DType
from lampion.primitive import Primitive


@dataclass(frozen=True)
class Map:
    """For every point of `shape`: evaluate the body, then store."""

    shape: tuple[int, ...]
    operands: tuple[Operand, ...]
    body: tuple[Value, ...]
    stores: tuple[Store, ...]


#: The length of the windows of a Map that runs over tensors of any length.
ANY_LENGTH = 1 << 40


@dataclass(frozen=True)
class Segments:
    """One flat `Map` over several tensors, one after the other: the update of all parameters, say.

    The windows of `map` run over `ANY_LENGTH` points with stride 1, or 0 for one number. Operand n of the
    map is, for tensor s, operand ``s * len(map.operands) + n`` of this kernel.
    """

    map: Map
    lengths: tuple[int, ...]

    @property
    def operands(self) -> tuple[Operand, ...]:
        return self.map.operands * len(self.lengths)

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(self.lengths),)


@dataclass(frozen=True)
class Reduction:
    """Combine value number `value` of the body over the reduced axes, with `primitive.combine`."""

    primitive: Primitive
    value: int
    dtype: DType


@dataclass(frozen=True)
class Reduce:
    """For every point of `shape`: evaluate the body; combine over `axes`; then, for every point of the
    kept axes, evaluate the epilogue and store.

    The epilogue's windows have the kept shape (`shape` without `axes`, in order).
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    operands: tuple[Operand, ...]
    body: tuple[Value, ...]
    reductions: tuple[Reduction, ...]
    epilogue: tuple[Value, ...]
    stores: tuple[Store, ...]

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(n for axis, n in enumerate(self.shape) if axis not in self.axes)


@dataclass(frozen=True)
class Rows:
    """Several walks along each row, which stays in cache meanwhile: softmax, layer norm, their gradients.

    A row is the points of the last axes of `shape`; which axes are outside, `outer` says: the first ones.
    There are values at each point, and values of the row as a whole; the latter's windows have the shape of
    the outer axes. Each may refer to the other, in any way that can be evaluated:

        points: `Result(n)` is value number n of the row;
        rows:   `Result(n)` is the n-th reduction over the row's points.

    How many walks that takes, and what is kept from one to the next, is for the code generator to find out.
    No stored operand is loaded.
    """

    shape: tuple[int, ...]
    outer: int
    operands: tuple[Operand, ...]
    points: tuple[Value, ...]
    rows: tuple[Value, ...]
    reductions: tuple[Reduction, ...]
    stores: tuple[Store, ...]
    row_stores: tuple[Store, ...]

    @property
    def kept(self) -> tuple[int, ...]:
        return self.shape[: self.outer]

    @property
    def choices(self) -> tuple[Chosen, ...]:
        """What can come upon an index out of range."""
        return tuple(value for value in self.rows if isinstance(value, Chosen))


@dataclass(frozen=True)
class Matmul:
    """``acc[..., i, j] = sum over k of a[..., i, k] * b[..., k, j]``, then epilogue and stores.

    `a` is a window of shape (*batch, m, k), `b` of (*batch, k, n), with any strides (transposed and
    broadcast operands included). The epilogue and stores run over shape (*batch, m, n); `Result(0)` is
    the accumulator.
    """

    a: Window
    b: Window
    dtype: DType
    operands: tuple[Operand, ...]
    epilogue: tuple[Value, ...]
    stores: tuple[Store, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.a.shape[:-1], self.b.shape[-1])


@dataclass(frozen=True)
class Pick:
    """One of several indices: at each point, its value times `stride` is where to go.

    Attributes:
        window: the index, at every point.
        size: what the index must be below.
        dim: the dimension that it is an index along, for the message about one that is out of range.
        wraps: whether negative indices count from the end.
    """

    window: Window
    size: int
    stride: int
    dim: int
    wraps: bool = True


@dataclass(frozen=True)
class Gather:
    """``out[p] = source[p with p[axis] replaced by index[p]]`` for every point p of out's window.

    `index` has out's shape (strides 0 where it was broadcast). An index outside [0, size of the axis)
    is reported through the kernel's status and reads nothing.

    Where there are `picks`, ``out[p] = source[p + index_0[p] * stride_0 + ...]`` instead: `index` is that of
    the first, and no axis is replaced.
    """

    source: Window
    index: Window
    out: Window
    axis: int
    operands: tuple[Operand, ...]
    picks: tuple[Pick, ...] = ()

    @property
    def far(self) -> Window:
        """The side that indices lead to."""
        return self.source


@dataclass(frozen=True)
class ScatterAdd:
    """``out[p with p[axis] replaced by index[p]] += source[p]``, in increasing order of p.

    `out` already holds the values added to (the scheduler copies or zeroes it first).
    Work is divided by destination, so that no two chunks write the same element.

    Attributes:
        picks: as in `Gather`.
        adds: whether to add; otherwise the value is put in the place of what is there.
    """

    out: Window
    index: Window
    source: Window
    axis: int
    operands: tuple[Operand, ...]
    picks: tuple[Pick, ...] = ()
    adds: bool = True

    @property
    def far(self) -> Window:
        """The side that indices lead to."""
        return self.out


@dataclass(frozen=True)
class Walk:
    """Along `axis`, one point after the other: evaluate the body, then store.

    In the body `Result(n)` is what value number ``carried[n]`` was at the point before, or `initial[n]` at
    the first point.
    """

    shape: tuple[int, ...]
    axis: int
    operands: tuple[Operand, ...]
    initial: tuple[Literal, ...]
    body: tuple[Value, ...]
    carried: tuple[int, ...]
    stores: tuple[Store, ...]


@dataclass(frozen=True)
class Sort:
    """Row by row along `axis`: the indices that put `source` in order, as many of them as `out` has room for.

    Equal elements stay in their order (also descending). A NaN is larger than any number. Operands are the
    source, the indices (int64) and, where rows are long, scratch memory: `scratch_bytes` for each chunk.
    """

    source: Window
    out: Window
    axis: int
    descending: bool
    operands: tuple[Operand, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def method(self) -> str:
        """How: "rank", "select" or "radix" (see `codegen/sort.py`)."""
        length, count = self.source.shape[self.axis], self.out.shape[self.axis]
        return "rank" if length <= 128 else "select" if count <= 16 else "radix"

    @property
    def chunks(self) -> int:
        """Runs of rows: few where each needs scratch memory."""
        length = self.source.shape[self.axis]
        rows = self.source.size // length if length else 0
        return min(rows, 16 if self.method == "radix" else 256)

    @property
    def scratch_bytes(self) -> int:
        """Keys and indices of a row, twice: for where they come from and for where they go."""
        if self.method != "radix":
            return 0
        key = 8 if self.operands[0].dtype.itemsize == 8 else 4
        return -(-2 * (key + 4) * self.source.shape[self.axis] // 64) * 64


@dataclass(frozen=True)
class RandomBits:
    """32 random bits an element, Philox4x32-10.

    Operand 0 is the state, uint64[2] = (seed, offset); element i of the contiguous uint32 operand 1 is
    lane i % 4 of the block with counter ``offset + delta + i // 4`` and key seed.
    """

    size: int
    delta: int
    operands: tuple[Operand, ...]


@dataclass(frozen=True, eq=False)
class CallOut:
    """``out = forward(numpy, *inputs, **params)``: what has no machine code, between native parts of a plan.

    An input is a window, or a Python number.
    """

    name: str
    forward: Callable[..., Any]
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    out: Window
    operands: tuple[Operand, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.out.shape


@dataclass(frozen=True)
class Spot:
    """Where an operand of a call in a loop lies: in round t, `offset + t * step` bytes into an operand of the
    loop's.
    """

    operand: int
    offset: int
    step: int


@dataclass(frozen=True)
class Round:
    """One kernel call in the body of a loop."""

    kernel: Kernel
    spots: tuple[Spot, ...]


@dataclass(frozen=True)
class Repeat:
    """Kernel calls that are made `length` times, in order; each sees the writes of all before it.

    `labels` say what each call came from.
    """

    length: int
    operands: tuple[Operand, ...]
    calls: tuple[Round, ...]
    labels: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)


Kernel = (
    Map | Segments | Reduce | Rows | Matmul | Convolution | ConvolutionWeight | WinogradFilters | Pool
    | Gather | ScatterAdd | RandomBits | Attention | AttentionSlopes | Walk | Sort
    | Repeat | CallOut
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where an operand lives: in the plan's arena (a byte offset), or behind an external pointer
    (an index into the table of pointers that each call fills in).

    While a plan is made, `index` is the number of a buffer of the arena, and `start` is where in it the
    place begins; then `index` is the offset of the place, and `start` is 0. Behind a pointer, `start` is the
    byte at which the place begins.
    """

    arena: bool
    index: int
    nbytes: int
    start: int = 0


@dataclass(frozen=True)
class Call:
    """One kernel call of a plan, and the places of its operands."""

    kernel: Kernel
    places: tuple[Place, ...]
    label: str = ""  # what the user wrote that this came from, for `explain()` and errors
    equations: tuple[Any, ...] = field(default=(), compare=False, repr=False)  # of the graph, for `explain()`


@dataclass(frozen=True)
class Plan:
    """Kernel calls in program order; each sees the writes of those before it."""

    calls: tuple[Call, ...]
    arena_bytes: int
    externals: int


__all__ = [
    "ANY_LENGTH", "Attention", "AttentionSlopes", "Call", "CallOut", "Chosen", "Compute",
    "Convolution", "ConvolutionWeight", "Gather", "Kernel", "Literal", "Load", "Map", "Matmul",
    "Operand", "Pick", "Place", "Plan", "Pool", "Position", "RandomBits", "Reduce", "Reduction", "Repeat",
    "Result", "Round", "Rows", "ScatterAdd", "Segments", "Sort", "Spot", "Store", "Value", "Walk",
    "Window", "WinogradFilters",
]  # fmt: skip
