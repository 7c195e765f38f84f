"""Shared by the tests of capture: stand-ins for Lampion's classes, and a check of the symbolic stack.

While a test runs, `true_stacks` compares the symbolic stack with the interpreter's own before every
instruction, by looking into the running frame's memory. That is a liberty that only a test may take.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import capture_core
import pytest
from capture_core import Tensor

from lampion.compiler.capture import CaptureError, Guards, Recorder
from lampion.compiler.capture.frame import Frame
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


def refused(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> CaptureError:
    """The function cannot be captured; the line that is named bears the comment ``# HERE``."""
    hooks = sys.gettrace(), sys.getprofile()
    with pytest.raises(CaptureError) as caught, recorder() as rec:
        rec.run(fn, *args, **kwargs)
    assert (sys.gettrace(), sys.getprofile()) == hooks
    error = caught.value
    lines, start = inspect.getsourcelines(sys.modules[fn.__module__])
    marked = [i for i, line in enumerate(lines, 1) if "# HERE" in line and _inside(fn, i)]
    assert error.filename == fn.__code__.co_filename
    assert error.lineno in marked, f"{error} is not at a marked line, {marked}"
    return error


def _inside(fn: Callable[..., Any], line: int) -> bool:
    lines, start = inspect.getsourcelines(fn)
    return start <= line < start + len(lines)


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
        if len(a.like) != len(b) or not all(map(agree, a.like, b)):
            return False
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
            if self.frame.f_code.co_name != "run":
                compare(self)
                count[0] += 1
        step(self)

    Frame.step = checked  # type: ignore[method-assign]
    try:
        yield count
    finally:
        Frame.step = step  # type: ignore[method-assign]
