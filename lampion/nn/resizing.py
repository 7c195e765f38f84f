"""Layers that resize images, and those that cut them into patches."""

from __future__ import annotations

from typing import Any

from lampion.nn import functional as F
from lampion.nn.functional.convolution import Sizes
from lampion.nn.module import Module
from lampion.tensor import Tensor


class Upsample(Module):
    """The input at another size; see `functional.interpolate`.

    Args:
        size, scale_factor, mode, align_corners, recompute_scale_factor: see there.

    Shape:
        (N, C, L), (N, C, H, W) or (N, C, D, H, W), with other sizes after.

    >>> import lampion
    >>> lampion.nn.Upsample(scale_factor=2, mode="nearest")(lampion.tensor([[[1.0, 2.0]]]))
    tensor([[[1., 1., 2., 2.]]])
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
        align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode, self.align_corners = mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        given = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{given}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """An image at another size, by nearest neighbours; see `functional.interpolate`."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """An image at another size, by straight lines between corners that stay; see `functional.interpolate`."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class Unfold(Module):
    """The patches of an image as columns; see `functional.unfold`.

    Args:
        kernel_size, dilation, padding, stride: see there.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C * R * S, patches) or (C * R * S, patches).

    Source: Deep Learning from Scratch 1, section 7.4.

    >>> import lampion
    >>> lampion.nn.Unfold(3)(lampion.ones(2, 5, 8, 8)).shape
    (2, 45, 36)
    """

    def __init__(
        self, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
    ) -> None:
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Module):
    """Columns of patches added up into an image; see `functional.fold`.

    Args:
        output_size, kernel_size, dilation, padding, stride: see there.

    Shape:
        (N, C * R * S, patches) or (C * R * S, patches) to (N, C, H, W) or (C, H, W).

    Source: Deep Learning from Scratch 1, section 7.4.

    >>> import lampion
    >>> lampion.nn.Fold((8, 8), 3)(lampion.ones(2, 45, 36)).shape
    (2, 5, 8, 8)
    """

    def __init__(
        self, output_size: Any, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0,
        stride: Sizes = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.output_size, self.kernel_size, self.dilation = output_size, kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )
