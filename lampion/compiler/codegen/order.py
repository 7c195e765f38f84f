"""What must be complete before each call of a plan: all that it reads, and all use of what it overwrites.

A call is *shared* if all threads work on it; the others are left to thread 0, which runs them in order. A
call is complete when all its chunks are done, and then so is all that it waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lampion.compiler.kernel_ir import Call, Gather, Kernel, Repeat, Rows, ScatterAdd


@dataclass(frozen=True)
class Step:
    """What happens before a call.

    Attributes:
        waits: the calls to wait for, which no thread (that waits here) is sure of yet.
        check: whether all threads look here if something failed, and leave if so.
        all_wait: whether all threads wait, or only thread 0.
    """

    waits: tuple[int, ...]
    check: bool
    all_wait: bool


def can_fail(kernel: Kernel) -> bool:
    """Whether the kernel can come upon an index out of range."""
    if isinstance(kernel, Repeat):
        return any(can_fail(call.kernel) for call in kernel.calls)
    return isinstance(kernel, Gather | ScatterAdd) or (isinstance(kernel, Rows) and bool(kernel.choices))


def steps(calls: Sequence[Call], shared: Sequence[bool]) -> list[Step]:
    """The step before each call."""
    return _Order(calls, shared).steps


@dataclass(frozen=True)
class _Touch:
    """A call's use of a range of bytes."""

    call: int
    space: int  # -1 the arena, else the number of the external
    start: int
    stop: int
    written: bool

    def conflicts(self, other: _Touch) -> bool:
        return (
            (self.written or other.written)
            and self.space == other.space
            and self.start < other.stop
            and other.start < self.stop
        )


def _touches(number: int, call: Call) -> list[_Touch]:
    touches = []
    for operand, place in zip(call.kernel.operands, call.places, strict=True):
        space, start = (-1, place.index) if place.arena else (place.index, 0)
        touches.append(_Touch(number, space, start, start + place.nbytes, operand.written))
    return touches


def _writes_outside(call: Call) -> bool:
    pairs = zip(call.kernel.operands, call.places, strict=True)
    return any(operand.written and not place.arena for operand, place in pairs)


class _Order:
    """Walks the calls, and keeps what every thread knows to be complete, and what thread 0 knows."""

    def __init__(self, calls: Sequence[Call], shared: Sequence[bool]) -> None:
        self.shared = shared
        self.steps: list[Step] = []
        self.known: set[int] = set()
        self.known_to_first: set[int] = set()
        # For each call, what else is complete when it is (leaving out what all threads knew already).
        self.implied: list[set[int]] = []
        self.open: list[_Touch] = []  # of calls that not all threads know to be complete
        self.doubtful: set[int] = set()  # calls that can have failed unnoticed
        self.alone: set[int] = set()  # the last call that was left to thread 0, and what it implies
        for number, call in enumerate(calls):
            self._call(number, call)

    def _call(self, number: int, call: Call) -> None:
        touches, shared = _touches(number, call), self.shared[number]
        needed = {old.call for old in self.open for new in touches if new.conflicts(old)}
        check = bool(self.doubtful) and _writes_outside(call)
        if check:
            needed |= self.doubtful
            self.doubtful = set()
        all_wait = shared or check
        if all_wait:
            waits = needed - self.known
        else:  # what thread 0 ran itself is complete for it
            waits = {n for n in needed - self.known_to_first if self.shared[n]}
        self.steps.append(Step(self._fewest(waits), check, all_wait))
        implied = self._closed(needed)
        self.known_to_first |= implied
        if all_wait:
            self.known |= implied
            self.open = [touch for touch in self.open if touch.call not in self.known]
        if not shared:
            implied |= self.alone
            self.alone = implied | {number}
            self.known_to_first.add(number)
        self.implied.append(implied - self.known)
        if can_fail(call.kernel):
            self.doubtful.add(number)
        self.open += touches

    def _closed(self, calls: set[int]) -> set[int]:
        """These calls, and what they imply."""
        return calls.union(*(self.implied[n] for n in calls))

    def _fewest(self, waits: set[int]) -> tuple[int, ...]:
        """Without those whose completion the others imply."""
        return tuple(sorted(n for n in waits if not any(n in self.implied[m] for m in waits)))
