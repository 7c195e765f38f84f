"""Groups are merged: those of one row space (`rows`), and reductions of the same points (`sums`).

A merge is legal if no path leads from a member through another group back to a member.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from lampion.compiler.facts import Facts
from lampion.compiler.graph import Value
from lampion.compiler.rows import Cluster, RowGroup, is_shareable
from lampion.compiler.rowspace import RowSpace, points_of, row_space
from lampion.compiler.schedule import Group, Schedule, has_machine_code
from lampion.compiler.sums import Sums


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
        self.clusters: dict[int, Cluster | Sums] = {}
        self.positions = {
            g.main.output for g in groups if g.main is not None and g.main.primitive.name == "positions"
        }

    def run(self) -> None:
        spaces = {}
        for number, group in enumerate(self.schedule.groups):
            if group.kind == "reduce" and group.main is not None and self._writes_elsewhere(number):
                space = row_space(group.main)
                if space is not None and is_shareable(space):
                    spaces[number] = space
        # Large rows first: what could go to either belongs where more is saved.
        for number in sorted(spaces, key=lambda n: (-spaces[n].size, n)):
            if self._is_free(number):
                self._grow_rows(number, spaces[number])
        self._merge_sums()
        if self.clusters:
            self._rebuild()

    def _merge_sums(self) -> None:
        alike: dict[tuple[object, ...], list[int]] = {}
        for number, group in enumerate(self.schedule.groups):
            if group.kind == "reduce" and group.main is not None and self._is_free(number):
                params = group.main.params
                key = group.main.inputs[0].shape, tuple(params["axis"]), params["keepdims"]
                alike.setdefault(key, []).append(number)
        for numbers in alike.values():
            for seed in numbers if len(numbers) > 1 else ():
                if self._is_free(seed):
                    self._grow(seed, Sums(self.facts, seed), [n for n in numbers if self._is_free(n)])

    def _grow_rows(self, seed: int, space: RowSpace) -> None:
        cluster = Cluster(self.facts, seed, space)
        if cluster.kinds:
            candidates = [n for n in range(len(self.schedule.groups)) if self._may_join(n, cluster)]
            self._grow(seed, cluster, candidates)

    def _grow(self, seed: int, cluster: Cluster | Sums, candidates: list[int]) -> None:
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
        if not self._is_free(number) or not self._writes_elsewhere(number):
            return False
        if group.kind == "reduce":
            own = row_space(group.main) if group.main is not None else None
            return own is not None and (own.rows, own.length) == (space.rows, space.length)
        if group.kind == "map":
            return math.prod(group.shape) in (space.rows, space.size)
        main = group.main
        return main is not None and main.primitive.name == "gather" and has_machine_code(main)

    def _is_free(self, number: int) -> bool:
        return self.node[number] == number and number not in self.clusters

    def _writes_elsewhere(self, number: int) -> bool:
        """Whether a group overwrites no input."""
        return self.updates.isdisjoint(self.facts.outputs[number])

    def _is_wanted(self, number: int, cluster: Cluster | Sums) -> bool:
        group = self.schedule.groups[number]
        if (
            isinstance(cluster, Cluster)
            and group.kind == "map"
            and math.prod(group.shape) != cluster.space.size
        ):
            # What members only read may as well be computed before, and then feed other things too.
            return cluster.reads(number)
        return cluster.shares(number)

    def _is_legal(self, number: int, cluster: Cluster | Sums) -> bool:
        """Whether no path leads from group to cluster, or back, through a third (of sums: none at all)."""
        seed = self.node[next(iter(cluster.members))]
        if isinstance(cluster, Sums) and (seed in self._needs(number) or number in self._needs(seed)):
            return False
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
        if isinstance(cluster, Sums):
            return cluster.group()
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


def merge_groups(schedule: Schedule, targets: Sequence[Value | None] = ()) -> None:
    """Merge groups where that is legal and saves something.

    Args:
        targets: for each output, the input that it overwrites, if any. Row kernels do not write in place:
            what could do so stays out of them.
    """
    updates = {v for v, target in zip(schedule.graph.outputs, targets, strict=False) if target is not None}
    Merging(schedule, updates).run()
