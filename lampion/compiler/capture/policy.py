"""What capture may believe: which values are plain data, which objects it understands, which files it trusts.

Nothing here looks at a running program; these are the tables and small judgements that the other
files of this folder apply. When a judgement is not certain the answer is the careful one.
"""

from __future__ import annotations

import builtins
import collections
import contextlib
import enum
import functools
import logging
import math
import os
import site
import sys
import sysconfig
import types
import typing
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import numpy as np

MISSING: Final = type("Missing", (), {"__repr__": lambda self: "nothing", "__slots__": ()})()

# ---- plain data: compared by type and value -------------------------------------------------------

SINGLETONS = frozenset({type(None), bool, type(Ellipsis), type(NotImplemented)})
SCALARS = frozenset({int, float, complex, str, bytes, range, slice}) | SINGLETONS
CONTAINERS = (list, tuple, dict, set, frozenset, collections.deque)
MUTABLE = (list, dict, set, collections.deque)
MAX_ITEMS = 10_000


def is_data(obj: Any) -> bool:
    """A value with no identity and no code of the user's: a number, a string, a range, a dtype."""
    kind = type(obj)
    if kind is slice:
        return is_data(obj.start) and is_data(obj.stop) and is_data(obj.step)
    return kind in SCALARS or (isinstance(obj, (np.generic, np.dtype)) and not isinstance(obj, np.void))


def is_plain(obj: Any) -> bool:
    """Data, or a member of an enumeration: there is one of each, and it does not change."""
    return is_data(obj) or isinstance(obj, enum.Enum)


def all_data(obj: Any, room: int = MAX_ITEMS) -> bool:
    """Data, or a builtin container of nothing else. Such values can be computed with beside the program."""
    if is_data(obj):
        return True
    kind = type(obj)
    if kind in (list, tuple, set, frozenset, collections.deque):
        return len(obj) <= room and all(all_data(item, room) for item in obj)
    if kind is dict:
        return len(obj) <= room and all(all_data(k) and all_data(v, room) for k, v in obj.items())
    return False


def same(a: Any, b: Any) -> bool:
    """Whether `a` may stand for `b`: the same object, or plain data of one type and one value.

    nan is nan here, -0.0 is not 0.0, and 1, 1.0 and True are three values.
    """
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b) or kind in SINGLETONS:
        return False
    if kind is float:
        return bool(a == b and math.copysign(1.0, a) == math.copysign(1.0, b)) or bool(a != a and b != b)
    if kind in (int, str, bytes):
        return bool(a == b)
    if kind is complex:
        return same(a.real, b.real) and same(a.imag, b.imag)
    if kind in (tuple, frozenset):
        return len(a) == len(b) and all(map(same, a, b))
    if kind in (slice, range):
        return same(a.start, b.start) and same(a.stop, b.stop) and same(a.step, b.step)
    if kind is types.MethodType:
        return a.__self__ is b.__self__ and a.__func__ is b.__func__
    if isinstance(a, np.generic):
        return bool(a.dtype == b.dtype and a.tobytes() == b.tobytes())
    return isinstance(a, np.dtype) and bool(a == b)


# ---- classes whose instances hold no hidden state ---------------------------------------------------

HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE
_OWN_GETSETS = ("__dict__", "__weakref__")  # put by Python itself into every class that it makes
C_DESCRIPTORS = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
)
_OWN_LOOKUP = (type, super, types.ModuleType, types.MethodType, types.GenericAlias, types.UnionType)
C_CALLABLES = (types.BuiltinFunctionType, types.MethodWrapperType, *C_DESCRIPTORS[:3])
_DICTS: tuple[dict[Any, Any], ...] = ({}, collections.OrderedDict())
VIEWS = tuple(type(view) for table in _DICTS for view in (table.keys(), table.values(), table.items()))
SOLID: frozenset[Any] = frozenset(
    {object, list, tuple, dict, set, frozenset, int, float, complex, str, bytes, type, types.ModuleType}
    | {collections.deque, collections.OrderedDict, collections.defaultdict, typing.Generic}
    | {staticmethod, classmethod, property, super, functools.partial, types.MethodType, types.FunctionType}
    | {types.CodeType, types.GenericAlias, *SCALARS, *C_CALLABLES}
    | {*VIEWS, types.UnionType, types.SimpleNamespace}
    | {e for e in vars(builtins).values() if isinstance(e, type) and issubclass(e, BaseException)}
)

# What `object.__getattribute__` is for types whose look-up is the usual one.
USUAL_LOOKUP = frozenset(base.__getattribute__ for base in SOLID if base not in _OWN_LOOKUP)


