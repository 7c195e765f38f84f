"""MobileNetV2: filters for each channel by itself, between 1 x 1 filters."""

from __future__ import annotations

from lampion import nn
from lampion.tensor import Tensor
from lampion.vision.models.starting import Weights, check_images, draw, start

#: Of each group of blocks: how many times the channels are widened, the channels, the blocks, the stride.
GROUPS = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip


def _normed(before: int, after: int, taps: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, taps, stride, (taps - 1) // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """1 x 1 up, 3 x 3 for each channel by itself, 1 x 1 down; added to the input where that is as large.

    Args:
        inp, oup: the channels of the input and of the output.
        stride: 1 or 2.
        expand_ratio: how many times as many channels there are in between.

    Shape:
        (N, inp, H, W) to (N, oup, H / stride, W / stride).
    """

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: int) -> None:
        super().__init__()
        wide = round(inp * expand_ratio)
        self.use_res_connect = stride == 1 and inp == oup
        layers: list[nn.Module] = [_normed(inp, wide, 1)] if expand_ratio != 1 else []
        layers += [_normed(wide, wide, 3, stride, groups=wide), nn.Conv2d(wide, oup, 1, bias=False)]
        self.conv = nn.Sequential(*layers, nn.BatchNorm2d(oup))

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = self.conv(input)
        return input + out if self.use_res_connect else out


class MobileNetV2(nn.Module):
    """A convolution, 17 inverted residuals, a 1 x 1 convolution, the mean over all places, a linear layer.

    Args:
        num_classes: how many classes there are.
        width_mult: how many times as many channels there are.
        dropout: the share that is dropped before the linear layer.

    Shape:
        (N, 3, H, W) to (N, num_classes).

    Source: M. Sandler et al.: "MobileNetV2: inverted residuals and linear bottlenecks" (CVPR 2018).
    """

    def __init__(self, num_classes: int = 1000, width_mult: float = 1.0, dropout: float = 0.2) -> None:
        super().__init__()
        channels = _in_eights(32 * width_mult)
        self.last_channel = _in_eights(1280 * max(1.0, width_mult))
        layers: list[nn.Module] = [_normed(3, channels, 3, 2)]
        for widened, size, count, stride in GROUPS:
            after = _in_eights(size * width_mult)
            for number in range(count):
                layers.append(InvertedResidual(channels, after, stride if number == 0 else 1, widened))
                channels = after
        self.features = nn.Sequential(*layers, _normed(channels, self.last_channel, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes))
        draw(self)

    def forward(self, input: Tensor) -> Tensor:
        check_images(self, self.features, input)
        out: Tensor = self.classifier(self.features(input).mean((2, 3)))
        return out


def _in_eights(channels: float) -> int:
    """The nearest multiple of 8, not more than a tenth below."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def mobilenet_v2(
    *, weights: Weights = None, num_classes: int = 1000, width_mult: float = 1.0, dropout: float = 0.2
) -> MobileNetV2:
    """MobileNetV2.

    Args:
        weights: a safetensors file with torchvision's names, or tensors by name; drawn, if there are none.
        num_classes, width_mult, dropout: see `MobileNetV2`.

    >>> import lampion
    >>> model = lampion.vision.models.mobilenet_v2(num_classes=10).eval()
    >>> model(lampion.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    return start(MobileNetV2(num_classes, width_mult, dropout), weights)
