"""Emits `Convolution`: direct, with output channels in the lanes of registers.

A chunk is a block of rows of one image's output. The part of the input that it sees is copied into a small
buffer, with the zeros around it, channels last: so the loops below know no edges, any layout of x will do, and
what they read stays in cache. Then, for a few places of a row and a register tile's width of output channels,
each tap and each channel adds a product, as in a matrix product whose rows are places:

    for each tap in front (of planes and rows):
        sums += buffer[places, taps along the row and channels] @ w[those, output channels]

The taps along a row and their channels lie one behind the other in the buffer, as in w: one loop does both.
Where channels have filters of their own (depthwise), `depthwise.py` has channels in the lanes instead.

The buffer is on the stack: less than 256 KB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.ir as ir

from lampion.compiler.codegen import tile
from lampion.compiler.codegen.builder import POINTER, IRValue, KernelBuilder, element
from lampion.compiler.codegen.pack import Matrix, copy
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Convolution

_BUFFER = 160 << 10  # bytes of the input's part that a block sees
_ROWS = 8  # of the output in a block, at most
_WORK = 1 << 17  # multiplications that a chunk is worth


class Blocks:
    """How the output is cut: into blocks of `rows` by `columns` places of the last two dimensions.

    All is made three-dimensional first: planes, rows and columns.
    """

    def __init__(self, kernel: Convolution) -> None:
        extra = 3 - len(kernel.sizes)

        def three(values: Sequence[int], nothing: int) -> tuple[int, ...]:
            return (*(nothing,) * extra, *values)

        self.kernel = kernel
        self.sizes, self.taps = three(kernel.sizes, 1), three(kernel.taps, 1)
        self.stride, self.dilation = three(kernel.stride, 1), three(kernel.dilation, 1)
        self.padding, self.inputs = three(kernel.padding, 0), three(kernel.x.shape[1:-1], 1)
        self.channels, self.outputs = kernel.x.shape[-1], kernel.w.shape[-1]
        x = kernel.x.strides
        self.x_strides = (x[0], *three(x[1:-1], 0), x[-1])
        self.columns = self._fitting_columns()
        self.rows = self._fitting_rows()
        self.across = -(-self.sizes[2] // self.columns)
        self.down = -(-self.sizes[1] // self.rows)
        self.items = kernel.x.shape[0] * self.sizes[0] * self.down * self.across

    def seen(self, rows: int, columns: int) -> tuple[int, int, int]:
        """What of the input a block sees: planes, rows, columns. (Planes only where taps are.)"""
        (planes, down, along), (_, d1, d2), (_, s1, s2) = self.taps, self.dilation, self.stride
        return planes, s1 * (rows - 1) + d1 * (down - 1) + 1, s2 * (columns - 1) + d2 * (along - 1) + 1

    def _fits(self, rows: int, columns: int) -> bool:
        size = self.kernel.dtype.itemsize * self.channels
        return math.prod(self.seen(rows, columns)) * size <= _BUFFER

    def _fitting_columns(self) -> int:
        columns = max(1, self.sizes[2])
        while columns > 8 and not self._fits(1, columns):
            columns = -(-columns // 2)
        return columns

    def _fitting_rows(self) -> int:
        """Few enough that the buffer stays small, that there is work for all threads, and none is left over."""
        rows = max(1, min(self.sizes[1], _ROWS))
        each = self.columns * self.outputs * math.prod(self.taps) * self.channels // self.kernel.groups
        while rows > 1 and (not self._fits(rows, self.columns) or rows * each > 16 * _WORK):
            rows -= 1
        blocks = -(-max(1, self.sizes[1]) // rows)
        return -(-max(1, self.sizes[1]) // blocks)

    @property
    def per_chunk(self) -> int:
        """Blocks in a chunk: several, if they are small."""
        work = self.rows * self.columns * self.outputs * math.prod(self.taps) * self.channels
        return max(1, min(self.items // 64, _WORK // max(1, work // self.kernel.groups)))


def chunks(kernel: Convolution, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    if 0 in kernel.shape:
        return 0
    blocks = Blocks(kernel)
    return -(-blocks.items // blocks.per_chunk)


def emit(module: Any, name: str, kernel: Convolution, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if 0 not in kernel.shape:
        _Emission(k, kernel).emit()
    k.finish()


class _Emission:
    def __init__(self, k: KernelBuilder, kernel: Convolution) -> None:
        self.k, self.kernel, self.dtype = k, kernel, kernel.dtype
        self.blocks = Blocks(kernel)
        self.lanes = k.target.lanes(kernel.dtype)
        most, vectors = tile.shape(k.target)
        per_group = kernel.w.shape[-1] // kernel.groups
        self.width = min(vectors, -(-per_group // self.lanes)) * self.lanes
        self.most = most if self.width > self.lanes or k.target.registers < 32 else 2 * most
        self.epilogue = tile.Epilogue(k, kernel.epilogue, kernel.stores, kernel.dtype)

    def emit(self) -> None:
        k, blocks = self.k, self.blocks
        planes, rows, columns = blocks.seen(blocks.rows, blocks.columns)
        self.row_size = columns * blocks.channels
        self.plane_size = rows * self.row_size
        self.buffer = self._stack(planes * self.plane_size)
        self.finished = self._stack(self.most * self.width)
        first = k.affine(0, (k.lo, blocks.per_chunk))
        last = k.smaller(k.affine(0, (k.hi, blocks.per_chunk)), blocks.items)
        shape = (self.kernel.x.shape[0], blocks.sizes[0], blocks.down, blocks.across)
        with k.loop(first, last) as loop:
            image, plane, down, across = k.unravel(loop.index, shape)
            row = k.affine(0, (down, blocks.rows))
            self._each_height(row, blocks.sizes[1], blocks.rows, lambda rows: self._each_height(
                k.affine(0, (across, blocks.columns)), blocks.sizes[2], blocks.columns,
                lambda columns: self._block(image, plane, row, k.affine(0, (across, blocks.columns)), rows, columns),
            ))  # fmt: skip

    def _stack(self, elements: int) -> IRValue:
        buffer = self.k.ir.alloca(ir.ArrayType(element(self.dtype), max(1, elements)))
        buffer.align = 64
        buffer.type = POINTER  # llvmlite would keep the type of what it points to
        return buffer

    def _each_height(self, start: IRValue, size: int, most: int, body: Callable[[int], None]) -> None:
        """body(n) for a block from `start` on: all but the last have `most`, known when the code is emitted."""
        k, rest = self.k, size % most
        if not rest or size < most:
            body(min(size, most))
            return
        with k.ir.if_else(k.ir.icmp_signed("<", start, k.i64(size - rest))) as (whole, tail):
            with whole:
                body(most)
            with tail:
                body(rest)

    def _block(
        self, image: IRValue, plane: IRValue, row: IRValue, column: IRValue, rows: int, columns: int
    ) -> None:
        self._fill(image, (plane, row, column), rows, columns)
        groups, per_group = self.kernel.groups, self.blocks.outputs // self.kernel.groups
        with self.k.loop(0, groups) as group:
            first = self.k.affine(0, (group.index, per_group))
            self._columns(per_group, lambda output, width: self._places(
                (image, plane, row, column), rows, columns, group.index,
                self.k.affine(0, (first, 1), (output, 1)), width,
            ))  # fmt: skip

    def _columns(self, count: int, body: Callable[[IRValue | int, int], None]) -> None:
        whole = count // self.width * self.width
        if whole:
            with self.k.loop(0, whole, self.width) as loop:
                body(loop.index, self.width)
        if count > whole:
            body(whole, count - whole)

    # -- the input ----------------------------------------------------------------------------------------

    def _fill(self, image: IRValue, start: Sequence[IRValue], rows: int, columns: int) -> None:
        """Copy what a block sees into the buffer, with zeros where there is no input."""
        k, blocks = self.k, self.blocks
        seen = blocks.seen(rows, columns)
        first = [
            k.affine(-p, (at, s)) for at, s, p in zip(start, blocks.stride, blocks.padding, strict=True)
        ]
        with k.loop(0, seen[0]) as plane, k.loop(0, seen[1]) as row:
            z = k.affine(0, (first[0], 1), (plane.index, blocks.dilation[0]))
            y = k.affine(0, (first[1], 1), (row.index, 1))
            to = k.affine(0, (plane.index, self.plane_size), (row.index, self.row_size))
            inside = k.ir.and_(self._inside(z, blocks.inputs[0]), self._inside(y, blocks.inputs[1]))
            # From where to where there is input, counted in columns of the buffer.
            size = blocks.inputs[2]
            low = k.smaller(k.larger(k.affine(0, (first[2], -1)), 0), seen[2])
            high = k.larger(k.smaller(k.affine(size, (first[2], -1)), seen[2]), low)
            low, high = (k.ir.select(inside, x, k.i64(0)) for x in (low, high))
            self._zeros(to, 0, low)
            self._zeros(to, high, seen[2])
            source = k.affine(
                self.kernel.x.offset, (image, blocks.x_strides[0]), (z, blocks.x_strides[1]),
                (y, blocks.x_strides[2]), (first[2], blocks.x_strides[3]),
            )  # fmt: skip
            self._copy(source, to, low, high)

    def _inside(self, at: IRValue, size: int) -> IRValue:
        return self.k.ir.icmp_unsigned("<", at, self.k.i64(size))

    def _zeros(self, to: IRValue, first: IRValue | int, last: IRValue | int) -> None:
        k, channels = self.k, self.blocks.channels
        zero = k.constant(self.dtype, 0)
        with k.loop(k.affine(0, (first, channels)), k.affine(0, (last, channels))) as loop:
            k.store(zero, k.address(self.buffer, self.dtype, k.affine(0, (to, 1), (loop.index, 1))), self.dtype)

    def _copy(self, source: IRValue, to: IRValue, first: IRValue, last: IRValue) -> None:
        """Columns [first, last) of a row."""
        k, blocks, x = self.k, self.blocks, self.kernel.x
        along, across = blocks.x_strides[3], blocks.x_strides[4]
        if across == 1 or blocks.channels == 1:
            with k.loop(first, last) as loop:
                start = k.at(x.operand, k.affine(0, (source, 1), (loop.index, along)))
                target = k.address(
                    self.buffer, self.dtype, k.affine(0, (to, 1), (loop.index, blocks.channels))
                )
                self._channels(start, target)
            return
        with k.loop(0, blocks.channels) as channel, k.loop(first, last) as loop:
            at = k.affine(0, (source, 1), (loop.index, along), (channel.index, across))
            value = k.load(k.at(x.operand, at), self.dtype)
            place = k.affine(0, (to, 1), (loop.index, blocks.channels), (channel.index, 1))
            k.store(value, k.address(self.buffer, self.dtype, place), self.dtype)

    def _channels(self, source: IRValue, target: IRValue) -> None:
        """Adjacent channels of one place, some registers at a time."""
        k, channels = self.k, self.blocks.channels
        step = 4 * self.lanes
        whole = channels // step * step
        if whole:
            with k.loop(0, whole, step) as loop:
                copy(
                    k, k.address(source, self.dtype, loop.index), k.address(target, self.dtype, loop.index),
                    self.dtype, step, self.lanes,
                )  # fmt: skip
        if channels > whole:
            copy(
                k, k.address(source, self.dtype, whole), k.address(target, self.dtype, whole), self.dtype,
                channels - whole, self.lanes,
            )  # fmt: skip

    # -- the products -------------------------------------------------------------------------------------

    def _places(
        self, start: Sequence[IRValue], rows: int, columns: int, group: IRValue, output: IRValue, width: int
    ) -> None:
        """All places of a block, for some output channels, a register tile after the other."""
        k = self.k
        heights = _heights(columns, self.most)
        with k.loop(0, rows) as row:
            at = 0
            for height, count in heights:
                with k.loop(at, at + height * count, height) as loop:
                    self._tile(start, row.index, loop.index, height, group, output, width)
                at += height * count

    def _tile(
        self, start: Sequence[IRValue], row: IRValue, column: IRValue, height: int, group: IRValue,
        output: IRValue, width: int,
    ) -> None:  # fmt: skip
        k, blocks, kernel = self.k, self.blocks, self.kernel
        zeros = [k.constant(self.dtype, 0, self.lanes)] * (height * -(-width // self.lanes))
        per_group = blocks.channels // kernel.groups
        along = blocks.taps[2]
        # Taps along the row and channels are one run, unless something lies between them.
        runs = 1 if along == 1 or (blocks.dilation[2] == 1 and kernel.groups == 1) else along
        depth = along // runs * per_group
        origin = k.affine(
            0, (row, blocks.stride[1] * self.row_size), (column, blocks.stride[2] * blocks.channels),
            (group, per_group),
        )  # fmt: skip
        count = blocks.taps[0] * blocks.taps[1] * runs
        with k.loop(0, count, carried=zeros) as loop:
            plane, down, step = k.unravel(loop.index, (blocks.taps[0], blocks.taps[1], runs))
            a = Matrix(
                k.address(self.buffer, self.dtype, k.affine(
                    0, (origin, 1), (plane, self.plane_size), (down, blocks.dilation[1] * self.row_size),
                    (step, blocks.dilation[2] * blocks.channels),
                )), self.dtype, blocks.stride[2] * blocks.channels, 1,
            )  # fmt: skip
            w = k.affine(kernel.w.offset, (loop.index, depth * blocks.outputs), (output, 1))
            panel = Matrix(k.at(kernel.w.operand, w), self.dtype, blocks.outputs, 1)
            loop.carry(*tile.multiply(k, a, panel, depth, height, width, onto=loop.values))
        image, plane, first_row, first_column = start
        over = (plane, k.affine(0, (first_row, 1), (row, 1)))
        batch = [image, *over[3 - len(kernel.sizes) :]]
        self._finish(loop.results, batch, k.affine(0, (first_column, 1), (column, 1)), output, height, width)

    def _finish(
        self, sums: Sequence[IRValue], batch: Sequence[IRValue], column: IRValue, output: IRValue, height: int,
        width: int,
    ) -> None:  # fmt: skip
        if self.epilogue.in_registers(width):
            self.epilogue.from_registers(sums, batch, column, output, width)
            return
        k, vectors = self.k, -(-width // self.lanes)
        tile_ = Matrix(self.finished, self.dtype, vectors * self.lanes, 1)
        for number, value in enumerate(sums):
            row, vector = divmod(number, vectors)
            k.store(value, tile_.at(k, row, vector * self.lanes), self.dtype)
        self.epilogue.from_memory(tile_, batch, column, output, height, width)


def _heights(count: int, most: int) -> list[tuple[int, int]]:
    """`count` places as (height, how many) tiles of at most `most`, as equal as can be."""
    tiles = -(-count // most)
    height, tall = divmod(count, tiles)
    return [(h, n) for h, n in ((height + 1, tall), (height, tiles - tall)) if n]
