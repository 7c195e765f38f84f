"""VGG: 3 x 3 filters one after another, pooled five times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lampion import nn
from lampion.errors import OptionError
from lampion.tensor import Tensor
from lampion.vision.models.starting import Weights, check_images, draw, read, start

#: The filters of each convolution; "M" is a pool.
LAYERS: dict[int, tuple[int | str, ...]] = {
    11: (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    13: (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    16: (64, 64, "M", 128, 128, "M", *(256,) * 3, "M", *(512,) * 3, "M", *(512,) * 3, "M"),
    19: (64, 64, "M", 128, 128, "M", *(256,) * 4, "M", *(512,) * 4, "M", *(512,) * 4, "M"),
}


class VGG(nn.Module):
    """3 x 3 convolutions and pools, then three linear layers.

    Args:
        features: the convolutions, which end with 512 channels.
        num_classes: how many classes there are.
        init_weights: whether the weights are drawn anew.
        dropout: the share that is dropped between the linear layers.

    Shape:
        (N, 3, H, W) to (N, num_classes); meant for 224 by 224, and for any size from 32 on.

    Source: K. Simonyan, A. Zisserman: "Very deep convolutional networks for large-scale image recognition"
    (ICLR 2015); Deep Learning from Scratch 3, step 58.
    """

    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), nn.Dropout(dropout),
            nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )  # fmt: skip
        if init_weights:
            draw(self)

    def forward(self, input: Tensor) -> Tensor:
        check_images(self, self.features, input)
        x = self.avgpool(self.features(input))
        out: Tensor = self.classifier(x.flatten(1))
        return out


def _convolutions(layers: Sequence[int | str], batch_norm: bool) -> nn.Sequential:
    modules: list[nn.Module] = []
    channels = 3
    for size in layers:
        if isinstance(size, str):
            modules.append(nn.MaxPool2d(2, 2))
            continue
        modules.append(nn.Conv2d(channels, size, 3, padding=1))
        modules += [nn.BatchNorm2d(size)] if batch_norm else []
        modules.append(nn.ReLU(True))
        channels = size
    return nn.Sequential(*modules)


def _vgg(
    depth: int, batch_norm: bool, weights: Weights, num_classes: int, init_weights: bool, dropout: float
) -> VGG:
    features = _convolutions(LAYERS[depth], batch_norm)
    return start(VGG(features, num_classes, init_weights and weights is None, dropout), weights)


def vgg_features(depth: int, *, weights: Weights = None) -> nn.Sequential:
    """The convolutions of a VGG alone: what they see is what losses of style and content are made of.

    The linear layers, which are left out, have nine tenths of its weights.

    Args:
        depth: 11, 13, 16 or 19.
        weights: those of the whole network (what does not belong to the convolutions is not looked at), as a
            safetensors file with torchvision's names or as tensors by name; drawn, if there are none.
    """
    if depth not in LAYERS:
        raise OptionError("vgg_features", "there is no such VGG", expected=", ".join(map(str, LAYERS)),
                          got=repr(depth))  # fmt: skip
    features = _convolutions(LAYERS[depth], batch_norm=False)
    if weights is None:
        draw(features)
        return features
    whole = weights if isinstance(weights, Mapping) else read(features, weights)
    prefix = "features."
    return start(features, {name.removeprefix(prefix): tensor for name, tensor in whole.items()
                            if name.startswith(prefix)})  # fmt: skip


def vgg11(
    *, weights: Weights = None, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
) -> VGG:
    """VGG with 8 convolutions and 3 linear layers.

    Args:
        weights: a safetensors file with torchvision's names, or tensors by name; drawn, if there are none.
        num_classes: how many classes there are.
        init_weights: whether weights are drawn for VGG, instead of as each layer draws them.
        dropout: the share that is dropped between the linear layers.
    """
    return _vgg(11, False, weights, num_classes, init_weights, dropout)


def vgg11_bn(
    *, weights: Weights = None, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
) -> VGG:
    """`vgg11` with batch normalisation after each convolution."""
    return _vgg(11, True, weights, num_classes, init_weights, dropout)


def vgg13(
    *, weights: Weights = None, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
) -> VGG:
    """VGG with 10 convolutions; see `vgg11`."""
    return _vgg(13, False, weights, num_classes, init_weights, dropout)


def vgg13_bn(
    *, weights: Weights = None, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
) -> VGG:
    """`vgg13` with batch normalisation after each convolution."""
    return _vgg(13, True, weights, num_classes, init_weights, dropout)


def vgg16(
    *, weights: Weights = None, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
) -> VGG:
    """VGG with 13 convolutions; see `vgg11`."""
    return _vgg(16, False, weights, num_classes, init_weights, dropout)


def vgg16_bn(
    *, weights: Weights = None, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
) -> VGG:
    """`vgg16` with batch normalisation after each convolution."""
    return _vgg(16, True, weights, num_classes, init_weights, dropout)


def vgg19(
    *, weights: Weights = None, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
) -> VGG:
    """VGG with 16 convolutions; see `vgg11`."""
    return _vgg(19, False, weights, num_classes, init_weights, dropout)


def vgg19_bn(
    *, weights: Weights = None, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
) -> VGG:
    """`vgg19` with batch normalisation after each convolution."""
    return _vgg(19, True, weights, num_classes, init_weights, dropout)
