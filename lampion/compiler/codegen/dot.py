"""Emits products of few rows whose operands both lie along k: vectors run along k, and nothing is packed.

This is how x @ weight.T is best computed for a small batch. A tile is a few rows of a times a few columns of
b; each of its accumulators is a vector of partial sums, and these are added up at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.codegen.pack import Matrix
from lampion.compiler.codegen.tile import multiply_add
from lampion.compiler.kernel_ir import Matmul, Window

_COLUMNS = 4  # of a tile
_MOST = 32  # rows
_PER_ROW = 8
_CHUNK = 1 << 15  # multiplications that a chunk is worth
_CHUNKS = 128


def suits(kernel: Matmul) -> bool:
    """Whether a product should be computed in this way: adding up the lanes of a vector costs about as much
    as to pack what some `_PER_ROW` steps along k need, for each row that would share it.
    """
    rows, depth = kernel.a.shape[-2:]
    along = kernel.a.strides[-1] == 1 and kernel.b.strides[-2] == 1
    return along and rows <= _MOST and depth >= max(_PER_ROW * rows, 128 // kernel.dtype.itemsize)


def chunks(kernel: Matmul) -> int:
    """The number of chunks: runs of groups of columns."""
    groups = _groups(kernel)
    work = kernel.a.size * kernel.b.shape[-1]
    return max(1, min(_CHUNKS, work // _CHUNK, groups)) if groups and kernel.a.shape[-2] else 0


def _groups(kernel: Matmul) -> int:
    return math.prod(kernel.a.shape[:-2]) * -(-kernel.b.shape[-1] // _COLUMNS)


def emit(k: KernelBuilder, kernel: Matmul) -> None:
    """Emit the loops into the kernel's function."""
    groups = _groups(kernel)
    *batch_shape, _, columns = kernel.shape
    full = columns // _COLUMNS
    lo, hi = (k.ir.udiv(k.affine(0, (x, groups)), k.i64(chunks(kernel))) for x in (k.lo, k.hi))
    with k.loop(lo, hi) as loop:
        flat, group = k.unravel(loop.index, (math.prod(batch_shape), -(-columns // _COLUMNS)))
        batch = k.unravel(flat, batch_shape)
        products = _Products(k, kernel, batch)
        rest = columns % _COLUMNS
        if full and rest:
            with k.ir.if_else(k.ir.icmp_signed("<", group, k.i64(full))) as (whole, tail):
                with whole:
                    products.columns(k.affine(0, (group, _COLUMNS)), _COLUMNS)
                with tail, k.loop(full * _COLUMNS, columns) as single:
                    products.columns(single.index, 1)
        elif full:
            products.columns(k.affine(0, (group, _COLUMNS)), _COLUMNS)
        else:
            with k.loop(0, columns) as single:
                products.columns(single.index, 1)


class _Products:
    """The code of all rows times some columns, at one point of the batch."""

    def __init__(self, k: KernelBuilder, kernel: Matmul, batch: Sequence[IRValue]) -> None:
        self.k, self.kernel, self.batch = k, kernel, batch
        self.dtype = kernel.dtype
        self.lanes = k.target.lanes(kernel.dtype)
        self.a, self.b = self._matrix(kernel.a), self._matrix(kernel.b)

    def _matrix(self, window: Window) -> Matrix:
        start = self.k.affine(window.offset, *zip(self.batch, window.strides[:-2], strict=True))
        pointer = self.k.at(window.operand, start)
        return Matrix(pointer, self.dtype, window.strides[-2], window.strides[-1])

    def columns(self, first: IRValue, count: int) -> None:
        """All rows times `count` columns."""
        rows = self.kernel.a.shape[-2]
        target = self.k.target
        most = 5 if target.registers >= 32 else 3 if target.fma else 2  # without fma, products need a place
        tiles = -(-rows // most)
        height, tall = divmod(rows, tiles)
        end_of_tall = tall * (height + 1)
        for start, stop, size in ((0, end_of_tall, height + 1), (end_of_tall, rows, height)):
            if start < stop:
                with self.k.loop(start, stop, size) as loop:
                    self._tile(loop.index, size, first, count, -(-_COLUMNS // tiles))

    def _tile(self, row: IRValue, rows: int, column: IRValue, columns: int, share: int) -> None:
        """One tile. On the way it has the caches fetch its share of the next columns of b."""
        k, depth, lanes = self.k, self.kernel.a.shape[-1], self.lanes
        whole = depth // lanes * lanes
        a, b = self.a.part(k, row, 0), self.b.part(k, 0, column)
        zero = k.constant(self.dtype, 0, lanes)
        with k.loop(0, whole, lanes, carried=[zero] * (rows * columns)) as loop:
            following = k.affine(columns, (k.ir.udiv(row, k.i64(rows)), share))
            for j in range(share):
                k.prefetch(b.at(k, loop.index, k.affine(j, (following, 1))), 64)
            loop.carry(*self._step(a, b, loop.index, loop.values, rows, columns, None))
        sums = loop.results
        if whole < depth:
            mask = k.first(k.i64(depth - whole), lanes)
            sums = self._step(a, b, k.i64(whole), sums, rows, columns, mask)
        for i in range(rows):
            along = Row(k, self.kernel.epilogue, [*self.batch, k.affine(i, (row, 1))], self.kernel.stores)
            total = Lanes(along.xp, self._added_up(sums[i * columns : (i + 1) * columns]), self.dtype)
            along.store(along.values(column, columns, results=[total]), column, columns)

    def _step(
        self,
        a: Matrix,
        b: Matrix,
        at: IRValue,
        sums: Sequence[IRValue],
        rows: int,
        columns: int,
        mask: IRValue | None,
    ) -> list[IRValue]:
        k, dtype = self.k, self.dtype
        # One column's vector at a time, so that all else fits into sixteen registers.
        elements = [k.load(a.at(k, i, at), dtype, self.lanes, mask) for i in range(rows)]
        out = list(sums)
        for j in range(columns):
            part = k.load(b.at(k, at, j), dtype, self.lanes, mask)
            for i, x in enumerate(elements):
                out[i * columns + j] = multiply_add(k, x, part, out[i * columns + j])
        return out

    def _added_up(self, vectors: Sequence[IRValue]) -> IRValue:
        """The sum over the lanes of each vector, as the lanes of one."""
        k, vectors, terms = self.k, list(vectors), self.lanes
        while terms > 1:  # add neighbours, which leaves half of each vector
            pairs = list(zip(vectors[::2], vectors[1::2], strict=False)) or [(vectors[0], vectors[0])]
            count = vectors[0].type.count * min(2, len(vectors))
            vectors = [
                k.ir.fadd(k.shuffle(x, y, range(0, count, 2)), k.shuffle(x, y, range(1, count, 2)))
                for x, y in pairs
            ]
            terms //= 2
        if len(vectors) == 1:
            return vectors[0]
        return k.vector([k.lane(vector, n) for vector in vectors for n in range(vector.type.count)])
