"""What all optimizers share: parameter groups, state, and the loop around the update rule.

An optimizer defines `init_state`, `scalars` and `update`. `update` is plain arithmetic with operators, so
the same lines run on NumPy arrays (eager) and on traced Tensors (compiled, where the updates of all the
parameters become one kernel).
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from lampion import backend
from lampion.errors import LampionError
from lampion.mode import mode
from lampion.tensor import Tensor, tensor, wrap


class Optimizer:
    """Base class of the optimizers.

    Args:
        params: the parameters, or groups of them: dicts with ``"params"`` and options of their own.
        defaults: the options of groups that do not say otherwise.
    """

    #: The option names whose values the update rule branches on; a change recompiles.
    flags: tuple[str, ...] = ()
    #: The names that `scalars` returns, in order.
    scalar_names: tuple[str, ...] = ()

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        _outside_of_traces("makes an optimizer")
        groups = list(params)
        if isinstance(params, Tensor) or not groups:
            raise LampionError(type(self).__name__, "there are no parameters to optimise",
                               got="a single Tensor" if isinstance(params, Tensor) else "an empty list",
                               expected="model.parameters(), or a list of Tensors")  # fmt: skip
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters, with options of their own."""
        _outside_of_traces("adds a parameter group")
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            if not isinstance(p, Tensor) or not p.is_leaf:
                raise LampionError(type(self).__name__, "a parameter must be a leaf Tensor",
                                   got=f"{type(p).__name__}", fix="pass model.parameters()")  # fmt: skip
            if id(p) in known:
                raise LampionError(type(self).__name__, "a parameter is in two groups")
            known.add(id(p))
        merged = {**self.defaults, **group, "params": params}
        self.check(merged)
        self.param_groups.append(merged)

    # -- what an optimizer defines --------------------------------------------------------------------

    def check(self, group: dict[str, Any]) -> None:
        """Refuse options that make no sense."""
        for name in ("lr", "weight_decay", "eps"):
            if group.get(name, 0) < 0:
                raise LampionError(type(self).__name__, f"{name} is negative", expected=f"{name} >= 0",
                                   got=str(group[name]))  # fmt: skip

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        """The tensors to remember for one parameter, before its first step."""
        return {}

    def is_incomplete(self, state: dict[str, Any], group: dict[str, Any]) -> bool:
        """Whether an option that was changed since needs state that is not there yet."""
        return False

    def scalars(self, group: dict[str, Any], step: int) -> Sequence[float]:
        """The numbers that change from step to step (learning rate, bias corrections), for `update`."""
        raise NotImplementedError  # abstract

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        """The new parameter; and the new state, put into `state`. `h` holds `scalars` by name."""
        raise NotImplementedError  # abstract

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

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            loss = closure()
        previous, mode.grad = mode.grad, False
        try:
            if mode.trace is None and self._is_large():
                self._compiled()
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
        count = sum(p._array.size for group in self.param_groups for p in group["params"])
        return count >= _LARGE and _has_llvm()

    def _batches(self, group: dict[str, Any]) -> list[list[Tensor]]:
        """The parameters of a group that have gradients, those of equal step count together."""
        batches: dict[int, list[Tensor]] = {}
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state.get(p)
            if state is None:
                state = self.state[p] = {"step": 0, **self._make_state(p, group)}
            elif self.is_incomplete(state, group):
                state.update(self._make_state(p, group))
            batches.setdefault(state["step"], []).append(p)
        return list(batches.values())

    def _make_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        # Made for real even while tracing: it is then captured like any other tensor, and a trace that
        # is given up leaves only the zeros that the first eager step would have made.
        trace, mode.trace = mode.trace, None
        try:
            return self.init_state(p, group)
        finally:
            mode.trace = trace

    def _next_scalars(self, group: dict[str, Any], params: list[Tensor]) -> Sequence[float] | None:
        """The scalars of the next step of these parameters; None if their step counts differ."""
        states = self.state
        step = states[params[0]]["step"]
        for p in params:
            if states[p]["step"] != step:
                return None
        return self.scalars(group, step + 1)

    def _count(self, params: list[Tensor]) -> None:
        """Count one step for each of these parameters."""
        for p in params:
            self.state[p]["step"] += 1

    def _step(self, group: dict[str, Any], params: list[Tensor]) -> None:
        values = self._next_scalars(group, params)
        assert values is not None  # a batch is of one step count
        h = dict(zip(self.scalar_names, values, strict=True))
        with backend.silence():
            for bundle in _bundles(params):
                self._update_bundle(bundle, h, group)
        self._count(params)

    def _update_bundle(self, params: list[Tensor], h: dict[str, float], group: dict[str, Any]) -> None:
        """Apply the update rule to several parameters at once, joined end to end."""
        states = [self.state[p] for p in params]
        names = [key for key, value in states[0].items() if isinstance(value, Tensor)]
        before = {key: _join([state[key] for state in states]) for key in names}
        arrays = before.copy()
        grads = _join([p.grad for p in params])
        new = self.update(_join(params), grads, arrays, h, group)
        _split(new, params, f"{type(self).__name__}.step()")
        for key in names:
            if arrays[key] is not before[key]:
                _split(arrays[key], [state[key] for state in states], None)

    def _trace_step(self, group: dict[str, Any], params: list[Tensor]) -> None:
        trace = mode.trace
        assert trace is not None
        trace.guard_group(self, group, params)
        h = trace.host_scalars(
            self.scalar_names, lambda: self._next_scalars(group, params), lambda: self._count(params)
        )
        for p in params:
            state = self.state[p]
            values = {key: value for key, value in state.items() if isinstance(value, Tensor)}
            before = values.copy()
            new = self.update(p, p.grad, values, h, group)
            for key, value in values.items():
                if value is not before[key]:
                    before[key]._overwrite(value, None)
            p._overwrite(new, None)

    # -- saving ------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Options and state, with parameters known by their position: PyTorch's layout."""
        _outside_of_traces("takes the state of an optimizer")
        order = {id(p): i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        state = {}
        for p, entry in self.state.items():
            kept = {k: v.detach().clone() if isinstance(v, Tensor) else v for k, v in entry.items()}
            state[order[id(p)]] = {**kept, "step": tensor(float(entry["step"]))}
        groups = [{**g, "params": [order[id(p)] for p in g["params"]]} for g in self.param_groups]
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, also from PyTorch (as NumPy arrays or Tensors)."""
        _outside_of_traces("loads the state of an optimizer")
        saved = state_dict["param_groups"]
        if [len(g["params"]) for g in saved] != [len(g["params"]) for g in self.param_groups]:
            raise LampionError(
                "load_state_dict", "the parameter groups differ",
                expected=f"groups of {[len(g['params']) for g in self.param_groups]} parameters",
                got=f"{[len(g['params']) for g in saved]}",
            )  # fmt: skip
        by_number: dict[int, Tensor] = {}
        for group, entry in zip(self.param_groups, saved, strict=True):
            by_number.update(zip(entry["params"], group["params"], strict=True))
            group.update({k: v for k, v in entry.items() if k != "params"})
        self.state = {}
        for number, entry in state_dict["state"].items():
            p = by_number[int(number)]
            kept: dict[str, Any] = {"step": 0}
            for key, value in entry.items():
                if key == "step":
                    kept[key] = int(float(value))
                elif value is not None:
                    array = value._array if isinstance(value, Tensor) else np.asarray(value)
                    kept[key] = wrap(np.array(array, dtype=p._array.dtype))
            self.state[p] = kept

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_compiled"}

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {k}: {v}" for k, v in sorted(group.items()) if k != "params"]
        return "\n".join([*lines, ")"])


def _outside_of_traces(what: str) -> None:
    """A compiled step runs the optimizers that it finds; changing them is not part of it."""
    if mode.trace is not None:
        mode.trace.refuse(what, "do that outside of the compiled function")


#: Elements from which on the update is compiled in eager mode too.
_LARGE = 1 << 15


@functools.cache
def _has_llvm() -> bool:
    return importlib.util.find_spec("llvmlite") is not None


#: Elements up to which parameters are updated together: there, NumPy's cost of a call is what counts.
_SMALL = 4096


def _bundles(params: list[Tensor]) -> list[list[Tensor]]:
    """The parameters, small ones of one type together."""
    bundles: list[list[Tensor]] = []
    small: dict[Any, list[Tensor]] = {}
    for p in params:
        array = p._array
        if array.size > _SMALL:
            bundles.append([p])
        else:
            small.setdefault((type(array), array.dtype), []).append(p)
    return bundles + list(small.values())


def _join(tensors: list[Any]) -> Any:
    """One array with all their elements; the array itself, where there is one tensor."""
    if len(tensors) == 1:
        return tensors[0]._array
    xp = backend.namespace(tensors[0]._array)
    return xp.concatenate([t._array.reshape(-1) for t in tensors])


def _split(array: Any, tensors: list[Any], writer: str | None) -> None:
    """Write the elements of a joined array back to where they belong."""
    start = 0
    for t in tensors:
        target = t._array
        if len(tensors) == 1:
            target[...] = array
        else:
            stop = start + target.size
            target[...] = array[start:stop].reshape(target.shape)
            start = stop
        t._version[0] += 1
        t._version[1] = writer
