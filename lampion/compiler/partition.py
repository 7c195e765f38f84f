"""What a compiled forward keeps for its backward: the cheapest set of values from which the rest follows.

The forward and the backward of a function stand in one graph. Some values of the forward are read by the
backward. Keeping all of those would be what the tape does; but of a chain of elementwise operations it is
enough to keep where it starts, since computing it again inside of the kernel that needs it costs nothing
next to reading it from memory. Which values to keep is a minimum cut: each value is a pipe as wide as it is
long in memory; what may be computed again is fed by its inputs, everything else (matrix products, reductions,
random bits) by the source; what the backward reads runs into the sink. The narrowest place that parts the two
is what is kept. Tensors that the user holds anyway, and that eager would hold on to as well, are pipes of no
width.

Source: for rematerialisation by minimum cut, H. He, S. Zdancewic: "Transcending runtime-memory tradeoffs in
checkpointing by being fusion aware" (2023).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

from lampion.compiler.graph import Equation, Graph, Value
from lampion.errors import LampionError

_UNLIMITED = 1 << 62


def extract(graph: Graph, known: Sequence[Value], wanted: Sequence[Value]) -> Graph:
    """The part of a graph that computes some values from others: a graph whose inputs are those of the
    known values that it reads.
    """
    given = set(known)
    needed = {value for value in wanted if value not in given}
    read = {value for value in wanted if value in given}
    kept: list[Equation] = []
    for equation in reversed(graph.equations):
        if equation.output not in needed:
            continue
        kept.append(equation)
        for value in equation.values:
            (read if value in given else needed).add(value)
    part = graph.replaced(kept[::-1], list(wanted))
    part.inputs = [value for value in dict.fromkeys(known) if value in read]
    part.constants = {value: array for value, array in graph.constants.items() if value in needed}
    lost = needed - {equation.output for equation in kept} - set(part.constants)
    if lost:
        raise LampionError("compile", "a gradient reads what was not kept", got=", ".join(map(repr, lost)))
    return part


def read_by(later: Sequence[Equation], wanted: Collection[Value], seeds: Collection[Value]) -> list[Value]:
    """What the last equations of a graph read of what stands before them, to compute the wanted values.

    Args:
        seeds: values that nothing computes: they are not before.
    """
    needed = dict.fromkeys(wanted)
    for equation in reversed(later):
        if equation.output in needed:
            needed.update(dict.fromkeys(equation.values))
    made = {equation.output for equation in later}
    return [value for value in needed if value not in made and value not in seeds]


def makers(graph: Graph) -> dict[Value, Equation]:
    """Which equation computes a value."""
    return {equation.output: equation for equation in graph}


def stops(made_by: dict[Value, Equation], values: Collection[Value], at: Collection[Value]) -> set[Value]:
    """Where one first meets some of the values `at`, on the way back from others."""
    found: set[Value] = set()
    seen: set[Value] = set()
    stack = list(values)
    while stack:
        value = stack.pop()
        if value in seen:
            continue
        seen.add(value)
        if value in at:
            found.add(value)
        elif value in made_by:
            stack += made_by[value].values
    return found


def cut(graph: Graph, read: Collection[Value], free: Collection[Value]) -> list[Value]:
    """The values to keep, so that some others can be computed again.

    Args:
        read: those others.
        free: values that are there anyway.
    """
    flow = _Flow()
    made_by = makers(graph)
    done: set[Value] = set()
    stack = list(read)
    for value in read:
        flow.connect(("out", value), "sink", _UNLIMITED)
    while stack:
        value = stack.pop()
        if value in done or value in graph.constants:
            continue
        done.add(value)
        equation = made_by.get(value)
        flow.connect(("in", value), ("out", value), 0 if value in free else _width(value, equation))
        if equation is None or not _again(equation):
            flow.connect("source", ("in", value), _UNLIMITED)
            continue
        for x in set(equation.values):
            if x not in graph.constants:
                flow.connect(("out", x), ("in", value), _UNLIMITED)
                stack.append(x)
    near_sink = flow.cut()
    order = [*graph.inputs, *(equation.output for equation in graph)]
    return [v for v in order if v in done and ("out", v) in near_sink and ("in", v) not in near_sink]


def _again(equation: Equation) -> bool:
    """Whether a value may be computed a second time."""
    primitive = equation.primitive
    if not equation.values or primitive.kind == "movement":
        return True
    return primitive.kind == "elementwise" and primitive.native


def _width(value: Value, equation: Equation | None) -> int:
    """What it costs to keep a value. Of equal ones, rather not a view of the other."""
    return 2 * value.nbytes + 1 + (equation is not None and equation.primitive.kind == "movement")


class _Flow:
    """A network of pipes, and the most that flows through it (Dinic's algorithm)."""

    def __init__(self) -> None:
        self.room: dict[object, dict[object, int]] = {"source": {}, "sink": {}}

    def connect(self, start: object, end: object, width: int) -> None:
        """Lay a pipe."""
        self.room.setdefault(start, {})[end] = width
        self.room.setdefault(end, {}).setdefault(start, 0)

    def cut(self) -> set[object]:
        """The places that are on the sink's side of the narrowest cut, of equal ones of that next to it."""
        while (level := self._levels()) is not None:
            exits = {place: list(pipes) for place, pipes in self.room.items()}
            while self._push(level, exits):
                pass
        side: set[object] = {"sink"}
        stack: list[object] = ["sink"]
        while stack:
            place = stack.pop()
            for before in self.room[place]:
                if before not in side and self.room[before][place] > 0:
                    side.add(before)
                    stack.append(before)
        return side

    def _levels(self) -> dict[object, int] | None:
        """How far from the source each place is through pipes with room; None: the sink is out of reach."""
        level: dict[object, int] = {"source": 0}
        edge: list[object] = ["source"]
        while edge and "sink" not in level:
            after: list[object] = []
            for place in edge:
                for end, room in self.room[place].items():
                    if room > 0 and end not in level:
                        level[end] = level[place] + 1
                        after.append(end)
            edge = after
        return level if "sink" in level else None

    def _push(self, level: dict[object, int], exits: dict[object, list[object]]) -> int:
        """Send as much as fits along one shortest way; 0: there is none left."""
        path: list[object] = ["source"]
        while path and path[-1] != "sink":
            place = path[-1]
            while exits[place]:
                end = exits[place][-1]
                if self.room[place][end] > 0 and level.get(end) == level[place] + 1:
                    path.append(end)
                    break
                exits[place].pop()
            else:
                path.pop()
                if path:
                    exits[path[-1]].pop()
        if not path:
            return 0
        pipes = list(itertools.pairwise(path))
        amount = min(self.room[start][end] for start, end in pipes)
        for start, end in pipes:
            self.room[start][end] -= amount
            self.room[end][start] += amount
        return amount


__all__ = ["cut", "extract", "makers", "read_by", "stops"]
