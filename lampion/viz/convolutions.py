"""What convolutions see: filters, feature maps, and heat maps over images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lampion.errors import LampionError, OptionError, ShapeError
from lampion.mode import no_grad, uncompiled
from lampion.nn import Module
from lampion.tensor import Tensor
from lampion.viz import canvas
from lampion.viz.pixels import array_of, shades_of


def filters(
    weights: Tensor | Mapping[str, Tensor], path: str | os.PathLike[str] | None = None, *, title: str = "",
    columns: int = 8, limit: int = 64, alone: bool = False,
) -> canvas.Picture:  # fmt: skip
    """The filters of a convolution as small pictures: blue is positive, white 0, red negative.

    Args:
        weights: of a convolution, (filters, channels, height, width); or several by their headings, to
            compare: before and after training, say. The heading tells the largest absolute number.
        path: a file to write.
        title: stands above all.
        columns: how many filters stand beside each other.
        limit: how many at most are drawn of each.
        alone: whether each filter has a scale of its own, so that the faint ones show their form too;
            otherwise those of one convolution share theirs.

    Filters of three channels are drawn in colours, grey being 0. Where there are other numbers of channels,
    each channel of a filter is a picture.
    """
    groups = dict(weights) if isinstance(weights, Mapping) else {"": weights}
    if not groups:
        raise LampionError("filters", "there are no weights to show")
    with canvas.style():
        tiles = {name: _planes(weight, limit, alone) for name, weight in groups.items()}
        rows = max(-(-len(planes) // columns) for planes, _ in tiles.values())
        across = min(columns, max(len(planes) for planes, _ in tiles.values()))
        size = 0.5 if across > 4 else 0.75
        drawing, axes = canvas.panels(len(tiles), max(2.2, size * across), size * rows + 0.35, len(tiles))
        for cell, (name, (planes, largest)) in zip(axes, tiles.items(), strict=True):
            scale = f"{'up to ' if alone else ''}±{largest:.2g}" if largest else "all 0"
            _mosaic(cell, planes, across, "RdBu", (-1, 1))
            cell.set_anchor("NW")
            cell.set_title(f"{name} ({scale})" if name else scale, fontsize=10, pad=5)
        return canvas.finished(drawing, path, title)


def feature_maps(
    model: Module | Mapping[str, Tensor], image: Tensor | None = None,
    path: str | os.PathLike[str] | None = None, *, title: str = "", columns: int = 16, limit: int = 32,
    layers: tuple[type, ...] | None = None,
) -> canvas.Picture:  # fmt: skip
    """What each layer makes of an image: a map for each of its channels, the darker the larger.

    Args:
        model: a module, which is run once, in the mode that it is in; or the maps to show, (channels, height,
            width), by name.
        image: the input of the module, (channels, height, width), or a batch of one. It is drawn first.
        path: a file to write.
        title: stands above all.
        columns: how many maps stand beside each other.
        limit: how many at most are drawn of a layer.
        layers: only modules of these classes; otherwise all that have no modules in them, and put out maps.

    Each map has its own scale, from its smallest (white) to its largest number (black); one that is the same
    everywhere is white.
    """
    if isinstance(model, Module):
        if not isinstance(image, Tensor):
            raise LampionError("feature_maps", "a module needs an image", expected="a tensor",
                               got=type(image).__name__, fix="feature_maps(model, image)")  # fmt: skip
        batch = image if image.ndim == 4 else image.unsqueeze(0)
        if batch.ndim != 4 or batch.shape[0] != 1:
            raise ShapeError("feature_maps", "one image is looked at", expected="(C, H, W) or (1, C, H, W)",
                             got=str(tuple(image.shape)), fix="images[:1]")  # fmt: skip
        found = {"input": array_of("feature_maps", batch)[0], **_maps(model, batch, layers)}
    else:
        found = _given(model)
    shown = {name: maps[:limit] for name, maps in found.items()}
    with canvas.style():
        across = min(columns, max(len(maps) for maps in shown.values()))
        heights = [-(-len(maps) // across) for maps in shown.values()]
        tile = min(0.75, 12 / across)
        drawing = canvas.figure(tile * across + 0.4, sum(tile * h + 0.42 for h in heights) + 0.3)
        cells = drawing.subplots(len(shown), 1, squeeze=False, height_ratios=heights).ravel()
        for cell, (name, maps) in zip(cells, shown.items(), strict=True):
            count = f", {len(maps)} of {len(found[name])} channels" if len(maps) < len(found[name]) else ""
            _mosaic(cell, [_stretched(plane) for plane in maps], across, "gray_r", (0, 1))
            size = " x ".join(map(str, found[name].shape[-2:]))
            cell.set_title(f"{name}: {size}{count}", fontsize=9, fontweight="normal", pad=4)
            cell.set_anchor("W")
        return canvas.finished(drawing, path, title)


def heat_maps(
    images: Tensor, heat: Tensor, path: str | os.PathLike[str] | None = None, *,
    captions: Sequence[str] | None = None, title: str = "", columns: int = 6, opacity: float = 0.8,
) -> canvas.Picture:  # fmt: skip
    """Heat over images, as `vision.grad_cam` finds it: an image, and below it the image under its heat.

    Args:
        images: (N, 1, H, W), 0 drawn white and 1 black; or (N, 3, H, W), colours from 0 to 1.
        heat: (N, H, W), from 0 (nothing is laid over the image) to 1 (dark red).
        path: a file to write.
        captions: a text for each image.
        title: stands above all.
        columns: how many images stand beside each other.
        opacity: how much the hottest place hides of the image.
    """
    pixels, heats = shades_of("heat_maps", images), array_of("heat_maps", heat)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or 0 in pixels.shape:
        raise ShapeError("heat_maps", "these are no images", expected="(N, 1, H, W) or (N, 3, H, W)",
                         got=str(pixels.shape))  # fmt: skip
    wanted = (pixels.shape[0], *pixels.shape[2:])
    if heats.shape != wanted:
        raise ShapeError("heat_maps", "there is one number of heat for each pixel", expected=str(wanted),
                         got=str(heats.shape))  # fmt: skip
    if captions is not None and len(captions) != len(pixels):
        raise OptionError("heat_maps", "there is one caption for each image", expected=str(len(pixels)),
                          got=str(len(captions)))  # fmt: skip
    across = min(columns, len(pixels))
    rows = -(-len(pixels) // across)
    with canvas.style():
        drawing = canvas.figure(1.9 * across, (3.75 + 0.3 * (captions is not None)) * rows + 0.4)
        cells = drawing.subplots(2 * rows, across, squeeze=False)
        for cell in cells.ravel():
            cell.set(xticks=[], yticks=[], frame_on=False)
        for i, (image, warm) in enumerate(zip(pixels, heats, strict=True)):
            above, below = (cells[2 * (i // across) + row, i % across] for row in (0, 1))
            _picture(above, image)
            _picture(below, image, ink=1.6)  # greyer, so that colours show on it
            below.imshow(warm, cmap="YlOrRd", vmin=0, vmax=1, interpolation="bilinear",
                         alpha=opacity * warm.clip(0, 1) ** 0.5)  # fmt: skip
            if captions is not None:
                above.set_title(captions[i], loc="center", fontsize=9, fontweight="normal", pad=5)
        return canvas.finished(drawing, path, title)


def _planes(weight: Tensor, limit: int, alone: bool) -> tuple[list[Any], float]:
    """The pictures of a convolution's filters, divided by the largest absolute number, and that number."""
    values = array_of("filters", weight)
    if values.ndim != 4 or 0 in values.shape:
        raise ShapeError("filters", "these are no weights of a two-dimensional convolution",
                         expected="(filters, channels, height, width)", got=str(values.shape))  # fmt: skip
    largest = float(np.abs(values).max(initial=0.0))
    scale = np.abs(values).max((1, 2, 3), keepdims=True) if alone else np.float32(largest)
    values = values / np.where(scale > 0, scale, 1)
    if values.shape[1] == 3:
        return list((values[:limit].transpose(0, 2, 3, 1) + 1) / 2), largest
    return list(values.reshape(-1, *values.shape[2:])[:limit]), largest


