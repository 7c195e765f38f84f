"""Maps that read across the order in which they write: a layout changed, a matrix transposed.

Element by element, each load would fetch a cache line for one element, and where the stride is a power of
two, those lines evict each other before the next row comes for its share. Here a square tile is loaded by
whole vectors *along* memory, and turned in registers.
"""

from __future__ import annotations

from collections.abc import Sequence

from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.kernel_ir import Load, Store, Value, Window

BLOCK = 16  # points by points of an item of work: a whole number of tiles on any processor


class Tiling:
    """A Map in which a load runs along axis `turned` while the stores run along the innermost axis."""

    def __init__(
        self, shape: Sequence[int], turned: int, body: Sequence[Value], stores: Sequence[Store]
    ) -> None:
        self.shape, self.turned, self.body, self.stores = tuple(shape), turned, body, stores
        self.crossing = [
            value.window for value in body if isinstance(value, Load) and self._crosses(value.window)
        ]
        # Axis by axis, how many blocks (or points) there are. The turned axis comes last: its next block
        # lies in the same pages of the memory that is read.
        blocks = [-(-n // BLOCK) if axis in (turned, len(shape) - 1) else n for axis, n in enumerate(shape)]
        self.order = [*(axis for axis in range(len(shape)) if axis != turned), turned]
        self.blocks = tuple(blocks[axis] for axis in self.order)

    def _crosses(self, window: Window) -> bool:
        return crosses(window, self.turned)

    def emit_item(self, k: KernelBuilder, item: IRValue, lanes: int) -> None:
        """One block, tile by tile. The last ones begin early enough to end with their axis."""
        index = dict(zip(self.order, k.unravel(item, self.blocks), strict=True))
        inner = len(self.shape) - 1
        for axis in (self.turned, inner):
            index[axis] = k.smaller(k.affine(0, (index[axis], BLOCK)), self.shape[axis] - BLOCK)
        with k.loop(0, BLOCK, lanes) as down, k.loop(0, BLOCK, lanes) as right:
            row, column = (
                k.affine(index[axis], (step.index, 1)) for axis, step in ((self.turned, down), (inner, right))
            )
            self._emit_tile(k, {**index, self.turned: row}, column, lanes)

    def _emit_tile(self, k: KernelBuilder, index: dict[int, IRValue], column: IRValue, lanes: int) -> None:
        tiles = {}
        for window in self.crossing:
            outer = [index[axis] for axis in range(len(self.shape) - 1)]
            starts = k.affine(window.offset, *zip([*outer, column], window.strides, strict=True))
            dtype = k.dtypes[window.operand]
            columns = [
                k.load(k.at(window.operand, k.affine(n * window.strides[-1], (starts, 1))), dtype, lanes)
                for n in range(lanes)
            ]
            tiles[window] = turn(k, columns)
        for n in range(lanes):
            outer = [
                k.affine(n, (index[axis], 1)) if axis == self.turned else index[axis]
                for axis in range(len(self.shape) - 1)
            ]
            row = Row(k, self.body, outer, self.stores)
            values = row.values(column, lanes, loaded={window: tile[n] for window, tile in tiles.items()})
            row.store(values, column, lanes)


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
