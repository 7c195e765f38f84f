"""Between Pillow images, arrays and tensors; between types; to numbers around 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lampion import dtype as dtypes
from lampion import ops
from lampion.construct import tensor
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.tensor import Tensor, from_numpy
from lampion.vision.transforms.image import is_pillow, size_of

#: What Pillow calls images of so many channels, the usual one first.
MODES = {
    1: ("L", "I;16", "I", "F"), 2: ("LA",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX"),
}  # fmt: skip
#: Modes of one channel, by the type of their numbers.
_SINGLE = {"uint8": "L", "int16": "I;16", "uint16": "I;16", "int32": "I", "float32": "F"}


def to_tensor(pic: Any) -> Tensor:
    """A Pillow image, or an array (H, W) or (H, W, C), as a tensor (C, H, W); bytes become 0 to 1."""
    pixels = pil_to_tensor(pic) if is_pillow(pic) else _channels_first("to_tensor", pic)
    if pixels.dtype is dtypes.uint8:
        return pixels.float() / 255
    return pixels.float() if pixels.dtype is dtypes.bool_ else pixels  # black and white


def pil_to_tensor(pic: Any) -> Tensor:
    """A Pillow image as a tensor (C, H, W), its numbers as they are."""
    if not is_pillow(pic):
        raise DTypeError("pil_to_tensor", "there is no image", expected="a Pillow image",
                         got=type(pic).__name__)  # fmt: skip
    return _channels_first("pil_to_tensor", np.asarray(pic))


def _channels_first(name: str, pixels: Any) -> Tensor:
    if not isinstance(pixels, np.ndarray):
        raise DTypeError(name, "there is no image", expected="a Pillow image, or a NumPy array",
                         got=type(pixels).__name__)  # fmt: skip
    if pixels.ndim not in (2, 3):
        raise ShapeError(name, "an image has two or three dimensions",
                         expected="(H, W) or (H, W, C)", got=str(pixels.shape))  # fmt: skip
    channels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return from_numpy(np.array(channels, order="C"))  # a copy: Pillow's memory cannot be written to


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A tensor (C, H, W) or (H, W), or an array (H, W) or (H, W, C), as a Pillow image.

    Floats lie between 0 and 1, and become bytes.

    Args:
        mode: what Pillow calls it: by default, "L", "I", "I;16" or "F" for one channel, by the type; "LA",
            "RGB" or "RGBA" for more.
    """
    from PIL import Image

    pixels = _channels_last(pic)
    if pixels.dtype.kind == "f" and mode != "F" and isinstance(pic, Tensor):
        pixels = _as_bytes(pixels)
    elif pixels.dtype.kind == "b":
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    channels = pixels.shape[-1]
    usual = MODES.get(channels, ("",))[0]
    if channels == 1:
        usual = _SINGLE.get(pixels.dtype.name, "")
    if not usual or (channels > 1 and pixels.dtype != np.uint8):
        raise DTypeError("to_pil_image", "Pillow has no image of this kind", got=str(pixels.dtype),
                         expected="bytes, or one channel of int16, int32 or float32",
                         fix="bytes: image.to(lampion.uint8)")  # fmt: skip
    if mode is None:
        mode = usual
    if mode not in MODES[channels] or (channels == 1 and mode != usual):
        known = (usual,) if channels == 1 else MODES[channels]
        raise OptionError("to_pil_image", f"mode={mode!r} is not for {channels} channel(s) of this type",
                          expected=", ".join(known), got=f"{pixels.dtype} {pixels.shape}")  # fmt: skip
    height, width = pixels.shape[:2]
    return Image.frombytes(mode, (width, height), np.ascontiguousarray(pixels).tobytes())


def _as_bytes(pixels: Any) -> Any:
    """Floats from 0 to 1 as bytes; others are refused, where a conversion would take them modulo 256."""
    scaled = np.trunc(pixels * 255)
    if not ((scaled >= 0) & (scaled <= 255)).all():
        raise OptionError("to_pil_image", "floats lie between 0, black, and 1, white",
                          got=f"{pixels.min():g} to {pixels.max():g}",
                          fix="image.clamp(0, 1), or undo Normalize")  # fmt: skip
    return scaled.astype(np.uint8)


