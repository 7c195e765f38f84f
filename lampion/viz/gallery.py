"""Galleries of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from lampion.tensor import Tensor
from lampion.viz import canvas


def misclassified(
    images: Tensor, labels: Tensor, scores: Tensor, path: str | os.PathLike[str],
    classes: Sequence[str] | None = None, limit: int = 24,
) -> None:  # fmt: skip
    """Draw the images that a classifier got wrong, the surest mistakes first, into a PNG file.

    Args:
        images: (N, 1, height, width), or without the 1; 0 is drawn white, 1 black. Or (N, 3, height, width),
            colours from 0 to 1.
        labels: (N,), the right answers.
        scores: (N, C), the classifier's scores before softmax.
        path: the file to write.
        classes: the names of the classes; their numbers unless given.
        limit: how many images at most.
    """
    pixels, truth, logits = (x.detach().numpy() for x in (images, labels, scores))
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    answers = probabilities.argmax(1)
    wrong = np.flatnonzero(answers != truth)
    wrong = wrong[np.argsort(-probabilities[wrong, answers[wrong]], kind="stable")]
    names = classes if classes is not None else [str(c) for c in range(logits.shape[1])]
    shown = wrong[:limit]
    answered = [(names[truth[i]], names[answers[i]]) for i in shown]
    long = any(len(right) + len(seen) > 14 for right, seen in answered)  # for one line above an image
    with canvas.style():
        columns = min(6, max(3, len(shown)))
        rows = max(1, -(-len(shown) // columns))
        drawing = canvas.figure(1.8 * columns, (2.3 if long else 2.15) * rows + 0.45)
        drawing.suptitle(_headline(len(wrong), len(truth), len(shown)), x=0.012, ha="left", fontweight="bold")
        cells = drawing.subplots(rows, columns, squeeze=False).ravel()
        for cell in cells:
            cell.axis("off")
        for cell, i, (right, seen) in zip(cells, shown, answered, strict=False):
            between = "\n" if long else " "
            _draw(cell, pixels[i], f"is {right},{between}seen as {seen}\n"
                  f"{probabilities[i, answers[i]]:.0%} sure")  # fmt: skip
        canvas.save(drawing, path)


def _headline(wrong: int, total: int, shown: int) -> str:
    if not wrong:
        return f"All {total} images right"
    which = "" if shown == wrong else f" (the {shown} surest mistakes)"
    return f"{wrong} of {total} images wrong{which}"


def _draw(cell: Any, pixels: Any, caption: str) -> None:
    cell.axis("on")
    cell.grid(False)
    colours = pixels.ndim == 3 and len(pixels) == 3
    shown = pixels.transpose(1, 2, 0).clip(0, 1) if colours else pixels.reshape(pixels.shape[-2:])
    cell.imshow(shown, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    cell.set_xticks([])
    cell.set_yticks([])
    for spine in cell.spines.values():
        spine.set(visible=True, color=canvas.FAINT)
    cell.set_title(caption, loc="center", fontsize=9, fontweight="normal", pad=5)
