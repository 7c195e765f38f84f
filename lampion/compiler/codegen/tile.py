"""The register tile, which is where a matrix product spends its time; and what is done with its result.

A tile is `rows` times `vectors` accumulators. For each step along k it reads a row of b's panel into
registers, one element of each of a's rows into all lanes of a register, and multiplies each with each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.codegen.pack import Matrix, load_row
from lampion.compiler.codegen.target import Target
from lampion.compiler.codegen.transpose import crosses, turn
from lampion.compiler.kernel_ir import Compute, Load, Store, Value
from lampion.dtype import DType

# Epilogues of at most this many operations are written out for every accumulator.
_SHORT = 6
_TURNED = 8  # rows from which on it is quicker to turn a tile than to write each element by itself
_LONG_NAMES = frozenset({"exp", "expm1", "log", "log1p", "tanh", "erf", "sin", "cos", "pow", "sigmoid"})


def shape(target: Target) -> tuple[int, int]:
    """Rows and vectors of the largest tile: its accumulators, a row of b and an element of a fit."""
    if target.registers >= 32:
        return 14, 2
    return (6, 2) if target.vector_bytes > 16 else (4, 2)


def multiply(
    k: KernelBuilder,
    a: Matrix,
    panel: Matrix,
    depth: IRValue | int,
    rows: int,
    columns: int,
    ahead: Callable[[IRValue], None] | None = None,
    onto: Sequence[IRValue] | None = None,
) -> list[IRValue]:
    """a @ panel: the accumulators, row by row, from zero or from what they are `onto`. `ahead`, called with
    the step, emits prefetches.
    """
    dtype, lanes = a.dtype, k.target.lanes(a.dtype)
    if onto is None:
        onto = [k.constant(dtype, 0, lanes)] * (rows * -(-columns // lanes))
    with k.loop(0, depth, carried=onto) as loop:
        parts = load_row(k, panel.at(k, loop.index, 0), dtype, columns, lanes)
        step = a.at(k, 0, loop.index)
        if ahead is not None:
            ahead(loop.index)
        sums: list[IRValue] = []
        for i in range(rows):
            element = k.splat(k.load(k.address(step, dtype, i * a.row), dtype), lanes)
            sums += [
                multiply_add(k, element, part, loop.values[len(sums) + v]) for v, part in enumerate(parts)
            ]
        loop.carry(*sums)
    return loop.results


def multiply_add(k: KernelBuilder, x: IRValue, y: IRValue, total: IRValue) -> IRValue:
    """x * y + total, in one rounding where the processor can."""
    if k.target.fma:
        return k.intrinsic("fma", x, y, total)
    return k.ir.fadd(k.ir.fmul(x, y), total)


class Epilogue:
    """What becomes of the accumulators: the epilogue's values, and where they are stored."""

    def __init__(
        self, k: KernelBuilder, values: Sequence[Value], stores: Sequence[Store], dtype: DType
    ) -> None:
        self.k = k
        self.values = values
        self.stores = stores
        self.dtype = dtype
        self.lanes = k.target.lanes(dtype)
        names = [value.primitive.name for value in values if isinstance(value, Compute)]
        loads = [value.window for value in values if isinstance(value, Load)]
        # Along a row, only what lies together can be masked.
        self.maskable = all(w.strides[-1] in (0, 1) or w.shape[-1] == 1 for w in loads) and all(
            store.window.strides[-1] == 1 and store.window.shape[-1] > 1 for store in stores
        )
        # Where columns go into rows (with a mask: on processors with the longest vectors it costs nothing).
        self.turns = k.target.vector_bytes == 64 and all(crosses(store.window, -2) for store in stores)
        windows = [*loads, *(store.window for store in stores)]
        self.nbytes = sum(w.size * k.dtypes[w.operand].itemsize for w in windows if w.strides[-1] == 1)
        self.short = len(names) <= _SHORT and not _LONG_NAMES.intersection(names)

    def in_registers(self, columns: int) -> bool:
        """Whether a tile of that many columns is best finished without going through memory."""
        return self.short and (self.maskable or columns % self.lanes == 0)

    def prefetch(self, batch: Sequence[IRValue], row: IRValue, column: IRValue, columns: int) -> None:
        """Have the caches fetch what a row of a tile will be finished with, and where it goes."""
        Row(self.k, self.values, [*batch, row], self.stores, lazily=True).prefetch(column, columns)

    def from_registers(
        self, sums: Sequence[IRValue], batch: Sequence[IRValue], row: IRValue, column: IRValue, columns: int
    ) -> None:
        """Finish a tile of `columns` columns that is still in registers."""
        vectors = -(-columns // self.lanes)
        if self.turns and columns % self.lanes == 0 and _TURNED <= len(sums) // vectors <= self.lanes:
            self._turned(sums, batch, row, column, columns)
            return
        for i in range(len(sums) // vectors):
            along = Row(self.k, self.values, [*batch, self.k.affine(i, (row, 1))], self.stores)
            self._line(along, sums[i * vectors : (i + 1) * vectors], column, columns)

    def from_memory(
        self,
        tile: Matrix,
        batch: Sequence[IRValue],
        row: IRValue,
        column: IRValue,
        rows: int,
        columns: int,
    ) -> None:
        """Finish a tile that lies in memory, in whole vectors."""
        k = self.k
        with k.loop(0, rows) as loop:
            along = Row(k, self.values, [*batch, k.affine(0, (row, 1), (loop.index, 1))], self.stores)
            line = tile.part(k, loop.index, 0)
            if self.maskable or columns % self.lanes == 0:
                starts = range(0, columns, self.lanes)
                sums = [k.load(line.at(k, 0, at), self.dtype, self.lanes) for at in starts]
                self._line(along, sums, column, columns)
            else:
                with k.loop(0, columns) as inner:
                    total = k.load(line.at(k, 0, inner.index), self.dtype)
                    self._points(along, total, k.affine(0, (column, 1), (inner.index, 1)), 1)

    def _turned(
        self, sums: Sequence[IRValue], batch: Sequence[IRValue], row: IRValue, column: IRValue, columns: int
    ) -> None:
        """Finish a tile whose columns go into rows: it is turned in registers, and written by columns."""
        k, lanes, vectors = self.k, self.lanes, columns // self.lanes
        rows = len(sums) // vectors
        mask = k.first(k.i64(rows), lanes) if rows < lanes else None
        for v in range(vectors):
            first = k.affine(v * lanes, (column, 1))
            lines = []
            for i in range(rows):
                along = Row(k, self.values, [*batch, k.affine(i, (row, 1))])
                lines.append(
                    along.values(first, lanes, results=[Lanes(along.xp, sums[i * vectors + v], self.dtype)])
                )
            for store in self.stores:
                window, dtype = store.window, k.dtypes[store.window.operand]
                square = [line[store.value].astype(dtype).spread(lanes).value for line in lines]
                square += square[-1:] * (lanes - rows)
                outer = zip([*batch, row], window.strides[:-1], strict=True)
                start = k.affine(window.offset, *outer, (first, window.strides[-1]))
                for n, vector in enumerate(turn(k, square)):
                    to = k.at(window.operand, k.affine(n * window.strides[-1], (start, 1)))
                    k.store(vector, to, dtype, mask, is_rounded=True)

    def _line(self, along: Row, sums: Sequence[IRValue], column: IRValue, columns: int) -> None:
        for v, total in enumerate(sums):
            at = v * self.lanes
            mask = None
            if columns - at < self.lanes:
                mask = self.k.first(self.k.i64(columns - at), self.lanes)
            self._points(along, total, self.k.affine(at, (column, 1)), self.lanes, mask)

    def _points(
        self, along: Row, total: IRValue, column: IRValue, lanes: int, mask: IRValue | None = None
    ) -> None:
        values = along.values(column, lanes, results=[Lanes(along.xp, total, self.dtype)], mask=mask)
        along.store(values, column, lanes, mask=mask)
