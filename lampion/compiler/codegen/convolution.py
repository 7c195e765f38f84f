"""Emits `Convolution`: direct, with output channels in the lanes of registers.

What a block of the output sees of the input is copied into a small buffer, with the zeros around it,
channels last: so the loops below know no edges, any layout of x will do, and what they read stays in cache.
Then, for a few places and a panel of output channels, each tap and each channel adds a product, as in the
register tile of a matrix product whose rows are places:

    for each tap in front (of planes and rows):
        sums += buffer[places, taps along the row and channels] @ w[those, outputs]

The taps along a row and their channels lie one behind the other in the buffer, as in w: one loop does both.
Where there are few outputs, channels are in the lanes instead (`convolution_few.py`).
Where all channels at once would be too much for the caches, they come in blocks, and sums wait in between.
Each sum is over blocks of channels in order, then taps, then channels, whatever the number of threads.

The buffers are on the stack: less than 400 KB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lampion.compiler.codegen import convolution_depthwise as depthwise
from lampion.compiler.codegen import convolution_few as few
from lampion.compiler.codegen import tile, winograd_forward
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.convolution_blocks import PANEL, Blocks, Geometry, even_runs, three
from lampion.compiler.codegen.convolution_fill import Buffer
from lampion.compiler.codegen.pack import Matrix, load_row, store_row
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Convolution


def geometry(kernel: Convolution) -> Geometry:
    """The kernel's sizes, in three dimensions."""
    return Geometry(
        images=kernel.x.shape[0], channels=kernel.x.shape[-1] // kernel.groups,
        outputs=kernel.outputs // kernel.groups, groups=kernel.groups, inputs=three(kernel.x.shape[1:-1], 1),
        sizes=three(kernel.sizes, 1), taps=three(kernel.taps, 1), stride=three(kernel.stride, 1),
        padding=three(kernel.padding, 0), dilation=three(kernel.dilation, 1), itemsize=kernel.dtype.itemsize,
    )  # fmt: skip