def _channels_last(pic: Any) -> Any:
    """The numbers of an image, (H, W, C)."""
    if not isinstance(pic, Tensor | np.ndarray):
        raise DTypeError("to_pil_image", "there is no image", expected="a tensor or a NumPy array",
                         got=type(pic).__name__)  # fmt: skip
    pixels = (
        pic.detach().float().numpy() if isinstance(pic, Tensor) and pic.dtype.is_half else np.asarray(pic)
    )
    if pixels.ndim == 3 and isinstance(pic, Tensor):
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[-1] not in MODES:
        order = "(C, H, W)" if isinstance(pic, Tensor) else "(H, W, C)"
        raise ShapeError("to_pil_image", "an image has two or three dimensions, and 1 to 4 channels",
                         expected=f"(H, W) or {order}", got=str(tuple(pic.shape)),
                         fix="one image of the batch at a time")  # fmt: skip
    return pixels


def flatten(image: Any) -> Any:
    """All numbers of an image in one row, channel after channel; see `transforms.Flatten`."""
    size_of("Flatten", image)
    if isinstance(image, np.ndarray):
        return np.moveaxis(image, -1, 0).reshape(-1) if image.ndim == 3 else image.reshape(-1)
    return ops.flatten(pil_to_tensor(image) if is_pillow(image) else image, -3)


def largest(dtype: Any) -> int:
    """What white is in that type: 1 in floats, else the largest number."""
    return 1 if dtype.is_floating_point or dtype is dtypes.bool_ else int(dtype.max)


def convert_image_dtype(image: Tensor, dtype: Any = "float32") -> Tensor:
    """The image in another type, with white as that type has it: 255 of bytes is 1.0 in floats.

    Args:
        dtype: the type. From floats to one that has more digits than they have is an error.
    """
    if not isinstance(image, Tensor):
        raise DTypeError("convert_image_dtype", "expected a tensor", got=type(image).__name__,
                         fix="PILToTensor() before")  # fmt: skip
    target = dtypes.of(dtype)
    source = image.dtype
    if source is target or (source.is_floating_point and target.is_floating_point):
        return image.to(target)
    if source.is_floating_point:
        if target.itemsize >= source.itemsize:
            raise DTypeError("convert_image_dtype", f"{target} has more digits than {source}",
                             fix="a smaller integer type, or x.double() before")  # fmt: skip
        wide = image.float() if source.is_half else image
        return (wide * (largest(target) + 1 - 1e-3)).to(target)  # each integer gets an equal share of 0 to 1
    if target.is_floating_point:
        return image.to(target) / largest(source)
    step = (largest(source) + 1) // (largest(target) + 1)
    if step > 0:
        return ops.floor_divide(image, step).to(target) if step > 1 else image.to(target)
    return image.to(target) * ((largest(target) + 1) // (largest(source) + 1))


def normalize(
    image: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False, name: str = "normalize"
) -> Tensor:
    """(x - mean) / std, for each channel.

    Args:
        mean, std: one number for each channel.
        inplace: whether the tensor itself is changed.
        name: who asks, in the messages.

    Shape:
        (..., C, H, W) to the same.
    """
    if not all(std):
        raise OptionError(name, "std is what is divided by", expected="not 0", got=str(std))
    if not isinstance(image, Tensor) or not image.dtype.is_floating_point:
        raise DTypeError(name, "expected floats", got=str(getattr(image, "dtype", type(image).__name__)),
                         fix="ToTensor() before")  # fmt: skip
    centre, width = (ops.reshape(tensor(list(x), dtype=image.dtype), (-1, 1, 1)) for x in (mean, std))
    if image.ndim < 3 or any(len(x) not in (1, image.shape[-3]) for x in (centre, width)):
        raise ShapeError(name, "there is one mean, and one std, for each channel",
                         expected=f"(..., {len(centre)}, H, W)", got=str(tuple(image.shape)))  # fmt: skip
    out: Tensor = image.sub_(centre).div_(width) if inplace else (image - centre) / width
    return out
