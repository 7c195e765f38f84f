"""Reductions of the same points as one kernel that reads these once: the gradients of a scale and a shift.

Such reductions go along axes that are not the last ones (those become row kernels, see `rows`): the
statistics of a channel, the gradients of what was broadcast over a batch. None may need another's result.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lampion.compiler.facts import Facts
from lampion.compiler.graph import Equation, Value
from lampion.compiler.schedule import MAX_EQUATIONS, MAX_STREAMS, Group

#: Accumulators that fit into registers beside the values that they combine.
MAX_REDUCTIONS = 4


@dataclass(eq=False)
class SumsGroup(Group):
    """A `reduce` group of several reductions: of `main`, and of the others."""

    others: list[Equation] = field(default_factory=list)

    @property
    def equations(self) -> list[Equation]:
        main = [] if self.main is None else [self.main]
        return [*self.body, *main, *self.others, *self.epilogue]


class Sums:
    """Groups that become one."""

    def __init__(self, facts: Facts, number: int) -> None:
        self.facts = facts
        self.members = {number}

    @property
    def groups(self) -> list[Group]:
        return [self.facts.schedule.groups[n] for n in sorted(self.members)]

    def shares(self, number: int) -> bool:
        """Whether a group reads a large array that a member reads too, or one that was made beside such."""
        own = self._sources(number)
        return any(own & self._sources(n) for n in self.members)

    def _sources(self, number: int) -> set[Value | int]:
        """The arrays that a reduction reads at its points; the groups that made them; and what maps among
        these read, for what they make may be computed here instead (see `recompute`).
        """
        size, schedule = self.facts.points(number), self.facts.schedule
        large = {value for value in self.facts.roots[number] if value.size >= size}
        makers = {schedule.position[value] for value in large if value in schedule.position}
        maps = [n for n in makers if schedule.groups[n].kind == "map"]
        return large | makers | {v for n in maps for v in self.facts.roots[n] if v.size >= size}

    def fits(self, number: int) -> bool:
        """Take a group in, if the kernel stays within its limits."""
        groups = [*self.groups, self.facts.schedule.groups[number]]
        equations = [e for group in groups for e in group.equations]
        made = {e.output for e in equations}
        streams = {v for e in equations for v in e.values if v not in made and v.size > 1}
        if len(groups) > MAX_REDUCTIONS or len(equations) > MAX_EQUATIONS or len(streams) > MAX_STREAMS:
            return False
        self.members.add(number)
        return True

    def is_worth_it(self) -> bool:
        return len(self.members) > 1

    def group(self) -> SumsGroup:
        groups = self.groups
        mains = [group.main for group in groups if group.main is not None]
        return SumsGroup(
            "reduce",
            groups[0].shape,
            body=[e for group in groups for e in group.body],
            main=mains[0],
            epilogue=[e for group in groups for e in group.epilogue],
            others=mains[1:],
        )
