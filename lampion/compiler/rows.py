"""Which groups become one kernel of rows: those that walk along the same rows.

Softmax is a maximum, a sum and a map; each by itself would read the scores from memory once more. After the
groups are formed (see `schedule`), those of one *row space* are merged around each reduction along rows:
so many rows, each of so many points that lie next to each other. A value then belongs to a point of it (as
many elements as there are points, in the same order) or to a row (as many as there are rows); whether it has
the shape (16, 128, 128) or (2048, 128) makes no difference. Members are

  reductions along the rows;
  maps over the points;
  maps over the rows, and elements gathered from the rows, where they depend on another member.

A merge is legal if no path leads from a member through another group back to a member.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lampion.compiler.codegen.prices import price
from lampion.compiler.graph import Equation, Value
from lampion.compiler.schedule import MAX_STREAMS, Group, Layout, Schedule, has_machine_code
from lampion.compiler.strides import contiguous_strides

#: Equations of a kernel: more than elsewhere, since what they need is in cache.
MAX_EQUATIONS = 80
#: A row is not shared between threads: below this many rows, only little work is left to them.
FEW_ROWS, LITTLE = 8, 1 << 15
#: Bytes that the buffers of a row may take, on the stack of a thread.
MAX_KEPT = 1 << 17
#: From here on a value is rather kept than computed again (see `codegen.walks`).
DEAR = 16.0


class RowSpace:
    """Rows of points: how values of different shapes are seen in one loop nest.

    Attributes:
        outer, inner: the axes of that nest: those that count rows, and those along a row.
        single: whether positions along a row are asked for, so that it must have one axis.
    """

    def __init__(self, outer: tuple[int, ...], inner: tuple[int, ...]) -> None:
        self.outer, self.inner = outer, inner
        self.rows, self.length = math.prod(outer), math.prod(inner)
        self.single = False

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.outer, *self.inner)

    @property
    def size(self) -> int:
        return self.rows * self.length

    def refined(self, shape: tuple[int, ...]) -> RowSpace | None:
        """The space in which values of that shape (of all points, or of all rows) can be seen too."""
        factor = self.length if math.prod(shape) == self.rows else 1
        cuts = {self.length, *_cuts(self.shape), *(factor * cut for cut in _cuts(shape))}
        sizes = sorted(cuts)
        if any(b % a for a, b in itertools.pairwise(sizes)):
            return None
        steps = [b // a for a, b in itertools.pairwise(sizes)][::-1]
        count = sum(size > self.length for size in sizes)
        space = RowSpace(tuple(steps[:count]), tuple(steps[count:]))
        space.single = self.single
        return None if space.single and len(space.inner) > 1 else space

    def of_point(self, layout: Layout, shape: tuple[int, ...]) -> Layout | None:
        """A layout, read at each point of a shape that has as many elements, as seen from the nest."""
        return _split(layout.broadcast(shape), self.shape)

    def of_row(self, layout: Layout, shape: tuple[int, ...]) -> Layout | None:
        """The same for a shape that has as many elements as there are rows."""
        return _split(layout.broadcast(shape), self.outer)

    def is_point(self, seen: Layout) -> bool:
        """Whether a point finds its own element there."""
        return not seen.offset and seen.strides == contiguous_strides(self.shape, 1)

    def is_row(self, seen: Layout) -> bool:
        """Whether a point, or a row, finds the row's own element there."""
        plain = contiguous_strides(self.outer, 1)
        return not seen.offset and seen.strides in (plain, plain + (0,) * len(self.inner))

    def is_position(self, seen: Layout) -> bool:
        """Whether a point finds the element there that has the number of the point in its row."""
        one = len(self.inner) == 1
        return one and not seen.offset and seen.strides == (0,) * len(self.outer) + (1,)


def row_space(equation: Equation) -> RowSpace | None:
    """The rows that a reduction goes along: its axes must be the last ones."""
    shape, axes = equation.inputs[0].shape, equation.params["axis"]
    real = [(n, axis in axes) for axis, n in enumerate(shape) if n != 1]
    outer = [n for n, reduced in real if not reduced]
    inner = [n for n, reduced in real if reduced]
    if (
        0 in shape
        or not inner
        or [reduced for _, reduced in real] != [False] * len(outer) + [True] * len(inner)
    ):
        return None
    return RowSpace(tuple(outer), tuple(inner))


