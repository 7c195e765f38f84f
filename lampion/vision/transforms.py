"""Images changed before a network sees them: sizes, crops, flips, erased parts, numbers around 0.

For tensors (..., C, H, W) and for Pillow images, with torchvision's names. What is drawn comes from Lampion's
generator: the same after `lampion.manual_seed(...)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lampion import nn, ops
from lampion.construct import tensor
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.tensor import Tensor, from_numpy

__all__ = [
    "CenterCrop", "Compose", "Normalize", "RandomCrop", "RandomErasing", "RandomHorizontalFlip", "Resize",
    "ToTensor",
]  # fmt: skip

_MODES = ("nearest", "bilinear", "bicubic")
#: Ways to pad, as torchvision and NumPy name them; and as `functional.pad` does.
_PADDING = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}


class Compose:
    """Several transforms, one after another.

    Args:
        transforms: functions of an image.

    >>> import lampion
    >>> T = lampion.vision.transforms
    >>> T.Compose([T.CenterCrop(2), T.Normalize([0.5], [0.5])])(lampion.ones(1, 4, 4))
    tensor([[[1., 1.],
             [1., 1.]]])
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        lines = "".join(f"    {transform}\n" for transform in self.transforms)
        return f"Compose(\n{lines})"


class ToTensor:
    """A Pillow image, or an array (H, W) or (H, W, C), as a tensor (C, H, W); bytes become 0 to 1.

    >>> import numpy
    >>> import lampion
    >>> image = numpy.full((2, 3, 1), 255, numpy.uint8)
    >>> lampion.vision.transforms.ToTensor()(image)
    tensor([[[1., 1., 1.],
             [1., 1., 1.]]])
    """

    def __call__(self, image: Any) -> Tensor:
        if not isinstance(image, np.ndarray) and not _is_pillow(image):
            raise DTypeError("ToTensor", "there is no image", expected="a Pillow image, or a NumPy array",
                             got=type(image).__name__)  # fmt: skip
        pixels = np.asarray(image)
        if pixels.ndim not in (2, 3):
            raise ShapeError("ToTensor", "an image has two or three dimensions",
                             expected="(H, W) or (H, W, C)", got=str(pixels.shape))  # fmt: skip
        channels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        out = from_numpy(np.array(channels, order="C"))  # a copy: Pillow's memory cannot be written to
        if pixels.dtype == np.uint8:
            return out.float() / 255
        return out.float() if pixels.dtype == np.bool_ else out  # Pillow's black and white

    def __repr__(self) -> str:
        return "ToTensor()"


