"""Emits `Matmul`: packed panels, register tiles, and the epilogue while the tile is at hand.

The product is cut into chunks: groups of columns by groups of rows (by batch). For each block of k, a few
panels of b are packed into a buffer that stays in the second-level cache; then, tile of rows by tile of rows,
a is multiplied with each panel. b is read in place if its rows are short, or if there are few rows of a; and
a nearly always, unless its rows would fight for the same cache lines: then tiles of it are packed too. Where
k takes more than one block, sums wait for the next one in memory: where the result will be, if they can.
Every element is a sum over blocks of k in order, and within a block over k in order, whatever the number of
threads.

The buffers are on the stack: less than 256 KB.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from lampion.compiler.codegen import dot, matmul_bf16, tile
from lampion.compiler.codegen.blocking import WIDE_ROWS, Blocking, swapped, without_batch
from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.codegen.pack import Matrix, copy, load_row, pack_panel, pack_rows, store_row
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Matmul, Window

_ROWS_AHEAD = 8  # rows of b that are fetched while others are packed
_NEAR = 256 << 10  # bytes that are read and written around a product and still are in a cache


def chunks(kernel: Matmul, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    if matmul_bf16.suits(kernel):
        return matmul_bf16.chunks(kernel)
    lengthwise = _lengthwise(kernel)
    return Blocking(kernel).chunks if lengthwise is None else dot.chunks(lengthwise)


def emit(module: Any, name: str, kernel: Matmul, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if math.prod(kernel.shape) > 0:
        lengthwise = _lengthwise(kernel)
        if matmul_bf16.suits(kernel):
            matmul_bf16.emit(k, kernel)
        elif lengthwise is not None:
            dot.emit(k, lengthwise)
        elif _is_plain(kernel):
            _emit_plain(k, Blocking(kernel))
        else:
            _Emission(k, Blocking(kernel)).emit()
    k.finish()


def _is_plain(kernel: Matmul) -> bool:
    """Whether one element after the other will do."""
    types = [kernel.operands[window.operand].dtype for window in (kernel.a, kernel.b)]
    return kernel.dtype.kind != "f" or types != [kernel.dtype] * 2 or kernel.a.shape[-1] == 0


def _lengthwise(kernel: Matmul) -> Matmul | None:
    """The product or its transpose, if one of them is for `dot`."""
    if _is_plain(kernel):
        return None
    forms = [without_batch(kernel), without_batch(swapped(kernel))]
    form = min(forms, key=lambda form: form.a.shape[-2])
    return form if dot.suits(form) else None


def _emit_plain(k: KernelBuilder, blocking: Blocking) -> None:
    """One element after the other: integers, booleans, operands that have to be converted."""
    kernel, dtype = blocking.kernel, blocking.kernel.dtype
    a, b, shape = kernel.a, kernel.b, kernel.shape
    steps = {"f": (k.ir.fadd, k.ir.fmul), "b": (k.ir.or_, k.ir.and_)}
    add, multiply = steps.get(dtype.kind, (k.ir.add, k.ir.mul))
    total = math.prod(shape)
    first, last = (k.ir.udiv(k.affine(0, (x, total)), k.i64(blocking.chunks)) for x in (k.lo, k.hi))
    with k.loop(first, last) as loop:
        *batch, i, j = k.unravel(loop.index, shape)
        row = Row(k, kernel.epilogue, [*batch, i], kernel.stores)
        a_start = k.affine(a.offset, *zip([*batch, i], a.strides[:-1], strict=True))
        b_start = k.affine(b.offset, *zip(batch, b.strides[:-2], strict=True), (j, b.strides[-1]))

        def factor(window: Window, start: IRValue, step: int, row: Row = row) -> IRValue:
            kind = k.dtypes[window.operand]
            loaded = k.load(k.at(window.operand, k.affine(start, (inner.index, step))), kind)
            return Lanes(row.xp, loaded, kind).astype(dtype).value

        with k.loop(0, a.shape[-1], carried=[k.constant(dtype, 0)]) as inner:
            product = multiply(factor(a, a_start, a.strides[-1]), factor(b, b_start, b.strides[-2]))
            inner.carry(add(inner.values[0], product))
        row.store(row.values(j, results=[Lanes(row.xp, inner.results[0], dtype)]), j)


class _Emission:
    """The code of one product of floats: its sizes on this processor, and its buffers."""

    def __init__(self, k: KernelBuilder, blocking: Blocking) -> None:
        self.k = k
        self.blocking = blocking
        self.dtype = dtype = blocking.kernel.dtype
        self.lanes = k.target.lanes(dtype)
        rows, vectors = tile.shape(k.target)
        if blocking.m <= WIDE_ROWS and blocking.in_place:
            vectors = next(v for v in (8, 4, 2) if blocking.m * v + 3 <= k.target.registers)
        self.width = min(vectors, -(-blocking.n // self.lanes)) * self.lanes  # of a panel
        self.runs = blocking.tiles(rows)
        self.tallest = max(run.rows for run in self.runs)
        self.tile_count = sum(run.count for run in self.runs)
        self.blocked = blocking.blocks_of_k > 1
        self.epilogue = tile.Epilogue(k, blocking.kernel.epilogue, blocking.kernel.stores, dtype)
        group = -(-blocking.group * blocking.block // self.width) * self.width  # columns, at most
        if not blocking.in_place:
            self.panels = self.k.room(self.dtype, group * blocking.depth)
        if blocking.packs_a:  # rows of a length that keeps them out of each other's cache lines
            row = blocking.depth // 64 * 64 + 80
            self.packed = Matrix(self.k.room(self.dtype, self.tallest * row), dtype, row, 1)
        if not all(map(self.epilogue.in_registers, (self.width, blocking.n % self.width))):
            self.tile = Matrix(self.k.room(self.dtype, self.tallest * self.width), dtype, self.width, 1)
        # What a tile is finished with, and where it goes, is fetched before: row after row, evenly over the
        # steps along k, since the product's own loads have to wait for a crowd of others. (As the power of
        # two that is the steps of a row.)
        self.fetches_outside = self.epilogue.nbytes > _NEAR and blocking.depth >= 2 * self.tallest
        self.steps_a_line = (blocking.depth // self.tallest).bit_length() - 1
        self._place_sums(group)

    def _place_sums(self, group: int) -> None:
        """Where sums wait on the stack; and how many row groups can be worked on at once."""
        blocking = self.blocking
        self.at_once = blocking.row_groups
        if self.blocked and blocking.into is None:
            shares = [self.tile_count * i // blocking.row_groups for i in range(blocking.row_groups + 1)]
            rows = max(b - a for a, b in itertools.pairwise(shares)) * self.tallest  # in a row group
            self.at_once = max(1, blocking.waiting // rows)
            self.sums = Matrix(self.k.room(self.dtype, self.at_once * rows * group), self.dtype, group, 1)

    def emit(self) -> None:
        k, blocking = self.k, self.blocking
        batch_count, pieces = math.prod(blocking.batch), blocking.row_groups
        # Chunks that use the same panels follow one another: a thread packs them once, for all its rows.
        stop = k.ir.udiv(k.affine(pieces - 1, (k.hi, 1)), k.i64(pieces))
        with k.loop(k.ir.udiv(k.lo, k.i64(pieces)), stop, carried=[k.i64(-1)]) as loop:
            before = k.affine(0, (loop.index, pieces))
            first = k.larger(k.affine(0, (k.lo, 1), (before, -1)), 0)
            last = k.smaller(k.affine(0, (k.hi, 1), (before, -1)), pieces)
            if blocking.b_varies:
                flat, group = k.unravel(loop.index, (batch_count, blocking.groups))
                panels = loop.index
            else:
                group, flat = k.unravel(loop.index, (blocking.groups, batch_count))
                panels = group
            chunk = _Chunk(self, k.unravel(flat, blocking.batch), group)
            if not self.blocked:
                with k.ir.if_then(k.ir.icmp_signed("!=", panels, loop.values[0])):
                    chunk.pack(0, blocking.k)
                chunk.multiply(self._tile_of(first), self._tile_of(last), 0, blocking.k)
            else:
                with k.loop(first, last, self.at_once) as piece:
                    end = k.smaller(k.affine(self.at_once, (piece.index, 1)), last)
                    with k.loop(0, blocking.k, blocking.depth) as along:
                        depth = k.smaller(k.affine(blocking.k, (along.index, -1)), blocking.depth)
                        chunk.pack(along.index, depth)
                        chunk.multiply(self._tile_of(piece.index), self._tile_of(end), along.index, depth)
            loop.carry(panels)

    def _tile_of(self, row_group: IRValue) -> IRValue:
        """The number of the first tile (from the top) of a group of rows."""
        k = self.k
        return k.ir.udiv(k.affine(0, (row_group, self.tile_count)), k.i64(self.blocking.row_groups))


class _Chunk:
    """The code of one group of columns, for some tiles of rows."""

    def __init__(self, emission: _Emission, batch: Sequence[IRValue], group: IRValue) -> None:
        self.e = emission
        self.k = k = emission.k
        self.batch = batch
        blocking = emission.blocking
        first, last = (
            k.ir.udiv(k.affine(0, (number, blocking.blocks)), k.i64(blocking.groups))
            for number in (group, k.affine(1, (group, 1)))
        )
        start, stop = (k.affine(0, (block, blocking.block)) for block in (first, last))
        self.column = start
        # The last panel of all may be narrower than the others. It is known when the code is emitted.
        self.tail = blocking.n % emission.width
        columns = k.affine(0, (k.smaller(stop, blocking.n), 1), (start, -1))
        self.full = k.ir.udiv(columns, k.i64(emission.width))  # full panels in this group
        self.has_tail = k.ir.icmp_signed("==", group, k.i64(blocking.groups - 1))
        self.a = self._matrix(blocking.kernel.a)
        self.b = self._matrix(blocking.kernel.b)
        self.into = None if blocking.into is None else self._matrix(blocking.into.window)

    def _matrix(self, window: Window) -> Matrix:
        start = self.k.affine(window.offset, *zip(self.batch, window.strides[:-2], strict=True))
        pointer = self.k.at(window.operand, start)
        return Matrix(pointer, self.e.dtype, window.strides[-2], window.strides[-1])

    def _panel(self, number: IRValue) -> IRValue:
        e = self.e
        return self.k.address(e.panels, e.dtype, self.k.affine(0, (number, e.width * e.blocking.depth)))

    def _in_place(self, step: IRValue | int, column: IRValue) -> Matrix:
        """b, from that element on, where it is."""
        k, blocking = self.k, self.e.blocking
        if blocking.panel is None:
            return self.b.part(k, step, column)
        block, inside = k.unravel(column, (blocking.blocks, blocking.block))
        start = self.b.at(k, step, k.affine(0, (block, blocking.panel), (inside, 1)))
        return Matrix(start, self.e.dtype, self.b.row, 1)

    def pack(self, step: IRValue | int, depth: IRValue | int) -> None:
        """Pack this group's panels, from that step along k on."""
        k, e = self.k, self.e
        if e.blocking.in_place:
            return
        source = self.b.part(k, step, self.column)
        if source.column == 1:  # row after row, since a row of all panels is a few cache lines together
            with k.loop(0, depth) as row, k.loop(0, self.full) as loop:
                start = source.at(k, row.index, k.affine(0, (loop.index, e.width)))
                later = k.address(start, e.dtype, _ROWS_AHEAD * source.row)  # perhaps on another page
                k.prefetch(later, e.width * e.dtype.itemsize)
                to = k.affine(0, (loop.index, e.width * e.blocking.depth), (row.index, e.width))
                copy(k, start, k.address(e.panels, e.dtype, to), e.dtype, e.width, e.lanes)
        else:
            with k.loop(0, self.full) as loop:
                part = source.part(k, 0, k.affine(0, (loop.index, e.width)))
                pack_panel(k, part, self._panel(loop.index), depth, e.width, e.lanes)
        if self.tail:
            with k.ir.if_then(self.has_tail):
                part = source.part(k, 0, k.affine(0, (self.full, e.width)))
                pack_panel(k, part, self._panel(self.full), depth, self.tail, e.lanes)

    def multiply(self, first: IRValue, last: IRValue, step: IRValue | int, depth: IRValue | int) -> None:
        """Multiply the tiles [first, last) with all panels, for `depth` steps along k."""
        k, e = self.k, self.e
        for run in e.runs:
            start, stop = k.larger(first, run.first), k.smaller(last, run.first + run.count)
            place = _Place(run.rows, step, depth, first, start)
            with k.loop(start, stop) as loop:
                row = k.affine(run.start - run.first * run.rows, (loop.index, run.rows))
                a = self.a.part(k, row, step)
                if e.blocking.packs_a:
                    pack_rows(k, a, e.packed, run.rows, depth, e.lanes)
                    a = e.packed
                self._row_of_tiles(a, row, loop.index, place)

    def _row_of_tiles(self, a: Matrix, row: IRValue, number: IRValue, place: _Place) -> None:
        """One tile of a, with all panels."""
        k, e = self.k, self.e
        with k.loop(0, self.full) as panel:
            self._tile(a, row, number, panel.index, e.width, place)
        if self.tail:
            with k.ir.if_then(self.has_tail):
                self._tile(a, row, number, self.full, self.tail, place)

    def _tile(
        self, a: Matrix, row: IRValue, number: IRValue, panel_number: IRValue, columns: int, place: _Place
    ) -> None:
        """One tile times one panel."""
        k, e = self.k, self.e
        vectors = -(-columns // e.lanes)
        column = k.affine(0, (self.column, 1), (panel_number, e.width))
        if e.blocking.in_place:
            panel = self._in_place(place.step, column)
        else:
            panel = Matrix(self._panel(panel_number), e.dtype, vectors * e.lanes, 1)
        # (Beside a small tile, these few instructions would be too many.)
        large = k.target.registers >= 32
        ahead = self._ahead(row, number, panel, panel_number, columns, place) if large else None
        sums = tile.multiply(k, a, panel, place.depth, place.rows, columns, ahead)
        if not e.blocked:
            self._finish(sums, row, column, columns)
            return
        if self.into is not None:
            waiting, room = self.into.part(k, row, column), columns
        else:
            above = k.affine(0, (number, e.tallest), (place.first, -e.tallest))
            waiting, room = e.sums.part(k, above, k.affine(0, (panel_number, e.width))), vectors * e.lanes
        lines = [waiting.at(k, i, 0) for i in range(place.rows)]
        with k.ir.if_else(k.ir.icmp_signed("==", place.step, k.i64(0))) as (fresh, later):
            with fresh:
                self._wait(lines, sums, room)
            with later:
                before = [v for line in lines for v in load_row(k, line, e.dtype, room, e.lanes)]
                totals = [k.ir.fadd(x, y) for x, y in zip(before, sums, strict=True)]
                end = k.affine(0, (place.step, 1), (place.depth, 1))
                with k.ir.if_else(k.ir.icmp_signed(">=", end, k.i64(e.blocking.k))) as (last, between):
                    with last:
                        self._finish(totals, row, column, columns)
                    with between:
                        self._wait(lines, totals, room)

    def _ahead(
        self, row: IRValue, number: IRValue, panel: Matrix, panel_number: IRValue, columns: int, place: _Place
    ) -> Callable[[IRValue], None]:
        """What is fetched, at each step along k, while a tile is multiplied; no processor would guess it.

        Where a's rows lie along k, it is the next tile of a, a cache line a step. What is read in place in
        columns (a) or short rows (b) is fetched a block of k ahead: by the first tile that needs it. All
        others fetch from a single address, over and over. (With few rows, b is read just once: then it is
        only fetched where panels follow one another.) So is what is read and written around a large product.
        """
        k, e = self.k, self.e
        far = e.blocked and not e.blocking.few_rows
        a, depth, per_line = self.a.part(k, row, place.step), e.blocking.depth, 64 // e.dtype.itemsize
        pieces: list[tuple[Matrix, IRValue, int]] = []  # a row of each is fetched: where, how long, by whom
        if far and a.column != 1:
            turned = Matrix(a.at(k, place.rows - 1, 0), e.dtype, a.column, 1)
            pieces.append((turned, k.ir.icmp_signed("==", panel_number, k.i64(0)), 1))
        if e.blocking.in_place and (far or e.blocking.panel is not None):
            pieces.append((panel, k.ir.icmp_signed("==", number, k.i64(place.start)), columns))
        column = k.affine(0, (self.column, 1), (panel_number, e.width))
        steps = [k.ir.select(first, k.i64(matrix.row), k.i64(0)) for matrix, first, _ in pieces]
        starts = [
            k.address(matrix.pointer, e.dtype, k.ir.mul(step, k.i64(depth)))
            for (matrix, _, _), step in zip(pieces, steps, strict=True)
        ]

        def ahead(at: IRValue) -> None:
            for (_, _, length), step, start in zip(pieces, steps, starts, strict=True):
                k.prefetch(k.address(start, e.dtype, k.ir.mul(step, at)), length * e.dtype.itemsize)
            if e.fetches_outside:
                line = k.smaller(k.ir.lshr(at, k.i64(e.steps_a_line)), place.rows - 1)
                outside = k.affine(0, (row, 1), (line, 1))
                e.epilogue.prefetch(self.batch, outside, column, columns)
            if a.column == 1:
                one = k.ir.and_(at, k.i64(per_line - 1))
                for first in range(place.rows, 2 * place.rows, per_line):
                    k.prefetch(a.at(k, k.affine(first, (one, 1)), at), 1)

        return ahead

    def _wait(self, lines: Sequence[IRValue], sums: Sequence[IRValue], columns: int) -> None:
        """Put sums where they wait for the next block of k."""
        vectors = len(sums) // len(lines)
        for i, line in enumerate(lines):
            store_row(self.k, sums[i * vectors : (i + 1) * vectors], line, self.e.dtype, columns)

    def _finish(self, sums: Sequence[IRValue], row: IRValue, column: IRValue, columns: int) -> None:
        """The epilogue of a tile whose sums are complete."""
        k, e = self.k, self.e
        if e.epilogue.in_registers(columns):
            e.epilogue.from_registers(sums, self.batch, row, column, columns)
            return
        vectors = -(-columns // e.lanes)
        rows = len(sums) // vectors
        self._wait([e.tile.at(k, i, 0) for i in range(rows)], sums, vectors * e.lanes)
        e.epilogue.from_memory(e.tile, self.batch, row, column, rows, columns)


class _Place:
    """Which part of k a tile is multiplied for; its height; and the numbers of the first tile at hand, and of
    the first that is as high.
    """

    def __init__(
        self, rows: int, step: IRValue | int, depth: IRValue | int, first: IRValue, start: IRValue
    ) -> None:
        self.rows, self.step, self.depth, self.first, self.start = rows, step, depth, first, start
