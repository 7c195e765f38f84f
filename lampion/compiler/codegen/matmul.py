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

from lampion.compiler.codegen import tile
from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import POINTER, IRValue, KernelBuilder, element
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.codegen.pack import Matrix, pack_panel, pack_rows
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Load, Matmul, Store, Window

_BLOCK = 128  # bytes in a row of a block of columns: a whole number of any processor's panels
_PANELS = 128 << 10  # bytes of packed panels
_SUMS = 32 << 10  # bytes of accumulators that wait for the next block of k
_DEPTH = 1024  # steps along k in one go, at most
_CHUNK = 1 << 18  # multiplications that a chunk is worth
_CHUNKS = 128  # chunks that are enough for any number of threads


def chunks(kernel: Matmul, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    return _Blocking(kernel).chunks


def emit(module: Any, name: str, kernel: Matmul, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    blocking = _Blocking(kernel)
    if blocking.chunks > 0:
        plain = kernel.dtype.kind != "f" or any(
            kernel.operands[window.operand].dtype is not kernel.dtype for window in (kernel.a, kernel.b)
        )
        if plain or kernel.a.shape[-1] == 0:
            _emit_plain(k, blocking)
        else:
            _Emission(k, blocking).emit()
    k.finish()


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
        self.blocks_of_k = max(1, -(-self.k // _DEPTH))
        self.depth = -(-self.k // self.blocks_of_k)
        self.packs_a = not self._reads_a_well()
        self._divide()

    def _divide(self) -> None:
        """Chunks: so many that threads can share them evenly, unless the product is small."""
        batch = math.prod(self.batch)
        blocks = -(-self.n // self.block)
        itemsize = self.kernel.dtype.itemsize
        work = batch * self.m * self.k * self.n
        wanted = min(_CHUNKS, work // _CHUNK) or 1
        most = max(1, _PANELS // (self.depth * self.block * itemsize or 1))  # blocks whose panels fit
        least = min(8, blocks) if self.packs_a else 1  # panels that share a packed tile of a
        size = min(most, max(least, -(-blocks * batch // wanted)), blocks or 1)
        groups = -(-blocks // size)
        self.group = -(-blocks // groups) if groups else 1
        self.groups = -(-blocks // self.group)
        pieces = min(-(-wanted // (batch * self.groups or 1)), max(1, self.m // 28))
        if self.blocks_of_k > 1:  # accumulators of all rows of a chunk wait for the next block of k
            row = self.group * self.block * itemsize
            pieces = max(pieces, -(-self.m * row // _SUMS))
        self.row_groups = pieces
        self.chunks = batch * self.groups * self.row_groups if work or (batch * self.m * self.n) else 0

    def _reads_a_well(self) -> bool:
        """Whether the rows of a tile of a can be read in place: adjacent along k, and not so placed that
        they share a few sets of the first-level cache (64 sets of 64 bytes)."""
        down, along = self.kernel.a.strides[-2:]
        if self.m == 1 or self.k == 1:
            return True
        if along != 1:
            return False
        sets = [(row * down * self.kernel.dtype.itemsize // 64) % 64 for row in range(min(14, self.m))]
        return max(sets.count(number) for number in sets) <= 4

    def tiles(self, most: int) -> list[_Rows]:
        """All rows as tiles of at most `most` rows, whose heights differ by one at most."""
        count = -(-self.m // most)
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
                row, column = 1, self.tallest
                size = depth * column
            else:
                row, column = depth // 64 * 64 + 80, 1
                size = self.tallest * row
            self.a_packed = Matrix(self._buffer(size), self.dtype, row, column)
        rows, pitch = self.tallest, self.width
        if self.blocked:
            shares = [self.tile_count * i // blocking.row_groups for i in range(blocking.row_groups + 1)]
            rows *= max(b - a for a, b in zip(shares, shares[1:], strict=False))
            pitch = -(-group // self.width) * self.width
        self.sums = Matrix(self._buffer(rows * pitch), self.dtype, pitch, 1)

    def _buffer(self, elements: int) -> IRValue:
        buffer = self.k.ir.alloca(ir.ArrayType(element(self.dtype), max(1, elements)))
        buffer.align = 64
        buffer.type = POINTER  # llvmlite would keep the type of what it points to
        return buffer

    def emit(self) -> None:
        k, blocking = self.k, self.blocking
        batch_count = math.prod(blocking.batch)
        nothing = k.i64(-1)
        with k.loop(k.lo, k.hi, carried=[nothing]) as loop:
            # Chunks that use the same panels follow one another, so that a thread packs them once.
            if blocking.b_varies:
                sizes = (batch_count, blocking.groups, blocking.row_groups)
                flat, group, rows = k.unravel(loop.index, sizes)
                packed = k.affine(0, (flat, blocking.groups), (group, 1))
            else:
                group, flat, rows = k.unravel(loop.index, (blocking.groups, batch_count, blocking.row_groups))
                packed = group
            batch = k.unravel(flat, blocking.batch)
            first, last = (
                k.ir.udiv(k.affine(0, (r, self.tile_count)), k.i64(blocking.row_groups))
                for r in (rows, k.affine(1, (rows, 1)))
            )
            chunk = _Chunk(self, batch, group, first, last)
            if not self.blocked:
                if not blocking.in_place:
                    with k.ir.if_then(k.ir.icmp_signed("!=", packed, loop.values[0])):
                        chunk.pack(0, blocking.k)
                chunk.multiply(0, blocking.k)
            else:
                with k.loop(0, blocking.k, blocking.depth) as along:
                    depth = k.smaller(k.affine(blocking.k, (along.index, -1)), blocking.depth)
                    if not blocking.in_place:
                        chunk.pack(along.index, depth)
                    chunk.multiply(along.index, depth)
            loop.carry(packed)


class _Chunk:
    """The code of one chunk: the tiles [first, last) of rows, and one group of columns."""

    def __init__(
        self, emission: _Emission, batch: Sequence[IRValue], group: IRValue, first: IRValue, last: IRValue
    ) -> None:
        self.e = emission
        self.k = k = emission.k
        self.batch = batch
        self.first, self.last = first, last
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
        with k.loop(0, self.full) as loop:
            part = source.part(k, 0, k.affine(0, (loop.index, e.width)))
            pack_panel(k, part, self._panel(loop.index), depth, e.width, e.lanes)
        if self.tail:
            with k.ir.if_then(self.has_tail):
                part = source.part(k, 0, k.affine(0, (self.full, e.width)))
                pack_panel(k, part, self._panel(self.full), depth, self.tail, e.lanes)

    def multiply(self, step: IRValue | int, depth: IRValue | int) -> None:
        """Multiply all tiles with all panels, for `depth` steps along k."""
        k, e = self.k, self.e
        for run in e.runs:
            with k.loop(k.larger(self.first, run.first), k.smaller(self.last, run.first + run.count)) as loop:
                row = k.affine(run.start - run.first * run.rows, (loop.index, run.rows))
                above = k.affine(0, (loop.index, e.tallest), (self.first, -e.tallest))  # rows of `sums`
                a = self.a.part(k, row, step)
                if e.a_packed is not None:
                    pack_rows(k, a, e.a_packed, run.rows, depth, e.lanes)
                    a = e.a_packed
                with k.loop(0, self.full) as panel:
                    self._tile(a, row, above, panel.index, run.rows, e.width, step, depth)
                if self.tail:
                    with k.ir.if_then(self.has_tail):
                        self._tile(a, row, above, self.full, run.rows, self.tail, step, depth)

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
        if not e.blocked:
            zero = k.constant(e.dtype, 0, e.lanes)
            sums = tile.multiply(k, a, panel, depth, rows, columns, [zero] * (rows * vectors))
            if e.epilogue.in_registers(columns):
                e.epilogue.from_registers(sums, self.batch, row, column, columns)
                return
            self._write(e.sums, sums, vectors)
            e.epilogue.from_memory(e.sums, self.batch, row, column, rows, columns)
            return
        waiting = e.sums.part(k, above, k.affine(0, (number, e.width)))
        fresh = k.ir.icmp_signed("==", k.i64(step), k.i64(0))
        zero = k.constant(e.dtype, 0, e.lanes)
        places = [waiting.at(k, i, v * e.lanes) for i in range(rows) for v in range(vectors)]
        with k.ir.if_then(fresh):
            for place in places:
                k.store(zero, place, e.dtype)
        start = [k.load(place, e.dtype, e.lanes) for place in places]
        self._write(waiting, tile.multiply(k, a, panel, depth, rows, columns, start), vectors)
        done = k.ir.icmp_signed(">=", k.affine(0, (k.i64(step), 1), (depth, 1)), k.i64(e.blocking.k))
        with k.ir.if_then(done):
            e.epilogue.from_memory(waiting, self.batch, row, column, rows, columns)

    def _write(self, to: Matrix, sums: Sequence[IRValue], vectors: int) -> None:
        for n, total in enumerate(sums):
            self.k.store(total, to.at(self.k, n // vectors, n % vectors * self.e.lanes), self.e.dtype)
