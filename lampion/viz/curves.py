"""Learning curves."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from lampion.errors import LampionError
from lampion.training.history import History
from lampion.viz import canvas

#: How the columns of held-out data begin, and what they are called in the legend.
_HELD_OUT = {"validation_": "validation", "val_": "validation", "test_": "test"}
_TITLES = {"loss": "Loss", "accuracy": "Accuracy"}


def curves(
    history: History, path: str | os.PathLike[str] | None = None, title: str = "", *,
    panels: Mapping[str, Sequence[str]] | None = None,
) -> canvas.Picture:  # fmt: skip
    """Draw the loss, and each metric, over the epochs, in training and on held-out data.

    Args:
        history: with a column ``loss``, perhaps ``accuracy`` and other metrics, each perhaps with a second
            column for held-out data: ``validation_loss`` or ``test_loss``. Metrics are the columns that have
            such a second column, and ``accuracy``.
        path: a file to write.
        title: stands above all panels.
        panels: what to draw instead: by the title of a panel, the columns whose curves it has.
    """
    if not len(history):
        raise LampionError("curves", "the history is empty", fix="train for an epoch first")
    if panels is not None:
        return _chosen(history, panels, path, title)
    columns = set(history.rows[0])
    names = [name for name in history.rows[0] if name in ("loss", "accuracy") or _partner(name, columns)]
    if not names:
        raise LampionError("curves", "the history has no curve to draw", got=", ".join(sorted(columns)),
                           expected="a column named loss")  # fmt: skip
    with canvas.style():
        drawing, axes = canvas.panels(len(names), 5, 4)
        for panel, name in zip(axes, names, strict=True):
            _draw(panel, history, name, _partner(name, columns))
        return canvas.finished(drawing, path, title)


def _chosen(
    history: History, panels: Mapping[str, Sequence[str]], path: str | os.PathLike[str] | None, title: str
) -> canvas.Picture:
    """A panel for each group of columns."""
    columns = list(history.rows[0])
    missing = [name for names in panels.values() for name in names if name not in columns]
    if missing or not all(panels.values()) or not panels:
        raise LampionError("curves", "the history has no such columns", expected=", ".join(columns),
                           got=", ".join(missing) or "none")  # fmt: skip
    with canvas.style():
        drawing, axes = canvas.panels(len(panels), 5, 4)
        for panel, (heading, names) in zip(axes, panels.items(), strict=True):
            for name, colour in zip(names, itertools.cycle(canvas.CLASSES), strict=False):
                _curve(panel, history, name, color=colour, label=name.replace("_", " "))
            panel.set_title(heading)
            if len(names) > 1:
                panel.legend(frameon=False)
            if all(name.endswith("accuracy") for name in names):
                panel.yaxis.set_major_formatter(_percent)
        return canvas.finished(drawing, path, title)


def _curve(axes: Any, history: History, name: str, **options: Any) -> None:
    """A column over the epochs."""
    epochs = history["epoch"] if "epoch" in history.rows[0] else list(range(1, len(history) + 1))
    few = {"marker": "o", "markersize": 4} if len(epochs) < 15 else {}
    axes.plot(epochs, history[name], **options, **few)
    axes.set_xlabel("epoch")
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _partner(name: str, columns: set[str]) -> str:
    """The column of held-out data that belongs to a column, or nothing."""
    return next((prefix + name for prefix in _HELD_OUT if prefix + name in columns), "")


def _draw(axes: Any, history: History, name: str, partner: str) -> None:
    values = list(history[name])
    _curve(axes, history, name, color=canvas.BLUE, label="training")
    if partner:
        held_out = next(label for prefix, label in _HELD_OUT.items() if partner.startswith(prefix))
        _curve(axes, history, partner, color=canvas.ORANGE, label=held_out)
        values += history[partner]
    axes.set_title(_TITLES.get(name, name.replace("_", " ").capitalize()))
    falling = values[0] > values[-1]
    if partner:
        axes.legend(frameon=False, loc="upper right" if falling else "lower right")
    if name == "loss" and all(0 < value < math.inf for value in values):
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis)
    elif name.endswith("accuracy") and all(0 <= value <= 1 for value in values):
        axes.set_ylim(bottom=max(0.0, min(0.9, min(values) - 0.02)), top=1.004)
        axes.yaxis.set_major_formatter(_percent)


def _plain_ticks(axis: Any) -> None:
    """0.1 and 0.5 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axis.set_minor_formatter(NullFormatter())


def _percent(value: float, _: Any) -> str:
    return f"{100 * value:.4g}%"