def _given(named: Any) -> dict[str, Any]:
    """Maps that are handed over, (channels, height, width) each."""
    if not isinstance(named, Mapping) or not named:
        raise LampionError("feature_maps", "there are no maps to show", expected="a module, or maps by name",
                           got=repr(named) if isinstance(named, Mapping) else type(named).__name__,
                           )  # fmt: skip
    found = {name: array_of("feature_maps", maps) for name, maps in named.items()}
    for name, maps in found.items():
        if maps.ndim != 3 or 0 in maps.shape:
            raise ShapeError("feature_maps", f"{name!r} has no maps", expected="(channels, height, width)",
                             got=str(maps.shape))  # fmt: skip
    return found


def _maps(model: Module, batch: Tensor, layers: tuple[type, ...] | None) -> dict[str, Any]:
    """The maps that come out of each layer, (channels, height, width), in the order in which they run."""
    found: dict[str, Any] = {}
    handles = []

    def listener(name: str) -> Any:
        def hook(module: Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                heading = f"{name}: {type(module).__name__}" if name else type(module).__name__
                found.setdefault(heading, array_of("feature_maps", output)[0])

        return hook

    for name, module in model.named_modules():
        if isinstance(module, layers) if layers else not any(True for _ in module.children()):
            handles.append(module.register_forward_hook(listener(name)))
    try:
        with no_grad(), uncompiled():
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise LampionError("feature_maps", "no layer puts out maps", expected="(1, channels, height, width)",
                           fix="name other classes in layers=")  # fmt: skip
    return found


def _stretched(plane: Any) -> Any:
    low, high = float(plane.min()), float(plane.max())
    return (plane - low) / (high - low) if high > low else np.zeros_like(plane)


def _mosaic(
    axes: Any, planes: Sequence[Any], columns: int, colours: str, limits: tuple[float, float]
) -> None:
    """Small pictures of one size in rows, with a line between them."""
    height, width = planes[0].shape[:2]
    rows = -(-len(planes) // columns)
    gap = max(height, width) / 8
    axes.axis("off")
    axes.set_aspect("equal")
    for i, plane in enumerate(planes):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        place = (left - 0.5, left + width - 0.5, top + height - 0.5, top - 0.5)
        axes.imshow(plane, cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="nearest",
                    extent=place)  # fmt: skip
        axes.add_patch(_frame(place))
    axes.set_xlim(-0.5 - gap / 2, columns * (width + gap) - gap / 2 - 0.5)
    axes.set_ylim(rows * (height + gap) - gap / 2 - 0.5, -0.5 - gap / 2)


def _frame(place: tuple[float, float, float, float]) -> Any:
    from matplotlib.patches import Rectangle

    left, right, bottom, top = place
    look: dict[str, Any] = {"fill": False, "edgecolor": canvas.FAINT, "linewidth": 0.6}
    return Rectangle((left, top), right - left, bottom - top, **look)


def _picture(axes: Any, image: Any, ink: float = 1.0) -> None:
    """An image in a frame; if it is grey, `ink` is what would be black."""
    axes.set_frame_on(True)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=canvas.FAINT)
    if image.shape[0] == 1:
        axes.imshow(image[0], cmap="gray_r", vmin=0, vmax=ink, interpolation="nearest")
    else:
        axes.imshow(image.transpose(1, 2, 0).clip(0, 1), interpolation="nearest")
