"""What a forked child finds: locks that nobody holds.

A fork copies locks as they are, but of all threads only the one that forks: what another thread held would
stay locked in the child for ever. What the lock of a plan guards is filled in anew for each call: the child
simply gets a new lock there. What takes a thread some steps that must not be seen half-way, a fork waits for.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

_holders: weakref.WeakKeyDictionary[Any, Callable[[], Any]] = weakref.WeakKeyDictionary()
_waits: list[tuple[Callable[[], Any], Callable[[], Any]]] = []  # in the order in which a fork takes them


def lock_of(holder: Any, kind: Callable[[], Any] = threading.Lock) -> Any:
    """A lock, which is to be `holder.lock`: a forked child gets another one there."""
    _holders[holder] = kind
    return kind()


def wait_for(acquire: Callable[[], Any], release: Callable[[], Any], *, first: bool = False) -> None:
    """Have forks wait until no other thread holds a lock.

    Args:
        first: whether it is to be waited for before all others, since who holds it may ask for them.
    """
    _waits.insert(0 if first else len(_waits), (acquire, release))


def _before() -> None:
    for acquire, _ in _waits:
        acquire()


def _after() -> None:
    for _, release in reversed(_waits):
        release()


def _in_child() -> None:
    _after()
    for holder, kind in list(_holders.items()):
        holder.lock = kind()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)
