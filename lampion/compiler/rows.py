"""Which groups become one kernel of rows: those that walk along the same rows.

Softmax is a maximum, a sum and a map; each by itself would read the scores from memory once more. After the
groups are formed (see `schedule`), those of one *row space* are merged around each reduction along rows:
so many rows, each of so many points that lie next to each other. A value then belongs to a point of it (as
many elements as there are points, in the same order) or to a row (as many as there are rows); whether it has
the shape (16, 128, 128) or (2048, 128) makes no difference. Members are

  reductions along the rows;
  maps over the points;
  maps over the rows, and elements gathered from the rows, where they depend on another member.

`merge` says when a merge is legal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from lampion.compiler.codegen.prices import price
from lampion.compiler.facts import Facts
from lampion.compiler.graph import Equation, Value
from lampion.compiler.rowspace import RowSpace, points_of, row_space
from lampion.compiler.schedule import MAX_STREAMS, Group

#: Equations of a kernel: more than elsewhere, since what they need is in cache.
MAX_EQUATIONS = 80
#: A row is not shared between threads. So there must be some rows, or many if they are long; or few points.
FEW_ROWS, MANY_ROWS, LONG, LITTLE = 8, 64, 1 << 16, 1 << 15
#: Bytes that the buffers of a row may take, on the stack of a thread.
MAX_KEPT = 1 << 17
#: From here on a value is rather kept than computed again (see `codegen.walks`).
DEAR = 16.0


@dataclass(eq=False)
class RowGroup(Group):
    """The equations of one row kernel, in order; for each of their results, whether it is of a point."""

    space: RowSpace = field(kw_only=True)
    kinds: dict[Value, str] = field(kw_only=True)
    positions: set[Value] = field(kw_only=True)


class Cluster:
    """Groups that become one, as long as they fit."""

    def __init__(self, facts: Facts, number: int, space: RowSpace) -> None:
        self.facts, self.schedule, self.space = facts, facts.schedule, space
        self.members: set[int] = set()
        self.kinds: dict[Value, str] = {}  # of what members compute: "point" or "row"
        self.roots: set[Value] = set()  # of what they read
        self.fits(number)

    @property
    def equations(self) -> list[Equation]:
        return [e for n in sorted(self.members) for e in self.facts.equations[n]]

    def fits(self, number: int) -> bool:
        """Take a group in, if all that it reads can be seen from the loop nest."""
        space = self.space
        for equation in self.facts.equations[number]:
            if equation.primitive.kind == "reduction":
                own = row_space(equation)
                if own is None or (own.rows, own.length) != (space.rows, space.length):
                    return False
            finer = space.refined(points_of(equation))
            if finer is None:
                return False
            space = finer
        # Members that read what it makes, from memory so far, are looked at once more.
        outputs = self.facts.outputs[number]
        again = [n for n in self.members if self.facts.roots[n] & outputs]
        kinds = dict(self.kinds)
        for n in sorted([number, *again]):
            for equation in self.facts.equations[n]:
                kind = self._kind(space, equation, kinds)
                if kind is None:
                    return False
                kinds[equation.output] = kind
        equations = [*self.equations, *self.facts.equations[number]]
        if not self._has_room(equations, kinds, space):
            return False
        self.members.add(number)
        self.kinds, self.space = kinds, space
        self.roots |= self.facts.roots[number]
        return True

    def _kind(self, space: RowSpace, equation: Equation, kinds: dict[Value, str]) -> str | None:
        """Whether an equation's result belongs to a point or to a row; None: it can be neither."""
        at, schedule = points_of(equation), self.schedule
        size = math.prod(at)
        if size not in (space.rows, space.size):
            return None
        is_point = size == space.size
        if equation.primitive.name == "gather" and not self._picks(space, equation, kinds):
            return None
        for value in equation.values:
            if schedule.is_scalar(value):
                continue
            layout = schedule.layouts[value]
            if equation.primitive.name == "gather" and value is equation.inputs[1]:
                if layout.root in kinds or space.of_row(layout, value.shape) is None:
                    return None
                continue
            seen = space.of_point(layout, at) if is_point else space.of_row(layout, at)
            if seen is None:
                return None
            kind = kinds.get(layout.root)
            if kind is None:
                if is_point and seen.strides[-1] not in (0, 1):
                    return None  # lanes would have to be collected one by one
            elif not (is_point and kind == "point" and space.is_point(seen)) and not (
                kind == "row" and space.is_row(seen)
            ):
                return None
        return "point" if is_point and equation.primitive.kind == "elementwise" else "row"

    def _picks(self, space: RowSpace, equation: Equation, kinds: dict[Value, str]) -> bool:
        """Whether a gather takes one element of each row, of those that members compute."""
        (x, index), dim = equation.inputs, equation.params["dim"]
        one = tuple(1 if axis == dim else n for axis, n in enumerate(x.shape))
        if (
            self.schedule.is_scalar(x)
            or kinds.get(self.schedule.layouts[x].root) != "point"
            or index.shape != one
            or x.shape[dim] != space.length
            or math.prod(x.shape[dim + 1 :]) != 1
            or len(space.inner) != 1
        ):
            return False
        space.single = True
        return True

    def _has_room(self, equations: list[Equation], kinds: dict[Value, str], space: RowSpace) -> bool:
        streams = {v for e in equations for v in e.values if v not in kinds and v.size >= space.rows}
        kept = bytes_kept([e for e in equations if kinds[e.output] == "point"], space)
        return len(equations) <= MAX_EQUATIONS and len(streams) <= MAX_STREAMS and kept <= MAX_KEPT

    def shares(self, number: int) -> bool:
        """Whether a group reads what a member computes or reads, or the other way round."""
        roots = self.facts.roots[number]
        return (
            self.reads(number)
            or not self.roots.isdisjoint(self.facts.outputs[number])
            or any(v.size == self.space.size for v in roots & self.roots)
        )

    def reads(self, number: int) -> bool:
        """Whether a group reads what a member computes."""
        return not self.facts.roots[number].isdisjoint(self.kinds)

    def is_worth_it(self) -> bool:
        """Whether there is more than one walk to save: a reduction, and something else at the points."""
        walks = [
            any(math.prod(points_of(e)) == self.space.size for e in self.facts.equations[n])
            for n in self.members
        ]
        return sum(walks) > 1


def is_shareable(space: RowSpace) -> bool:
    """Whether there are rows enough for several threads, or too little work for these anyway."""
    enough = space.rows >= (MANY_ROWS if space.length > LONG else FEW_ROWS)
    return enough or space.size <= LITTLE


def bytes_kept(points: Iterable[Equation], space: RowSpace) -> int:
    """What the buffers of a row take, at most, where these equations are evaluated at its points."""
    dear = (e.output.dtype.itemsize for e in points if price(e.primitive.name) >= DEAR)
    return space.length * sum(dear)
