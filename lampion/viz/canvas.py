"""Where pictures are drawn: a figure in the house style, and its way into a file."""

from __future__ import annotations

import io
import os
from typing import Any

from lampion.errors import LampionError
from lampion.utils.files import write_file

#: Blue and orange that the colour-blind can tell apart too (M. Okabe, K. Ito), and quiet greys.
BLUE, ORANGE, INK, GREY, FAINT = "#0072b2", "#d55e00", "#222222", "#6b6b6b", "#dddddd"
#: Eight of theirs and two of P. Tol's, for classes; more classes begin again.
CLASSES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7a7a7a",
           "#332288", "#882255")  # fmt: skip

_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so pictures look alike everywhere
    "font.size": 10, "axes.titlesize": 12, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.titlepad": 12, "axes.edgecolor": GREY, "axes.labelcolor": INK, "text.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": FAINT, "grid.linewidth": 0.8, "xtick.color": GREY, "ytick.color": GREY,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round", "figure.facecolor": "white", "savefig.facecolor": "white",
    "svg.hashsalt": "lampion",  # SVG files name their parts by chance otherwise
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


class Picture:
    """A finished figure: shown by notebooks, saved as PNG, SVG or PDF.

    Attributes:
        figure: matplotlib's, to change what is not to one's liking.
    """

    def __init__(self, figure: Any) -> None:
        self.figure = figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture, in the form that the name asks for: .png, .svg or .pdf; make its folder."""
        kind = os.path.splitext(os.fspath(path))[1][1:].lower() or "png"
        if kind not in ("png", "svg", "pdf"):
            raise LampionError("Picture.save", "pictures are written as PNG, SVG or PDF",
                               expected="a name that ends in .png, .svg or .pdf",
                               got=repr(os.fspath(path)))  # fmt: skip
        os.makedirs(os.path.dirname(os.fspath(path)) or ".", exist_ok=True)
        write_file(path, self._written(kind))

    def _written(self, kind: str) -> bytes:
        data = io.BytesIO()
        # No date and no version: the same picture gives the same file.
        plain: Any = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
        with style():
            self.figure.savefig(data, format=kind, dpi=150, metadata=plain)
        return data.getvalue()

    def _repr_png_(self) -> bytes:
        return self._written("png")

    def __repr__(self) -> str:
        width, height = self.figure.get_size_inches()
        return f"<picture of {width:g} x {height:g} inches>"


def finished(drawing: Any, path: str | os.PathLike[str] | None, title: str = "") -> Picture:
    """The picture, with its headline, written to a file where a path is given."""
    if title:
        drawing.suptitle(title, x=0.012, ha="left", fontsize=11, color=GREY)
    picture = Picture(drawing)
    if path is not None:
        picture.save(path)
    return picture


def save(drawing: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as a file."""
    Picture(drawing).save(path)


def panels(count: int, width: float, height: float, columns: int = 3) -> tuple[Any, list[Any]]:
    """A figure with that many axes, each of that size in inches, at most so many beside each other."""
    across = max(1, min(columns, count))
    rows = max(1, -(-count // across))
    drawing = figure(width * across, height * rows + 0.4)
    axes = list(drawing.subplots(rows, across, squeeze=False).ravel())
    for empty in axes[count:]:
        empty.set_visible(False)
    return drawing, axes[:count]