def chunks(kernel: Convolution, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    if 0 in kernel.shape:
        return 0
    g = geometry(kernel)
    if kernel.transformed is not None:
        return winograd_forward.Blocks(g).chunks
    if depthwise.small_groups(g):
        return depthwise.forward_chunks(g)
    return Blocks(g, kernel.w.shape[-2]).chunks


def emit(module: Any, name: str, kernel: Convolution, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if 0 not in kernel.shape:
        g = geometry(kernel)
        if kernel.transformed is not None:
            winograd_forward.Forward(k, kernel, g).emit()
        elif depthwise.small_groups(g):
            depthwise.Forward(k, kernel, g).emit()
        else:
            _Emission(k, kernel).emit()
    k.finish()


class _Emission:
    def __init__(self, k: KernelBuilder, kernel: Convolution) -> None:
        self.k, self.kernel, self.dtype = k, kernel, kernel.dtype
        self.geometry = g = geometry(kernel)
        self.blocks = Blocks(g, kernel.w.shape[-2])
        self.lanes = k.target.lanes(kernel.dtype)
        most, vectors = tile.shape(k.target)
        self.width = min(vectors, -(-g.outputs // self.lanes)) * self.lanes
        self.most = most if self.width > self.lanes or k.target.registers < 32 else 2 * most
        self.has_few = kernel.w.shape[-1] < PANEL  # outputs, so that channels are in the lanes
        if self.has_few:
            self.width = -(-g.outputs // self.lanes) * self.lanes
            self.most = few.places(k.target, g.outputs)
        self.epilogue = tile.Epilogue(k, kernel.epilogue, kernel.stores, kernel.dtype)
        self.waits = self.blocks.channel_blocks > 1
        self.panels = -(-g.outputs // PANEL)  # of a group

    def emit(self) -> None:
        k, blocks = self.k, self.blocks
        seen = self.geometry.seen(blocks.rows, blocks.columns)
        room = k.room(self.dtype, blocks.images * seen[0] * seen[1] * seen[2] * blocks.channels)
        self.buffer = Buffer(k, room, self.dtype, self.geometry, self.kernel.x, blocks.channels, seen)
        self.finished = k.room(self.dtype, self.most * self.width)
        if self.waits:
            columns = -(-blocks.outputs // self.width) * self.width
            self.sums = Matrix(k.room(self.dtype, blocks.places * columns), self.dtype, columns, 1)
        first = k.affine(0, (k.lo, blocks.per_chunk))
        last = k.smaller(k.affine(0, (k.hi, blocks.per_chunk)), blocks.items)
        with k.loop(first, last) as loop:
            numbers = k.unravel(loop.index, blocks.counts)
            sizes = (blocks.images, 1, blocks.outputs, 1, blocks.rows, blocks.columns)
            start = [k.affine(0, (number, size)) for number, size in zip(numbers, sizes, strict=True)]
            images = k.smaller(k.affine(self.geometry.images, (start[0], -1)), blocks.images)
            self._either(start[2], self.geometry.outputs, blocks.outputs, lambda outputs: self._either(
                start[4], self.geometry.sizes[1], blocks.rows, lambda rows: self._either(
                    start[5], self.geometry.sizes[2], blocks.columns,
                    lambda columns: _Block(self, start, images, outputs, rows, columns).emit(),
                )))  # fmt: skip

    def _either(self, start: IRValue, size: int, most: int, body: Callable[[int], None]) -> None:
        """body(n) for what begins at `start`: n is `most`, or at the end what is left. Code for both."""
        k, rest = self.k, size % most
        if not rest or size < most:
            body(min(size, most))
            return
        with k.ir.if_else(k.ir.icmp_signed("<", start, k.i64(size - rest))) as (whole, tail):
            with whole:
                body(most)
            with tail:
                body(rest)


class _Block:
    """The code of one block."""

    def __init__(
        self, e: _Emission, start: Sequence[IRValue], images: IRValue, outputs: int, rows: int, columns: int
    ) -> None:
        self.e, self.k, self.images = e, e.k, images
        self.image, self.group, self.output, *self.place = start
        self.outputs, self.rows, self.columns = outputs, rows, columns

    def emit(self) -> None:
        k, e, blocks = self.k, self.e, self.e.blocks
        seen = e.geometry.seen(self.rows, self.columns)
        with k.loop(0, blocks.channel_blocks) as block:
            channel = k.affine(0, (self.group, e.geometry.channels), (block.index, blocks.channels))
            e.buffer.fill((self.image, self.images), channel, e.buffer.first_seen(self.place), seen)
            self._each_width(lambda output, width: self._panel(block.index, output, width))

    def _each_width(self, body: Callable[[IRValue | int, int], None]) -> None:
        """body(output, width) for the block's outputs, counted from its first."""
        width, whole = self.e.width, self.outputs // self.e.width * self.e.width
        if whole:
            with self.k.loop(0, whole, width) as loop:
                body(loop.index, width)
        if self.outputs > whole:
            body(whole, self.outputs - whole)

    def _panel(self, block: IRValue, output: IRValue | int, width: int) -> None:
        """All places of the block, for some outputs and a block of channels."""
        k, e = self.k, self.e
        first = k.affine(0, (self.output, 1), (output, 1))  # in the group
        panel = k.ir.udiv(first, k.i64(PANEL))
        within = k.affine(0, (first, 1), (panel, -PANEL))
        number = k.affine(0, (self.group, e.panels), (panel, 1))
        size = e.kernel.w.size // (e.kernel.w.shape[0] * e.kernel.w.shape[1])
        start = k.affine(0, (number, e.blocks.channel_blocks), (block, 1))
        filters = k.at(e.kernel.w.operand, k.affine(e.kernel.w.offset, (start, size), (within, 1)))
        with k.loop(0, self.images) as image:
            for rows, (first_row, last_row) in self._row_runs():
                with k.loop(first_row, last_row, rows) as row:
                    for height, (low, high) in even_runs(self.columns, e.most // rows):
                        with k.loop(low, high, height) as column:
                            self._tile(block, filters, image.index, row.index, rows, column.index, height,
                                       output, width)  # fmt: skip

    def _row_runs(self) -> list[tuple[int, tuple[int, int]]]:
        """How many rows share a tile, from which row to which: several, where rows are short."""
        together = max(1, min(self.rows, self.e.most // max(1, self.columns)))
        return even_runs(self.rows, together)

    def _tile(
        self, block: IRValue, filters: IRValue, image: IRValue, row: IRValue, rows: int, column: IRValue,
        columns: int, output: IRValue | int, width: int,
    ) -> None:  # fmt: skip
        """rows by columns places, for `width` outputs."""
        k, e, buffer, g = self.k, self.e, self.e.buffer, self.e.geometry
        vectors = -(-width // e.lanes)
        steps = (g.stride[1] * buffer.row, g.stride[2] * buffer.channels)
        offsets = [i * steps[0] + j * steps[1] for i in range(rows) for j in range(columns)]
        origin = k.affine(0, (image, buffer.image), (row, steps[0]), (column, steps[1]))
        zeros = [k.constant(e.dtype, 0, e.lanes)] * (len(offsets) * (width if e.has_few else vectors))
        # Taps along the row and channels are one run, unless there is something between taps.
        runs = 1 if g.dilation[2] == 1 and not e.has_few else g.taps[2]
        depth = g.taps[2] // runs * buffer.channels
        with k.loop(0, g.taps[0] * g.taps[1] * runs, carried=zeros) as loop:
            plane, down, step = k.unravel(loop.index, (*g.taps[:2], runs))
            at = k.affine(
                0, (origin, 1), (plane, buffer.plane), (down, g.dilation[1] * buffer.row),
                (step, g.dilation[2] * buffer.channels),
            )  # fmt: skip
            start = k.affine(0, (loop.index, depth * (width if e.has_few else PANEL)))
            panel = Matrix(k.address(filters, e.dtype, start), e.dtype, PANEL, 1)
            if e.has_few:
                sums = few.multiply(k, buffer.at(at), offsets, panel.pointer, e.dtype, depth, loop.values)
            else:
                sums = _multiply(k, buffer.at(at), offsets, panel, depth, width, loop.values)
            loop.carry(*sums)
        sums = loop.results
        if e.has_few:
            each = (sums[at : at + width] for at in range(0, len(sums), width))
            sums = [total for place in each for total in few.added_up(k, place, e.dtype)]
        self._put(block, sums, _Where(image, row, rows, column, columns, output, width))

    def _put(self, block: IRValue, sums: Sequence[IRValue], where: _Where) -> None:
        """Set sums aside for the next block of channels; or finish them, after the last."""
        e, k = self.e, self.k
        if not e.waits:
            self._finish(sums, where)
            return
        lines = self._lines(where)
        vectors = -(-where.width // e.lanes)
        with k.ir.if_else(k.ir.icmp_signed("==", block, k.i64(0))) as (first, later):
            with first:
                for i, line in enumerate(lines):
                    store_row(k, sums[i * vectors : (i + 1) * vectors], line, e.dtype, vectors * e.lanes)
            with later:
                before = [x for line in lines for x in load_row(k, line, e.dtype, vectors * e.lanes, e.lanes)]
                total = [k.ir.fadd(x, y) for x, y in zip(before, sums, strict=True)]
                last = k.ir.icmp_signed("==", block, k.i64(e.blocks.channel_blocks - 1))
                with k.ir.if_else(last) as (done, more):
                    with done:
                        self._finish(total, where)
                    with more:
                        for i, line in enumerate(lines):
                            part = total[i * vectors : (i + 1) * vectors]
                            store_row(k, part, line, e.dtype, vectors * e.lanes)

    def _lines(self, where: _Where) -> list[IRValue]:
        """Where the sums of each place wait."""
        k, e = self.k, self.e
        first = k.affine(
            0,
            (where.image, e.blocks.rows * e.blocks.columns),
            (where.row, e.blocks.columns),
            (where.column, 1),
        )
        return [
            e.sums.at(k, k.affine(i * e.blocks.columns + j, (first, 1)), where.output)
            for i in range(where.rows) for j in range(where.columns)
        ]  # fmt: skip

    def _finish(self, sums: Sequence[IRValue], where: _Where) -> None:
        """The epilogue, row by row."""
        k, e = self.k, self.e
        plane, first_row, first_column = self.place
        output = k.affine(0, (self.group, e.geometry.outputs), (self.output, 1), (where.output, 1))
        column = k.affine(0, (first_column, 1), (where.column, 1))
        vectors = -(-where.width // e.lanes)
        each = where.columns * vectors
        for i in range(where.rows):
            over = (plane, k.affine(i, (first_row, 1), (where.row, 1)))
            image = k.affine(0, (self.image, 1), (where.image, 1))
            batch = [image, *over[3 - len(e.kernel.sizes) :]]
            part = sums[i * each : (i + 1) * each]
            if e.epilogue.in_registers(where.width):
                e.epilogue.from_registers(part, batch, column, output, where.width)
                continue
            tile_ = Matrix(e.finished, e.dtype, vectors * e.lanes, 1)
            for number, value in enumerate(part):
                place, vector = divmod(number, vectors)
                k.store(value, tile_.at(k, place, vector * e.lanes), e.dtype)
            e.epilogue.from_memory(tile_, batch, column, output, where.columns, where.width)


class _Where:
    """What a register tile is about: some places of an image of the block, and some of its outputs."""

    def __init__(
        self, image: IRValue, row: IRValue, rows: int, column: IRValue, columns: int, output: IRValue | int,
        width: int,
    ) -> None:  # fmt: skip
        self.image, self.row, self.rows, self.column, self.columns = image, row, rows, column, columns
        self.output, self.width = output, width


def _multiply(
    k: KernelBuilder, a: IRValue, offsets: Sequence[int], panel: Matrix, depth: int, columns: int,
    onto: Sequence[IRValue],
) -> list[IRValue]:  # fmt: skip
    """`tile.multiply` for rows that begin at these offsets from a."""
    dtype, lanes = panel.dtype, k.target.lanes(panel.dtype)
    with k.loop(0, depth, carried=onto) as loop:
        parts = load_row(k, panel.at(k, loop.index, 0), dtype, columns, lanes)
        step = k.address(a, dtype, loop.index)
        sums: list[IRValue] = []
        for offset in offsets:
            value = k.splat(k.load(k.address(step, dtype, offset), dtype), lanes)
            for part in parts:
                sums.append(tile.multiply_add(k, value, part, loop.values[len(sums)]))
        loop.carry(*sums)
    return loop.results
