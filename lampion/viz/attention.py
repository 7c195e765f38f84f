"""Where attention looks: for each word that is written, how much each word that was read counts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from lampion.errors import ShapeError
from lampion.tensor import as_tensor
from lampion.viz import canvas


def attention(
    weights: Any, sources: Sequence[Any], targets: Sequence[Any],
    path: str | os.PathLike[str] | None = None, title: str = "",
) -> canvas.Picture:  # fmt: skip
    """Draw weights of attention as heat maps: the darker, the more a source counts for a target.

    Args:
        weights: a Tensor, array or lists, (T, S), each row with the sum 1; or (N, T, S) for N
            maps: of several samples, or heads.
        sources: the S words or letters that were read, from left to right; for several maps, such a sequence
            for each of them, or one for all. A text is a sequence of letters.
        targets: the T words or letters that were written, from top to bottom; likewise.
        path: a file to write.
        title: stands above all maps.

    >>> import lampion
    >>> from lampion import viz
    >>> viz.attention(lampion.tensor([[0.9, 0.1], [0.2, 0.8]]), ["good", "day"], ["guten", "Tag"])
    <picture of 2 x 2.4 inches>
    """
    maps = as_tensor(weights).detach().numpy()
    if maps.ndim == 2:
        maps, sources, targets = maps[None], [list(sources)], [list(targets)]
    if maps.ndim != 3:
        raise ShapeError("attention", "the weights are a matrix, or several", expected="(T, S) or (N, T, S)",
                         got=str(maps.shape))  # fmt: skip
    count, rows, columns = maps.shape
    above, beside = _texts("sources", sources, count, columns), _texts("targets", targets, count, rows)
    size = 0.2 if max(map(len, above[0] + beside[0])) == 1 else 0.45
    with canvas.style():
        drawing, axes = canvas.panels(count, max(2.0, size * columns + 0.8), max(2.0, size * rows + 0.9), 2)
        for panel in axes[count:]:
            panel.axis("off")
        for panel, values, source, target in zip(axes, maps, above, beside, strict=False):
            panel.grid(False)
            panel.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            turned = 0 if max(map(len, source)) == 1 else 90
            panel.set_xticks(range(columns), source, rotation=turned)
            panel.set_yticks(range(rows), target)
            panel.tick_params(length=0, labelbottom=False, labeltop=True)
            for spine in panel.spines.values():
                spine.set(visible=True, color=canvas.FAINT)
        return canvas.finished(drawing, path, title)


def _texts(name: str, texts: Sequence[Any], count: int, length: int) -> list[list[str]]:
    """The words of each map, as many as it has columns or rows."""
    if len(texts) != count or any(isinstance(text, str) and len(text) != length for text in texts):
        texts = [texts] * count  # one sequence for all maps
    found = [list(map(str, text)) for text in texts]
    wrong = [len(text) for text in found if len(text) != length]
    if wrong:
        raise ShapeError("attention", f"the {name} do not fit the weights", expected=f"{length} of them",
                         got=str(wrong[0]))  # fmt: skip
    return found
