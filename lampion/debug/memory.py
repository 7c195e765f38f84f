"""Which arrays are alive, and who made them: the memory side of the profiler."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import numpy as np


class Ledger:
    """The bytes of the arrays that operations made, for as long as these live.

    A view takes no memory of its own. What was there before the ledger began, and what NumPy takes for itself
    in the middle of an operation, is not counted.

    Attributes:
        live: bytes that are held now.
        peak: the most that were held at one time.
        at_peak: at that time, the bytes by key: who made them.
    """

    def __init__(self) -> None:
        self.live = 0
        self.peak = 0
        self.by_key: Counter[Any] = Counter()
        self.at_peak: dict[Any, int] = {}
        self._entries: dict[int, weakref.ref[Any]] = {}

    def add(self, array: Any, inputs: tuple[Any, ...], key: Any) -> int:
        """Count an operation's output; returns how many bytes it took."""
        if type(array) is not np.ndarray or any(array is x for x in inputs):
            return 0
        owner = _owner(array)
        place = id(owner)
        if place in self._entries or any(_owner(x) is owner for x in inputs):
            return 0  # a view of what there is
        size = int(owner.nbytes)

        def gone(_: Any) -> None:
            if self._entries.pop(place, None) is not None:
                self.live -= size
                self.by_key[key] -= size

        self._entries[place] = weakref.ref(owner, gone)
        self.live += size
        self.by_key[key] += size
        if self.live > self.peak:
            self.peak = self.live
            self.at_peak = {k: n for k, n in self.by_key.items() if n}
        return size


def _owner(array: Any) -> Any:
    while isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    return array
