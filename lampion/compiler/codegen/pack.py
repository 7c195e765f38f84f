"""Copies of matrix parts, in the order in which the register tile of `tile.py` reads them.

A panel of b holds `width` columns (a few vectors): row after row of k, with no gaps. The columns of a
panel that b does not have are filled with anything: what comes of them is never stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.dtype import DType


class Matrix:
    """A matrix in memory: a pointer to its first element, and strides (in elements)."""

    def __init__(self, pointer: IRValue, dtype: DType, row: int, column: int) -> None:
        self.pointer = pointer
        self.dtype = dtype
        self.row = row
        self.column = column

    def at(self, k: KernelBuilder, row: IRValue | int, column: IRValue | int) -> IRValue:
        return k.address(self.pointer, self.dtype, k.affine(0, (row, self.row), (column, self.column)))

    def part(self, k: KernelBuilder, row: IRValue | int, column: IRValue | int) -> Matrix:
        """The same, from that element on."""
        return Matrix(self.at(k, row, column), self.dtype, self.row, self.column)


def pack_panel(
    k: KernelBuilder, b: Matrix, panel: IRValue, depth: IRValue | int, columns: int, lanes: int
) -> None:
    """Copy `depth` rows of b, of `columns` columns, into a panel that is as wide in whole vectors."""
    width = -(-columns // lanes) * lanes
    if b.column == 1:
        _copy_rows(k, b, panel, depth, columns, lanes)
    elif b.row == 1 and lanes * b.dtype.itemsize >= 16:
        for first in range(0, width, lanes):
            numbers = [min(first + lane, columns - 1) for lane in range(lanes)]
            starts = [b.at(k, 0, number) for number in numbers]
            _transpose(k, starts, b.dtype, k.address(panel, b.dtype, first), width, depth)
    else:
        with k.loop(0, depth) as loop:
            source, to = b.part(k, loop.index, 0), k.affine(0, (loop.index, width))
            with k.loop(0, columns) as inner:
                element = k.load(source.at(k, 0, inner.index), b.dtype)
                k.store(element, k.address(panel, b.dtype, k.affine(to, (inner.index, 1))), b.dtype)


def load_row(k: KernelBuilder, row: IRValue, dtype: DType, columns: int, lanes: int) -> list[IRValue]:
    """Adjacent elements as vectors; only the last vector may be a part of one."""
    vectors = []
    for column in range(0, columns, lanes):
        mask = k.first(k.i64(columns - column), lanes) if columns - column < lanes else None
        vectors.append(k.load(k.address(row, dtype, column), dtype, lanes, mask))
    return vectors


def store_row(k: KernelBuilder, vectors: Sequence[IRValue], row: IRValue, dtype: DType, columns: int) -> None:
    """Write vectors side by side; of the last one only what belongs to the first `columns` columns."""
    lanes = k.target.lanes(dtype)
    for number, vector in enumerate(vectors):
        column = number * lanes
        mask = k.first(k.i64(columns - column), lanes) if columns - column < lanes else None
        k.store(vector, k.address(row, dtype, column), dtype, mask)


def _copy_rows(
    k: KernelBuilder, b: Matrix, panel: IRValue, depth: IRValue | int, columns: int, lanes: int
) -> None:
    """The rows are adjacent in memory."""
    with k.loop(0, depth) as loop:
        vectors = load_row(k, b.at(k, loop.index, 0), b.dtype, columns, lanes)
        to = k.affine(0, (loop.index, len(vectors) * lanes))
        for number, vector in enumerate(vectors):
            k.store(vector, k.address(panel, b.dtype, k.affine(number * lanes, (to, 1))), b.dtype)


def _transpose(
    k: KernelBuilder, starts: list[IRValue], dtype: DType, to: IRValue, width: int, depth: IRValue | int
) -> None:
    """Columns adjacent in memory (b is the transpose of an ordinary matrix, as in x @ weight.T): one
    vector's worth of columns, which begin at `starts`.

    Four (or two) elements of each column fill as many registers, quarter by quarter, and are transposed
    there by shuffles that stay within quarters.
    """
    lanes, step = len(starts), 16 // dtype.itemsize
    depth = k.i64(depth)
    whole = k.ir.and_(depth, k.i64(-step))
    with k.loop(0, whole, step) as loop:
        registers = []  # registers[i], quarter q: column step * q + i
        for i in range(step):
            columns = [k.address(start, dtype, loop.index) for start in starts[i::step]]
            registers.append(_joined(k, [k.load(column, dtype, step) for column in columns]))
        for row, vector in enumerate(_transposed(k, registers, lanes, step)):
            k.store(vector, k.address(to, dtype, k.affine(row * width, (loop.index, width))), dtype)
    with k.loop(whole, depth) as loop:
        vector = k.vector([k.load(k.address(start, dtype, loop.index), dtype) for start in starts])
        k.store(vector, k.address(to, dtype, k.affine(0, (loop.index, width))), dtype)


def _joined(k: KernelBuilder, parts: list[IRValue]) -> IRValue:
    """Vectors put end to end."""
    while len(parts) > 1:
        lanes = 2 * parts[0].type.count
        parts = [k.shuffle(x, y, range(lanes)) for x, y in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _transposed(k: KernelBuilder, registers: list[IRValue], lanes: int, step: int) -> list[IRValue]:
    """Transpose the step-by-step matrix that each quarter of the registers holds."""

    def interleave(x: IRValue, y: IRValue, half: int, size: int) -> IRValue:
        """Of each quarter, the lower or upper half of x and y, alternating in pieces of `size`."""
        picks = []
        for quarter in range(0, lanes, step):
            for at in range(half * step // 2, (half + 1) * step // 2, size):
                picks += [quarter + at + i for i in range(size)]
                picks += [lanes + quarter + at + i for i in range(size)]
        return k.shuffle(x, y, picks)

    if step == 2:
        x, y = registers
        return [interleave(x, y, 0, 1), interleave(x, y, 1, 1)]
    w, x, y, z = registers
    low = interleave(w, x, 0, 1), interleave(y, z, 0, 1)
    high = interleave(w, x, 1, 1), interleave(y, z, 1, 1)
    return [interleave(*low, 0, 2), interleave(*low, 1, 2), interleave(*high, 0, 2), interleave(*high, 1, 2)]


def pack_rows(k: KernelBuilder, a: Matrix, to: Matrix, rows: int, depth: IRValue | int, lanes: int) -> None:
    """Copy `rows` rows of a, `depth` long, into `to`, whose rows are adjacent in memory and have room for
    one vector more.
    """
    size = lanes if a.column == 1 else 1
    with k.loop(0, rows) as row:
        source, target = a.part(k, row.index, 0), to.part(k, row.index, 0)
        whole = k.ir.and_(k.i64(depth), k.i64(-size))
        with k.loop(0, whole, size) as loop:
            k.store(k.load(source.at(k, 0, loop.index), a.dtype, size), target.at(k, 0, loop.index), a.dtype)
        if size > 1:
            rest = k.first(k.affine(0, (depth, 1), (whole, -1)), size)
            k.store(k.load(source.at(k, 0, whole), a.dtype, size, rest), target.at(k, 0, whole), a.dtype)


def copy(k: KernelBuilder, source: IRValue, target: IRValue, dtype: DType, count: int, lanes: int) -> None:
    """Copy a known number of adjacent elements."""
    if k.target.vector_bytes == 64:  # masks cost nothing
        store_row(k, load_row(k, source, dtype, count, lanes), target, dtype, count)
        return
    at = 0
    while at < count:
        size = min(lanes, 1 << ((count - at).bit_length() - 1))
        k.store(k.load(k.address(source, dtype, at), dtype, size), k.address(target, dtype, at), dtype)
        at += size
