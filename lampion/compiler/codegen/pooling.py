"""Emits `Pool`: channels in the lanes, so that each lane finds its own maximum.

A chunk that picks is some rows of windows; one that spreads is an image and a block of its channels, since
windows may overlap: it clears its part of z, and then adds window by window, in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.convolution_blocks import three
from lampion.compiler.codegen.emitter import Emitter
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Pool, Window
from lampion.dtype import DType, bool_, int32

_CHUNK = 1 << 14  # numbers looked at that a chunk is worth
_CHANNELS = 64  # of a chunk that spreads
_UNROLLED = 9  # taps that are written out one by one

Carried = list[Lanes]
Step = Callable[[list[IRValue | int], Carried], Carried]


def chunks(kernel: Pool, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    if 0 in kernel.x.shape:
        return 0
    if kernel.spreads:
        return kernel.x.shape[0] * -(-kernel.x.shape[-1] // _CHANNELS)
    return -(-_rows(kernel) // _rows_of_chunk(kernel))


def _rows(kernel: Pool) -> int:
    return math.prod(kernel.out.shape[:-2])


def _rows_of_chunk(kernel: Pool) -> int:
    work = math.prod(kernel.out.shape[-2:]) * math.prod(kernel.taps)
    return max(1, min(_rows(kernel), _CHUNK // max(1, work)))


def emit(module: Any, name: str, kernel: Pool, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if 0 not in kernel.x.shape:
        _Emission(k, kernel).emit()
    k.finish()


class _Emission:
    def __init__(self, k: KernelBuilder, kernel: Pool) -> None:
        self.k, self.kernel, self.xp = k, kernel, Emitter(k)
        self.types = {w.operand: k.dtypes[w.operand] for w in (kernel.x, kernel.z, kernel.out)}
        widest = max(self.types.values(), key=lambda dtype: dtype.itemsize)
        self.lanes = k.target.lanes(widest)
        self.taps, self.stride = three(kernel.taps, 1), three(kernel.stride, 1)
        self.dilation, self.padding = three(kernel.dilation, 1), three(kernel.padding, 0)
        self.inputs, self.windows = three(kernel.x.shape[1:-1], 1), three(kernel.out.shape[1:-1], 1)
        self.channels = kernel.x.shape[-1]

    def emit(self) -> None:
        k = self.k
        if not self.kernel.spreads:
            each, rows = _rows_of_chunk(self.kernel), _rows(self.kernel)
            stop = k.smaller(k.affine(0, (k.hi, each)), rows)
            with k.loop(k.affine(0, (k.lo, each)), stop) as row, k.loop(0, self.windows[2]) as column:
                image, plane, line = k.unravel(row.index, (self.kernel.out.shape[0], *self.windows[:2]))
                place = [plane, line, column.index]
                self._along(0, self.channels, lambda c, lanes: self._pick(image, place, c, lanes))
            return
        blocks = -(-self.channels // _CHANNELS)
        with k.loop(k.lo, k.hi) as chunk:
            image, block = k.unravel(chunk.index, (self.kernel.x.shape[0], blocks))
            first = k.affine(0, (block, _CHANNELS))
            last = k.smaller(k.affine(_CHANNELS, (first, 1)), self.channels)
            with k.loop(0, math.prod(self.inputs)) as loop:
                at = k.unravel(loop.index, self.inputs)
                self._along(first, last, lambda c, lanes: self._clear(image, at, c, lanes))
            with k.loop(0, math.prod(self.windows)) as window:
                number = k.unravel(window.index, self.windows)
                self._along(first, last, lambda c, lanes: self._spread(image, number, c, lanes))

    def _along(self, first: IRValue | int, last: IRValue | int, body: Callable[[IRValue, int], None]) -> None:
        """body(channel, lanes) for these channels."""
        k = self.k
        rest = k.i64(self.channels - self.channels % self.lanes)
        whole = k.larger(k.smaller(last, rest), first)
        with k.loop(first, whole, self.lanes) as loop:
            body(loop.index, self.lanes)
        with k.loop(whole, last) as loop:
            body(loop.index, 1)

    def _at(
        self, window: Window, image: IRValue, place: Sequence[IRValue | int], channel: IRValue
    ) -> IRValue:
        by_image, *steps, by_channel = window.strides
        places = zip(place, three(steps, 0), strict=True)
        offset = self.k.affine(window.offset, (image, by_image), *places, (channel, by_channel))
        return self.k.at(window.operand, offset)

    def _load(
        self, window: Window, image: IRValue, place: Sequence[IRValue | int], channel: IRValue, lanes: int
    ) -> Lanes:
        dtype = self.types[window.operand]
        return Lanes(self.xp, self.k.load(self._at(window, image, place, channel), dtype, lanes), dtype)

    def _literal(self, number: float, dtype: DType, lanes: int) -> Lanes:
        return self.xp.literal(number, dtype).spread(lanes)

    def _clear(self, image: IRValue, place: Sequence[IRValue], channel: IRValue, lanes: int) -> None:
        z = self.kernel.z
        dtype = self.types[z.operand]
        zero = self._literal(0, dtype, lanes).value
        self.k.store(zero, self._at(z, image, place, channel), dtype)

    def _seen(self, window: Sequence[IRValue], tap: Sequence[IRValue | int]) -> list[IRValue]:
        """The place of a tap."""
        axes = zip(window, tap, self.stride, self.dilation, self.padding, strict=True)
        return [self.k.affine(-p, (i, s), (r, d)) for i, r, s, d, p in axes]

    def _bounds(self, window: IRValue, axis: int) -> tuple[IRValue | int, IRValue | int]:
        """From which tap to which a window lies inside of x; ints, if that is so for all windows alike."""
        k = self.k
        s, d, p, n = self.stride[axis], self.dilation[axis], self.padding[axis], self.inputs[axis]
        taps = self.taps[axis]
        end = (self.windows[axis] - 1) * s + d * (taps - 1) - p
        low: IRValue | int = 0
        high: IRValue | int = taps
        if p:  # the first tap with s i + d r - p >= 0
            before = k.larger(k.affine(p + d - 1, (window, -s)), 0)
            low = before if d == 1 else k.ir.udiv(before, k.i64(d))
        if end >= n:  # behind the last one with s i + d r - p < n
            room = k.larger(k.affine(n + p + d - 1, (window, -s)), 0)
            high = k.smaller(room if d == 1 else k.ir.udiv(room, k.i64(d)), taps)
        return low, high

    def _over_taps(self, window: Sequence[IRValue], carried: Carried, step: Step) -> Carried:
        """Carry values from tap to tap of a window, in order."""
        bounds = [self._bounds(at, axis) for axis, at in enumerate(window)]
        unrolled = math.prod(self.taps) <= _UNROLLED

        def axis_loop(axis: int, tap: list[IRValue | int], carried: Carried) -> Carried:
            if axis == 3:
                return step(tap, carried)
            low, high = bounds[axis]
            if unrolled and isinstance(low, int) and isinstance(high, int):
                for r in range(low, high):
                    carried = axis_loop(axis + 1, [*tap, r], carried)
                return carried
            with self.k.loop(low, high, carried=[x.value for x in carried]) as loop:
                inside = [self.xp.made(v, x) for v, x in zip(loop.values, carried, strict=True)]
                after = axis_loop(axis + 1, [*tap, loop.index], inside)
                loop.carry(*(x.value for x in after))
            return [self.xp.made(v, x) for v, x in zip(loop.results, carried, strict=True)]

        return axis_loop(0, [], carried)

    def _is_larger(self, value: Lanes, best: Lanes, started: Lanes) -> Lanes:
        """Whether a value is the new maximum: it is the first, or larger, or the first NaN."""
        if value.dtype.kind != "f":
            return ~started | (value > best)
        return ~started | (value > best) | ((value != value) & (best == best))

    def _pick(self, image: IRValue, window: Sequence[IRValue], channel: IRValue, lanes: int) -> None:
        kernel, xp = self.kernel, self.xp
        same = kernel.z == kernel.x

        def step(tap: list[IRValue | int], carried: Carried) -> Carried:
            best, picked, started = carried
            place = self._seen(window, tap)
            value = self._load(kernel.x, image, place, channel, lanes)
            other = value if same else self._load(kernel.z, image, place, channel, lanes)
            larger = self._is_larger(value, best, started)
            best = xp.where(larger, value, best)
            return [best, best if same else xp.where(larger, other, picked), self._literal(1, bool_, lanes)]

        types = self.types[kernel.x.operand], self.types[kernel.z.operand]
        start = [self._literal(0, types[0], lanes), self._literal(0, types[1], lanes)]
        found = self._over_taps(window, [*start, self._literal(0, bool_, lanes)], step)
        dtype = self.types[kernel.out.operand]
        self.k.store(found[1].spread(lanes).value, self._at(kernel.out, image, window, channel), dtype)

    def _spread(self, image: IRValue, window: Sequence[IRValue], channel: IRValue, lanes: int) -> None:
        kernel, xp, k = self.kernel, self.xp, self.k
        by_plane, by_row = self.taps[1] * self.taps[2], self.taps[2]

        def number(tap: Sequence[IRValue | int]) -> Lanes:
            flat = k.affine(0, (tap[0], by_plane), (tap[1], by_row), (tap[2], 1))
            value = k.ir.trunc(flat, k.constant(int32, 0).type)
            return Lanes(xp, value, int32).spread(lanes)

        def find(tap: list[IRValue | int], carried: Carried) -> Carried:
            best, place, started = carried
            value = self._load(kernel.x, image, self._seen(window, tap), channel, lanes)
            larger = self._is_larger(value, best, started)
            return [
                xp.where(larger, value, best), xp.where(larger, number(tap), place),
                self._literal(1, bool_, lanes),
            ]  # fmt: skip

        types = self.types[kernel.x.operand], self.types[kernel.z.operand]
        start = [
            self._literal(0, types[0], lanes),
            self._literal(0, int32, lanes),
            self._literal(0, bool_, lanes),
        ]
        _, place, _ = self._over_taps(window, start, find)
        gradient = self._load(kernel.out, image, window, channel, lanes)

        def add(tap: list[IRValue | int], carried: Carried) -> Carried:
            at = self._seen(window, tap)
            here = xp.where(place == number(tap), gradient, self._literal(0, types[1], lanes))
            total = self._load(kernel.z, image, at, channel, lanes) + here
            k.store(total.value, self._at(kernel.z, image, at, channel), types[1])
            return carried

        self._over_taps(window, [], add)
