"""What a block of a convolution sees of the input, in a small buffer: channels last, zeros around it."""

from __future__ import annotations

from collections.abc import Sequence

from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.convolution_blocks import Geometry, three
from lampion.compiler.codegen.pack import copy
from lampion.compiler.kernel_ir import Window
from lampion.dtype import DType


class Buffer:
    """Memory for [image][plane][row][column][channel].

    Args:
        x: the input, (N, *sizes, C).
        channels: how many of them are in the buffer at one time.
        seen: planes, rows and columns that there is room for.
    """

    def __init__(
        self, k: KernelBuilder, memory: IRValue, dtype: DType, geometry: Geometry, x: Window, channels: int,
        seen: Sequence[int],
    ) -> None:  # fmt: skip
        self.k, self.memory, self.dtype, self.geometry, self.x = k, memory, dtype, geometry, x
        self.channels = channels
        self.lanes = k.target.lanes(dtype)
        self.row = seen[2] * channels
        self.plane = seen[1] * self.row
        self.image = seen[0] * self.plane
        by_image, *steps, by_channel = x.strides
        self.steps = (by_image, *three(steps, 0), by_channel)

    def at(self, offset: IRValue | int) -> IRValue:
        return self.k.address(self.memory, self.dtype, offset)

    def first_seen(self, place: Sequence[IRValue], tap: Sequence[IRValue | int] = (0, 0, 0)) -> list[IRValue]:
        """The place of the input (perhaps outside of it) that a tap sees from a place of the output."""
        k, g = self.k, self.geometry
        axes = zip(place, tap, g.stride, g.dilation, g.padding, strict=True)
        return [k.affine(-p, (at, s), (r, d)) for at, r, s, d, p in axes]

    def fill(
        self, images: tuple[IRValue, IRValue | int], channel: IRValue, first: Sequence[IRValue],
        seen: Sequence[int], row_step: int = 1,
    ) -> None:  # fmt: skip
        """Copy what a block sees.

        Args:
            images: the first, and how many.
            channel: the first.
            first: plane, row and column of the input.
            seen: how many planes (a dilation apart), rows (a step apart) and columns.
        """
        k, g = self.k, self.geometry
        with k.loop(0, images[1]) as image, k.loop(0, seen[0]) as plane, k.loop(0, seen[1]) as row:
            z = k.affine(0, (first[0], 1), (plane.index, g.dilation[0]))
            y = k.affine(0, (first[1], 1), (row.index, row_step))
            to = k.affine(0, (image.index, self.image), (plane.index, self.plane), (row.index, self.row))
            inside = k.ir.and_(self._inside(z, g.inputs[0]), self._inside(y, g.inputs[1]))
            # From where to where there is input, counted in columns of the buffer.
            low = k.smaller(k.larger(k.affine(0, (first[2], -1)), 0), seen[2])
            high = k.larger(k.smaller(k.affine(g.inputs[2], (first[2], -1)), seen[2]), low)
            low, high = (k.ir.select(inside, x, k.i64(0)) for x in (k.i64(low), k.i64(high)))
            self._zeros(to, 0, low)
            self._zeros(to, high, seen[2])
            number = k.affine(0, (images[0], 1), (image.index, 1))
            places = zip((number, z, y, first[2], channel), self.steps, strict=True)
            self._copy(k.affine(self.x.offset, *places), to, low, high)

    def _inside(self, at: IRValue, size: int) -> IRValue:
        return self.k.ir.icmp_unsigned("<", at, self.k.i64(size))

    def _zeros(self, to: IRValue, first: IRValue | int, last: IRValue | int) -> None:
        """Columns [first, last) of a row."""
        k, lanes = self.k, self.lanes
        start, stop = (k.affine(0, (to, 1), (x, self.channels)) for x in (first, last))
        whole = k.affine(0, (start, 1), (k.ir.and_(k.affine(0, (stop, 1), (start, -1)), k.i64(-lanes)), 1))
        with k.loop(start, whole, lanes) as loop:
            k.store(k.constant(self.dtype, 0, lanes), self.at(loop.index), self.dtype)
        with k.loop(whole, stop) as loop:
            k.store(k.constant(self.dtype, 0), self.at(loop.index), self.dtype)

    def _copy(self, source: IRValue, to: IRValue, first: IRValue, last: IRValue) -> None:
        """Columns [first, last) of a row."""
        k, operand = self.k, self.x.operand
        along, across = self.steps[3:]
        if across == 1 or self.channels == 1:
            with k.loop(first, last) as loop:
                start = k.at(operand, k.affine(0, (source, 1), (loop.index, along)))
                self._adjacent(start, self.at(k.affine(0, (to, 1), (loop.index, self.channels))))
            return
        with k.loop(0, self.channels) as channel, k.loop(first, last) as loop:
            at = k.affine(0, (source, 1), (loop.index, along), (channel.index, across))
            value = k.load(k.at(operand, at), self.dtype)
            place = k.affine(0, (to, 1), (loop.index, self.channels), (channel.index, 1))
            k.store(value, self.at(place), self.dtype)

    def _adjacent(self, source: IRValue, target: IRValue) -> None:
        """The channels of one place, some registers at a time."""
        k, dtype, channels = self.k, self.dtype, self.channels
        step = 4 * self.lanes
        whole = channels // step * step
        if whole:
            with k.loop(0, whole, step) as loop:
                from_, to = (k.address(x, dtype, loop.index) for x in (source, target))
                copy(k, from_, to, dtype, step, self.lanes)
        if channels > whole:
            from_, to = (k.address(x, dtype, whole) for x in (source, target))
            copy(k, from_, to, dtype, channels - whole, self.lanes)
