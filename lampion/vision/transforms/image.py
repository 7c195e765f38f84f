"""What an image is: a tensor (..., C, H, W), a NumPy array (H, W) or (H, W, C), or a Pillow image.

Every function on images says what it does to a tensor and to a Pillow image; `on_images` lets it take arrays
too, as tensors whose channels stand last.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from enum import Enum
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.tensor import Tensor, from_numpy

Function = TypeVar("Function", bound=Callable[..., Any])

#: How many channels an array may have: more of them are sizes that stand in another order.
_CHANNELS = (1, 2, 3, 4)


class InterpolationMode(Enum):
    """How numbers between places are found. Where one is asked for, its value does as well.

    Tensors know the first four, and of these only "nearest" and "bilinear" where an image is turned.
    """

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


#: By Pillow's numbers, which torchvision takes too.
_NUMBERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")


def interpolation_of(name: str, mode: Any) -> str:
    """The value of an interpolation mode, of whichever kind it is."""
    known = [one.value for one in InterpolationMode]
    if isinstance(mode, int) and 0 <= mode < len(_NUMBERS):
        mode = _NUMBERS[mode]
    value = mode.value if isinstance(mode, InterpolationMode) else mode
    if value not in known:
        raise OptionError(name, "the interpolation is not known", expected=", ".join(known), got=repr(mode))
    return str(value)


def pillow_filter(name: str, mode: str, *known: str) -> Any:
    """Pillow's constant of that mode."""
    from PIL import Image

    if known and mode not in known:
        raise OptionError(name, "Pillow does not know this interpolation here", expected=", ".join(known),
                          got=repr(mode))  # fmt: skip
    # Pillow's nearest place is that of the middle, as ours is in "nearest-exact".
    return Image.Resampling["NEAREST" if mode.startswith("nearest") else mode.upper()]


def on_images(function: Function) -> Function:
    """A function of a tensor or a Pillow image, which takes arrays (H, W) and (H, W, C) too."""

    @functools.wraps(function)
    def taking_arrays(image: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(image, np.ndarray):
            return function(image, *args, **kwargs)
        out = function(tensor_of(function.__name__, image), *args, **kwargs).detach().numpy()
        return out[0] if image.ndim == 2 and len(out) == 1 else np.moveaxis(out, 0, -1)

    return taking_arrays  # type: ignore[return-value]  # the same signature


def tensor_of(name: str, pixels: np.ndarray[Any, Any]) -> Tensor:
    """An array as a tensor (C, H, W); a copy, whose memory is its own."""
    _check_array(name, pixels)
    channels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return from_numpy(np.array(channels, order="C"))


def _check_array(name: str, pixels: np.ndarray[Any, Any]) -> None:
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] not in _CHANNELS):
        raise ShapeError(name, "the array is no image", got=str(pixels.shape),
                         expected="(H, W) or (H, W, C) with 1 to 4 channels",
                         fix="(C, H, W) is the order of tensors: lampion.from_numpy(array)")  # fmt: skip


def is_pillow(image: Any) -> bool:
    """Whether it is an image of Pillow's, without importing Pillow."""
    return any(kind.__module__.startswith("PIL.") for kind in type(image).__mro__)


def size_of(name: str, image: Any) -> tuple[int, int]:
    """Height and width; an error, if it is no image."""
    if isinstance(image, Tensor):
        if image.ndim < 3 or 0 in image.shape[-3:]:
            raise ShapeError(name, "there is no image", expected="(..., C, H, W), not empty",
                             got=str(tuple(image.shape)))  # fmt: skip
        return image.shape[-2], image.shape[-1]
    if isinstance(image, np.ndarray):
        _check_array(name, image)
        return image.shape[0], image.shape[1]
    if not is_pillow(image):
        raise DTypeError(name, "there is no image", got=type(image).__name__,
                         expected="a tensor (..., C, H, W), an array (H, W, C), or a Pillow image",
                         )  # fmt: skip
    width, height = image.size
    return height, width


def channels_of(name: str, image: Any, *allowed: int) -> int:
    """How many channels there are; an error, if not as many as are allowed."""
    size_of(name, image)
    if isinstance(image, Tensor):
        count, got = image.shape[-3], str(tuple(image.shape))
    elif isinstance(image, np.ndarray):
        count, got = image.shape[2] if image.ndim == 3 else 1, str(image.shape)
    else:
        count, got = len(image.getbands()), f"mode {image.mode}"
    if allowed and count not in allowed:
        raise ShapeError(name, "the image has another number of channels", got=got,
                         expected=" or ".join(map(str, allowed)),
                         fix='image.convert("RGB")' if is_pillow(image) else "")  # fmt: skip
    return count


def fill_of(name: str, fill: Any, channels: int) -> list[float]:
    """What is filled in, a number for each channel."""
    given: Any = 0.0 if fill is None else fill.tolist() if hasattr(fill, "tolist") else fill
    numbers: list[Any] = list(given) if hasattr(given, "__len__") else [given]
    if not numbers or not all(isinstance(n, Real) for n in numbers):
        raise OptionError(name, "fill is no number", expected="one number, or one for each channel",
                          got=repr(fill))  # fmt: skip
    if len(numbers) not in (1, channels):
        raise ShapeError(name, "fill has another number of channels than the image",
                         expected=f"one number, or {channels}", got=repr(fill))  # fmt: skip
    return numbers * (channels // len(numbers))


def pillow_fill(name: str, fill: Any, image: Any) -> Any:
    """What is filled in, as Pillow takes it."""
    numbers = fill_of(name, fill, channels_of(name, image))
    numbers = numbers if image.mode == "F" else [int(n) for n in numbers]
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def integers(value: Any) -> tuple[int, ...]:
    """One integer, or several, as a tuple; an empty one, where it is something else."""
    try:
        return tuple(map(operator.index, [value] if hasattr(value, "__index__") else value))
    except TypeError:
        return ()


def pair(name: str, size: Any) -> tuple[int, int]:
    """Height and width, from one number for both or from two."""
    sizes = integers(size)
    sizes = sizes * 2 if len(sizes) == 1 else sizes
    if len(sizes) != 2 or min(sizes) < 1:
        raise OptionError(name, "a size is a height and a width", got=repr(size),
                          expected="two integers from 1 on, or one")  # fmt: skip
    return sizes


def span(name: str, option: str, value: Any, centre: float = 0.0) -> tuple[float, float]:
    """A range: (least, largest), or one number d for centre - d to centre + d."""
    if isinstance(value, Real):  # NumPy's numbers are, too
        value = float(value)
        if value < 0:
            raise OptionError(name, f"{option} is a range", expected="a number from 0 on, or two",
                              got=repr(value))  # fmt: skip
        return centre - value, centre + value
    return interval(name, option, value)


def interval(
    name: str, option: str, value: Any, low: float = -np.inf, high: float = np.inf
) -> tuple[float, float]:
    """(least, largest), within bounds."""
    fine = isinstance(value, Sequence) and len(value) == 2 and low <= value[0] <= value[1] <= high
    if not fine:
        bounds = "" if (low, high) == (-np.inf, np.inf) else f", within {low:g} and {high:g}"
        raise OptionError(name, f"{option} is a range", expected=f"(least, largest){bounds}", got=repr(value))
    return float(value[0]), float(value[1])
