"""Calls: what is about to be called, whether that is allowed, and where its result will come from.

A Python function is followed in a frame of its own. A C function cannot be: `rules.py` says which ones
are harmless. Classes, partials and objects with `__call__` are taken apart until one of the two remains.
"""

from __future__ import annotations

import builtins
import enum
import functools
import inspect
from types import FunctionType, GeneratorType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import policy, scalars
from .cleanup import exit_acts
from .frame import Call, Frame
from .machine import as_tuple
from .opcodes import VERSION, Instruction, handles
from .operators import unary
from .policy import MISSING, find, name_of, python_method
from .values import NULL, Bound, Made, Unseen, is_known, seen, stand_in

if TYPE_CHECKING:
    from .recorder import Recorder

Arguments = list[Any] | None  # None: they cannot be seen
_DISPATCHER = type(np.sum)  # what NumPy's functions are: neither Python's nor C's


class Caller:
    """Calls and iterations on behalf of a Recorder."""

    def __init__(self, rec: Recorder) -> None:
        self.rec = rec

    def call(self, m: Frame, fn: Any, args: Arguments, kwargs: dict[str, Any]) -> Any:
        """Judge `fn(*args, **kwargs)`; answer with its result, or a placeholder for it."""
        kind = type(fn)
        if self.rec.scalars and kind not in (Bound, MethodType, Unseen):
            scalars.called(self.rec, m, fn, args, kwargs)
        if kind is Bound:
            return self.call(m, fn.function, None if args is None else [fn.owner, *args], kwargs)
        if kind is Unseen:
            if isinstance(fn.made, Made):
                return self._enter(m, fn.made.code, args, kwargs, None, fn.made)
            return m.abort(
                "a function that capture cannot see is called",
                "give the function a name first (`f = ...` on a line of its own)",
            )
        if kind is MethodType:
            return self.call(m, fn.__func__, None if args is None else [fn.__self__, *args], kwargs)
        if kind is FunctionType:
            return self.python(m, fn, args, kwargs)
        if isinstance(fn, type):
            return self.make(m, fn, args, kwargs)
        if kind is functools.partial:
            more = None if args is None else [*fn.args, *args]
            return self.call(m, fn.func, more, {**fn.keywords, **kwargs})
        if kind is staticmethod:
            return self.call(m, fn.__func__, args, kwargs)
        if isinstance(fn, policy.C_CALLABLES):
            if args is None:
                m.abort(f"`{name_of(fn)}` is called with arguments that capture cannot see")
            return self.rec.rules.judge(m, fn, args or [], kwargs)
        if kind in (np.ufunc, _DISPATCHER):
            return self._numpy(m, fn, args, kwargs)
        raw, _ = find(kind, "__call__")
        if isinstance(raw, FunctionType):
            self.rec.reader.class_read(m, kind, "__call__")
            return self.python(m, raw, None if args is None else [fn, *args], kwargs)
        return m.abort(
            f"`{name_of(fn)}` is called, a {kind.__name__} that capture cannot look into",
            "call it outside, and pass in what it returns",
        )

    def python(self, m: Frame, fn: FunctionType, args: Arguments, kwargs: dict[str, Any]) -> Any:
        code = fn.__code__
        if policy.is_numpy_file(code.co_filename):
            return self._numpy(m, fn, args, kwargs)
        if fn is functools.update_wrapper and not (args and m.is_fresh(args[0])):
            m.abort("`functools.update_wrapper` changes a function that was made outside")
        self.rec.reader.function(m, fn)
        return self._enter(m, code, args, kwargs, fn, None)

    def _enter(
        self, m: Frame, code: Any, args: Arguments, kwargs: dict[str, Any], fn: Any, made: Made | None
    ) -> Any:
        if code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
            m.abort(f"`{code.co_qualname}` is asynchronous")
        call = Call(code, args or [], kwargs)
        call.fn, call.made = fn, made
        if self.rec.is_untraced(code):
            for item in (*call.args, *kwargs.values()):  # it may take items from an iterator, unwatched
                self.rec.forget(item)
                if is_known(item) and policy.is_iterator(type(item)):
                    self.rec.judge(m, item, f"`{code.co_qualname}` on")
                elif isinstance(item, policy.C_CALLABLES):
                    self.rec.rules.callback(m, fn or code, item)
        if code.co_flags & inspect.CO_GENERATOR:
            self.rec.generators.setdefault(id(code), []).append(call)  # its frame starts later
            return Unseen(GeneratorType, fresh=True)
        m.call = call
        return m.expect(code)

    def make(self, m: Frame, cls: type, args: Arguments, kwargs: dict[str, Any]) -> Any:
        """A class is called."""
        if (rule := self.rec.rules.for_class(cls)) is not None:
            if args is None:
                m.abort(f"`{name_of(cls)}` is called with arguments that capture cannot see")
            return rule(m, cls, args or [], kwargs)
        if isinstance(cls, enum.EnumMeta):
            values = [stand_in(item) for item in args or ()]
            if args and all(map(policy.is_plain, values)):
                return cls(*values)
        meta = python_method(type(cls), "__call__")
        if meta is not None:
            self.rec.reader.class_read(m, type(cls), "__call__")
            return self.python(m, meta, None if args is None else [cls, *args], kwargs)
        return self.construct(m, cls, args, kwargs)

    def construct(self, m: Frame, cls: type, args: Arguments, kwargs: dict[str, Any]) -> Any:
        """What `type.__call__` does: `__new__`, then `__init__`."""
        reader = self.rec.reader
        if not (policy.is_solid(cls) or self.rec.is_core_type(cls)):
            m.abort(f"`{name_of(cls)}` is called, a type that capture does not know")
        if python_method(cls, "__del__") is not None:
            m.abort(f"`{name_of(cls)}` has a finalizer", "it cannot be replayed: make the object outside")
        reader.class_reads(m, cls, "__new__", "__init__")
        if (new := python_method(cls, "__new__")) is not None:
            return self.python(m, new, None if args is None else [cls, *args], kwargs)
        for item in args or ():
            self.rec.forget(item)
        result = Unseen(cls, fresh=True)
        if (init := python_method(cls, "__init__")) is not None:
            reader.function(m, init)
            m.call = call = Call(init.__code__, [result, *(args or ())], kwargs)
            call.fn, call.cls = init, cls
        return result

    def _numpy(self, m: Frame, fn: Any, args: Arguments, kwargs: dict[str, Any]) -> Any:
        values = [stand_in(item) for item in args or ()]
        named = {key: stand_in(item) for key, item in kwargs.items()}
        if args is not None and policy.all_data([*values, *named.values()]):
            try:
                result = fn(*values, **named)
            except Exception:
                return Unseen()  # the program is about to meet the same
            if policy.is_data(result):
                return result
        return m.abort(f"NumPy's `{name_of(fn)}` is called", "use Lampion's function of that name")

    # ---- iteration -----------------------------------------------------------------------------------------

    def elements(self, m: Frame, item: Any) -> Any:
        """The items that iterating to the end gives, as a list; MISSING if some part cannot be seen."""
        item = seen(item)
        like = item.like if type(item) is Unseen else item
        if (shadow := self.rec.shadow(item)) is not None:
            return list(shadow)
        self.rec.judge(m, item, "the items of")
        if like is not MISSING and _walkable(type(like)) and not (like is not item and type(like) is set):
            return list(like)
        return MISSING

    def iterate(self, m: Frame, item: Any) -> Any:
        """`iter(item)`: a placeholder for the iterator, with another that walks beside it where possible."""
        self.rec.judge(m, item, "the items of")
        kind = item.kind if type(item) is Unseen else type(item)
        if kind is not None and policy.is_iterator(kind) and python_method(kind, "__iter__") is None:
            return item
        like = item.like if type(item) is Unseen else item
        if like is not MISSING and _walkable(type(like)) and not (like is not item and type(like) is set):
            walk = iter(like)
            return Unseen(type(walk) if type(like) is kind else None, fresh=True, like=walk)
        method = python_method(kind, "__iter__") if kind is not None else None
        if method is not None and kind is not None:
            self.rec.reader.class_read(m, kind, "__iter__")
            return self.python(m, method, [item], {})
        return Unseen(None, fresh=True)

    def unpack(self, m: Frame, item: Any, ins: Instruction) -> Any:
        """The items of an unpacking assignment, in the order in which they are pushed: last one first."""
        items = self.elements(m, item)
        first, starred = ins.arg, ins.name == "UNPACK_EX"
        last = 0
        if starred:
            first, last = ins.arg & 0xFF, ins.arg >> 8
        if items is MISSING or (len(items) < first + last if starred else len(items) != first):
            items = [Unseen() for _ in range(first + last)]
            if starred:
                items[first:first] = [Unseen(list, fresh=True)]
        elif starred:
            middle = Unseen(list, fresh=True, like=items[first : len(items) - last])
            items[first : len(items) - last] = [middle]
        return items[::-1]


