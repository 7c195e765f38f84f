"""The register tile of a convolution with few outputs, which would leave lanes of registers empty.

So channels are in the lanes, and each place has as many sums as there are outputs:

    for each tap, and a register of channels:
        sums[place, output] += buffer[place under the tap] * w[tap, output]

At the end the lanes of each sum are added up, pair by pair, and the totals of a place become one register.
Filters lie tap by tap, of each tap output by output, with the channels of a block adjacent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lampion.compiler.codegen import tile
from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.target import Target
from lampion.dtype import DType

_MOST = 8  # outputs
_WORTH = 0.7  # of the multiply-adds with outputs in the lanes: then it pays
_WRITTEN_OUT = 4  # registers of channels, at most


def suits(outputs: int, channels: int, taps: Sequence[int], itemsize: int) -> bool:
    """Whether channels are better in the lanes than outputs: by a place's instructions, of 64 bytes each."""
    lanes = 64 // itemsize
    adding_up = 3 * outputs + 8
    return (
        outputs <= _MOST
        and math.prod(taps) * -(-channels // lanes) * outputs + adding_up
        <= _WORTH * math.prod(taps) * channels
    )


def places(target: Target, outputs: int) -> int:
    """Of a tile: so many that sums, filters and what is multiplied by them fit into registers."""
    return max(1, (24 if target.registers >= 32 else 12) // outputs)


def multiply(
    k: KernelBuilder, a: IRValue, offsets: Sequence[int], filters: IRValue, dtype: DType, channels: int,
    onto: Sequence[IRValue],
) -> list[IRValue]:  # fmt: skip
    """Add the products under one tap to sums (place by place, of each output by output).

    Args:
        a: what the first place sees; `offsets`: where the others do, from there.
        filters: of the tap.
    """
    lanes = k.target.lanes(dtype)
    outputs = len(onto) // len(offsets)

    def step(at: IRValue | int, sums: Sequence[IRValue], mask: IRValue | None = None) -> list[IRValue]:
        def load(base: IRValue, offset: int) -> IRValue:
            return k.load(k.address(base, dtype, k.affine(offset, (at, 1))), dtype, lanes, mask)

        factors = [load(filters, output * channels) for output in range(outputs)]
        found: list[IRValue] = []
        for offset in offsets:
            seen = load(a, offset)
            for factor in factors:
                found.append(tile.multiply_add(k, seen, factor, sums[len(found)]))
        return found

    sums, whole = list(onto), channels // lanes * lanes
    if whole <= _WRITTEN_OUT * lanes:
        for at in range(0, whole, lanes):
            sums = step(at, sums)
    else:
        with k.loop(0, whole, lanes, carried=sums) as loop:
            loop.carry(*step(loop.index, loop.values))
        sums = loop.results
    return step(whole, sums, k.first(k.i64(channels - whole), lanes)) if channels > whole else sums


def added_up(k: KernelBuilder, sums: Sequence[IRValue], dtype: DType) -> list[IRValue]:
    """The totals of these sums, one in each lane, in as few registers as hold them."""
    lanes = k.target.lanes(dtype)
    return [_totals(k, sums[at : at + lanes], dtype) for at in range(0, len(sums), lanes)]


def _totals(k: KernelBuilder, sums: Sequence[IRValue], dtype: DType) -> IRValue:
    lanes, count = k.target.lanes(dtype), 1 << (len(sums) - 1).bit_length()
    # `parts`: registers with the lanes of one sum after the other, `length` of each.
    parts = [*sums, *[k.constant(dtype, 0, lanes)] * (count - len(sums))]
    length = lanes
    while length > 1:
        pairs = [(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)] if len(parts) > 1 else None
        if pairs is None:
            pairs = [(parts[0], parts[0])]
        halves = [
            [start + n for start in range(0, 2 * lanes, length) for n in range(first, first + length // 2)]
            for first in (0, length // 2)
        ]
        parts = [k.ir.fadd(*(k.shuffle(a, b, half) for half in halves)) for a, b in pairs]
        length //= 2
    return parts[0]
