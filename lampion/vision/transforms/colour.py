"""Brighter, paler, greyer, of another hue: pixels keep their places and change their values.

Floats lie between 0 and 1, integers between 0 and the largest of their type; so do the results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion import ops
from lampion.errors import DTypeError, OptionError
from lampion.tensor import Tensor
from lampion.vision.transforms.conversion import convert_image_dtype, largest
from lampion.vision.transforms.image import channels_of, is_pillow, on_images

#: How bright red, green and blue are: ITU-R BT.601.
WEIGHTS = (0.2989, 0.587, 0.114)
#: Pillow's modes of bytes, as they are: numbers of a palette ("P") are none of brightness.
_COLOURS = ("L", "RGB", "YCbCr", "HSV")
#: And those that `ImageEnhance` knows besides.
_MIXED = (*_COLOURS, "LA", "RGBA", "RGBX", "CMYK")
#: Modes without colours, of bits, integers and floats.
_GREY = ("1", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")


@on_images
def rgb_to_grayscale(image: Any, num_output_channels: int = 1) -> Any:
    """The brightness of each pixel: 0.2989 red + 0.587 green + 0.114 blue.

    Args:
        num_output_channels: 1, or 3 for three equal ones.
    """
    if num_output_channels not in (1, 3):
        raise OptionError("rgb_to_grayscale", "num_output_channels is 1 or 3", got=str(num_output_channels))
    if not isinstance(image, Tensor):
        channels_of("rgb_to_grayscale", image)
        grey = image.convert("L")
        return grey if num_output_channels == 1 else _merged("RGB", [grey] * 3)
    if channels_of("rgb_to_grayscale", image, 1, 3) == 3:
        red, green, blue = (image[..., c : c + 1, :, :] for c in range(3))
        mixed = WEIGHTS[0] * red + WEIGHTS[1] * green + WEIGHTS[2] * blue
        image = mixed.to(image.dtype)
    if num_output_channels == 1:
        return image.clone()
    return ops.broadcast_to(image, (*image.shape[:-3], 3, *image.shape[-2:])).clone()


to_grayscale = rgb_to_grayscale


@on_images
def adjust_brightness(image: Any, brightness_factor: float) -> Any:
    """The image times a factor: 0 is black, 1 the image, 2 twice as bright."""
    _check_factor("adjust_brightness", brightness_factor)
    if not isinstance(image, Tensor):
        return _enhanced("adjust_brightness", "Brightness", image, brightness_factor)
    channels_of("adjust_brightness", image, 1, 3)
    return _mixed(image, ops.zeros_like(image), brightness_factor)


@on_images
def adjust_contrast(image: Any, contrast_factor: float) -> Any:
    """The differences to the mean brightness times a factor: 0 is one grey, 1 the image."""
    _check_factor("adjust_contrast", contrast_factor)
    if not isinstance(image, Tensor):
        return _enhanced("adjust_contrast", "Contrast", image, contrast_factor)
    channels_of("adjust_contrast", image, 1, 3)
    grey = rgb_to_grayscale(image)
    grey = grey if grey.dtype.is_floating_point else grey.float()
    return _mixed(image, ops.mean(grey, (-3, -2, -1), keepdim=True), contrast_factor)


@on_images
def adjust_saturation(image: Any, saturation_factor: float) -> Any:
    """The differences to each pixel's brightness times a factor: 0 is grey, 1 the image."""
    _check_factor("adjust_saturation", saturation_factor)
    if not isinstance(image, Tensor):
        return _enhanced("adjust_saturation", "Color", image, saturation_factor)
    if channels_of("adjust_saturation", image, 1, 3) == 1:
        return image
    return _mixed(image, rgb_to_grayscale(image), saturation_factor)


@on_images
def adjust_hue(image: Any, hue_factor: float) -> Any:
    """Each colour moved along the circle of hues: by a part of its length, from -0.5 to 0.5."""
    if not -0.5 <= hue_factor <= 0.5:
        raise OptionError("adjust_hue", "hue_factor is a part of the circle", expected="from -0.5 to 0.5",
                          got=str(hue_factor))  # fmt: skip
    count = channels_of("adjust_hue", image, 1, 3)
    _check_mode("adjust_hue", image, *_COLOURS, *_GREY)
    if count == 1:
        return image
    if not isinstance(image, Tensor):
        return _pillow_hue(image, hue_factor)
    x = convert_image_dtype(image, "float32") if not image.dtype.is_floating_point else image
    hue, span, value = _hue_span_value(x)
    return convert_image_dtype(_colours(hue + hue_factor, span, value), image.dtype)


