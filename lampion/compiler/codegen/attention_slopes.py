"""Emits `AttentionSlopes`: the gradients of attention, whose weights are computed anew block by block.

As in `attention.py`, a block's matrices have a row for each key. With P the weights, g the gradient of the
result and dP = g @ v.T:

    dS = scale * P * (dP - sum over keys of P * dP)
    dq = dS @ k            written once, by the block
    dk += dS.T @ q         added to by each block of the head, in order
    dv += P.T @ g          likewise

So a chunk is a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lampion.compiler.codegen import tile
from lampion.compiler.codegen.attention import Block, Blocks
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.codegen.pack import Matrix, load_row, store_row
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import AttentionSlopes


def chunks(kernel: AttentionSlopes, target: Target | None = None) -> int:
    """A head each."""
    return math.prod(kernel.q.shape[:-2])


def emit(module: Any, name: str, kernel: AttentionSlopes, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    _Slopes(k, kernel).emit()
    k.finish()


class _Slopes(Blocks):
    kernel: AttentionSlopes

    def emit(self) -> None:
        k, kernel = self.k, self.kernel
        self.turned_q = k.room(self.dtype, self.depth * self.size)
        self.turned_g = k.room(self.dtype, self.values * self.size)
        self.weights, self.slopes = self.block_buffer(), self.block_buffer()
        self.scale = self.literal(kernel.scale)
        full, rest = divmod(self.length, self.size)
        windows = (kernel.g, kernel.q, kernel.k, kernel.v, kernel.dq, kernel.dk, kernel.dv)
        with k.loop(k.lo, k.hi) as loop:
            batch = k.unravel(loop.index, kernel.q.shape[:-2])
            self.head = [self.at(window, batch) for window in windows]
            self._clear(self.head[5], self.depth)
            self._clear(self.head[6], self.values)
            if full:
                with k.loop(0, full * self.size, self.size) as blocks:
                    self._block(Block(blocks.index, self.size))
            if rest:
                self._block(Block(k.i64(full * self.size), rest))

    def _clear(self, matrix: Matrix, count: int) -> None:
        """Zeros for the blocks to add to."""
        k = self.k
        zero = k.constant(self.dtype, 0, self.lanes)

        def some(column: IRValue | int, columns: int) -> None:
            store_row(
                k, [zero] * -(-columns // self.lanes), row.part(k, 0, column).pointer, self.dtype, columns
            )

        with k.loop(0, self.keys) as loop:
            row = matrix.part(k, loop.index, 0)
            self.columns(count, some)

    def _block(self, block: Block) -> None:
        k = self.k
        g, q, keys, values, dq, dk, dv = self.head
        q, g, dq = (x.part(k, block.start, 0) for x in (q, g, dq))
        self.turned(q, self.turned_q, self.depth, block.count)
        self.turned(g, self.turned_g, self.values, block.count)
        self.products(
            block, keys, self.turned_q, self.depth, self.weights,
            lambda x, hidden: self.hide(x * self.scale, hidden, -math.inf),
        )  # fmt: skip
        self.products(
            block, values, self.turned_g, self.values, self.slopes,
            lambda x, hidden: self.hide(x, hidden, 0.0),
        )  # fmt: skip
        for lanes in self.vectors(block):
            self._slope(block, lanes)

        def rows(row: IRValue, count: int) -> None:
            self.columns(self.depth, lambda column, columns: some(row, count, column, columns))

        def some(row: IRValue, count: int, column: IRValue | int, columns: int) -> None:
            sums = self.rows_by_keys(block, self.slopes, keys, row, count, column, columns)
            vectors = -(-columns // self.lanes)
            for i in range(count):
                line = sums[i * vectors : (i + 1) * vectors]
                store_row(k, line, dq.at(k, k.affine(i, (row, 1)), column), self.dtype, columns)

        self.tiles(block.count, rows)
        self._add_to_keys(block, self.slopes, q, dk, self.depth)
        self._add_to_keys(block, self.weights, g, dv, self.values)

    def _slope(self, block: Block, lanes: Sequence[int]) -> None:
        """The weights of some vectors of queries from their scores, and dS from dP."""
        count = len(lanes)
        most = self.largest(block, self.weights, lanes)

        def weigh(key: IRValue, so_far: list[Lanes]) -> list[Lanes]:
            scores, slopes = self.load(self.weights, key, lanes), self.load(self.slopes, key, lanes)
            weights = [self.xp.exp(x - m) for x, m in zip(scores, most, strict=True)]
            self.store(weights, self.weights, key, lanes)
            terms = [*weights, *(w * s for w, s in zip(weights, slopes, strict=True))]
            return [total + term for total, term in zip(so_far, terms, strict=True)]

        sums = self.along_keys(block, [self.literal(0.0)] * 2 * count, weigh)
        # Divisions are slow: one for each query, and not for each pair.
        factors = [1.0 / total for total in sums[:count]]
        means = [mean * factor for mean, factor in zip(sums[count:], factors, strict=True)]

        def slope(key: IRValue, so_far: list[Lanes]) -> list[Lanes]:
            weights = [
                w * factor for w, factor in zip(self.load(self.weights, key, lanes), factors, strict=True)
            ]
            slopes = [x - mean for x, mean in zip(self.load(self.slopes, key, lanes), means, strict=True)]
            self.store(weights, self.weights, key, lanes)
            slopes = [w * x * self.scale for w, x in zip(weights, slopes, strict=True)]
            self.store(slopes, self.slopes, key, lanes)
            return []

        self.along_keys(block, [], slope)

    def _add_to_keys(self, block: Block, weights: Matrix, x: Matrix, into: Matrix, width: int) -> None:
        """into[key] += the sum over the block's queries of weight * x[query]."""
        k = self.k

        def rows(key: IRValue, count: int, corner: bool) -> None:
            self.columns(width, lambda column, columns: some(key, count, corner, column, columns))

        def some(key: IRValue, count: int, corner: bool, column: IRValue | int, columns: int) -> None:
            target = into.part(k, key, column)
            before = [
                vector for i in range(count)
                for vector in load_row(k, target.at(k, i, 0), self.dtype, columns, self.lanes)
            ]  # fmt: skip
            if corner:
                sums = self._seen(block, weights, x, key, count, column, columns)
            else:
                own = weights.part(k, key, 0)
                sums = tile.multiply(k, own, x.part(k, 0, column), block.count, count, columns)
            vectors = -(-columns // self.lanes)
            sums = [k.ir.fadd(a, b) for a, b in zip(before, sums, strict=True)]
            for i in range(count):
                store_row(k, sums[i * vectors : (i + 1) * vectors], target.at(k, i, 0), self.dtype, columns)

        self.keys_of(block, rows)

    def _seen(
        self, block: Block, weights: Matrix, x: Matrix, key: IRValue, count: int, column: IRValue | int,
        columns: int,
    ) -> Sequence[IRValue]:  # fmt: skip
        """The corner: key i of these is seen by query i of the block's queries at the same positions, and by
        those behind it.
        """
        k = self.k
        first = k.affine(0, (key, 1), (block.start, -1))  # the query at the first key's position
        behind = k.affine(count, (first, 1))
        own = weights.part(k, key, behind)
        rest = k.affine(block.count, (behind, -1))
        sums = tile.multiply(k, own, x.part(k, behind, column), rest, count, columns)
        pairs = [(i, s) for s in range(count) for i in range(s + 1)]
        return self._triangle(
            sums, weights.part(k, key, first), x.part(k, first, column), pairs, count, columns
        )
