"""Activation checkpointing: less memory for a second forward pass.

What gradients read is not kept; when the backward pass asks for it, the function runs again and gives it
anew. The tape itself stays as it is, only its saved arrays are gone (`autograd.graph.saved_tensors_hooks`),
so hooks, `autograd.grad` and derivatives of higher order work as without.

Source: T. Chen, B. Xu, C. Zhang, C. Guestrin: "Training deep nets with sublinear memory cost" (2016).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from lampion.autograd.graph import saved_tensors_hooks
from lampion.errors import LampionError, OverwrittenError
from lampion.mode import mode
from lampion.ops.define import elementwise
from lampion.primitive import apply
from lampion.tensor import Tensor

__all__ = ["checkpoint", "checkpoint_sequential"]

Contexts = Callable[[], tuple[Any, Any]]


def noop_context_fn() -> tuple[Any, Any]:
    """No surroundings for either run."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(
    function: Callable[..., Any], *args: Any, use_reentrant: bool | None = None,
    context_fn: Contexts = noop_context_fn, determinism_check: str = "default", debug: bool = False,
    early_stop: bool = True, preserve_rng_state: bool = True, **kwargs: Any,
) -> Any:  # fmt: skip
    """``function(*args, **kwargs)``, without keeping what its gradient reads: that is computed again.

    Args:
        function: must compute the same the second time; it may use random numbers (see below), but not
            depend on what has changed since.
        use_reentrant: accepted for PyTorch's sake; there is one way, which does what both of PyTorch's do.
        context_fn: gives two context managers, to be entered around the first and the second run.
        determinism_check: "default" compares the shapes and types of what is saved with those of the first
            run, "none" does not.
        debug: accepted for PyTorch's sake; errors name shapes in any case.
        early_stop: end the second run as soon as everything is there.
        preserve_rng_state: whether the second run gets the random numbers of the first one, as dropout
            needs, from Lampion's default generator.

    In a compiled function the second run is part of the plan. Where only the forward pass is inside of one,
    what is kept is the compiler's choice: it computes again what is cheap, asked or not.

    >>> import lampion
    >>> from lampion.utils.checkpoint import checkpoint
    >>> x = lampion.zeros(3, requires_grad=True)
    >>> checkpoint(lambda x: x.exp().sin().sum(), x).backward()
    >>> x.grad
    tensor([0.5403, 0.5403, 0.5403])
    """
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"checkpoint: determinism_check must be 'default' or 'none', not {determinism_check!r}"
        )
    first, second = context_fn()
    if not mode.grad:
        with first:
            return function(*args, **kwargs)
    frame = Frame(function, args, kwargs, second, determinism_check == "default", early_stop)
    if preserve_rng_state:
        frame.random = _random_state()
    with first, saved_tensors_hooks(frame.pack, frame.unpack):
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:  # fmt: skip
    """Run modules one after the other, in so many checkpointed segments; the last one keeps what it saves.

    Args:
        functions: a Sequential, or a list of functions.
        segments: in how many parts to cut them.
        input: what goes into the first one.

    >>> import lampion
    >>> from lampion.utils.checkpoint import checkpoint_sequential
    >>> layers = [lampion.nn.Linear(4, 4) for _ in range(4)]
    >>> checkpoint_sequential(layers, 2, lampion.ones(1, 4)).shape
    (1, 4)
    """
    steps = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= max(1, len(steps)):
        raise LampionError("checkpoint_sequential", "more segments than functions",
                           expected=f"1 to {len(steps)}", got=str(segments))  # fmt: skip
    size = len(steps) // segments

    def segment(part: Sequence[Any]) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for step in part:
                x = step(x)
            return x

        return run

    for i in range(segments - 1):
        part = segment(steps[i * size : (i + 1) * size])
        input = checkpoint(part, input, use_reentrant=use_reentrant, preserve_rng_state=preserve_rng_state)
    return segment(steps[(segments - 1) * size :])(input)


class _Done(Exception):
    """Everything has been computed again: no need to go on."""