Test = Callable[[Any], bool]


def per_class(test: Test) -> Test:
    """Remember the answer for each class, for as long as the class lives."""
    answers: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()

    @functools.wraps(test)
    def remembered(cls: Any) -> bool:
        answer = answers.get(cls)
        if answer is None:
            answer = answers[cls] = test(cls)
        return answer

    return remembered


@per_class
def made_in_python(cls: type) -> bool:
    """Whether a `class` statement made it: a C type shows by the C descriptors in its own namespace."""
    return bool(cls.__flags__ & HEAP_TYPE) and not any(
        isinstance(value, C_DESCRIPTORS) and value.__objclass__ is cls and name not in _OWN_GETSETS
        for name, value in vars(cls).items()
    )


@per_class
def is_solid(cls: type) -> bool:
    """Whether all state of its instances can be seen from Python (so: no arrays, files, locks, locals)."""
    return all(base in SOLID or made_in_python(base) for base in cls.__mro__)


ITEMS_ITERATOR: Any = type(iter({}.items()))


def is_iterator(cls: type) -> bool:
    return hasattr(cls, "__next__")


def find(cls: type, name: str, after: type | None = None) -> tuple[Any, type | None]:
    """What the class says about `name`, and which base says it: a look-up that runs no user code."""
    mro = cls.__mro__
    for base in mro if after is None else mro[mro.index(after) + 1 :]:
        if name in (space := base.__dict__):
            return space[name], base
    return MISSING, None


def python_method(cls: type, name: str) -> types.FunctionType | None:
    """The Python function that implements a special method of the class, if a Python function does."""
    raw, _ = find(cls, name)
    if isinstance(raw, (staticmethod, classmethod)):
        raw = raw.__func__
    return raw if isinstance(raw, types.FunctionType) else None


def methods_of(cls: type, name: str) -> list[types.FunctionType]:
    """The Python functions that a class attribute may run: a method, or the parts of a property."""
    raw, _ = find(cls, name)
    parts = (raw.fget, raw.fset, raw.fdel) if isinstance(raw, property) else (python_method(cls, name),)
    return [part for part in parts if isinstance(part, types.FunctionType)]


# ---- files ------------------------------------------------------------------------------------------

_ROOT = Path(__file__).resolve().parents[2]  # .../lampion
_NUMPY = os.path.dirname(np.__file__) + os.sep


@functools.cache
def is_plumbing(filename: str) -> bool:
    """Whether a file belongs to Python's standard library or to NumPy."""
    stdlib = sysconfig.get_path("stdlib") + os.sep
    if filename.startswith((_NUMPY, "<frozen ")):
        return True
    return filename.startswith(stdlib) and "site-packages" not in filename


_TRUSTED_ROOMS = ("ops", "autograd", "compiler", "backend", "func", "linalg", "fft", "signal", "debug")


def default_trusted() -> tuple[str, ...]:
    """Lampion's core: it declares its own reads and effects. The rest of Lampion is read like user code."""
    return (
        f"{_ROOT}{os.sep}*",
        *(f"{_ROOT}{os.sep}{room}{os.sep}" for room in _TRUSTED_ROOMS),
        *(f"{_ROOT}{os.sep}amp{os.sep}{name}.py" for name in ("context", "policy")),
    )


def is_lampions(obj: Any) -> bool:
    """An instance of one of Lampion's classes, or of a class that derives from one."""
    return _is_lampions_type(type(obj))


@per_class
def _is_lampions_type(cls: type) -> bool:
    return any(str(base.__module__).partition(".")[0] == _ROOT.name for base in cls.__mro__)


class Trust:
    """Which code runs unwatched: `dir/` is a whole tree, `dir/*` the files directly in it, else one file."""

    def __init__(self, entries: Sequence[str]) -> None:
        self.entries = tuple(entries)
        self.files: dict[str, bool] = {}
        self.types: dict[type, bool] = {}

    def file(self, name: str) -> bool:
        known = self.files.get(name)
        if known is None:
            known = self.files[name] = any(self._covers(entry, name) for entry in self.entries)
        return known

    @staticmethod
    def _covers(entry: str, name: str) -> bool:
        if entry.endswith("*"):
            return os.path.dirname(name) == entry[:-2]
        return name.startswith(entry) if entry.endswith(os.sep) else name == entry

    def derives(self, cls: type) -> bool:
        """Whether the class, or one that it derives from, comes from a trusted file."""
        known = self.types.get(cls)
        if known is None:
            known = self.types[cls] = any(map(self.defines, cls.__mro__))
        return known

    def defines(self, cls: type) -> bool:
        """Whether the class itself comes from a trusted file."""
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        return file is not None and self.file(file)


