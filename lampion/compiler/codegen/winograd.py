"""Winograd's way to convolve with filters of 3x3: four places of the output from 16 products instead of 36.

Two neighbouring results of a filter with three taps, y = (d0 g0 + d1 g1 + d2 g2, d1 g0 + d2 g1 + d3 g2), are

    y0 = m0 + m1 + m2,   y1 = m1 - m2 - m3     (after)

where m is the product, number by number, of

    (d0 - d2, d1 + d2, d2 - d1, d1 - d3)                           (before, of the input)
    (g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2)               (filters)

Done along columns and then along rows, that is F(2x2, 3x3): a tile of 4x4 places of the input makes 2x2 of
the output. What is multiplied is then summed over the channels, so all tiles together are 16 products of
matrices, (tiles, channels) by (channels, outputs). All steps are linear, so the gradient of the filters takes
the same steps turned round: products of `before` and `slopes`, summed over tiles, and then `gathered`.

Each result depends on the nine places under its taps only, all others cancel exactly: zeros stay zeros, whole
numbers stay exact, and what is not finite stays where it is. As many digits are lost as by a plain sum of
products. (F(4x4, 3x3), with fewer multiplications still, would lose some times as many.)

Source: A. Lavin, S. Gray: "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import llvmlite.ir as ir

from lampion.compiler.codegen import tile
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.convolution_blocks import Geometry
from lampion.compiler.switches import is_on
from lampion.dtype import DType

SIDE = 4  # of a tile of the input, which makes 2x2 places of the output
PRODUCTS = SIDE * SIDE
DEPTH = 64  # terms that are summed up in registers, at most: longer sums would lose digits
_SIXTEEN = 16  # channels and outputs come in multiples of this
_CHANNELS = 512  # at most: the tiles of a block should stay in the second-level cache
_TILES = 64  # at least, for filters to be worth preparing
_GAIN = 1.15  # what it has to be faster by

Numbers = Sequence[IRValue]
Along = Callable[[Numbers], list[IRValue]]


def pays(g: Geometry) -> bool:
    """Whether a convolution, or its filters' gradient, is to be computed in this way: by its shape alone.

    The environment variable LAMPION_WINOGRAD=0 says no to new plans.
    """
    return is_on("LAMPION_WINOGRAD") and _is_possible(g) and _gain(g) >= _GAIN


def tiles(g: Geometry) -> tuple[int, int, int]:
    """Images, and rows and columns of tiles in each."""
    return g.images, -(-g.sizes[1] // 2), -(-g.sizes[2] // 2)


def _is_possible(g: Geometry) -> bool:
    images, rows, columns = tiles(g)
    return (
        g.itemsize == 4 and g.groups == 1 and g.taps == (1, 3, 3)
        and (g.inputs[0], g.sizes[0], g.padding[0]) == (1, 1, 0)
        and g.stride == (1, 1, 1) and g.dilation[1:] == (1, 1) and all(0 <= p <= 2 for p in g.padding)
        and g.channels % _SIXTEEN == g.outputs % _SIXTEEN == 0
        and max(g.channels, g.outputs) <= _CHANNELS
        and images * rows * columns >= _TILES
    )  # fmt: skip


def _gain(g: Geometry) -> float:
    """How much faster it should be, by the cycles that a tile takes (with AVX-512; other levels gain as
    much).
    """
    _, rows, columns = tiles(g)
    c, o = g.channels // _SIXTEEN, g.outputs // _SIXTEEN
    filled = g.sizes[1] * g.sizes[2] / (4 * rows * columns)  # the last tiles may have places outside
    return 310 * c * o * filled / (136 * c * o + 40 * c + 57 * o)


class Algebra:
    """The steps along one line of numbers, each a vector of `lanes` channels or outputs."""

    def __init__(self, k: KernelBuilder, dtype: DType) -> None:
        self.k, self.half = k, k.constant(dtype, 0.5, k.target.lanes(dtype))

    def before(self, d: Numbers) -> list[IRValue]:
        """Four places of the input -> 4."""
        add, sub = self.k.ir.fadd, self.k.ir.fsub
        return [sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3])]

    def filters(self, g: Numbers) -> list[IRValue]:
        """Three taps -> 4."""
        add, sub, mul = self.k.ir.fadd, self.k.ir.fsub, self.k.ir.fmul
        outer = add(g[0], g[2])
        return [g[0], mul(self.half, add(outer, g[1])), mul(self.half, sub(outer, g[1])), g[2]]

    def after(self, m: Numbers) -> list[IRValue]:
        """4 -> two places of the output."""
        add, sub = self.k.ir.fadd, self.k.ir.fsub
        return [add(add(m[0], m[1]), m[2]), sub(sub(m[1], m[2]), m[3])]

    def slopes(self, y: Numbers) -> list[IRValue]:
        """The gradient of two places of the output -> 4 (`after` turned round but for a sign)."""
        add, sub = self.k.ir.fadd, self.k.ir.fsub
        return [y[0], add(y[0], y[1]), sub(y[0], y[1]), y[1]]

    def gathered(self, m: Numbers) -> list[IRValue]:
        """4 -> the gradient of three taps (`filters` turned round, with the sign that `slopes` left)."""
        add, sub, mul = self.k.ir.fadd, self.k.ir.fsub, self.k.ir.fmul
        sum_, difference = mul(self.half, add(m[1], m[2])), mul(self.half, sub(m[1], m[2]))
        return [add(m[0], sum_), difference, sub(sum_, m[3])]


def both(along: Along, grid: Sequence[Numbers]) -> list[list[IRValue]]:
    """A step along each column of a grid of numbers, then along each row."""
    columns = [along(column) for column in zip(*grid, strict=True)]
    return [along(row) for row in zip(*columns, strict=True)]


def mended(
    k: KernelBuilder, dtype: DType, values: Numbers, again: Callable[[], Sequence[IRValue]]
) -> list[IRValue]:
    """The values; or, where a lane of them is infinite or no number, what `again` emits instead of them all.

    Sums of infinities are not a number where the convolution is infinite; so those are computed directly.
    """
    zero = total = k.constant(dtype, 0, k.target.lanes(dtype))
    for value in values:
        total = tile.multiply_add(k, value, zero, total)  # 0 * infinity is not a number
    lanes = k.ir.fcmp_unordered("uno", total, total)
    bits = k.ir.bitcast(lanes, ir.IntType(lanes.type.count))
    before = k.ir.block
    with k.ir.if_then(k.ir.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0)), likely=False):
        others = again()
        end = k.ir.block
    found = []
    for value, other in zip(values, others, strict=True):
        phi = k.ir.phi(value.type)
        phi.add_incoming(value, before)
        phi.add_incoming(other, end)
        found.append(phi)
    return found
