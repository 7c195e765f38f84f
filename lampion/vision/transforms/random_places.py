"""Transforms that draw where things are: crops, mirror images, turns, erased parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from lampion import nn, ops
from lampion.construct import tensor
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.tensor import Tensor
from lampion.vision.transforms import geometry
from lampion.vision.transforms.drawing import (
    happens,
    log_uniform,
    number_below,
    probability,
    uniform,
)  # fmt: skip
from lampion.vision.transforms.fixed import check_padding
from lampion.vision.transforms.image import interpolation_of, interval, pair, size_of, span


class RandomCrop(nn.Module):
    """A part of the image, drawn from all that have that size.

    Args:
        size: height and width, or one number for both.
        padding: how much is added around the image before; see `functional.pad`.
        pad_if_needed: whether an image that is smaller is padded; else that is an error.
        fill, padding_mode: what is added; see `functional.pad`.

    Shape:
        (..., C, H, W) to (..., C, H', W').

    >>> import lampion
    >>> lampion.vision.transforms.RandomCrop(32, padding=4)(lampion.zeros(3, 32, 32)).shape
    (3, 32, 32)
    """

    def __init__(
        self, size: Any, padding: Any = None, pad_if_needed: bool = False, fill: Any = 0,
        padding_mode: str = "constant",
    ) -> None:  # fmt: skip
        super().__init__()
        self.size = pair("RandomCrop", size)
        check_padding("RandomCrop", padding, padding_mode)
        self.padding, self.pad_if_needed = padding, pad_if_needed
        self.fill, self.padding_mode = fill, padding_mode

    def forward(self, image: Any) -> Any:
        if self.padding is not None:
            image = geometry.pad(image, self.padding, self.fill, self.padding_mode)
        height, width = size_of("RandomCrop", image)
        down, right = max(self.size[0] - height, 0), max(self.size[1] - width, 0)
        if (down or right) and not self.pad_if_needed:
            raise ShapeError("RandomCrop", "the image is smaller than the part",
                             expected=f"at least {self.size}", got=f"{(height, width)}",
                             fix="pad_if_needed=True")  # fmt: skip
        if down or right:
            image = geometry.pad(image, (right, down), self.fill, self.padding_mode)
            height, width = height + 2 * down, width + 2 * right
        top, left = number_below(height - self.size[0] + 1), number_below(width - self.size[1] + 1)
        return geometry.crop(image, top, left, *self.size)

    def extra_repr(self) -> str:
        return f"size={self.size}, padding={self.padding}"


class RandomResizedCrop(nn.Module):
    """A part of the image of any size and form, resized: how networks for ImageNet are trained.

    Args:
        size: height and width of the result, or one number for both.
        scale: the least and the largest share of the image that the part covers.
        ratio: the least and the largest width, in heights.
        interpolation, antialias: see `Resize`.

    Shape:
        (..., C, H, W) to (..., C, H', W').

    Source: C. Szegedy et al.: "Going deeper with convolutions" (CVPR 2015).

    >>> import lampion
    >>> lampion.vision.transforms.RandomResizedCrop(24)(lampion.zeros(3, 32, 48)).shape
    (3, 24, 24)
    """

    def __init__(
        self, size: Any, scale: Sequence[float] = (0.08, 1.0), ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: Any = "bilinear", antialias: bool | None = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.size = pair("RandomResizedCrop", size)
        self.scale = interval("RandomResizedCrop", "scale", scale, 0)
        self.ratio = interval("RandomResizedCrop", "ratio", ratio, 1e-9)
        self.interpolation = interpolation_of("RandomResizedCrop", interpolation)
        self.antialias = antialias

    def forward(self, image: Any) -> Any:
        part = self._part(*size_of("RandomResizedCrop", image))
        return geometry.resized_crop(image, *part, self.size, self.interpolation, self.antialias)

    def _part(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part."""
        for _ in range(10):  # parts that do not fit are drawn again
            area = height * width * uniform(*self.scale)
            form = log_uniform(*self.ratio)
            wide, high = round(math.sqrt(area * form)), round(math.sqrt(area / form))
            if 0 < wide <= width and 0 < high <= height:
                return number_below(height - high + 1), number_below(width - wide + 1), high, wide
        # The largest part in the middle whose form is allowed.
        form = min(max(width / height, self.ratio[0]), self.ratio[1])
        wide = max(min(width, round(height * form)), 1)
        high = max(min(height, round(width / form)), 1)
        return (height - high) // 2, (width - wide) // 2, high, wide

    def extra_repr(self) -> str:
        scale, ratio = (tuple(round(x, 4) for x in pair) for pair in (self.scale, self.ratio))
        return (
            f"size={self.size}, scale={scale}, ratio={ratio}, interpolation={self.interpolation}, "
            f"antialias={self.antialias}"
        )


