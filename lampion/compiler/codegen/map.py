"""Emits `Map`: evaluate the body at every point, then store.

After its axes are sorted and joined, a Map is a number of rows; rows are cut into segments, and chunks are
runs of segments. Each element depends on its own point only, so the order is free.
"""

from __future__ import annotations

import math
from typing import Any

from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.nest import (
    Axes,
    chunk_count,
    dear,
    in_place,
    points,
    power_of_two,
    rewindow,
    vector_dtype,
    windows_of,
)
from lampion.compiler.codegen.target import Target
from lampion.compiler.codegen.transpose import LEAST, Tiling, crosses
from lampion.compiler.kernel_ir import Map

_SEGMENT = 1024  # elements of a row, a multiple of the lanes of any processor


def chunks(kernel: Map, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    return _Nest(kernel).chunks


def emit(module: Any, name: str, kernel: Map, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if math.prod(kernel.shape) > 0:
        _emit(k, kernel, _Nest(kernel))
    k.finish()


class _Nest:
    """The loop nest: `rows` rows of `length` points, in segments of `segment` points; or tiles."""

    def __init__(self, kernel: Map) -> None:
        loads, stores = windows_of(kernel.body), windows_of(kernel.stores)

        def key(axis: int) -> tuple[int, ...]:  # along memory, as the stores walk it
            return tuple(-abs(window.strides[axis]) for window in (*stores, *loads))

        axes = Axes(kernel.shape, [*stores, *loads], key)
        self.body, self.stores = rewindow(kernel.body, axes.window), rewindow(kernel.stores, axes.window)
        self.outer, self.length = axes.shape[:-1], axes.shape[-1] if axes.shape else 1
        self.rows = math.prod(self.outer)
        self.segment = min(self.length, _SEGMENT)
        self.segments = -(-self.length // self.segment) if self.length else 0
        self.once = in_place(kernel.body, kernel.stores)
        self.tiling = self._tiling(axes.shape)
        items = math.prod(self.tiling.blocks) if self.tiling else self.rows * self.segments
        self.items, self.chunks = items, chunk_count(math.prod(kernel.shape), kernel.body, items)

    def _tiling(self, shape: tuple[int, ...]) -> Tiling | None:
        """A tiling, if a load runs along an outer axis, and both axes are long enough for a block."""
        if not shape or shape[-1] < LEAST or dear(self.body):
            return None
        loads = windows_of(self.body)
        counts = [
            sum(crosses(w, axis) for w in loads) if n >= LEAST else 0 for axis, n in enumerate(shape[:-1])
        ]
        if not any(counts):
            return None
        return Tiling(shape, counts.index(max(counts)), self.body, self.stores, self.once)


def _emit(k: KernelBuilder, kernel: Map, nest: _Nest) -> None:
    dtypes = [value.dtype for value in nest.body] + [k.dtypes[store.window.operand] for store in nest.stores]
    lanes = min(k.target.lanes(vector_dtype(dtypes)), power_of_two(nest.length))
    first, last = (k.share(chunk, nest.chunks, nest.items) for chunk in (k.lo, k.hi))
    if nest.tiling is not None:
        with k.loop(first, last) as loop:
            nest.tiling.emit_item(k, loop.index, lanes)
    elif nest.rows == 1:  # adjacent segments are one loop
        stop = k.smaller(k.affine(0, (last, nest.segment)), nest.length)
        _emit_segment(k, nest, k.i64(0), k.affine(0, (first, nest.segment)), stop, lanes)
    else:
        with k.loop(first, last) as loop:
            row, segment = k.unravel(loop.index, (nest.rows, nest.segments))
            if nest.segments == 1:
                _emit_segment(k, nest, row, 0, nest.length, lanes)
            else:
                start = k.affine(0, (segment, nest.segment))
                stop = k.smaller(k.affine(nest.segment, (start, 1)), nest.length)
                _emit_segment(k, nest, row, start, stop, lanes)


def _emit_segment(
    k: KernelBuilder, nest: _Nest, row: IRValue, start: IRValue | int, stop: IRValue | int, lanes: int
) -> None:
    """Points [start, stop) of a row. `start` is a multiple of the lanes, and so is `stop`, unless it is
    the end of the row.
    """
    along = Row(k, nest.body, k.unravel(row, nest.outer), nest.stores)

    def emit(inner: IRValue | int, lanes: int) -> None:
        along.store(along.values(inner, lanes), inner, lanes)

    points(k, start, stop, nest.length, lanes, nest.once, emit)
