"""Emits `Map`: evaluate the body at every point, then store.

After its axes are sorted and joined, a Map is a number of rows; rows are cut into segments, and chunks are
runs of segments. Each element depends on its own point only, so the order is free.
"""

from __future__ import annotations

import math

from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.nest import (
    Axes,
    chunk_count,
    in_place,
    points,
    power_of_two,
    rewindow,
    vector_dtype,
    windows_of,
)
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Map

_SEGMENT = 1024  # elements of a row, a multiple of the lanes of any processor
_NARROW = 64  # the same where a load strides across memory


def chunks(kernel: Map, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    nest = _Nest(kernel)
    return chunk_count(math.prod(kernel.shape), kernel.body, nest.segments * nest.rows)


def emit(module: object, name: str, kernel: Map, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if math.prod(kernel.shape) > 0:
        _Emission(k, kernel).emit()
    k.finish()


class _Nest:
    """The loop nest: `rows` rows of `length` points, in segments of `segment` points."""

    def __init__(self, kernel: Map) -> None:
        loads, stores = windows_of(kernel.body), windows_of(kernel.stores)

        def key(axis: int) -> tuple[int, ...]:  # along memory, as the stores walk it
            return tuple(-abs(window.strides[axis]) for window in (*stores, *loads))

        axes = Axes(kernel.shape, [*stores, *loads], key)
        self.body, self.stores = rewindow(kernel.body, axes.window), rewindow(kernel.stores, axes.window)
        self.outer, self.length = axes.shape[:-1], axes.shape[-1] if axes.shape else 1
        self.rows = math.prod(self.outer)
        # A load that strides along the row shares its cache lines with the rows that follow. Narrow
        # segments, all rows of one before the next, use the lines again while they are in the cache.
        self.across = self.rows > 1 and any(
            window.strides[-1] not in (-1, 0, 1) for window in windows_of(self.body)
        )
        self.segment = min(self.length, _NARROW if self.across else _SEGMENT)
        self.segments = -(-self.length // self.segment) if self.length else 0


class _Emission:
    def __init__(self, k: KernelBuilder, kernel: Map) -> None:
        self.k = k
        self.chunks = chunks(kernel)
        self.nest = _Nest(kernel)
        self.in_place = in_place(kernel.body, kernel.stores)
        dtypes = [value.dtype for value in kernel.body] + [k.dtypes[s.window.operand] for s in kernel.stores]
        lanes = k.target.lanes(vector_dtype(dtypes))
        self.lanes = min(lanes, power_of_two(self.nest.length))

    def emit(self) -> None:
        k, nest = self.k, self.nest
        items = nest.rows * nest.segments
        first, last = (k.share(chunk, self.chunks, items) for chunk in (k.lo, k.hi))
        if nest.rows == 1:  # adjacent segments are one loop
            size = nest.segment
            stop = k.smaller(k.affine(0, (last, size)), nest.length)
            self._segment(k.i64(0), k.affine(0, (first, size)), stop)
            return
        with k.loop(first, last) as loop:
            if nest.across:
                segment, row = k.unravel(loop.index, (nest.segments, nest.rows))
            else:
                row, segment = k.unravel(loop.index, (nest.rows, nest.segments))
            if nest.segments == 1:
                self._segment(row, 0, nest.length)
            else:
                start = k.affine(0, (segment, nest.segment))
                self._segment(row, start, k.smaller(k.affine(nest.segment, (start, 1)), nest.length))

    def _segment(self, row: IRValue, start: IRValue | int, stop: IRValue | int) -> None:
        """Points [start, stop) of a row. `start` is a multiple of the lanes, and so is `stop`, unless
        it is the end of the row.
        """
        k, nest = self.k, self.nest
        along = Row(k, nest.body, k.unravel(row, nest.outer), nest.stores)

        def emit(inner: IRValue | int, lanes: int) -> None:
            along.store(along.values(inner, lanes), inner, lanes)

        points(k, start, stop, nest.length, self.lanes, self.in_place, emit)
