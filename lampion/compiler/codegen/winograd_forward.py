"""Emits a `Convolution` whose filters have been `transformed`: Winograd's F(2x2, 3x3), see `winograd.py`.

The tiles of all images, in order, are cut into blocks. All that is on the way stays in the caches:

    v[p][tile][channel] = before(the 4x4 places of x under the tile)         16 products p
    for each panel of outputs:
        m[p][tile][output] = v[p] @ transformed[p]
        y[2x2 places of the tile][output] = epilogue(after(m))

Images are read where they lie. Sums are of `winograd.DEPTH` channels at a time, in order, whatever the number
of threads. Results that are not finite are computed again, directly, before anything is stored.

The buffers are on the stack: about 600 KB.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lampion.compiler.codegen import tile, winograd
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.convolution_blocks import PANEL, Geometry, even_runs
from lampion.compiler.codegen.pack import Matrix, load_row, store_row
from lampion.compiler.codegen.winograd_patches import Patches, Read
from lampion.compiler.kernel_ir import Convolution, Window

_TILES = 32  # of a block, at most
_BEFORE = 512 << 10  # bytes of a block's v
_FEW = 32  # channels, of which v and m can stay in the first-level cache:
_SUMS = 256  # then this is how many numbers a product of a block has, of a panel
_CHUNKS = 16  # there should be so many, for threads to share
_WORK = 1 << 17  # multiplications that a chunk is worth
_AHEAD = 64  # channels further on, whose filters are fetched from memory or from caches further away
_APART = 16  # elements between products, beside their own: else all would be in the same set of a cache


_Place = tuple[IRValue, IRValue, IRValue]  # image, row, column


class Blocks:
    """How the work is cut, from the shape alone."""

    def __init__(self, g: Geometry) -> None:
        images, rows, columns = winograd.tiles(g)
        self.all = images * rows * columns
        self.tiles = self._tiles(g, columns)
        blocks, panels = -(-self.all // self.tiles), -(-g.outputs // PANEL)
        # Of few blocks, each is shared: what comes before the products is then done several times.
        parts = min(panels, -(-_CHUNKS // blocks))
        self.outputs = -(-panels // parts) * PANEL
        self.counts = (blocks, -(-g.outputs // self.outputs))
        self.items = math.prod(self.counts)
        work = self.tiles * winograd.PRODUCTS * g.channels * min(self.outputs, g.outputs)
        self.per_chunk = max(1, min(self.items // (4 * _CHUNKS), _WORK // work))
        self.chunks = -(-self.items // self.per_chunk)

    def _tiles(self, g: Geometry, columns: int) -> int:
        """As many as fit: whole rows of tiles, or equal parts of a row."""
        most = min(_TILES, _BEFORE // (winograd.PRODUCTS * g.channels * g.itemsize))
        if g.channels <= _FEW:
            most = _SUMS // min(g.outputs, PANEL)
        return most // columns * columns if columns <= most else -(-columns // -(-columns // most))


@dataclass
class _Row:
    """What a block has of a row of tiles: columns [low, high)."""

    image: IRValue
    row: IRValue
    low: IRValue | int
    high: IRValue | int
    first: IRValue  # the number in the block that column 0 would have


class Forward:
    """The code of a `Convolution`."""

    def __init__(self, k: KernelBuilder, kernel: Convolution, g: Geometry) -> None:
        assert kernel.transformed is not None
        self.k, self.kernel, self.geometry, self.dtype = k, kernel, g, kernel.dtype
        self.filters = kernel.transformed
        self.blocks = Blocks(g)
        self.steps = winograd.Algebra(k, self.dtype)
        self.lanes = k.target.lanes(self.dtype)
        most, vectors = tile.shape(k.target)
        self.width = min(vectors, g.outputs // self.lanes) * self.lanes
        self.most = most if self.width > self.lanes or k.target.registers < 32 else 2 * most
        self.depth = max(n for n in range(1, winograd.DEPTH + 1) if g.channels % n == 0)
        self.epilogue = tile.Epilogue(k, kernel.epilogue, kernel.stores, self.dtype)

    def emit(self) -> None:
        k, blocks = self.k, self.blocks
        self._rooms()
        first = k.affine(0, (k.lo, blocks.per_chunk))
        last = k.smaller(k.affine(0, (k.hi, blocks.per_chunk)), blocks.items)
        with k.loop(first, last) as loop:
            block, part = k.unravel(loop.index, blocks.counts)
            self.start = k.affine(0, (block, blocks.tiles))
            output = k.affine(0, (part, blocks.outputs))
            rest = blocks.all % blocks.tiles
            if rest:
                whole = k.ir.icmp_signed("<", block, k.i64(blocks.counts[0] - 1))
                with k.ir.if_else(whole) as (others, tail):
                    with others:
                        self._block(blocks.tiles, output)
                    with tail:
                        self._block(rest, output)
            else:
                self._block(blocks.tiles, output)

    def _rooms(self) -> None:
        """Memory on the stack."""
        k, channels, tiles = self.k, self.geometry.channels, self.blocks.tiles
        self.by_v = tiles * channels + _APART  # from product to product
        self.by_m = tiles * self.width + _APART
        self.v = k.room(self.dtype, winograd.PRODUCTS * self.by_v)
        self.m = k.room(self.dtype, winograd.PRODUCTS * self.by_m)
        self.finished = k.room(self.dtype, 2 * self.width)
        _, above, left = self.geometry.padding
        self.images = Patches(
            k, self.kernel.x, self.dtype, winograd.SIDE, 2, (above, left),
            winograd.tiles(self.geometry)[1:], channels,
        )  # fmt: skip

    def _at(self, base: IRValue, offset: IRValue | int) -> IRValue:
        return self.k.address(base, self.dtype, offset)

    def _block(self, tiles: int, output: IRValue) -> None:
        """So many tiles from `start`, and a part of the outputs."""
        self._before(tiles)
        for first, last, width in self._widths(output):
            with self.k.loop(first, last, width) as loop:
                self._products(tiles, loop.index, width)
                self._after(tiles, loop.index, width)

    def _widths(self, output: IRValue) -> Iterator[tuple[IRValue | int, IRValue | int, int]]:
        """(from, to, width): the outputs of a part, in tiles of registers that are as wide as can be."""
        k, size = self.k, self.geometry.outputs
        last = k.smaller(k.affine(self.blocks.outputs, (output, 1)), size)
        whole = size // self.width * self.width
        yield output, k.smaller(last, whole), self.width
        if whole < size:
            yield k.larger(output, whole), last, size - whole

    @contextlib.contextmanager
    def _rows(self, tiles: int) -> Iterator[_Row]:
        """For each row of tiles that the block has a part of."""
        k = self.k
        images, rows, columns = winograd.tiles(self.geometry)
        stop = k.affine(tiles, (self.start, 1))
        first = k.ir.udiv(self.start, k.i64(columns))
        last = k.ir.udiv(k.affine(columns - 1, (stop, 1)), k.i64(columns))
        with k.loop(first, last) as loop:
            image, row = k.unravel(loop.index, (images, rows))
            low = k.larger(k.affine(self.start, (loop.index, -columns)), 0)
            high = k.smaller(k.affine(stop, (loop.index, -columns)), columns)
            yield _Row(image, row, low, high, k.affine(0, (loop.index, columns), (self.start, -1)))

    # From x to v -------------------------------------------------------------------------------------

    def _before(self, tiles: int) -> None:
        """All channels of the tiles."""
        k, channels = self.k, self.geometry.channels

        def transform(column: IRValue, read: Read, _: Sequence[IRValue]) -> Sequence[IRValue]:
            self.images.fetch(row.image, row.row, column, 0, channels)  # what the next row will see
            to = k.affine(0, (row.first, channels), (column, channels))
            with k.loop(0, channels, self.lanes) as channel:
                values = winograd.both(self.steps.before, read(channel.index, self.lanes))
                for p, value in enumerate(itertools.chain(*values)):
                    at = k.affine(p * self.by_v, (to, 1), (channel.index, 1))
                    k.store(value, self._at(self.v, at), self.dtype)
            return []

        with self._rows(tiles) as row:
            self.images.along(row.image, row.row, (row.low, row.high), 0, transform)

    # From v to m -------------------------------------------------------------------------------------

    def _products(self, tiles: int, output: IRValue, width: int) -> None:
        """16 products, for `width` outputs."""
        k, channels = self.k, self.geometry.channels
        filters = self._panel(self.filters, output)
        with k.loop(0, winograd.PRODUCTS) as p:
            v = Matrix(self._at(self.v, k.affine(0, (p.index, self.by_v))), self.dtype, channels, 1)
            at = self._at(filters, k.affine(0, (p.index, channels * PANEL)))
            m = Matrix(self._at(self.m, k.affine(0, (p.index, self.by_m))), self.dtype, self.width, 1)
            for height, (low, high) in even_runs(tiles, self.most):
                with k.loop(low, high, height) as loop:
                    rows, to = v.part(k, loop.index, 0), m.part(k, loop.index, 0)
                    self._product(rows, Matrix(at, self.dtype, PANEL, 1), to, height, width)

    def _panel(self, filters: Window, output: IRValue) -> IRValue:
        """Where the filters (packed, or transformed) of this output and those beside it begin."""
        k = self.k
        panel = k.ir.udiv(output, k.i64(PANEL))
        within = k.affine(0, (output, 1), (panel, -PANEL))
        return k.at(filters.operand, k.affine(filters.offset, (panel, filters.strides[0]), (within, 1)))

    def _product(self, v: Matrix, filters: Matrix, m: Matrix, height: int, width: int) -> None:
        """m = v @ filters, for some tiles: sums of `depth` channels, added up in m."""
        k, depth, channels = self.k, self.depth, self.geometry.channels
        vectors = width // self.lanes
        rows = [m.at(k, i, 0) for i in range(height)]

        def put(sums: Sequence[IRValue]) -> None:
            for i, row in enumerate(rows):
                store_row(k, sums[i * vectors : (i + 1) * vectors], row, self.dtype, width)

        put(self._sums(v, filters, height, width))
        if depth < channels:
            with k.loop(depth, channels, depth) as loop:
                sums = self._sums(v.part(k, 0, loop.index), filters.part(k, loop.index, 0), height, width)
                before = [x for row in rows for x in load_row(k, row, self.dtype, width, self.lanes)]
                put([k.ir.fadd(x, y) for x, y in zip(before, sums, strict=True)])

    def _sums(self, v: Matrix, filters: Matrix, height: int, width: int) -> list[IRValue]:
        """Sums of `depth` channels; the filters of later ones are fetched meanwhile."""
        k = self.k

        def fetch(step: IRValue) -> None:
            k.prefetch(filters.at(k, k.affine(_AHEAD, (step, 1)), 0), width * self.dtype.itemsize)

        return tile.multiply(k, v, filters, self.depth, height, width, fetch)

    # From m to y -------------------------------------------------------------------------------------

    def _after(self, tiles: int, output: IRValue, width: int) -> None:
        """The epilogue of all tiles, for `width` outputs."""
        k, g = self.k, self.geometry
        whole, columns = g.sizes[2] // 2, -(-g.sizes[2] // 2)  # tiles, without and with one that is cut
        with self._rows(tiles) as row:
            with k.loop(row.low, k.smaller(row.high, whole)) as loop:
                self._tile_after(row, loop.index, output, 2, width)
            if whole < columns:
                with k.loop(k.larger(row.low, whole), row.high) as loop:
                    self._tile_after(row, loop.index, output, 1, width)

    def _tile_after(self, row: _Row, column: IRValue, output: IRValue, columns: int, width: int) -> None:
        """One tile, of which so many columns are places of the output."""
        k, vectors, height = self.k, width // self.lanes, self.geometry.sizes[1]
        number = k.affine(0, (row.first, 1), (column, 1))
        found = [self._places(number, v * self.lanes) for v in range(vectors)]
        place = (row.image, k.affine(0, (row.row, 2)), k.affine(0, (column, 2)))
        flat = [found[v][y][x] for y in range(2) for x in range(columns) for v in range(vectors)]
        flat = winograd.mended(k, self.dtype, flat, lambda: self._directly(place, output, columns, width))
        each = columns * vectors
        self._finish(flat[:each], place, output, width)
        below = (place[0], k.affine(1, (place[1], 1)), place[2])
        if height % 2 == 0:
            self._finish(flat[each:], below, output, width)
        else:
            with k.ir.if_then(k.ir.icmp_signed("<", below[1], k.i64(height))):
                self._finish(flat[each:], below, output, width)

    def _places(self, number: IRValue, start: int) -> list[list[IRValue]]:
        """2x2 places of a tile's output, for a register's width of outputs."""
        at = self._at(self.m, self.k.affine(start, (number, self.width)))
        m = [
            [
                self.k.load(self._at(at, (winograd.SIDE * y + x) * self.by_m), self.dtype, self.lanes)
                for x in range(winograd.SIDE)
            ]
            for y in range(winograd.SIDE)
        ]
        return winograd.both(self.steps.after, m)

    def _finish(self, sums: Sequence[IRValue], place: _Place, output: IRValue, width: int) -> None:
        """The epilogue of one or two neighbouring places."""
        image, row, column = place
        if self.epilogue.in_registers(width):
            self.epilogue.from_registers(sums, (image, row), column, output, width)
            return
        store_row(self.k, sums, self.finished, self.dtype, len(sums) * self.lanes)
        made = Matrix(self.finished, self.dtype, width, 1)
        count = len(sums) * self.lanes // width
        self.epilogue.from_memory(made, (image, row), column, output, count, width)

    def _directly(self, place: _Place, output: IRValue, columns: int, width: int) -> list[IRValue]:
        """The places of a tile of the output, product by product: for what is not finite."""
        k, g, vectors = self.k, self.geometry, width // self.lanes
        places = [(y, x) for y in range(2) for x in range(columns)]
        filters = self._panel(self.kernel.w, output)
        zeros = [k.constant(self.dtype, 0, self.lanes)] * (len(places) * vectors)
        with k.loop(0, 9, carried=zeros) as tap:
            y, x = k.unravel(tap.index, (3, 3))
            lines = [self._seen(place, (k.affine(i, (y, 1)), k.affine(j, (x, 1)))) for i, j in places]
            with k.loop(0, g.channels, carried=tap.values) as channel:
                number = k.affine(0, (tap.index, g.channels), (channel.index, 1))
                at = self._at(filters, k.affine(0, (number, PANEL)))
                parts = load_row(k, at, self.dtype, width, self.lanes)
                sums: list[IRValue] = []
                for line in lines:
                    value = k.splat(k.load(self._at(line, channel.index), self.dtype), self.lanes)
                    sums += [
                        tile.multiply_add(k, value, part, channel.values[len(sums) + v])
                        for v, part in enumerate(parts)
                    ]
                channel.carry(*sums)
            tap.carry(*channel.results)
        return tap.results

    def _seen(self, place: _Place, tap: tuple[IRValue, IRValue]) -> IRValue:
        """The channels of x that a tap sees from a place of the output."""
        k, g, (image, *start) = self.k, self.geometry, place
        row, column = (
            k.affine(-p, (at, 1), (r, 1)) for at, r, p in zip(start, tap, g.padding[1:], strict=True)
        )
        is_inside = k.ir.and_(
            k.ir.icmp_unsigned("<", row, k.i64(g.inputs[1])),
            k.ir.icmp_unsigned("<", column, k.i64(g.inputs[2])),
        )
        at = zip((image, row, column), self.kernel.x.strides[:3], strict=True)
        return k.ir.select(
            is_inside, k.at(self.kernel.x.operand, k.affine(self.kernel.x.offset, *at)), self.images.zeros
        )
