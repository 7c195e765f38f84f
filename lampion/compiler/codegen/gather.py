"""Emits `Gather` and `ScatterAdd`: reading and adding at places that are known at run time only.

Both walk the points of the index in order. The work is divided along one axis of the points, chosen so that
no two chunks of a scatter write the same element; a thread walks its part of that axis in one go. A point
whose index is out of range ends the kernel, and its flat position is the status.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lampion.compiler.codegen.builder import I64, IRValue, KernelBuilder
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Gather, Pick, ScatterAdd

_CHUNK = 8192  # points that a chunk is worth
_CHUNKS = 128
_UNIT = 16  # a row is divided at multiples of this many elements: whole vectors, and a cache line or more


@dataclass
class _Axis:
    """An axis of the points: its size, and the strides of `far` (the side that the indices pick from: 0 along
    the axis of an index), of `near` (the side in the order of the points), and of the indices.
    """

    size: int
    far: int
    near: int
    indices: tuple[int, ...]

    @property
    def strides(self) -> tuple[int, ...]:
        return (self.far, self.near, *self.indices)


class _Points:
    """The points of a kernel as few axes, and how they are divided."""

    def __init__(self, kernel: Gather | ScatterAdd) -> None:
        far, near = (kernel.source, kernel.out) if isinstance(kernel, Gather) else (kernel.out, kernel.source)
        self.far, self.near, self.axis = far, near, kernel.axis
        self.picks = kernel.picks or (
            Pick(kernel.index, far.shape[kernel.axis], far.strides[kernel.axis], kernel.axis, False),
        )
        self.count = kernel.index.size
        self.axes = self._joined()
        # The last axis is walked in one go where its points share an index.
        self.rows = bool(self.axes) and not any(self.axes[-1].indices)
        # The axis to divide: the longest, but in a scatter one along which all destinations differ.
        scatters = isinstance(kernel, ScatterAdd)
        allowed = [number for number, axis in enumerate(self.axes) if axis.far or not scatters]
        self.split = max(allowed, key=lambda number: self.axes[number].size, default=None)
        self.unit = _UNIT if self.rows and self.split == len(self.axes) - 1 else 1
        self.units = 1 if self.split is None else -(-self.axes[self.split].size // self.unit)
        self.chunks = max(1, min(_CHUNKS, self.count // _CHUNK, self.units)) if self.count else 0

    def _joined(self) -> list[_Axis]:
        """The axes; those of one point left out, neighbours made one where all strides allow it."""
        axes: list[_Axis] = []
        for number, size in enumerate(self.picks[0].window.shape):
            far = 0 if number == self.axis else self.far.strides[number]
            indices = tuple(pick.window.strides[number] for pick in self.picks)
            axis = _Axis(size, far, self.near.strides[number], indices)
            if size == 1:
                continue
            last = axes[-1] if axes else None
            if last and all(x == size * y for x, y in zip(last.strides, axis.strides, strict=True)):
                axes[-1] = _Axis(last.size * size, axis.far, axis.near, axis.indices)
            else:
                axes.append(axis)
        return axes


def chunks(kernel: Gather | ScatterAdd, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    return _Points(kernel).chunks


def emit(module: Any, name: str, kernel: Gather | ScatterAdd, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if kernel.index.size:
        _Emission(k, kernel).emit()
    k.finish()


class _Emission:
    def __init__(self, k: KernelBuilder, kernel: Gather | ScatterAdd) -> None:
        self.k = k
        self.points = points = _Points(kernel)
        self.dtype = k.dtypes[kernel.out.operand]
        if k.dtypes[kernel.source.operand] is not self.dtype:
            raise TypeError(f"source and out must have one type, got {kernel.operands}")
        self.scatters = isinstance(kernel, ScatterAdd)
        self.adds = isinstance(kernel, ScatterAdd) and kernel.adds
        self.rows = points.rows
        self.vectors = points.rows and points.axes[-1].far == points.axes[-1].near == 1

    def emit(self) -> None:
        points = self.points
        axes = points.axes[:-1] if self.rows else points.axes
        windows = (points.far, points.near, *(pick.window for pick in points.picks))
        starts = [window.offset for window in windows]
        with self.k.ir.if_then(self.k.ir.icmp_signed("<", self.k.lo, self.k.hi)):
            self._walk(0, axes, [self.k.i64(start) for start in starts], self.k.i64(0))

    def _walk(self, number: int, axes: Sequence[_Axis], offsets: list[IRValue], flat: IRValue) -> None:
        """Loop over the axes from this one on. `flat` is the flat position so far."""
        if number == len(axes):
            self._point(offsets, flat)
            return
        axis = axes[number]
        with self.k.loop(*self._part(number)) as loop:
            moved = [
                self.k.affine(0, (o, 1), (loop.index, s)) for o, s in zip(offsets, axis.strides, strict=True)
            ]
            self._walk(number + 1, axes, moved, self.k.affine(0, (flat, axis.size), (loop.index, 1)))

    def _part(self, number: int) -> tuple[IRValue | int, IRValue | int]:
        """The bounds of an axis, which for the divided one are this thread's."""
        k, points, size = self.k, self.points, self.points.axes[number].size
        if number != points.split or points.chunks == 1:
            return 0, size
        lo, hi = (k.ir.udiv(k.affine(0, (x, points.units)), k.i64(points.chunks)) for x in (k.lo, k.hi))
        return k.affine(0, (lo, points.unit)), k.smaller(k.affine(0, (hi, points.unit)), size)

    def _point(self, offsets: list[IRValue], flat: IRValue) -> None:
        """One index, and what it picks: an element, or a row."""
        k, points = self.k, self.points
        far, near, *places = offsets
        first, last, length = self._row()
        for pick, place in zip(points.picks, places, strict=True):
            index = self._index(pick, place)
            # As unsigned numbers, negative indices are beyond any size.
            with k.ir.if_then(k.ir.icmp_unsigned(">=", index, k.i64(pick.size)), likely=False):
                k.finish(k.affine(1, (flat, length), (first, 1)))
            far = k.affine(0, (far, 1), (index, pick.stride))
        if not self.rows:
            self._move(far, near, 1)
            return
        axis = points.axes[-1]

        def along(start: IRValue | int, stop: IRValue | int, lanes: int) -> None:
            with k.loop(start, stop, lanes) as loop:
                places = (far, axis.far), (near, axis.near)
                there, here = (k.affine(0, (start, 1), (loop.index, step)) for start, step in places)
                self._move(there, here, lanes)

        if self.vectors:
            lanes = k.target.lanes(self.dtype)
            length_here = k.affine(0, (k.i64(last), 1), (first, -1))
            whole = k.affine(0, (first, 1), (k.ir.and_(length_here, k.i64(-lanes)), 1))
            along(first, whole, lanes)
            first = whole
        along(first, last, 1)

    def _index(self, pick: Pick, place: IRValue) -> IRValue:
        """One index, as a 64-bit number."""
        k, dtype = self.k, self.k.dtypes[pick.window.operand]
        index = k.load(k.at(pick.window.operand, place), dtype)
        if dtype.itemsize < 8:
            index = k.ir.sext(index, I64) if dtype.kind == "i" else k.ir.zext(index, I64)
        if not pick.wraps:
            return index
        from_end = k.affine(pick.size, (index, 1))
        return k.ir.select(k.ir.icmp_signed("<", index, k.i64(0)), from_end, index)

    def _row(self) -> tuple[IRValue | int, IRValue | int, int]:
        """The bounds of a row, and its whole length (a row of one element if rows are not a thing here)."""
        if not self.rows:
            return 0, 1, 1
        return *self._part(len(self.points.axes) - 1), self.points.axes[-1].size

    def _move(self, far: IRValue, near: IRValue, lanes: int) -> None:
        k, points = self.k, self.points
        there, here = k.at(points.far.operand, far), k.at(points.near.operand, near)
        if not self.adds:
            there, here = (here, there) if self.scatters else (there, here)
            k.store(k.load(there, self.dtype, lanes), here, self.dtype)
            return
        add: Callable[..., IRValue] = {"f": k.ir.fadd, "b": k.ir.or_}.get(self.dtype.kind, k.ir.add)
        total = add(k.load(there, self.dtype, lanes), k.load(here, self.dtype, lanes))
        k.store(total, there, self.dtype)
