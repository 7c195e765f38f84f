"""What all optimizers share: parameter groups, state, and the loop around the update rule.

An optimizer defines `init_state`, `scalars` and `update`. `update` is plain arithmetic with operators and
the functions of `library`, so the same lines run on NumPy arrays (eager) and on traced Tensors (compiled,
where the updates of all the parameters become one kernel).
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import lampion
from lampion import backend
from lampion.dtype import get_default_dtype
from lampion.errors import LampionError, OptionError
from lampion.mode import enable_grad, mode
from lampion.optim.bundles import bundles, join, split
from lampion.optim.groups import check_options, number, read_parameters
from lampion.optim.hooks import Hooked
from lampion.optim.rows import no_sparse
from lampion.optim.saving import copied, position, taken
from lampion.optim.traced import outside_of_traces, putting_back
from lampion.tensor import Tensor, tensor


class Optimizer(Hooked):
    """Base class of the optimizers.

    Args:
        params: the parameters, ``(name, parameter)`` pairs, or groups of them: dicts with ``"params"`` and
            options of their own.
        defaults: the options of groups that do not say otherwise.

    Many options have one meaning everywhere. `lr` is the learning rate: a number, or a Tensor of one
    element. `maximize` climbs instead of descending: g = -g. `weight_decay` adds the L2 penalty,
    g = g + weight_decay * p, unless it is decoupled: p = p - lr * weight_decay * p. `foreach`, `fused` and
    `capturable` are PyTorch's hints about speed; they are taken and change nothing, because the update is
    compiled anyway where that pays.
    """

    #: The option names whose values the update rule reads or branches on; a change recompiles.
    flags: tuple[str, ...] = ()
    #: The same, of those for which only counts whether they are zero.
    switches: tuple[str, ...] = ()
    #: The names that `scalars` returns, in order.
    scalar_names: tuple[str, ...] = ()
    #: The names of the numbers that are kept for each parameter beside its step count: see `advance`.
    numbers: tuple[str, ...] = ()
    #: Whether each element is updated by itself, so that parameters may be joined end to end. If not,
    #: `update` always gets Tensors.
    elementwise = True
    #: Whether saved state tells the step count, as PyTorch has it.
    saves_step = True

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        outside_of_traces("makes an optimizer")
        name = type(self).__name__
        if isinstance(params, Tensor):
            raise OptionError(
                name, "params argument given to the optimizer should be an iterable of Tensors or dicts",
                got="a single Tensor", expected="model.parameters(), or a list of Tensors",
            )  # fmt: skip
        groups = list(params)
        if not groups:
            raise OptionError(name, "optimizer got an empty parameter list: nothing to optimise",
                              got="an empty list",
                              expected="model.parameters(), or a list of Tensors")  # fmt: skip
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: collections.defaultdict[Tensor, dict[str, Any]] = collections.defaultdict(dict)
        self._calls = Calls()
        self.check(defaults)
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def __init_subclass__(cls) -> None:
        if "step" in vars(cls):
            cls.step = _with_hooks(vars(cls)["step"])  # type: ignore[method-assign]  # the same signature

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, with options of their own."""
        outside_of_traces("adds a parameter group")
        name = type(self).__name__
        if not isinstance(param_group, dict):
            raise OptionError(name, "param_group must be a dict", got=type(param_group).__name__)
        params, names = read_parameters(name, param_group["params"])
        known = {id(p) for g in self.param_groups for p in g["params"]}
        if any(id(p) in known for p in params):
            raise OptionError(name, "some parameters appear in more than one parameter group")
        merged = {**self.defaults, **param_group, "params": params}
        if names:
            merged["param_names"] = names
        if any(("param_names" in g) is not ("param_names" in merged) for g in self.param_groups):
            how = "with" if "param_names" in merged else "without"
            raise OptionError(name, "all optimizer param groups should be with/without names. cannot add "
                              f"param group {how} names to the optimizer")  # fmt: skip
        self.check(merged)
        self.param_groups.append(merged)

    # -- what an optimizer defines --------------------------------------------------------------------

    def check(self, group: dict[str, Any]) -> None:
        """Refuse options that make no sense."""
        check_options(type(self).__name__, group)

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """The tensors (and `numbers`) to remember for one parameter, before its first step."""
        return {}

    def is_incomplete(self, state: dict[str, Any], group: dict[str, Any]) -> bool:
        """Whether an option that was changed since needs state that is not there yet."""
        return False

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        """The values that change from step to step (learning rate, bias corrections), for `update`.

        `step` counts from 1; `numbers` are as they are before it.
        """
        raise NotImplementedError  # abstract

    def advance(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        """The `numbers` after a step."""
        return numbers

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        """The new parameter; and the new state, put into `state`. `h` holds `scalars` by name."""
        raise NotImplementedError  # abstract

    def update_sparse(self, p: Tensor, gradient: Any, h: dict[str, Any], group: dict[str, Any]) -> None:
        """The same, in place, for a sparse gradient."""
        raise no_sparse(type(self).__name__)

    # -- the loop ---------------------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients (or overwrite them with zeros)."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    if p.grad.requires_grad:
                        p.grad = p.grad.detach()
                    p.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: clears the gradients, computes the loss, calls `backward` and returns the loss, which
                `step` hands on.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        previous, mode.grad = mode.grad, False
        try:
            if mode.trace is None and self._is_large():
                self._compiled()
            elif mode.trace is not None and type(self).__module__.startswith("lampion.optim."):
                with mode.trace.away():  # a recorder has nothing to see here
                    self._update_all()
            else:
                self._update_all()
        finally:
            mode.grad = previous
        return loss

    def _update_all(self) -> None:
        for group in self.param_groups:
            for params in self._batches(group):
                if mode.trace is None:
                    self._step(group, params)
                else:
                    self._trace_step(group, params)

    @functools.cached_property
    def _compiled(self) -> Callable[[], None]:
        """The whole update as one native function: the same bits, in one pass over memory."""
        from lampion.compiler.function import CompiledFunction

        return CompiledFunction(self._update_all, guarded=False)

    def _is_large(self) -> bool:
        """Whether NumPy's temporary arrays cost more than a call of compiled code."""
        params = [p for group in self.param_groups for p in group["params"]]
        if sum(p._array.size for p in params) < _LARGE or not self.elementwise:
            return False
        from lampion.compiler.eager import has_llvm

        if not has_llvm():
            return False
        plain = (p._array.dtype.kind == "f" and isinstance(p._grad, Tensor | None) for p in params)
        return all(plain) and not any(
            isinstance(group[name], Tensor) for group in self.param_groups for name in self.flags
        )

    def _batches(self, group: dict[str, Any]) -> list[list[Tensor]]:
        """The parameters of a group that have gradients, those that are equally far together."""
        batches: dict[tuple[float, ...], list[Tensor]] = {}
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state.get(p)
            if not state:
                state = self.state[p] = {"step": 0, **self._make_state(p, group)}
            elif self.is_incomplete(state, group):
                state.update({**self._make_state(p, group), **state})
                if not self.saves_step:
                    state["step"] = 0  # it only tells whether there was a first step with that state
            batches.setdefault(self._progress(state), []).append(p)
        return list(batches.values())

    def _progress(self, state: dict[str, Any]) -> tuple[float, ...]:
        """How far a parameter is: its step count and its other numbers."""
        if not self.numbers:  # the common case, at each step of each parameter
            return (state["step"],)
        return (state["step"], *(state[name] for name in self.numbers))

    def _make_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        # Made for real even while tracing: it is then captured like any other tensor. If the trace is given
        # up, it goes again: the first eager step may find other options.
        trace, mode.trace = mode.trace, None
        if trace is not None:
            trace.if_given_up(putting_back(self.state, p))
        try:
            return self.init_state(p, group)
        finally:
            mode.trace = trace

    def _next_scalars(
        self, group: dict[str, Any], states: list[dict[str, Any]], ahead: int = 0
    ) -> Sequence[float] | None:
        """The scalars of the next step of some parameters, or of one so many steps ahead; None if they are
        not equally far.
        """
        first = states[0]
        step = first["step"]
        for state in states:
            if state["step"] != step:
                return None
        following = int(step) + 1 + ahead
        if not self.numbers:
            return self.scalars(group, following)
        progress = self._progress(first)
        if any(self._progress(state) != progress for state in states):
            return None
        numbers: Sequence[float] = progress[1:]
        for earlier in range(following - ahead, following):
            numbers = self.advance(group, earlier, *numbers)
        return self.scalars(group, following, *numbers)

    def _count(self, group: dict[str, Any], states: list[dict[str, Any]]) -> None:
        """Count one step for each of these parameters, which are equally far."""
        step, *numbers = self._progress(states[0])
        step = int(step) + 1
        after = dict(zip(self.numbers, self.advance(group, step, *numbers), strict=True)) if numbers else {}
        for state in states:
            state["step"] = step
            if numbers:
                state.update(after)

    def _step(self, group: dict[str, Any], params: list[Tensor]) -> None:
        states = [self.state[p] for p in params]
        values = self._next_scalars(group, states)
        assert values is not None  # a batch is equally far
        h = dict(zip(self.scalar_names, values, strict=True))
        with backend.silence():
            joined: list[Tensor] = []
            alone: list[Tensor] = []
            for p in params:
                (joined if self.elementwise and isinstance(p.grad, Tensor) else alone).append(p)
            self._update_tensors(alone, h, group)
            for bundle in bundles(joined):
                self._update_bundle(bundle, h, group)
        self._count(group, states)

    def _update_bundle(self, params: list[Tensor], h: dict[str, float], group: dict[str, Any]) -> None:
        """Apply the update rule to several parameters at once, joined end to end."""
        states = [self.state[p] for p in params]
        names = [key for key, value in states[0].items() if isinstance(value, Tensor)]
        before = {key: join([state[key] for state in states]) for key in names}
        arrays = before.copy()
        grads = join([p.grad for p in params])
        new = self.update(join(params), grads, arrays, h, group)
        split(new, params, f"{type(self).__name__}.step()")
        for key in names:
            if arrays[key] is not before[key]:
                split(arrays[key], [state[key] for state in states], None)

    def _trace_step(self, group: dict[str, Any], params: list[Tensor]) -> None:
        trace = mode.trace
        assert trace is not None
        if any(isinstance(group[name], Tensor) for name in self.flags):
            trace.refuse("steps an optimizer with a Tensor for an option", "give it as a number")
        if any(p._array.dtype.kind == "c" for p in params):
            trace.refuse("steps an optimizer of complex parameters", "step it outside")
        trace.guard_group(self, group, params)
        states = [self.state[p] for p in params]  # (before each call it is looked whether they still are)
        # A call may step several times: each step but the first is so many ahead of what the state says.
        before = {trace.steps.get((id(self), id(p)), 0) for p in params}
        if len(before) > 1:
            trace.refuse("steps some parameters of a group more often than others", "step them apart")
        (ahead,) = before
        trace.steps.update(((id(self), id(p)), ahead + 1) for p in params)

        def count() -> None:  # after each compiled call
            self._calls.steps += 1
            self._count(group, states)

        h = trace.host_scalars(self.scalar_names, lambda: self._next_scalars(group, states, ahead), count)
        self._update_tensors(params, h, group)

    def _update_tensors(self, params: list[Tensor], h: dict[str, Any], group: dict[str, Any]) -> None:
        """Apply the update rule to Tensors, one after the other."""
        for p in params:
            gradient: Any = p.grad
            if isinstance(gradient, Tensor | None):
                self._update_tensor(p, gradient, h, group)
            else:
                self.update_sparse(p, gradient, h, group)

    def _update_tensor(self, p: Tensor, g: Any, h: dict[str, Any], group: dict[str, Any]) -> None:
        state = self.state[p]
        values = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        before = values.copy()
        new = self.update(p, g, values, h, group)
        for key, value in values.items():
            if value is not before[key]:
                before[key]._overwrite(value, None)
        p._overwrite(new, None)
        if mode.trace is None:
            p._version[1] = f"{type(self).__name__}.step()"

    # -- saving ------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Options and state, with parameters known by their position: PyTorch's layout."""
        outside_of_traces("takes the state of an optimizer")
        for hook in self._save_pre.values():
            hook(self)
        order = {id(p): i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        state = {order.get(id(p), p): self._packed(entry) for p, entry in self.state.items()}
        groups = [
            {**{k: copied(v) for k, v in g.items() if k != "params"},
             "params": [order[id(p)] for p in g["params"]]}
            for g in self.param_groups
        ]  # fmt: skip
        result: dict[str, Any] = {
            "state": {k: state[k] for k in sorted(state, key=position) if state[k]}, "param_groups": groups
        }  # fmt: skip
        for hook in self._save_post.values():
            if (other := hook(self, result)) is not None:
                result = other
        return result

    def _packed(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The state of one parameter as it is saved."""
        dropped = () if self.saves_step else ("step",)
        return {
            key: tensor(float(value)) if key == "step" or key in self.numbers else copied(value)
            for key, value in entry.items() if key not in dropped
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, also from PyTorch (as NumPy arrays or Tensors)."""
        outside_of_traces("loads the state of an optimizer")
        state_dict = dict(state_dict)
        for hook in self._load_pre.values():
            if (other := hook(self, state_dict)) is not None:
                state_dict = other
        saved = state_dict["param_groups"]
        if [len(g["params"]) for g in saved] != [len(g["params"]) for g in self.param_groups]:
            raise OptionError(
                "load_state_dict", "the parameter groups differ",
                expected=f"groups of {[len(g['params']) for g in self.param_groups]} parameters",
                got=f"{[len(g['params']) for g in saved]}",
            )  # fmt: skip
        by_number: dict[int, Tensor] = {}
        for group, entry in zip(self.param_groups, saved, strict=True):
            by_number.update(zip(entry["params"], group["params"], strict=True))
            group.update({k: taken(v, None) for k, v in entry.items() if k != "params"})
        self.state = collections.defaultdict(dict)
        for key, entry in state_dict["state"].items():
            if (p := by_number.get(key if key in by_number else int(key))) is not None:
                self.state[p] = self._unpacked(entry, p)
        for hook in self._load_post.values():
            hook(self)

    def _unpacked(self, entry: dict[str, Any], p: Tensor) -> dict[str, Any]:
        # Where no step count is saved there was at least one: what remains is from the last step.
        kept: dict[str, Any] = {"step": 1}
        for key, value in entry.items():
            if key == "step" or key in self.numbers:
                kept[key] = int(number(value)) if key == "step" else number(value)
            elif value is not None:
                kept[key] = taken(value, p._array.dtype)
        return kept

    def __getstate__(self) -> dict[str, Any]:
        dropped = {"_compiled", *vars(Hooked)}  # functions of the user's own stay with the original
        return {name: value for name, value in vars(self).items() if name not in dropped}

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for index, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {index}")
            lines += [f"    {k}: {v}" for k, v in sorted(group.items()) if k != "params"]
        return "\n".join([*lines, ")"])


class Calls:
    """How often an optimizer was stepped, for schedulers that warn when it was not; never compared."""

    __slots__ = ("inside", "scheduled", "steps")

    def __init__(self) -> None:
        self.steps = 0
        self.scheduled: int | None = None  # the steps when it got its first scheduler
        self.inside = False


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """A `step` that calls the hooks around itself."""

    @functools.wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        calls = self._calls
        calls.steps += 1
        if calls.inside or not (self._step_pre or self._step_post):  # `super().step()`: once is enough
            return step(self, *args, **kwargs)
        outside_of_traces("steps an optimizer that has hooks")
        calls.inside = True
        try:
            for hook in self._step_pre.values():
                result = hook(self, (self, *args), kwargs)
                if isinstance(result, tuple) and len(result) == 2:
                    (_, *args), kwargs = result
                elif result is not None:
                    raise LampionError(
                        "step", "a hook must return None or a tuple of (new_args, new_kwargs)",
                        got=repr(result)[:80],
                    )  # fmt: skip
            out = step(self, *args, **kwargs)
            for hook in self._step_post.values():
                hook(self, (self, *args), kwargs)
        finally:
            calls.inside = False
        return out

    return hooked


Optimizer.step = _with_hooks(Optimizer.step)  # type: ignore[method-assign]  # the same signature


def library(x: Any) -> Any:
    """Where `sqrt`, `maximum`, `where` and so on are for `x`: lampion's for Tensors, NumPy's for arrays."""
    return lampion if isinstance(x, Tensor) else np


def zeros(p: Tensor, *names: str) -> dict[str, Any]:
    """State that starts as zeros."""
    return {name: lampion.ops.zeros_like(p) for name in names}


def filled(p: Tensor, value: float) -> Tensor:
    """A tensor like a parameter, full of a number; of complex ones, both parts are that number."""
    number: Any = complex(value, value) if p.dtype.is_complex else value
    return lampion.full_like(p, number)


def as_stored(value: float) -> float:
    """A number rounded as PyTorch does, which keeps it in a tensor of the default type."""
    return float(np.float64(value) if get_default_dtype() is lampion.float64 else np.float32(value))


#: Elements from which on the update is compiled in eager mode too.
_LARGE = 1 << 15
