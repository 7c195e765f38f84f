"""Pictures of a plane: what a classifier says everywhere, and how optimizers walk down a valley."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lampion.construct import tensor
from lampion.errors import ShapeError
from lampion.mode import no_grad
from lampion.tensor import Tensor
from lampion.viz import canvas


def decision_boundary(
    model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, path: str | os.PathLike[str] | None = None,
    *, title: str = "", classes: Sequence[str] | None = None, resolution: int = 240, margin: float = 0.08,
) -> canvas.Picture:  # fmt: skip
    """Colour the plane by the class that a model sees there, paler where it is less sure; with the data.

    Args:
        model: maps points (N, 2) to scores before softmax, (N, classes), or to one score (N,) or (N, 1)
            whose sign decides. A module is put into evaluation mode meanwhile.
        x: (N, 2), the points.
        y: (N,), their classes: integers.
        path: a file to write.
        title: stands above the picture.
        classes: the names of the classes; their numbers unless given.
        resolution: how many points across the model is asked about.
        margin: how far the picture goes beyond the data, as a share of its width.
    """
    if x.ndim != 2 or x.shape[1] != 2:
        raise ShapeError("decision_boundary", "the points must lie in a plane", expected="x of shape (N, 2)",
                         got=str(tuple(x.shape)))  # fmt: skip
    points, truth = x.detach().numpy(), y.detach().numpy().reshape(-1).astype(int)
    low, high = points.min(0), points.max(0)
    room = margin * np.maximum(high - low, 1e-6)
    low, high = low - room, high + room
    across = np.linspace(low[0], high[0], resolution)
    up = np.linspace(low[1], high[1], resolution)
    grid = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
    seen = _probabilities(model, tensor(grid, dtype=x.dtype))
    count = max(seen.shape[1], int(truth.max(initial=0)) + 1)
    names = classes if classes is not None else [f"class {c}" for c in range(count)]
    with canvas.style():
        from matplotlib.colors import to_rgb

        colours = np.array([to_rgb(canvas.CLASSES[c % len(canvas.CLASSES)]) for c in range(count)])
        drawing = canvas.figure(6.4, 5.6)
        axes = drawing.subplots()
        best, sure = seen.argmax(1), seen.max(1)
        depth = 0.10 + 0.32 * ((sure - 1 / seen.shape[1]) / (1 - 1 / seen.shape[1]))
        shades = 1 - (1 - colours[best]) * depth[:, None]
        extent = (low[0], high[0], low[1], high[1])
        axes.imshow(shades.reshape(resolution, resolution, 3), origin="lower", extent=extent, aspect="auto",
                    interpolation="bilinear")  # fmt: skip
        for c in np.unique(best):
            # How much surer of this class than of any other: the border lies where that passes 0.
            lead = (seen[:, c] - np.delete(seen, c, 1).max(1)).reshape(resolution, resolution)
            if lead.min() < 0:
                axes.contour(across, up, lead, [0.0], colors="#444444", linewidths=1.1)
        for c in range(count):
            chosen = truth == c
            axes.scatter(*points[chosen].T, s=18, color=colours[c], edgecolors="white", linewidths=0.6,
                         label=names[c], zorder=3)  # fmt: skip
        axes.grid(False)
        axes.set_xlabel("$x_1$")
        axes.set_ylabel("$x_2$")
        wrong = _wrong(model, x, truth)
        axes.set_title(f"{(len(truth) - wrong) / max(1, len(truth)):.1%} of {len(truth)} points right")
        axes.legend(frameon=True, framealpha=0.9, edgecolor="none", loc="upper right", fontsize=9)
        return canvas.finished(drawing, path, title)


def _probabilities(model: Any, points: Tensor) -> Any:
    """What the model gives to each class, at each point."""
    training = getattr(model, "training", False)
    if training:
        model.eval()
    try:
        with no_grad():
            scores = model(points).detach().numpy().astype(np.float64)
    finally:
        if training:
            model.train()
    scores = scores.reshape(len(points), -1)
    if scores.shape[1] == 1:
        scores = np.concatenate([-scores / 2, scores / 2], 1)
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _wrong(model: Any, x: Tensor, truth: Any) -> int:
    return int((_probabilities(model, x.detach()).argmax(1) != truth).sum())


def optimizer_paths(
    function: Callable[[Tensor, Tensor], Tensor],
    start: tuple[float, float],
    optimizers: Mapping[str, Callable[[list[Tensor]], Any]],
    path: str | os.PathLike[str] | None = None,
    *, steps: int = 30, title: str = "", limits: tuple[float, float, float, float] | None = None,
    minimum: tuple[float, float] | None = (0.0, 0.0),
) -> canvas.Picture:  # fmt: skip
    """Walk down a function of two numbers with several optimizers, and draw their ways over its contours.

    Args:
        function: of two tensors of one shape, element by element: ``lambda x, y: x**2 / 20 + y**2``.
        start: where all begin.
        optimizers: by name, what makes each of them: ``lambda params: optim.SGD(params, lr=0.95)``.
        path: a file to write.
        steps: how many each one takes.
        title: stands above the pictures.
        limits: (left, right, bottom, top) of the pictures.
        minimum: where the function is least: marked by a cross. None leaves that out.
    """
    ways = {name: _walked(function, start, make, steps) for name, make in optimizers.items()}
    left, right, bottom, top = _limits(list(ways.values()), minimum) if limits is None else limits
    across, up = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200))
    with no_grad():
        heights = function(tensor(across), tensor(up)).detach().numpy()
    with canvas.style():
        drawing, panels = canvas.panels(len(ways), 4.4, 3.5, columns=2)
        # Spread over the whole picture, however steep it is, and closer together in the valley.
        levels = np.unique(np.nanquantile(heights, np.linspace(0.012, 0.97, 14) ** 1.3))
        size = min(3.2, 160 / steps)
        for axes, (name, way) in zip(panels, ways.items(), strict=True):
            axes.contour(across, up, heights, levels, colors=canvas.GREY, linewidths=0.7, alpha=0.55)
            axes.plot(*way.T, color=canvas.ORANGE, linewidth=1.3, marker="o", markersize=size)
            axes.plot(*way[0], marker="o", color=canvas.INK, markersize=5)
            if minimum is not None:
                axes.plot(*minimum, marker="+", color=canvas.BLUE, markersize=11, markeredgewidth=2)
            axes.grid(False)
            axes.set_xlim(left, right)
            axes.set_ylim(bottom, top)
            axes.set_xlabel("$x$")
            axes.set_ylabel("$y$", rotation=0, labelpad=8)
            value = float(function(*(tensor(float(v)) for v in way[-1])).item())
            axes.set_title(name)
            axes.set_title(f"after {steps} steps: {value:.3g}", loc="right", fontsize=9, fontweight="normal",
                           color=canvas.GREY)  # fmt: skip
        return canvas.finished(drawing, path, title)


def _walked(function: Any, start: tuple[float, float], make: Any, steps: int) -> Any:
    """The points that an optimizer passes: (steps + 1, 2)."""
    x, y = (tensor(float(value), requires_grad=True) for value in start)
    optimizer = make([x, y])
    points = [(x.item(), y.item())]
    for _ in range(steps):
        optimizer.zero_grad()
        function(x, y).backward()
        optimizer.step()
        points.append((x.item(), y.item()))
    return np.array(points)


def _limits(ways: list[Any], minimum: tuple[float, float] | None) -> tuple[float, float, float, float]:
    points = np.concatenate(ways + ([np.array([minimum])] if minimum is not None else []))
    points = points[np.isfinite(points).all(1)]
    (left, bottom), (right, top) = points.min(0), points.max(0)
    across, up = 0.12 * max(right - left, 1e-6), 0.2 * max(top - bottom, 1e-6)
    return left - across, right + across, bottom - up, top + up


def scatter(
    points: Tensor, labels: Tensor, path: str | os.PathLike[str] | None = None, *, title: str = "",
    classes: Sequence[str] | None = None, limit: int = 5000,
) -> canvas.Picture:  # fmt: skip
    """Draw labelled points of a plane: where an encoder puts images, or a table of vectors its words.

    Args:
        points: (N, 2).
        labels: (N,), their classes: integers.
        path: a file to write.
        title: stands above the picture.
        classes: the names of the classes; their numbers unless given. Each stands where its class lies.
        limit: how many points are drawn at most: the first ones.
    """
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError("scatter", "the points must lie in a plane", expected="points of shape (N, 2)",
                         got=str(tuple(points.shape)))  # fmt: skip
    if tuple(labels.shape) != tuple(points.shape[:1]):
        raise ShapeError("scatter", "there is one label for each point", expected=f"({points.shape[0]},)",
                         got=str(tuple(labels.shape)))  # fmt: skip
    places = points.detach().numpy()[:limit]
    kinds = labels.detach().numpy()[:limit].astype(int)
    with canvas.style():
        drawing = canvas.figure(6.4, 6.0)
        axes = drawing.subplots()
        found = np.unique(kinds)
        middles = np.array([np.median(places[kinds == kind], 0) for kind in found])
        size = np.ptp(places, axis=0).max(initial=0.0)
        for kind, middle in zip(found, _apart(middles, 0.055 * size), strict=True):
            own, colour = places[kinds == kind], canvas.CLASSES[kind % len(canvas.CLASSES)]
            axes.scatter(*own.T, s=min(18.0, 2.0 + 6000 / len(places)), color=colour, alpha=0.6, linewidths=0)
            name = classes[kind] if classes is not None else str(kind)
            frame = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colour, "alpha": 0.9}
            axes.text(*middle, name, ha="center", va="center", fontsize=10, fontweight="bold",
                      color=colour, bbox=frame)  # fmt: skip
        axes.set_aspect("equal", "datalim")
        axes.grid(False)
        return canvas.finished(drawing, path, title)


def _apart(places: Any, least: float) -> Any:
    """Places (N, 2) that were too close to each other, moved until they are that far apart, or nearly."""
    places = places.astype(np.float64)
    for _ in range(100):
        gaps = places[:, None] - places
        lengths = np.hypot(gaps[..., 0], gaps[..., 1])
        close = np.triu(lengths < least, 1)
        if not close.any():
            break
        for i, j in np.argwhere(close):
            # Those in one place part to the right and left.
            way = gaps[i, j] / lengths[i, j] if lengths[i, j] else np.array([1.0, 0.0])
            push = 0.51 * (least - lengths[i, j]) * way
            places[i] += push
            places[j] -= push
    return places
