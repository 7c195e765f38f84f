"""SqueezeNet: few channels, looked at through 1 x 1 and 3 x 3 filters side by side."""

from __future__ import annotations

from lampion import cat, nn
from lampion.errors import OptionError
from lampion.nn import init
from lampion.tensor import Tensor
from lampion.vision.models.starting import Weights, check_images, start


class Fire(nn.Module):
    """1 x 1 filters to few channels; then 1 x 1 and 3 x 3 filters of those, joined.

    Args:
        inplanes: the channels of the input.
        squeeze_planes: the few.
        expand1x1_planes, expand3x3_planes: how many of each kind.

    Shape:
        (N, inplanes, H, W) to (N, expand1x1_planes + expand3x3_planes, H, W).
    """

    def __init__(
        self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int
    ) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(input))
        small, large = self.expand1x1(x), self.expand3x3(x)
        out: Tensor = cat([self.expand1x1_activation(small), self.expand3x3_activation(large)], 1)
        return out


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _layers(version: str) -> list[nn.Module]:
    if version == "1_0":
        return [
            nn.Conv2d(3, 96, 7, stride=2), nn.ReLU(inplace=True), _pool(),
            Fire(96, 16, 64, 64), Fire(128, 16, 64, 64), Fire(128, 32, 128, 128), _pool(),
            Fire(256, 32, 128, 128), Fire(256, 48, 192, 192), Fire(384, 48, 192, 192),
            Fire(384, 64, 256, 256), _pool(),
            Fire(512, 64, 256, 256),
        ]  # fmt: skip
    return [
        nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(inplace=True), _pool(),
        Fire(64, 16, 64, 64), Fire(128, 16, 64, 64), _pool(),
        Fire(128, 32, 128, 128), Fire(256, 32, 128, 128), _pool(),
        Fire(256, 48, 192, 192), Fire(384, 48, 192, 192), Fire(384, 64, 256, 256), Fire(512, 64, 256, 256),
    ]  # fmt: skip


class SqueezeNet(nn.Module):
    """Fire modules and pools; a 1 x 1 convolution gives each place a vote for each class.

    Args:
        version: "1_0", or "1_1", which needs 2.4 times less work.
        num_classes: how many classes there are.
        dropout: the share that is dropped before the votes.

    Shape:
        (N, 3, H, W) to (N, num_classes).

    Source: F. Iandola et al.: "SqueezeNet" (arXiv:1602.07360, 2016); Deep Learning from Scratch 3's models.
    """

    def __init__(self, version: str = "1_0", num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        if version not in ("1_0", "1_1"):
            raise OptionError("SqueezeNet", "there is no such version", expected='"1_0" or "1_1"',
                              got=repr(version))  # fmt: skip
        self.num_classes = num_classes
        self.features = nn.Sequential(*_layers(version))
        votes = nn.Conv2d(512, num_classes, 1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), votes, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                if module is votes:
                    init.normal_(module.weight, 0.0, 0.01)
                else:
                    init.kaiming_uniform_(module.weight)
                assert module.bias is not None
                init.zeros_(module.bias)

    def forward(self, input: Tensor) -> Tensor:
        check_images(self, self.features, input)
        out: Tensor = self.classifier(self.features(input)).flatten(1)
        return out


def squeezenet1_0(*, weights: Weights = None, num_classes: int = 1000, dropout: float = 0.5) -> SqueezeNet:
    """SqueezeNet 1.0.

    Args:
        weights: a safetensors file with torchvision's names, or tensors by name; drawn, if there are none.
        num_classes: how many classes there are.
        dropout: the share that is dropped before the votes.
    """
    return start(SqueezeNet("1_0", num_classes, dropout), weights)


def squeezenet1_1(*, weights: Weights = None, num_classes: int = 1000, dropout: float = 0.5) -> SqueezeNet:
    """SqueezeNet 1.1; see `squeezenet1_0`.

    >>> import lampion
    >>> model = lampion.vision.models.squeezenet1_1(num_classes=10).eval()
    >>> model(lampion.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    return start(SqueezeNet("1_1", num_classes, dropout), weights)
