"""Convolutional layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from lampion.errors import OptionError
from lampion.nn import functional as F
from lampion.nn import init
from lampion.nn.functional.convolution import Sizes, paddings, sizes_of
from lampion.nn.module import Module
from lampion.nn.parameter import Parameter, new_parameter
from lampion.tensor import Tensor, check_device

_MODES = ("zeros", "reflect", "replicate", "circular")


def check_channels(name: str, option: str, value: Any, groups: Any) -> None:
    """Refuse numbers of channels that are none, or do not fall into groups."""
    if not isinstance(value, int) or value < 0:
        raise OptionError(name, f"{option} is a count", expected="an integer from 0 on", got=repr(value))
    if not isinstance(groups, int) or groups < 1 or value % groups:
        raise OptionError(name, f"{option} does not fall into equal groups",
                          expected=f"a multiple of groups={groups}", got=str(value))  # fmt: skip


class _Conv(Module):
    """What all of them share."""

    count: ClassVar[int]  # of dimensions
    transposed: ClassVar[bool] = False
    bias: Parameter | None
    weight: Parameter

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes, padding: Sizes | str,
        dilation: Sizes, groups: int, bias: bool, padding_mode: str, device: Any, dtype: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        check_device(name, device)
        for option, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            check_channels(name, option, value, groups)
        if padding_mode not in _MODES or (self.transposed and padding_mode != "zeros"):
            known = '"zeros"' if self.transposed else ", ".join(f'"{mode}"' for mode in _MODES)
            raise OptionError(name, "the padding mode is not known", expected=known, got=repr(padding_mode))
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = sizes_of(name, "kernel_size", kernel_size, self.count, 1)
        self.stride = sizes_of(name, "stride", stride, self.count, 1)
        self.dilation = sizes_of(name, "dilation", dilation, self.count, 1)
        pairs = paddings(name, padding, self.kernel_size, self.stride, self.dilation)  # checks it
        self.padding = padding if isinstance(padding, str) else tuple(before for before, _ in pairs)
        self.padding_mode = padding_mode
        # As `F.pad` takes them: the last dimension first.
        self._around = tuple(n for pair in reversed(pairs) for n in pair)
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = new_parameter(first, second // groups, *self.kernel_size, dtype=dtype)
        if bias:
            self.bias = new_parameter(out_channels, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new random weights: uniform within 1 / sqrt(fan in), as in PyTorch."""
        if self.weight.numel() == 0:
            return
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        words = [f"{self.in_channels}, {self.out_channels}"]
        words += [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        for name, plain in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            value = getattr(self, name, (plain,) * self.count)
            if value != (plain,) * self.count:
                words.append(f"{name}={value}")
        words += [f"groups={self.groups}"] if self.groups != 1 else []
        words += ["bias=False"] if self.bias is None else []
        words += [f"padding_mode={self.padding_mode}"] if self.padding_mode != "zeros" else []
        return ", ".join(words)


class _Sliding(_Conv):
    """Conv1d, Conv2d, Conv3d."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1,
        padding: Sizes | str = 0, dilation: Sizes = 1, groups: int = 1, bias: bool = True,
        padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
                         padding_mode, device, dtype)  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        convolved = getattr(F, f"conv{self.count}d")
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._around, self.padding_mode), 0
        out: Tensor = convolved(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )
        return out


class _Spreading(_Conv):
    """ConvTranspose1d, ConvTranspose2d, ConvTranspose3d."""

    transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        output_padding: Sizes = 0, groups: int = 1, bias: bool = True, dilation: Sizes = 1,
        padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        self_padding = sizes_of(type(self).__name__, "output_padding", output_padding, self.count, 0)
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
                         padding_mode, device, dtype)  # fmt: skip
        self.output_padding = self_padding

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The output; `output_size` says which of the sizes that are possible it is to have."""
        spread = getattr(F, f"conv_transpose{self.count}d")
        more = self.output_padding if output_size is None else self._more_for(input, output_size)
        out: Tensor = spread(
            input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation
        )
        return out

    def _more_for(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that gives an output of that size."""
        wanted = tuple(output_size)[-self.count :]
        padding = self.padding
        assert not isinstance(padding, str)
        least = tuple(
            (n - 1) * s - 2 * p + d * (taps - 1) + 1
            for n, s, p, d, taps in zip(
                input.shape[-self.count :], self.stride, padding, self.dilation, self.kernel_size, strict=True
            )
        )
        most = tuple(n + s - 1 for n, s in zip(least, self.stride, strict=True))
        if len(wanted) != self.count or not all(
            a <= n <= b for a, n, b in zip(least, wanted, most, strict=True)
        ):
            raise OptionError(type(self).__name__, "output_size cannot be had",
                              expected=f"from {least} to {most}", got=str(wanted))  # fmt: skip
        return tuple(n - a for n, a in zip(wanted, least, strict=True))


class Conv1d(_Sliding):
    """Filters that slide along one dimension; see `Conv2d` and `functional.conv1d`.

    Shape:
        (N, in_channels, L) or (in_channels, L) to (N, out_channels, L') or (out_channels, L').

    >>> import lampion
    >>> lampion.nn.Conv1d(2, 3, 5, padding="same")(lampion.ones(1, 2, 8)).shape
    (1, 3, 8)
    """

    count = 1


class Conv2d(_Sliding):
    """Filters that slide over an image: see `functional.conv2d` for the formula.

    Args:
        in_channels, out_channels: of input and output.
        kernel_size: of the filters: one number, or (height, width).
        stride, padding, dilation, groups: see `functional.conv2d`; padding may be "same" or "valid".
        bias: whether one number is added to each output channel.
        padding_mode: what stands around the input: "zeros", "reflect", "replicate" or "circular".

    Shape:
        (N, in_channels, H, W) or (in_channels, H, W) to (N, out_channels, H', W') or (out_channels, H', W').

    Source: Deep Learning from Scratch 1, chapter 7.

    >>> import lampion
    >>> layer = lampion.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    >>> layer(lampion.ones(4, 3, 32, 32)).shape, layer.weight.shape
    ((4, 8, 16, 16), (8, 3, 3, 3))
    """

    count = 2


class Conv3d(_Sliding):
    """Filters that slide through a volume; see `Conv2d` and `functional.conv3d`.

    Shape:
        (N, in_channels, D, H, W) to (N, out_channels, D', H', W'); the batch may be left out.
    """

    count = 3


class ConvTranspose1d(_Spreading):
    """The transpose of a convolution along one dimension; see `ConvTranspose2d`."""

    count = 1


class ConvTranspose2d(_Spreading):
    """The transpose of a convolution ("deconvolution"): see `functional.conv_transpose2d` for the formula.

    Args:
        in_channels, out_channels: of input and output.
        kernel_size, stride, padding, output_padding, groups, dilation: see `functional.conv_transpose2d`.
        bias: whether one number is added to each output channel.

    Shape:
        (N, in_channels, H, W) or (in_channels, H, W) to (N, out_channels, H', W') or (out_channels, H', W').

    Source: Deep Learning from Scratch 3, steps 55-57.

    >>> import lampion
    >>> lampion.nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)(lampion.ones(1, 8, 7, 7)).shape
    (1, 3, 14, 14)
    """

    count = 2


class ConvTranspose3d(_Spreading):
    """The transpose of a convolution in three dimensions; see `ConvTranspose2d`."""

    count = 3