# Standard code that only looks at classes, which do not change, or that runs at odd moments (`remove`: a
# weak reference has died). It runs unwatched; user code that it calls is watched as ever.
_STDLIB = os.path.dirname(os.__file__) + os.sep
_TRANSPARENT_FILES = frozenset(
    {enum.__file__, types.__file__, "<frozen abc>", f"{_STDLIB}abc.py", f"{_STDLIB}_py_abc.py"}
)
_COMPARED = {f"_{a}_from_{b}" for a in ("lt", "le", "gt", "ge") for b in ("lt", "le", "gt", "ge")}
_TRANSPARENT_FUNCTIONS = {
    functools.__file__: {"update_wrapper", "wraps", *_COMPARED},
    weakref.__file__: {"remove"},
}
# Where StopIteration is caught as a matter of course (a generator was run to its end), and where an error is
# only added to, and raised again.
_CATCHING = frozenset(
    {
        (contextlib.__file__, "_GeneratorContextManager.__exit__"),
        (os.path.join(_ROOT, "nn", "module.py"), "Module.__call__"),
    }
)


def is_numpy_file(name: str) -> bool:
    return name.startswith(_NUMPY)


def is_transparent(code: CodeType) -> bool:
    """Whether the code runs unwatched although it is not Lampion's."""
    name = code.co_filename
    return (
        name in _TRANSPARENT_FILES
        or name.startswith("<frozen importlib")
        or code.co_name in _TRANSPARENT_FUNCTIONS.get(name, ())
        or is_numpy_file(name)
    )


def may_catch(code: CodeType) -> bool:
    """Whether an exception that the code catches means nothing."""
    return (code.co_filename, code.co_qualname) in _CATCHING


_LIBRARIES = (
    sysconfig.get_path("stdlib") + os.sep,
    *(path + os.sep for path in {sysconfig.get_path("purelib"), *site.getsitepackages()}),
    f"{_ROOT}{os.sep}",
    "<",
)


def is_lampions_file(filename: str) -> bool:
    """Part of this package: nobody replaces the code or the defaults of its functions."""
    return filename.startswith(f"{_ROOT}{os.sep}")


def is_context_library(filename: str) -> bool:
    return filename == contextlib.__file__


#: What it means to the reader that something was refused in there: by file, and function if not any.
_MEANINGS = {
    (logging.__file__, ""): ("logs a message", "log outside of the compiled function"),
    **{
        (os.path.join(_ROOT, "amp", "scaler.py"), f"GradScaler.{name}"): (
            f"calls {name}() of a GradScaler, which depends on the values of gradients",
            "have scale() and backward() inside, and call unscale_(), step() and update() outside",
        )
        for name in ("step", "update")
    },
}  # fmt: skip


def in_words(frame: FrameType) -> tuple[str, str] | None:
    """What the reader's own line asked for, and what to do instead, where a frame of a library does it."""
    at: FrameType | None = frame
    while at is not None and is_library(at.f_code.co_filename):
        for name in (at.f_code.co_qualname, ""):
            if (found := _MEANINGS.get((at.f_code.co_filename, name))) is not None:
                return found
        at = at.f_back
    return None


def is_library(filename: str) -> bool:
    """Not the reader's own file: messages look further up the stack for a line to name."""
    return filename.startswith(_LIBRARIES)


# ---- words --------------------------------------------------------------------------------------------


def say(value: Any) -> str:
    """A value, short enough for one line of a message."""
    if value is MISSING:
        return "nothing"
    if isinstance(value, (type, types.FunctionType)):
        return f"`{value.__qualname__}`"
    if is_plain(value):
        text = repr(value)
        return text if len(text) <= 60 else text[:57] + "..."
    return f"a {type(value).__name__}"


def say_kind(kind: type | None) -> str:
    return "value that capture cannot see" if kind is None else kind.__name__


def name_of(fn: Any) -> str:
    """How a reader would write the callable: `time.time`, `list.append`, `Net.forward`."""
    own = getattr(fn, "__self__", None)
    name = str(getattr(fn, "__qualname__", None) or getattr(fn, "__name__", type(fn).__name__))
    if vars(builtins).get(name) is fn:
        return name
    if isinstance(own, types.ModuleType):
        home = own.__name__.lstrip("_")
        return f"{'os' if home in ('posix', 'nt') else home}.{name}"
    return f"{fn.__module__}.{name}" if isinstance(fn, type) else name
