"""What the one door looks at before each operation, kept for each thread apart.

`grad` says whether the tape records; `trace` is what stands in for computing: the trace that
`lampion.compile` is recording into, a level of `lampion.func`, or None, which means: compute now.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
import warnings
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from lampion.compiler.trace import Trace
    from lampion.dtype import DType

F = TypeVar("F", bound=Callable[..., Any])


class _Mode(threading.local):
    grad: bool = True
    trace: Trace | None = None
    quiet: bool = False  # floating-point warnings are off already: see `backend.silence`
    inference: bool = False  # what is made now will never be recorded: see `inference_mode`
    saving: Any = None  # what the tape does with arrays that it keeps: see `autograd.graph`
    plain: bool = False  # compiled functions run as they are written: see `uncompiled`
    autocast: DType | None = None  # the type that matrix products run in, if not as given: see `lampion.amp`
    short: DType | None = None  # the type that `autocast` takes where none is named; None: bfloat16


mode = _Mode()


class _Scope:
    """A ``with`` block and a decorator that sets `mode.grad`; re-entrant, one stack an object."""

    enabled: bool

    def __init__(self) -> None:
        self.previous: list[Any] = []

    def __enter__(self) -> None:
        self.previous.append(mode.grad)
        _switch(self.enabled)

    def __exit__(self, *exception: object) -> None:
        _switch(self.previous.pop())

    def clone(self) -> Self:
        """Another scope of the same meaning: each call of a decorated function has its own."""
        return type(self)()

    def __call__(self, function: F) -> F:
        """The function, with this scope around each of its calls, or each step of a generator."""
        if inspect.isclass(function):
            warnings.warn(
                f"{type(self).__name__} around a class is around its __init__ alone; decorate that instead",
                FutureWarning, stacklevel=2,
            )  # fmt: skip
            function.__init__ = self(function.__init__)  # type: ignore[method-assign]  # as it says
            return function
        if inspect.isgeneratorfunction(function):
            return self._around_generator(function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]  # same signature, by functools.wraps

    def _around_generator(self, function: F) -> F:
        """What runs between two results is inside the scope; what the caller does meanwhile is not."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with self.clone():
                running = function(*args, **kwargs)
            send, value = running.send, None
            while True:
                try:
                    with self.clone():
                        result = send(value)
                except StopIteration as end:
                    return end.value
                try:
                    send, value = running.send, (yield result)
                except GeneratorExit:
                    with self.clone():
                        running.close()
                    raise
                except BaseException as error:
                    send, value = running.throw, error

        return wrapper  # type: ignore[return-value]  # same signature, by functools.wraps


def _switch(enabled: bool) -> None:
    mode.grad = enabled
    if mode.trace is not None:
        mode.trace.grad_switched(enabled)


class set_grad_enabled(_Scope):
    """Switch recording on or off, as a statement, a ``with`` block or a decorator.

    >>> import lampion
    >>> x = lampion.ones(2, requires_grad=True)
    >>> with lampion.set_grad_enabled(False):
    ...     (x * 2).requires_grad
    False
    """

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.mode = self.enabled = bool(mode)
        self.prev = _mode.grad
        _switch(self.enabled)
        self._fresh = True

    def __enter__(self) -> None:
        # The switch was made when the object was: the block ends with what was before that.
        self.previous.append(self.prev if self._fresh else _mode.grad)
        self._fresh = False
        _switch(self.enabled)

    def __call__(self, function: F) -> F:
        """The function, with this switch around each call. (Used so, it switches nothing by itself.)"""
        _switch(self.prev)
        return super().__call__(function)

    def clone(self) -> set_grad_enabled:
        """Another switch of the same meaning, for one call of a decorated function."""
        return type(self)(self.mode)


_mode = mode  # under a name that `set_grad_enabled`'s argument does not hide


class _PlainScope(_Scope):
    """A scope without arguments, which also decorates without parentheses: ``@no_grad``."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        if function is None:
            return super().__new__(cls)
        return cls()(function)

    def __init__(self, function: None = None) -> None:
        super().__init__()


class no_grad(_PlainScope):
    """Compute without recording: nothing inside requires a gradient. A ``with`` block, or a decorator.

    >>> import lampion
    >>> x = lampion.ones(2, requires_grad=True)
    >>> with lampion.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    enabled = False


class enable_grad(_PlainScope):
    """Record again, inside a `no_grad` block."""

    enabled = True


class inference_mode(_Scope):
    """`no_grad` for good: what is made inside can never take part in a recorded computation.

    Whatever would need its value for a gradient is refused, with a message, instead of treating it as a
    constant; so nothing that should have been trained gets lost by accident. In a function that is being
    compiled it is the same as `no_grad`.

    Args:
        mode: False for an ordinary part inside of such a block.

    >>> import lampion
    >>> with lampion.inference_mode():
    ...     y = lampion.ones(2) * 3
    >>> y.is_inference()
    True
    >>> lampion.ones(2, requires_grad=True) * y
    Traceback (most recent call last):
    lampion.errors.GradientError: mul: a tensor made in inference mode cannot be kept for a gradient
      got: a tensor of shape (2,)
      try: clone() it outside of inference mode, or compute it under no_grad() instead
    """

    def __new__(cls, mode: Any = True) -> Any:
        if isinstance(mode, bool):
            return super().__new__(cls)
        return cls()(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.mode = mode

    def __enter__(self) -> None:
        self.previous.append((_mode.grad, _mode.inference))
        _mode.inference = self.mode
        _switch(not self.mode)

    def __exit__(self, *exception: object) -> None:
        grad, _mode.inference = self.previous.pop()
        _switch(grad)

    def clone(self) -> inference_mode:
        """Another scope of the same meaning, for one call of a decorated function."""
        return type(self)(self.mode)


@contextlib.contextmanager
def uncompiled() -> Generator[None]:
    """A ``with`` block in which what was compiled runs as it is written, unless all is as its plan expects.

    For what changes a function for a moment: hooks that look on, other tensors in the place of parameters. To
    record such a call would be a waste, and what cannot be recorded would stay eager for good.
    """
    previous, mode.plain = mode.plain, True
    try:
        yield
    finally:
        mode.plain = previous


def known(tensor: Any, what: str, fix: str) -> Any:
    """The array behind a tensor whose values are about to be looked at; refused where there are none.

    Args:
        what, fix: for the message: what the function does, and what it could do instead.
    """
    return tensor._array if mode.trace is None else mode.trace.known(tensor, what, fix)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded for back-propagation in this thread."""
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside of an `inference_mode` block."""
    return mode.inference
