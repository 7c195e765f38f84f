"""Where the boxes of a graph go: layer upon layer, as K. Sugiyama, S. Tagawa and M. Toda did it (1981).

Four steps. *Ranks*: a box stands below everything that it is computed from. *Order*: within each rank, boxes
move to the middle of their neighbours until arrows cross seldom. *Places*: each box goes as near to straight
above or below its neighbours as the others leave room. *Arrows*: they pass between the boxes of the ranks in
between, in lanes of their own.

Groups (modules) are arranged by themselves first, and are one large box to what is around them; arrows enter
at the upper edge and leave at the lower one. So the boxes of a group can never stand among others.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Key = Hashable
Point = tuple[float, float]

BESIDE = 22.0  # between two boxes of a rank
LANE = 12.0  # between two arrows, or an arrow and a box
PADDING = 14.0  # between a group's frame and what is in it
HEADER = 22.0  # where a group's name stands
GAP = 30.0  # between two ranks, at least


class Arrow(NamedTuple):
    """From the middle of one box's lower edge to a place on the upper edge of another."""

    source: Key
    target: Key
    share: float = 0.5  # how far from the left on the target's upper edge, of its width


class Rectangle(NamedTuple):
    """A place in the picture, by its upper left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass
class Placement:
    """The picture's size, where everything stands, and the points that each arrow passes.

    Between two points of an arrow that lie above each other runs a straight line, otherwise a curve that
    begins and ends upright.
    """

    width: float = 0.0
    height: float = 0.0
    boxes: dict[Key, Rectangle] = field(default_factory=dict)
    groups: dict[Key, Rectangle] = field(default_factory=dict)
    arrows: list[list[Point]] = field(default_factory=list)


@dataclass
class Group:
    """Boxes that stand inside one frame: for each, its size, or a group inside this one."""

    width: float = 0.0  # of the name above it, at least
    members: dict[Key, tuple[float, float] | Group] = field(default_factory=dict)


def arrange(root: Group, arrows: Sequence[Arrow]) -> Placement:
    """Find a place for every box and every group, and a way for every arrow. There must be no cycle.

    The same graph always gives the same picture.
    """
    homes: dict[Key, tuple[Key, ...]] = {}
    _find_homes(root, (), homes)
    level = _Level(root, (), homes, arrows, frame=False)
    result = Placement(level.width, level.height)
    levels: dict[tuple[Key, ...], tuple[_Level, float, float]] = {}
    level.settle(0.0, 0.0, result, levels)
    for arrow in arrows:
        result.arrows.append(_way(arrow, homes, levels))
    return result


def _find_homes(group: Group, path: tuple[Key, ...], homes: dict[Key, tuple[Key, ...]]) -> None:
    for key, member in group.members.items():
        if isinstance(member, Group):
            _find_homes(member, (*path, key), homes)
        else:
            homes[key] = path


def _way(arrow: Arrow, homes: dict[Key, tuple[Key, ...]], levels: dict[Any, Any]) -> list[Point]:
    """All points of an arrow: out of the groups around its source, across, and into those of its target."""
    start, end = homes[arrow.source], homes[arrow.target]
    shared = 0
    while shared < min(len(start), len(end)) and start[shared] == end[shared]:
        shared += 1
    points: list[Point] = []
    for depth in range(len(start), shared, -1):
        points += _part(levels[start[:depth]], arrow, (_OUT, arrow.source))
    for depth in range(shared, len(end) + 1):
        last = depth == len(end)
        points += _part(levels[end[:depth]], arrow, arrow.target if last else end[depth])
    return [point for i, point in enumerate(points) if not i or point != points[i - 1]]


def _part(found: Any, arrow: Arrow, target: Key) -> list[Point]:
    level, x, y = found
    return [(x + px, y + py) for px, py in level.routes[_net(arrow, target)]]


_IN, _OUT = "in", "out"  # where an arrow comes through the frame of a group


def _net(arrow: Arrow, target: Key) -> tuple[Key, Key, float]:
    """What arrows of one level that run along one line have in common: whence, whereto, to which place."""
    return arrow.source, target, arrow.share if target == arrow.target else 0.5


@dataclass
class _Item:
    """What stands in a rank: a box, a group, a gate in the frame, or an arrow that passes."""

    width: float
    height: float
    rank: int = 0
    place: int = 0  # in its rank, from the left
    x: float = 0.0  # of its middle
    is_lane: bool = False
    above: list[_Link] = field(default_factory=list)
    below: list[_Link] = field(default_factory=list)


class _Link(NamedTuple):
    """An arrow from one rank to the next. The offsets are from the middles of the items."""

    upper: _Item
    upper_offset: float
    lower: _Item
    lower_offset: float
    weight: float


class _Level:
    """The inside of one group, arranged: see `arrange`."""

    def __init__(
        self, group: Group, path: tuple[Key, ...], homes: dict[Key, tuple[Key, ...]],
        arrows: Iterable[Arrow], frame: bool,
    ) -> None:  # fmt: skip
        self.path, self.frame = path, frame
        self.inner: dict[Key, _Level] = {}
        self.items: dict[Key, _Item] = {}
        depth = len(path)
        touching = [a for a in arrows if homes[a.source][:depth] == path or homes[a.target][:depth] == path]
        for key, member in group.members.items():
            if isinstance(member, Group):
                level = self.inner[key] = _Level(member, (*path, key), homes, touching, frame=True)
                self.items[key] = _Item(level.width, level.height)
            else:
                self.items[key] = _Item(*member)
        self.routes: dict[tuple[Key, Key, float], list[Point]] = {}
        ends: dict[tuple[Key, Key, float], tuple[Key, Key]] = {}
        for arrow in touching:
            source = self._seen(arrow.source, homes, (_IN, arrow.source))
            target = self._seen(arrow.target, homes, (_OUT, arrow.source))
            if source != target:
                ends.setdefault(_net(arrow, target), (source, target))
        for source, target in ends.values():
            for gate in (source, target):
                if gate not in self.items:
                    self.items[gate] = _Item(0.0, 0.0, is_lane=True)
        self._rank(list(ends.values()))
        chains = self._link(ends)
        self._order()
        self._place()
        self._measure(group.width, chains)

    def _seen(self, key: Key, homes: dict[Key, tuple[Key, ...]], outside: Key) -> Key:
        """What stands for a box in this level: itself, the group that it is in, or a gate."""
        home, depth = homes[key], len(self.path)
        if home[:depth] != self.path:
            return outside
        return key if len(home) == depth else home[depth]

    # -- ranks ---------------------------------------------------------------------------------------

    def _rank(self, ends: list[tuple[Key, Key]]) -> None:
        """Everything below what it needs; then whatever has as many arrows out as in, down to its readers."""
        after: dict[Key, list[Key]] = {key: [] for key in self.items}
        before: dict[Key, list[Key]] = {key: [] for key in self.items}
        for source, target in ends:
            after[source].append(target)
            before[target].append(source)
        missing = {key: len(sources) for key, sources in before.items()}
        ready = [key for key, count in missing.items() if not count]
        ordered: list[Key] = []
        while ready:
            key = ready.pop()
            ordered.append(key)
            for target in after[key]:
                missing[target] -= 1
                if not missing[target]:
                    ready.append(target)
        if len(ordered) < len(self.items):
            raise ValueError("arrange: the arrows form a cycle")
        gates = any(_is_gate(key, _IN) for key in self.items)
        for key in ordered:
            if not _is_gate(key, _IN):
                ranks = [self.items[source].rank + 1 for source in before[key]]
                self.items[key].rank = max(ranks, default=int(gates))
        last = max((item.rank for item in self.items.values()), default=0)
        if any(_is_gate(key, _OUT) for key in self.items):
            boxes = [item.rank for key, item in self.items.items() if not _is_gate(key, _OUT)]
            last = max(boxes, default=0) + 1
        # What moves along, since nothing else reads it nor what it is made of, gets no longer arrows by it.
        free: dict[Key, bool] = {}
        for key in ordered:
            free[key] = len(after[key]) == 1 and not _is_gate(key, _IN) and all(free[k] for k in before[key])
        for key in reversed(ordered):
            item = self.items[key]
            if _is_gate(key, _OUT):
                item.rank = last
            elif (
                after[key]
                and not _is_gate(key, _IN)
                and len(after[key]) >= sum(not free[k] for k in before[key])
            ):
                item.rank = min(self.items[target].rank for target in after[key]) - 1

    # -- order ---------------------------------------------------------------------------------------

    def _link(self, ends: dict[Any, tuple[Key, Key]]) -> dict[Any, list[_Link]]:
        """Cut arrows into links from rank to rank. Those from one source share their lanes."""
        chains: dict[Any, list[_Link]] = {}
        lanes: dict[tuple[Key, int], _Item] = {}
        links: dict[tuple[int, int, float], _Link] = {}
        self.lanes: list[_Item] = []
        for net, (source, target) in ends.items():
            item, offset = self.items[source], self._leaving(source, net[0])
            goal, goal_offset = self.items[target], self._arriving(target, net)
            chain = chains[net] = []
            while item is not goal:
                rank = item.rank + 1
                if rank == goal.rank:
                    following, at = goal, goal_offset
                else:
                    lane = lanes.get((net[0], rank))
                    if lane is None:
                        lane = lanes[net[0], rank] = _Item(0.0, 0.0, rank, is_lane=True)
                        self.lanes.append(lane)
                    following, at = lane, 0.0
                link = links.get((id(item), id(following), at))
                if link is None:
                    weight = (1.0, 2.0, 8.0)[item.is_lane + following.is_lane]
                    link = links[id(item), id(following), at] = _Link(item, offset, following, at, weight)
                    item.below.append(link)
                    following.above.append(link)
                chain.append(link)
                item, offset = following, 0.0
        return chains

    def _leaving(self, key: Key, source: Key) -> float:
        """Where an arrow leaves an item, from its middle: a group, where its gate is."""
        if key in self.inner:
            inner = self.inner[key]
            return inner.items[_OUT, source].x - inner.width / 2
        return 0.0

    def _arriving(self, key: Key, net: tuple[Key, Key, float]) -> float:
        if key in self.inner:
            inner = self.inner[key]
            return inner.items[_IN, net[0]].x - inner.width / 2
        return (net[2] - 0.5) * self.items[key].width

    def _order(self) -> None:
        """The items of each rank from left to right, so that few links cross."""
        everything = [*self.items.values(), *self.lanes]
        ranks: list[list[_Item]] = [[] for _ in range(1 + max((i.rank for i in everything), default=-1))]
        # To begin with, in the order in which one meets them from the result up, first inputs first.
        seen: set[int] = set()
        stack = [item for item in everything if not item.below][::-1]
        while stack:
            item = stack.pop()
            if id(item) in seen:
                continue
            seen.add(id(item))
            ranks[item.rank].append(item)
            stack += [link.upper for link in sorted(item.above, key=lambda link: link.lower_offset)][::-1]
        for rank in ranks:
            _number(rank)
        best, fewest = [list(rank) for rank in ranks], _crossings(ranks)
        for sweep in range(12):
            if not fewest:
                break
            down = sweep % 2 == 0
            for rank in ranks if down else ranks[::-1]:
                _to_middles(rank, down)
            for rank in ranks:
                _exchange(rank)
            count = _crossings(ranks)
            if count < fewest:
                best, fewest = [list(rank) for rank in ranks], count
        self.ranks = best

    # -- places --------------------------------------------------------------------------------------

    def _place(self) -> None:
        """The x of every item: the sum of squares of how far links lean is made small, rank by rank."""
        for rank in self.ranks:
            x = 0.0
            for item in rank:
                item.x = x + item.width / 2
                x += item.width + BESIDE
        for turn in range(40):
            ranks = self.ranks if turn % 2 == 0 else self.ranks[::-1]
            for rank in ranks:
                wanted, weights = [], []
                for item in rank:
                    total = pull = 0.0
                    if turn >= 6 or turn % 2 == 0:
                        for upper, upper_offset, _, offset, weight in item.above:
                            total += weight
                            pull += weight * (upper.x + upper_offset - offset)
                    if turn >= 6 or turn % 2 == 1:
                        for _, offset, lower, lower_offset, weight in item.below:
                            total += weight
                            pull += weight * (lower.x + lower_offset - offset)
                    wanted.append(pull / total if total else item.x)
                    weights.append(total if total else 0.01)
                _put(rank, wanted, weights)
        for rank in self.ranks:  # lanes straight, where that is possible
            wanted = [
                i.above[0].upper.x if i.is_lane and i.above and i.above[0].upper.is_lane else i.x
                for i in rank
            ]
            _put(rank, wanted, [30.0 if item.is_lane else 1.0 for item in rank])

    def _measure(self, least: float, chains: dict[Any, list[_Link]]) -> None:
        """The height of the ranks, the size of it all, and the points of the links."""
        padding = PADDING if self.frame else 0.0
        items = [item for rank in self.ranks for item in rank]
        left = min((item.x - item.width / 2 for item in items), default=0.0)
        right = max((item.x + item.width / 2 for item in items), default=0.0)
        self.width = max(right - left, least) + 2 * padding
        shift = (self.width - (right - left)) / 2 - left
        for item in items:
            item.x += shift
        tops, bottoms = [], []
        y = HEADER if self.frame else 0.0
        gate = bool(self.ranks) and any(_is_gate(key, _IN) for key in self.items)
        for number, rank in enumerate(self.ranks):
            if number:
                lean = max((abs(_lean(link)) for item in rank for link in item.above), default=0.0)
                y += min(max(GAP, 18 + 0.16 * lean), 3 * GAP) if number > 1 or not gate else 0.4 * GAP
            elif gate:
                y = 0.0
            tops.append(y)
            y += max(item.height for item in rank)
            bottoms.append(y)
            if gate and not number:
                y = HEADER - 0.2 * GAP
        self.height = y
        if self.frame and not any(_is_gate(key, _OUT) for key in self.items):
            self.height += PADDING
        self.tops, self.bottoms = tops, bottoms
        for net, chain in chains.items():
            points: list[Point] = []
            for upper, upper_offset, lower, lower_offset, _ in chain:
                x = upper.x + upper_offset
                points += [(x, self._bottom(upper)), (x, bottoms[upper.rank])]
                x = lower.x + lower_offset
                points += [(x, tops[lower.rank]), (x, self._top(lower))]
            self.routes[net] = points

    def _top(self, item: _Item) -> float:
        middle = (self.tops[item.rank] + self.bottoms[item.rank]) / 2
        return self.bottoms[item.rank] if item.is_lane else middle - item.height / 2

    def _bottom(self, item: _Item) -> float:
        middle = (self.tops[item.rank] + self.bottoms[item.rank]) / 2
        return self.bottoms[item.rank] if item.is_lane else middle + item.height / 2

    def settle(self, x: float, y: float, result: Placement, levels: dict[Any, Any]) -> None:
        """Write down where everything is in the whole picture."""
        levels[self.path] = self, x, y
        for key, item in self.items.items():
            if item.is_lane:
                continue
            at = Rectangle(x + item.x - item.width / 2, y + self._top(item), item.width, item.height)
            if key in self.inner:
                result.groups[key] = at
                self.inner[key].settle(at.x, at.y, result, levels)
            else:
                result.boxes[key] = at


def _is_gate(key: Key, kind: str) -> bool:
    return isinstance(key, tuple) and len(key) == 2 and key[0] == kind


def _lean(link: _Link) -> float:
    return link.lower.x + link.lower_offset - link.upper.x - link.upper_offset


def _number(rank: list[_Item]) -> None:
    for place, item in enumerate(rank):
        item.place = place


def _upper_end(link: _Link) -> float:
    return link.upper.place + _fraction(link.upper_offset, link.upper)


def _lower_end(link: _Link) -> float:
    return link.lower.place + _fraction(link.lower_offset, link.lower)


def _fraction(offset: float, item: _Item) -> float:
    return 0.9 * offset / item.width if item.width else 0.0


def _to_middles(rank: list[_Item], down: bool) -> None:
    """Sort a rank by the middle of each item's neighbours in the rank before."""
    middles: dict[int, float] = {}
    for item in rank:
        if down:
            ends = [_upper_end(link) - _fraction(link.lower_offset, item) for link in item.above]
        else:
            ends = [_lower_end(link) - _fraction(link.upper_offset, item) for link in item.below]
        middles[id(item)] = sum(ends) / len(ends) if ends else item.place
    rank.sort(key=lambda item: middles[id(item)])
    _number(rank)


