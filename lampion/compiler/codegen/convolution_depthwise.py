"""Emits convolutions in which channels have filters of their own, alone or in small groups; and the gradients
of such filters.

There is no product to speak of, so channels themselves are in the lanes of registers. Images are read where
they lie, channels adjacent; what a tap sees outside of them is a register's width of zeros somewhere else: a
pointer is chosen for each row of taps, and near the left and right edge for each tap.

    forward: for a few neighbouring places:  sums += x[places under the tap] * w[tap], tap by tap
    filters: for some rows of taps at once:  sums += x[place under the tap] * y[place], place by place

In groups of 2, 4 or 8, that is done for one channel of each group after the other, in all lanes of its group.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lampion.compiler.codegen import tile
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.convolution_blocks import Geometry, even_runs, three
from lampion.compiler.codegen.pack import Matrix
from lampion.compiler.kernel_ir import Convolution, ConvolutionWeight, Window

SIZES = (1, 2, 4, 8)  # of groups
_WORK = 1 << 15  # multiplications that a chunk is worth
_CHANNELS = 64  # of a chunk of the filters' gradient
_WRITTEN_OUT = 2  # tiles at an edge, at most, whose places are known when the code is made

Numbers = Sequence[IRValue | int]


def small_groups(g: Geometry) -> bool:
    """Whether channels are by themselves, or in small groups with as many outputs."""
    return g.groups > 1 and g.channels == g.outputs and g.channels in SIZES


def forward_chunks(g: Geometry) -> int:
    """The number of chunks, which no processor changes."""
    items = g.images * math.prod(g.sizes[:2])
    work = g.sizes[2] * g.groups * g.channels**2 * math.prod(g.taps)
    return max(1, min(items, items * work // _WORK))


def image_blocks(g: Geometry, wanted: int = 16) -> int:
    """In how many blocks the images are to be cut for the filters' gradient."""
    return max(1, min(g.images, -(-wanted // filter_chunks(g, 1))))


def filter_chunks(g: Geometry, blocks: int) -> int:
    return blocks * -(-g.groups * g.channels // _CHANNELS)


class _Images:
    """How a kernel reads x under its taps."""

    def __init__(self, k: KernelBuilder, g: Geometry, x: Window, dtype: Any) -> None:
        self.k, self.geometry, self.x, self.dtype = k, g, x, dtype
        self.lanes = k.target.lanes(dtype)
        by_image, *steps, _ = x.strides
        self.by_image, self.steps = by_image, three(steps, 0)
        self.zeros = k.room(dtype, max(self.lanes, g.channels))
        for at in range(0, max(self.lanes, g.channels), self.lanes):
            k.store(k.constant(dtype, 0, self.lanes), k.address(self.zeros, dtype, at), dtype)
        # The places of a row all of whose taps see something: from here to there.
        size, reach = g.inputs[2], g.dilation[2] * (g.taps[2] - 1)
        low = min(g.sizes[2], max(0, -(-g.padding[2] // g.stride[2])))
        high = (size - 1 - reach + g.padding[2]) // g.stride[2] + 1
        self.inner = (low, min(g.sizes[2], max(low, high)))

    def line(self, image: IRValue, place: Numbers, tap: Numbers, channel: IRValue) -> tuple[IRValue, IRValue]:
        """Where a row of taps looks: its first column, and the step to the next; zeros, if it is outside."""
        k, g = self.k, self.geometry
        at = [
            k.i64(k.affine(-g.padding[axis], (place[axis], g.stride[axis]), (tap[axis], g.dilation[axis])))
            for axis in (0, 1)
        ]
        inside = k.ir.and_(*(k.ir.icmp_unsigned("<", at[axis], k.i64(g.inputs[axis])) for axis in (0, 1)))
        start = k.affine(
            self.x.offset,
            (image, self.by_image),
            (at[0], self.steps[0]),
            (at[1], self.steps[1]),
            (channel, 1),
        )
        if g.channels > self.lanes:  # the first channel of the group
            within = k.ir.urem(k.i64(channel), k.i64(g.channels))
            start = k.affine(0, (start, 1), (within, -1))
        first = k.ir.select(inside, k.at(self.x.operand, start), k.address(self.zeros, self.dtype, 0))
        return first, k.ir.select(inside, k.i64(self.steps[2]), k.i64(0))

    def load(
        self, line: tuple[IRValue, IRValue], column: IRValue | int, offset: int, mask: Any, edge: bool,
        number: int = 0,
    ) -> IRValue:  # fmt: skip
        """The channels at the column under the first tap of output column `column`, plus an offset: of each
        group the one of that number.
        """
        k, g = self.k, self.geometry
        if edge and isinstance(column, int):
            if not 0 <= offset - g.padding[2] + column * g.stride[2] < g.inputs[2]:
                return k.constant(self.dtype, 0, self.lanes)
            edge = False
        seen = k.affine(offset - g.padding[2], (column, g.stride[2]))
        at = k.address(line[0], self.dtype, k.ir.mul(seen, line[1]))
        if edge:
            inside = k.ir.icmp_unsigned("<", seen, k.i64(g.inputs[2]))
            at = k.ir.select(inside, at, k.address(self.zeros, self.dtype, 0))
        size = g.channels
        if size > self.lanes:  # `line` begins within a group (see `start`)
            return k.splat(k.load(k.address(at, self.dtype, number), self.dtype), self.lanes)
        seen = k.load(at, self.dtype, self.lanes, mask)
        if size == 1:
            return seen
        return k.shuffle(seen, seen, [lane // size * size + number for lane in range(self.lanes)])

    def channels(
        self, first: IRValue | int, last: IRValue | int, body: Callable[[IRValue, int], None]
    ) -> None:
        """body(channel, width) for channels from `first`, a whole number of registers, to `last`."""
        k, count = self.k, self.geometry.groups * self.geometry.channels
        rest = count % self.lanes
        whole = k.larger(k.smaller(last, count - rest), first)
        with k.loop(first, whole, self.lanes) as loop:
            body(loop.index, self.lanes)
        if rest:
            with k.ir.if_then(k.ir.icmp_signed("==", k.i64(last), k.i64(count))):
                body(k.i64(count - rest), rest)

    def columns(
        self, most: int, body: Callable[[IRValue, int, bool, Numbers], list[IRValue]], sums: Numbers
    ) -> Any:
        """Carry sums through body(column, how many columns, whether some taps may be outside, sums)."""
        k, (low, high) = self.k, self.inner
        for height, (start, stop) in even_runs(self.geometry.sizes[2], most):
            inner = [at for at in range(start, stop, height) if low <= at and at + height <= high]
            left, right = (inner[0], inner[-1] + height) if inner else (stop, stop)
            for first, last, edge in ((start, left, True), (left, right, False), (right, stop, True)):
                if edge and last - first <= _WRITTEN_OUT * height:
                    for at in range(first, last, height):
                        sums = body(at, height, True, sums)
                elif first < last:
                    with k.loop(first, last, height, carried=sums) as loop:
                        loop.carry(*body(loop.index, height, edge, loop.values))
                    sums = loop.results
        return sums


class Forward:
    """The code of a `Convolution`. Its filters, (1, 1, *taps, of a group, outputs), lie in this order."""

    def __init__(self, k: KernelBuilder, kernel: Convolution, g: Geometry) -> None:
        self.k, self.kernel, self.geometry, self.dtype = k, kernel, g, kernel.dtype
        self.images = _Images(k, g, kernel.x, kernel.dtype)
        self.lanes = self.images.lanes
        self.most = 8 if k.target.registers >= 32 else 4
        self.epilogue = tile.Epilogue(k, kernel.epilogue, kernel.stores, kernel.dtype)
        self.finished = k.room(self.dtype, self.most * self.lanes)

    def emit(self) -> None:
        k, g = self.k, self.geometry
        count, chunks = g.images * math.prod(g.sizes[:2]), forward_chunks(g)
        first, last = (k.share(chunk, chunks, count) for chunk in (k.lo, k.hi))
        with k.loop(first, last) as loop:
            image, *place = k.unravel(loop.index, (g.images, *g.sizes[:2]))

            def tile_(column: IRValue | int, columns: int, edge: bool, _: Numbers) -> list[IRValue]:
                def sum_up(channel: IRValue, width: int) -> None:
                    sums = self._sums(image, place, channel, width, column, columns, edge)
                    self._finish(sums, image, place, channel, width, column)

                self.images.channels(0, g.groups * g.channels, sum_up)
                return []

            self.images.columns(self.most, tile_, ())

    def _sums(
        self, image: IRValue, place: Numbers, channel: IRValue, width: int, column: IRValue, columns: int,
        edge: bool,
    ) -> list[IRValue]:  # fmt: skip
        """Of some neighbouring places, for a register of channels."""
        k, g, w = self.k, self.geometry, self.kernel.w
        mask = k.first(k.i64(width), self.lanes) if width < self.lanes else None
        zeros = [k.constant(self.dtype, 0, self.lanes)] * columns
        with k.loop(0, g.taps[0] * g.taps[1], carried=zeros) as loop:
            tap = k.unravel(loop.index, g.taps[:2])
            line = self.images.line(image, place, tap, channel)
            sums: list[Any] = list(loop.values)
            size, count = g.channels, g.groups * g.channels
            for member in range(size):
                seen: dict[int, IRValue] = {}
                for number in range(g.taps[2]):
                    start = w.offset + (number * size + member) * count
                    at = k.affine(start, (loop.index, g.taps[2] * size * count), (channel, 1))
                    factor = k.load(k.at(w.operand, at), self.dtype, self.lanes, mask)
                    for i in range(columns):
                        offset = i * g.stride[2] + number * g.dilation[2]
                        if offset not in seen:
                            seen[offset] = self.images.load(line, column, offset, mask, edge, member)
                        sums[i] = tile.multiply_add(k, seen[offset], factor, sums[i])
            loop.carry(*sums)
        return loop.results

    def _finish(
        self, sums: Sequence[IRValue], image: IRValue, place: Numbers, channel: IRValue, width: int,
        column: IRValue,
    ) -> None:  # fmt: skip
        k = self.k
        batch = [image, *place[3 - len(self.kernel.sizes) :]]
        if self.epilogue.in_registers(width):
            self.epilogue.from_registers(sums, batch, column, channel, width)
            return
        made = Matrix(self.finished, self.dtype, self.lanes, 1)
        for number, value in enumerate(sums):
            k.store(value, made.at(k, number, 0), self.dtype)
        self.epilogue.from_memory(made, batch, column, channel, len(sums), width)


class Filters:
    """The code of a `ConvolutionWeight`: a chunk is a block of images and one of channels."""

    def __init__(self, k: KernelBuilder, kernel: ConvolutionWeight, g: Geometry) -> None:
        self.k, self.kernel, self.geometry, self.dtype = k, kernel, g, kernel.dtype
        self.images = _Images(k, g, kernel.x, kernel.dtype)
        self.lanes = self.images.lanes
        large = k.target.registers >= 32
        self.sums, self.most = (24, 4) if large else (9, 2)
        by_image, *steps, _ = kernel.y.strides
        self.y_steps = (by_image, *three(steps, 0))
        self.out_steps = three(kernel.out.strides[1:-2], 0)

    def emit(self) -> None:
        k, g = self.k, self.geometry
        with k.loop(k.lo, k.hi) as chunk:
            block, part = k.unravel(chunk.index, (self.kernel.shape[0], filter_chunks(g, 1)))
            first = k.affine(0, (part, _CHANNELS))
            last = k.smaller(k.affine(_CHANNELS, (first, 1)), g.groups * g.channels)

            def channels(channel: IRValue, width: int) -> None:
                with k.loop(0, g.taps[0]) as plane:
                    for rows, (low, high) in even_runs(
                        g.taps[1], max(1, self.sums // (g.taps[2] * g.channels))
                    ):
                        with k.loop(low, high, rows) as row:
                            self._rows_of_taps(block, plane.index, row.index, rows, channel, width)

            self.images.channels(first, last, channels)

    def _rows_of_taps(
        self, block: IRValue, plane: IRValue, row: IRValue, rows: int, channel: IRValue, width: int
    ) -> None:
        """The gradients of `rows` rows of taps, over a block of images."""
        k, g = self.k, self.geometry
        mask = k.first(k.i64(width), self.lanes) if width < self.lanes else None
        first = k.affine(0, (block, self.kernel.images))
        last = k.smaller(k.affine(self.kernel.images, (first, 1)), g.images)
        places = math.prod(g.sizes[:2])
        zeros = [k.constant(self.dtype, 0, self.lanes)] * (rows * g.taps[2] * g.channels)
        with k.loop(k.affine(0, (first, places)), k.affine(0, (last, places)), carried=zeros) as loop:
            image, *place = k.unravel(loop.index, (g.images, *g.sizes[:2]))
            lines = [
                self.images.line(image, place, (plane, k.affine(i, (row, 1))), channel) for i in range(rows)
            ]
            steps = zip((image, *place), self.y_steps[:3], strict=True)
            y = k.at(self.kernel.y.operand, k.affine(self.kernel.y.offset, *steps, (channel, 1)))

            def along(column: IRValue, columns: int, edge: bool, sums: Numbers) -> list[IRValue]:
                return self._add(lines, y, column, columns, edge, mask, sums)

            loop.carry(*self.images.columns(self.most, along, loop.values))
        by_plane, by_row, by_tap = self.out_steps
        for number, total in enumerate(loop.results):
            i, tap, member = (int(n) for n in np.unravel_index(number, (rows, g.taps[2], g.channels)))
            start = i * by_row + tap * by_tap + member * self.kernel.out.strides[-2]
            at = k.affine(
                self.kernel.out.offset + start, (block, self.kernel.out.strides[0]),
                (plane, by_plane), (row, by_row), (channel, 1),
            )  # fmt: skip
            k.store(total, k.at(self.kernel.out.operand, at), self.dtype, mask)

    def _add(
        self, lines: Sequence[tuple[IRValue, IRValue]], y: IRValue, column: IRValue, columns: int, edge: bool,
        mask: Any, sums: Numbers,
    ) -> list[IRValue]:  # fmt: skip
        """What some neighbouring places give."""
        k, g = self.k, self.geometry
        slopes = [
            k.load(k.address(y, self.dtype, k.affine(i * self.y_steps[3], (column, self.y_steps[3]))),
                   self.dtype, self.lanes, mask)
            for i in range(columns)
        ]  # fmt: skip
        found: list[Any] = list(sums)
        for number, line in enumerate(lines):
            seen: dict[tuple[int, int], IRValue] = {}
            for i, tap, member in itertools.product(range(columns), range(g.taps[2]), range(g.channels)):
                offset = i * g.stride[2] + tap * g.dilation[2]
                if (offset, member) not in seen:
                    seen[offset, member] = self.images.load(line, column, offset, mask, edge, member)
                which = (number * g.taps[2] + tap) * g.channels + member
                found[which] = tile.multiply_add(k, seen[offset, member], slopes[i], found[which])
        return found
