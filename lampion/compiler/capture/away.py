"""Looking away from the core's own work, which takes most of the time of a recording.

The recorder's hook is called at the start of every Python function, those of the core too; for an operation
there are dozens of them. Where the core is about to do something that calls nothing of the user's, the hook
can as well be off.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from lampion.mode import mode
from lampion.primitive import Primitive

#: Whether switching the hook takes no time. (From 3.12 on all code that runs is rewritten each time.)
CHEAP = sys.version_info < (3, 12)


class Away:
    """``with Away(hook):`` the hook is off; it stays off where it was, or where another one is set.

    Only for code of which it is known that it calls no function of the user's.
    """

    __slots__ = ("hook",)

    def __init__(self, hook: Callable[..., Any] | None) -> None:
        self.hook = hook

    def __enter__(self) -> None:
        if self.hook is not None:
            if sys.gettrace() == self.hook:
                sys.settrace(None)
            else:
                self.hook = None

    def __exit__(self, *error: object) -> None:
        if self.hook is not None:
            sys.settrace(self.hook)


def away_for(hook: Callable[..., Any], primitive: Primitive) -> Away | None:
    """`Away` for one operation; None where it may call something, or nobody is watching."""
    if not CHEAP or sys.gettrace() is None or mode.saving is not None:  # (the hooks of saved tensors)
        return None
    return Away(hook) if is_ours(primitive) else None


@functools.cache
def is_ours(primitive: Primitive) -> bool:
    """Whether the rules of a primitive are Lampion's own, which call nothing of the user's."""
    rules = (primitive.forward, primitive.infer)
    return all(rule.__module__.startswith("lampion.") for rule in rules)