def _exchange(rank: list[_Item]) -> None:
    """Swap neighbours as long as that leaves fewer crossings."""
    above = [sorted(_upper_end(link) for link in item.above) for item in rank]
    below = [sorted(_lower_end(link) for link in item.below) for item in rank]
    changed, rounds = True, 0
    while changed and rounds < 4:
        changed, rounds = False, rounds + 1
        for i in range(len(rank) - 1):
            j = i + 1
            now = _inversions(above[i], above[j]) + _inversions(below[i], below[j])
            if now > _inversions(above[j], above[i]) + _inversions(below[j], below[i]):
                rank[i], rank[j] = rank[j], rank[i]
                above[i], above[j] = above[j], above[i]
                below[i], below[j] = below[j], below[i]
                changed = True
    _number(rank)


def _inversions(left: list[float], right: list[float]) -> int:
    return sum(a > b for a in left for b in right)


def _crossings(ranks: list[list[_Item]]) -> int:
    """How many pairs of links cross, between each rank and the next."""
    total = 0
    for rank in ranks:
        ends = sorted((_upper_end(k), _lower_end(k)) for item in rank for k in item.below)
        passed: list[float] = []
        for _, lower in ends:
            total += len(passed) - bisect_right(passed, lower)
            insort(passed, lower)
    return total


def _put(rank: list[_Item], wanted: list[float], weights: list[float]) -> None:
    """Nearest to the wanted places, in least squares, with the room between neighbours kept.

    That is isotonic regression, by pooling adjacent violators: neighbours that want to overlap become a
    block, which goes to the middle of what they want.
    """
    offsets, at = [], 0.0
    for i, item in enumerate(rank):
        if i:
            before = rank[i - 1]
            room = LANE if item.is_lane or before.is_lane else BESIDE
            at += (before.width + item.width) / 2 + room
        offsets.append(at)
    blocks: list[tuple[float, float, int]] = []  # (mean, weight, how many)
    for want, offset, weight in zip(wanted, offsets, weights, strict=True):
        mean, total, count = want - offset, weight, 1
        while blocks and blocks[-1][0] > mean:
            other, more, n = blocks.pop()
            mean, total, count = (mean * total + other * more) / (total + more), total + more, count + n
        blocks.append((mean, total, count))
    i = 0
    for mean, _, count in blocks:
        for _ in range(count):
            rank[i].x = mean + offsets[i]
            i += 1
