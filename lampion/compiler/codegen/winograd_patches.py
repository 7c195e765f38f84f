"""Squares of images, for Winograd's algorithm, read where they lie: channels adjacent, zeros outside.

What a square sees outside of an image is zeros: of its rows, a pointer to zeros is taken instead, chosen when
the code runs. Its columns are known as the code is written: squares along a row are of a few kinds (the
leftmost, the rightmost, those between), each with code of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.kernel_ir import Window
from lampion.dtype import DType

_LINE = 16  # elements that caches fetch at one time, at least
_FAR = 1 << 12  # elements from one column to the next: where it is more, zeros are of one column only

#: Reads `lanes` channels of each place of a square, from a channel on: [row][column].
Read = Callable[[IRValue | int, int], list[list[IRValue]]]
#: What is done with a square, given its column and the carried values; and what those become.
Body = Callable[[IRValue, Read, Sequence[IRValue]], Sequence[IRValue]]


class Patches:
    """Squares `size` places wide, `step` places apart.

    Args:
        images: (N, rows, columns, C), channels adjacent.
        padding: rows above the images, and columns left of them, that the first squares see.
        count: squares from top to bottom, and from left to right.
        channels: that are read at one place, at most.
    """

    def __init__(
        self, k: KernelBuilder, images: Window, dtype: DType, size: int, step: int, padding: tuple[int, int],
        count: tuple[int, int], channels: int,
    ) -> None:  # fmt: skip
        self.k, self.images, self.dtype = k, images, dtype
        self.size, self.step, self.padding, self.count = size, step, padding, count
        *_, self.by_column, _ = images.strides
        self.is_near = 0 <= self.by_column <= _FAR
        room = channels + ((size - 1) * self.by_column if self.is_near else 0)
        self.zeros = k.room(dtype, room)
        with k.loop(0, room) as loop:
            k.store(k.constant(dtype, 0), k.address(self.zeros, dtype, loop.index), dtype)
        # Squares with the same columns outside: which columns those are, and the squares from where to where.
        kinds = itertools.groupby(range(count[1]), lambda number: self._outside(number, 1))
        self.kinds = [(outside, tuple(numbers)) for outside, numbers in kinds]

    def _outside(self, number: int, axis: int) -> tuple[bool, ...]:
        """Which rows (or columns) of the square with that number are outside of an image."""
        first, places = self.step * number - self.padding[axis], self.images.shape[1 + axis]
        return tuple(not 0 <= first + i < places for i in range(self.size))

    def along(
        self, image: IRValue, row: IRValue, columns: tuple[IRValue | int, IRValue | int],
        channel: IRValue | int, body: Body, carried: Sequence[IRValue] = (),
    ) -> Sequence[IRValue]:  # fmt: skip
        """Do something with each square of a row, from one column to another; channels from `channel` on.

        Returns:
            the carried values after the last square.
        """
        k = self.k
        lines = [self._line(image, row, i, channel) for i in range(self.size)]
        for outside, numbers in self.kinds:
            first, last = k.larger(numbers[0], columns[0]), k.smaller(numbers[-1] + 1, columns[1])
            with k.loop(first, last, carried=carried) as loop:
                starts = [self._start(line, loop.index) for line in lines]

                def read(
                    c: IRValue | int, lanes: int, outside: Sequence[bool] = outside,
                    starts: Sequence[tuple[IRValue, IRValue | int]] = starts,
                ) -> list[list[IRValue]]:  # fmt: skip
                    return [self._row(start, by, outside, c, lanes) for start, by in starts]

                loop.carry(*body(loop.index, read, loop.values))
            carried = loop.results
        return carried

    def fetch(
        self, image: IRValue, row: IRValue, column: IRValue, channel: IRValue | int, count: int
    ) -> None:
        """Have the caches fetch what the square below sees and others do not: `step` by `step` places."""
        k, step, (above, left) = self.k, self.step, self.padding
        by_image, by_row, by_column, _ = self.images.strides
        first = self.size - above, (self.size - step) // 2 - left
        start = self.images.offset + first[0] * by_row + first[1] * by_column
        at = k.affine(start, (image, by_image), (row, step * by_row), (column, step * by_column))
        with k.loop(0, count, _LINE) as loop:
            for i, j in itertools.product(range(step), repeat=2):
                place = k.affine(i * by_row + j * by_column, (at, 1), (channel, 1), (loop.index, 1))
                k.prefetch(k.at(self.images.operand, place), 1)

    def _line(
        self, image: IRValue, row: IRValue, i: int, channel: IRValue | int
    ) -> tuple[IRValue, IRValue | None]:
        """Row i of a row of squares: where its first column is, and if it is inside (None: it always is)."""
        k = self.k
        place = k.affine(i - self.padding[0], (row, self.step))
        by_image, by_row, by_column, _ = self.images.strides
        start = k.affine(
            self.images.offset - self.padding[1] * by_column,
            (image, by_image), (place, by_row), (channel, 1),
        )  # fmt: skip
        always = not any(self._outside(number, 0)[i] for number in range(self.count[0]))
        inside = None if always else k.ir.icmp_unsigned("<", place, k.i64(self.images.shape[1]))
        return k.at(self.images.operand, start), inside

    def _start(self, line: tuple[IRValue, IRValue | None], column: IRValue) -> tuple[IRValue, IRValue | int]:
        """A row of a square: where it begins, and how far its columns are apart."""
        k, (start, inside) = self.k, line
        place = k.address(start, self.dtype, k.affine(0, (column, self.step * self.by_column)))
        if inside is None:
            return place, self.by_column
        by = self.by_column if self.is_near else k.ir.select(inside, k.i64(self.by_column), k.i64(0))
        return k.ir.select(inside, place, self.zeros), by

    def _row(
        self, start: IRValue, by: IRValue | int, outside: Sequence[bool], c: IRValue | int, lanes: int
    ) -> list[IRValue]:
        k = self.k
        return [
            k.constant(self.dtype, 0, lanes) if is_outside
            else k.load(k.address(start, self.dtype, k.affine(0, (c, 1), (by, i))), self.dtype, lanes)
            for i, is_outside in enumerate(outside)
        ]  # fmt: skip
