"""What one kernel stores for another to load is computed again there, where that is cheaper.

The slope of GELU needs erf and exp of the same number as GELU itself: arrays as large as the layer, each of
which is written to memory in the forward pass and read in the backward pass. But they are all made of one
array that is in memory anyway, and a polynomial costs less than such a round trip. The same holds for what
layer norm has divided, and for the masks of dropout.

It is done where all readers of a value can, and none of them has to read more bytes for it than before.
"""

from __future__ import annotations

from collections.abc import Sequence

from lampion.compiler.codegen.prices import price
from lampion.compiler.graph import Equation, Value
from lampion.compiler.rows import MAX_EQUATIONS, MAX_KEPT, RowGroup, bytes_kept
from lampion.compiler.rowspace import points_of
from lampion.compiler.schedule import MAX_EQUATIONS as MAX_OF_MAP
from lampion.compiler.schedule import MAX_STREAMS, Group, Layout, Schedule
from lampion.compiler.strides import contiguous_strides
from lampion.compiler.sums import SumsGroup

#: Bytes from which on an array is not taken to stay in the cache of one core.
LARGE = 1 << 18
#: What a chain may cost, in additions: two or three polynomials.
MAX_PRICE = 50.0
#: A value so many times smaller than the one that it helps to compute is no stream.
SMALL = 16


def recompute(schedule: Schedule, written: Sequence[Value | None]) -> None:
    """Rewrite the groups of a schedule.

    Args:
        written: inputs that the plan overwrites: to read them later than before would need copies of them.
    """
    Recomputing(schedule, written).run()
    _drop_idle(schedule)


def _drop_idle(schedule: Schedule) -> None:
    """Leave out the maps whose values all readers compute themselves by now."""
    while idle := [g for g in schedule.groups if g.kind == "map" and not schedule.stored(g)]:
        schedule.groups = [g for g in schedule.groups if g not in idle]
        _count_consumers(schedule)
    schedule.position = {e.output: n for n, group in enumerate(schedule.groups) for e in group.equations}


