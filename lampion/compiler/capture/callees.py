"""Which function a frame runs, where no instruction of user code has announced it: an operator, C or the core
has called. Python does not say; what is alive and fits is looked up.
"""

from __future__ import annotations

import gc
from types import CellType, FunctionType
from typing import Any

from . import policy
from .frame import Frame
from .policy import MISSING


def method_owner(state: Frame) -> tuple[type, FunctionType] | None:
    """The class of the frame's first argument, and the function, if it runs a method of that class."""
    code = state.code
    if code.co_argcount:
        own = state.local(code.co_varnames[0])
        cls = own if isinstance(own, type) else type(own)
        for method in policy.methods_of(cls, code.co_name):
            if method.__code__ is code:
                return cls, method
    return None


class Callees:
    """The functions that frames may run.

    Args:
        fresh: by identity, what the recorded call has made itself.
    """

    def __init__(self, fresh: dict[int, Any]) -> None:
        self.fresh = fresh
        self._functions: dict[int, list[FunctionType]] = {}

    def cells(self, state: Frame, name: str) -> list[CellType]:
        """The cells that a free variable may be, but for those of this call.

        One, where the function that a frame runs is known; else those of all the functions that it can be.
        """
        index = state.code.co_freevars.index(name)
        functions = [state.fn] if state.fn is not None else self.candidates(state)
        if not functions:
            state.abort(f"`{state.code.co_qualname}` is called in a way that capture cannot follow")
        cells = [(fn.__closure__ or ())[index] for fn in functions]
        return [cell for cell in cells if id(cell) not in self.fresh]

    def candidates(self, state: Frame) -> list[FunctionType]:
        """The functions that are alive and whose code and variables are those of the frame."""
        code = state.code
        found = [fn for fn in self._functions.get(id(code), ()) if _fits(fn, state)]
        if not found:  # there is a new one since, where a function is made in a loop
            alive = [f for f in gc.get_referrers(code) if type(f) is FunctionType and f.__code__ is code]
            if len(alive) == 1:
                self._functions[id(code)] = alive
            found = [fn for fn in alive if _fits(fn, state)]
        return found


def _fits(fn: FunctionType, state: Frame) -> bool:
    for name, cell in zip(state.code.co_freevars, fn.__closure__ or (), strict=True):
        try:
            if cell.cell_contents is not state.local(name):
                return False
        except ValueError:  # an empty cell
            if state.local(name) is not MISSING:
                return False
    return True
