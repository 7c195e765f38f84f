"""Where the program is: which modules are running, and which node of the tape is being walked.

All of it is read from Python's own stack, at the moment that somebody asks: nothing has to be kept for it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

from lampion.autograd import walk
from lampion.autograd.tape import Node
from lampion.nn.module import Module

# The code of the originals, which runs whether or not there are watchers.
_CALL = Module.__call__.__code__
_PASS_ON = walk._pass_on.__code__

Chain = tuple[Module, ...]


def running(depth: int = 2) -> tuple[Chain, Node | None]:
    """The modules whose `forward` is running, outermost first, and the node that is being walked, if any.

    Inside of a backward pass the modules are those that were called by it (by `checkpoint`, say).
    """
    modules: list[Module] = []
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        if code is _CALL:
            modules.append(frame.f_locals["self"])
        elif code is _PASS_ON:
            return tuple(reversed(modules)), frame.f_locals["node"]
        frame = frame.f_back
    return tuple(reversed(modules)), None


def local_of(function: Any, name: str, depth: int = 2) -> Any:
    """A local variable of the innermost running call of `function`; None if it is not running."""
    code = inspect.unwrap(function).__code__  # not that of autocast's policy around it
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        if frame.f_code is code:
            return frame.f_locals[name]
        frame = frame.f_back
    return None


def path_of(chain: Sequence[Module]) -> str:
    """How a reader would name the last module of a chain: ``encoder.0 (Linear)``; its type, if outermost."""
    if not chain:
        return ""
    root, module = chain[0], chain[-1]
    kind = type(module).__name__
    if module is root:
        return kind
    for name, candidate in root.named_modules():
        if candidate is module:
            return f"{name} ({kind})"
    # A module that is stored where no one looks for it (in a plain list): name it within the one above.
    return f"{path_of(chain[:-1])} > {kind}"