@functools.cache
def _cuts(shape: tuple[int, ...]) -> frozenset[int]:
    """The numbers of points that the last axes have, for each number of these."""
    return frozenset(math.prod(shape[axis:]) for axis in range(len(shape) + 1))


def _split(layout: Layout, shape: tuple[int, ...]) -> Layout | None:
    """A layout as seen from a shape whose axes are parts of its own."""
    axes = [(n, s) for n, s in zip(layout.shape, layout.strides, strict=True) if n != 1]
    strides = []
    for n in reversed(shape):
        size, stride = axes.pop() if axes else (1, 0)
        if size % n:
            return None
        strides.append(stride)
        if size > n:
            axes.append((size // n, stride * n))
    return None if axes else Layout(layout.root, shape, tuple(reversed(strides)), layout.offset)


@dataclass(eq=False)
class RowGroup(Group):
    """The equations of one row kernel, in order; for each of their results, whether it is of a point."""

    space: RowSpace = field(kw_only=True)
    kinds: dict[Value, str] = field(kw_only=True)
    positions: set[Value] = field(kw_only=True)


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


def bytes_kept(points: Iterable[Equation], space: RowSpace) -> int:
    """What the buffers of a row take, at most, where these equations are evaluated at its points."""
    dear = (e.output.dtype.itemsize for e in points if price(e.primitive.name) >= DEAR)
    return space.length * sum(dear)


def points_of(equation: Equation) -> tuple[int, ...]:
    """The shape over whose points an equation is evaluated."""
    primitive = equation.primitive
    at = (
        equation.inputs[0] if primitive.kind == "reduction" or primitive.name == "gather" else equation.output
    )
    shape: tuple[int, ...] = at.shape
    return shape


class Merging:
    """All merges of a schedule."""

    def __init__(self, schedule: Schedule, updates: set[Value]) -> None:
        self.schedule, self.facts, self.updates = schedule, Facts(schedule), updates
        groups = schedule.groups
        self.needs: list[set[int]] = []  # for each group, those whose results it reads
        for number in range(len(groups)):
            read = {schedule.position.get(root, -1) for root in self.facts.roots[number]}
            self.needs.append(read - {-1, number})
        self.node = list(range(len(groups)))  # which merged group each belongs to: its first member
        self.nodes: dict[int, set[int]] = {n: {n} for n in self.node}
        self.known_needs: dict[int, set[int]] = {}
        self.clusters: dict[int, Cluster] = {}
        self.positions = {
            g.main.output for g in groups if g.main is not None and g.main.primitive.name == "positions"
        }

    def run(self) -> None:
        spaces = {}
        for number, group in enumerate(self.schedule.groups):
            if group.kind == "reduce" and group.main is not None and self._writes_elsewhere(number):
                space = row_space(group.main)
                if space is not None and (space.rows >= FEW_ROWS or space.size <= LITTLE):
                    spaces[number] = space
        # Large rows first: what could go to either belongs where more is saved.
        for number in sorted(spaces, key=lambda n: (-spaces[n].size, n)):
            if self.node[number] == number and number not in self.clusters:
                self._grow(number, spaces[number])
        if self.clusters:
            self._rebuild()

    def _grow(self, seed: int, space: RowSpace) -> None:
        cluster = Cluster(self.facts, seed, space)
        if cluster.kinds == {}:
            return
        candidates = [n for n in range(len(self.schedule.groups)) if self._may_join(n, cluster)]
        grown = True
        while grown:
            grown = False
            for number in candidates:
                if number in cluster.members or not self._is_wanted(number, cluster):
                    continue
                if self._is_legal(number, cluster) and cluster.fits(number):
                    grown = True
                    self.nodes[seed].add(number)
                    self.node[number] = seed
                    self.known_needs.clear()
        if cluster.is_worth_it():
            self.clusters[seed] = cluster
            return
        self.known_needs.clear()
        for number in cluster.members - {seed}:
            self.node[number] = number
        self.nodes[seed] = {seed}

    def _may_join(self, number: int, cluster: Cluster) -> bool:
        """Whether a group is of the right kind and size, and still free."""
        group, space = self.schedule.groups[number], cluster.space
        if self.node[number] != number or number in self.clusters or not self._writes_elsewhere(number):
            return False
        if group.kind == "reduce":
            own = row_space(group.main) if group.main is not None else None
            return own is not None and (own.rows, own.length) == (space.rows, space.length)
        if group.kind == "map":
            return math.prod(group.shape) in (space.rows, space.size)
        main = group.main
        return main is not None and main.primitive.name == "gather" and has_machine_code(main)

    def _writes_elsewhere(self, number: int) -> bool:
        """Whether a group overwrites no input."""
        return self.updates.isdisjoint(self.facts.outputs[number])

    def _is_wanted(self, number: int, cluster: Cluster) -> bool:
        group = self.schedule.groups[number]
        if group.kind == "map" and math.prod(group.shape) != cluster.space.size:
            # What members only read may as well be computed before, and then feed other things too.
            return cluster.reads(number)
        return cluster.shares(number)

    def _is_legal(self, number: int, cluster: Cluster) -> bool:
        """Whether no path leads from the group to the cluster, or back, through a third."""
        seed = self.node[next(iter(cluster.members))]
        return not self._is_reached(number, seed) and not self._is_reached(seed, number)

    def _is_reached(self, start: int, goal: int) -> bool:
        """Whether one node needs another by way of a third."""
        waiting = [n for n in self._needs(start) if n != goal]
        seen = set(waiting)
        while waiting:
            for n in self._needs(waiting.pop()):
                if n == goal:
                    return True
                if n not in seen:
                    seen.add(n)
                    waiting.append(n)
        return False

    def _needs(self, node: int) -> set[int]:
        if node not in self.known_needs:
            found = {self.node[n] for member in self.nodes[node] for n in self.needs[member]}
            self.known_needs[node] = found - {node}
        return self.known_needs[node]

    def _rebuild(self) -> None:
        """The merged groups, in an order in which each needs only earlier ones; else as it was."""
        schedule, nodes = self.schedule, sorted(set(self.node))
        waits = {node: set(self._needs(node)) for node in nodes}
        users: dict[int, list[int]] = {node: [] for node in nodes}
        for node, needs in waits.items():
            for n in needs:
                users[n].append(node)
        ready = [(max(self.nodes[node]), node) for node in nodes if not waits[node]]
        heapq.heapify(ready)
        groups: list[Group] = []
        while ready:
            _, node = heapq.heappop(ready)
            groups.append(self._group(node))
            for user in users[node]:
                waits[user].discard(node)
                if not waits[user]:
                    heapq.heappush(ready, (max(self.nodes[user]), user))
        assert len(groups) == len(nodes), "merged groups need each other"
        unread = self.positions - {root for group in groups for root in self._read_as_array(group)}
        groups = [g for g in groups if g.main is None or g.main.output not in unread]
        schedule.groups = groups
        schedule.position = {e.output: i for i, group in enumerate(groups) for e in group.equations}

    def _group(self, node: int) -> Group:
        cluster = self.clusters.get(node)
        if cluster is None:
            return self.schedule.groups[node]
        space, equations = cluster.space, cluster.equations
        return RowGroup(
            "rows", space.shape, body=equations, space=space, kinds=cluster.kinds, positions=self.positions
        )

    def _read_as_array(self, group: Group) -> set[Value]:
        """The positions that a group reads from memory, instead of counting them."""
        layouts, found = self.schedule.layouts, set()
        for equation in group.equations:
            for value in equation.values:
                layout = layouts.get(value)
                if layout is None or layout.root not in self.positions:
                    continue
                if isinstance(group, RowGroup) and group.kinds[equation.output] == "point":
                    seen = group.space.of_point(layout, points_of(equation))
                    if seen is not None and group.space.is_position(seen):
                        continue
                found.add(layout.root)
        return found


def merge_rows(schedule: Schedule, targets: Sequence[Value | None] = ()) -> None:
    """Merge the groups of each row space, where that is legal and saves something.

    Args:
        targets: for each output, the input that it overwrites, if any. Row kernels do not write in place:
            what could do so stays out of them.
    """
    updates = {v for v, target in zip(schedule.graph.outputs, targets, strict=False) if target is not None}
    Merging(schedule, updates).run()
