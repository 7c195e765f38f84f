"""MobileNetV2: filters for each channel by itself, between 1 x 1 filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lampion import nn
from lampion.errors import OptionError
from lampion.tensor import Tensor
from lampion.vision.models.starting import Norm, Weights, check_images, draw, start

#: Of each group of blocks: how many times the channels are widened, the channels, the blocks, the stride.
GROUPS = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip


def _normed(
    norm: Norm, before: int, after: int, taps: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    conv = nn.Conv2d(before, after, taps, stride, (taps - 1) // 2, groups=groups, bias=False)
    return nn.Sequential(conv, norm(after), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """1 x 1 up, 3 x 3 for each channel by itself, 1 x 1 down; added to the input where that is as large.

    Args:
        inp, oup: the channels of the input and of the output.
        stride: 1 or 2.
        expand_ratio: how many times as many channels there are in between.
        norm_layer: what normalises so many channels; `nn.BatchNorm2d`, unless given.

    Shape:
        (N, inp, H, W) to (N, oup, H / stride, W / stride).
    """

    def __init__(
        self, inp: int, oup: int, stride: int, expand_ratio: float, norm_layer: Norm | None = None
    ) -> None:
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        wide = round(inp * expand_ratio)
        self.use_res_connect = stride == 1 and inp == oup
        layers: list[nn.Module] = [_normed(norm, inp, wide, 1)] if expand_ratio != 1 else []
        layers += [_normed(norm, wide, wide, 3, stride, groups=wide), nn.Conv2d(wide, oup, 1, bias=False)]
        self.conv = nn.Sequential(*layers, norm(oup))

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = self.conv(input)
        return input + out if self.use_res_connect else out


class MobileNetV2(nn.Module):
    """A convolution, 17 inverted residuals, a 1 x 1 convolution, the mean over all places, a linear layer.

    Args:
        num_classes: how many classes there are.
        width_mult: how many times as many channels there are.
        dropout: the share that is dropped before the linear layer.
        inverted_residual_setting: the groups of blocks, each (how many times the channels are widened, the
            channels, the blocks, the stride); the paper's, unless given.
        round_nearest: what numbers of channels are multiples of.
        norm_layer: what normalises so many channels; `nn.BatchNorm2d`, unless given.

    Shape:
        (N, 3, H, W) to (N, num_classes).

    Source: M. Sandler et al.: "MobileNetV2: inverted residuals and linear bottlenecks" (CVPR 2018).
    """

    def __init__(
        self, num_classes: int = 1000, width_mult: float = 1.0, dropout: float = 0.2,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None, round_nearest: int = 8,
        norm_layer: Norm | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        setting = GROUPS if inverted_residual_setting is None else inverted_residual_setting
        if not len(setting) or any(len(group) != 4 for group in setting):
            raise OptionError("MobileNetV2", "inverted_residual_setting has four numbers for each group",
                              expected="[(widened, channels, blocks, stride), ...]",
                              got=repr(inverted_residual_setting))  # fmt: skip
        norm = norm_layer or nn.BatchNorm2d
        channels = _rounded(32 * width_mult, round_nearest)
        self.last_channel = _rounded(1280 * max(1.0, width_mult), round_nearest)
        layers: list[nn.Module] = [_normed(norm, 3, channels, 3, 2)]
        for widened, size, count, stride in setting:
            after = _rounded(size * width_mult, round_nearest)
            for number in range(count):
                layers.append(InvertedResidual(channels, after, stride if number == 0 else 1, widened, norm))
                channels = after
        self.features = nn.Sequential(*layers, _normed(norm, channels, self.last_channel, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes))
        draw(self)

    def forward(self, input: Tensor) -> Tensor:
        check_images(self, self.features, input)
        out: Tensor = self.classifier(self.features(input).mean((2, 3)))
        return out


def _rounded(channels: float, step: int) -> int:
    """The nearest multiple of a step, not more than a tenth below."""
    near = max(step, int(channels + step / 2) // step * step)
    return near + step if near < 0.9 * channels else near


def mobilenet_v2(
    *, weights: Weights = None, num_classes: int = 1000, width_mult: float = 1.0, dropout: float = 0.2,
    **options: Any,
) -> MobileNetV2:  # fmt: skip
    """MobileNetV2.

    Args:
        weights: a safetensors file with torchvision's names, or tensors by name; drawn, if there are none.
        num_classes, width_mult, dropout: see `MobileNetV2`.
        options: inverted_residual_setting, round_nearest, norm_layer: see there too.

    >>> import lampion
    >>> model = lampion.vision.models.mobilenet_v2(num_classes=10).eval()
    >>> model(lampion.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    return start(MobileNetV2(num_classes, width_mult, dropout, **options), weights)
