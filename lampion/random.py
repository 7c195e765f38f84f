"""The state of the random numbers: seeds, and going back to an earlier state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from lampion.ops.random import (
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)

__all__ = [
    "default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state",
]  # fmt: skip


@contextlib.contextmanager
def fork_rng(
    devices: Iterable[object] | None = None, enabled: bool = True, device_type: str = "cpu"
) -> Iterator[None]:
    """A block after which the default generator goes on from where it was before.

    Args:
        devices, device_type: not used: there is one default generator, whatever computes.
        enabled: without it the block is as any other.

    >>> import lampion
    >>> with lampion.random.fork_rng():
    ...     a = lampion.rand(3)
    >>> bool((lampion.rand(3) == a).all())
    True
    """
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
