"""ResNet: blocks that add what they find to what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from lampion import nn
from lampion.errors import OptionError
from lampion.nn import init
from lampion.tensor import Tensor
from lampion.vision.models.starting import Norm, Weights, check_images, draw, start


class BasicBlock(nn.Module):
    """relu(x + bn(conv3x3(relu(bn(conv3x3(x)))))), the block of ResNet-18 and -34.

    Args:
        inplanes: the channels of the input.
        planes: the channels of the output.
        stride: of the first convolution.
        downsample: what makes x as large as the output.
        groups, base_width, dilation: 1, 64 and 1: only `Bottleneck` has others.
        norm_layer: what normalises so many channels; `nn.BatchNorm2d`, unless given.

    Shape:
        (N, inplanes, H, W) to (N, planes, H / stride, W / stride).
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None,
        groups: int = 1, base_width: int = 64, dilation: int = 1, norm_layer: Norm | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if (groups, base_width, dilation) != (1, 64, 1):
            raise OptionError("BasicBlock", "there are groups, widths and dilations in Bottleneck alone",
                              expected="groups=1, width_per_group=64, no dilation",
                              got=f"groups={groups}, width_per_group={base_width}, dilation={dilation}",
                              fix="resnet50, or one that is deeper")  # fmt: skip
        norm = norm_layer or nn.BatchNorm2d
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = norm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = norm(planes)
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
        groups, dilation: of the second convolution.
        base_width: how many channels each group has in between, for 64 planes.
        norm_layer: what normalises so many channels; `nn.BatchNorm2d`, unless given.

    Shape:
        (N, inplanes, H, W) to (N, 4 * planes, H / stride, W / stride).
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None,
        groups: int = 1, base_width: int = 64, dilation: int = 1, norm_layer: Norm | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        width = int(planes * (base_width / 64)) * groups
        self.conv1 = nn.Conv2d(inplanes, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, groups, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, planes * self.expansion, 1, bias=False)
        self.bn3 = norm(planes * self.expansion)
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
        groups, width_per_group: of the 3 x 3 convolutions of `Bottleneck`: 32 and 4 make a ResNeXt-50 (32x4d)
            of a ResNet-50, 1 and 128 a Wide ResNet-50-2.
        replace_stride_with_dilation: for each of the last three groups, whether its filters look at places
            further apart, instead of an image half as large.
        norm_layer: what normalises so many channels; `nn.BatchNorm2d`, unless given.

    Shape:
        (N, 3, H, W) to (N, num_classes).

    Source: K. He et al.: "Deep residual learning for image recognition" (CVPR 2016); Deep Learning from
    Scratch 3, step 58.
    """

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], layers: Sequence[int], num_classes: int = 1000,
        zero_init_residual: bool = False, groups: int = 1, width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None, norm_layer: Norm | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        dilated = (False, False, False) if replace_stride_with_dilation is None \
            else tuple(replace_stride_with_dilation)  # fmt: skip
        if len(dilated) != 3:
            raise OptionError("ResNet", "replace_stride_with_dilation is for the last three groups",
                              expected="three of True and False, or None",
                              got=repr(replace_stride_with_dilation))  # fmt: skip
        norm = norm_layer or nn.BatchNorm2d
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels, dilation = 64, 1
        stages = []
        for planes, count, stride, dilate in zip(
            (64, 128, 256, 512), layers, (1, 2, 2, 2), (False, *dilated), strict=True
        ):
            before = dilation
            if dilate:
                dilation, stride = dilation * stride, 1
            wide = planes * block.expansion
            downsample = None
            if stride != 1 or channels != wide:
                downsample = nn.Sequential(nn.Conv2d(channels, wide, 1, stride, bias=False), norm(wide))
            # The first block still looks as far as the group before it, as in torchvision.
            blocks = [block(channels, planes, stride, downsample, groups, width_per_group, before, norm)]
            for _ in range(count - 1):
                blocks.append(block(wide, planes, 1, None, groups, width_per_group, dilation, norm))
            stages.append(nn.Sequential(*blocks))
            channels = wide
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        draw(self, linear=None)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock | Bottleneck):
                    last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
                    weight = getattr(last, "weight", None)
                    if weight is not None:
                        init.zeros_(weight)

    def forward(self, input: Tensor) -> Tensor:
        check_images(self, self.conv1, input)
        x = self.maxpool(self.relu(self.bn1(self.conv1(input))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        out: Tensor = self.fc(self.avgpool(x).flatten(1))
        return out


def resnet18(*, weights: Weights = None, num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet with 8 basic blocks.

    Args:
        weights: a safetensors file with torchvision's names, or tensors by name; drawn, if there are none.
        num_classes: how many classes there are.
        options: zero_init_residual, groups, width_per_group, replace_stride_with_dilation, norm_layer: see
            `ResNet`.

    >>> import lampion
    >>> model = lampion.vision.models.resnet18(num_classes=10).eval()
    >>> model(lampion.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    return start(ResNet(BasicBlock, (2, 2, 2, 2), num_classes, **options), weights)


def resnet34(*, weights: Weights = None, num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet with 16 basic blocks; see `resnet18`."""
    return start(ResNet(BasicBlock, (3, 4, 6, 3), num_classes, **options), weights)


def resnet50(*, weights: Weights = None, num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet with 16 bottlenecks; see `resnet18`."""
    return start(ResNet(Bottleneck, (3, 4, 6, 3), num_classes, **options), weights)


def resnet101(*, weights: Weights = None, num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet with 33 bottlenecks; see `resnet18`."""
    return start(ResNet(Bottleneck, (3, 4, 23, 3), num_classes, **options), weights)


def resnet152(*, weights: Weights = None, num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet with 50 bottlenecks; see `resnet18`."""
    return start(ResNet(Bottleneck, (3, 8, 36, 3), num_classes, **options), weights)
