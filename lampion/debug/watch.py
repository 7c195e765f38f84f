"""How the tools of this package see what the engine does, at no cost while none of them is at work.

The engine has no branch for them. While a `Watcher` is active, a handful of attributes are exchanged for
functions that call the original and tell the watchers about it; afterwards the originals are back. What is
exchanged: each primitive's `forward` and `direct` (which the door calls to compute), `eager.run` (which it
calls for heavy ones, as convolutions are), `composite.add_to_own` (which goes round the door),
`Module.__call__`, `CompiledFunction.__call__`, every optimizer's `step`, and two functions of the backward
walk. Watchers belong to the thread that entered them: what other threads do meanwhile passes by unseen.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lampion import primitive as door
from lampion.autograd import walk
from lampion.mode import mode
from lampion.nn.module import Module
from lampion.ops import composite as composed
from lampion.optim.optimizer import Optimizer

if TYPE_CHECKING:
    from lampion.compiler.function import CompiledFunction
    from lampion.tensor import Tensor

_DOORS = {door.apply.__code__, door.apply_plain.__code__}


class Watcher:
    """Something that looks on. A ``with`` block; a subclass says in its methods what it wants to hear.

    All times are nanoseconds of one monotonic clock.
    """

    eager = False  # whether compiled functions run eagerly meanwhile, so that their operations are seen

    def __enter__(self) -> Self:
        if mode.trace is not None:
            mode.trace.refuse(
                f"enters debug.{type(self).__name__}", "put that around the call of the function"
            )
        _local.watchers = (*_local.watchers, self)
        with _lock:
            _count[0] += 1
            if _count[0] == 1:
                _exchange()
        return self

    def __exit__(self, *exception: object) -> None:
        _local.watchers = tuple(watcher for watcher in _local.watchers if watcher is not self)
        with _lock:
            _count[0] -= 1
            if _count[0] == 0:
                _put_back()

    def computed(
        self, primitive: door.Primitive, arrays: tuple[Any, ...], params: dict[str, Any], out: Any,
        began: int, ended: int,
    ) -> None:  # fmt: skip
        """The door computed `out`; it is about to be wrapped, and noted on the tape."""

    def entering(self, module: Module, args: tuple[Any, ...]) -> None:
        """A module is called."""

    def left(self, module: Module, began: int, ended: int) -> None:
        """The call is over, with a result or an error."""

    def walked(self, began: int, ended: int) -> None:
        """A backward pass is over."""

    def gathering(self, leaf: Tensor, gradient: Tensor) -> None:
        """A gradient is about to be added to a tensor's `.grad`."""

    def stepped(self, optimizer: Optimizer, began: int, ended: int) -> None:
        """An optimizer made a step."""

    def ran(self, compiled: CompiledFunction[Any, Any], began: int, ended: int) -> None:
        """A compiled function was called, and came to its end."""


class _Local(threading.local):
    watchers: tuple[Watcher, ...] = ()


_local = _Local()
_lock = threading.RLock()
_count = [0]  # how many blocks are open, in all threads
_kept: list[tuple[Any, str, Any]] = []  # what was exchanged: the holder, the attribute, the original


def active() -> tuple[Watcher, ...]:
    """The watchers of this thread."""
    return _local.watchers


def _exchange() -> None:
    from lampion.compiler import eager
    from lampion.compiler.function import CompiledFunction

    for primitive in door.PRIMITIVES.values():
        _swap(primitive, "forward", _forward_of(primitive, primitive.forward))
        if primitive.direct is not None:
            _swap(primitive, "direct", _direct_of(primitive, primitive.direct))
    _swap(eager, "run", _run_of(eager.run, eager.is_new))
    _swap(composed, "add_to_own", composed.add)
    _swap(Module, "__call__", _module_call(Module.__call__))
    _swap(CompiledFunction, "__call__", _compiled_call(CompiledFunction.__call__))
    _swap(walk, "_walk", _walk_of(walk._walk))
    _swap(walk, "_accumulate", _accumulate_of(walk._accumulate))
    for cls in (Optimizer, *_below(Optimizer)):
        if "step" in vars(cls):
            _swap(cls, "step", _step_of(vars(cls)["step"]))


def _swap(holder: Any, name: str, replacement: Any) -> None:
    _kept.append((holder, name, vars(holder)[name]))
    setattr(holder, name, replacement)


