"""Padding as layers: more elements before and after, along one, two or three dimensions.

The sizes are given as one number for all sides, or as `functional.pad` takes them: the last dimension first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from lampion.errors import OptionError, ShapeError
from lampion.nn import functional as F
from lampion.nn.module import Module
from lampion.tensor import Tensor


class _Pad(Module):
    """What all of them share."""

    mode: ClassVar[str]
    #: How many dimensions are padded.
    count: ClassVar[int]

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        sizes = (padding,) * (2 * self.count) if isinstance(padding, int) else tuple(padding)
        if len(sizes) != 2 * self.count:
            raise OptionError(type(self).__name__, "the sides are not as many as they must be",
                              expected=f"one number, or {2 * self.count}", got=str(padding))  # fmt: skip
        self.padding = sizes

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (self.count + 1, self.count + 2):
            raise ShapeError(type(self).__name__, "the input has another number of dimensions",
                             expected=f"{self.count + 1} or {self.count + 2}",
                             got=str(tuple(input.shape)))  # fmt: skip
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class ConstantPad1d(_Pad):
    """One number all around the last dimension.

    >>> import lampion
    >>> lampion.nn.ConstantPad1d((1, 2), 7.0)(lampion.zeros(1, 2))
    tensor([[7., 0., 0., 7., 7.]])
    """

    mode = "constant"
    count = 1

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(ConstantPad1d):
    """One number all around the last two dimensions."""

    count = 2


class ConstantPad3d(ConstantPad1d):
    """One number all around the last three dimensions."""

    count = 3


class ZeroPad1d(ConstantPad1d):
    """Zeros around the last dimension."""

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return str(self.padding)


class ZeroPad2d(ZeroPad1d):
    """Zeros around the last two dimensions."""

    count = 2


class ZeroPad3d(ZeroPad1d):
    """Zeros around the last three dimensions."""

    count = 3


class ReflectionPad1d(_Pad):
    """The mirror image, without the edge itself, along the last dimension."""

    mode = "reflect"
    count = 1


class ReflectionPad2d(ReflectionPad1d):
    """The mirror image, without the edge itself, along the last two dimensions."""

    count = 2


class ReflectionPad3d(ReflectionPad1d):
    """The mirror image, without the edge itself, along the last three dimensions."""

    count = 3


class ReplicationPad1d(_Pad):
    """The edge again and again, along the last dimension."""

    mode = "replicate"
    count = 1


class ReplicationPad2d(ReplicationPad1d):
    """The edge again and again, along the last two dimensions."""

    count = 2


class ReplicationPad3d(ReplicationPad1d):
    """The edge again and again, along the last three dimensions."""

    count = 3


class CircularPad1d(_Pad):
    """What stands at the other end, along the last dimension."""

    mode = "circular"
    count = 1


class CircularPad2d(CircularPad1d):
    """What stands at the other end, along the last two dimensions."""

    count = 2


class CircularPad3d(CircularPad1d):
    """What stands at the other end, along the last three dimensions."""

    count = 3
