"""Where a training stands in its data and in its random numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from lampion.errors import LampionError
from lampion.ops import Generator, default_generator, get_rng_state, set_rng_state

_END = object()


def random_state() -> dict[str, Any]:
    """The state of Lampion's default generator, and of Python's and NumPy's own, which datasets may use."""
    version, words, gauss = random.getstate()
    kind, key, *rest = np.random.get_state(legacy=True)
    return {
        "lampion": get_rng_state(),
        "python": (version, np.array(words, np.uint32), gauss),
        "numpy": (str(kind), np.array(key), *(float(x) if isinstance(x, float) else int(x) for x in rest)),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Go on from what `random_state` returned."""
    set_rng_state(state["lampion"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(map(int, words)), gauss))
    np.random.set_state(tuple(state["numpy"]))


class Reading:
    """A loader, and how far it was read. Each loop over it is one pass, or the rest of one.

    A loader with `state_dict` and `load_state_dict` is asked itself, and so never reads what it need not. Of
    any other, what was read is read again: the random numbers are set back to the beginning of the pass, the
    first batches are thrown away, and the random numbers are set forward again.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.knows_itself = hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")
        self.read = 0  # batches of the pass that is going on
        self.start: dict[str, Any] | None = None  # the random state at its beginning; None between two passes
        self.ended = False  # the pass was read to its end, and `close` not yet called
        self._skip = 0
        self._loaded = False

    def __iter__(self) -> Iterator[Any]:
        skip, self._skip = self._skip, 0
        loaded, self._loaded = self._loaded, False
        if loaded and self.ended:
            return
        self.ended = False
        if skip:
            assert self.start is not None  # a part of a pass has a beginning
            now = random_state()
            self._set_start(self.start)
            batches = iter(self.loader)
            for done in range(skip):
                if next(batches, _END) is _END:
                    raise LampionError("Trainer.fit", "the loader has fewer batches than were read of it",
                                       expected=f"{skip} or more", got=str(done),
                                       fix="resume with the data of the saved run")  # fmt: skip
            set_random_state(now)
        else:
            if not self.knows_itself:
                self.start = self._get_start()
            batches = iter(self.loader)
            self.read = 0
        for batch in batches:
            self.read += 1
            yield batch
        self.read, self.start, self.ended = 0, None, True

    def close(self) -> None:
        """The pass is over, and so is what belongs to it: a state that is taken now begins the next one."""
        self.ended = False

    def _generator(self) -> Generator | None:
        own = getattr(self.loader, "generator", None)
        return own if isinstance(own, Generator) and own is not default_generator else None

    def _get_start(self) -> dict[str, Any]:
        own = self._generator()
        return {"random": random_state(), "generator": None if own is None else own.get_state()}

    def _set_start(self, start: dict[str, Any]) -> None:
        own = self._generator()
        set_random_state(start["random"])
        if own is not None and start["generator"] is not None:
            own.set_state(start["generator"])

    def state_dict(self) -> dict[str, Any]:
        """The position, and what the order comes from."""
        if self.knows_itself:
            return {"loader": self.loader.state_dict(), "ended": self.ended}
        own = self._generator()
        between = None if own is None or self.start is not None else own.get_state()
        return {"read": self.read, "start": self.start, "generator": between, "ended": self.ended}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned: the next loop is the rest of that pass."""
        if ("loader" in state) != self.knows_itself:
            raise LampionError(
                "Trainer.fit", "the run that is resumed read its data from another kind of loader",
                expected="a DataLoader" if "loader" in state else "a loader without a state of its own",
                got=type(self.loader).__name__, fix="resume with the kind of loader that the run began with",
            )  # fmt: skip
        self.ended, self._loaded = state["ended"], True
        if self.knows_itself:
            self.loader.load_state_dict(state["loader"])
            return
        self.read = self._skip = state["read"]
        self.start = state["start"]
        own = self._generator()
        if own is not None and state["generator"] is not None:
            own.set_state(state["generator"])
