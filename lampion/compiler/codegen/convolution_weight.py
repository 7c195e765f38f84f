"""Emits `ConvolutionWeight`: the gradient of filters, with output channels in the lanes of registers.

For a plane and a row of taps, it is a product of two matrices with a row for each place of the output: what
the taps of that row see there, (place, tap and channel), and the gradient, (place, output). As in
`convolution.py`, the first is copied into a small buffer, in which the taps along a row and their channels
lie one behind the other. A register tile is a few of those by a panel of outputs, summed over the places of a
row or a few, from zero; that is then added to what is in memory: many short sums lose fewer digits than a
long one.

A chunk is a block of images, a plane and a row of taps, and a block of channels and one of outputs. Where
there are few channels, a row of taps would not fill a tile: then all rows of a plane are one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

from lampion.compiler.codegen import convolution_depthwise as depthwise
from lampion.compiler.codegen import convolution_weight_few as few
from lampion.compiler.codegen import tile, winograd, winograd_weight
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.convolution_blocks import Geometry, channel_block, even_runs, three
from lampion.compiler.codegen.convolution_fill import Buffer
from lampion.compiler.codegen.pack import Matrix, load_row, store_row
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import ConvolutionWeight

_OUTPUTS = 128  # of a chunk, at most
_BUFFER = 96 << 10  # bytes of the input's part that a block sees
_ROWS = 8  # of the output in a block, at most
_TERMS = 64  # places that are summed up in registers, at most
_FEW = 32  # taps of a plane and their channels that are one tile

_Rows = tuple[IRValue | int, IRValue | int]  # of a block: from where to where


def geometry(kernel: ConvolutionWeight) -> Geometry:
    """The kernel's sizes, in three dimensions."""
    return Geometry(
        images=kernel.x.shape[0], channels=kernel.x.shape[-1] // kernel.groups,
        outputs=kernel.y.shape[-1] // kernel.groups, groups=kernel.groups,
        inputs=three(kernel.x.shape[1:-1], 1), sizes=three(kernel.y.shape[1:-1], 1),
        taps=three(kernel.taps, 1), stride=three(kernel.stride, 1), padding=three(kernel.padding, 0),
        dilation=three(kernel.dilation, 1), itemsize=kernel.dtype.itemsize,
    )  # fmt: skip


