"""Where a tensor comes from: which operation made it, at which line of the user's program."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from lampion.debug.places import path_of, running
from lampion.debug.watch import Watcher
from lampion.origin import Where, here
from lampion.tensor import Tensor


@dataclass(frozen=True)
class Origin:
    """Where a tensor comes from; `str()` says ``exp at train.py:12, in encoder.0 (Linear)``.

    Attributes:
        operation: the operation's name.
        where: the line of the user's program, as ``file:line`` when printed.
        module: the module inside of which it ran, where that is known (see `origins`); else empty.
    """

    operation: str
    where: Where | None
    module: str = ""

    def __str__(self) -> str:
        text = f"{self.operation} at {self.where}"
        return f"{text}, in {self.module}" if self.module else text


# By the id of an array: the array (while it lives), and who made it.
_known: dict[int, tuple[weakref.ref[Any], str, Any, Any]] = {}


class origins(Watcher):
    """Remember for *every* tensor computed in this block where it was made. A ``with`` block.

    `Tensor.origin()` knows by itself of all tensors that are on the tape. This block adds the others: what is
    computed under `no_grad`, or from tensors that need no gradient; and the module in which it was computed.

    >>> import lampion
    >>> with lampion.debug.origins(), lampion.no_grad():
    ...     y = lampion.ones(2).exp()
    >>> y.origin().operation
    'exp'
    """

    eager = True

    def computed(self, primitive: Any, arrays: Any, params: Any, out: Any, began: int, ended: int) -> None:
        key = id(out)
        reference = weakref.ref(out, lambda _: _known.pop(key, None))
        _known[key] = (reference, primitive.name, here(1), running()[0])


def origin_of(tensor: Tensor) -> Origin | None:
    """`Tensor.origin`."""
    known = _known.get(id(tensor._array))
    edge: Any = tensor._edge()
    if edge is not None and not isinstance(edge, Tensor):
        module = "" if known is None else path_of(known[3])
        return Origin(edge.primitive.name, edge.where, module)
    if known is None:
        return None
    return Origin(known[1], None if known[2] is None else Where(*known[2]), path_of(known[3]))