class _RandomFlip(nn.Module):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = probability(type(self).__name__, p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class RandomHorizontalFlip(_RandomFlip):
    """The image or its mirror image.

    Args:
        p: the probability of the mirror image.

    Shape:
        (..., C, H, W) to the same.

    >>> import lampion
    >>> lampion.vision.transforms.RandomHorizontalFlip(p=1.0)(lampion.tensor([[[1.0, 2.0]]]))
    tensor([[[2., 1.]]])
    """

    def forward(self, image: Any) -> Any:
        size_of("RandomHorizontalFlip", image)
        return geometry.hflip(image) if happens(self.p) else image


class RandomVerticalFlip(_RandomFlip):
    """The image as it is, or upside down.

    Args:
        p: the probability of upside down.

    Shape:
        (..., C, H, W) to the same.
    """

    def forward(self, image: Any) -> Any:
        size_of("RandomVerticalFlip", image)
        return geometry.vflip(image) if happens(self.p) else image


class RandomRotation(nn.Module):
    """The image turned by an angle, counter-clockwise.

    Args:
        degrees: the least and the largest angle; one number for -degrees to degrees.
        interpolation, expand, center, fill: see `functional.rotate`.

    Shape:
        (..., C, H, W) to the same; larger, where `expand`.

    >>> import lampion
    >>> turned = lampion.vision.transforms.RandomRotation((90, 90))
    >>> turned(lampion.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([[[2., 4.],
             [1., 3.]]])
    """

    def __init__(
        self, degrees: Any, interpolation: Any = "nearest", expand: bool = False,
        center: Sequence[float] | None = None, fill: Any = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.degrees = span("RandomRotation", "degrees", degrees)
        self.interpolation = interpolation_of("RandomRotation", interpolation)
        self.expand, self.center, self.fill = expand, center, fill

    def forward(self, image: Any) -> Any:
        size_of("RandomRotation", image)
        angle = uniform(*self.degrees)
        return geometry.rotate(image, angle, self.interpolation, self.expand, self.center, self.fill)

    def extra_repr(self) -> str:
        words = [f"degrees={list(self.degrees)}", f"interpolation={self.interpolation}"]
        words += [f"expand={self.expand}"]
        words += [f"center={self.center}"] if self.center is not None else []
        return ", ".join([*words, f"fill={self.fill}"])


class RandomAffine(nn.Module):
    """The image turned, shifted, enlarged and sheared; its middle stays, but for the shift.

    Args:
        degrees: the least and the largest angle, clockwise; one number for -degrees to degrees.
        translate: how far it may be shifted: parts of its width and of its height.
        scale: the least and the largest factor.
        shear: the angles by which upright lines lean: one number, (least, largest), or four, with those of
            level lines behind.
        interpolation, fill, center: see `functional.affine`.

    Shape:
        (..., C, H, W) to the same.

    >>> import lampion
    >>> transform = lampion.vision.transforms.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1))
    >>> transform(lampion.zeros(1, 28, 28)).shape
    (1, 28, 28)
    """

    def __init__(
        self, degrees: Any, translate: Sequence[float] | None = None, scale: Sequence[float] | None = None,
        shear: Any = None, interpolation: Any = "nearest", fill: Any = 0,
        center: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        name = "RandomAffine"
        self.degrees = span(name, "degrees", degrees)
        if translate is not None and (len(translate) != 2 or not all(0 <= t <= 1 for t in translate)):
            raise OptionError(name, "translate is two parts, of width and height", expected="from 0 to 1",
                              got=repr(translate))  # fmt: skip
        self.translate = translate
        self.scale = None if scale is None else interval(name, "scale", scale, 1e-9)
        self.shear: tuple[float, ...] | None
        if shear is None or isinstance(shear, Real) or len(shear) == 2:
            self.shear = None if shear is None else span(name, "shear", shear)
        else:
            if len(shear) != 4:
                raise OptionError(name, "shear is one number, two or four", got=repr(shear))
            self.shear = (*span(name, "shear", shear[:2]), *span(name, "shear", shear[2:]))
        self.interpolation = interpolation_of(name, interpolation)
        self.fill, self.center = fill, center

    def forward(self, image: Any) -> Any:
        height, width = size_of("RandomAffine", image)
        angle = uniform(*self.degrees)
        shift = (0, 0)
        if self.translate is not None:
            far = self.translate[0] * width, self.translate[1] * height
            shift = round(uniform(-far[0], far[0])), round(uniform(-far[1], far[1]))
        scale = 1.0 if self.scale is None else uniform(*self.scale)
        ranges = self.shear or ()
        lean = [uniform(*ranges[i : i + 2]) for i in range(0, len(ranges), 2)]
        shear = [*lean, 0.0, 0.0][:2]
        return geometry.affine(image, angle, shift, scale, shear, self.interpolation, self.fill, self.center)

    def extra_repr(self) -> str:
        words = [f"degrees={list(self.degrees)}"]
        for name in ("translate", "scale"):
            words += [f"{name}={getattr(self, name)}"] if getattr(self, name) is not None else []
        words += [f"shear={list(self.shear)}"] if self.shear is not None else []
        words += [f"interpolation={self.interpolation}"] if self.interpolation != "nearest" else []
        words += [f"fill={self.fill}"] if self.fill != 0 else []
        words += [f"center={self.center}"] if self.center is not None else []
        return ", ".join(words)


class RandomErasing(nn.Module):
    """A rectangle of the image is overwritten, now and then.

    Args:
        p: how probable that is.
        scale: the least and the largest share of the image that it covers.
        ratio: the least and the largest height, in widths.
        value: what is written: a number, one for each channel, or "random" for normal ones, into floats.
        inplace: whether the tensor itself is changed.

    Shape:
        (..., C, H, W) to the same. Tensors only.

    Source: Z. Zhong et al.: "Random erasing data augmentation" (AAAI 2020).

    >>> import lampion
    >>> image = lampion.vision.transforms.RandomErasing(p=1.0)(lampion.ones(1, 8, 8))
    >>> bool((image == 0).any())
    True
    """

    def __init__(
        self, p: float = 0.5, scale: Sequence[float] = (0.02, 0.33), ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0, inplace: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.p = probability("RandomErasing", p)
        interval("RandomErasing", "scale", scale, 0, 1)
        interval("RandomErasing", "ratio", ratio, 1e-9)
        if isinstance(value, str) and value != "random":
            raise OptionError("RandomErasing", "the value is not known", expected='numbers, or "random"',
                              got=repr(value))  # fmt: skip
        self.scale, self.ratio, self.value, self.inplace = scale, ratio, value, inplace

    def forward(self, image: Tensor) -> Tensor:
        if not isinstance(image, Tensor):
            raise DTypeError("RandomErasing", "expected a tensor", got=type(image).__name__,
                             fix="ToTensor() before")  # fmt: skip
        if isinstance(self.value, str) and not image.dtype.is_floating_point:
            raise DTypeError("RandomErasing", 'value="random" writes normal numbers, which are floats',
                             got=str(image.dtype), fix="ConvertImageDtype() before")  # fmt: skip
        height, width = size_of("RandomErasing", image)
        if not happens(self.p):
            return image
        for _ in range(10):  # shapes that do not fit are drawn again
            area = height * width * uniform(*self.scale)
            form = log_uniform(*self.ratio)
            high, wide = round(math.sqrt(area * form)), round(math.sqrt(area / form))
            if high < height and wide < width:
                top, left = number_below(height - high + 1), number_below(width - wide + 1)
                written = self._written(image, high, wide)
                return geometry.erase(image, top, left, high, wide, written, self.inplace)
        return image

    def _written(self, image: Tensor, high: int, wide: int) -> Any:
        if isinstance(self.value, str):
            return ops.randn(*image.shape[:-2], high, wide, dtype=image.dtype)
        if isinstance(self.value, Real):
            return self.value
        if len(self.value) not in (1, image.shape[-3]):
            raise ShapeError("RandomErasing", "value has another number of channels than the image",
                             expected=f"one number, or {image.shape[-3]}", got=repr(self.value))  # fmt: skip
        return ops.reshape(tensor(list(self.value), dtype=image.dtype), (-1, 1, 1))

    def extra_repr(self) -> str:
        return (
            f"p={self.p}, scale={self.scale}, ratio={self.ratio}, value={self.value}, inplace={self.inplace}"
        )
