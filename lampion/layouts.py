"""Memory formats: the order in which the elements of a tensor lie."""

from __future__ import annotations


class MemoryFormat:
    """An order of elements in memory, such as ``lampion.channels_last``.

    Attributes:
        order: the order of the dimensions, outermost first, of which the tensor is then contiguous;
            None for the usual one.
    """

    __slots__ = ("name", "order")

    def __init__(self, name: str, order: tuple[int, ...] | None = None) -> None:
        self.name = name
        self.order = order

    def __repr__(self) -> str:
        return f"lampion.{self.name}"

    def __reduce__(self) -> str:
        return self.name


contiguous_format = MemoryFormat("contiguous_format")
preserve_format = MemoryFormat("preserve_format")
channels_last = MemoryFormat("channels_last", (0, 2, 3, 1))
channels_last_3d = MemoryFormat("channels_last_3d", (0, 2, 3, 4, 1))


class Layout:
    """How a tensor is kept: Lampion's are all ``lampion.strided``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "lampion.strided"

    def __reduce__(self) -> str:
        return "strided"


strided = Layout()
