"""Which line of the user's program is running: the first frame outside this package.

The door asks at every recorded operation, so the answer is kept as (code, instruction) and only turned
into a file and a line when somebody reads it.
"""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType
from typing import NamedTuple

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
# Recipes are programs, written as a user would write them: their lines are worth naming.
_PROGRAMS = os.path.join(_PACKAGE, "recipes") + os.sep
_inside: dict[CodeType, bool] = {}


class Where(NamedTuple):
    """A place in a program; `str()` says ``train.py:12``."""

    code: CodeType
    instruction: int

    @property
    def line(self) -> int:
        for start, end, line in self.code.co_lines():
            if start <= self.instruction < end and line is not None:
                return line
        return self.code.co_firstlineno

    def __str__(self) -> str:
        return f"{self.code.co_filename}:{self.line}"


def is_inside(code: CodeType) -> bool:
    """Whether the code belongs to Lampion itself."""
    inside = _inside.get(code)
    if inside is None:
        name = os.path.abspath(code.co_filename)
        inside = _inside[code] = name.startswith(_PACKAGE) and not name.startswith(_PROGRAMS)
    return inside


def where(depth: int = 2) -> Where | None:
    """The innermost line of user code that is running now, if there is any."""
    found = here(depth + 1)
    # (Where(*found) runs Python code of no file, which a recording of a user's function would follow.)
    return None if found is None else tuple.__new__(Where, found)


def here(depth: int = 2) -> tuple[CodeType, int] | None:
    """`where` as a plain tuple, which takes half the time to make: for the tape, which asks so often."""
    frame: FrameType | None = sys._getframe(depth)
    known = _inside.get
    while frame is not None:
        code = frame.f_code
        inside = known(code)
        if inside is None:
            inside = is_inside(code)
        if not inside:
            return code, frame.f_lasti
        frame = frame.f_back
    return None
