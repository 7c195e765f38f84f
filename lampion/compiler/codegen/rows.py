"""Emits `Rows`: several walks along each row, which is in cache from the second walk on.

A short row has no loops at all: it is cut into a few vectors, and what a walk has computed is still in
registers (or where LLVM put it) in the next. Along a long row a walk is a loop. What a later walk needs
again, it computes again from the row itself; only what is dear (an exponential, say) is kept, in a buffer as
long as the row. Nothing dear is computed twice.

A row belongs to one chunk, and its values are combined in a fixed order (see `combine`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import I64, IRValue, KernelBuilder
from lampion.compiler.codegen.combine import Accumulators, Combiner, Combining, sequence_length
from lampion.compiler.codegen.emitter import Emitter
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.codegen.nest import Axes, chunk_count, dear, rewindow, vector_dtype, windows_of
from lampion.compiler.codegen.target import Target
from lampion.compiler.codegen.walks import Walks
from lampion.compiler.kernel_ir import Chosen, Load, Position, Rows, Window
from lampion.dtype import bool_

_SHORT = 16  # vectors that a row without loops has at most,
_PIECES = 8  # and the parts that it is emitted in
_ALONG = 4  # vectors side by side: additions take longer than it takes to start a few
_DEAR = 2  # the same where a polynomial needs registers of its own

_CACHE = 2 << 20  # bytes that are in a cache, perhaps

_TOGETHER = 2  # short rows in work side by side

Known = dict[int, Lanes]
_Piece = tuple[int, int, int]  # of a row: the line, its first point, the number of points


def chunks(kernel: Rows, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    return _Nest(kernel).chunks


def emit(module: Any, name: str, kernel: Rows, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if math.prod(kernel.shape) > 0:
        _Emission(k, kernel).emit()
    k.finish()


class _Nest:
    """The loop nest: rows, each of `lines` lines of `length` points."""

    def __init__(self, kernel: Rows) -> None:
        loads = {window.operand for window in windows_of(kernel.points, kernel.rows)}
        if loads & {window.operand for window in windows_of(kernel.stores, kernel.row_stores)}:
            raise ValueError("a row kernel stores nothing that it loads: a later walk would read what is new")
        along = [n for n in kernel.shape[kernel.outer :] if n != 1]
        if len(along) > 1 and (kernel.choices or any(isinstance(v, Position) for v in kernel.points)):
            raise ValueError("the points of a row have positions only if it has one axis")
        inside = [axis >= kernel.outer for axis in range(len(kernel.shape))]

        def stretched(window: Window) -> Window:
            strides = window.strides + (0,) * (len(kernel.shape) - kernel.outer)
            return replace(window, shape=kernel.shape, strides=strides)

        rows, row_stores = rewindow(kernel.rows, stretched), rewindow(kernel.row_stores, stretched)
        windows = windows_of(kernel.points, kernel.stores, rows, row_stores)
        self.axes = Axes(kernel.shape, windows, lambda axis: axis, inside)
        self.outer = tuple(n for n, i in zip(self.axes.shape, self.axes.reduced, strict=True) if not i)
        inner = self.axes.shape[len(self.outer) :] or (1,)
        self.lines, self.length = inner[:-1], inner[-1]
        self.points = rewindow(kernel.points, self._window)
        self.stores = rewindow(kernel.stores, self._window)
        self.rows = rewindow(rows, self._outer_window)
        self.row_stores = rewindow(row_stores, self._outer_window)
        self.items = math.prod(self.outer)
        nbytes = math.prod(kernel.shape) * max((value.dtype.itemsize for value in kernel.points), default=0)
        self.streams = nbytes > _CACHE
        self.chunks = chunk_count(math.prod(kernel.shape), kernel.points, self.items)

    def _window(self, window: Window) -> Window:
        window = self.axes.window(window)
        if len(window.shape) == len(self.outer):  # a row is one point
            return replace(window, shape=(*window.shape, 1), strides=(*window.strides, 0))
        return window

    def _outer_window(self, window: Window) -> Window:
        window, count = self.axes.window(window), len(self.outer)
        return replace(window, shape=window.shape[:count], strides=window.strides[:count])


class _Emission:
    def __init__(self, k: KernelBuilder, kernel: Rows) -> None:
        self.k, self.kernel = k, kernel
        self.xp = Emitter(k)
        self.nest = nest = _Nest(kernel)
        self.walks = Walks(nest.points, nest.rows, kernel.reductions, nest.stores)
        dtypes = [value.dtype for value in nest.points] + [r.dtype for r in kernel.reductions]
        self.lanes = k.target.lanes(vector_dtype(dtypes))
        self.pieces = self._pieces()
        self.buffers: dict[int, IRValue] = {}
        if self.pieces is None:
            size = math.prod(nest.lines) * nest.length
            self.buffers = {n: k.room(nest.points[n].dtype, size) for n in self.walks.kept}

    def _pieces(self) -> list[_Piece] | None:
        """The parts that a short row is cut into; None for a long one."""
        nest, lines = self.nest, math.prod(self.nest.lines)
        if lines * nest.length > _SHORT * self.lanes:
            return None
        pieces, most = [], self._vectors(self.kernel.reductions) * self.lanes
        for line in range(lines):
            start = 0
            while start < nest.length:
                count = min(most, 1 << (nest.length - start).bit_length() - 1)
                pieces.append((line, start, count))
                start += count
        return pieces if len(pieces) <= _PIECES else None

    def _vectors(self, reductions: Sequence[Any]) -> int:
        """How many vectors to have in work side by side: a power of two, since they are folded by halves."""
        most = _DEAR if dear(self.nest.points) else _ALONG
        some = max(1, min(most, self.k.target.registers // 2 // max(1, len(reductions))))
        return 1 << some.bit_length() - 1

    def emit(self) -> None:
        k, nest = self.k, self.nest
        first, last = (k.share(chunk, nest.chunks, nest.items) for chunk in (k.lo, k.hi))
        if self.pieces is not None and nest.items >= _TOGETHER:
            # One row's walk waits for the total of the one before: meanwhile there is work on another row.
            with k.loop(first, k.affine(1 - _TOGETHER, (k.i64(last), 1)), _TOGETHER) as items:
                self._rows([k.affine(n, (items.index, 1)) for n in range(_TOGETHER)])
            count = k.affine(0, (k.i64(last), 1), (first, -1))
            first = k.affine(0, (k.i64(last), 1), (k.ir.urem(count, k.i64(_TOGETHER)), -1))
        with k.loop(first, last) as items:
            self._rows([items.index])

    def _rows(self, items: Sequence[IRValue]) -> None:
        rows = [_OneRow(self, item) for item in items]
        for number in range(self.walks.count):
            for row in rows:
                row.settle(number)
            for row in rows:
                row.walk(number)
        for row in rows:
            row.finish()


class _OneRow:
    """What is known of a row so far."""

    def __init__(self, emission: _Emission, item: IRValue) -> None:
        self.emission, self.item = emission, item
        self.k, self.nest = emission.k, emission.nest
        self.outer = self.k.unravel(item, self.nest.outer)
        self.once = Row(self.k, self.nest.rows, self.outer[:-1], self.nest.row_stores, lazily=True)
        self.at = self.outer[-1] if self.outer else 0
        self.known: Known = {}  # the values of the row
        self.totals: Known = {}
        self.memory: dict[_Piece, Known] = {}  # of a short row: all that was computed at its points

    def settle(self, number: int) -> None:
        """Evaluate those values of the row that are to be had before a walk."""
        for n in self.emission.walks.settled(number):
            value = self.nest.rows[n]
            if isinstance(value, Chosen):
                self.known[n] = self._chosen(value)
            else:
                self.once.enter([n], self.known, self.at, 1, self.totals)

    def walk(self, number: int) -> None:
        walk, pieces = _Walk(self.emission, number, self.item, self.outer, self.known), self.emission.pieces
        results = walk.long() if pieces is None else walk.short(pieces, self.memory)
        self.totals.update(zip(self.emission.walks.reduced(number), results, strict=True))

    def finish(self) -> None:
        self.settle(self.emission.walks.count)
        self.once.store(self.known, self.at)

    def _chosen(self, value: Chosen) -> Lanes:
        """One point's value. The status says which row has an index out of range."""
        k, chosen = self.k, self.known[value.index]
        index = chosen.value
        if chosen.dtype.itemsize < 8:
            index = k.ir.sext(index, I64) if chosen.dtype.kind == "i" else k.ir.zext(index, I64)
        # As unsigned numbers, negative indices are beyond any size.
        with k.ir.if_then(k.ir.icmp_unsigned(">=", index, k.i64(self.nest.length)), likely=False):
            k.finish(k.affine(1, (self.item, 1)))
        row = Row(k, self.nest.points, [*self.outer, *[0] * len(self.nest.lines)], lazily=True)
        at_point: Known = {}
        row.enter([value.value], at_point, index, 1, self.known)
        return at_point[value.value]