class Blocks:
    """How the work is cut, from the shape alone."""

    def __init__(self, g: Geometry, image_blocks: int) -> None:
        self.geometry = g
        self.down = g.taps[1] if g.channels * g.taps[1] * g.taps[2] <= _FEW else 1  # rows of taps at a time
        self.channels = channel_block(g.channels, g.taps[2], g.itemsize)
        self.outputs = min(g.outputs, _OUTPUTS)
        self.columns = -(-g.sizes[2] // -(-g.sizes[2] // _TERMS))
        while self.columns > 8 and self._bytes(1) > _BUFFER:
            self.columns = -(-self.columns // 2)
        self.rows = max(1, min(g.sizes[1], _ROWS))
        while self.rows > 1 and self._bytes(self.rows) > _BUFFER:
            self.rows -= 1
        self.counts = (
            image_blocks, g.taps[0], g.taps[1] // self.down, g.groups, g.channels // self.channels,
            -(-g.outputs // self.outputs),
        )  # fmt: skip
        self.chunks = math.prod(self.counts)

    def seen(self, columns: int) -> int:
        """Columns of the input that a row of the output sees."""
        g = self.geometry
        return g.stride[2] * (columns - 1) + g.dilation[2] * (g.taps[2] - 1) + 1

    def seen_rows(self, rows: int) -> int:
        """Rows of the input that are looked at; of those, one row of taps sees one for each of the output."""
        g = self.geometry
        return rows if self.down == 1 else g.stride[1] * (rows - 1) + g.dilation[1] * (self.down - 1) + 1

    def _bytes(self, rows: int) -> int:
        return self.seen_rows(rows) * self.seen(self.columns) * self.channels * self.geometry.itemsize


def has_few(g: Geometry) -> bool:
    """Whether outputs are so few that channels are to be in the lanes, and adjacent in `out`."""
    return not depthwise.small_groups(g) and not winograd.pays(g) and few.suits(g)


def image_blocks(g: Geometry, wanted: int = 16) -> int:
    """In how many blocks the images are to be cut, so that there are chunks enough for threads to share."""
    if depthwise.small_groups(g):
        return depthwise.image_blocks(g, wanted)
    if winograd.pays(g):
        return winograd_weight.image_blocks(g, wanted)
    return max(1, min(g.images, -(-wanted // Blocks(g, 1).chunks)))


def chunks(kernel: ConvolutionWeight, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    if 0 in kernel.shape:
        return 0
    g, blocks = geometry(kernel), kernel.shape[0]
    if kernel.transformed:
        return winograd_weight.Blocks(g, blocks).chunks
    return depthwise.filter_chunks(g, blocks) if depthwise.small_groups(g) else Blocks(g, blocks).chunks


def emit(module: Any, name: str, kernel: ConvolutionWeight, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if 0 not in kernel.shape:
        _emission(k, kernel, geometry(kernel)).emit()
    k.finish()


def _emission(
    k: KernelBuilder, kernel: ConvolutionWeight, g: Geometry
) -> winograd_weight.Filters | depthwise.Filters | _Emission:
    if kernel.transformed:
        return winograd_weight.Filters(k, kernel, g)
    return depthwise.Filters(k, kernel, g) if depthwise.small_groups(g) else _Emission(k, kernel)


class _Emission:
    def __init__(self, k: KernelBuilder, kernel: ConvolutionWeight) -> None:
        self.k, self.kernel, self.dtype = k, kernel, kernel.dtype
        self.geometry = g = geometry(kernel)
        self.blocks = Blocks(g, kernel.shape[0])
        self.lanes = k.target.lanes(kernel.dtype)
        most, vectors = tile.shape(k.target)
        self.width = min(vectors, -(-g.outputs // self.lanes)) * self.lanes
        self.most = most if self.width > self.lanes or k.target.registers < 32 else 2 * most
        by_image, *steps, _ = kernel.y.strides
        self.y_steps = (by_image, *three(steps, 0))
        self.out_steps = three(kernel.out.strides[1:-2], 0)
        # From one row of the product to the next: the next channel, or, of a single one, the next tap.
        self.out_row = kernel.out.strides[-2] if g.channels > 1 else self.out_steps[2]
        self.has_few = kernel.out.strides[-1] != 1  # outputs, so that channels are in the lanes

    def emit(self) -> None:
        k, blocks = self.k, self.blocks
        seen = (1, blocks.seen_rows(blocks.rows), blocks.seen(blocks.columns))
        room = k.room(self.dtype, math.prod(seen) * blocks.channels)
        self.buffer = Buffer(k, room, self.dtype, self.geometry, self.kernel.x, blocks.channels, seen)
        with k.loop(k.lo, k.hi) as loop:
            block, plane, down, group, channels, outputs = k.unravel(loop.index, blocks.counts)
            output = k.affine(0, (outputs, blocks.outputs))
            rest = self.geometry.outputs % blocks.outputs
            if not rest or self.geometry.outputs == blocks.outputs:
                self._chunk(block, (plane, down), group, channels, output, blocks.outputs)
            else:
                last = k.ir.icmp_signed("==", outputs, k.i64(blocks.counts[5] - 1))
                with k.ir.if_else(last) as (tail, others):
                    with tail:
                        self._chunk(block, (plane, down), group, channels, output, rest)
                    with others:
                        self._chunk(block, (plane, down), group, channels, output, blocks.outputs)

    def _chunk(
        self, block: IRValue, tap: tuple[IRValue, IRValue], group: IRValue, channels: IRValue,
        output: IRValue, outputs: int,
    ) -> None:  # fmt: skip
        k, g, blocks, kernel = self.k, self.geometry, self.blocks, self.kernel
        channel = k.affine(0, (channels, blocks.channels))
        by_plane, by_row, _ = self.out_steps
        place = k.affine(
            kernel.out.offset, (block, kernel.out.strides[0]), (tap[0], by_plane), (tap[1], by_row),
            (channel, kernel.out.strides[-2]), (group, g.outputs * kernel.out.strides[-1]),
            (output, kernel.out.strides[-1]),
        )  # fmt: skip
        # Rows: the taps along a row, and of each the block's channels; or of each the outputs.
        line = kernel.out.strides[-1] if self.has_few else self.out_row
        out = Matrix(k.at(kernel.out.operand, place), self.dtype, line, 1)
        panel = few.Panel(k, g, blocks.channels, out, self.out_steps[2]) if self.has_few else None
        if panel is None:
            self._clear(out, outputs)
        else:
            panel.clear()
        first = k.affine(0, (block, kernel.images))
        last = k.smaller(k.affine(kernel.images, (first, 1)), g.images)
        first_channel = k.affine(0, (group, g.channels), (channel, 1))
        first_output = k.affine(0, (group, g.outputs), (output, 1))
        with k.loop(first, last) as image, k.loop(0, g.sizes[0]) as plane:
            for rows, (low, high) in even_runs(g.sizes[1], blocks.rows):
                for columns, (left, right) in even_runs(g.sizes[2], blocks.columns):
                    with k.loop(low, high, rows) as row, k.loop(left, right, columns) as column:
                        start = (plane.index, row.index, column.index)
                        seen = (1, blocks.seen_rows(rows), blocks.seen(columns))
                        at = self.buffer.first_seen(start, (*tap, 0))
                        step = g.stride[1] if blocks.down == 1 else 1
                        self.buffer.fill((image.index, 1), first_channel, at, seen, step)
                        y = k.affine(
                            kernel.y.offset, (first_output, 1),
                            *zip((image.index, *start), self.y_steps, strict=True),
                        )  # fmt: skip
                        if panel is None:
                            self._add(out, y, rows, columns, outputs)
                        else:
                            x = Matrix(self.buffer.at(0), self.dtype, g.stride[2] * blocks.channels, 1)
                            slopes = Matrix(k.at(kernel.y.operand, y), self.dtype, self.y_steps[3], 1)
                            panel.add(x, slopes, (self.buffer.row, self.y_steps[2]), rows, columns)

    def _lines(self) -> list[tuple[int, int, int]]:
        """Rows of `out` that are equally far apart: where in out, where in the buffer, how many."""
        g, count, by_tap = self.geometry, self.blocks.channels, self.out_steps[2]
        found = [(tap * by_tap, tap * g.dilation[2] * count, count) for tap in range(g.taps[2])]
        if count == g.channels and by_tap == count * self.out_row and g.dilation[2] == 1:
            found = [(0, 0, g.taps[2] * count)]
        down = range(self.blocks.down)
        below = self.out_steps[1], g.dilation[1] * self.buffer.row
        return [(r * below[0] + to, r * below[1] + at, n) for r in down for to, at, n in found]

    def _clear(self, out: Matrix, outputs: int) -> None:
        k = self.k
        zero = k.constant(self.dtype, 0, self.lanes)
        for start, _, count in self._lines():
            with k.loop(0, count) as loop:
                row = k.address(out.at(k, loop.index, 0), self.dtype, start)
                store_row(k, [zero] * -(-outputs // self.lanes), row, self.dtype, outputs)

    def _add(self, out: Matrix, y: IRValue, rows: int, columns: int, outputs: int) -> None:
        """Add what a block of places gives."""
        k, whole = self.k, outputs // self.width * self.width
        panel = self._panel if self.blocks.down == 1 else self._whole_plane
        if whole:
            with k.loop(0, whole, self.width) as loop:
                panel(out, y, rows, columns, loop.index, self.width)
        if outputs > whole:
            panel(out, y, rows, columns, whole, outputs - whole)

    def _whole_plane(
        self, out: Matrix, y: IRValue, rows: int, columns: int, output: IRValue | int, width: int
    ) -> None:
        """All rows of taps at once: tiles whose rows lie anywhere."""
        k = self.k
        lines = [(to + i * self.out_row, at + i) for to, at, n in self._lines() for i in range(n)]
        pieces = -(-len(lines) // self.most)
        for piece in (lines[n::pieces] for n in range(pieces)):
            targets = [k.address(out.at(k, 0, output), self.dtype, to) for to, _ in piece]
            offsets, slopes = [at for _, at in piece], k.affine(0, (y, 1), (output, 1))
            with self._part(rows, columns) as part:
                self._put(self._products_anywhere(offsets, slopes, part, columns, width), targets, width)

    def _products_anywhere(
        self, offsets: Sequence[int], y: IRValue, rows: _Rows, columns: int, width: int
    ) -> list[IRValue]:
        """Numbers at these places of the buffer, times `width` outputs, summed over rows of places."""
        k, g = self.k, self.geometry
        zeros = [k.constant(self.dtype, 0, self.lanes)] * (len(offsets) * -(-width // self.lanes))
        first, last = (k.affine(0, (row, columns)) for row in rows)
        with k.loop(first, last, carried=zeros) as loop:
            row, column = k.unravel(loop.index, (self.blocks.rows, columns))
            steps = ((row, g.stride[1] * self.buffer.row), (column, g.stride[2] * self.blocks.channels))
            seen = self.buffer.at(k.affine(0, *steps))
            place = k.affine(0, (y, 1), (row, self.y_steps[2]), (column, self.y_steps[3]))
            slopes = load_row(k, k.at(self.kernel.y.operand, place), self.dtype, width, self.lanes)
            found: list[IRValue] = []
            for offset in offsets:
                value = k.splat(k.load(k.address(seen, self.dtype, offset), self.dtype), self.lanes)
                found += [
                    tile.multiply_add(k, value, slope, loop.values[len(found) + v])
                    for v, slope in enumerate(slopes)
                ]
            loop.carry(*found)
        return loop.results

    def _panel(
        self, out: Matrix, y: IRValue, rows: int, columns: int, output: IRValue | int, width: int
    ) -> None:
        """A row of taps: tiles of what lies side by side."""
        k = self.k
        for start, at, count in self._lines():
            for height, (low, high) in even_runs(count, self.most):
                with k.loop(low, high, height) as loop:
                    target = out.part(k, loop.index, k.affine(start, (output, 1)))
                    targets = [target.at(k, i, 0) for i in range(height)]
                    a, slopes = k.affine(at, (loop.index, 1)), k.affine(0, (y, 1), (output, 1))
                    self._tile(targets, a, slopes, rows, columns, width)

    def _tile(
        self, targets: Sequence[IRValue], a: IRValue, y: IRValue, rows: int, columns: int, width: int
    ) -> None:
        """Numbers that lie side by side in the buffer, a row of them for each target, times outputs."""
        with self._part(rows, columns) as part:
            self._put(self._products(a, y, part, columns, len(targets), width), targets, width)

    @contextlib.contextmanager
    def _part(self, rows: int, columns: int) -> Iterator[_Rows]:
        """Rows from where to where, so few that their places can be summed up in registers: in turn, all."""
        k, parts = self.k, -(-rows // max(1, _TERMS // columns))
        if parts == 1:
            yield 0, rows
            return
        count = -(-rows // parts)
        with k.loop(0, rows, count) as loop:
            yield loop.index, k.smaller(k.affine(count, (loop.index, 1)), rows)

    def _products(
        self, a: IRValue, y: IRValue, rows: _Rows, columns: int, height: int, width: int
    ) -> Sequence[IRValue]:
        """`height` numbers side by side in the buffer, times `width` outputs, summed over rows of places."""
        k, step = self.k, self.geometry.stride[2] * self.blocks.channels
        along = self.y_steps[3]
        zeros = [k.constant(self.dtype, 0, self.lanes)] * (height * -(-width // self.lanes))
        with k.loop(*rows, carried=zeros) as row:
            own = Matrix(
                self.buffer.at(k.affine(0, (a, 1), (row.index, self.buffer.row))), self.dtype, 1, step
            )
            line = k.at(self.kernel.y.operand, k.affine(0, (y, 1), (row.index, self.y_steps[2])))
            panel = Matrix(line, self.dtype, along, 1)
            row.carry(*tile.multiply(k, own, panel, columns, height, width, onto=row.values))
        return row.results

    def _put(self, sums: Sequence[IRValue], targets: Sequence[IRValue], width: int) -> None:
        """Add sums to what is in memory."""
        k, vectors = self.k, -(-width // self.lanes)
        # All loads before all stores: a load waits for a store under a mask that might overlap.
        before = [v for target in targets for v in load_row(k, target, self.dtype, width, self.lanes)]
        after = [k.ir.fadd(x, y) for x, y in zip(before, sums, strict=True)]
        for i, target in enumerate(targets):
            store_row(k, after[i * vectors : (i + 1) * vectors], target, self.dtype, width)
