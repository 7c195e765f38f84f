"""How a matrix product is cut up: every size, chosen from the shapes and strides alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from lampion.compiler.kernel_ir import Load, Matmul, Store, Window

BLOCK = 128  # bytes in a row of a block of columns: a whole number of any processor's panels
WIDE_ROWS = 3  # rows, at most, that are multiplied with several blocks of columns at once, in place
_DEPTH = 160  # steps along k that are summed up in registers, at most: more would lose digits
_PANELS = 128 << 10  # bytes of packed panels
_SUMS = 96 << 10  # bytes of sums that wait for the next block of k, where they wait on the stack
_CHUNK = 1 << 15  # multiplications that a chunk is worth
_CHUNKS = 128  # chunks that are enough for any number of threads
_GROUPS = 48  # chunks that must remain when columns are grouped, at most
_ROWS = 28  # rows that a chunk is worth
_PACKED_ROWS = 256  # rows that are worth packing columns of b anew
_FEW_CHUNKS = 32  # chunks for which columns are packed anew, however few rows there are
_FAR = 8192  # bytes from one step along k to the next from which on columns of a are far apart
_OUTSIDE = 16 << 20  # bytes that no cache holds
_CLOSE = 2048  # bytes from one row of b to the next, at most, where any number of rows reads it in place


def without_batch(kernel: Matmul) -> Matmul:
    """Make the last batch axis a part of the rows, as often as all windows allow it."""
    while len(kernel.a.shape) > 2:
        outer = [kernel.a, *outer_windows(kernel)]
        count, rows = kernel.a.shape[-3], kernel.a.shape[-2]
        joined = all(window.strides[-3] == rows * window.strides[-2] for window in outer)
        if count != 1 and not (joined and kernel.b.strides[-3] == 0):
            break

        def join(window: Window, count: int = count) -> Window:
            shape = (*window.shape[:-3], count * window.shape[-2], window.shape[-1])
            return replace(window, shape=shape, strides=(*window.strides[:-3], *window.strides[-2:]))

        b = kernel.b
        b = replace(b, shape=(*b.shape[:-3], *b.shape[-2:]), strides=(*b.strides[:-3], *b.strides[-2:]))
        kernel = with_windows(kernel, join, join(kernel.a), b)
    return kernel


def without_panels(kernel: Matmul) -> Matmul | None:
    """A batch of the same rows times blocks of columns that follow one another in memory: as the product with
    the matrix that they are blocks of. (Its b lies as the first block does.) None for any other product.
    """
    if len(kernel.a.shape) != 3 or kernel.a.strides[0] != 0 or kernel.a.shape[1] <= WIDE_ROWS:
        return None
    depth, columns = kernel.b.shape[1:]
    block = columns * kernel.dtype.itemsize == BLOCK and kernel.b.strides == (depth * columns, columns, 1)
    if not block or any(w.strides[0] != columns * w.strides[2] for w in outer_windows(kernel)):
        return None

    def join(window: Window) -> Window:
        count, rows, _ = window.shape
        return replace(window, shape=(rows, count * columns), strides=window.strides[1:])

    a = replace(kernel.a, shape=kernel.a.shape[1:], strides=kernel.a.strides[1:])
    return with_windows(kernel, join, a, join(kernel.b))


def swapped(kernel: Matmul) -> Matmul:
    """The same product, transposed: b.T @ a.T."""

    def swap(window: Window) -> Window:
        *batch, m, n = range(len(window.shape))
        shape, strides = ([axes[i] for i in (*batch, n, m)] for axes in (window.shape, window.strides))
        return replace(window, shape=tuple(shape), strides=tuple(strides))

    return with_windows(kernel, swap, swap(kernel.b), swap(kernel.a))


def with_windows(kernel: Matmul, change: Callable[[Window], Window], a: Window, b: Window) -> Matmul:
    """The kernel with other windows."""
    epilogue = tuple(
        replace(value, window=change(value.window)) if isinstance(value, Load) else value
        for value in kernel.epilogue
    )
    stores = tuple(replace(store, window=change(store.window)) for store in kernel.stores)
    return replace(kernel, a=a, b=b, epilogue=epilogue, stores=stores)


def outer_windows(kernel: Matmul) -> list[Window]:
    """What a product is finished with, and where it goes."""
    return [thing.window for thing in (*kernel.epilogue, *kernel.stores) if isinstance(thing, Load | Store)]


def _work(kernel: Matmul) -> float:
    """A guess at the cycles of a product, to choose between it and its transpose."""
    (m, k), n = kernel.a.shape[-2:], kernel.b.shape[-1]
    itemsize = kernel.dtype.itemsize
    lanes = 64 // itemsize
    across, down = kernel.b.strides[-1], kernel.b.strides[-2]
    packing = 0.15 if across == 1 else 0.3 if down == 1 else 1.5
    outer = [0.1 if window.strides[-1] in (0, 1) else 2.0 for window in outer_windows(kernel)]
    # Columns of a that come from memory, line by line, each from another page: packed as b, they cost less.
    far = 1.1 if kernel.a.strides[-1] * itemsize > _FAR and kernel.a.size * itemsize > _OUTSIDE else 1.0
    return far * m * k * -(-n // lanes) + k * n * packing * (m > 14) + m * n * sum(outer)


@dataclass
class Run:
    """A run of `count` rows of tiles, each of `rows` rows; the first is number `first`, at row `start`."""

    first: int
    count: int
    rows: int
    start: int


class Blocking:
    """All sizes. Only the register tile is left to the processor: see `tiles`.

    Attributes:
        kernel: the product, or its transpose.
        block: columns in a block, the unit in which columns are divided.
        groups: groups of blocks (differing by one at most), whose panels are packed together.
        row_groups: groups of rows of tiles. Chunks are groups by row groups, by batch.
        depth: steps along k in a block of k; the sums of all blocks but the last wait in memory,
        into: the store in whose window they wait; None if no store will do, and they wait on the stack,
        waiting: at most so many rows at a time.
        few_rows: whether each element of b is used but once or twice.
        in_place: whether b is read where it is.
        panel: if b lies in blocks of columns, one behind the other: from one to the next. Else None.
        packs_a: whether a is packed.
    """

    def __init__(self, kernel: Matmul) -> None:
        kernel = without_batch(kernel)
        whole = without_panels(kernel)
        self.panel = None if whole is None else kernel.b.strides[0]
        self.kernel = kernel = whole or min(kernel, without_batch(swapped(kernel)), key=_work)
        a, b, itemsize = kernel.a, kernel.b, kernel.dtype.itemsize
        self.batch = a.shape[:-2]
        self.m, self.k, self.n = a.shape[-2], a.shape[-1], b.shape[-1]
        self.b_varies = any(b.strides[:-2])
        # If its rows are short, all of a panel of b stays in the second-level cache where it is.
        close = abs(b.strides[-2]) * itemsize <= _CLOSE
        self.few_rows = self.m <= _ROWS
        self.in_place = b.strides[-1] == 1 and (self.few_rows or close)
        self.block = (4 if self.in_place and self.m <= WIDE_ROWS else 1) * BLOCK // itemsize
        self.packs_a = not self._reads_a_well()
        self.blocks_of_k = max(1, -(-self.k // _DEPTH))
        self.depth = -(-self.k // self.blocks_of_k)
        self.into = next((store for store in kernel.stores if self._can_hold_sums(store)), None)
        self._divide()

    def _divide(self) -> None:
        """Chunks: so many that threads can share them evenly, unless the product is small."""
        batch = math.prod(self.batch)
        itemsize = self.kernel.dtype.itemsize
        self.blocks = -(-self.n // self.block)
        wanted = max(1, min(_CHUNKS, batch * self.m * self.k * self.n // _CHUNK))
        pieces = min(wanted, max(1, self.m // _ROWS))
        most = max(1, _PANELS // (max(1, self.depth) * self.block * itemsize))  # blocks whose panels fit
        enough = min(wanted, self._groups())
        group = min(most, max(1, batch * self.blocks * pieces // enough), max(1, self.blocks))
        waits = self.blocks_of_k > 1 and self.into is None
        if waits:  # with the sums of all rows, if they are few: else columns are packed for each part of them
            group = max(1, min(group, _SUMS // max(1, self.m * self.block * itemsize)))
        self.groups = -(-self.blocks // group)
        self.group = -(-self.blocks // max(1, self.groups))  # blocks in a group, at most
        self.row_groups = min(pieces, -(-wanted // max(1, batch * self.groups)))
        if not self.in_place:
            needed = -(-_FEW_CHUNKS // max(1, batch * self.groups))
            self.row_groups = min(self.row_groups, max(1, self.m // _PACKED_ROWS, needed))
        self.waiting = self.m
        if waits:
            self.waiting = max(_ROWS, _SUMS // (self.group * self.block * itemsize))
            self.row_groups = max(self.row_groups, -(-self.m // self.waiting))
        self.chunks = batch * self.groups * self.row_groups if self.m else 0

    def _groups(self) -> int:
        """Chunks that must remain when columns are grouped: fewer where a is packed, once a group; and still
        fewer where b need not be, so that rows can be cut instead.
        """
        if not self.packs_a:
            return _GROUPS
        return _GROUPS // 2 if self.panel is None else _GROUPS // 6

    def _reads_a_well(self) -> bool:
        """Whether a tile of a can be read in place: its columns are adjacent, so that a step along k finds
        all of it in a cache line or two; or its rows lie along k, and not so that they share a few sets of
        the first-level cache (64 sets of 64 bytes, each with room for at least eight lines).
        """
        down, along = self.kernel.a.strides[-2:]
        itemsize = self.kernel.dtype.itemsize
        if self.m <= 1 or self.k <= 1:
            return True
        if along != 1:
            return down == 1
        sets = [(row * down * itemsize // 64) % 64 for row in range(min(14, self.m))]
        return max(sets.count(number) for number in sets) <= 7

    def _can_hold_sums(self, store: Store) -> bool:
        """Whether sums may wait where the result will be: of their type, in rows, and read by nobody."""
        window, kernel = store.window, self.kernel
        read = [value.window.operand for value in kernel.epilogue if isinstance(value, Load)]
        return (
            kernel.operands[window.operand].dtype is kernel.dtype
            and window.strides[-1] == 1
            and self.n > 1
            and window.operand not in read
            and sum(other.window.operand == window.operand for other in kernel.stores) == 1
        )

    def tiles(self, most: int) -> list[Run]:
        """All rows as tiles of at most `most` rows, whose heights differ by one at most."""
        least = -(-self.m // most)
        # A few more tiles, if they can then be all of one height: that is half as much code. (What is read
        # in place comes from farther away: lower tiles would wait for it.)
        lowest = most * 4 // 7 if most > 8 and not self.in_place else most * 5 // 7
        counts = range(least, -(-self.m // lowest) + 1)
        count = next((count for count in counts if self.m % count == 0), least)
        rows, tall = divmod(self.m, count)
        runs = [Run(0, tall, rows + 1, 0), Run(tall, count - tall, rows, tall * (rows + 1))]
        return [run for run in runs if run.count]
