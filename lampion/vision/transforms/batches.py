"""Transforms of whole batches: each image is mixed with its neighbour, and so are their labels."""

from __future__ import annotations

import math
from typing import Any

from lampion import nn, ops
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.tensor import Tensor
from lampion.vision.transforms.drawing import number_below


class _Mixing(nn.Module):
    """What `MixUp` and `CutMix` share."""

    def __init__(self, *, alpha: float = 1.0, num_classes: int | None = None) -> None:
        super().__init__()
        if not alpha > 0:
            raise OptionError(type(self).__name__, "alpha is positive", got=str(alpha))
        self.alpha, self.num_classes = float(alpha), num_classes

    def _share(self) -> float:
        """How much of each image stays: drawn from the distribution Beta(alpha, alpha)."""
        from lampion.distributions import Beta

        return float(Beta(self.alpha, self.alpha).sample().item())

    def _check(self, images: Any, labels: Any) -> None:
        name = type(self).__name__
        if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
            raise DTypeError(name, "expected a batch: a tensor of images, and one of labels",
                             got=f"{type(images).__name__} and {type(labels).__name__}",
                             fix="use it on batches: DataLoader(..., collate_fn=Collate(...))")  # fmt: skip
        if images.ndim != 4 or labels.ndim not in (1, 2) or len(images) != len(labels):
            raise ShapeError(name, "images and labels do not fit together",
                             expected="(N, C, H, W), and (N,) or (N, classes)",
                             got=f"{tuple(images.shape)} and {tuple(labels.shape)}")  # fmt: skip
        if labels.ndim == 1 and self.num_classes is None:
            raise OptionError(name, "how many classes there are cannot be seen from labels that are numbers",
                              fix="num_classes=...")  # fmt: skip
        if labels.ndim == 2 and self.num_classes not in (None, labels.shape[1]):
            raise ShapeError(name, "the labels are for another number of classes",
                             expected=f"(N, {self.num_classes})", got=str(tuple(labels.shape)))  # fmt: skip

    def _mixed_labels(self, labels: Tensor, share: float) -> Tensor:
        """The shares of the classes: (N, classes)."""
        if labels.ndim == 1:
            labels = F.one_hot(labels, self.num_classes or -1)
        shares = labels if labels.dtype.is_floating_point else labels.float()
        return _mixed(shares, share)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, num_classes={self.num_classes}"


class MixUp(_Mixing):
    """Each image of a batch mixed with the one before it: share * x[i] + (1 - share) * x[i - 1].

    The labels are mixed in the same way, and the share is drawn anew for each batch. Cross-entropy takes such
    labels. Shuffled batches are meant: the neighbour is anyone.

    Args:
        alpha: of the share's distribution, Beta(alpha, alpha): the smaller, the less is mixed.
        num_classes: how many classes there are, where labels are numbers.

    Shape:
        (N, C, H, W) and (N,) or (N, classes) to (N, C, H, W) and (N, classes).

    Source: H. Zhang et al.: "mixup: Beyond empirical risk minimization" (ICLR 2018).

    >>> import lampion
    >>> images, labels = lampion.rand(4, 3, 8, 8), lampion.tensor([0, 1, 2, 0])
    >>> images, labels = lampion.vision.transforms.MixUp(num_classes=3)(images, labels)
    >>> labels.shape, bool(labels.sum(1).allclose(lampion.ones(4)))
    ((4, 3), True)
    """

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        self._check(images, labels)
        if not images.dtype.is_floating_point:
            raise DTypeError("MixUp", "expected floats", got=str(images.dtype),
                             fix="ToTensor(), or ConvertImageDtype(lampion.float32), before")  # fmt: skip
        share = self._share()
        return _mixed(images, share), self._mixed_labels(labels, share)


class CutMix(_Mixing):
    """A rectangle of each image of a batch comes from the one before it.

    The labels are mixed by the areas. See `MixUp` for the arguments and shapes; here alpha says how large
    the rectangles are.

    Source: S. Yun et al.: "CutMix: regularization strategy to train strong classifiers with localizable
    features" (ICCV 2019).
    """

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        self._check(images, labels)
        height, width = images.shape[-2:]
        half = 0.5 * math.sqrt(1 - self._share())  # of the rectangle's side, in sides of the image
        left, right = _around(number_below(width), int(half * width), width)
        top, bottom = _around(number_below(height), int(half * height), height)
        out = images.clone()
        before: Any = ops.roll(images, 1, 0)
        out[..., top:bottom, left:right] = before[..., top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / (height * width)
        return out, self._mixed_labels(labels, share)


def _mixed(x: Tensor, share: float) -> Tensor:
    return x * share + ops.roll(x, 1, 0) * (1 - share)


def _around(middle: int, reach: int, size: int) -> tuple[int, int]:
    """From where to where, within the image."""
    return max(middle - reach, 0), min(middle + reach, size)
