"""Plain values that a compiled function sets outside: options of optimizers, attributes of objects."""

from __future__ import annotations

from typing import Any, NamedTuple

from lampion.compiler.capture.policy import MISSING


class Setting(NamedTuple):
    """One of them: it is set while the function is recorded, put back after that, and set by each call.

    Attributes:
        table: a parameter group, or the `__dict__` of an object.
        value: what the entry is set to, or, where `number` is not None: an argument of that number.
        before: whether it is an option of an optimizer that has not been stepped yet.
        old: what it was when the function was recorded.
    """

    table: dict[str, Any]
    name: str
    value: Any
    number: int | None
    before: bool
    old: Any

    def act(self, leaves: list[Any]) -> None:
        """Set it."""
        self.table[self.name] = self.value if self.number is None else leaves[self.number]

    def undo(self) -> None:
        """Put back what was there."""
        if self.old is MISSING:
            self.table.pop(self.name, None)
        else:
            self.table[self.name] = self.old
