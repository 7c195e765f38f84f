"""ResNet: blocks that add what they find to what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from lampion import nn
from lampion.nn import init
from lampion.tensor import Tensor
from lampion.vision.models.starting import Weights, check_images, draw, start


class BasicBlock(nn.Module):
    """relu(x + bn(conv3x3(relu(bn(conv3x3(x)))))), the block of ResNet-18 and -34.

    Args:
        inplanes: the channels of the input.
        planes: the channels of the output.
        stride: of the first convolution.
        downsample: what makes x as large as the output.

    Shape:
        (N, inplanes, H, W) to (N, planes, H / stride, W / stride).
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, input: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(input)))
        x = self.bn2(self.conv2(x))
        out: Tensor = self.relu(x + (input if self.downsample is None else self.downsample(input)))
        return out


class Bottleneck(nn.Module):
    """1 x 1 down, 3 x 3, 1 x 1 up, added to the input: the block of ResNet-50, -101 and -152.

    The stride is in the 3 x 3 convolution ("ResNet v1.5"), as in torchvision.

    Args:
        inplanes: the channels of the input.
        planes: a quarter of the channels of the output.
        stride: of the second convolution.
        downsample: what makes x as large as the output.

    Shape:
        (N, inplanes, H, W) to (N, 4 * planes, H / stride, W / stride).
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, input: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(input)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        out: Tensor = self.relu(x + (input if self.downsample is None else self.downsample(input)))
        return out


class ResNet(nn.Module):
    """A 7 x 7 convolution, four groups of blocks, the mean over all places, a linear layer.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: how many blocks each of the groups has.
        num_classes: how many classes there are.
        zero_init_residual: whether each block starts as the identity.

    Shape:
        (N, 3, H, W) to (N, num_classes).

    Source: K. He et al.: "Deep residual learning for image recognition" (CVPR 2016); Deep Learning from
    Scratch 3, step 58.
    """

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], layers: Sequence[int], num_classes: int = 1000,
        zero_init_residual: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _blocks(block, 64, 64, layers[0], 1)
        self.layer2 = _blocks(block, 64 * block.expansion, 128, layers[1], 2)
        self.layer3 = _blocks(block, 128 * block.expansion, 256, layers[2], 2)
        self.layer4 = _blocks(block, 256 * block.expansion, 512, layers[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        draw(self, linear=None)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock | Bottleneck):
                    last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
                    assert last.weight is not None
                    init.zeros_(last.weight)

    def forward(self, input: Tensor) -> Tensor:
        check_images(self, self.conv1, input)
        x = self.maxpool(self.relu(self.bn1(self.conv1(input))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        out: Tensor = self.fc(self.avgpool(x).flatten(1))
        return out


def _blocks(
    block: type[BasicBlock] | type[Bottleneck], channels: int, planes: int, count: int, stride: int
) -> nn.Sequential:
    wide = planes * block.expansion
    downsample = None
    if stride != 1 or channels != wide:
        downsample = nn.Sequential(nn.Conv2d(channels, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))
    first = block(channels, planes, stride, downsample)
    return nn.Sequential(first, *(block(wide, planes) for _ in range(count - 1)))


def resnet18(*, weights: Weights = None, num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """ResNet with 8 basic blocks.

    Args:
        weights: a safetensors file with torchvision's names, or tensors by name; drawn, if there are none.
        num_classes: how many classes there are.
        zero_init_residual: whether each block starts as the identity.

    >>> import lampion
    >>> model = lampion.vision.models.resnet18(num_classes=10).eval()
    >>> model(lampion.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    return start(ResNet(BasicBlock, (2, 2, 2, 2), num_classes, zero_init_residual), weights)


def resnet34(*, weights: Weights = None, num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """ResNet with 16 basic blocks; see `resnet18`."""
    return start(ResNet(BasicBlock, (3, 4, 6, 3), num_classes, zero_init_residual), weights)


def resnet50(*, weights: Weights = None, num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """ResNet with 16 bottlenecks; see `resnet18`."""
    return start(ResNet(Bottleneck, (3, 4, 6, 3), num_classes, zero_init_residual), weights)


def resnet101(
    *, weights: Weights = None, num_classes: int = 1000, zero_init_residual: bool = False
) -> ResNet:
    """ResNet with 33 bottlenecks; see `resnet18`."""
    return start(ResNet(Bottleneck, (3, 4, 23, 3), num_classes, zero_init_residual), weights)


def resnet152(
    *, weights: Weights = None, num_classes: int = 1000, zero_init_residual: bool = False
) -> ResNet:
    """ResNet with 50 bottlenecks; see `resnet18`."""
    return start(ResNet(Bottleneck, (3, 8, 36, 3), num_classes, zero_init_residual), weights)
