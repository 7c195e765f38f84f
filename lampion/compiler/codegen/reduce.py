"""Emits `Reduce`: evaluate the body at every point, combine over some axes, then the epilogue.

The innermost axis in memory is the one across vectors, whichever kind it is of:

  reduced  the lanes of a wide vector accumulate a row side by side, and are folded in halves at its end;
  kept     each lane accumulates its own column, down the rows.

Either way a kept point belongs to one chunk, and values are combined in the order that `combine` fixes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.combine import Accumulators, Combining, sequence_length
from lampion.compiler.codegen.emitter import Emitter
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.codegen.nest import (
    Axes,
    chunk_count,
    dear,
    in_place,
    points,
    rewindow,
    vector_dtype,
    windows_of,
)
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Reduce, Window
from lampion.dtype import bool_

_ALONG = 4  # vectors side by side, along a row: additions take longer than it takes to start a few
_ACROSS = 8  # the same across columns: more, for longer pieces of each row come from memory at a time
_UNITS = (128, 64, 32, 16)  # kept columns of one item of work: as many as leave eight items to share

_CACHE = 2 << 20  # bytes that are in a cache, perhaps
_AHEAD = 128  # columns from those in work to those that are fetched: about one item

Index = dict[int, Any]  # of each axis whose loop we are in
Point = Callable[[Index, Accumulators], Accumulators]


def chunks(kernel: Reduce, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    return _Nest(kernel).chunks


def emit(module: Any, name: str, kernel: Reduce, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if math.prod(kernel.kept) > 0:
        _Emission(k, kernel).emit()
    k.finish()


class _Nest:
    """The loop nest: `rows` kept rows (outer indices), and along a kept innermost axis `units` items each."""

    def __init__(self, kernel: Reduce) -> None:
        size = math.prod(kernel.shape)
        # Nothing to combine: what is left is to store the identities at the kept points.
        shape = tuple(1 if size == 0 and axis in kernel.axes else n for axis, n in enumerate(kernel.shape))
        loads = windows_of(kernel.body)
        epilogue = rewindow(kernel.epilogue, lambda window: _stretched(window, kernel))
        stores = rewindow(kernel.stores, lambda window: _stretched(window, kernel))

        def key(axis: int) -> int:  # along memory, as the loads walk it
            return -sum(abs(window.strides[axis]) for window in loads)

        reduced = [axis in kernel.axes for axis in range(len(shape))]
        self.axes = Axes(shape, [*loads, *windows_of(epilogue, stores)], key, reduced)
        self.body = rewindow(kernel.body, self.axes.window)
        self.kept = [axis for axis, is_reduced in enumerate(self.axes.reduced) if not is_reduced]
        self.epilogue = rewindow(epilogue, self._kept_window)
        self.stores = rewindow(stores, self._kept_window)

        # What an item of work is.
        self.across = bool(self.kept) and self.kept[-1] == len(self.axes.shape) - 1
        outer = self.kept[:-1] if self.across else self.kept
        self.outer = tuple(self.axes.shape[axis] for axis in outer)
        self.length = self.axes.shape[-1] if self.axes.shape else 1
        rows = math.prod(self.outer)
        enough = (unit for unit in _UNITS if rows * -(-self.length // unit) >= 8)
        self.unit = next(enough, _UNITS[-1])
        # Columns of long rows touch each page for a moment only, too short for the processor to see a
        # pattern: where the data comes from memory, ask for the next columns of each row by hand.
        nbytes = size * max((value.dtype.itemsize for value in kernel.body), default=0)
        self.streams = self.across and nbytes > _CACHE and self.length > 2 * _AHEAD
        self.units = -(-self.length // self.unit) if self.across else 1
        self.items = rows * self.units
        self.chunks = chunk_count(size, kernel.body, self.items)

    def _kept_window(self, window: Window) -> Window:
        """The window of the new loop nest, without the reduced axes."""
        window = self.axes.window(window)
        shape = tuple(window.shape[axis] for axis in self.kept)
        return replace(window, shape=shape, strides=tuple(window.strides[axis] for axis in self.kept))


class _Emission:
    def __init__(self, k: KernelBuilder, kernel: Reduce) -> None:
        self.k = k
        self.xp = Emitter(k)
        self.combining = Combining(k, self.xp, kernel.reductions)
        self.nest = _Nest(kernel)
        self.empty = math.prod(kernel.shape) == 0
        dtypes = [value.dtype for value in kernel.body] + [r.dtype for r in kernel.reductions]
        vectors = min(
            _ACROSS if self.nest.across else _ALONG, k.target.registers // 2 // len(kernel.reductions)
        )
        if dear(kernel.body):
            vectors = min(vectors, _ALONG)
        self.width = _width(self.nest, k.target.lanes(vector_dtype(dtypes)), max(1, vectors))
        self.in_place = in_place((*kernel.body, *kernel.epilogue), kernel.stores)

    def emit(self) -> None:
        k, nest = self.k, self.nest
        first, last = (k.share(chunk, nest.chunks, nest.items) for chunk in (k.lo, k.hi))
        with k.loop(first, last) as items:
            if not nest.across:
                self._row(k.unravel(items.index, nest.outer))
                return
            row, unit = k.unravel(items.index, (nest.items // nest.units, nest.units))
            start = k.affine(0, (unit, nest.unit))
            stop = k.smaller(k.affine(nest.unit, (start, 1)), nest.length)
            points(
                k,
                start,
                stop,
                nest.length,
                self.width,
                self.in_place,
                lambda column, lanes: self._columns(k.unravel(row, nest.outer), column, lanes),
            )

    # The innermost axis is reduced -------------------------------------------------------------------

    def _row(self, outer: Sequence[IRValue]) -> None:
        nest = self.nest
        axes = [axis for axis, is_reduced in enumerate(nest.axes.reduced[:-1]) if is_reduced]
        steps, rest = divmod(nest.length, self.width)
        index = dict(zip(nest.kept, outer, strict=True))
        along = functools.partial(self._along, steps, rest)
        per_point = sequence_length(steps, 1) + (rest > 0)
        totals = self._over(axes, index, self.combining.identities(self.width), along, per_point)
        self._finish(outer, 1, self.combining.folded(totals))

    def _along(self, steps: int, rest: int, index: Index, so_far: Accumulators) -> Accumulators:
        """Combine one row into the accumulators."""
        k, width, length = self.k, self.width, self.nest.length
        row = Row(k, self.nest.body, [index[axis] for axis in sorted(index)])

        def step(i: IRValue | int, so_far: Accumulators) -> Accumulators:
            return self.combining.combined(so_far, self._values(row, k.affine(0, (i, width)), width))

        so_far = self.combining.sequence(steps, 1, so_far, step)
        if not rest:
            return so_far
        # The last vector ends with the row; the lanes that the one before had already count for nothing.
        fresh = [lane >= width - rest for lane in range(width)]
        mask = Lanes(self.xp, k.mask(fresh), bool_)
        values = zip(self._values(row, length - width, width), self.combining.identities(width), strict=True)
        return self.combining.combined(so_far, [self.xp.where(mask, value, none) for value, none in values])

    # The innermost axis is kept ----------------------------------------------------------------------

    def _columns(self, outer: Sequence[IRValue], column: IRValue | int, lanes: int) -> None:
        nest = self.nest
        axes = [axis for axis, is_reduced in enumerate(nest.axes.reduced) if is_reduced]
        index = dict(zip(nest.kept[:-1], outer, strict=True))

        def point(index: Index, so_far: Accumulators) -> Accumulators:
            row = Row(self.k, nest.body, [index[axis] for axis in sorted(index)])
            if nest.streams:
                row.prefetch(self.k.affine(_AHEAD, (column, 1)), lanes)
            return self.combining.combined(so_far, self._values(row, column, lanes))

        self._finish(
            (*outer, column), lanes, self._over(axes, index, self.combining.identities(lanes), point, 1)
        )

    # Both --------------------------------------------------------------------------------------------

    def _over(
        self, axes: Sequence[int], index: Index, so_far: Accumulators, point: Point, per_point: int
    ) -> Accumulators:
        """Loop over these axes, which combines `per_point` values in sequence at each point."""
        if self.empty:
            return so_far
        if not axes:
            return point(index, so_far)
        axis, inner = axes[0], axes[1:]
        shape = self.nest.axes.shape
        for n in reversed([shape[a] for a in inner]):
            per_point = sequence_length(n, per_point)

        def step(i: IRValue | int, so_far: Accumulators) -> Accumulators:
            return self._over(inner, {**index, axis: i}, so_far, point, per_point)

        return self.combining.sequence(shape[axis], per_point, so_far, step)

    def _values(self, row: Row, inner: IRValue | int, lanes: int) -> Accumulators:
        return self.combining.values(row.values(inner, lanes), lanes)

    def _finish(self, kept: Sequence[IRValue | int], lanes: int, totals: Accumulators) -> None:
        """The epilogue at `lanes` kept points from these indices on."""
        inner = kept[-1] if kept else 0
        row = Row(self.k, self.nest.epilogue, kept[:-1], self.nest.stores)
        row.store(row.values(inner, lanes, results=totals), inner, lanes)


def _width(nest: _Nest, lanes: int, vectors: int) -> int:
    """Lanes of an accumulator: some registers' worth, if that does not compute much in vain."""
    length = min(nest.length, nest.unit) if nest.across else nest.length

    def registers(width: int) -> int:
        return -(-nest.length // width) * max(1, width // lanes)

    widths = [1 << n for n in range((vectors * lanes).bit_length()) if 1 << n <= length]
    least = min(registers(width) for width in widths)
    return max(width for width in widths if registers(width) <= 1.15 * least)


def _stretched(window: Window, kernel: Reduce) -> Window:
    """A window of the kept points, stretched over the reduced axes."""
    strides = iter(window.strides)
    wide = tuple(0 if axis in kernel.axes else next(strides) for axis in range(len(kernel.shape)))
    return replace(window, shape=kernel.shape, strides=wide)
