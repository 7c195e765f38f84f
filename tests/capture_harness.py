"""Shared by the tests of capture: stand-ins for Lampion's classes, and a check of the symbolic stack.

While a test runs, `true_stacks` compares the symbolic stack with the interpreter's own before every
instruction, by looking into the running frame's memory. That is a liberty that only a test may take.
"""

from __future__ import annotations

import array
import collections
import ctypes
import importlib.util
import io
import re
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import capture_core
import numpy as np
import pytest
from capture_core import Tensor

from lampion.compiler.capture import CaptureError, Guards, Recorder
from lampion.compiler.capture.frame import Frame
from lampion.compiler.capture.guards import GONE, Names
from lampion.compiler.capture.policy import find
from lampion.compiler.capture.values import NULL, Unseen, matches, seen


class Parameter(Tensor):
    pass


class Module:
    """Parameters and submodules live in tables of their own, as in lampion.nn."""

    def __init__(self) -> None:
        self.__dict__["_parameters"] = {}
        self.__dict__["_modules"] = {}
        self.training = True

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._modules[name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_modules"):
            entries = self.__dict__.get(table)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def parameters(self) -> Iterator[Parameter]:
        yield from self._parameters.values()
        for module in self._modules.values():
            yield from module.parameters()


class Linear(Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = Parameter(3, 3)
        self.bias = Parameter(3)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


def is_own(obj: Any) -> bool:
    return isinstance(obj, (Tensor, Module))


def recorder(**options: Any) -> Recorder:
    return Recorder(is_own=is_own, trusted=[capture_core.__file__], **options)


def capture(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Guards]:
    """Run once; the guards hold right after it."""
    with recorder() as rec:
        result = rec.run(fn, *args, **kwargs)
    assert rec.guards.check() is None
    return result, rec.guards


def guarded(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Guards:
    return capture(fn, *args, **kwargs)[1]


class World:
    """A fresh copy of `capture_world`, and code that runs in it: `x` is a Tensor."""

    loaded = 0

    def __init__(self) -> None:
        World.loaded += 1
        name = f"capture_world_{World.loaded}"
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("capture_world.py"))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look there
        spec.loader.exec_module(module)
        del sys.modules[name]
        self.space = vars(module)
        self.module = module

    def function(self, source: str) -> Callable[..., Any]:
        """A function of `x` made of an expression, or of statements, that start on line 2 of "row.py"."""
        lines = source.split("\n")
        if len(lines) == 1 and not source.startswith(_STATEMENTS) and not _ASSIGNS.search(source):
            lines = [f"return ({source})"]
        code = compile("def row(x):\n" + "".join(f"    {line}\n" for line in lines), "row.py", "exec")
        exec(code, self.space)  # noqa: S102
        return self.space["row"]  # type: ignore[no-any-return]

    def change(self, source: str) -> None:
        exec(source, self.space)  # noqa: S102

    def state(self) -> str:
        """Everything that a row could have changed, as text."""
        seen: dict[int, Any] = {}
        names = sorted(name for name in self.space if not name.startswith("__") and name not in ("row", "x"))
        return "\n".join(f"{name} {_show(self.space[name], seen)}" for name in names)


_STATEMENTS = ("with ", "for ", "while ", "del ", "global ", "import ", "from ", "def ", "try:", "assert ")
_ASSIGNS = re.compile(r"^[\w.\[\]'\", :*]+ ([-+*|]?=) ")


def _show(value: Any, seen: dict[int, Any]) -> str:
    if isinstance(value, (int, float, str, bytes, bytearray, np.ndarray, array.array)) or value is None:
        return repr(value)
    if id(value) in seen:
        return "again"
    seen[id(value)] = value  # kept, so that its identity stays its own
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = [part for item in dict.items(value) for part in item]
    elif isinstance(value, (list, tuple, set, collections.deque)):
        parts = list(value)
    elif isinstance(value, type) and value.__module__.startswith("capture_"):
        parts = [part for item in sorted(vars(value).items()) if item[0][:2] != "__" for part in item]
    elif isinstance(value, types.FunctionType):
        parts = [value.__defaults__, value.__kwdefaults__, value.__dict__, *(value.__closure__ or ())]
    elif isinstance(value, types.CellType):
        parts = [value.cell_contents]
    elif isinstance(value, io.StringIO):
        parts = [value.getvalue()]
    elif type(value).__module__.startswith(("capture_", "types")) and not isinstance(value, types.ModuleType):
        names = ["__dict__", *vars(type(value)).get("__slots__", ())]  # no look-up that runs code
        slots = [find(type(value), name)[0] for name in names]
        parts = [slot.__get__(value) for slot in slots if hasattr(slot, "__get__")]
    return f"{type(value).__name__}({', '.join(_show(part, seen) for part in parts)})"


def refused(fn: Callable[..., Any], *args: Any, line: int | None = 2, **kwargs: Any) -> CaptureError:
    """The function cannot be captured, the hooks are put back, and the error names the line."""
    hooks = sys.gettrace(), sys.getprofile()
    with pytest.raises(CaptureError) as caught, recorder() as rec:
        rec.run(fn, *args, **kwargs)
    assert (sys.gettrace(), sys.getprofile()) == hooks
    error = caught.value
    assert "lost track" not in error.reason and "capture failed" not in error.reason, error
    assert Path(error.filename).name in (Path(fn.__code__.co_filename).name, "capture_world.py"), error
    if line is not None and error.filename == fn.__code__.co_filename:
        assert error.lineno == line, error
    return error


# ---- the interpreter's own stack --------------------------------------------------------------------

_FRAME = 24  # PyFrameObject.f_frame; the same in 3.11, 3.12 and 3.13
_TOP, _LOCALS = 64, 72  # _PyInterpreterFrame.stacktop and .localsplus


def true_stack(m: Frame) -> list[Any]:
    """The values on the running frame's stack; NULL for an empty place."""
    inner = ctypes.c_void_p.from_address(id(m.frame) + _FRAME).value
    assert inner is not None
    code = m.code
    size = len({*code.co_varnames, *code.co_cellvars}) + len(code.co_freevars)
    depth = ctypes.c_int.from_address(inner + _TOP).value - size
    if sys.version_info >= (3, 12):  # the interpreter keeps its stack pointer to itself during the event
        depth = len(m.stack)
        assert depth <= code.co_stacksize
    values = []
    for i in range(depth):
        at = inner + _LOCALS + 8 * (size + i)
        empty = ctypes.c_void_p.from_address(at).value is None
        values.append(NULL if empty else ctypes.py_object.from_address(at).value)
    return values


def compare(m: Frame) -> None:
    real = true_stack(m)
    mine = [seen(item) for item in m.stack]
    place = f"{m.code.co_name} {m.frame.f_lasti}"  # no values: their own __repr__ may not be ready
    assert len(mine) == len(real), f"depth {len(mine)}, not {len(real)}, at {place}"
    bound = {i for i, (a, b) in enumerate(zip(mine, real, strict=True)) if a is NULL and b is not NULL}
    partner = -1 if sys.version_info >= (3, 13) else 1
    skipped = bound | {i + partner for i in bound}  # method and object, where the double has a bound method
    for i, (a, b) in enumerate(zip(mine, real, strict=True)):
        if i not in skipped and not (isinstance(a, Unseen) and a.kind is None):
            assert agree(a, b), f"{type(a)} is really {type(b)} at {place}"


def agree(a: Any, b: Any) -> bool:
    a = seen(a)
    if isinstance(a, Unseen) and isinstance(a.like, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a.like) == len(b) and all(map(agree, a.like, b)) and matches(a, b)
    return matches(a, b)


@contextmanager
def true_stacks() -> Iterator[list[int]]:
    """Compare at every step; gives a counter, so that a test can tell that it happened."""
    step, count = Frame.step, [0]

    def checked(self: Frame) -> None:
        if not self.unwinding:
            todo, self.after = self.after, []
            for finish in todo:
                finish(self.frame.f_lasti)
            if type(self) is Frame:
                compare(self)
                count[0] += 1
        step(self)

    Frame.step = checked  # type: ignore[method-assign]
    try:
        yield count
    finally:
        Frame.step = step  # type: ignore[method-assign]


def holds(guards: Guards) -> bool:
    """Whether the guards hold, as generated code has it: see lampion/compiler/callpath.py."""
    names = Names()
    tests = " and ".join(row.test(names) for row in guards.rows)
    try:
        return bool(eval(f"({tests or True})", names.space))  # noqa: S307
    except GONE:
        return False
