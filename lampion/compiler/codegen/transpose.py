"""Maps that read across the order in which they write: a layout changed, a matrix transposed.

Element by element, each load would fetch a cache line for one element, and where the stride is a power of
two, those lines evict each other before the next row comes for its share. Here a square tile is loaded by
whole vectors *along* memory, and turned in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.nest import points, power_of_two
from lampion.compiler.kernel_ir import Load, Store, Value, Window

LEAST = 16  # points along both axes, from which on it is worth it
#: Points by points of an item of work: a whole number of tiles on any processor, and whole cache lines. (Half
#: of that is no slower where rows lie anywhere, but twice as slow where they lie a power of two apart.)
_BLOCK = 32
_TILE = 16  # points by points of a tile, at most: a cache line of float32
_CODE = 192  # values that one tile may take: the body is emitted for each of its rows


Index = dict[int, Any]  # of each axis: an i64, or an int


class Tiling:
    """A Map in which a load runs along axis `turned` while the stores run along the innermost axis."""

    def __init__(
        self, shape: Sequence[int], turned: int, body: Sequence[Value], stores: Sequence[Store], once: bool
    ) -> None:
        self.shape, self.turned, self.body, self.stores, self.once = tuple(shape), turned, body, stores, once
        loads = [value.window for value in body if isinstance(value, Load)]
        self.crossing = [window for window in loads if crosses(window, turned)]
        # Axis by axis, how many blocks (or points) there are. The turned axis comes last: its next block
        # lies in the same pages of the memory that is read.
        blocks = [-(-n // _BLOCK) if axis in (turned, len(shape) - 1) else n for axis, n in enumerate(shape)]
        self.order = [*(axis for axis in range(len(shape)) if axis != turned), turned]
        self.blocks = tuple(blocks[axis] for axis in self.order)

    def emit_item(self, k: KernelBuilder, item: IRValue, lanes: int) -> None:
        """One block, tile by tile; what is left at the ends of the axes row by row, and point by point."""
        size = min(lanes, _TILE, max(4, power_of_two(_CODE // len(self.body) or 1)))
        index = dict(zip(self.order, k.unravel(item, self.blocks), strict=True))

        def along(axis: int, emit: Callable[[IRValue | int, int], None]) -> None:
            start = k.affine(0, (index[axis], _BLOCK))
            stop = k.smaller(k.affine(_BLOCK, (start, 1)), self.shape[axis])
            points(k, start, stop, self.shape[axis], size, self.once, emit)

        def rows(row: IRValue | int, count: int) -> None:
            def columns(column: IRValue | int, lanes: int) -> None:
                if count == lanes == size:
                    self._emit_tile(k, {**index, self.turned: row}, column, size)
                    return
                with k.loop(row, k.affine(count, (row, 1))) as loop:
                    self._row(k, {**index, self.turned: loop.index}, column, lanes)

            along(len(self.shape) - 1, columns)

        along(self.turned, rows)

    def _emit_tile(self, k: KernelBuilder, index: Index, column: IRValue | int, size: int) -> None:
        tiles = {}
        for window in self.crossing:
            at = {**index, len(self.shape) - 1: column}
            start = k.affine(window.offset, *((at[axis], step) for axis, step in enumerate(window.strides)))
            pointers = [
                k.at(window.operand, k.affine(n * window.strides[-1], (start, 1))) for n in range(size)
            ]
            tiles[window] = turn(k, [k.load(at, k.dtypes[window.operand], size) for at in pointers])
        for n in range(size):
            row = {**index, self.turned: k.affine(n, (index[self.turned], 1))}
            self._row(k, row, column, size, {window: tile[n] for window, tile in tiles.items()})

    def _row(
        self,
        k: KernelBuilder,
        index: Index,
        column: IRValue | int,
        lanes: int,
        loaded: Mapping[Window, IRValue] | None = None,
    ) -> None:
        outer = [index[axis] for axis in range(len(self.shape) - 1)]
        row = Row(k, self.body, outer, self.stores)
        row.store(row.values(column, lanes, loaded=loaded), column, lanes)


def crosses(window: Window, axis: int) -> bool:
    """Whether a window is contiguous along that axis, and strides along the innermost one."""
    return window.strides[axis] == 1 and window.strides[-1] not in (-1, 0, 1)


def turn(k: KernelBuilder, vectors: Sequence[IRValue]) -> list[IRValue]:
    """Transpose a square matrix of vectors: swap its off-diagonal quarters, then theirs, and so on."""
    vectors, size = list(vectors), len(vectors)
    half = size // 2
    while half:
        # Of x and y, the pieces of `half` lanes at even places, and those at odd places.
        even = [n if n & half == 0 else n - half + size for n in range(size)]
        odd = [n + half if n & half == 0 else n + size for n in range(size)]
        for n in range(size):
            if n & half == 0:
                x, y = vectors[n], vectors[n + half]
                vectors[n], vectors[n + half] = k.shuffle(x, y, even), k.shuffle(x, y, odd)
        half //= 2
    return vectors
