"""Learning curves."""

from __future__ import annotations

import math
import os
from typing import Any

from lampion.training.history import History
from lampion.viz import canvas


def curves(history: History, path: str | os.PathLike[str], title: str = "") -> None:
    """Draw loss and accuracy over the epochs, in training and on the test data, into a PNG file.

    Args:
        history: with the columns epoch, loss, accuracy, test_loss, test_accuracy.
        path: the file to write.
        title: stands above both panels.
    """
    with canvas.style():
        drawing = canvas.figure(10, 4.4)
        left, right = drawing.subplots(1, 2)
        _panel(left, history, "loss", "Loss (cross-entropy)")
        _panel(right, history, "accuracy", "Accuracy")
        if all(0 < loss < math.inf for loss in history["loss"] + history["test_loss"]):
            left.set_yscale("log")
            _plain_ticks(left.yaxis)
        lowest = min(history["accuracy"] + history["test_accuracy"])
        right.set_ylim(bottom=max(0.0, min(0.9, lowest - 0.02)), top=1.004)
        right.yaxis.set_major_formatter(_percent)
        if title:
            drawing.suptitle(title, x=0.012, ha="left", fontsize=11, color=canvas.GREY)
        canvas.save(drawing, path)


def _panel(axes: Any, history: History, name: str, title: str) -> None:
    epochs = history["epoch"]
    few = {"marker": "o", "markersize": 4} if len(epochs) < 15 else {}
    axes.plot(epochs, history[name], color=canvas.BLUE, label="training", **few)
    axes.plot(epochs, history["test_" + name], color=canvas.ORANGE, label="test", **few)
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, loc="upper right" if name == "loss" else "lower right")


def _plain_ticks(axis: Any) -> None:
    """0.1 and 0.5 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axis.set_minor_formatter(NullFormatter())


def _percent(value: float, _: Any) -> str:
    return f"{100 * value:.4g}%"
