"""Less common pooling layers: maxima of so many windows, norms of windows, and maxima put back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from lampion.nn import functional as F
from lampion.nn.functional.convolution import Sizes, sizes_of
from lampion.nn.module import Module
from lampion.tensor import Tensor


class _AdaptiveMaxPool(Module):
    count: ClassVar[int]

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Tensor) -> Any:
        pooled = getattr(F, f"adaptive_max_pool{self.count}d")
        return pooled(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The maxima of so many windows, however long the input is; see `functional.adaptive_max_pool2d`."""

    count = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The maxima of so many windows, however large the image is; see `functional.adaptive_max_pool2d`.

    >>> import lampion
    >>> lampion.nn.AdaptiveMaxPool2d((2, 3))(lampion.ones(4, 8, 7, 9)).shape
    (4, 8, 2, 3)
    """

    count = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The maxima of so many windows, however large the volume is; see `functional.adaptive_max_pool2d`."""

    count = 3


class _LPPool(Module):
    count: ClassVar[int]

    def __init__(
        self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride = norm_type, kernel_size, stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        pooled = getattr(F, f"lp_pool{self.count}d")
        out: Tensor = pooled(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)
        return out

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The p-norm of each window along the last dimension; see `functional.lp_pool2d`."""

    count = 1


class LPPool2d(_LPPool):
    """The p-norm of each window of an image; see `functional.lp_pool2d`.

    >>> import lampion
    >>> lampion.nn.LPPool2d(2, 2)(lampion.ones(1, 2, 2))
    tensor([[[2.]]])
    """

    count = 2


class LPPool3d(_LPPool):
    """The p-norm of each window of a volume; see `functional.lp_pool2d`."""

    count = 3


class _MaxUnpool(Module):
    count: ClassVar[int]

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = sizes_of(name, "kernel_size", kernel_size, self.count, 1)
        given = stride is not None
        self.stride = sizes_of(name, "stride", stride, self.count, 1) if given else self.kernel_size
        self.padding = sizes_of(name, "padding", padding, self.count, 0)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        spread = getattr(F, f"max_unpool{self.count}d")
        out: Tensor = spread(input, indices, self.kernel_size, self.stride, self.padding, output_size)
        return out

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Maxima put back where they come from; see `functional.max_unpool2d`."""

    count = 1


class MaxUnpool2d(_MaxUnpool):
    """Maxima put back where they come from, in an image; see `functional.max_unpool2d`.

    >>> import lampion
    >>> pool, unpool = lampion.nn.MaxPool2d(2, return_indices=True), lampion.nn.MaxUnpool2d(2)
    >>> unpool(*pool(lampion.tensor([[[1.0, 2.0], [4.0, 3.0]]])))
    tensor([[[0., 0.],
             [4., 0.]]])
    """

    count = 2


class MaxUnpool3d(_MaxUnpool):
    """Maxima put back where they come from, in a volume; see `functional.max_unpool2d`."""

    count = 3
