"""Emits `Walk`: values that are carried along an axis, from each point to the next.

Each step waits for the one before, so what is done at the same time lies beside: the lanes of a vector are
neighbours along another axis. That is the innermost one in memory, where the walk does not go along it; else
a few rows walk together, each lane with loads and stores of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.emitter import Emitter
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.codegen.nest import (
    Axes,
    chunk_count,
    points,
    power_of_two,
    rewindow,
    vector_dtype,
    windows_of,
)
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Walk, Window

_COLUMNS = 64  # that one item walks down: whole vectors of any processor
_ROWS = 8  # that walk together
_VECTORS = 4  # side by side: a step takes longer than it takes to start a few


def chunks(kernel: Walk, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    return _Nest(kernel).chunks


def emit(module: Any, name: str, kernel: Walk, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if math.prod(kernel.shape) > 0:
        _Emission(k, kernel).emit()
    k.finish()


class _Nest:
    """The loop nest with its axes in the order (outside, of the walk, across the lanes)."""

    def __init__(self, kernel: Walk) -> None:
        windows = windows_of(kernel.body, kernel.stores)

        def key(axis: int) -> int:  # along memory
            return -sum(abs(window.strides[axis]) for window in windows)

        self.axes = axes = Axes(
            kernel.shape, windows, key, [a == kernel.axis for a in range(len(kernel.shape))]
        )
        self.steps = kernel.shape[kernel.axis]
        others = [axis for axis, walked in enumerate(axes.reduced) if not walked]
        self.along = (
            bool(others) and others[-1] == len(axes.shape) - 1
        )  # whether lanes are neighbours in memory
        across = others[-1:] if self.along else sorted(others, key=lambda axis: axes.shape[axis])[-1:]
        walked = [axis for axis, is_walked in enumerate(axes.reduced) if is_walked]
        outer = [axis for axis in others if axis not in across]
        self.outer = tuple(axes.shape[axis] for axis in outer)
        # None: an axis of one point, which `Axes` left out.
        self._order: list[int | None] = [*outer, walked[0] if walked else None, across[0] if across else None]
        self.length = axes.shape[across[0]] if across else 1
        self.unit = _COLUMNS if self.along else _ROWS
        self.units = -(-self.length // self.unit)
        self.items = math.prod(self.outer) * self.units
        self.chunks = chunk_count(math.prod(kernel.shape), kernel.body, self.items)
        self.body = rewindow(kernel.body, self._window)
        self.stores = rewindow(kernel.stores, self._window)

    def _window(self, window: Window) -> Window:
        window = self.axes.window(window)
        pairs = [
            (1, 0) if axis is None else (window.shape[axis], window.strides[axis]) for axis in self._order
        ]
        return replace(window, shape=tuple(n for n, _ in pairs), strides=tuple(step for _, step in pairs))


class _Emission:
    def __init__(self, k: KernelBuilder, kernel: Walk) -> None:
        self.k, self.xp, self.kernel, self.nest = k, Emitter(k), kernel, _Nest(kernel)

    def emit(self) -> None:
        k, nest = self.k, self.nest
        lanes = min(self._lanes(), power_of_two(nest.length))
        first, last = (k.share(chunk, nest.chunks, nest.items) for chunk in (k.lo, k.hi))
        with k.loop(first, last) as items:
            row, unit = k.unravel(items.index, (nest.items // nest.units, nest.units))
            outer = k.unravel(row, nest.outer)
            start = k.affine(0, (unit, nest.unit))
            stop = k.smaller(k.affine(nest.unit, (start, 1)), nest.length)
            points(
                k, start, stop, nest.length, lanes, False,
                lambda column, lanes: self._walk(outer, column, lanes),
            )  # fmt: skip

    def _lanes(self) -> int:
        if not self.nest.along:
            return _ROWS
        vector = self.k.target.lanes(vector_dtype([value.dtype for value in self.kernel.body]))
        return min(self.nest.unit, vector * max(1, _VECTORS // len(self.kernel.initial)))

    def _walk(self, outer: Sequence[IRValue], column: IRValue | int, lanes: int) -> None:
        """All steps, at `lanes` points across from `column` on."""
        k, kernel, nest = self.k, self.kernel, self.nest
        start = [self.xp.literal(value.value, value.dtype).spread(lanes) for value in kernel.initial]
        with k.loop(0, nest.steps, carried=[state.value for state in start]) as loop:
            row = Row(k, nest.body, (*outer, loop.index), nest.stores)
            values = row.values(column, lanes, results=self._states(loop.values, start))
            row.store(values, column, lanes)
            now = [values[n] for n in kernel.carried]
            loop.carry(*(x.astype(s.dtype).spread(lanes).value for x, s in zip(now, start, strict=True)))

    def _states(self, values: Sequence[IRValue], like: Sequence[Lanes]) -> list[Lanes]:
        return [self.xp.made(value, state) for value, state in zip(values, like, strict=True)]