class Frame:
    """One checkpointed call: how to run it again, and what it saves."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        context: Any,
        checks: bool,
        early_stop: bool,
    ) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.context, self.checks, self.early_stop = context, checks, early_stop
        self.random: Any = None
        self.policy = mode.autocast
        self.forms: list[Any] = []  # shape and type of what was saved, in order
        # What was saved, where that costs nothing: in a trace (see `compiler.tape`).
        self.traced: list[Tensor] = []
        self.anew: dict[int, Tensor] = {}
        self.versions = [
            (x, x._version, x._version[0]) for x in (*args, *kwargs.values()) if isinstance(x, Tensor)
        ]

    def pack(self, tensor: Tensor) -> int:
        """Keep a number instead of a tensor."""
        self.forms.append((tuple(tensor.shape), tensor.dtype))
        if _recorder() is not None:
            self.traced.append(tensor)
        return len(self.forms) - 1

    def unpack(self, number: int) -> Tensor:
        """The tensor, from a second run; handed out once, so that it lives no longer than it is needed."""
        if number not in self.anew:
            self._run_again()
        return self.anew.pop(number)

    def _run_again(self) -> None:
        for tensor, version, at_first in self.versions:
            if version[0] != at_first:
                raise OverwrittenError(
                    "checkpoint", "an argument was overwritten in place, so the function cannot run again",
                    got=f"a tensor of shape {tuple(tensor.shape)}, overwritten at {version[1]}",
                    fix="use the out-of-place form there, or clone() it before",
                )  # fmt: skip
        anew: dict[int, Tensor] = {}

        def pack(tensor: Tensor) -> None:
            number = len(anew)
            if number < len(self.forms):
                self._check(number, tensor)
            anew[number] = tensor
            if self.early_stop and number + 1 == len(self.forms):
                raise _Done

        now = _random_state()
        if self.random is not None:
            _set_random_state(self.random)
        previous, mode.grad = mode.grad, True
        policy, mode.autocast = mode.autocast, self.policy
        try:
            number = next(_runs)
            args = [_detached(x, number) for x in self.args]
            kwargs = {name: _detached(x, number) for name, x in self.kwargs.items()}
            with contextlib.suppress(_Done), self.context, saved_tensors_hooks(pack, _unread):
                self.function(*args, **kwargs)
        finally:
            mode.grad, mode.autocast = previous, policy
            if self.random is not None:
                _set_random_state(now)
        if len(anew) != len(self.forms):
            raise LampionError(
                "checkpoint", "the function saved another number of tensors when it ran again",
                expected=str(len(self.forms)), got=str(len(anew)),
                fix="see that it depends on nothing that changes between the two runs",
            )  # fmt: skip
        self.anew = anew

    def _check(self, number: int, tensor: Tensor) -> None:
        form = (tuple(tensor.shape), tensor.dtype)
        if self.checks and form != self.forms[number]:
            raise LampionError(
                "checkpoint", "the function saved other tensors when it ran again",
                expected=f"number {number}: {self.forms[number][0]}, {self.forms[number][1]}",
                got=f"{form[0]}, {form[1]}",
                fix="see that it depends on nothing that changes between the two runs",
            )  # fmt: skip


def _unread(_: Any) -> Tensor:
    raise LampionError("checkpoint", "the second run is differentiated itself")


@elementwise(public=False)
class anew:
    """x, which the compiler must not see through: else it would find that the second run equals the first,
    and keep the first one's results until the second needs them.
    """

    def forward(xp, x, run):  # type: ignore[no-untyped-def]  # as all rules of operations
        return x.astype(x.dtype)

    def vjp(g, run):  # type: ignore[no-untyped-def]
        return g


_runs = itertools.count()


def _detached(x: Any, run: int) -> Any:
    """An argument for the second run, with a history of its own."""
    if not isinstance(x, Tensor):
        return x
    inner = x.detach()
    if _recorder() is not None:
        inner = apply(anew.primitive, inner, run=run)  # type: ignore[attr-defined]  # what the decorator made
    return inner.requires_grad_() if x.requires_grad else inner


def _recorder() -> Any:
    """The trace of `lampion.compile` that is running, if there is one, behind all levels."""
    trace: Any = mode.trace
    while trace is not None and hasattr(trace, "outer"):
        trace = trace.outer
    return trace


def _random_state() -> Any:
    """How far the default generator is: in numbers, or in what a trace has drawn from it."""
    from lampion.ops.random import default_generator

    trace = _recorder()
    if trace is None:
        return default_generator.seed_value, default_generator.offset
    found = trace.generators.get(id(default_generator))
    return 0 if found is None else found[2]


def _set_random_state(state: Any) -> None:
    from lampion.ops.random import default_generator

    trace = _recorder()
    if trace is None:
        default_generator.seed_value, default_generator.offset = state
        return
    found = trace.generators.get(id(default_generator))
    if found is not None:
        trace.generators[id(default_generator)] = (*found[:2], state)
