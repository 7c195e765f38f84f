"""Emits `Matmul` of two bfloat16 operands: sums of float32, two products an instruction (vdpbf16ps).

That instruction takes a *pair* of neighbours along k in each lane. So operands are packed as pairs, 32 bits
each: a panel of b holds, for each pair of its rows, one pair a column; a is read in place where its rows lie
along k, and otherwise packed the same way, a tile of rows at a time. Each element of a tile is then a sum
over pairs in order, in one register; where k takes more than one block, sums wait in memory between them.

The instruction takes subnormal numbers for 0, and rounds the sum after each of its two products. Where the
processor lacks it, pairs are taken apart and multiplied as float32: the results differ by such roundings.

The buffers are on the stack: less than 256 KB.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import llvmlite.ir as ir

from lampion.compiler.codegen import tile
from lampion.compiler.codegen.blocking import swapped, without_batch
from lampion.compiler.codegen.builder import I32, IRType, IRValue, KernelBuilder
from lampion.compiler.codegen.pack import Matrix, load_row, pack_panel, store_row
from lampion.compiler.kernel_ir import Load, Matmul, Store
from lampion.dtype import bfloat16, float32, uint32

_PAIR = uint32
_BLOCK = 32  # columns in the unit in which columns are divided: a whole number of any processor's panels
_DEPTH, _PACKED_DEPTH = 512, 256  # pairs along k that are summed up in registers, at most; where a is packed
_PANELS = 192 << 10  # bytes of packed panels
_WAITING = 56  # rows whose sums wait for the next block of k
_CHUNK = 1 << 16  # multiplications that a chunk is worth
_CHUNKS, _FEW_CHUNKS = 64, 8  # that are enough; and where more of them would cost something
_ROWS = 28  # rows that a chunk is worth


class _BFloat(ir.Type):  # type: ignore[misc]  # llvmlite has no such type
    """LLVM's name for the elements that the instruction takes."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


def suits(kernel: Matmul) -> bool:
    """Whether both operands are bfloat16, to be summed in float32."""
    types = {kernel.operands[window.operand].dtype for window in (kernel.a, kernel.b)}
    return types == {bfloat16} and kernel.dtype is float32 and kernel.a.shape[-1] > 0


def chunks(kernel: Matmul) -> int:
    """The number of chunks, from the shape alone."""
    return _Sizes(kernel).chunks


def emit(k: KernelBuilder, kernel: Matmul) -> None:
    """Fill the kernel's function."""
    _Emission(k, _Sizes(kernel)).emit()


