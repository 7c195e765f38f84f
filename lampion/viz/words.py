"""Words as vectors: which of them point the same way."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from lampion.errors import LampionError, ShapeError
from lampion.tensor import Tensor
from lampion.viz import canvas


def similarities(
    words: Sequence[str], vectors: Tensor, path: str | os.PathLike[str] | None = None, title: str = ""
) -> canvas.Picture:
    """Draw the cosines between all pairs of some words: words that stand together and are alike are a square.

    Args:
        words: the words, in the order in which they are to stand.
        vectors: theirs, (N, D).
        path: a file to write.
        title: stands above the picture.

    >>> import lampion
    >>> from lampion import viz
    >>> viz.similarities(["tea", "coffee", "car"], lampion.tensor([[4.0, 3.0], [3.0, 4.0], [-1.0, 0.0]]))
    <picture of 3.6 x 2.8 inches>
    """
    if not words:
        raise LampionError("similarities", "there are no words", expected="one or more")
    table = vectors.detach().numpy().astype(np.float64)
    if table.ndim != 2 or len(table) != len(words):
        raise ShapeError("similarities", "each word has one vector", expected=f"({len(words)}, D)",
                         got=str(table.shape))  # fmt: skip
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    table = table / np.where(lengths == 0, 1, lengths)
    size = max(1.6, 0.2 * len(words))
    with canvas.style():
        drawing = canvas.figure(size + 2.0, size + 1.2)
        axes = drawing.subplots()
        axes.grid(False)
        # Blue is alike, orange opposite, white neither.
        image = axes.imshow(table @ table.T, cmap=_colours(), vmin=-1, vmax=1, interpolation="nearest")
        axes.set_xticks(range(len(words)), words, rotation=90, fontsize=8)
        axes.set_yticks(range(len(words)), words, fontsize=8)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        scale = drawing.colorbar(image, ax=axes, shrink=0.6, ticks=(-1, 0, 1), label="cosine")
        scale.outline.set_visible(False)
        return canvas.finished(drawing, path, title)


def _colours() -> object:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("cosine", [canvas.ORANGE, "white", canvas.BLUE])
