"""Where pictures are drawn: a figure in the house style, and its way into a file."""

from __future__ import annotations

import io
import os
from typing import Any

from lampion.errors import LampionError
from lampion.utils.files import write_file

#: Blue and orange that the colour-blind can tell apart too (M. Okabe, K. Ito), and quiet greys.
BLUE, ORANGE, INK, GREY, FAINT = "#0072b2", "#d55e00", "#222222", "#6b6b6b", "#dddddd"

_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so pictures look alike everywhere
    "font.size": 10, "axes.titlesize": 12, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.titlepad": 12, "axes.edgecolor": GREY, "axes.labelcolor": INK, "text.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": FAINT, "grid.linewidth": 0.8, "xtick.color": GREY, "ytick.color": GREY,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round", "figure.facecolor": "white", "savefig.facecolor": "white",
}  # fmt: skip


def style() -> Any:
    """A ``with`` block in which figures are drawn in the house style."""
    try:
        import matplotlib
    except ImportError:
        raise LampionError("viz", "pictures are drawn by matplotlib, which is not installed",
                           fix='pip install ".[recipes]"') from None  # fmt: skip
    return matplotlib.rc_context(_STYLE)


def figure(width: float, height: float) -> Any:
    """A new figure of that size in inches. No pyplot: nothing global, and no window."""
    from matplotlib.figure import Figure

    drawing: Any = Figure(figsize=(width, height), layout="constrained")
    drawing.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    return drawing


def save(drawing: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as a PNG file; its folder is made if it is not there."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    data = io.BytesIO()
    # No date and no version: the same picture gives the same file.
    drawing.savefig(data, format="png", dpi=150, metadata={"Software": None})
    write_file(path, data.getvalue())
