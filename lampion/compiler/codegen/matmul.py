"""Emits `Matmul`: packed panels, register tiles, and the epilogue while the tile is at hand.

The product is cut into chunks: groups of columns by groups of rows (by batch). For each chunk, a few panels
of b are packed into a buffer that stays in the second-level cache; then, row by row of tiles, each tile is
multiplied with each panel. a is read in place, unless its rows would fight for the same cache lines or its
elements lie far apart: then a tile of it is packed too. Where k is long, all this happens for one block of
k after the other, and the accumulators wait in memory meanwhile. Every element is a sum over k in increasing
order, whatever the number of threads.

The buffers are on the stack: at most about 200 KB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import llvmlite.ir as ir

from lampion.compiler.codegen import dot, tile
from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import POINTER, IRValue, KernelBuilder, element
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.codegen.pack import Matrix, copy, pack_panel, pack_rows
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Load, Matmul, Store, Window

_BLOCK = 128  # bytes in a row of a block of columns: a whole number of any processor's panels
_PANELS = 128 << 10  # bytes of packed panels
_SUMS = 96 << 10  # bytes of accumulators that wait for the next block of k
_DEPTH = 1024  # steps along k in one go, at most,
_SHALLOW = 256  # and where a is packed: so that a few panels, which share it, fit
_SHARED = 4  # panels, at least, for which a is packed, where there are so many
_STRIP = 4  # tiles of a that are packed together
_STRETCH = 128  # steps along k that are summed up in registers, at most
_CHUNK = 1 << 15  # multiplications that a chunk is worth
_CHUNKS = 128  # chunks that are enough for any number of threads


def chunks(kernel: Matmul, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    lengthwise = _lengthwise(kernel)
    return _Blocking(kernel).chunks if lengthwise is None else dot.chunks(lengthwise)


def emit(module: Any, name: str, kernel: Matmul, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if math.prod(kernel.shape) > 0:
        lengthwise, blocking = _lengthwise(kernel), _Blocking(kernel)
        if lengthwise is not None:
            dot.emit(k, lengthwise)
        elif _is_plain(kernel):
            _emit_plain(k, blocking)
        else:
            _Emission(k, blocking).emit()
    k.finish()


def _is_plain(kernel: Matmul) -> bool:
    """Whether one element after the other will do."""
    types = [kernel.operands[window.operand].dtype for window in (kernel.a, kernel.b)]
    return kernel.dtype.kind != "f" or types != [kernel.dtype] * 2 or kernel.a.shape[-1] == 0


def _lengthwise(kernel: Matmul) -> Matmul | None:
    """The product or its transpose, if one of them is for `dot`."""
    if _is_plain(kernel):
        return None
    forms = [_without_batch(kernel), _without_batch(_swapped(kernel))]
    form = min(forms, key=lambda form: form.a.shape[-2])
    return form if dot.suits(form) else None


def _emit_plain(k: KernelBuilder, blocking: _Blocking) -> None:
    """One element after the other: integers, booleans, operands that have to be converted."""
    kernel, dtype = blocking.kernel, blocking.kernel.dtype
    a, b, shape = kernel.a, kernel.b, kernel.shape
    add, multiply = {
        "f": (k.ir.fadd, k.ir.fmul), "b": (k.ir.or_, k.ir.and_)
    }.get(dtype.kind, (k.ir.add, k.ir.mul))  # fmt: skip
    total = math.prod(shape)
    first, last = (k.ir.udiv(k.ir.mul(x, k.i64(total)), k.i64(blocking.chunks)) for x in (k.lo, k.hi))
    with k.loop(first, last) as loop:
        *batch, i, j = k.unravel(loop.index, shape)
        row = Row(k, kernel.epilogue, [*batch, i], kernel.stores)
        a_start = k.affine(a.offset, *zip([*batch, i], a.strides[:-1], strict=True))
        b_start = k.affine(b.offset, *zip(batch, b.strides[:-2], strict=True), (j, b.strides[-1]))
        with k.loop(0, a.shape[-1], carried=[k.constant(dtype, 0)]) as inner:
            x, y = (
                Lanes(row.xp, k.load(k.at(window.operand, at), k.dtypes[window.operand]), k.dtypes[window.operand])
                .astype(dtype).value
                for window, at in (
                    (a, k.affine(a_start, (inner.index, a.strides[-1]))),
                    (b, k.affine(b_start, (inner.index, b.strides[-2]))),
                )
            )  # fmt: skip
            inner.carry(add(inner.values[0], multiply(x, y)))
        row.store(row.values(j, results=[Lanes(row.xp, inner.results[0], dtype)]), j)


def _with_windows(kernel: Matmul, change: Any, a: Window, b: Window) -> Matmul:
    """The kernel with other windows in its epilogue and stores."""
    return replace(
        kernel, a=a, b=b,
        epilogue=tuple(
            replace(value, window=change(value.window)) if isinstance(value, Load) else value
            for value in kernel.epilogue
        ),
        stores=tuple(replace(store, window=change(store.window)) for store in kernel.stores),
    )  # fmt: skip


def _outer_windows(kernel: Matmul) -> list[Window]:
    return [thing.window for thing in (*kernel.epilogue, *kernel.stores) if isinstance(thing, Load | Store)]


def _swapped(kernel: Matmul) -> Matmul:
    """The same product, transposed: b.T @ a.T."""

    def swap(window: Window) -> Window:
        *batch, m, n = range(len(window.shape))
        order = [*batch, n, m]
        return replace(
            window, shape=tuple(window.shape[i] for i in order), strides=tuple(window.strides[i] for i in order)
        )

    return _with_windows(kernel, swap, swap(kernel.b), swap(kernel.a))


def _without_batch(kernel: Matmul) -> Matmul:
    """Make the last batch axis a part of the rows, as often as all windows allow it."""
    while len(kernel.a.shape) > 2:
        outer = [kernel.a, *_outer_windows(kernel)]
        count, rows = kernel.a.shape[-3], kernel.a.shape[-2]
        joined = all(window.strides[-3] == rows * window.strides[-2] for window in outer)
        if count != 1 and not (joined and kernel.b.strides[-3] == 0):
            break

        def join(window: Window, count: int = count) -> Window:
            shape = (*window.shape[:-3], count * window.shape[-2], window.shape[-1])
            return replace(window, shape=shape, strides=(*window.strides[:-3], *window.strides[-2:]))

        b = kernel.b
        b = replace(b, shape=(*b.shape[:-3], *b.shape[-2:]), strides=(*b.strides[:-3], *b.strides[-2:]))
        kernel = _with_windows(kernel, join, join(kernel.a), b)
    return kernel


def _work(kernel: Matmul) -> float:
    """A guess at the cycles of a product, to choose between it and its transpose."""
    (m, k), n = kernel.a.shape[-2:], kernel.b.shape[-1]
    lanes = 64 // kernel.dtype.itemsize
    across, down = kernel.b.strides[-1], kernel.b.strides[-2]
    packing = 0.15 if across == 1 else 0.3 if down == 1 else 1.5
    outer = [0.1 if window.strides[-1] in (0, 1) else 2.0 for window in _outer_windows(kernel)]
    return m * k * -(-n // lanes) + k * n * packing * (m > 14) + m * n * sum(outer)


@dataclass
class _Rows:
    """A run of `count` rows of tiles, each of `rows` rows; the first is number `first`, at row `start`."""

    first: int
    count: int
    rows: int
    start: int


class _Blocking:
    """All sizes, chosen from the kernel's shape and strides (but for `tiles`: not from the processor)."""

    def __init__(self, kernel: Matmul) -> None:
        kernel = _without_batch(kernel)
        turned = _without_batch(_swapped(kernel))
        self.kernel = kernel = min(kernel, turned, key=_work)
        a, b, itemsize = kernel.a, kernel.b, kernel.dtype.itemsize
        self.batch = a.shape[:-2]
        self.m, self.k, self.n = a.shape[-2], a.shape[-1], b.shape[-1]
        self.b_varies = any(b.strides[:-2])
        # Few rows use each element of b but once or twice: b is then read in place, in wide panels.
        self.in_place = b.strides[-1] == 1 and self.m <= 28
        self.block = (4 if self.in_place and self.m <= 3 else 1) * _BLOCK // itemsize
        self.packs_a = not self._reads_a_well()
        self.blocks_of_k = max(1, -(-self.k // (_SHALLOW if self.packs_a else _DEPTH)))
        self.depth = -(-self.k // self.blocks_of_k)
        self._divide()

    def _divide(self) -> None:
        """Chunks: so many that threads can share them evenly, unless the product is small."""
        batch = math.prod(self.batch)
        blocks = -(-self.n // self.block)
        itemsize = self.kernel.dtype.itemsize
        work = batch * self.m * self.k * self.n
        wanted = min(_CHUNKS, work // _CHUNK) or 1
        most = max(1, _PANELS // (self.depth * self.block * itemsize or 1))  # blocks whose panels fit
        least = _SHARED if self.packs_a else 1  # panels that share a packed tile of a
        size = min(most, max(least, -(-blocks * batch // wanted)), blocks or 1)
        self.groups = -(-blocks // size)
        self.group = -(-blocks // self.groups) if self.groups else 1
        self.groups = -(-blocks // self.group)
        self.row_groups = min(-(-wanted // (batch * self.groups or 1)), max(1, self.m // 28))
        if self.blocks_of_k > 1:  # accumulators of these rows wait for the next block of k
            self.waiting = max(28, _SUMS // (self.group * self.block * itemsize))
            self.row_groups = max(self.row_groups, -(-self.m // self.waiting))
        self.chunks = batch * self.groups * self.row_groups if self.m else 0

    def _reads_a_well(self) -> bool:
        """Whether the rows of a tile of a can be read in place: adjacent along k, and not so placed that
        they share a few sets of the first-level cache (64 sets of 64 bytes)."""
        down, along = self.kernel.a.strides[-2:]
        if self.m == 1 or self.k == 1:
            return True
        if along != 1:
            return down == 1 and along * self.kernel.dtype.itemsize <= 256
        sets = [(row * down * self.kernel.dtype.itemsize // 64) % 64 for row in range(min(14, self.m))]
        return max(sets.count(number) for number in sets) <= 4

    def tiles(self, most: int) -> list[_Rows]:
        """All rows as tiles of at most `most` rows, whose heights differ by one at most."""
        least = -(-self.m // most)
        # A few more tiles, if they can then be all of one height: that is half as much code.
        counts = range(least, -(-self.m // (most * 5 // 7)) + 1)
        count = next((count for count in counts if self.m % count == 0), least)
        rows, tall = divmod(self.m, count)
        runs = [_Rows(0, tall, rows + 1, 0), _Rows(tall, count - tall, rows, tall * (rows + 1))]
        return [run for run in runs if run.count]


class _Emission:
    """The code of one product of floats."""

    def __init__(self, k: KernelBuilder, blocking: _Blocking) -> None:
        self.k = k
        self.blocking = blocking
        self.dtype = dtype = blocking.kernel.dtype
        self.lanes = k.target.lanes(dtype)
        rows, vectors = tile.shape(k.target)
        if blocking.m <= 3 and blocking.in_place:
            vectors = next(v for v in (8, 4, 2) if blocking.m * v + 3 <= k.target.registers)
        self.width = min(vectors, -(-blocking.n // self.lanes)) * self.lanes  # of a panel
        self.runs = blocking.tiles(rows)
        self.tallest = max(run.rows for run in self.runs)
        self.tile_count = sum(run.count for run in self.runs)
        self.blocked = blocking.blocks_of_k > 1
        self.stretch = -(-blocking.depth // -(-blocking.depth // _STRETCH))
        self.epilogue = tile.Epilogue(k, blocking.kernel.epilogue, blocking.kernel.stores, dtype)
        self._allocate()

    def _allocate(self) -> None:
        blocking, depth = self.blocking, self.blocking.depth
        group = blocking.group * blocking.block  # columns
        self.panels = None if blocking.in_place else self._buffer(-(-group // self.width) * self.width * depth)
        self.a_packed = None
        if blocking.packs_a:
            # A packed tile keeps the direction of a: columns, one for each step along k; or rows, of a
            # length that keeps them out of each other's cache lines.
            if blocking.kernel.a.strides[-2] == 1:
                row, column, self.strip = 1, self.tallest, _STRIP
                size = depth * column
            else:
                row, column, self.strip = depth // 64 * 64 + 80, 1, 1
                size = self.tallest * row
            self.a_packed = Matrix(self._buffer(self.strip * size), self.dtype, row, column)
            self.a_packed_size = size
        rows, pitch = self.tallest, self.width
        if self.blocked:
            shares = [self.tile_count * i // blocking.row_groups for i in range(blocking.row_groups + 1)]
            most = max(b - a for a, b in zip(shares, shares[1:], strict=False))  # tiles in a row group
            self.row_groups_at_once = max(1, blocking.waiting // (most * self.tallest))
            rows *= most * self.row_groups_at_once
            pitch = -(-group // self.width) * self.width
        self.sums = Matrix(self._buffer(rows * pitch), self.dtype, pitch, 1)

    def _buffer(self, elements: int) -> IRValue:
        buffer = self.k.ir.alloca(ir.ArrayType(element(self.dtype), max(1, elements)))
        buffer.align = 64
        buffer.type = POINTER  # llvmlite would keep the type of what it points to
        return buffer

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
                if not blocking.in_place:
                    with k.ir.if_then(k.ir.icmp_signed("!=", panels, loop.values[0])):
                        chunk.pack(0, blocking.k)
                chunk.multiply(self._tile_of(first), self._tile_of(last), 0, blocking.k)
            else:
                with k.loop(first, last, self.row_groups_at_once) as piece:
                    end = k.smaller(k.affine(self.row_groups_at_once, (piece.index, 1)), last)
                    with k.loop(0, blocking.k, blocking.depth) as along:
                        depth = k.smaller(k.affine(blocking.k, (along.index, -1)), blocking.depth)
                        if not blocking.in_place:
                            chunk.pack(along.index, depth)
                        chunk.multiply(self._tile_of(piece.index), self._tile_of(end), along.index, depth)
            loop.carry(panels)

    def _tile_of(self, row_group: IRValue) -> IRValue:
        """The number of the first tile (from the top) of a group of rows."""
        return self.k.ir.udiv(self.k.affine(0, (row_group, self.tile_count)), self.k.i64(self.blocking.row_groups))


class _Chunk:
    """The code of one group of columns, for some tiles of rows."""

    def __init__(self, emission: _Emission, batch: Sequence[IRValue], group: IRValue) -> None:
        self.e = emission
        self.k = k = emission.k
        self.batch = batch
        blocking = emission.blocking
        width = blocking.group * blocking.block
        self.column = k.affine(0, (group, width))
        # The last panel of all may be narrower than the others. It is known when the code is emitted.
        self.tail = blocking.n % emission.width
        columns = k.smaller(k.affine(blocking.n, (self.column, -1)), width)
        self.full = k.ir.udiv(columns, k.i64(emission.width))  # full panels in this group
        self.has_tail = k.ir.icmp_signed("==", group, k.i64(blocking.groups - 1))
        self.a = self._matrix(blocking.kernel.a)
        self.b = self._matrix(blocking.kernel.b)

    def _matrix(self, window: Window) -> Matrix:
        start = self.k.affine(window.offset, *zip(self.batch, window.strides[:-2], strict=True))
        pointer = self.k.at(window.operand, start)
        return Matrix(pointer, self.e.dtype, window.strides[-2], window.strides[-1])

    def _panel(self, number: IRValue) -> IRValue:
        e = self.e
        return self.k.address(e.panels, e.dtype, self.k.affine(0, (number, e.width * e.blocking.depth)))

    def pack(self, step: IRValue | int, depth: IRValue | int) -> None:
        """Pack this group's panels, from that step along k on."""
        k, e = self.k, self.e
        source = self.b.part(k, step, self.column)
        if source.column == 1:  # row after row, since a row of all panels is a few cache lines together
            with k.loop(0, depth) as row, k.loop(0, self.full) as loop:
                start = source.at(k, row.index, k.affine(0, (loop.index, e.width)))
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
            if e.a_packed is None:
                with k.loop(start, stop) as loop:
                    row = k.affine(run.start - run.first * run.rows, (loop.index, run.rows))
                    above = k.affine(0, (loop.index, e.tallest), (first, -e.tallest))  # rows of `sums`
                    self._row_of_tiles(self.a.part(k, row, step), row, above, run.rows, step, depth)
                continue
            with k.loop(start, stop, e.strip) as strip:
                row = k.affine(run.start - run.first * run.rows, (strip.index, run.rows))
                count = k.smaller(k.affine(0, (stop, 1), (strip.index, -1)), e.strip)
                self._pack_strip(self.a.part(k, row, step), run.rows, count, depth)
                with k.loop(0, count) as loop:
                    at = k.affine(0, (row, 1), (loop.index, run.rows))
                    above = k.affine(0, (strip.index, e.tallest), (loop.index, e.tallest), (first, -e.tallest))
                    self._row_of_tiles(self._packed(loop.index), at, above, run.rows, step, depth)

    def _packed(self, number: IRValue) -> Matrix:
        """A packed tile of a."""
        a = self.e.a_packed
        pointer = self.k.address(a.pointer, a.dtype, self.k.affine(0, (number, self.e.a_packed_size)))
        return Matrix(pointer, a.dtype, a.row, a.column)

    def _pack_strip(self, a: Matrix, rows: int, count: IRValue, depth: IRValue | int) -> None:
        """Pack `count` tiles of a. Where a's columns are adjacent, step by step along k: a step of all of
        them is a few cache lines in a row."""
        k, e = self.k, self.e
        if a.row != 1:
            pack_rows(k, a, e.a_packed, rows, depth, e.lanes)
            return
        with k.loop(0, depth) as loop, k.loop(0, count) as tile_:
            source = a.at(k, k.affine(0, (tile_.index, rows)), loop.index)
            copy(k, source, self._packed(tile_.index).at(k, 0, loop.index), a.dtype, rows, e.lanes)

    def _row_of_tiles(
        self, a: Matrix, row: IRValue, above: IRValue, rows: int, step: IRValue | int, depth: IRValue | int
    ) -> None:
        """One tile of a, with all panels."""
        k, e = self.k, self.e
        with k.loop(0, self.full) as panel:
            self._tile(a, row, above, panel.index, rows, e.width, step, depth)
        if self.tail:
            with k.ir.if_then(self.has_tail):
                self._tile(a, row, above, self.full, rows, self.tail, step, depth)

    def _tile(
        self,
        a: Matrix,
        row: IRValue,
        above: IRValue,
        number: IRValue,
        rows: int,
        columns: int,
        step: IRValue | int,
        depth: IRValue | int,
    ) -> None:
        """One tile times the panel of that number."""
        k, e = self.k, self.e
        vectors = -(-columns // e.lanes)
        column = k.affine(0, (self.column, 1), (number, e.width))
        if e.blocking.in_place:
            panel = self.b.part(k, step, column)
        else:
            panel = Matrix(self._panel(number), e.dtype, vectors * e.lanes, 1)
        zeros = [k.constant(e.dtype, 0, e.lanes)] * (rows * vectors)
        if e.blocking.k <= e.stretch:
            sums = tile.multiply(k, a, panel, depth, rows, columns, zeros)
            if e.epilogue.in_registers(columns):
                e.epilogue.from_registers(sums, self.batch, row, column, columns)
            else:
                self._write(e.sums, sums, vectors)
                e.epilogue.from_memory(e.sums, self.batch, row, column, rows, columns)
            return
        totals = e.sums.part(k, above, k.affine(0, (number, e.width))) if e.blocked else e.sums
        self._add_stretches(a, panel, totals, rows, columns, step, depth)
        if not e.blocked:
            self._finish(totals, row, column, rows, columns)
            return
        done = k.ir.icmp_signed(">=", k.affine(0, (step, 1), (depth, 1)), k.i64(e.blocking.k))
        with k.ir.if_then(done):
            self._finish(totals, row, column, rows, columns)

    def _add_stretches(
        self,
        a: Matrix,
        panel: Matrix,
        totals: Matrix,
        rows: int,
        columns: int,
        step: IRValue | int,
        depth: IRValue | int,
    ) -> None:
        """Add a @ panel to the totals in memory: the sum of one stretch of k after the other, since one
        long sum would round to the size of its total at every step."""
        k, e = self.k, self.e
        vectors = -(-columns // e.lanes)
        zero = k.constant(e.dtype, 0, e.lanes)
        with k.ir.if_then(k.ir.icmp_signed("==", k.i64(step), k.i64(0))):
            self._write(totals, [zero] * (rows * vectors), vectors)
        with k.loop(0, depth, e.stretch) as loop:
            rest = k.smaller(k.affine(0, (depth, 1), (loop.index, -1)), e.stretch)
            part = a.part(k, 0, loop.index), panel.part(k, loop.index, 0)
            sums = tile.multiply(k, *part, rest, rows, columns, [zero] * (rows * vectors))
            before = self._read(totals, rows, vectors)
            self._write(totals, [k.ir.fadd(x, y) for x, y in zip(before, sums, strict=True)], vectors)

    def _finish(self, totals: Matrix, row: IRValue, column: IRValue, rows: int, columns: int) -> None:
        e = self.e
        if e.epilogue.in_registers(columns):
            sums = self._read(totals, rows, -(-columns // e.lanes))
            e.epilogue.from_registers(sums, self.batch, row, column, columns)
        else:
            e.epilogue.from_memory(totals, self.batch, row, column, rows, columns)

    def _read(self, totals: Matrix, rows: int, vectors: int) -> list[IRValue]:
        k, e = self.k, self.e
        places = [totals.at(k, i, v * e.lanes) for i in range(rows) for v in range(vectors)]
        return [k.load(place, e.dtype, e.lanes) for place in places]

    def _write(self, to: Matrix, sums: Sequence[IRValue], vectors: int) -> None:
        for n, total in enumerate(sums):
            self.k.store(total, to.at(self.k, n // vectors, n % vectors * self.e.lanes), self.e.dtype)
