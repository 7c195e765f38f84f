"""Emits `Attention`: a head's queries in blocks, whose scores stay in the first-level cache.

All that belongs to a block is stored the other way round, a row for each key with the block's queries in its
lanes: scores.T = k @ q.T. So k and v are read where they lie, the softmax needs no sums across lanes, and the
weights come out as the product with v reads them. Of q only the block is turned round.

Under a causal mask a block meets the keys up to its last query. The square in which keys and queries are the
same positions, the *corner*, is the only part where single pairs are hidden; they are left out there exactly.

A chunk is a block of a head; each is computed in one fixed order. The buffers are on the stack: about
300 KB at most. `attention_slopes.py` has the gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.ir as ir

from lampion.compiler.codegen import tile
from lampion.compiler.codegen.builder import I32, IRValue, KernelBuilder
from lampion.compiler.codegen.emitter import Emitter
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.codegen.pack import Matrix, load_row, pack_panel, store_row
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Attention, AttentionSlopes, Window
from lampion.dtype import bool_

_QUERIES = 32  # of a block
_TOGETHER = 4  # vectors whose chains of operations are independent, so that none waits for itself
_STACK = 256 << 10  # bytes that a block's scores may take


def block_size(kernel: Attention | AttentionSlopes) -> int:
    """How many queries are worked on at once: fewer, if they meet very many keys."""
    matrices = 1 if isinstance(kernel, Attention) else 2
    bytes_of_one = matrices * kernel.k.shape[-2] * kernel.operands[kernel.k.operand].dtype.itemsize
    size = _QUERIES
    while size > 16 and size * bytes_of_one > _STACK:
        size //= 2
    return size


def chunks(kernel: Attention, target: Target | None = None) -> int:
    """A block of a head each."""
    length = kernel.q.shape[-2]
    return math.prod(kernel.q.shape[:-2]) * -(-length // block_size(kernel))


def emit(module: Any, name: str, kernel: Attention, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    _Forward(k, kernel).emit()
    k.finish()


class Blocks:
    """What attention and its gradients have in common: sizes, buffers, and products of a block."""

    def __init__(self, k: KernelBuilder, kernel: Attention | AttentionSlopes) -> None:
        self.k, self.kernel, self.xp = k, kernel, Emitter(k)
        self.dtype = dtype = kernel.operands[kernel.q.operand].dtype
        self.size = block_size(kernel)
        self.lanes = k.target.lanes(dtype)
        self.width = min(2 * self.lanes, self.size)  # columns of a register tile
        self.rows = 8 if k.target.registers >= 32 else 4
        self.length, self.depth = kernel.q.shape[-2:]
        self.keys, self.values = kernel.v.shape[-2:]
        self.causal = kernel.causal

    def block_buffer(self) -> Matrix:
        """A row for each key, with the block's queries side by side."""
        return Matrix(self.k.room(self.dtype, self.keys * self.size), self.dtype, self.size, 1)

    def at(self, window: Window, batch: Sequence[IRValue]) -> Matrix:
        """One head's matrix."""
        k = self.k
        start = k.affine(window.offset, *zip(batch, window.strides[:-2], strict=True))
        return Matrix(k.at(window.operand, start), self.dtype, window.strides[-2], 1)

    def tiles(self, count: int, body: Callable[[IRValue, int], None], start: IRValue | int = 0) -> None:
        """body(row, rows) for the rows [start, start + count), a tile at a time."""
        whole = count // self.rows * self.rows
        if whole:
            with self.k.loop(0, whole, self.rows) as loop:
                body(self.k.affine(0, (start, 1), (loop.index, 1)), self.rows)
        if count > whole:
            body(self.k.affine(whole, (start, 1)), count - whole)

    def keys_of(self, block: Block, body: Callable[[IRValue, int, bool], None]) -> None:
        """body(key, rows, is in the corner) for the keys that the block's queries meet."""
        if not self.causal:
            self.tiles(self.keys, lambda key, rows: body(key, rows, False))
            return
        with self.k.loop(0, block.start, self.rows) as loop:
            body(loop.index, self.rows, False)
        self.tiles(block.count, lambda key, rows: body(key, rows, True), block.start)

    def columns(self, count: int, body: Callable[[IRValue | int, int], None]) -> None:
        """body(column, columns) for as many columns, a register tile's width at a time."""
        whole = count // self.width * self.width
        if whole:
            with self.k.loop(0, whole, self.width) as loop:
                body(loop.index, self.width)
        if count > whole:
            body(whole, count - whole)

    def turned(self, source: Matrix, panels: IRValue, depth: int, count: int) -> None:
        """Rows of a matrix as columns of panels, one for every `width` rows; the last may be narrower, but is
        of whole vectors.
        """
        k = self.k
        turned = Matrix(source.pointer, self.dtype, 1, source.row)
        for number, column in enumerate(range(0, count, self.width)):
            panel = k.address(panels, self.dtype, number * depth * self.width)
            part = turned.part(k, 0, column)
            # Where the block ends, a vector is filled with its last column: nobody reads what that gives.
            pack_panel(k, part, panel, depth, min(self.width, count - column), self.lanes)

    def products(
        self, block: Block, rows: Matrix, panels: IRValue, depth: int, into: Matrix,
        finish: Callable[[Lanes, IRValue | None], Lanes],
    ) -> None:  # fmt: skip
        """into = rows @ panels, for the keys that the block meets; `finish` has each vector before it is
        stored, and the mask of what is hidden in it, if it is in the corner.
        """
        k = self.k

        def one(key: IRValue, count: int, corner: bool) -> None:
            sums = tile.multiply(k, rows.part(k, key, 0), panel, depth, count, vectors * self.lanes)
            for number, total in enumerate(sums):
                row, vector = divmod(number, vectors)
                lane = first + vector * self.lanes
                hidden = self._hidden(k.affine(row, (key, 1)), block, lane) if corner else None
                value = finish(Lanes(self.xp, total, self.dtype), hidden)
                k.store(value.value, into.at(k, k.affine(row, (key, 1)), lane), self.dtype)

        for number, first in enumerate(range(0, block.count, self.width)):
            start = k.address(panels, self.dtype, number * depth * self.width)
            vectors = -(-min(self.width, block.count - first) // self.lanes)
            panel = Matrix(start, self.dtype, vectors * self.lanes, 1)
            self.keys_of(block, one)

    def _hidden(self, key: IRValue, block: Block, lane: int) -> IRValue:
        """Which of the queries in a vector come before the key."""
        k = self.k
        local = k.ir.trunc(k.affine(-lane, (key, 1), (block.start, -1)), I32)  # of the vector's first query
        if self.lanes == 1:
            return k.ir.icmp_signed("<", I32(0), local)
        steps = ir.Constant(ir.VectorType(I32, self.lanes), list(range(self.lanes)))
        return k.ir.icmp_signed("<", steps, k.splat(local, self.lanes))

    def hide(self, value: Lanes, hidden: IRValue | None, number: float) -> Lanes:
        """The value, with a number in the place of what is hidden."""
        if hidden is None:
            return value
        instead = self.xp.literal(number, self.dtype).spread(self.lanes)
        return self.xp.where(Lanes(self.xp, hidden, bool_), instead, value)

    def rows_by_keys(
        self, block: Block, weights: Matrix, x: Matrix, row: IRValue, rows: int, column: IRValue | int,
        columns: int,
    ) -> list[IRValue]:  # fmt: skip
        """For queries from `row` on (counted in the block): the sum over keys of weight * x[key]."""
        k = self.k
        turned = Matrix(weights.at(k, 0, row), self.dtype, 1, self.size)
        if not self.causal:
            return tile.multiply(k, turned, x.part(k, 0, column), self.keys, rows, columns)
        before = k.affine(0, (block.start, 1), (row, 1))  # the keys that all of these queries see
        sums = tile.multiply(k, turned, x.part(k, 0, column), before, rows, columns)
        pairs = [(i, s) for s in range(rows) for i in range(s, rows)]
        corner = Matrix(turned.at(k, 0, before), self.dtype, 1, self.size)
        return self._triangle(sums, corner, x.part(k, before, column), pairs, rows, columns)

    def _triangle(
        self, sums: list[IRValue], weights: Matrix, x: Matrix, pairs: Sequence[tuple[int, int]], steps: int,
        columns: int,
    ) -> list[IRValue]:  # fmt: skip
        """sums[i] + weights[i, s] * x[s] for these pairs (i, s) only."""
        k, vectors = self.k, -(-columns // self.lanes)
        sums = list(sums)
        lines = [load_row(k, x.at(k, s, 0), self.dtype, columns, self.lanes) for s in range(steps)]
        for i, s in pairs:
            weight = k.splat(k.load(weights.at(k, i, s), self.dtype), self.lanes)
            for v in range(vectors):
                at = i * vectors + v
                sums[at] = tile.multiply_add(k, weight, lines[s][v], sums[at])
        return sums

    def along_keys(
        self, block: Block, carried: Sequence[Lanes], body: Callable[[IRValue, list[Lanes]], list[Lanes]]
    ) -> list[Lanes]:
        """Walk the keys that the block meets, with values carried from one to the next."""
        k = self.k
        stop = k.affine(block.count, (block.start, 1)) if self.causal else self.keys
        with k.loop(0, stop, carried=[x.value for x in carried]) as loop:
            now = body(loop.index, [Lanes(self.xp, x, self.dtype) for x in loop.values])
            loop.carry(*(x.value for x in now))
        return [Lanes(self.xp, x, self.dtype) for x in loop.results]

    def load(self, matrix: Matrix, key: IRValue, lanes: Sequence[int]) -> list[Lanes]:
        """Some vectors of a block."""
        k = self.k
        loaded = [k.load(matrix.at(k, key, lane), self.dtype, self.lanes) for lane in lanes]
        return [Lanes(self.xp, value, self.dtype) for value in loaded]

    def store(self, values: Sequence[Lanes], matrix: Matrix, key: IRValue, lanes: Sequence[int]) -> None:
        for value, lane in zip(values, lanes, strict=True):
            self.k.store(value.value, matrix.at(self.k, key, lane), self.dtype)

    def literal(self, number: float) -> Lanes:
        return self.xp.literal(number, self.dtype).spread(self.lanes)

    def largest(self, block: Block, scores: Matrix, lanes: Sequence[int]) -> list[Lanes]:
        """The largest score of each query of some vectors."""

        def larger(key: IRValue, so_far: list[Lanes]) -> list[Lanes]:
            return [self.xp.maximum(x, y) for x, y in zip(so_far, self.load(scores, key, lanes), strict=True)]

        return self.along_keys(block, [self.literal(-math.inf)] * len(lanes), larger)

    def vectors(self, block: Block) -> list[range]:
        """The lanes at which the vectors of a block start; together those that one walk takes along."""
        step = _TOGETHER * self.lanes
        return [
            range(first, min(first + step, block.count), self.lanes) for first in range(0, block.count, step)
        ]


class Block:
    """Some queries of a head: the first of them, and how many."""

    def __init__(self, start: IRValue, count: int) -> None:
        self.start, self.count = start, count


class _Forward(Blocks):
    kernel: Attention

    def emit(self) -> None:
        k, kernel = self.k, self.kernel
        self.turned_q = self.k.room(self.dtype, self.depth * self.size)
        self.scores = self.block_buffer()
        self.factors = Matrix(self.k.room(self.dtype, self.size), self.dtype, self.size, 1)
        self.scale = self.literal(kernel.scale)
        blocks = -(-self.length // self.size)
        full, rest = divmod(self.length, self.size)
        with k.loop(k.lo, k.hi) as loop:
            # The last blocks of all heads, which meet the most keys, come first: so nobody waits for them.
            *batch, number = k.unravel(loop.index, (*kernel.q.shape[:-2], blocks))
            start = k.affine((blocks - 1) * self.size, (number, -self.size))
            self.head = [self.at(window, batch) for window in (kernel.q, kernel.k, kernel.v, kernel.out)]
            if full and rest:
                with k.ir.if_else(k.ir.icmp_signed("==", number, k.i64(0))) as (last, others):
                    with last:
                        self._block(Block(start, rest))
                    with others:
                        self._block(Block(start, self.size))
            else:
                self._block(Block(start, rest or self.size))

    def _block(self, block: Block) -> None:
        k = self.k
        q, keys, values, out = self.head
        self.turned(q.part(k, block.start, 0), self.turned_q, self.depth, block.count)
        self.products(
            block, keys, self.turned_q, self.depth, self.scores,
            lambda x, hidden: self.hide(x * self.scale, hidden, -math.inf),
        )  # fmt: skip
        for lanes in self.vectors(block):
            self._weigh(block, lanes)
        out = out.part(k, block.start, 0)

        def rows(row: IRValue, count: int) -> None:
            self.columns(self.values, lambda column, columns: some(row, count, column, columns))

        def some(row: IRValue, count: int, column: IRValue | int, columns: int) -> None:
            sums = self.rows_by_keys(block, self.scores, values, row, count, column, columns)
            vectors = -(-columns // self.lanes)
            for i in range(count):
                at = k.affine(i, (row, 1))
                factor = k.splat(k.load(self.factors.at(k, 0, at), self.dtype), self.lanes)
                line = [k.ir.fmul(x, factor) for x in sums[i * vectors : (i + 1) * vectors]]
                store_row(k, line, out.at(k, at, column), self.dtype, columns)

        self.tiles(block.count, rows)

    def _weigh(self, block: Block, lanes: Sequence[int]) -> None:
        """The scores of some vectors of queries as weights, still to be multiplied by `factors`."""
        most = self.largest(block, self.scores, lanes)

        def weigh(key: IRValue, so_far: list[Lanes]) -> list[Lanes]:
            scores = self.load(self.scores, key, lanes)
            weights = [self.xp.exp(x - m) for x, m in zip(scores, most, strict=True)]
            self.store(weights, self.scores, key, lanes)
            return [total + weight for total, weight in zip(so_far, weights, strict=True)]

        totals = self.along_keys(block, [self.literal(0.0)] * len(lanes), weigh)
        self.store([1.0 / total for total in totals], self.factors, self.k.i64(0), lanes)
