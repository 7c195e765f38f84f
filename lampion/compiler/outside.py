"""What a recorded function got hold of outside of itself, and whether that is still as it was.

The guards of capture compare what was read. This file adds what reading does not show: two names for one
tensor, and what optimizers keep for themselves.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterable
from operator import is_
from types import MethodType
from typing import Any

from lampion.compiler.capture import Guards
from lampion.compiler.capture.policy import same
from lampion.optim import Optimizer
from lampion.tensor import Tensor

_CONTAINERS = (list, tuple, dict, set, frozenset, collections.deque)


class Reached:
    """The tensors, optimizers and mutable containers that a function read from the outside.

    Attributes:
        tensors: by id.
        optimizers: by id.
        containers: ids of lists, dicts and sets.
    """

    def __init__(self) -> None:
        self.tensors: dict[int, Tensor] = {}
        self.optimizers: dict[int, Optimizer] = {}
        self.containers: set[int] = set()
        self._seen: dict[int, Any] = {}

    def add_guards(self, guards: Guards) -> None:
        """Note all that the guards look at again (not what else objects hold than the attributes read)."""
        for _, _, want in (*guards.entries, *guards.types):
            self.add(want)
        for thing, *_ in (*guards.objects, *guards.sequences, *guards.dicts):
            self.add(thing)
        for _, want in guards.cells:
            self.add(want)
        for _, _, defaults, kwdefaults in guards.functions:
            self.add((defaults, kwdefaults))

    def add(self, thing: Any) -> None:
        """Note an object, and what plain containers, methods and partials hold."""
        if id(thing) in self._seen:
            return
        self._seen[id(thing)] = thing
        if isinstance(thing, Tensor):
            self.tensors[id(thing)] = thing
        elif isinstance(thing, Optimizer):
            self.optimizers[id(thing)] = thing
        elif isinstance(thing, _CONTAINERS):
            if not isinstance(thing, tuple | frozenset):
                self.containers.add(id(thing))
            for part in (*thing, *thing.values()) if isinstance(thing, dict) else thing:
                self.add(part)
        elif isinstance(thing, MethodType):
            self.add(thing.__self__)
        elif isinstance(thing, functools.partial):
            self.add((thing.func, thing.args, thing.keywords))


class WatchedOptimizer:
    """What an optimizer's step depends on beside numbers: groups, members, options, state, methods."""

    _OWN = ("param_groups", "state", "defaults", "_compiled")
    _METHODS = ("step", "zero_grad", "update", "scalars", "init_state")

    def __init__(self, optimizer: Optimizer, traced: Iterable[tuple[Any, ...]]) -> None:
        self.optimizer = optimizer
        self.groups = list(optimizer.param_groups)
        self.members = [list(group["params"]) for group in self.groups]
        self.flags = [(group, flags) for who, group, _, flags in traced if who is optimizer]
        params = [p for who, _, params, _ in traced if who is optimizer for p in params]
        self.state = optimizer.state
        self.entries = [(p, self.state[p]) for p in params if p in self.state]
        self.tensors = [
            (entry, key, value) for _, entry in self.entries for key, value in entry.items() if key != "step"
        ]
        self.all_entries = list(self.state.values())
        self.kind = type(optimizer)
        self.methods = [(name, getattr(self.kind, name)) for name in self._METHODS]
        self.attributes = self._attributes()
        # The classes of the user's own that it derives from: their attributes may be read by `update`.
        self.spaces = [
            (cls, tuple(vars(cls).values())) for cls in self.kind.__mro__
            if cls.__module__.partition(".")[0] not in ("lampion", "builtins")
        ]  # fmt: skip

    def _attributes(self) -> list[tuple[str, Any]]:
        return [(k, v) for k, v in vars(self.optimizer).items() if k not in self._OWN]

    def changed(self) -> str | None:
        """What is different now; None if nothing is."""
        optimizer = self.optimizer
        groups = optimizer.param_groups
        name = self.kind.__name__
        if len(groups) != len(self.groups) or not all(map(is_, groups, self.groups)):
            return f"the parameter groups of {name} changed"
        for group, members in zip(groups, self.members, strict=True):
            params = group["params"]
            if len(params) != len(members) or not all(map(is_, params, members)):
                return f"the parameters of {name} changed"
        for group, flags in self.flags:
            for option, value in flags.items():
                if group[option] is not value and group[option] != value:
                    return f"{option} of {name} changed from {value} to {group[option]}"
        return self._changed_state(name) or self._changed_class(name)

    def _changed_state(self, name: str) -> str | None:
        state = self.optimizer.state
        if state is not self.state:
            return f"the state of {name} was replaced"
        everything = state.values()
        same = len(everything) == len(self.all_entries) and all(map(is_, everything, self.all_entries))
        # Otherwise, other parameters may have come or gone; looking up these takes longer.
        if not same and not all(state.get(p) is entry for p, entry in self.entries):
            return f"the state of {name} was replaced"
        for entry, key, value in self.tensors:
            if entry.get(key) is not value:
                return f"{key} in the state of {name} was replaced"
        return None

    def _changed_class(self, name: str) -> str | None:
        optimizer = self.optimizer
        if type(optimizer) is not self.kind:
            return f"the class of {name} changed"
        for method, function in self.methods:
            if getattr(self.kind, method) is not function:
                return f"{name}.{method} was replaced"
        if len(vars(optimizer)) != len(self.attributes) + sum(key in vars(optimizer) for key in self._OWN):
            return f"the attributes of {name} changed"
        for key, value in self.attributes:
            if (now := vars(optimizer).get(key)) is not value and not same(now, value):
                return f"attribute {key} of {name} changed"
        for cls, values in self.spaces:
            now = vars(cls).values()
            if len(now) != len(values) or not all(map(is_, now, values)):
                return f"class {cls.__name__} changed"
        return None

    def hidden(self) -> str | None:
        """The name of an attribute whose contents may change unseen, in an optimizer of the user's own."""
        if self.spaces:
            for key, value in self.attributes:
                if isinstance(value, list | dict | set):
                    return key
        return None
