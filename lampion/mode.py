"""What the one door looks at before each operation, kept for each thread apart.

`grad` says whether the tape records; `trace` is the trace that `lampion.compile` is recording into, or
None, which means: compute now.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from lampion.compiler.trace import Trace

F = TypeVar("F", bound=Callable[..., Any])


class _Mode(threading.local):
    grad: bool = True
    trace: Trace | None = None
    quiet: bool = False  # floating-point warnings are off already: see `backend.silence`


mode = _Mode()


class set_grad_enabled:
    """Switch recording on or off, as a statement, a ``with`` block or a decorator's base.

    >>> import lampion
    >>> x = lampion.ones(2, requires_grad=True)
    >>> with lampion.set_grad_enabled(False):
    ...     (x * 2).requires_grad
    False
    """

    def __init__(self, enabled: bool) -> None:
        self.previous = [mode.grad]
        self.enabled = bool(enabled)
        mode.grad = self.enabled

    def __enter__(self) -> None:
        mode.grad = self.enabled

    def __exit__(self, *exception: object) -> None:
        mode.grad = self.previous[0]


class _GradScope:
    """A ``with`` block and a decorator that sets `mode.grad`; re-entrant, one stack an object."""

    enabled: bool

    def __init__(self) -> None:
        self.previous: list[bool] = []

    def __enter__(self) -> None:
        self.previous.append(mode.grad)
        mode.grad = self.enabled

    def __exit__(self, *exception: object) -> None:
        mode.grad = self.previous.pop()

    def __call__(self, function: F) -> F:
        scope = type(self)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with scope():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]  # same signature, by functools.wraps


class no_grad(_GradScope):
    """Compute without recording: nothing inside requires a gradient.

    >>> import lampion
    >>> x = lampion.ones(2, requires_grad=True)
    >>> with lampion.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    enabled = False


class enable_grad(_GradScope):
    """Record again, inside a `no_grad` block."""

    enabled = True


def is_grad_enabled() -> bool:
    """Whether operations are being recorded for back-propagation in this thread."""
    return mode.grad
