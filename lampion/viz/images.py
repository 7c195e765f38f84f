"""Many images in one picture: as a grid, in rows with names, and all over a plane of latent numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from lampion.construct import tensor
from lampion.errors import OptionError, ShapeError
from lampion.mode import no_grad
from lampion.tensor import Tensor
from lampion.viz import canvas
from lampion.viz.pixels import shades_of

_DPI = 150  # of the PNG files
_SIDE, _TITLE, _LINE = 0.12, 0.42, 0.26  # inches: margins, the headline, a line of names
_PAPER = 0.93  # the grey between images


def image_grid(
    images: Tensor, path: str | os.PathLike[str] | None = None, *, columns: int | None = None,
    title: str = "", ink: bool = True,
) -> canvas.Picture:  # fmt: skip
    """Draw images as a grid, row by row.

    Args:
        images: (N, C, H, W) with C = 1 or 3, or (N, H, W); floats from 0 to 1, what is beyond is cut off.
        path: a file to write.
        columns: how many stand beside each other; by default as many as make about a square.
        title: stands above the grid.
        ink: whether grey images are drawn as ink on paper: 0 white, 1 black. Colours are not touched.
    """
    pixels = _pixels("image_grid", images, ink)
    across = columns if columns is not None else max(1, round(len(pixels) ** 0.5))
    if across < 1:
        raise OptionError("image_grid", "columns is not positive", expected="1 or more", got=str(columns))
    rows = [pixels[start : start + across] for start in range(0, len(pixels), across)]
    return _drawn(rows, path, title)


def image_rows(
    rows: Mapping[str, Tensor] | Sequence[Tensor], path: str | os.PathLike[str] | None = None, *,
    title: str = "", columns: Sequence[str] = (), ink: bool = True,
) -> canvas.Picture:  # fmt: skip
    """Draw rows of images, each with its name: originals above reconstructions, or epoch after epoch.

    Args:
        rows: by name, the images of a row, as `image_grid` takes them; or a list, for rows without names.
        path: a file to write.
        title: stands above the rows.
        columns: names that stand above the columns.
        ink: whether grey images are drawn as ink on paper: 0 white, 1 black.
    """
    names = list(rows) if isinstance(rows, Mapping) else []
    lines = list(rows.values()) if isinstance(rows, Mapping) else list(rows)
    if not lines:
        raise ShapeError("image_rows", "there are no rows", expected="at least one")
    pixels = [_pixels("image_rows", images, ink) for images in lines]
    if len({row.shape[1:3] for row in pixels}) > 1:
        raise ShapeError("image_rows", "images of one picture have one size",
                         got=", ".join(f"{row.shape[1]} x {row.shape[2]}" for row in pixels),
                         fix="F.interpolate makes images larger or smaller")  # fmt: skip
    if len(columns) > max(map(len, pixels)):
        raise ShapeError("image_rows", "there are more names than columns",
                         expected=f"at most {max(map(len, pixels))}", got=str(len(columns)))  # fmt: skip
    return _drawn(pixels, path, title, names, columns)


def manifold(
    decode: Callable[[Tensor], Tensor], path: str | os.PathLike[str] | None = None, *, count: int = 20,
    title: str = "", spread: float = 0.98, ink: bool = True,
) -> canvas.Picture:  # fmt: skip
    """Draw what a decoder makes of each point of a plane: the images that lie between the images.

    The points are as dense as a normal distribution is: a cell of the picture is as probable as any other.

    Args:
        decode: maps points (N, 2) to images, as `image_grid` takes them. A module is put into evaluation
            mode meanwhile.
        path: a file to write.
        count: how many images the picture has across, and up.
        title: stands above the picture.
        spread: the share of the normal distribution that is shown, in each direction.
        ink: whether grey images are drawn as ink on paper: 0 white, 1 black.
    """
    if count < 1 or not 0 < spread < 1:
        raise OptionError("manifold", "no such plane", expected="count >= 1 and 0 < spread < 1",
                          got=f"count={count}, spread={spread}")  # fmt: skip
    shares = 0.5 + spread * ((np.arange(count) + 0.5) / count - 0.5)
    places = [NormalDist().inv_cdf(float(share)) for share in shares]
    points = [(x, y) for y in reversed(places) for x in places]  # up is larger
    pixels = _pixels("manifold", _evaluated(decode, tensor(points)), ink)
    if len(pixels) != count * count:
        raise ShapeError("manifold", "the decoder makes something else than an image of each point",
                         expected=f"{count * count} images", got=str(len(pixels)))  # fmt: skip
    rows = [pixels[start : start + count] for start in range(0, len(pixels), count)]
    ticks = sorted({0, count // 4, count // 2, count - 1 - count // 4, count - 1})
    with canvas.style():
        drawing, axes, step = _sheet(rows, title, gap=0, left=0.7, below=0.45)
        axes.set_axis_on()
        axes.set_xticks([(i + 0.5) * step[1] - 0.5 for i in ticks], [_short(places[i]) for i in ticks])
        axes.set_yticks([(i + 0.5) * step[0] - 0.5 for i in ticks], [_short(places[-1 - i]) for i in ticks])
        axes.set_xlabel("$z_1$", labelpad=2)
        axes.set_ylabel("$z_2$", rotation=0, labelpad=6, va="center")
        axes.tick_params(length=2, labelsize=8)
        return canvas.finished(drawing, path)


def _short(number: float) -> str:
    return f"{number:.1f}".replace("-", "−")


def _evaluated(model: Any, inputs: Tensor) -> Tensor:
    """What a function, or a module in evaluation mode, makes of some inputs, without gradients."""
    training = getattr(model, "training", False)
    if training:
        model.eval()
    try:
        with no_grad():
            return model(inputs)  # type: ignore[no-any-return]  # as the model
    finally:
        if training:
            model.train()


# -- drawing -----------------------------------------------------------------------------------------------


def _pixels(operation: str, images: Tensor, ink: bool) -> Any:
    """Images as (N, H, W, 3), from 0 to 1, as they are to look."""
    array = shades_of(operation, images).clip(0, 1)
    shape = array.shape
    if not (len(shape) == 3 or (len(shape) == 4 and shape[1] in (1, 3))) or 0 in shape:
        raise ShapeError(operation, "these are not images",
                         expected="(N, 1, H, W), (N, 3, H, W) or (N, H, W)",
                         got=str(shape), fix="one image: images[None]")  # fmt: skip
    if len(shape) == 4 and shape[1] == 3:
        return array.transpose(0, 2, 3, 1)
    grey = array.reshape(shape[0], *shape[-2:])
    return np.repeat((1 - grey if ink else grey)[..., None], 3, -1)


def _sheet(
    rows: Sequence[Any], title: str, gap: int, left: float = _SIDE, above: float = 0.0, below: float = _SIDE
) -> tuple[Any, Any, tuple[int, int]]:
    """A figure with the rows on it as one image, whose pixels are as large as they can evenly be.

    Returns it, its axes, and how many pixels it is from an image to the one below and beside.
    """
    height, width = rows[0].shape[1:3]
    step = height + gap, width + gap
    across = max(map(len, rows))
    sheet = np.ones((len(rows) * step[0] + gap, across * step[1] + gap, 3), np.float32)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, start = i * step[0], j * step[1]
            sheet[top : top + height + 2 * gap, start : start + width + 2 * gap] = _PAPER
            sheet[top + gap : top + gap + height, start + gap : start + gap + width] = image
    scale = max(1, 900 // max(sheet.shape[:2]))
    high, wide = (scale * side / _DPI for side in sheet.shape[:2])
    head = above + (_TITLE if title else _SIDE)
    whole = max(left + wide + _SIDE, 0.09 * len(title)), high + head + below
    drawing = canvas.figure(*whole)
    drawing.set_layout_engine("none")
    axes = drawing.add_axes((left / whole[0], below / whole[1], wide / whole[0], high / whole[1]))
    axes.imshow(sheet, interpolation="nearest", aspect="auto", vmin=0, vmax=1)
    axes.set_axis_off()
    axes.grid(False)
    if title:
        drawing.text(_SIDE / whole[0], 1 - 0.5 * _TITLE / whole[1], title, va="center", fontsize=11,
                     color=canvas.GREY)  # fmt: skip
    return drawing, axes, step


def _drawn(
    rows: Sequence[Any], path: str | os.PathLike[str] | None, title: str, names: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> canvas.Picture:  # fmt: skip
    """Rows of images with space between them, and names beside and above."""
    with canvas.style():
        left = _SIDE + (0.075 * max(map(len, names)) + 0.12 if names else 0)
        gap = max(1, rows[0].shape[2] // 28)
        drawing, axes, step = _sheet(rows, title, gap, left, above=_LINE if columns else 0.0)
        for i, name in enumerate(names):
            axes.annotate(name, (0, (i + 0.5) * step[0]), (-6, 0), "data", "offset points", ha="right",
                          va="center", fontsize=9)  # fmt: skip
        for j, name in enumerate(columns):
            axes.annotate(name, ((j + 0.5) * step[1], 0), (0, 5), "data", "offset points", ha="center",
                          va="bottom", fontsize=9)  # fmt: skip
        return canvas.finished(drawing, path)