def _put_back() -> None:
    while _kept:
        setattr(*_kept.pop())


def _below(cls: type) -> Iterator[type]:
    child: type
    for child in cls.__subclasses__():
        yield child
        yield from _below(child)


@contextlib.contextmanager
def originals() -> Iterator[None]:
    """Everything as it is without watchers: the compiler takes functions apart, and keeps some of them."""
    with _lock:
        _put_back()
        try:
            yield
        finally:
            _exchange()


def _forward_of(primitive: door.Primitive, compute: Callable[..., Any]) -> Callable[..., Any]:
    def forward(xp: Any, *arrays: Any, **params: Any) -> Any:
        watchers = _local.watchers
        # Others than the door ask for shapes, or compute for themselves.
        if not watchers or sys._getframe(1).f_code not in _DOORS:
            return compute(xp, *arrays, **params)
        began = perf_counter_ns()
        out = compute(xp, *arrays, **params)
        ended = perf_counter_ns()
        if xp is np:
            out = np.asarray(out)  # as the door does: what is watched is the array that the tensor will hold
        for watcher in watchers:
            watcher.computed(primitive, arrays, params, out, began, ended)
        return out

    forward.__module__ = compute.__module__
    return forward


def _direct_of(primitive: door.Primitive, compute: Callable[..., Any]) -> Callable[..., Any]:
    def direct(*arrays: Any) -> Any:
        watchers = _local.watchers
        if not watchers:
            return compute(*arrays)
        began = perf_counter_ns()
        out = compute(*arrays)
        ended = perf_counter_ns()
        out = np.asarray(out)
        for watcher in watchers:
            watcher.computed(primitive, arrays, {}, out, began, ended)
        return out

    return direct


def _run_of(compute: Callable[..., Any], is_new: Callable[..., bool]) -> Callable[..., Any]:
    def run(primitive: door.Primitive, arrays: Any, params: dict[str, Any]) -> Any:
        watchers = _local.watchers
        # The same in other threads: their plans keep nothing of this module either.
        with originals() if is_new(primitive, arrays, params) else contextlib.nullcontext():
            began = perf_counter_ns()
            out = compute(primitive, arrays, params)
            ended = perf_counter_ns()
        if out is not None:  # else the door goes on to `forward`, which is heard
            for watcher in watchers:
                watcher.computed(primitive, tuple(arrays), params, out, began, ended)
        return out

    return run


def _module_call(call: Callable[..., Any]) -> Callable[..., Any]:
    def __call__(self: Module, *args: Any, **kwargs: Any) -> Any:
        watchers = _local.watchers
        for watcher in watchers:
            watcher.entering(self, args)
        began = perf_counter_ns()
        try:
            return call(self, *args, **kwargs)
        finally:
            ended = perf_counter_ns()
            for watcher in watchers:
                watcher.left(self, began, ended)

    return __call__


def _compiled_call(call: Callable[..., Any]) -> Callable[..., Any]:
    def __call__(self: CompiledFunction[Any, Any], *args: Any, **kwargs: Any) -> Any:
        watchers = _local.watchers
        if any(watcher.eager for watcher in watchers) or self.refused is not None:
            return self.function(*args, **kwargs)
        with originals():
            began = perf_counter_ns()
            result = call(self, *args, **kwargs)
            ended = perf_counter_ns()
        for watcher in watchers:
            watcher.ran(self, began, ended)
        return result

    return __call__


def _walk_of(original: Callable[..., Any]) -> Callable[..., Any]:
    def _walk(*args: Any) -> Any:
        began = perf_counter_ns()
        try:
            return original(*args)
        finally:
            ended = perf_counter_ns()
            for watcher in _local.watchers:
                watcher.walked(began, ended)

    return _walk


def _accumulate_of(original: Callable[..., Any]) -> Callable[..., Any]:
    def _accumulate(leaf: Any, gradient: Any, create_graph: bool) -> None:
        if leaf is not None:
            for watcher in _local.watchers:
                watcher.gathering(leaf, gradient)
        original(leaf, gradient, create_graph)

    return _accumulate


def _step_of(original: Callable[..., Any]) -> Callable[..., Any]:
    def step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        began = perf_counter_ns()
        result = original(self, *args, **kwargs)
        ended = perf_counter_ns()
        for watcher in _local.watchers:
            watcher.stepped(self, began, ended)
        return result

    return step
