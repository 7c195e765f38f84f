"""What a recorded function got hold of outside of itself, and whether that is still as it was.

The guards of capture compare what was read. This file adds what reading does not show: two names for one
tensor, and what optimizers keep for themselves.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Collection, Iterable
from itertools import repeat
from operator import is_
from types import MethodType
from typing import Any

from lampion.compiler.capture.guards import Guards, Names
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
        for row in guards.rows:
            for thing in row.reached():
                self.add(thing)

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
        self.switches = [
            (group, [(name, bool(group[name])) for name in optimizer.switches])
            for who, group, _, _ in traced if who is optimizer and optimizer.switches
        ]  # fmt: skip
        params = [p for who, _, params, _ in traced if who is optimizer for p in params]
        self.state = optimizer.state
        self.entries = [(p, self.state[p]) for p in params if p in self.state]
        tensors = [(e, k, v) for _, e in self.entries for k, v in e.items() if isinstance(v, Tensor)]
        self.tensors = tuple(zip(*tensors, strict=True)) or ((), (), ())
        self.all_entries = list(self.state.values())
        self.kind = type(optimizer)
        self.methods = [getattr(self.kind, name) for name in self._METHODS]
        self.space = tuple(vars(optimizer).values())
        self.attributes = [(k, v) for k, v in vars(optimizer).items() if k not in self._OWN]
        # The classes of the user's own that it derives from: their attributes may be read by `update`.
        self.spaces = [
            (cls, tuple(vars(cls).values())) for cls in self.kind.__mro__
            if cls.__module__.partition(".")[0] not in ("lampion", "builtins")
        ]  # fmt: skip

    def tests(self, names: Names) -> list[str]:
        """What `changed` looks at, as Python expressions; one that is false need not mean a change."""
        optimizer, kind = names(self.optimizer, "optimizer"), names(self.kind, "cls")
        space, state = names(vars(self.optimizer), "space"), names(self.state, "state")
        tests = [
            f"type({optimizer}) is {kind} and {optimizer}.__dict__ is {space}",
            f"len({space}) == {len(vars(self.optimizer))} and {space}['state'] is {state}",
            *names.items(f"{space}['param_groups']", self.groups),
        ]
        tests += [names.same(f"{space}[{key!r}]", value) for key, value in self.attributes]
        for group, members in zip(self.groups, self.members, strict=True):
            tests += names.items(f"{names(group, 'group')}['params']", members)
        for group, flags in self.flags:
            for option, value in flags.items():
                now, then = f"{names(group, 'group')}[{option!r}]", names(value)
                tests.append(f"({now} is {then} or {now} == {then})")
        for group, switches in self.switches:
            for option, on in switches:
                tests.append(f"{'' if on else 'not '}{names(group, 'group')}[{option!r}]")
        for p, entry in self.entries:
            tests.append(f"{state}.get({names(p, 'tensor')}) is {names(entry, 'entry')}")
        for entry, key, value in zip(*self.tensors, strict=True):
            tests.append(f"{names(entry, 'entry')}[{key!r}] is {names(value, 'tensor')}")
        for name, method in zip(self._METHODS, self.methods, strict=True):
            tests.append(names.same(f"{kind}.{name}", method))
        for cls, values in self.spaces:
            tests.append(f"all(map(is_, vars({names(cls, 'cls')}).values(), {names(values)}))")
            tests.append(f"len(vars({names(cls, 'cls')})) == {len(values)}")
        return tests

    def changed(self) -> str | None:
        """What is different now; None if nothing is."""
        groups = self.optimizer.param_groups
        name = self.kind.__name__
        if not _same_items(groups, self.groups):
            return f"the parameter groups of {name} changed"
        for group, members in zip(groups, self.members, strict=True):
            if not _same_items(group["params"], members):
                return f"the parameters of {name} changed"
        for group, flags in self.flags:
            for option, value in flags.items():
                if group[option] is not value and group[option] != value:
                    return f"{option} of {name} changed from {value} to {group[option]}"
        for group, switches in self.switches:
            for option, on in switches:
                if bool(group[option]) is not on:
                    return f"{option} of {name} was switched {'off' if on else 'on'}"
        return self._changed_state(name) or self._changed_class(name)

    def _changed_state(self, name: str) -> str | None:
        state = self.optimizer.state
        # Other parameters may have come or gone; looking up these takes longer.
        if state is not self.state or not (
            _same_items(state.values(), self.all_entries)
            or all(state.get(p) is entry for p, entry in self.entries)
        ):
            return f"the state of {name} was replaced"
        entries, keys, values = self.tensors
        if not all(map(is_, map(dict.get, entries, keys), values)):
            return f"a tensor in the state of {name} was replaced"
        return None

    def _changed_class(self, name: str) -> str | None:
        optimizer = self.optimizer
        if type(optimizer) is not self.kind:
            return f"the class of {name} changed"
        if not all(map(is_, map(getattr, repeat(self.kind), self._METHODS), self.methods)):
            return f"a method of {name} was replaced"
        space = vars(optimizer)
        if not _same_items(space.values(), self.space):
            if len(space) != len(self.attributes) + sum(key in space for key in self._OWN):
                return f"the attributes of {name} changed"
            for key, value in self.attributes:
                if not same(space.get(key), value):
                    return f"attribute {key} of {name} changed"
        for cls, values in self.spaces:
            if not _same_items(vars(cls).values(), values):
                return f"class {cls.__name__} changed"
        return None

    def hidden(self) -> str | None:
        """The name of an attribute whose contents may change unseen, in an optimizer of the user's own."""
        if self.spaces:
            for key, value in self.attributes:
                if isinstance(value, list | dict | set):
                    return key
        return None


def _same_items(now: Collection[Any], then: Collection[Any]) -> bool:
    return len(now) == len(then) and all(map(is_, now, then))
