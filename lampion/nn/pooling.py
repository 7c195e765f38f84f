"""Pooling layers."""

from __future__ import annotations

from typing import Any, ClassVar

from lampion.nn import functional as F
from lampion.nn.functional.convolution import Sizes
from lampion.nn.module import Module
from lampion.tensor import Tensor


class _MaxPool(Module):
    """MaxPool1d, MaxPool2d, MaxPool3d."""

    count: ClassVar[int]

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        pooled = getattr(F, f"max_pool{self.count}d")
        return pooled(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
                      self.return_indices)  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest number of each window along the last dimension; see `functional.max_pool2d`."""

    count = 1


class MaxPool2d(_MaxPool):
    """The largest number of each window of an image; see `functional.max_pool2d`.

    Args:
        kernel_size, stride, padding, dilation, return_indices, ceil_mode: see there.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C, H', W') or (C, H', W').

    Source: Deep Learning from Scratch 1, section 7.3.

    >>> import lampion
    >>> lampion.nn.MaxPool2d(2)(lampion.ones(1, 8, 28, 28)).shape
    (1, 8, 14, 14)
    """

    count = 2


class MaxPool3d(_MaxPool):
    """The largest number of each window of a volume; see `functional.max_pool2d`."""

    count = 3


class AvgPool1d(Module):
    """The mean of each window along the last dimension; see `functional.avg_pool2d`."""

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        # As PyTorch keeps them: one number each in a tuple.
        self.kernel_size = _single(kernel_size)
        self.stride = self.kernel_size if stride is None else _single(stride)
        self.padding = _single(padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


def _single(size: Sizes) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)


class _AvgPool(Module):
    """AvgPool2d, AvgPool3d."""

    count: ClassVar[int]

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        pooled = getattr(F, f"avg_pool{self.count}d")
        out: Tensor = pooled(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )
        return out

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """The mean of each window of an image; see `functional.avg_pool2d`.

    >>> import lampion
    >>> lampion.nn.AvgPool2d(2)(lampion.ones(1, 8, 28, 28)).shape
    (1, 8, 14, 14)
    """

    count = 2


class AvgPool3d(_AvgPool):
    """The mean of each window of a volume; see `functional.avg_pool2d`."""

    count = 3


class _AdaptiveAvgPool(Module):
    count: ClassVar[int]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = getattr(F, f"adaptive_avg_pool{self.count}d")(input, self.output_size)
        return out

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The means of so many windows, however long the input is; see `functional.adaptive_avg_pool2d`."""

    count = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The means of so many windows, however large the image is; see `functional.adaptive_avg_pool2d`.

    >>> import lampion
    >>> lampion.nn.AdaptiveAvgPool2d((1, 1))(lampion.ones(4, 8, 7, 9)).shape
    (4, 8, 1, 1)
    """

    count = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The means of so many windows, however large the volume is; see `functional.adaptive_avg_pool2d`."""

    count = 3