def _work(kernel: Matmul) -> float:
    """A guess at the cycles of a product, to choose between it and its transpose."""
    (m, k), n = kernel.a.shape[-2:], kernel.b.shape[-1]
    outer = [thing.window for thing in (*kernel.epilogue, *kernel.stores) if isinstance(thing, Load | Store)]
    stores = sum(0.1 if window.strides[-1] in (0, 1) else 2.0 for window in outer)
    return -(-m // 14) * 14 * -(-n // _BLOCK) * k / 2 + m * n * stores


class _Sizes:
    """How a product is cut up.

    Attributes:
        kernel: the product, or its transpose.
        depth: pairs in a block of k, of which there are `blocks_of_k`.
        group: columns that are packed together; there are `groups` of such, the last may be smaller.
        row_groups: groups of rows of tiles. Chunks are groups by row groups, by batch.
        in_place: whether a is read where it is.
    """

    def __init__(self, kernel: Matmul) -> None:
        kernel = without_batch(kernel)
        self.kernel = kernel = min(kernel, without_batch(swapped(kernel)), key=_work)
        a, b = kernel.a, kernel.b
        self.batch = a.shape[:-2]
        self.m, self.k, self.n = a.shape[-2], a.shape[-1], b.shape[-1]
        down, along = a.strides[-2:]
        # Pairs must be whole; and rows that are 4 KB apart would fight for the same cache lines.
        self.in_place = along == 1 and down % 2 == 0 and self.k % 2 == 0 and down % 2048 != 0
        pairs = -(-self.k // 2)
        self.blocks_of_k = -(-pairs // (_DEPTH if self.in_place else _PACKED_DEPTH))
        self.depth = -(-pairs // self.blocks_of_k)
        blocks, batch = -(-self.n // _BLOCK), math.prod(self.batch)
        fit = max(1, _PANELS // (self.depth * _BLOCK * _PAIR.itemsize))
        self.groups = -(-blocks // min(fit, max(1, blocks)))
        self.group = -(-blocks // max(1, self.groups)) * _BLOCK
        wanted = max(1, min(_CHUNKS, batch * self.m * self.k * self.n // _CHUNK))
        rows = _ROWS
        if self.blocks_of_k > 1:  # b is packed for each row group
            wanted, rows = min(wanted, _FEW_CHUNKS), 2 * _ROWS
        self.row_groups = min(max(1, self.m // rows), -(-wanted // max(1, batch * self.groups)))
        if self.blocks_of_k > 1:
            self.row_groups = max(self.row_groups, -(-self.m // _WAITING))
        self.chunks = batch * self.groups * self.row_groups if self.m else 0


class _Run:
    """A run of `count` rows of tiles, each of `rows` rows; the first is number `first`, at row `start`."""

    def __init__(self, first: int, count: int, rows: int, start: int) -> None:
        self.first, self.count, self.rows, self.start = first, count, rows, start


def _runs(m: int, most: int) -> list[_Run]:
    """All rows as tiles of at most `most` rows, whose heights differ by one at most."""
    count = -(-m // most)
    rows, tall = divmod(m, count)
    runs = [_Run(0, tall, rows + 1, 0), _Run(tall, count - tall, rows, tall * (rows + 1))]
    return [run for run in runs if run.count]


class _Emission:
    """The code of one product, and its buffers."""

    def __init__(self, k: KernelBuilder, sizes: _Sizes) -> None:
        self.k, self.sizes = k, sizes
        self.lanes = k.target.lanes(float32)
        rows, vectors = tile.shape(k.target)
        self.width = min(vectors, -(-sizes.n // self.lanes)) * self.lanes  # of a panel
        self.runs = _runs(sizes.m, rows)
        self.tallest = max(run.rows for run in self.runs)
        self.tile_count = sum(run.count for run in self.runs)
        self.blocked = sizes.blocks_of_k > 1
        self.epilogue = tile.Epilogue(k, sizes.kernel.epilogue, sizes.kernel.stores, float32)
        room = -(-sizes.group // self.width) * self.width
        self.panels = self.k.room(uint32, room * sizes.depth)
        self.packed_width = -(-self.tallest // self.lanes) * self.lanes
        if not sizes.in_place:
            self.packed = self.k.room(uint32, self.packed_width * sizes.depth)
        # Where sums wait: those of all tiles of a chunk between blocks of k; else of one that is finished.
        high = max(b - a for a, b in itertools.pairwise(map(self._share, range(sizes.row_groups + 1))))
        shape = (high * self.tallest, room) if self.blocked else (self.tallest, self.width)
        self.sums = Matrix(self.k.room(float32, math.prod(shape)), float32, shape[1], 1)

    def _share(self, row_group: int) -> int:
        return self.tile_count * row_group // self.sizes.row_groups

    def emit(self) -> None:
        """Chunks that use the same panels follow one another: a thread packs them once."""
        k, sizes = self.k, self.sizes
        panels = math.prod(sizes.batch) * sizes.groups
        with k.loop(k.lo, k.hi, carried=[k.i64(-1)]) as loop:
            number, piece = k.unravel(loop.index, (panels, sizes.row_groups))
            flat, group = k.unravel(number, (math.prod(sizes.batch), sizes.groups))
            chunk = _Chunk(self, k.unravel(flat, sizes.batch), group)
            first, last = (
                k.ir.udiv(k.affine(0, (edge, self.tile_count)), k.i64(sizes.row_groups))
                for edge in (piece, k.affine(1, (piece, 1)))
            )
            if self.blocked:
                chunk.sum_in_blocks(first, last)
            else:
                with k.ir.if_then(k.ir.icmp_signed("!=", number, loop.values[0])):
                    chunk.pack(0, sizes.k)
                chunk.multiply(first, last, 0, sizes.k)
            loop.carry(number)


class _Chunk:
    """The code of one group of columns, for some tiles of rows."""

    def __init__(self, emission: _Emission, batch: Sequence[IRValue], group: IRValue) -> None:
        self.e = emission
        self.k = k = emission.k
        self.batch = batch
        sizes = emission.sizes
        self.column = k.affine(0, (group, sizes.group))
        columns = k.affine(
            0, (k.smaller(k.affine(sizes.group, (self.column, 1)), sizes.n), 1), (self.column, -1)
        )
        self.full = k.ir.udiv(columns, k.i64(emission.width))  # panels of full width
        # The last panel of all may be narrower. How narrow is known now.
        self.tail = sizes.n % emission.width
        self.has_tail = k.ir.icmp_signed("==", group, k.i64(sizes.groups - 1))
        a, b = (
            Matrix(
                k.at(window.operand, k.affine(window.offset, *zip(batch, window.strides[:-2], strict=True))),
                bfloat16, *window.strides[-2:],
            )
            for window in (sizes.kernel.a, sizes.kernel.b)
        )  # fmt: skip
        self.a, self.b = a, b

    def _panel(self, number: IRValue) -> IRValue:
        e = self.e
        return self.k.address(e.panels, _PAIR, self.k.affine(0, (number, e.width * e.sizes.depth)))

    def pack(self, step: IRValue | int, length: IRValue | int) -> None:
        """Pack this group's panels, for `length` steps along k from that one on."""
        k, e = self.k, self.e
        source = self.b.part(k, step, self.column)
        self._pack_panels(source, e.panels, e.width * e.sizes.depth, self.full, e.width, length)
        if self.tail:
            with k.ir.if_then(self.has_tail):
                part = source.part(k, 0, k.affine(0, (self.full, e.width)))
                self._pack_panels(part, self._panel(self.full), 0, 1, self.tail, length)

    def _pack_panels(
        self, b: Matrix, to: IRValue, size: int, count: IRValue | int, columns: int, length: IRValue | int
    ) -> None:
        """Pairs of rows of b as rows of panels, `count` of them, for `columns` columns each; `size` pairs
        lie between the panels. A panel is as wide in whole vectors.
        """
        k, lanes = self.k, self.e.lanes
        whole, odd = k.ir.lshr(k.i64(length), k.i64(1)), self.e.sizes.k % 2

        def panel(number: IRValue) -> tuple[Matrix, IRValue]:
            part = b.part(k, 0, k.affine(0, (number, columns)))
            return part, k.address(to, _PAIR, k.affine(0, (number, size)))

        if b.row == 1 and b.column % 2 == 0 and not odd:  # pairs lie together: a matrix of them is transposed
            with k.loop(0, count) as one:
                part, start = panel(one.index)
                pack_panel(k, Matrix(part.pointer, _PAIR, 1, b.column // 2), start, whole, columns, lanes)
            return
        parts: list[tuple[IRValue | int, IRValue, int]] = [(0, whole, columns)]
        if columns % lanes and b.column == 1 and b.row >= lanes:
            # Beyond a row lies the next one, so that only the last pair of rows has to be masked.
            last = k.larger(k.affine(-1, (whole, 1)), 0)
            parts = [(0, last, -(-columns // lanes) * lanes), (last, whole, columns)]
        for first, end, wide in parts:
            with k.loop(first, end) as loop, k.loop(0, count) as one:
                part, start = panel(one.index)
                self._pack_row(part, k.affine(0, (loop.index, 2)), start, loop.index, wide)
        if odd:
            with k.ir.if_then(k.ir.trunc(k.i64(length), ir.IntType(1))), k.loop(0, count) as one:
                part, start = panel(one.index)
                self._pack_row(part, k.affine(0, (whole, 2)), start, whole, columns, alone=True)

    def _pack_row(
        self, b: Matrix, row: IRValue, to: IRValue, number: IRValue, columns: int, alone: bool = False
    ) -> None:
        """One row of a panel, from two rows of b: or one, with zeros, where that is `alone`."""
        k, lanes = self.k, self.e.lanes
        width = -(-columns // lanes) * lanes
        rows = [b.part(k, k.affine(n, (row, 1)), 0) for n in range(1 if alone else 2)]

        def store(loaded: Sequence[IRValue], column: IRValue | int) -> None:
            # In registers a bfloat16 is a float32: its bits are the upper half.
            low, *high = (k.ir.bitcast(value, _integers(value)) for value in loaded)
            pair = k.ir.lshr(low, k.constant(_PAIR, 16, _count(low)))
            if high:
                pair = k.ir.or_(pair, high[0])
            k.store(pair, k.address(to, _PAIR, k.affine(0, (number, width), (column, 1))), _PAIR)

        if b.column == 1:
            loaded = [load_row(k, part.pointer, bfloat16, columns, lanes) for part in rows]
            for v, vectors in enumerate(zip(*loaded, strict=True)):
                store(vectors, v * lanes)
            return
        with k.loop(0, columns) as loop:
            store([k.load(part.at(k, 0, loop.index), bfloat16) for part in rows], loop.index)

    def multiply(self, first: IRValue, last: IRValue, step: IRValue | int, length: IRValue | int) -> None:
        """Multiply the tiles [first, last) with all panels, for `length` steps along k."""
        k, e = self.k, self.e
        depth = k.ir.lshr(k.affine(1, (k.i64(length), 1)), k.i64(1))
        for run in e.runs:
            start, stop = k.larger(first, run.first), k.smaller(last, run.first + run.count)
            with k.loop(start, stop) as loop:
                row = k.affine(run.start - run.first * run.rows, (loop.index, run.rows))
                place = _Place(run.rows, row, k.affine(0, (loop.index, 1), (first, -1)))
                a = self._rows(self.a.part(k, row, step), run.rows, length)
                with k.loop(0, self.full) as panel:
                    self._tile(a, panel.index, e.width, depth, place)
                if self.tail:
                    with k.ir.if_then(self.has_tail):
                        self._tile(a, self.full, self.tail, depth, place)

    def _rows(self, a: Matrix, rows: int, length: IRValue | int) -> Matrix:
        """A tile's rows of a, as pairs along k."""
        e = self.e
        if e.sizes.in_place:
            return Matrix(a.pointer, _PAIR, a.row // 2, 1)
        self._pack_panels(Matrix(a.pointer, bfloat16, a.column, a.row), e.packed, 0, 1, rows, length)
        return Matrix(e.packed, _PAIR, 1, -(-rows // e.lanes) * e.lanes)

    def _tile(self, a: Matrix, number: IRValue, columns: int, depth: IRValue, place: _Place) -> None:
        """One tile times one panel."""
        k, e = self.k, self.e
        vectors = -(-columns // e.lanes)
        panel = Matrix(self._panel(number), _PAIR, vectors * e.lanes, 1)
        if self.e.blocked:
            waiting = self._waiting(place, number)
            lines = [waiting.at(k, i, 0) for i in range(place.rows)]
            before = [v for line in lines for v in load_row(k, line, float32, vectors * e.lanes, e.lanes)]
            self._wait(_sums(k, a, panel, depth, place.rows, before), lines, vectors)
            return
        zeros = [k.constant(float32, 0, e.lanes)] * (place.rows * vectors)
        sums = _sums(k, a, panel, depth, place.rows, zeros)
        column = k.affine(0, (self.column, 1), (number, e.width))
        if e.epilogue.in_registers(columns):
            e.epilogue.from_registers(sums, self.batch, place.row, column, columns)
            return
        self._wait(sums, [e.sums.at(k, i, 0) for i in range(place.rows)], vectors)
        e.epilogue.from_memory(e.sums, self.batch, place.row, column, place.rows, columns)

    def _wait(self, sums: Sequence[IRValue], lines: Sequence[IRValue], vectors: int) -> None:
        for i, line in enumerate(lines):
            part = sums[i * vectors : (i + 1) * vectors]
            store_row(self.k, part, line, float32, vectors * self.e.lanes)

    # Several blocks of k -----------------------------------------------------------------------------

    def sum_in_blocks(self, first: IRValue, last: IRValue) -> None:
        """All of k, block by block, and then the epilogue: from sums that wait in memory."""
        k, sizes = self.k, self.e.sizes
        size = 2 * sizes.depth
        self._clear(k.affine(0, (last, self.e.tallest), (first, -self.e.tallest)))
        with k.loop(0, sizes.k, size) as along:
            length = k.smaller(k.affine(sizes.k, (along.index, -1)), size)
            self.pack(along.index, length)
            self.multiply(first, last, along.index, length)
        self._finish(first, last)

    def _clear(self, rows: IRValue) -> None:
        k, e = self.k, self.e
        zero = k.constant(float32, 0, e.lanes)
        with k.loop(0, k.affine(0, (rows, e.sums.row)), e.lanes) as loop:
            k.store(zero, k.address(e.sums.pointer, float32, loop.index), float32)

    def _finish(self, first: IRValue, last: IRValue) -> None:
        k, e = self.k, self.e
        for run in e.runs:
            start, stop = k.larger(first, run.first), k.smaller(last, run.first + run.count)
            with k.loop(start, stop) as loop:
                row = k.affine(run.start - run.first * run.rows, (loop.index, run.rows))
                place = _Place(run.rows, row, k.affine(0, (loop.index, 1), (first, -1)))
                with k.loop(0, self.full) as panel:
                    self._finish_tile(place, panel.index, e.width)
                if self.tail:
                    with k.ir.if_then(self.has_tail):
                        self._finish_tile(place, self.full, self.tail)

    def _finish_tile(self, place: _Place, number: IRValue, columns: int) -> None:
        column = self.k.affine(0, (self.column, 1), (number, self.e.width))
        waiting = self._waiting(place, number)
        self.e.epilogue.from_memory(waiting, self.batch, place.row, column, place.rows, columns)

    def _waiting(self, place: _Place, number: IRValue) -> Matrix:
        """Where a tile's sums wait, for the panel of that number."""
        k, e = self.k, self.e
        return e.sums.part(k, k.affine(0, (place.number, e.tallest)), k.affine(0, (number, e.width)))


class _Place:
    """Where a tile is: its height, its first row, and its number among those of the chunk."""

    def __init__(self, rows: int, row: IRValue, number: IRValue) -> None:
        self.rows, self.row, self.number = rows, row, number


def _sums(
    k: KernelBuilder, a: Matrix, panel: Matrix, depth: IRValue, rows: int, start: Sequence[IRValue]
) -> list[IRValue]:
    """start + a @ panel, row by row."""
    lanes, vectors = k.target.lanes(float32), len(start) // rows
    with k.loop(0, depth, carried=start) as loop:
        line, step = panel.at(k, loop.index, 0), a.at(k, 0, loop.index)
        parts = [_factors(k, k.load(k.address(line, _PAIR, v * lanes), _PAIR, lanes)) for v in range(vectors)]
        sums: list[IRValue] = []
        for i in range(rows):
            pair = k.ir.load(k.address(step, _PAIR, i * a.row), typ=I32, align=2)  # two halves of 16 bits
            factors = _factors(k, k.splat(pair, lanes))
            sums += [_add_products(k, loop.values[len(sums) + v], factors, parts[v]) for v in range(vectors)]
        loop.carry(*sums)
    return loop.results


def _factors(k: KernelBuilder, pairs: IRValue) -> list[IRValue]:
    """What `_add_products` takes of a vector of pairs: all as one operand, or both halves as float32."""
    if k.target.multiplies_bfloat16:
        return [k.ir.bitcast(pairs, ir.VectorType(_BFloat(), 2 * pairs.type.count))]
    lanes = pairs.type.count
    low = k.ir.shl(pairs, k.constant(_PAIR, 16, lanes))
    high = k.ir.and_(pairs, k.constant(_PAIR, 0xFFFF0000, lanes))
    return [k.ir.bitcast(half, ir.VectorType(ir.FloatType(), lanes)) for half in (high, low)]


def _add_products(k: KernelBuilder, total: IRValue, x: Sequence[IRValue], y: Sequence[IRValue]) -> IRValue:
    """total + high product + low product, rounded after each."""
    if not k.target.multiplies_bfloat16:
        for one, other in zip(x, y, strict=True):
            total = tile.multiply_add(k, one, other, total)
        return total
    pairs = ir.VectorType(_BFloat(), 2 * total.type.count)
    dot = k.declare("llvm.x86.avx512bf16.dpbf16ps.512", total.type, [total.type, pairs, pairs])
    return k.ir.call(dot, [total, *y, *x])  # the last one may be one pair in memory, for all lanes


def _count(value: IRValue) -> int:
    return value.type.count if isinstance(value.type, ir.VectorType) else 1


def _integers(value: IRValue) -> IRType:
    return ir.VectorType(I32, value.type.count) if isinstance(value.type, ir.VectorType) else I32
