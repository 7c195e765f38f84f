"""The arena: one block of memory for all intermediate results, reused as soon as a result is dead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lampion.compiler import kernel_ir as ir

#: Buffers start at multiples of this: a cache line, and the widest vector.
ALIGNMENT = 64


class Arena:
    """Buffers are taken while the plan is built, and get their offsets at the end, when it is known
    from which call to which each of them lives.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.nbytes = 0

    def take(self, nbytes: int) -> ir.Place:
        """A buffer, known by its number until `place` turns that into an offset."""
        self.sizes.append(-(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT)
        return ir.Place(True, len(self.sizes) - 1, nbytes)

    def place(self, calls: Iterable[ir.Call]) -> list[ir.Call]:
        """The calls, with offsets in place of numbers.

        Greedy, largest buffer first: each goes to the lowest offset where it overlaps no buffer that is
        alive at the same time.
        """
        calls = list(calls)
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for position, call in enumerate(calls):
            for place in call.places:
                if place.arena:
                    first.setdefault(place.index, position)
                    last[place.index] = position
        offsets: dict[int, int] = {}
        for number in sorted(first, key=lambda n: (-self.sizes[n], n)):
            size = self.sizes[number]
            taken = sorted(
                (offsets[other], offsets[other] + self.sizes[other]) for other in offsets
                if first[other] <= last[number] and first[number] <= last[other]
            )  # fmt: skip
            offset = 0
            for start, end in taken:
                if offset + size <= start:
                    break
                offset = max(offset, end)
            offsets[number] = offset
            self.nbytes = max(self.nbytes, offset + size)
        return [
            replace(
                call,
                places=tuple(
                    replace(p, index=offsets[p.index] + p.start, start=0) if p.arena else p
                    for p in call.places
                ),
            )
            for call in calls
        ]
