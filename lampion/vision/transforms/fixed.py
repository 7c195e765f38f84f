"""Transforms that do the same to every image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lampion import dtype as dtypes
from lampion import nn
from lampion.errors import OptionError
from lampion.tensor import Tensor
from lampion.vision.transforms import colour, conversion, geometry
from lampion.vision.transforms.image import interpolation_of, pair


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
        return conversion.to_tensor(image)

    def __repr__(self) -> str:
        return "ToTensor()"


class PILToTensor:
    """A Pillow image as a tensor (C, H, W), its numbers as they are: bytes stay bytes."""

    def __call__(self, image: Any) -> Tensor:
        return conversion.pil_to_tensor(image)

    def __repr__(self) -> str:
        return "PILToTensor()"


class ToPILImage:
    """A tensor (C, H, W), or an array (H, W, C), as a Pillow image; floats from 0 to 1 become bytes.

    Args:
        mode: what Pillow calls it; see `functional.to_pil_image`.
    """

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def __call__(self, image: Any) -> Any:
        return conversion.to_pil_image(image, self.mode)

    def __repr__(self) -> str:
        return "ToPILImage()" if self.mode is None else f"ToPILImage(mode={self.mode})"


class ConvertImageDtype(nn.Module):
    """The image in another type, with white as that type has it; see `functional.convert_image_dtype`.

    >>> import lampion
    >>> bytes = lampion.tensor([[[0, 51, 255]]], dtype=lampion.uint8)
    >>> lampion.vision.transforms.ConvertImageDtype(lampion.float32)(bytes)
    tensor([[[0.0000, 0.2000, 1.0000]]])
    """

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self.dtype = dtypes.of(dtype)

    def forward(self, image: Tensor) -> Tensor:
        return conversion.convert_image_dtype(image, self.dtype)


class Flatten(nn.Module):
    """All numbers of an image in one row, as linear layers take them: channel after channel.

    Arrays are images (H, W) or (H, W, C), as for the other transforms, and stay arrays; a Pillow image
    becomes a tensor, its numbers as they are.

    Shape:
        (..., C, H, W) to (..., C * H * W).

    Source: Deep Learning from Scratch 3, step 51.

    >>> import lampion
    >>> lampion.vision.transforms.Flatten()(lampion.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([1., 2., 3., 4.])
    """

    def forward(self, image: Any) -> Any:
        return conversion.flatten(image)


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
        return conversion.normalize(image, self.mean, self.std, self.inplace, "Normalize")

    def extra_repr(self) -> str:
        return f"mean={self.mean}, std={self.std}"


class Resize(nn.Module):
    """The image at another size.

    Args:
        size: height and width; or one number, for the shorter side: the other keeps the proportion.
        interpolation: "nearest", "nearest-exact", "bilinear" or "bicubic", or an `InterpolationMode`.
        max_size: how long the longer side may become, where `size` is one number.
        antialias: whether all the places count that a place of a smaller image covers. Pillow images always
            have that.

    Shape:
        (..., C, H, W) to (..., C, H', W').

    >>> import lampion
    >>> lampion.vision.transforms.Resize(8)(lampion.zeros(3, 16, 32)).shape
    (3, 8, 16)
    """

    def __init__(
        self, size: Any, interpolation: Any = "bilinear", max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:  # fmt: skip
        super().__init__()
        geometry.resized(1, 1, size, max_size)  # checks them
        self.size, self.max_size, self.antialias = size, max_size, antialias
        self.interpolation = interpolation_of("Resize", interpolation)

    def forward(self, image: Any) -> Any:
        return geometry.resize(image, self.size, self.interpolation, self.max_size, self.antialias)

    def extra_repr(self) -> str:
        return (
            f"size={self.size}, interpolation={self.interpolation}, max_size={self.max_size}, "
            f"antialias={self.antialias}"
        )


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
        self.size = pair("CenterCrop", size)

    def forward(self, image: Any) -> Any:
        return geometry.center_crop(image, self.size)

    def extra_repr(self) -> str:
        return f"size={self.size}"


class Pad(nn.Module):
    """The image with more around it; see `functional.pad`.

    Args:
        padding: on each side; left and right, above and below; or left, above, right, below.
        fill: what is added, where the mode is "constant"; one number, or one for each channel.
        padding_mode: "constant", "edge", "reflect" or "symmetric".

    Shape:
        (..., C, H, W) to (..., C, above + H + below, left + W + right).

    >>> import lampion
    >>> lampion.vision.transforms.Pad((1, 0), padding_mode="edge")(lampion.tensor([[[1.0, 2.0]]]))
    tensor([[[1., 1., 2., 2.]]])
    """

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        check_padding("Pad", padding, padding_mode)
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def forward(self, image: Any) -> Any:
        return geometry.pad(image, self.padding, self.fill, self.padding_mode)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, fill={self.fill}, padding_mode={self.padding_mode}"


def check_padding(name: str, padding: Any, padding_mode: str) -> None:
    """Refuse amounts and modes that are none, when the transform is made."""
    if padding is not None:
        geometry.sides(name, padding)
    if padding_mode not in geometry.PADDING_MODES:
        raise OptionError(name, "the padding mode is not known", expected=", ".join(geometry.PADDING_MODES),
                          got=repr(padding_mode))  # fmt: skip


class Grayscale(nn.Module):
    """The brightness of each pixel; see `functional.rgb_to_grayscale`.

    Args:
        num_output_channels: 1, or 3 for three equal ones.

    Shape:
        (..., 1 or 3, H, W) to (..., num_output_channels, H, W).
    """

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        if num_output_channels not in (1, 3):
            raise OptionError("Grayscale", "num_output_channels is 1 or 3", got=str(num_output_channels))
        self.num_output_channels = num_output_channels

    def forward(self, image: Any) -> Any:
        return colour.rgb_to_grayscale(image, self.num_output_channels)

    def extra_repr(self) -> str:
        return f"num_output_channels={self.num_output_channels}"
