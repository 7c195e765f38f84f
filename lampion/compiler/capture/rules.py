"""How a call of a C function is judged: a few kinds of rule, applied to names in `tables.py`.

A C function cannot be followed, so only functions with a rule are let through: they have no effect but
on their arguments, and what they return depends on nothing else. On plain data a function is simply
computed here as well; where it calls back into Python (`__len__`, a sort key), that is a frame of its
own. A function that changes its object may do so only to an object that this call has made.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable
from typing import Any

from . import policy
from .frame import Frame
from .machine import as_tuple, yielded_items
from .operators import codes_of, guard_methods, kind_of
from .policy import MISSING, name_of, python_method
from .values import Made, Unseen, is_known, stand_in, wrap

Args = list[Any]
Named = dict[str, Any]
Rule = Callable[[Frame, Any, Args, Named], Any]


def judge_all(m: Frame, fn: Any, args: Args, kwargs: Named) -> None:
    for item in (*args, *kwargs.values()):
        m.rec.judge(m, item, f"`{name_of(fn)}` on")


def pure(kind: type | None = None, *methods: str) -> Rule:
    """Computed on plain data; else one of the special methods gives the result, or it is of this kind."""

    def rule(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        values = [stand_in(item) for item in args]
        named = {key: stand_in(item) for key, item in kwargs.items()}
        if policy.all_data([*values, *named.values()]):
            try:
                return wrap(fn(*values, **named))
            except Exception:
                return Unseen()  # the program is about to meet the same
        judge_all(m, fn, args, kwargs)
        codes = []
        for item, name in zip(args, methods, strict=False):  # abs: __abs__; divmod: __divmod__, __rdivmod__
            guard_methods(m, item, [name])
            codes += codes_of([kind_of(item)], [name])
        if codes:
            return m.expect(*codes)
        return Unseen(kind, fresh=kind in policy.MUTABLE)

    return rule


def once_walked(m: Frame, walked: Any, settle: Callable[[list[Any]], None]) -> Any:
    """Call `settle` with the items of an iterable after the call; gives them now if they can be seen."""
    items = m.rec.caller.elements(m, walked)
    if items is not MISSING:
        m.after.append(lambda offset: settle(items))
    elif kind_of(walked) is types.GeneratorType:
        m.after.append(lambda offset: settle(yielded_items(m)))
    return items


def folding(kind: type | None, *methods: str) -> Rule:
    """Walks one iterable to its end and makes one value of it: sum, any, join.

    On objects, the last of the special methods that ran gave the result.
    """

    def rule(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        front, walked = (
            ([], args[0]) if not isinstance(fn, types.MethodDescriptorType) else (args[:1], args[1])
        )
        rest = args[len(front) + 1 :]
        judge_all(m, fn, rest, kwargs)
        extra = [stand_in(item) for item in (*front, *rest)]
        named = {key: stand_in(item) for key, item in kwargs.items()}
        result = Unseen(kind)

        def settle(found: list[Any]) -> None:
            values = [stand_in(item) for item in found]
            if policy.all_data([*values, *extra, *named.values()]):
                try:
                    result.obj = fn(*extra[: len(front)], values, *extra[len(front) :], **named)
                except Exception:
                    return  # the program meets the same
            elif methods:
                result.obj = m.given(codes_of(map(kind_of, (*found, *rest)), methods))

        once_walked(m, walked, settle)
        return result

    return rule


def ordering(kind: type | None) -> Rule:
    """sorted, min, max: by the items, or by a key; a key function's results come into sight as it runs."""

    def rule(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        key = kwargs.get("key")
        callback(m, fn, key)
        result = Unseen(kind, fresh=kind is list)
        options = {name: stand_in(item) for name, item in kwargs.items() if name != "key"}

        def settle(found: list[Any]) -> None:
            keys = found if key is None else [value for code, value, _ in m.returns if code is code_of(key)]
            if key is None and all(type(item) is tuple and item for item in found):
                first = [item[0] for item in found]  # pairs with different names: the rest is not compared
                if policy.all_data(first) and len({repr(name) for name in first}) == len(first):
                    keys = first
            if len(keys) != len(found) or not found or not policy.all_data([*keys, *options.values()]):
                return
            try:
                places = fn(range(len(found)), key=keys.__getitem__, **options)
            except Exception:
                return
            if kind is list:
                result.like = [found[i] for i in places]
            elif type(found[places]) is not Unseen:
                result.obj = found[places]

        if len(args) == 1:
            once_walked(m, args[0], settle)
        else:
            judge_all(m, fn, args, {})
            m.after.append(lambda offset: settle(args))
        return result

    return rule


def code_of(fn: Any) -> Any:
    """The code that a callback runs; None if it is not Python's."""
    if type(fn) is Unseen and isinstance(fn.made, Made):
        return fn.made.code
    return getattr(getattr(fn, "__func__", fn), "__code__", None)


def gathering(kind: type) -> Rule:
    """Puts the items of an iterable into a new container of this kind."""

    def rule(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        result = Unseen(kind, fresh=True)

        def settle(found: list[Any]) -> None:
            if kind in (set, frozenset):
                values = [stand_in(item) for item in found]
                result.like = kind(values) if policy.all_data(values) else MISSING
            else:
                result.like = kind(found)

        items = once_walked(m, args[0] if args else (), settle)
        return as_tuple(items) if kind is tuple and items is not MISSING else result

    return rule


def lazy(walk: Callable[..., Iterable[Any]] | None = None, callbacks: int = 0) -> Rule:
    """An iterator over iterables; `walk` makes one that gives the same items, beside it."""

    def rule(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        for item in args[:callbacks]:
            callback(m, fn, item)
        judge_all(m, fn, args[callbacks:], kwargs)
        parts = [m.rec.beside(item) for item in args]
        named = {key: stand_in(item) for key, item in kwargs.items()}
        kind = fn if isinstance(fn, type) and fn is not reversed else None  # reversed() gives many types
        if walk is None or any(part is MISSING for part in (*parts, *named.values())):
            for item in args:
                m.rec.forget(item)
            return Unseen(kind, fresh=True)
        try:
            walker = iter(walk(*parts, **named))
        except Exception:
            return Unseen()
        return Unseen(kind, fresh=True, like=walker)

    return rule


def changing(peek: Callable[..., Any] | None = None, callbacks: str = "") -> Rule:
    """Changes its object, which has to be new. `peek` says beforehand what it will return."""

    def rule(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        target = args[0]
        if not m.is_fresh(target):
            kind = kind_of(target)
            m.abort(
                f"`{name_of(fn)}` changes a {policy.say_kind(kind)} that was made outside",
                "return the value, or keep it outside",
            )
        if callbacks:
            callback(m, fn, kwargs.get(callbacks))
        for item in args[1:]:
            kind = kind_of(item)
            if kind is not None and policy.is_iterator(kind):
                m.rec.judge(m, item, f"`{name_of(fn)}` on")
                m.rec.forget(item)
        if type(target) is Unseen:
            target.like = MISSING
            return Unseen() if peek is not None else None
        return None if peek is None else peek(m, target, *args[1:])

    return rule


def making(kind: type) -> Rule:
    """Makes a new object of this type, of which nothing more need be known."""

    def rule(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        for item in args:
            m.rec.judge(m, item, f"`{name_of(fn)}` on")
            m.rec.forget(item)
        return Unseen(kind, fresh=True)

    return rule


def refuse(reason: str, fix: str) -> Rule:
    return lambda m, fn, args, kwargs: m.abort(f"`{name_of(fn)}` is called, which {reason}", fix)


def nothing(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    return None


def callback(m: Frame, fn: Any, item: Any) -> None:
    """A C function will call this: it has to be Python code, or as harmless as the caller."""
    if item is None or type(item) is types.FunctionType:
        return
    if type(item) is Unseen and isinstance(item.made, Made):
        return
    if type(item) in (functools.partial, types.MethodType):
        callback(m, fn, item.func if type(item) is functools.partial else item.__func__)
    elif not (is_known(item) and (m.rec.rules.is_harmless(item) or python_method(type(item), "__call__"))):
        m.abort(f"`{name_of(fn)}` calls {policy.say(item) if is_known(item) else 'a function'} unseen")
