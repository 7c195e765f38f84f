"""Small networks for handwritten digits."""

from __future__ import annotations

from itertools import pairwise

from lampion import nn
from lampion.nn import init
from lampion.tensor import Tensor
from lampion.vision.models.starting import check_images


class LeNet(nn.Module):
    """LeNet-5: two convolutions with means of windows, three linear layers, tanh in between.

    Args:
        num_classes: how many classes there are.
        in_channels: of the images.

    Shape:
        (N, in_channels, 28, 28) to (N, num_classes).

    Source: Y. LeCun et al.: "Gradient-based learning applied to document recognition" (Proc. IEEE 1998); with
    a linear layer in place of the radial basis functions.

    >>> import lampion
    >>> lampion.vision.models.LeNet()(lampion.zeros(2, 1, 28, 28)).shape
    (2, 10)
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),  # 14 x 14
            nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),  # 5 x 5
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(16 * 5 * 5, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(),
            nn.Linear(84, num_classes),
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        check_images(self, self.features, input)
        out: Tensor = self.classifier(self.features(input))
        return out


class SimpleConvNet(nn.Module):
    """conv - relu - pool - linear - relu - linear.

    Args:
        num_classes: how many classes there are.
        in_channels: of the images.
        filters: of the convolution, 5 by 5 each.
        hidden_size: of the hidden linear layer.
        weight_init_std: the standard deviation of the weights; what is added starts at 0.

    Shape:
        (N, in_channels, 28, 28) to (N, num_classes).

    Source: Deep Learning from Scratch 1, section 7.5.

    >>> import lampion
    >>> lampion.vision.models.SimpleConvNet()(lampion.zeros(2, 1, 28, 28)).shape
    (2, 10)
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, filters: int = 30, hidden_size: int = 100,
        weight_init_std: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(in_channels, filters, 5), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(filters * 12 * 12, hidden_size), nn.ReLU(),
            nn.Linear(hidden_size, num_classes),
        )  # fmt: skip
        for layer in (self.features[0], self.classifier[1], self.classifier[3]):
            init.normal_(layer.weight, 0.0, weight_init_std)
            init.zeros_(layer.bias)

    def forward(self, input: Tensor) -> Tensor:
        check_images(self, self.features, input)
        out: Tensor = self.classifier(self.features(input))
        return out


class DeepConvNet(nn.Module):
    """Six convolutions, pooled after each second one, and two linear layers with dropout.

        2 x (conv - relu) - pool, with 16, 32 and 64 filters; linear - relu - dropout - linear - dropout

    Drawn by He's initialisation.

    Args:
        num_classes: how many classes there are.
        in_channels: of the images.
        hidden_size: of the hidden linear layer.
        dropout: the share that is dropped after each of the linear layers.

    Shape:
        (N, in_channels, 28, 28) to (N, num_classes).

    Source: Deep Learning from Scratch 1, section 8.1.

    >>> import lampion
    >>> lampion.vision.models.DeepConvNet()(lampion.zeros(2, 1, 28, 28)).shape
    (2, 10)
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, hidden_size: int = 50, dropout: float = 0.5
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise((in_channels, 16, 16, 32, 32, 64, 64))):
            # 28 places; 14 after a pool; 7, which the book pads to 8 before it pools them to 4.
            layers += [nn.Conv2d(before, after, 3, padding=2 if number == 3 else 1), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if number % 2 else []
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(64 * 4 * 4, hidden_size), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden_size, num_classes), nn.Dropout(dropout),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                init.zeros_(module.bias)

    def forward(self, input: Tensor) -> Tensor:
        check_images(self, self.features, input)
        out: Tensor = self.classifier(self.features(input))
        return out
