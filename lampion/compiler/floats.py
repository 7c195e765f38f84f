"""Which float arguments of a compiled function are inputs: those that were found to differ between calls.

The first recording takes a float as it is. When a later call has another one, in an otherwise equal call,
the function is recorded with a scalar in its place, once. Where capture cannot follow that (a branch on the
float, a call that wants a number), there is a plan for each value.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from lampion.compiler.tree import flatten_arguments

#: The types of arguments that can be inputs: NumPy's double is a Python float too.
FLOATS = (float, np.float64)
Places = dict[int, int | str]  # the number of a leaf: which argument it is, by position or by name


def top_floats(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Places:
    """The arguments that are floats themselves."""
    places: Places = {}
    leaves: list[Any] = []
    everything: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    for place, item in everything:
        if type(item) in FLOATS:
            places[len(leaves)] = place
        flatten_arguments(item, leaves)
    return places


def replaced(args: tuple[Any, ...], kwargs: dict[str, Any], stand_ins: dict[int | str, Any]) -> Any:
    """The arguments with other objects in some places."""
    new_args = tuple(stand_ins.get(i, item) for i, item in enumerate(args))
    return new_args, {name: stand_ins.get(name, item) for name, item in kwargs.items()}


class Differing:
    """The float arguments of one function that were found to differ, by the layout of its arguments."""

    def __init__(self) -> None:
        self._last: dict[Any, dict[int, float]] = {}  # what they were at the last recording
        self._differ: dict[Any, frozenset[int]] = {}
        self._fixed: set[Any] = set()

    def known(self, layout: Any) -> frozenset[int]:
        """The leaves that are inputs."""
        return self._differ.get(layout, frozenset())

    def note(self, layout: Any, places: Places, leaves: list[Any]) -> frozenset[int]:
        """A recording is about to be made: the leaves that are to be inputs."""
        now = {number: leaves[number] for number in places}
        before = self._last.get(layout)
        self._last[layout] = {**(before or {}), **now}
        if before is None or layout in self._fixed:
            return frozenset()
        new = {n for n, value in now.items() if repr(before.get(n, value)) != repr(value)}
        return (self.known(layout) | new) & now.keys()

    def settle(self, layout: Any, numbers: Collection[int]) -> None:
        """A recording with these as inputs worked out (with none: it did not, and is not tried again)."""
        if numbers:
            self._differ[layout] = self.known(layout) | frozenset(numbers)
        else:
            self._fixed.add(layout)
            self._differ.pop(layout, None)