_WALKABLE = (*policy.CONTAINERS, str, bytes, range, *policy.VIEWS)


def _walkable(kind: type) -> bool:
    """A builtin that can be walked twice without anyone noticing."""
    return issubclass(kind, _WALKABLE) and python_method(kind, "__iter__") is None


# ---- instructions ---------------------------------------------------------------------------------------


def function_and_args(taken: list[Any]) -> tuple[Any, list[Any]]:
    """What lies below the arguments: a function, and perhaps the object that it is bound to."""
    a, b, *args = taken
    if VERSION >= (3, 13):
        return a, (args if b is NULL else [b, *args])
    return (b, args) if a is NULL else (a, [b, *args])


@handles("CALL")
def call(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    fn, args = function_and_args(taken)
    names, m.keywords = m.keywords, ()
    return _call(m, fn, args, names)


@handles("CALL_KW")
def call_kw(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    fn, args = function_and_args(taken[:-1])
    return _call(m, fn, args, taken[-1])


def _call(m: Frame, fn: Any, args: list[Any], names: tuple[str, ...]) -> Any:
    cut = len(args) - len(names)
    return (m.rec.caller.call(m, fn, args[:cut], dict(zip(names, args[cut:], strict=True))),)


@handles("CALL_FUNCTION_EX")
def call_function_ex(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    fn, rest = (taken[0], taken[2:]) if VERSION >= (3, 13) else (taken[1], taken[2:])
    args = m.rec.caller.elements(m, rest[0])
    named: Any = {}
    if ins.arg & 1:
        m.rec.judge(m, rest[1], "the items of")
        named = rest[1].like if type(rest[1]) is Unseen else rest[1]
    unseen = args is MISSING or type(named) is not dict
    return (m.rec.caller.call(m, fn, None if unseen else args, {} if unseen else dict(named)),)


@handles("MAKE_FUNCTION")
def make_function(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    cells = taken[-2] if VERSION < (3, 13) and ins.arg & 8 else ()
    return (Unseen(FunctionType, fresh=True, made=Made(taken[-1], _closure(cells))),)


@handles("SET_FUNCTION_ATTRIBUTE")
def set_function_attribute(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    value, fn = taken
    if ins.arg == 8:
        fn.made.closure = _closure(value)
    return (fn,)


def _closure(cells: Any) -> tuple[Any, ...]:
    return tuple(cell.like for cell in (cells.like if type(cells) is Unseen else cells))


@handles("LOAD_BUILD_CLASS")
def load_build_class(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (builtins.__build_class__,)


@handles("BEFORE_WITH")
def before_with(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    manager = taken[0]
    kind = manager.kind if type(manager) is Unseen else type(manager)
    enter = leave = None
    if kind is not None:
        enter, leave = python_method(kind, "__enter__"), python_method(kind, "__exit__")
    if enter is None or leave is None or kind is None:
        return m.abort("a `with` statement enters something that capture cannot look into")
    if exit_acts(m.rec, leave, m.is_fresh(manager)):
        m.abort(
            f"`{leave.__qualname__}` may act outside Lampion when a capture is given up",
            "keep the with statement outside of the compiled function",
        )
    m.rec.reader.class_reads(m, kind, "__enter__", "__exit__")
    exit_method = MethodType(leave, manager) if is_known(manager) else Bound(leave, manager)
    return (exit_method, m.rec.caller.python(m, enter, [manager], {}))


@handles("CALL_INTRINSIC_1")
def call_intrinsic(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    if ins.symbol == "INTRINSIC_LIST_TO_TUPLE":
        like = taken[0].like if type(taken[0]) is Unseen else MISSING
        return (Unseen(tuple, fresh=True) if like is MISSING else as_tuple(like),)
    if ins.symbol == "INTRINSIC_UNARY_POSITIVE":
        return (unary(m, ins.symbol, taken[0]),)
    return m.abort(f"{ins.symbol} cannot be followed")
