"""Where the tape of a recorded function ends: at a tensor that was computed outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from lampion.autograd.tape import Node
from lampion.mode import mode

if TYPE_CHECKING:
    from lampion.tensor import Tensor


class Border(Node):
    """The node of such a tensor, while the function is recorded.

    A backward pass inside of the function would go on beyond it, to where another call has something else;
    so nobody may look beyond it.

    Attributes:
        tensor: the one that was computed outside.
    """

    __slots__ = ("tensor",)
    tensor: Tensor

    @property
    def edges(self) -> Any:  # type: ignore[override]  # a field of other nodes
        """Not to be followed."""
        self._refuse()

    def name(self) -> str:
        """Not to be told: it is another one at another call."""
        self._refuse()

    def __repr__(self) -> str:
        return "<Border>"

    def _refuse(self) -> NoReturn:
        trace: Any = mode.trace
        trace.refuse("looks into a graph that was recorded outside", "detach() it first")
        raise AssertionError("refusing raises")


def border(tensor: Tensor) -> Border:
    """A border in the place of the node that a tensor has."""
    node = object.__new__(Border)
    original: Any = tensor._node
    node.tensor, node.primitive = tensor, original.primitive
    node.shapes, node.params, node.output_shape = [], {}, original.output_shape
    node.at, node.order, node.saved, node.versions = None, original.order, [], []
    node.released, node.hooks = False, None
    return node
