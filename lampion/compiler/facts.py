"""What the merging of groups asks again and again."""

from __future__ import annotations

from lampion.compiler.schedule import Schedule


class Facts:
    """What is asked about each group again and again: what it reads and what it makes."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.equations = [group.equations for group in schedule.groups]
        self.outputs = [{e.output for e in equations} for equations in self.equations]
        layouts = schedule.layouts
        self.roots = [
            {layouts[v].root for e in equations for v in e.values if not schedule.is_scalar(v)}
            for equations in self.equations
        ]

    def points(self, number: int) -> int:
        """How many points a reduction goes over."""
        main = self.schedule.groups[number].main
        assert main is not None
        size: int = main.inputs[0].size
        return size
