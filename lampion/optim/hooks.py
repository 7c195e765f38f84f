"""Functions of the user's own that an optimizer calls before or after it steps, saves or loads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

Hook = Callable[..., Any]

_numbers = itertools.count()


class HookHandle:
    """What registering a hook returns: `remove` takes the hook away again, and so does a ``with`` block."""

    def __init__(self, owner: Any, kind: str) -> None:
        self.owner = owner
        self.kind = kind
        self.id = next(_numbers)

    def remove(self) -> None:
        """Take the hook away. A second time does nothing."""
        # The table is replaced, never written into: compiled functions see by its identity that it changed.
        hooks = getattr(self.owner, self.kind)
        setattr(self.owner, self.kind, {key: hook for key, hook in hooks.items() if key != self.id})

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def register(owner: Any, kind: str, hook: Hook, prepend: bool = False) -> HookHandle:
    """Add a hook to the table `kind` of an object, at its end or at its beginning."""
    handle = HookHandle(owner, kind)
    hooks = getattr(owner, kind)
    setattr(owner, kind, {handle.id: hook, **hooks} if prepend else {**hooks, handle.id: hook})
    return handle


class Hooked:
    """The six tables of hooks that an optimizer has, and what registers them."""

    _step_pre: Mapping[int, Hook] = MappingProxyType({})
    _step_post: Mapping[int, Hook] = MappingProxyType({})
    _save_pre: Mapping[int, Hook] = MappingProxyType({})
    _save_post: Mapping[int, Hook] = MappingProxyType({})
    _load_pre: Mapping[int, Hook] = MappingProxyType({})
    _load_post: Mapping[int, Hook] = MappingProxyType({})

    def register_step_pre_hook(self, hook: Hook) -> HookHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step.

        It may return new ``(args, kwargs)`` for the step.
        """
        return register(self, "_step_pre", hook)

    def register_step_post_hook(self, hook: Hook) -> HookHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return register(self, "_step_post", hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call ``hook(optimizer)`` before `state_dict` looks at anything."""
        return register(self, "_save_pre", hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call ``hook(optimizer, state_dict)`` on the finished dict; it may return another one."""
        return register(self, "_save_post", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; it may return another dict."""
        return register(self, "_load_pre", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call ``hook(optimizer)`` after loading."""
        return register(self, "_load_post", hook, prepend)
