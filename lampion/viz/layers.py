"""What is inside a network, layer by layer: activations, weights, gradients."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from lampion.errors import LampionError
from lampion.mode import no_grad, uncompiled
from lampion.nn import Module
from lampion.tensor import Tensor
from lampion.viz import canvas


def activations(
    model: Module | Mapping[str, Tensor], x: Any = None, path: str | os.PathLike[str] | None = None,
    *, title: str = "", bins: int = 40, layers: tuple[type, ...] | None = None,
) -> canvas.Picture:  # fmt: skip
    """Histograms of what each layer puts out: dead or saturated ones, and badly scaled weights, show at once.

    Args:
        model: a module, which is run once, in the mode that it is in; or the tensors to show, by name.
        x: the input of the module; a tuple for several.
        path: a file to write.
        title: stands above all panels.
        bins: how many bars a histogram has at most.
        layers: only modules of these classes; otherwise all that have no modules in them.
    """
    if isinstance(model, Module):
        values = _outputs(model, x if isinstance(x, tuple) else (x,), layers)
    else:
        values = {name: _flat(tensor) for name, tensor in model.items()}
    if not values:
        raise LampionError("activations", "there is no layer to show", fix="name other classes in layers=")
    return _histograms(values, path, title, bins, canvas.BLUE)


def weights(
    model: Module | Mapping[str, Tensor], path: str | os.PathLike[str] | None = None, *, title: str = "",
    bins: int = 40,
) -> canvas.Picture:  # fmt: skip
    """Histograms of a model's parameters, or of the tensors of a mapping."""
    named = dict(model.named_parameters()) if isinstance(model, Module) else model
    if not named:
        raise LampionError("weights", "the model has no parameters")
    return _histograms({name: _flat(p) for name, p in named.items()}, path, title, bins, "#009e73")


def gradient_flow(
    model: Module, path: str | os.PathLike[str] | None = None, *, title: str = ""
) -> canvas.Picture:
    """How large the gradient of each parameter is: its mean and its greatest absolute value.

    From the first layer (top) to the last. Bars that shrink towards the top are gradients that vanish.
    Call it after `backward`.
    """
    named = list(model.named_parameters())
    sizes = []
    for _, p in named:
        gradient = None if p.grad is None else np.abs(_flat(p.grad))
        sizes.append((0.0, 0.0) if gradient is None or not gradient.size else
                     (float(gradient.mean()), float(gradient.max())))  # fmt: skip
    if all(p.grad is None for _, p in named):
        raise LampionError("gradient_flow", "no parameter has a gradient", fix="call loss.backward() first")
    with canvas.style():
        drawing = canvas.figure(7.5, 1.5 + 0.34 * len(named))
        axes = drawing.subplots()
        rows = np.arange(len(named))
        positive = [size for pair in sizes for size in pair if 0 < size < np.inf]
        floor = min(positive, default=1e-3) / 3
        means, greatest = (np.array(column) for column in zip(*sizes, strict=True))
        axes.barh(rows, np.maximum(greatest, floor), height=0.72, left=0, color="#a9cfe6", label="greatest")
        axes.barh(rows, np.maximum(means, floor), height=0.36, color=canvas.BLUE, label="mean")
        axes.set_xscale("log")
        axes.set_xlim(left=floor, right=max(positive, default=1.0) * 2)
        for row, ((_, p), (mean, _)) in enumerate(zip(named, sizes, strict=True)):
            if not mean:
                what = "no gradient" if p.grad is None else "all zero"
                axes.text(floor * 1.15, row, what, va="center", fontsize=9, color=canvas.ORANGE)
        axes.set_yticks(rows, [name for name, _ in named])
        axes.set_ylim(len(named) - 0.4, -0.6)
        axes.grid(False, axis="y")
        axes.set_xlabel("absolute value")
        axes.set_title("Gradients by parameter")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.62, 1.0), ncols=2, borderaxespad=0.2)
        return canvas.finished(drawing, path, title)


def _flat(x: Tensor) -> Any:
    values = x.detach().numpy().reshape(-1)
    return values if values.dtype.kind in "fiu" else values.astype(np.float32)


def _outputs(model: Module, inputs: tuple[Any, ...], layers: tuple[type, ...] | None) -> dict[str, Any]:
    """The output of each layer, in the order in which they run; a layer called twice counts twice."""
    found: dict[str, Any] = {}
    handles = []

    def listener(name: str) -> Any:
        def hook(module: Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                title = f"{name}: {type(module).__name__}" if name else type(module).__name__
                again = sum(key.split(" (")[0] == title for key in found)
                found[f"{title} ({again + 1})" if again else title] = _flat(output).copy()

        return hook

    for name, module in model.named_modules():
        if isinstance(module, layers) if layers else not any(True for _ in module.children()):
            handles.append(module.register_forward_hook(listener(name)))
    try:
        with no_grad(), uncompiled():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _histograms(
    values: dict[str, Any], path: str | os.PathLike[str] | None, title: str, bins: int, colour: str
) -> canvas.Picture:
    with canvas.style():
        columns = len(values) if len(values) < 6 else 4
        drawing, panels = canvas.panels(len(values), 3.3, 2.5, columns)
        for axes, (name, array) in zip(panels, values.items(), strict=True):
            finite = array[np.isfinite(array)].astype(np.float64)
            axes.set_title(name, fontsize=10)
            axes.yaxis.set_visible(False)
            axes.spines["left"].set_visible(False)
            axes.grid(False)
            if not finite.size:
                axes.text(0.5, 0.5, "no finite number", transform=axes.transAxes, ha="center")
                continue
            bars = min(bins, max(5, int(2 * finite.size**0.5)))  # fewer numbers, wider bars
            shares = np.full(finite.size, 1 / finite.size)
            axes.hist(finite, bins=bars, weights=shares, color=colour, alpha=0.85)
            axes.axvline(0, color=canvas.GREY, linewidth=0.8)
            axes.margins(y=0.22)
            notes = f"mean {finite.mean():.2g}, std {finite.std():.2g}".replace("-", "−")
            if (zeros := float((finite == 0).mean())) > 0.01:
                notes += f"\n{zeros:.0%} zero"
            if finite.size < array.size:
                notes += f"\n{array.size - finite.size} not finite"
            behind = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
            axes.text(0.99, 0.98, notes, transform=axes.transAxes, ha="right", va="top", fontsize=8,
                      color=canvas.GREY, bbox=behind)  # fmt: skip
            axes.locator_params(axis="x", nbins=5)
        return canvas.finished(drawing, path, title)
