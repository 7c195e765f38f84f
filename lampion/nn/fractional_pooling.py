"""Fractional max pooling as layers."""

from __future__ import annotations

from typing import Any, ClassVar

from lampion.errors import OptionError
from lampion.nn import functional as F
from lampion.nn.functional.convolution import Sizes, sizes_of
from lampion.nn.functional.fractional_pooling import Ratios, ratios_of
from lampion.nn.module import Module
from lampion.tensor import Tensor


class _FractionalMaxPool(Module):
    """FractionalMaxPool2d, FractionalMaxPool3d."""

    count: ClassVar[int]
    _random_samples: Tensor | None

    def __init__(
        self, kernel_size: Sizes, output_size: Sizes | None = None, output_ratio: Ratios | None = None,
        return_indices: bool = False, _random_samples: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        if (output_size is None) is (output_ratio is None):
            raise OptionError(name, "the output is given by its size, or by a ratio",
                              expected="one of the two",
                              got=f"output_size={output_size}, output_ratio={output_ratio}")  # fmt: skip
        self.kernel_size = sizes_of(name, "kernel_size", kernel_size, self.count, 1)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        given = output_size is not None
        self.output_size = sizes_of(name, "output_size", output_size, self.count, 1) if given else None
        self.output_ratio = None if given else ratios_of(name, output_ratio, self.count)

    def forward(self, input: Tensor) -> Any:
        pooled = getattr(F, f"fractional_max_pool{self.count}d")
        return pooled(input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
                      self._random_samples)  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest number of each window of an image, the windows at random distances.

    Args:
        kernel_size, output_size, output_ratio, return_indices: see `functional.fractional_max_pool2d`.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C, H', W') or (C, H', W').

    Source: B. Graham: "Fractional max-pooling" (2014).

    >>> import lampion
    >>> lampion.nn.FractionalMaxPool2d(2, output_ratio=0.7)(lampion.ones(1, 8, 20, 30)).shape
    (1, 8, 14, 21)
    """

    count = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """The largest number of each window of a volume; see `FractionalMaxPool2d`."""

    count = 3