class Normalize(nn.Module):
    """(x - mean) / std, for each channel.

    Args:
        mean, std: one number for each channel.
        inplace: whether the tensor itself is changed.

    Shape:
        (..., C, H, W) to the same.

    >>> import lampion
    >>> lampion.vision.transforms.Normalize([1.0], [2.0])(lampion.tensor([[[5.0]]]))
    tensor([[[2.]]])
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        if not all(std):
            raise OptionError("Normalize", "std is what is divided by", expected="not 0", got=str(std))
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, image: Tensor) -> Tensor:
        if not isinstance(image, Tensor) or not image.dtype.is_floating_point:
            raise DTypeError("Normalize", "expected floats",
                             got=str(getattr(image, "dtype", type(image).__name__)),
                             fix="ToTensor() before")  # fmt: skip
        mean, std = (
            ops.reshape(tensor(list(x), dtype=image.dtype), (-1, 1, 1)) for x in (self.mean, self.std)
        )
        if image.ndim < 3 or any(len(x) not in (1, image.shape[-3]) for x in (mean, std)):
            raise ShapeError("Normalize", "there is one mean, and one std, for each channel",
                             expected=f"(..., {len(mean)}, H, W)", got=str(tuple(image.shape)))  # fmt: skip
        out: Tensor = image.sub_(mean).div_(std) if self.inplace else (image - mean) / std
        return out

    def extra_repr(self) -> str:
        return f"mean={self.mean}, std={self.std}"


class Resize(nn.Module):
    """The image at another size.

    Args:
        size: height and width; or one number, for the shorter side: the other keeps the proportion.
        interpolation: "nearest", "bilinear" or "bicubic".
        antialias: whether all the places count that a place of a smaller image covers. Pillow images always
            have that.

    Shape:
        (..., C, H, W) to (..., C, H', W').

    >>> import lampion
    >>> lampion.vision.transforms.Resize(8)(lampion.zeros(3, 16, 32)).shape
    (3, 8, 16)
    """

    def __init__(self, size: Any, interpolation: str = "bilinear", antialias: bool = True) -> None:
        super().__init__()
        if interpolation not in _MODES:
            raise OptionError("Resize", "the interpolation is not known", expected=", ".join(_MODES),
                              got=repr(interpolation))  # fmt: skip
        self.size = size if isinstance(size, int) else _pair("Resize", size)
        if isinstance(size, int) and size < 1:
            raise OptionError("Resize", "a size is a count", expected="from 1 on", got=str(size))
        self.interpolation, self.antialias = interpolation, antialias

    def forward(self, image: Any) -> Any:
        height, width = _size_of("Resize", image)
        if isinstance(self.size, int):
            short, long = min(height, width), max(height, width)
            other = self.size * long // short
            size = (self.size, other) if height <= width else (other, self.size)
        else:
            size = self.size
        if size == (height, width):
            return image
        if not isinstance(image, Tensor):
            from PIL import Image

            return image.resize((size[1], size[0]), Image.Resampling[self.interpolation.upper()])
        front = image.shape[:-3]
        x = ops.reshape(image, (-1, *image.shape[-3:]))
        if self.interpolation == "nearest":
            x = F.interpolate(x, size)
        else:
            wide = x if x.dtype.is_floating_point else x.float()
            wide = F.interpolate(wide, size, mode=self.interpolation, antialias=self.antialias)
            x = wide if x.dtype.is_floating_point else ops.clamp(ops.round(wide), 0, 255).to(x.dtype)
        return ops.reshape(x, (*front, *x.shape[1:]))

    def extra_repr(self) -> str:
        return f"size={self.size}, interpolation={self.interpolation}, antialias={self.antialias}"


class CenterCrop(nn.Module):
    """The middle of an image; zeros around it, where it is smaller.

    Args:
        size: height and width, or one number for both.

    Shape:
        (..., C, H, W) to (..., C, H', W').

    >>> import lampion
    >>> lampion.vision.transforms.CenterCrop(2)(lampion.arange(16.0).view(1, 4, 4))
    tensor([[[ 5.,  6.],
             [ 9., 10.]]])
    """

    def __init__(self, size: Any) -> None:
        super().__init__()
        self.size = _pair("CenterCrop", size)

    def forward(self, image: Any) -> Any:
        height, width = _size_of("CenterCrop", image)
        down, right = max(self.size[0] - height, 0), max(self.size[1] - width, 0)
        if down or right:
            image = _padded(image, (right // 2, down // 2, (right + 1) // 2, (down + 1) // 2))
            height, width = height + down, width + right
        return _cropped(
            image, round((height - self.size[0]) / 2), round((width - self.size[1]) / 2), self.size
        )

    def extra_repr(self) -> str:
        return f"size={self.size}"


class RandomCrop(nn.Module):
    """A part of the image, drawn from all that have that size.

    Args:
        size: height and width, or one number for both.
        padding: how much is added around the image before: on each side; left and right, above and below; or
            left, above, right, below.
        pad_if_needed: whether an image that is smaller is padded; else that is an error.
        fill: what is added.
        padding_mode: "constant" (`fill`), "edge" (the nearest place) or "reflect".

    Shape:
        (..., C, H, W) to (..., C, H', W').

    >>> import lampion
    >>> lampion.vision.transforms.RandomCrop(32, padding=4)(lampion.zeros(3, 32, 32)).shape
    (3, 32, 32)
    """

    def __init__(
        self, size: Any, padding: Any = None, pad_if_needed: bool = False, fill: float = 0,
        padding_mode: str = "constant",
    ) -> None:  # fmt: skip
        super().__init__()
        self.size = _pair("RandomCrop", size)
        if padding_mode not in _PADDING:
            raise OptionError("RandomCrop", "the padding mode is not known", expected=", ".join(_PADDING),
                              got=repr(padding_mode))  # fmt: skip
        self.padding, self.pad_if_needed = padding, pad_if_needed
        self.fill, self.padding_mode = fill, padding_mode

    def forward(self, image: Any) -> Any:
        if self.padding is not None:
            image = _padded(image, _sides(self.padding), self.padding_mode, self.fill)
        height, width = _size_of("RandomCrop", image)
        down, right = max(self.size[0] - height, 0), max(self.size[1] - width, 0)
        if (down or right) and not self.pad_if_needed:
            raise ShapeError("RandomCrop", "the image is smaller than the part",
                             expected=f"at least {self.size}", got=f"{(height, width)}",
                             fix="pad_if_needed=True")  # fmt: skip
        if down or right:
            image = _padded(image, (right, down, right, down), self.padding_mode, self.fill)
            height, width = height + 2 * down, width + 2 * right
        top, left = _drawn(height - self.size[0] + 1), _drawn(width - self.size[1] + 1)
        return _cropped(image, top, left, self.size)

    def extra_repr(self) -> str:
        return f"size={self.size}, padding={self.padding}"


class RandomHorizontalFlip(nn.Module):
    """The image or its mirror image.

    Args:
        p: the probability of the mirror image.

    Shape:
        (..., C, H, W) to the same.

    >>> import lampion
    >>> lampion.vision.transforms.RandomHorizontalFlip(p=1.0)(lampion.tensor([[[1.0, 2.0]]]))
    tensor([[[2., 1.]]])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = _probability("RandomHorizontalFlip", p)

    def forward(self, image: Any) -> Any:
        _size_of("RandomHorizontalFlip", image)
        if _uniform(0, 1) >= self.p:
            return image
        if isinstance(image, Tensor):
            return ops.flip(image, (-1,))
        from PIL import ImageOps

        return ImageOps.mirror(image)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class RandomErasing(nn.Module):
    """A rectangle of the image is overwritten, now and then.

    Args:
        p: how probable that is.
        scale: the least and the largest share of the image that it covers.
        ratio: the least and the largest height, in widths.
        value: what is written: a number, one for each channel, or "random" for normal ones.
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
        self.p = _probability("RandomErasing", p)
        if not 0 <= scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
            raise OptionError("RandomErasing", "scale and ratio each have a least and a largest number",
                              expected="scale within 0 and 1, ratio above 0",
                              got=f"{scale} and {ratio}")  # fmt: skip
        if isinstance(value, str) and value != "random":
            raise OptionError("RandomErasing", "the value is not known", expected='numbers, or "random"',
                              got=repr(value))  # fmt: skip
        self.scale, self.ratio, self.value, self.inplace = scale, ratio, value, inplace

    def forward(self, image: Tensor) -> Tensor:
        if not isinstance(image, Tensor):
            raise DTypeError("RandomErasing", "expected a tensor", got=type(image).__name__,
                             fix="ToTensor() before")  # fmt: skip
        height, width = _size_of("RandomErasing", image)
        if _uniform(0, 1) >= self.p:
            return image
        for _ in range(10):  # shapes that do not fit are drawn again
            area = height * width * _uniform(*self.scale)
            form = math.exp(_uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            high, wide = round(math.sqrt(area * form)), round(math.sqrt(area / form))
            if high < height and wide < width:
                top, left = _drawn(height - high + 1), _drawn(width - wide + 1)
                out = image if self.inplace else ops.clone(image)
                out[..., top : top + high, left : left + wide] = self._written(image, high, wide)
                return out
        return image

    def _written(self, image: Tensor, high: int, wide: int) -> Any:
        if self.value == "random":
            return ops.randn(*image.shape[:-2], high, wide, dtype=image.dtype)
        if isinstance(self.value, int | float):
            return self.value
        return ops.reshape(tensor(list(self.value), dtype=image.dtype), (-1, 1, 1))

    def extra_repr(self) -> str:
        return f"p={self.p}, scale={self.scale}, ratio={self.ratio}, value={self.value}"


def _uniform(low: float, high: float) -> float:
    return float(low + (high - low) * ops.rand(1, dtype="float64").item())


def _drawn(count: int) -> int:
    """One of 0 ... count - 1."""
    return int(ops.randint(0, count, (1,)).item())


def _probability(name: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise OptionError(name, "p is a probability", expected="from 0 to 1", got=str(p))
    return p


def _pair(name: str, size: Any) -> tuple[int, int]:
    sizes = (size, size) if isinstance(size, int) else tuple(size)
    sizes = sizes * 2 if len(sizes) == 1 else sizes
    if len(sizes) != 2 or not all(isinstance(n, int) and n >= 1 for n in sizes):
        raise OptionError(name, "a size is a height and a width", expected="two numbers from 1 on, or one",
                          got=repr(size))  # fmt: skip
    return sizes


def _sides(padding: Any) -> tuple[int, int, int, int]:
    """Left, above, right, below."""
    sides = (padding,) if isinstance(padding, int) else tuple(padding)
    if len(sides) not in (1, 2, 4) or not all(isinstance(n, int) and n >= 0 for n in sides):
        raise OptionError("RandomCrop", "the padding is not right", expected="1, 2 or 4 numbers from 0 on",
                          got=repr(padding))  # fmt: skip
    left, above, right, below = sides * (4 // len(sides))
    return left, above, right, below


def _is_pillow(image: Any) -> bool:
    return any(kind.__module__.startswith("PIL.") for kind in type(image).__mro__)


def _size_of(name: str, image: Any) -> tuple[int, int]:
    if isinstance(image, Tensor):
        if image.ndim < 3 or 0 in image.shape:
            raise ShapeError(name, "there is no image", expected="(..., C, H, W), not empty",
                             got=str(tuple(image.shape)))  # fmt: skip
        return image.shape[-2], image.shape[-1]
    if not _is_pillow(image):
        raise DTypeError(name, "there is no image", expected="a tensor (..., C, H, W), or a Pillow image",
                         got=type(image).__name__, fix="ToTensor() before, for NumPy arrays")  # fmt: skip
    width, height = image.size
    return height, width


def _cropped(image: Any, top: int, left: int, size: tuple[int, int]) -> Any:
    if isinstance(image, Tensor):
        return image[..., top : top + size[0], left : left + size[1]]
    return image.crop((left, top, left + size[1], top + size[0]))


def _padded(image: Any, sides: tuple[int, int, int, int], mode: str = "constant", fill: Any = 0) -> Any:
    left, above, right, below = sides
    _size_of("RandomCrop", image)
    if isinstance(image, Tensor):
        return F.pad(image, (left, right, above, below), _PADDING[mode], fill if mode == "constant" else None)
    if mode == "constant":
        from PIL import ImageOps

        return ImageOps.expand(image, sides, fill)
    from PIL import Image

    pixels = np.asarray(image)
    around = [(above, below), (left, right), (0, 0)][: pixels.ndim]
    padded = Image.fromarray(np.pad(pixels, around, mode="edge" if mode == "edge" else "reflect"))
    if image.mode == "P":
        padded.putpalette(image.getpalette())
    return padded
