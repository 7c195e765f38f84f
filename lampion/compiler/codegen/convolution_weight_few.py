"""The gradient of filters with few outputs, which would leave lanes of registers empty: channels are in the
lanes instead, and the gradient's numbers are put into all of them.

    for each tap, place by place:
        sums[output, channels] += x[place under the tap, channels] * y[place, output]
"""

from __future__ import annotations

from lampion.compiler.codegen import tile
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.convolution_blocks import Geometry, even_runs
from lampion.compiler.codegen.pack import Matrix, load_row, store_row

_MOST = 8  # outputs
_WORTH = 0.7  # of the multiply-adds with outputs in the lanes: then it pays
_TERMS = 64  # places that are summed up in registers, at most


def suits(g: Geometry) -> bool:
    """Whether channels are better in the lanes (of registers of 64 bytes) than outputs."""
    lanes = 64 // g.itemsize
    return (
        g.outputs <= _MOST
        and g.channels >= lanes
        and -(-g.channels // lanes) * g.outputs <= _WORTH * g.channels
    )


class Panel:
    """What a block of places adds to `out`: rows of channels, one for each tap of a row and output."""

    def __init__(self, k: KernelBuilder, g: Geometry, channels: int, out: Matrix, by_tap: int) -> None:
        self.k, self.geometry, self.channels, self.out, self.by_tap = k, g, channels, out, by_tap
        self.lanes = k.target.lanes(out.dtype)
        self.width = max(1, (24 if k.target.registers >= 32 else 8) // g.outputs) * self.lanes

    def clear(self) -> None:
        k, dtype = self.k, self.out.dtype
        zeros = [k.constant(dtype, 0, self.lanes)] * -(-self.channels // self.lanes)
        with k.loop(0, self.geometry.taps[2]) as tap, k.loop(0, self.geometry.outputs) as output:
            line = self.out.at(k, output.index, k.affine(0, (tap.index, self.by_tap)))
            store_row(k, zeros, line, dtype, self.channels)

    def add(self, seen: Matrix, y: Matrix, by_rows: tuple[int, int], rows: int, columns: int) -> None:
        """A block of the output, and what it sees of the input.

        Args:
            seen: (columns that the taps of the first row see, channels).
            y: (columns, outputs).
            by_rows: from a row to the next of each.
        """
        k, g = self.k, self.geometry
        for count, (first, last) in even_runs(rows, max(1, _TERMS // columns)):
            with k.loop(first, last, count) as row, k.loop(0, g.taps[2]) as tap:
                under = k.affine(0, (row.index, by_rows[0]), (tap.index, g.dilation[2] * self.channels))
                x = seen.part(k, 0, under)
                slopes = y.part(k, 0, k.affine(0, (row.index, by_rows[1])))
                out = self.out.part(k, 0, k.affine(0, (tap.index, self.by_tap)))
                whole = self.channels // self.width * self.width
                if whole:
                    with k.loop(0, whole, self.width) as channel:
                        self._tile(x, slopes, out, by_rows, count, columns, channel.index, self.width)
                if self.channels > whole:
                    self._tile(x, slopes, out, by_rows, count, columns, whole, self.channels - whole)

    def _tile(
        self, seen: Matrix, y: Matrix, out: Matrix, by_rows: tuple[int, int], rows: int, columns: int,
        channel: IRValue | int, width: int,
    ) -> None:  # fmt: skip
        """All outputs by some channels, from zero; then added to what is in memory."""
        k, dtype, outputs = self.k, out.dtype, self.geometry.outputs
        vectors = -(-width // self.lanes)
        with k.loop(0, rows, carried=[k.constant(dtype, 0, self.lanes)] * (outputs * vectors)) as row:
            slopes = y.part(k, 0, k.affine(0, (row.index, by_rows[1])))
            x = seen.part(k, 0, k.affine(0, (row.index, by_rows[0]), (channel, 1)))
            turned = Matrix(slopes.pointer, dtype, slopes.column, slopes.row)
            row.carry(*tile.multiply(k, turned, x, columns, outputs, width, onto=row.values))
        lines = [out.at(k, output, channel) for output in range(outputs)]
        before = [vector for line in lines for vector in load_row(k, line, dtype, width, self.lanes)]
        after = [k.ir.fadd(a, b) for a, b in zip(before, row.results, strict=True)]
        for output, line in enumerate(lines):
            store_row(k, after[output * vectors : (output + 1) * vectors], line, dtype, width)