class Recomputing:
    """The groups of a schedule, while some of their values are computed in others again."""

    def __init__(self, schedule: Schedule, written: Sequence[Value | None]) -> None:
        self.schedule, self.written = schedule, set(written)
        self.given = {*schedule.graph.inputs, *schedule.graph.constants}
        self.home = {id(e): n for n, group in enumerate(schedule.groups) for e in group.equations}

    def run(self) -> None:
        for number, group in enumerate(self.schedule.groups):
            if group.kind in ("map", "rows", "matmul"):
                self._relieve(number, group)

    def _relieve(self, number: int, group: Group) -> None:
        """Take what can be computed again off the values that a group stores."""
        stays: set[Value] = set()  # what is stored all the same, so that others can be made of it
        while True:
            chains, readers = self._proposal(number, group, stays)
            refused = [values for n, values in readers.items() if not self._saves(n, values, chains)]
            if not refused:
                break
            stays.add(refused[0][0])
        # A product may have to be stored itself, for what was made of it.
        product = group.main.output if group.main is not None else None
        leaves = {v for chain in chains.values() for e in chain for v in e.values if v is product}
        if sum(v.nbytes for v in leaves - set(self.schedule.stored(group))) < sum(v.nbytes for v in chains):
            for n, values in readers.items():
                self._insert(n, values, chains)

    def _proposal(
        self, number: int, group: Group, stays: set[Value]
    ) -> tuple[dict[Value, list[Equation]], dict[int, list[Value]]]:
        """The values that others could compute, each with the equations that make it; and who reads them."""
        made_by = {e.output: e for e in group.equations}
        chains: dict[Value, list[Equation]] = {}
        readers: dict[int, list[Value]] = {}
        for equation in group.epilogue if group.kind == "matmul" else group.body:
            value = equation.output
            if value in stays or not self._is_candidate(group, equation):
                continue
            chain = self._chain(equation, made_by, stays)
            homes = None if chain is None else self._readers(value, number)
            if chain is None or not homes or not all(self._takes(n, chain) for n in homes):
                stays.add(value)
                continue
            chains[value] = chain
            for n in homes:
                readers.setdefault(n, []).append(value)
        return chains, readers

    def _is_candidate(self, group: Group, equation: Equation) -> bool:
        kind = group.kinds[equation.output] if isinstance(group, RowGroup) else "point"
        if kind != "point" or equation.primitive.kind != "elementwise" or equation.output.nbytes < LARGE:
            return False
        users = self.schedule.consumers.get(equation.output, [])
        return any(user is None or self.home.get(id(user)) != self.home[id(equation)] for user in users)

    def _chain(
        self, equation: Equation, made_by: dict[Value, Equation], stays: set[Value]
    ) -> list[Equation] | None:
        """The equations of a group that make a value, in order; None if no other could."""
        schedule, chain, done = self.schedule, [], set()
        size = equation.output.size

        def visit(e: Equation) -> bool:
            for value in e.values:
                if value in done or schedule.is_scalar(value):
                    continue
                done.add(value)
                before = made_by.get(value)
                if before is None:
                    if schedule.layouts[value].root in made_by and value.size * SMALL > size:
                        return False  # a movement of what this group makes
                    if not self._can_be_read(schedule.layouts[value].root):
                        return False
                elif before.primitive.name == "matmul" or value in stays:
                    continue
                elif before.primitive.kind == "elementwise" and value.size == size:
                    if not visit(before):
                        return False
                elif value.size * SMALL > size:
                    return False
            chain.append(e)
            return True

        if not visit(equation):
            return None
        return chain if sum(price(e.primitive.name) for e in chain) <= MAX_PRICE else None

    def _can_be_read(self, root: Value) -> bool:
        """Whether a value is in memory, and will be later on. (Positions that rows count are nowhere.)"""
        schedule = self.schedule
        known = root in schedule.position or root in self.given
        return known and root not in self.written

    def _readers(self, value: Value, number: int) -> set[int] | None:
        """The groups that read a value, if all of them do so point by point."""
        homes: set[int] = set()
        for user in self.schedule.consumers.get(value, []):
            if user is None or id(user) not in self.home:  # an output, or a movement
                return None
            home = self.home[id(user)]
            if home == number:
                continue
            group = self.schedule.groups[home]
            reduces = group.kind == "reduce" and user.primitive.kind == "reduction"
            at_points = user in group.body or (reduces and user not in group.epilogue)
            if not at_points or user.primitive.kind not in ("elementwise", "reduction"):
                return None
            homes.add(home)
        return homes

    def _takes(self, number: int, chain: list[Equation]) -> bool:
        """Whether a group can evaluate these equations at its points."""
        group, layouts = self.schedule.groups[number], self.schedule.layouts
        if isinstance(group, RowGroup):
            made = {e.output for e in chain}
            for equation in chain:
                at = points_of(equation)
                if equation.output.size != group.space.size or group.space.refined(at) is None:
                    return False
                for value in equation.values:
                    if value in made or self.schedule.is_scalar(value):
                        continue
                    seen = group.space.of_point(layouts[value], at)
                    if seen is None or seen.strides[-1] not in (0, 1):
                        return False
            return True
        shape = group.shape
        if group.kind == "reduce" and group.main is not None:
            shape = group.main.inputs[0].shape
        return all(e.output.shape == shape for e in chain)

    def _saves(self, number: int, values: list[Value], chains: dict[Value, list[Equation]]) -> bool:
        """Whether a group reads no more bytes if it computes these values itself, and remains one kernel."""
        if not values:
            return True
        group, schedule = self.schedule.groups[number], self.schedule
        own = group.equations
        extra = {id(e): e for value in values for e in chains[value]}.values()
        made = {e.output for e in (*own, *extra)}
        reads = {v for e in own for v in e.values if not schedule.is_scalar(v)} - {e.output for e in own}
        leaves = {v for e in extra for v in e.values if not schedule.is_scalar(v)} - made
        known = {schedule.layouts[v].root for v in reads}
        new = sum(
            v.nbytes
            for v in leaves
            if schedule.layouts[v].root not in known and v.size * SMALL > values[0].size
        )
        streams = {v for v in (reads | leaves) - made if v.size > 1}
        most = MAX_OF_MAP
        if isinstance(group, RowGroup):
            most, points = MAX_EQUATIONS, [e for e in own if group.kinds[e.output] == "point"]
            if bytes_kept([*points, *extra], group.space) > MAX_KEPT:
                return False
        return (
            new <= sum(v.nbytes for v in values)
            and len(own) + len(extra) <= most
            and len(streams) <= MAX_STREAMS
        )

    def _insert(self, number: int, values: list[Value], chains: dict[Value, list[Equation]]) -> None:
        """Have a group compute these values itself."""
        if not values:
            return
        group, schedule = self.schedule.groups[number], self.schedule
        mine: dict[Value, Value] = {}
        clones = []
        for value in values:
            for e in chains[value]:
                if e.output in mine:
                    continue
                out = mine[e.output] = Value(-1, e.output.shape, e.output.dtype)
                schedule.layouts[out] = Layout(out, out.shape, contiguous_strides(out.shape, 1))
                schedule.position[out] = number
                clones.append(_renamed(e, mine, out))
        wanted = {value: mine[value] for value in values}
        body = [_renamed(e, wanted, e.output) for e in group.body]
        group.body = [*clones, *body]
        if group.main is not None:
            group.main = _renamed(group.main, wanted, group.main.output)
        if isinstance(group, SumsGroup):
            group.others = [_renamed(e, wanted, e.output) for e in group.others]
        if isinstance(group, RowGroup):
            group.kinds = {**group.kinds, **{e.output: "point" for e in clones}}
        self.home.update((id(e), number) for e in group.equations)
        _count_consumers(self.schedule)


def _count_consumers(schedule: Schedule) -> None:
    """Note anew who reads what: members of groups, and what is in none (movements, outputs)."""
    inside = {e.output for group in schedule.groups for e in group.equations}
    equations = [e for group in schedule.groups for e in group.equations]
    equations += [e for e in schedule.graph if e.output not in inside]
    consumers: dict[Value, list[Equation | None]] = {}
    for equation in equations:
        for value in equation.values:
            consumers.setdefault(value, []).append(equation)
    for value in schedule.graph.outputs:
        consumers.setdefault(value, []).append(None)
    schedule.consumers = consumers


def _renamed(equation: Equation, names: dict[Value, Value], output: Value) -> Equation:
    """The same equation of other values."""
    inputs = tuple(names.get(x, x) if isinstance(x, Value) else x for x in equation.inputs)
    if inputs == equation.inputs and output is equation.output:
        return equation
    return Equation(equation.primitive, inputs, equation.params, output, equation.where)
