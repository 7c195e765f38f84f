"""Images at other sizes, cut, padded, mirrored, turned: pixels change their places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from lampion import ops
from lampion.construct import tensor
from lampion.errors import OptionError, ShapeError
from lampion.nn import functional as F
from lampion.tensor import Tensor, from_numpy
from lampion.vision.transforms.image import (
    fill_of,
    integers,
    interpolation_of,
    is_pillow,
    on_images,
    pair,
    pillow_fill,
    pillow_filter,
    size_of,
)  # fmt: skip

PADDING_MODES = ("constant", "edge", "reflect", "symmetric")
_RESIZES = ("nearest", "nearest-exact", "bilinear", "bicubic")
_TURNS = ("nearest", "bilinear")


@on_images
def resize(
    image: Any, size: Any, interpolation: Any = "bilinear", max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:  # fmt: skip
    """The image at another size.

    Args:
        size: height and width; or one number, for the shorter side: the other keeps the proportion.
        interpolation: see `InterpolationMode`.
        max_size: how long the longer side may become, where `size` is one number.
        antialias: whether all the places count that a place of a smaller image covers. Pillow images always
            have that.

    Shape:
        (..., C, H, W) to (..., C, H', W').
    """
    mode = interpolation_of("resize", interpolation)
    height, width = size_of("resize", image)
    wanted = resized(height, width, size, max_size)
    if wanted == (height, width):
        return image
    if not isinstance(image, Tensor):
        return image.resize((wanted[1], wanted[0]), pillow_filter("resize", mode))
    if mode not in _RESIZES:
        raise OptionError("resize", "tensors have no such interpolation", expected=", ".join(_RESIZES),
                          got=repr(mode), fix="resize the Pillow image before ToTensor()")  # fmt: skip
    x = ops.reshape(image, (-1, *image.shape[-3:]))
    if mode.startswith("nearest"):
        x = F.interpolate(x, wanted, mode=mode)
    else:
        x = rounded(F.interpolate(as_floats(x), wanted, mode=mode, antialias=bool(antialias)), image.dtype)
    return ops.reshape(x, (*image.shape[:-2], *wanted))


def resized(height: int, width: int, size: Any, max_size: int | None = None) -> tuple[int, int]:
    """The height and width that an image gets."""
    sizes = integers(size)
    if len(sizes) != 1:
        if max_size is not None:
            raise OptionError("resize", "max_size is for a size of one number", got=f"size={size!r}")
        return pair("resize", size)
    size = sizes[0]
    if size < 1 or (max_size is not None and max_size <= size):
        raise OptionError("resize", "a size is a count, and max_size is larger", expected="from 1 on",
                          got=f"size={size}, max_size={max_size}")  # fmt: skip
    short, long = min(height, width), max(height, width)
    other = size * long // short
    if max_size is not None and other > max_size:
        size, other = max(max_size * size // other, 1), max_size
    return (size, other) if height <= width else (other, size)


@on_images
def crop(image: Any, top: int, left: int, height: int, width: int) -> Any:
    """A part of the image; zeros, where it lies outside.

    Args:
        top, left: where the part begins; below 0, outside of the image.
        height, width: of the part.
    """
    height, width = pair("crop", (height, width))
    have = size_of("crop", image)
    if not isinstance(image, Tensor):
        return image.crop((left, top, left + width, top + height))
    below, right = top + height - have[0], left + width - have[1]
    if min(top, left, -below, -right) < 0:
        outside = [max(n, 0) for n in (-left, -top, right, below)]
        image, top, left = pad(image, outside), max(top, 0), max(left, 0)
    return image[..., top : top + height, left : left + width]


@on_images
def center_crop(image: Any, output_size: Any) -> Any:
    """The middle of an image; zeros around it, where it is smaller.

    Args:
        output_size: height and width, or one number for both.
    """
    wanted = pair("center_crop", output_size)
    height, width = size_of("center_crop", image)
    down, right = max(wanted[0] - height, 0), max(wanted[1] - width, 0)
    if down or right:
        image = pad(image, (right // 2, down // 2, (right + 1) // 2, (down + 1) // 2))
        height, width = height + down, width + right
    return crop(image, round((height - wanted[0]) / 2), round((width - wanted[1]) / 2), *wanted)


def resized_crop(
    image: Any, top: int, left: int, height: int, width: int, size: Any, interpolation: Any = "bilinear",
    antialias: bool | None = True,
) -> Any:  # fmt: skip
    """A part of the image, at another size: `crop`, then `resize`."""
    return resize(crop(image, top, left, height, width), size, interpolation, antialias=antialias)


@on_images
def pad(image: Any, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> Any:
    """The image with more around it.

    Args:
        padding: on each side; left and right, above and below; or left, above, right, below. Numbers below 0
            cut places off.
        fill: what is added, where the mode is "constant"; one number, or one for each channel.
        padding_mode: "constant", "edge" (the nearest place), "reflect" (the image mirrored at its last
            place) or "symmetric" (mirrored behind it).

    Shape:
        (..., C, H, W) to (..., C, above + H + below, left + W + right).
    """
    if padding_mode not in PADDING_MODES:
        raise OptionError("pad", "the padding mode is not known", expected=", ".join(PADDING_MODES),
                          got=repr(padding_mode))  # fmt: skip
    left, above, right, below = sides("pad", padding)
    height, width = size_of("pad", image)
    if height + above + below < 1 or width + left + right < 1:
        raise ShapeError("pad", "nothing is left of the image", got=f"{(height, width)}, padding {padding}")
    if padding_mode != "constant":
        rows = _places_behind("pad", height, above, below, padding_mode)
        columns = _places_behind("pad", width, left, right, padding_mode)
        return _picked(image, rows, columns)
    if not isinstance(image, Tensor):
        return _pillow_padded(image, (left, above, right, below), fill)
    amounts = (left, right, above, below)
    numbers = fill_of("pad", fill, image.shape[-3])
    if len(set(numbers)) == 1:
        return F.pad(image, amounts, "constant", numbers[0])
    inside = F.pad(ops.ones(height, width, dtype="bool"), amounts, "constant", False)
    return ops.where(inside, F.pad(image, amounts), _per_channel(numbers, image))


def _pillow_padded(image: Any, around: tuple[int, int, int, int], fill: Any) -> Any:
    from PIL import ImageOps

    inner = tuple(max(-n, 0) for n in around)
    kept = (inner[0], inner[1], image.width - inner[2], image.height - inner[3])
    image = image if not any(inner) else image.crop(kept)
    return ImageOps.expand(image, tuple(max(n, 0) for n in around), pillow_fill("pad", fill, image))


def _places_behind(name: str, count: int, before: int, after: int, mode: str) -> Any:
    """Which of `count` places stands at each place of the padded image."""
    if mode == "reflect" and max(before, after) >= count:
        raise ShapeError(name, "the padding is as wide as the image", expected=f"below {count}",
                         got=str((before, after)), fix='padding_mode="symmetric" or "edge"')  # fmt: skip
    modes: Any = mode
    inner = np.arange(max(-before, 0), count - max(-after, 0))
    return np.pad(inner, (max(before, 0), max(after, 0)), mode=modes)


def _picked(image: Any, rows: Any, columns: Any) -> Any:
    """These rows and columns of the image."""
    if isinstance(image, Tensor):
        image = ops.index_select(image, -2, from_numpy(rows))
        return ops.index_select(image, -1, from_numpy(columns))
    from PIL import Image

    pixels = np.asarray(image)[rows[:, None], columns]
    if image.mode == "1":  # which packs eight pixels into a byte
        return Image.fromarray(pixels)
    out = Image.frombytes(image.mode, (len(columns), len(rows)), pixels.tobytes())
    if image.mode == "P":
        out.putpalette(image.getpalette())
    return out


def sides(name: str, padding: Any) -> tuple[int, int, int, int]:
    """Left, above, right, below."""
    given = integers(padding)
    if len(given) not in (1, 2, 4):
        raise OptionError(name, "the padding is not right", expected="1, 2 or 4 integers", got=repr(padding))
    left, above, right, below = given * (4 // len(given))
    return left, above, right, below


@on_images
def hflip(image: Any) -> Any:
    """The mirror image: left and right exchanged."""
    size_of("hflip", image)
    if isinstance(image, Tensor):
        return ops.flip(image, (-1,))
    from PIL import ImageOps

    return ImageOps.mirror(image)


@on_images
def vflip(image: Any) -> Any:
    """The image upside down."""
    size_of("vflip", image)
    if isinstance(image, Tensor):
        return ops.flip(image, (-2,))
    from PIL import ImageOps

    return ImageOps.flip(image)


@on_images
def rotate(
    image: Any, angle: float, interpolation: Any = "nearest", expand: bool = False,
    center: Sequence[float] | None = None, fill: Any = None,
) -> Any:  # fmt: skip
    """The image turned counter-clockwise.

    Args:
        angle: in degrees.
        interpolation: "nearest" or "bilinear"; for Pillow images, "bicubic" too.
        expand: whether the result is as large as the turned image; else it is as large as the image was. It
            is for turns around the middle.
        center: what the image turns around, (x, y) from its upper left corner; by default, its middle.
        fill: what stands where the image does not reach: 0, one number, or one for each channel.
    """
    mode = interpolation_of("rotate", interpolation)
    height, width = size_of("rotate", image)
    if is_pillow(image):
        return image.rotate(angle, pillow_filter("rotate", mode, *_TURNS, "bicubic"), expand, center,
                            fillcolor=pillow_fill("rotate", fill, image))  # fmt: skip
    inverse = inverse_matrix(-angle, (0, 0), 1.0, (0.0, 0.0), _from_middle(center, height, width))
    size = _size_of_turned(inverse, height, width) if expand else (height, width)
    return _warped("rotate", image, inverse, size, mode, fill)


@on_images
def affine(
    image: Any, angle: float, translate: Sequence[float], scale: float, shear: float | Sequence[float],
    interpolation: Any = "nearest", fill: Any = None, center: Sequence[float] | None = None,
) -> Any:  # fmt: skip
    """The image sheared, enlarged, turned clockwise and shifted, in this order.

    Args:
        angle: in degrees.
        translate: how far to the right, and how far down.
        scale: how many times as large.
        shear: the angle, in degrees, by which upright lines lean; or this and that of level lines.
        interpolation, fill, center: see `rotate`.
    """
    mode = interpolation_of("affine", interpolation)
    if scale <= 0 or len(translate) != 2:
        raise OptionError("affine", "scale is positive, translate has two numbers",
                          got=f"scale={scale}, translate={translate!r}")  # fmt: skip
    leaning = (float(shear), 0.0) if isinstance(shear, float | Real) else tuple(shear)
    leaning = leaning * 2 if len(leaning) == 1 else leaning
    if len(leaning) != 2:
        raise OptionError("affine", "shear is one angle or two", got=repr(shear))
    height, width = size_of("affine", image)
    around = _from_middle(center, height, width)
    inverse = inverse_matrix(angle, translate, scale, leaning, around)
    if not is_pillow(image):
        return _warped("affine", image, inverse, (height, width), mode, fill)
    from PIL import Image

    return image.transform(
        image.size, Image.Transform.AFFINE, _from_corner(inverse, height, width),
        pillow_filter("affine", mode, *_TURNS, "bicubic"),
        fillcolor=pillow_fill("affine", fill, image),
    )  # fmt: skip


def _from_middle(center: Sequence[float] | None, height: int, width: int) -> tuple[float, float]:
    return (0.0, 0.0) if center is None else (center[0] - width / 2, center[1] - height / 2)


def inverse_matrix(
    angle: float, translate: Sequence[float], scale: float, shear: Sequence[float],
    center: tuple[float, float],
) -> Any:  # fmt: skip
    """The matrix (2, 3) that says where a place of the result comes from: (x, y, 1) from the image's middle.

    Forwards, a place p goes to  R S (p - c) + c + t  with R = turn * scale, S = shears.
    """
    turn, lean_x, lean_y = (math.radians(a) for a in (angle, *shear))
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    upright = np.array([[1.0, -math.tan(lean_x)], [0.0, 1.0]])
    level = np.array([[1.0, 0.0], [-math.tan(lean_y), 1.0]])
    (a, b), (c, d) = rotation @ level @ upright  # of determinant 1
    back = np.array([[d, -b], [-c, a]]) / scale
    middle = np.array(center)
    return np.column_stack([back, middle - back @ (middle + np.array(translate))])


def _from_corner(inverse: Any, height: int, width: int) -> tuple[float, ...]:
    """The same matrix for places that are counted from the upper left corner, as Pillow takes it."""
    middle = np.array([width, height]) / 2
    shift = inverse[:, 2] + middle - inverse[:, :2] @ middle
    return tuple(np.column_stack([inverse[:, :2], shift]).ravel().tolist())


def _size_of_turned(inverse: Any, height: int, width: int) -> tuple[int, int]:
    """How high and wide a turned image is, by the places of its corners."""
    corners = np.array([[x, y] for x in (-width / 2, width / 2) for y in (-height / 2, height / 2)])
    # The transpose of a turn undoes it. Rounded: what is whole but for the last digits counts as whole.
    x, y = np.round(corners @ inverse[:, :2] + np.array([width, height]) / 2, 6).T
    return int(np.ceil(y.max()) - np.floor(y.min())), int(np.ceil(x.max()) - np.floor(x.min()))


def _warped(name: str, image: Tensor, inverse: Any, size: tuple[int, int], mode: str, fill: Any) -> Tensor:
    """What lies, in the image, at the places that the matrix says, for an image of that size."""
    if mode not in _TURNS:
        raise OptionError(name, "tensors have no such interpolation here", expected=", ".join(_TURNS),
                          got=repr(mode))  # fmt: skip
    x = as_floats(ops.reshape(image, (-1, image.shape[-3], math.prod(image.shape[-2:]))))
    numbers, shares = _sources(inverse, tuple(image.shape[-2:]), size, mode)
    weights = from_numpy(shares.astype(x.dtype.numpy))
    seen = ops.index_select(x, -1, from_numpy(numbers.ravel()))
    seen = ops.reshape(seen, (*x.shape[:-1], *numbers.shape))  # (N, C, neighbours, places)
    out = ops.sum(ops.where(weights > 0, seen * weights, 0.0), -2)
    fills = fill_of(name, fill, image.shape[-3])
    if any(fills):
        out = out + (1 - ops.sum(weights, 0)) * ops.reshape(_per_channel(fills, x), (-1, 1))
    return ops.reshape(rounded(out, image.dtype), (*image.shape[:-2], *size))


def _sources(inverse: Any, have: tuple[int, ...], size: tuple[int, int], mode: str) -> tuple[Any, Any]:
    """Where each place of the result comes from: numbers of places of the image, and how much each counts.

    Both are (neighbours, H' * W'): one neighbour, or the four around. What lies outside counts 0.
    """
    rows, columns = (np.arange(n) + 0.5 - n / 2 for n in size)
    places = np.stack(np.broadcast_arrays(columns, rows[:, None]), -1).reshape(-1, 2)
    x, y = (places @ inverse[:, :2].T + inverse[:, 2] + np.array(have[::-1]) / 2 - 0.5).T
    if mode == "nearest":
        taps = [(np.rint(y), np.rint(x), np.ones_like(x))]
    else:
        top, left = np.floor(y), np.floor(x)
        down, right = y - top, x - left
        taps = [
            (top + i, left + j, (down if i else 1 - down) * (right if j else 1 - right))
            for i in (0, 1) for j in (0, 1)
        ]  # fmt: skip
    numbers, shares = [], []
    for row, column, share in taps:
        inside = (row >= 0) & (row < have[0]) & (column >= 0) & (column < have[1])
        numbers.append(np.where(inside, row * have[1] + column, 0).astype(np.int64))
        shares.append(np.where(inside, share, 0.0))
    return np.stack(numbers), np.stack(shares)


def erase(image: Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Tensor:
    """The image with a rectangle overwritten. Tensors only.

    Args:
        i, j: the upper left corner; h, w: height and width.
        v: what is written: a number, or a tensor that broadcasts.
        inplace: whether the tensor itself is changed.
    """
    out = image if inplace else ops.clone(image)
    out[..., i : i + h, j : j + w] = v
    return out


def as_floats(x: Tensor) -> Tensor:
    """What interpolation computes with: float32 or float64."""
    return x if x.dtype.is_floating_point and not x.dtype.is_half else x.float()


def rounded(x: Tensor, dtype: Any) -> Tensor:
    """Back to the image's type; to the nearest integer within its range, where that is one."""
    if dtype.is_floating_point:
        return x.to(dtype)
    return ops.clamp(ops.round(x), dtype.min, dtype.max).to(dtype)


def _per_channel(numbers: list[float], like: Tensor) -> Tensor:
    return ops.reshape(tensor(numbers, dtype=like.dtype), (-1, 1, 1))