class _Walk:
    """One walk along one row."""

    def __init__(
        self, emission: _Emission, number: int, item: IRValue, outer: Sequence[IRValue], known: Known
    ) -> None:
        self.emission, self.item, self.outer, self.known = emission, item, outer, known
        self.k, self.xp, self.nest = emission.k, emission.xp, emission.nest
        walks = emission.walks
        self.wanted = walks.wanted[number]
        self.steady = walks.steady(number)
        self.kept = [n for n, first in walks.kept.items() if first == number]
        self.again = [n for n in walks.again[number] if n in walks.kept]
        self.stores = walks.stores(number)
        reductions = [emission.kernel.reductions[n] for n in walks.reduced(number)]
        self.combining = Combining(self.k, self.xp, reductions)
        self.vectors = emission._vectors(reductions)

    def _line(self, index: Sequence[IRValue | int]) -> tuple[Row, Known]:
        """A line of the row, and what is the same all along it."""
        row = Row(self.k, self.nest.points, [*self.outer, *index], self.stores, lazily=True)
        steady: Known = {}
        row.enter(self.steady, steady, 0, 1, self.known)
        return row, steady

    def short(self, pieces: Sequence[_Piece], memory: dict[_Piece, Known]) -> Accumulators:
        parts: list[Accumulators] = []
        lines: dict[int, tuple[Row, Known]] = {}
        for piece in pieces:
            line, start, count = piece
            if line not in lines:
                index = []
                for n in reversed(self.nest.lines):
                    line, i = divmod(line, n)
                    index.append(i)
                lines[piece[0]] = self._line(index[::-1])
            row, steady = lines[piece[0]]
            values = memory.setdefault(piece, {})
            values.update(steady)
            row.enter(self.wanted, values, start, count, self.known)
            row.store(values, start, count)
            parts.append(self.combining.values(values, count))
        columns = zip(self.combining.reductions, zip(*parts, strict=True), strict=True)
        return [self._total(reduction, totals) for reduction, totals in columns]

    def _total(self, reduction: Combiner, parts: Sequence[Lanes]) -> Lanes:
        """Vectors of several widths, and all of their lanes, combined: the widest first."""
        total: Lanes | None = None
        for width in sorted({part.count for part in parts}, reverse=True):
            alike = [part for part in parts if part.count == width]
            if total is not None:
                alike.insert(0, self.combining.fold(reduction, total, width))
            total = functools.reduce(reduction, alike)
        assert total is not None
        return self.combining.fold(reduction, total)

    def long(self) -> Accumulators:
        width = _width(self.nest.length, self.emission.lanes, self.vectors)
        steps, rest = divmod(self.nest.length, width)
        per_line = sequence_length(steps, 1) + (rest > 0)

        def over(lines: tuple[int, ...], index: list[Any], so_far: Accumulators) -> Accumulators:
            if not lines:
                return self._along(index, width, so_far)
            per_point = per_line
            for n in reversed(lines[1:]):
                per_point = sequence_length(n, per_point)
            return self.combining.sequence(
                lines[0], per_point, so_far, lambda i, so_far: over(lines[1:], [*index, i], so_far)
            )

        return self.combining.folded(over(self.nest.lines, [], self.combining.identities(width)))

    def _along(self, index: list[Any], width: int, so_far: Accumulators) -> Accumulators:
        """Walk along one line."""
        k, length = self.k, self.nest.length
        row, steady = self._line(index)
        following = self._following(index)
        start = 0  # of the line, in the buffers
        for i, n in zip(index, self.nest.lines, strict=True):
            start = k.affine(0, (start, n), (i, 1))
        point = self._pointer_of(k.affine(0, (start, length)))

        def values(inner: IRValue | int) -> Accumulators:
            known = dict(steady)
            if following is not None:
                following.prefetch(inner, width)
            for n in self.again:
                dtype = self.nest.points[n].dtype
                known[n] = Lanes(self.xp, k.load(point(n, inner), dtype, width), dtype)
            row.enter(self.wanted, known, inner, width, self.known)
            for n in self.kept:
                k.store(known[n].spread(width).value, point(n, inner), self.nest.points[n].dtype)
            row.store(known, inner, width)
            return self.combining.values(known, width)

        def step(i: IRValue | int, so_far: Accumulators) -> Accumulators:
            return self.combining.combined(so_far, values(k.affine(0, (i, width))))

        steps, rest = divmod(length, width)
        if so_far:
            so_far = self.combining.sequence(steps, 1, so_far, step)
        else:
            with k.loop(0, length - rest, width) as loop:
                values(loop.index)
        if not rest:
            return so_far
        # The last vector ends with the row; the lanes that the one before had already count for nothing.
        mask = Lanes(self.xp, k.mask([lane >= width - rest for lane in range(width)]), bool_)
        last = zip(values(length - width), self.combining.identities(width), strict=True)
        return self.combining.combined(so_far, [self.xp.where(mask, value, none) for value, none in last])

    def _following(self, index: list[Any]) -> Row | None:
        """The same line of the next row, if it is to be fetched from memory while this walk computes."""
        nest, k = self.nest, self.k
        if not self.kept or not nest.streams:
            return None
        outer = k.unravel(k.affine(1, (self.item, 1)), nest.outer)
        loads = [v for v in nest.points if isinstance(v, Load)]
        return Row(k, loads, [*outer, *index], lazily=True)

    def _pointer_of(self, start: IRValue) -> Callable[[int, IRValue | int], IRValue]:
        def pointer(n: int, inner: IRValue | int) -> IRValue:
            return self.k.address(
                self.emission.buffers[n], self.nest.points[n].dtype, self.k.affine(start, (inner, 1))
            )

        return pointer


def _width(length: int, lanes: int, vectors: int) -> int:
    """Lanes of a step: some registers' worth, if that does not compute much in vain."""

    def registers(width: int) -> int:
        return -(-length // width) * max(1, width // lanes)

    widths = [1 << n for n in range((vectors * lanes).bit_length()) if 1 << n <= length]
    least = min(registers(width) for width in widths)
    return max(width for width in widths if registers(width) <= 1.15 * least)
