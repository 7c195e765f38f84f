"""Pieces of eager that run as plans of machine code: several operations at once.

A recurrent layer is hundreds of small operations, and the loss over ten thousand words a dozen passes through
memory. Where that costs more than recording once, the piece is compiled: it is differentiable like any
compiled function (see `backward`), to any order, and its results agree with eager's by the same rule.

Which pieces these are depends on shapes and types alone, so that a program gives the same bits each time it
runs. ``LAMPION_EAGER_PLANS=0`` switches all of it off (see `eager.on`), and so does the block
`lampion.mode.uncompiled`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from lampion.mode import mode

F = TypeVar("F", bound=Callable[..., Any])


def planned(function: F) -> F:
    """The function, compiled when it is first called."""
    compiled: list[Any] = []

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        if not compiled:
            from lampion.compiler.function import CompiledFunction

            compiled.append(CompiledFunction(function, strict=True))
        return compiled[0](*args)

    return call  # type: ignore[return-value]  # same signature, by functools.wraps


def open_to_plans() -> bool:
    """Whether a piece may run as a plan here: not while something records, or looks at each operation."""
    looked_at = mode.trace is not None or mode.saving is not None or mode.plain
    if looked_at or mode.autocast is not None:
        return False
    from lampion.compiler import eager  # with the compiler, which `import lampion` does not pay for

    return eager.on()
