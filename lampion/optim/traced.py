"""What optimizers and schedulers ask about a recording that is under way (see `lampion.compile`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lampion.autograd.graph import increment_version
from lampion.mode import mode
from lampion.tensor import Tensor


def outside_of_traces(what: str) -> None:
    """A compiled step runs the optimizers that it finds; changing them is not part of it."""
    if mode.trace is not None:
        mode.trace.refuse(what, "do that outside of the compiled function")


def postponed(scheduler: Any, act: Callable[[], Any]) -> bool:
    """Inside of a compiled function: have this done in Python after each call of it; then it is True."""
    if mode.trace is None:
        return False
    if not mode.trace.compiles:
        outside_of_traces("steps a learning-rate scheduler")
    mode.trace.postpone(scheduler, act)
    return True


def putting_back(states: dict[Any, dict[str, Any]], p: Any) -> Callable[[], None]:
    """What puts the state of a parameter back as it is now."""
    entry = states.get(p)
    before = None if entry is None else entry.copy()

    def act() -> None:
        if entry is None or before is None:
            states.pop(p, None)
            return
        entry.clear()
        entry.update(before)
        states[p] = entry

    return act


def count_writes(tensors: Sequence[Tensor], copies: Sequence[Tensor]) -> None:
    """These tensors were written to once, where eager writes as often as there was writing to the copies."""
    for tensor, changed in zip(tensors, copies, strict=True):
        for _ in range(1, changed._version[0]):
            increment_version(tensor)


def is_traced() -> bool:
    """Whether values of tensors are not there to be looked at."""
    return mode.trace is not None
