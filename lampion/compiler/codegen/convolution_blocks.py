"""How a convolution is cut, from its shape alone: into blocks of images, places, channels and outputs.

What is worked on at one time has to be near: the part of the input that a block of places sees, for some of
the channels, and the filters for those channels and a register tile's width of outputs. Both together stay
within half of a second-level cache. Where an image has few places, several images are taken together, so that
filters that were fetched are used often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Outputs that lie side by side in the filters as the kernel reads them: the widest register tile.
PANEL = 32
_BUFFER = 160 << 10  # bytes of the input's part that a block sees
_FILTERS = 160 << 10  # bytes of the filters for a block of channels and a panel of outputs
_PLACES = 128  # of a block, at least, where there are so many
_ROWS = 8  # of an image in a block, at most
_SUMS = 64 << 10  # bytes of sums that wait for the next block of channels
_CHUNKS = 16  # there should be so many, for threads to share
_WORK = 1 << 17  # multiplications that a chunk is worth


def channel_block(channels: int, taps: int, itemsize: int) -> int:
    """How many channels are taken at one time: a divisor of their number."""
    fitting = max(1, _FILTERS // (max(1, taps) * PANEL * itemsize))
    if channels <= fitting:
        return max(1, channels)
    return max(n for n in range(1, fitting + 1) if channels % n == 0)


@dataclass(frozen=True)
class Geometry:
    """A convolution in three dimensions: planes, rows and columns (of fewer, the first have one place)."""

    images: int
    channels: int  # of a group
    outputs: int  # of a group
    groups: int
    inputs: tuple[int, ...]
    sizes: tuple[int, ...]
    taps: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    itemsize: int

    def seen(self, rows: int, columns: int) -> tuple[int, int, int]:
        """What of the input a block sees: planes (where taps are), rows and columns."""
        (planes, down, along), (_, d1, d2), (_, s1, s2) = self.taps, self.dilation, self.stride
        return planes, s1 * (rows - 1) + d1 * (down - 1) + 1, s2 * (columns - 1) + d2 * (along - 1) + 1


class Blocks:
    """The sizes of blocks, and how many there are."""

    def __init__(self, geometry: Geometry, channels: int) -> None:
        self.geometry, self.channels = geometry, channels  # channels: of a block
        self.columns = self._columns()
        self.rows = self._rows()
        self.images = self._images()
        self.channel_blocks = geometry.channels // channels
        self.outputs = self._outputs()
        g = geometry
        self.counts = (
            -(-g.images // self.images), g.groups, -(-g.outputs // self.outputs), g.sizes[0],
            -(-g.sizes[1] // self.rows), -(-g.sizes[2] // self.columns),
        )  # fmt: skip
        self.items = math.prod(self.counts)

    @property
    def places(self) -> int:
        return self.images * self.rows * self.columns

    @property
    def work(self) -> int:
        """Multiplications of a block."""
        return self.places * self.outputs * math.prod(self.geometry.taps) * self.geometry.channels

    @property
    def per_chunk(self) -> int:
        """Blocks in a chunk: several, if they are small."""
        return max(1, min(self.items // (4 * _CHUNKS), _WORK // max(1, self.work)))

    @property
    def chunks(self) -> int:
        return -(-self.items // self.per_chunk)

    def _bytes(self, rows: int, columns: int) -> int:
        return math.prod(self.geometry.seen(rows, columns)) * self.channels * self.geometry.itemsize

    def _columns(self) -> int:
        columns = self.geometry.sizes[2]
        while columns > 8 and self._bytes(1, columns) > _BUFFER:
            columns = -(-columns // 2)
        return columns

    def _rows(self) -> int:
        """As many as fit, and in blocks that are equal, or nearly."""
        size = self.geometry.sizes[1]
        rows = min(size, _ROWS)
        while rows > 1 and self._bytes(rows, self.columns) > _BUFFER:
            rows -= 1
        return _even(size, rows)

    def _images(self) -> int:
        g = self.geometry
        wanted = -(-_PLACES // (self.rows * self.columns))
        fitting = _BUFFER // self._bytes(self.rows, self.columns)
        shared = -(-g.images * math.prod(g.sizes[:1]) // _CHUNKS)  # images that still leave enough chunks
        return _even(g.images, max(1, min(wanted, fitting, shared)))

    def _outputs(self) -> int:
        """All, unless the sums of so many would not stay in cache while they wait; in whole panels."""
        outputs = self.geometry.outputs
        if self.channel_blocks > 1:
            panels = max(1, _SUMS // (self.places * PANEL * self.geometry.itemsize))
            outputs = min(outputs, panels * PANEL)
        return outputs


def _even(size: int, most: int) -> int:
    """A block of at most `most`, so that all blocks are about equal."""
    return -(-size // -(-size // most))


def three(values: Sequence[int], nothing: int) -> tuple[int, ...]:
    """One number for each of three dimensions."""
    return (*(nothing,) * (3 - len(values)), *values)


def even_runs(count: int, most: int) -> list[tuple[int, tuple[int, int]]]:
    """`count` in pieces of at most `most`, as equal as can be: (size, (from, to)) of each size."""
    pieces = -(-count // most)
    size, larger = divmod(count, pieces)
    border = larger * (size + 1)
    found = ((size + 1, (0, border)), (size, (border, count)))
    return [(n, bounds) for n, bounds in found if bounds[0] < bounds[1]]