@on_images
def adjust_gamma(image: Any, gamma: float, gain: float = 1) -> Any:
    """gain * image ** gamma, of values from 0 to 1: above 1, shadows become darker; below, lighter."""
    _check_factor("adjust_gamma", gamma)
    channels_of("adjust_gamma", image, 1, 3)
    _check_mode("adjust_gamma", image, *_COLOURS, "1", "P")
    if not isinstance(image, Tensor):
        table = [int((256 - 1e-3) * gain * (n / 255) ** gamma) for n in range(256)]
        return image.convert("RGB").point(table * 3).convert(image.mode)
    x = image if image.dtype.is_floating_point else convert_image_dtype(image, "float32")
    return convert_image_dtype(ops.clamp(gain * ops.pow(x, gamma), 0, 1), image.dtype)


@on_images
def invert(image: Any) -> Any:
    """The negative: black is white."""
    channels_of("invert", image, 1, 3)
    _check_mode("invert", image, "L", "RGB", "1", "P")
    if not isinstance(image, Tensor):
        from PIL import ImageOps

        return ImageOps.invert(image)
    return largest(image.dtype) - image


def _check_factor(name: str, factor: float) -> None:
    if factor < 0:
        raise OptionError(name, "the factor is not negative", expected="from 0 on", got=str(factor))


def _mixed(image: Tensor, other: Tensor, factor: float) -> Tensor:
    """`factor` of the one and 1 - factor of the other, within what the type may be."""
    mixed = factor * image + (1.0 - factor) * other
    return ops.clamp(mixed, 0, largest(image.dtype)).to(image.dtype)


def _check_mode(name: str, image: Any, *modes: str) -> None:
    """Refuse Pillow images of other modes."""
    if is_pillow(image) and image.mode not in modes:
        wide = image.mode in _GREY and image.mode != "1"
        raise DTypeError(name, "Pillow images of this mode are not known here", got=f"mode {image.mode}",
                         expected=", ".join(modes),
                         fix="ToTensor() before" if wide else 'image.convert("RGB"), as a rule',
                         )  # fmt: skip


def _enhanced(name: str, kind: str, image: Any, factor: float) -> Any:
    from PIL import ImageEnhance

    channels_of(name, image)
    _check_mode(name, image, *_MIXED)
    return getattr(ImageEnhance, kind)(image).enhance(factor)


def _merged(mode: str, bands: Any) -> Any:
    from PIL import Image

    return Image.merge(mode, bands)


def _pillow_hue(image: Any, factor: float) -> Any:
    from PIL import Image

    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue).astype(np.int32) + int(factor * 255)) % 256  # Pillow's hues have 8 bits
    moved = Image.fromarray(turned.astype(np.uint8))
    return _merged("HSV", (moved, saturation, value)).convert(image.mode)


def _hue_span_value(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The hue from 0 to 1, the largest of red, green and blue less the smallest, and the largest."""
    red, green, blue = (x[..., c, :, :] for c in range(3))
    value = ops.amax(x, -3)
    span = value - ops.amin(x, -3)
    by = ops.where(span == 0, ops.ones_like(span), span)  # grey has no hue: 0 will do
    hue = ops.where(
        value == red, (green - blue) / by,
        ops.where(value == green, 2 + (blue - red) / by, 4 + (red - green) / by),
    )  # fmt: skip
    return hue / 6, span, value


def _colours(hue: Tensor, span: Tensor, value: Tensor) -> Tensor:
    """Red, green and blue of hue, span and value: each falls away from the value in its own third."""
    channels = []
    for start in (5, 3, 1):
        k = ops.remainder(start + 6 * hue, 6)
        channels.append(value - span * ops.clamp(ops.minimum(k, 4 - k), 0, 1))
    return ops.stack(channels, -3)
