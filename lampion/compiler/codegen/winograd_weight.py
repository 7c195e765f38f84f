"""Emits `ConvolutionWeight` for filters of 3x3, by Winograd's F(3x3, 2x2) (see `winograd.py`).

The gradient of a filter is a sum over tiles: 2x2 slopes, and the 4x4 places of the input that they saw. Both
are transformed to 16 numbers; the products of those are summed over all tiles; and only the sums are
transformed, to the nine taps. So a tile takes 16 multiplications, not 36.

    inputs[p][tile, channel] = x, transformed        p: one of the 16 numbers
    slopes[p][tile, output] = y, transformed
    sums[p][channel, output] += inputs[p].T @ slopes[p]

A chunk is a block of images, one of channels and one of outputs. Some of its tiles at a time, so few that
caches hold them, are transformed and multiplied. What they give is summed from zero in registers, and then
added to the sums in memory: many short sums lose fewer digits than a long one. All that is on the stack:
less than a megabyte.

Where numbers are not finite, a transform would spread them, and inf - inf is NaN: so the taps of a channel
and some outputs among which anything is not finite are summed again as direct convolution has them.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

from lampion.compiler.codegen import tile
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.convolution_blocks import Geometry, even_runs
from lampion.compiler.codegen.pack import Matrix, load_row, store_row
from lampion.compiler.codegen.winograd import (
    PRODUCTS,
    SIDE,
    Algebra,
    Along,
    Numbers,
    both,
    mended,
    tiles,
)
from lampion.compiler.codegen.winograd_patches import Patches, Read
from lampion.compiler.kernel_ir import ConvolutionWeight
from lampion.dtype import float32 as F

_TILES = 24  # that are transformed and summed at one time, at most (no more than winograd.DEPTH)
_CHANNELS = 64  # of a chunk, at most
_OUTPUTS = 128  # of a chunk, at most
_CHUNK = 64  # tiles that a chunk is worth


class Blocks:
    """How the work is cut, from the shape alone."""

    def __init__(self, g: Geometry, image_blocks: int) -> None:
        _, self.rows, self.columns = tiles(g)  # of an image
        # Lines of tiles are what is worked on: rows of an image, or parts of rows that are long.
        self.parts = -(-self.columns // _TILES)  # of a row
        self.line = -(-self.columns // self.parts)  # tiles
        self.lines = _TILES // self.line if self.parts == 1 else 1  # at one time
        self.channels, self.outputs = _divisor(g.channels, _CHANNELS), _divisor(g.outputs, _OUTPUTS)
        self.counts = image_blocks, g.channels // self.channels, g.outputs // self.outputs
        self.chunks = math.prod(self.counts)


def _divisor(count: int, most: int) -> int:
    """How many channels or outputs, of so many, are taken at one time."""
    return max(n for n in range(16, most + 1, 16) if count % n == 0)


def image_blocks(g: Geometry, wanted: int) -> int:
    """In how many blocks the images are to be cut, so that there are chunks enough for threads to share."""
    return max(1, min(g.images, -(-wanted // Blocks(g, 1).chunks), math.prod(tiles(g)) // _CHUNK))


class _Matrices:
    """As many matrices in memory as a transformed tile has numbers.

    With a register more between them than they need: or all would begin in the same set of a cache.
    """

    def __init__(self, k: KernelBuilder, rows: int, columns: int) -> None:
        self.k, self.columns, self.lanes = k, columns, k.target.lanes(F)
        self.pitch = rows * columns + self.lanes
        self.memory = k.room(F, PRODUCTS * self.pitch)

    def clear(self) -> None:
        k = self.k
        with k.loop(0, PRODUCTS * self.pitch, self.lanes) as loop:
            k.store(k.constant(F, 0, self.lanes), k.address(self.memory, F, loop.index), F)

    def one(self, number: IRValue, column: IRValue | int = 0) -> Matrix:
        """The matrix of that number, from a column on."""
        start = self.k.affine(0, (number, self.pitch), (column, 1))
        return Matrix(self.k.address(self.memory, F, start), F, self.columns, 1)

    def put(self, grid: Sequence[Numbers], row: IRValue, column: IRValue) -> None:
        """Write each of the numbers into its matrix."""
        for value, place in zip(itertools.chain(*grid), self._places(row, column), strict=True):
            self.k.store(value, place, F)

    def get(self, row: IRValue, column: IRValue) -> list[list[IRValue]]:
        """Read one number of each matrix."""
        found = [self.k.load(place, F, self.lanes) for place in self._places(row, column)]
        return [found[n : n + SIDE] for n in range(0, PRODUCTS, SIDE)]

    def _places(self, row: IRValue, column: IRValue) -> list[IRValue]:
        k, at = self.k, ((row, self.columns), (column, 1))
        return [k.address(self.memory, F, k.affine(n * self.pitch, *at)) for n in range(PRODUCTS)]


class Filters:
    """The code of a `ConvolutionWeight`."""

    def __init__(self, k: KernelBuilder, kernel: ConvolutionWeight, g: Geometry) -> None:
        self.k, self.kernel, self.geometry = k, kernel, g
        self.lanes, self.algebra = k.target.lanes(F), Algebra(k, F)
        self.blocks = b = Blocks(g, kernel.shape[0])
        count, padding = (b.rows, b.columns), (g.padding[1], g.padding[2])
        self.x = Patches(k, kernel.x, F, SIDE, 2, padding, count, b.channels)
        self.y = Patches(k, kernel.y, F, 2, 2, (0, 0), count, b.outputs)
        self.inputs = _Matrices(k, b.lines * b.line, b.channels)
        self.slopes = _Matrices(k, b.lines * b.line, b.outputs)
        self.sums = _Matrices(k, b.channels, b.outputs)
        # What the taps see from each place of the output.
        self.seen = Patches(k, kernel.x, F, 3, 1, padding, (g.sizes[1], g.sizes[2]), 1)

    def emit(self) -> None:
        k, b, g = self.k, self.blocks, self.geometry
        with k.loop(k.lo, k.hi) as chunk:
            block, channels, outputs = k.unravel(chunk.index, b.counts)
            channel, output = k.affine(0, (channels, b.channels)), k.affine(0, (outputs, b.outputs))
            first = k.affine(0, (block, self.kernel.images))
            last = k.smaller(k.affine(self.kernel.images, (first, 1)), g.images)
            start, end = (k.affine(0, (image, b.rows * b.parts)) for image in (first, last))
            self.sums.clear()
            with k.loop(start, end, b.lines) as loop:
                lines = loop.index, k.smaller(k.affine(b.lines, (loop.index, 1)), end)
                self._transform(self.x, lines, channel, self.algebra.before, self.inputs)
                self._transform(self.y, lines, output, self.algebra.slopes, self.slopes)
                self._multiply(self._count(lines))
            self._finish(block, (first, last), channel, output)

    def _line(self, number: IRValue) -> tuple[IRValue, IRValue, IRValue | int, IRValue | int]:
        """Of a line: its image, the row, and columns from where to where, all but the first in tiles."""
        k, b = self.k, self.blocks
        image, row, part = k.unravel(number, (self.geometry.images, b.rows, b.parts))
        if b.parts == 1:
            return image, row, 0, b.columns
        first = k.affine(0, (part, b.line))
        return image, row, first, k.smaller(k.affine(b.line, (first, 1)), b.columns)

    def _count(self, lines: tuple[IRValue, IRValue]) -> IRValue:
        """How many tiles these lines are."""
        k, b = self.k, self.blocks
        if b.parts == 1:
            return k.affine(0, (lines[1], b.line), (lines[0], -b.line))
        *_, first, last = self._line(lines[0])
        return k.affine(0, (last, 1), (first, -1))

    def _transform(
        self, patches: Patches, lines: tuple[IRValue, IRValue], channel: IRValue, step: Along, to: _Matrices
    ) -> None:
        """The tiles of these lines, and of as many channels (or outputs) as there is room for."""
        k = self.k
        with k.loop(*lines) as line:
            image, row, first, last = self._line(line.index)
            start = k.affine(0, (line.index, self.blocks.line), (lines[0], -self.blocks.line), (first, -1))

            def put(column: IRValue, read: Read, _: Numbers) -> Numbers:
                patches.fetch(image, row, column, channel, to.columns)
                with k.loop(0, to.columns, self.lanes) as c:
                    grid = both(step, read(c.index, self.lanes))
                    to.put(grid, k.affine(0, (start, 1), (column, 1)), c.index)
                return ()

            patches.along(image, row, (first, last), channel, put)

    def _multiply(self, count: IRValue) -> None:
        """Add what so many tiles give to the sums."""
        k, outputs = self.k, self.blocks.outputs
        most, vectors = tile.shape(k.target)
        width = vectors * self.lanes
        whole = outputs // width * width
        with k.loop(0, PRODUCTS) as number:
            with k.loop(0, whole, width) as output:
                self._panel(number.index, count, output.index, most, width)
            if outputs > whole:
                self._panel(number.index, count, whole, 2 * most, outputs - whole)

    def _panel(self, number: IRValue, count: IRValue, output: IRValue | int, most: int, width: int) -> None:
        """Some outputs with all channels; at most so many of those at one time."""
        k, vectors = self.k, width // self.lanes
        inputs = self.inputs.one(number)
        slopes, sums = self.slopes.one(number, output), self.sums.one(number, output)
        for height, (low, high) in even_runs(self.blocks.channels, most):
            with k.loop(low, high, height) as loop:
                rows = Matrix(inputs.at(k, 0, loop.index), F, 1, inputs.row)  # a row is a channel
                products = tile.multiply(k, rows, slopes, count, height, width)
                for i in range(height):
                    place = sums.at(k, k.affine(i, (loop.index, 1)), 0)
                    before = load_row(k, place, F, width, self.lanes)
                    own = products[i * vectors : (i + 1) * vectors]
                    after = [k.ir.fadd(x, y) for x, y in zip(before, own, strict=True)]
                    store_row(k, after, place, F, width)

    def _finish(
        self, block: IRValue, images: tuple[IRValue, IRValue | int], channel: IRValue, output: IRValue
    ) -> None:
        """Transform the sums."""
        k, out = self.k, self.kernel.out
        by_block, by_row, by_tap, by_channel, _ = out.strides
        steps = [row * by_row + tap * by_tap for row in range(3) for tap in range(3)]
        with k.loop(0, self.blocks.channels) as i, k.loop(0, self.blocks.outputs, self.lanes) as j:
            grid = both(self.algebra.gathered, self.sums.get(i.index, j.index))
            c, o = k.affine(0, (channel, 1), (i.index, 1)), k.affine(0, (output, 1), (j.index, 1))
            taps = mended(k, F, [*itertools.chain(*grid)], functools.partial(self._directly, images, c, o))
            at = k.affine(out.offset, (block, by_block), (c, by_channel), (o, 1))
            for tap, step in zip(taps, steps, strict=True):
                k.store(tap, k.at(out.operand, k.affine(step, (at, 1))), F)

    def _directly(self, images: tuple[IRValue, IRValue | int], c: IRValue, o: IRValue) -> Numbers:
        """The nine taps of a channel and some outputs, place by place."""
        k, g, y = self.k, self.geometry, self.kernel.y
        by_image, by_row, by_column, _ = y.strides
        first, last = (k.affine(0, (image, g.sizes[1])) for image in images)
        with k.loop(first, last, carried=[k.constant(F, 0, self.lanes)] * 9) as line:
            image, row = k.unravel(line.index, (g.images, g.sizes[1]))
            start = k.affine(y.offset, (image, by_image), (row, by_row), (o, 1))

            def add(column: IRValue, read: Read, sums: Numbers) -> Numbers:
                slope = k.load(k.at(y.operand, k.affine(start, (column, by_column))), F, self.lanes)
                seen = [k.splat(value, self.lanes) for value in itertools.chain(*read(0, 1))]
                return [tile.multiply_add(k, x, slope, total) for x, total in zip(seen, sums, strict=True)]

            line.carry(*self.seen.along(image, row, (0, g.sizes[2]), c, add, line.values))
        return line.results
