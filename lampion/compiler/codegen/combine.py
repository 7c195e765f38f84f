"""Combines values in a fixed order: what every kernel with reductions in it does.

No more than `IN_SEQUENCE` values are combined one after the other before their total goes into another
accumulator: a tree of fixed form, like NumPy's pairwise summation, whose rounding error grows with the
logarithm of the length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.emitter import Emitter
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.kernel_ir import Reduction

IN_SEQUENCE = 32

Accumulators = list[Lanes]  # one for each reduction
Step = Callable[[Any, Accumulators], Accumulators]  # (number, so far) -> and now


class Combiner:
    """One reduction: what it starts from, and how it combines."""

    def __init__(self, xp: Emitter, reduction: Reduction) -> None:
        primitive, self.dtype, self.value = reduction.primitive, reduction.dtype, reduction.value
        if primitive.combine is None or primitive.identity is None:
            raise TypeError(f"{primitive.name} has no combine and identity, and is no reduction")
        self.identity = xp.literal(primitive.identity(self.dtype), self.dtype)
        self._xp, self._combine = xp, primitive.combine

    def __call__(self, x: Lanes, y: Lanes) -> Lanes:
        out: Lanes = self._combine(self._xp, x, y)
        return out.astype(self.dtype)


class Combining:
    """Several reductions over the same points."""

    def __init__(self, k: KernelBuilder, xp: Emitter, reductions: Sequence[Reduction]) -> None:
        self.k, self.xp = k, xp
        self.reductions = [Combiner(xp, reduction) for reduction in reductions]

    def identities(self, lanes: int) -> Accumulators:
        return [reduction.identity.spread(lanes) for reduction in self.reductions]

    def combined(self, x: Accumulators, y: Accumulators) -> Accumulators:
        return [reduction(a, b) for reduction, a, b in zip(self.reductions, x, y, strict=True)]

    def values(self, values: Any, lanes: int) -> Accumulators:
        """What is to be combined, from the values of a body."""
        return [values[r.value].astype(r.dtype).spread(lanes) for r in self.reductions]

    def folded(self, totals: Accumulators) -> Accumulators:
        """All lanes of each accumulator combined: halves, halves of halves..."""
        return [self.fold(reduction, total) for reduction, total in zip(self.reductions, totals, strict=True)]

    def fold(self, reduction: Combiner, total: Lanes, lanes: int = 1) -> Lanes:
        """The lanes of one accumulator, folded down to so many."""
        while total.count > lanes:
            half = total.count // 2
            parts = (range(half), range(half, 2 * half))
            low, high = (
                self.xp.made(self.k.shuffle(total.value, total.value, part), total) for part in parts
            )
            total = reduction(low, high)
        return total

    def sequence(self, count: int, per_step: int, so_far: Accumulators, step: Step) -> Accumulators:
        """`count` steps that combine `per_step` values each, in sequence or, if that is long, in blocks."""
        k = self.k
        if count == 1:
            return step(0, so_far)
        block = _block(count, per_step)
        if block >= count:
            return self._looped(0, count, so_far, step)

        def steps(i: IRValue | int, so_far: Accumulators) -> Accumulators:
            first = k.affine(0, (i, block))
            last = k.affine(block, (first, 1))
            if count % block:
                last = k.smaller(last, count)
            nothing = self.identities(so_far[0].count) if so_far else []
            part = step(i, nothing) if block == 1 else self._looped(first, last, nothing, step)
            return self.combined(so_far, part)

        return self.sequence(-(-count // block), 1, so_far, steps)

    def _looped(
        self, first: IRValue | int, last: IRValue | int, so_far: Accumulators, step: Step
    ) -> Accumulators:
        with self.k.loop(first, last, carried=[lanes.value for lanes in so_far]) as loop:
            now = step(loop.index, [self.xp.made(v, a) for v, a in zip(loop.values, so_far, strict=True)])
            loop.carry(*(lanes.value for lanes in now))
        return [self.xp.made(v, a) for v, a in zip(loop.results, so_far, strict=True)]


def sequence_length(count: int, per_step: int) -> int:
    """How many values are combined in sequence by `Combining.sequence`, at its outermost level."""
    block = _block(count, per_step)
    return count * per_step if block == count else sequence_length(-(-count // block), 1)


def _block(count: int, per_step: int) -> int:
    """How many of `count` steps may follow one another."""
    return min(count, max(1, IN_SEQUENCE // per_step))
