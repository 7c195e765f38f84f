"""Which walks along a row a `Rows` kernel takes: what each of them combines and stores, and what is kept.

A reduction's total is known after the walk that combines it; so a value that depends on a total belongs to a
later walk than that total does. Each value has the number of the first walk in which it can be had.
"""

from __future__ import annotations

from collections.abc import Sequence

from lampion.compiler.codegen.body import inner_stride
from lampion.compiler.codegen.nest import dear
from lampion.compiler.kernel_ir import Chosen, Compute, Literal, Load, Reduction, Result, Store, Value


class Walks:
    """The plan of a row.

    Attributes:
        count: of the walks.
        wanted: for each walk, the points' values that it combines or stores.
        needed: for each walk, all that it evaluates or takes from an earlier one.
        again: for each walk, the dear values that it takes from an earlier one.
        kept: those values, each with the walk that computes it.
    """

    def __init__(
        self,
        points: Sequence[Value],
        rows: Sequence[Value],
        reductions: Sequence[Reduction],
        stores: Sequence[Store],
    ) -> None:
        self.points, self.rows, self.reductions, self._stores = points, rows, reductions, stores
        self._of_points: dict[int, int] = {}
        self._of_rows: dict[int, int] = {}
        self._is_steady: dict[int, bool] = {}
        last = [self.of_point(n) for n in [*(r.value for r in reductions), *(s.value for s in stores)]]
        self.count = 1 + max(last, default=-1)
        self.wanted = [
            list(
                dict.fromkeys(
                    [reductions[n].value for n in self.reduced(number)]
                    + [store.value for store in self.stores(number)]
                )
            )
            for number in range(self.count)
        ]
        self.kept: dict[int, int] = {}
        self.again: list[list[int]] = []
        self.needed: list[set[int]] = []
        computed: dict[int, int] = {}  # what is dear, and the walk that computes it
        for number in range(self.count):
            again: list[int] = []
            needed: set[int] = set()
            self._visit(self.wanted[number], number, computed, needed, again)
            self.kept.update((n, computed[n]) for n in again)
            self.again.append(again)
            self.needed.append(needed)

    def reduced(self, number: int) -> list[int]:
        """The reductions of a walk."""
        return [n for n, r in enumerate(self.reductions) if self.of_point(r.value) == number]

    def stores(self, number: int) -> list[Store]:
        return [store for store in self._stores if self.of_point(store.value) == number]

    def settled(self, number: int) -> list[int]:
        """The row's values that are known ahead of this walk, and were not ahead of the one before."""
        return [n for n in range(len(self.rows)) if self.of_row(n) == number]

    def steady(self, number: int) -> list[int]:
        """What a walk needs that is the same all along a line."""
        return sorted(n for n in self.needed[number] if self._steady(n))

    def of_point(self, n: int) -> int:
        """The first walk in which a point's value can be had."""
        if n not in self._of_points:
            value, first = self.points[n], 0
            if isinstance(value, Result):
                first = self.of_row(value.index)
            elif isinstance(value, Compute):
                first = max(map(self.of_point, value.args), default=0)
            self._of_points[n] = first
        return self._of_points[n]

    def of_row(self, n: int) -> int:
        """The first walk ahead of which a row's value is known."""
        if n not in self._of_rows:
            value, first = self.rows[n], 0
            if isinstance(value, Result):
                first = 1 + self.of_point(self.reductions[value.index].value)
            elif isinstance(value, Chosen):
                first = max(self.of_point(value.value), self.of_row(value.index))
            elif isinstance(value, Compute):
                first = max(map(self.of_row, value.args), default=0)
            self._of_rows[n] = first
        return self._of_rows[n]

    def _visit(
        self,
        wanted: Sequence[int],
        number: int,
        computed: dict[int, int],
        needed: set[int],
        again: list[int],
    ) -> None:
        """Note what a walk evaluates, and what it finds kept."""
        for n in wanted:
            if n in needed:
                continue
            needed.add(n)
            if self._is_dear(n) and computed.setdefault(n, number) < number:
                again.append(n)
                continue
            value = self.points[n]
            if isinstance(value, Compute):
                self._visit(value.args, number, computed, needed, again)

    def _is_dear(self, n: int) -> bool:
        value = self.points[n]
        if self._steady(n):
            return False
        if isinstance(value, Load):
            return inner_stride(value.window) not in (0, 1)
        return isinstance(value, Compute) and dear([value])

    def _steady(self, n: int) -> bool:
        """Whether a value is the same all along a line."""
        if n not in self._is_steady:
            value = self.points[n]
            self._is_steady[n] = (
                isinstance(value, Literal | Result)
                or (isinstance(value, Load) and inner_stride(value.window) == 0)
                or (isinstance(value, Compute) and all(map(self._steady, value.args)))
            )
        return self._is_steady[n]
