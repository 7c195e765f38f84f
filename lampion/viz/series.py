"""Values one after the other, as lines."""

from __future__ import annotations

import os
from collections.abc import Mapping

from lampion.errors import LampionError, ShapeError
from lampion.tensor import Tensor
from lampion.viz import canvas


def series(
    lines: Mapping[str, Tensor], path: str | os.PathLike[str] | None = None, title: str = "",
    starts: Mapping[str, int] | None = None,
) -> canvas.Picture:  # fmt: skip
    """Draw sequences of numbers as lines over their places.

    Args:
        lines: each (T,), by the name that the legend gives it. The first is drawn in grey: what is true.
        path: a file to write.
        title: stands above the picture.
        starts: at which place lines begin that do not begin at 0.

    >>> import lampion
    >>> from lampion import viz
    >>> x = lampion.linspace(0, 6, 50)
    >>> viz.series({"sine": x.sin(), "half of it": x.sin() / 2})
    <picture of 8 x 3.6 inches>
    """
    if not lines:
        raise LampionError("series", "there are no lines", expected="one or more, by name")
    colours = (canvas.GREY, *canvas.CLASSES)
    with canvas.style():
        drawing = canvas.figure(8, 3.6)
        axes = drawing.subplots()
        for number, (name, values) in enumerate(lines.items()):
            line = values.detach().numpy()
            if line.ndim != 1:
                raise ShapeError(
                    "series", f"the line {name!r} is no sequence", expected="(T,)", got=str(line.shape)
                )
            begin = (starts or {}).get(name, 0)
            wide = {"linewidth": 4.5, "alpha": 0.45} if number == 0 else {"linewidth": 1.6}
            axes.plot(range(begin, begin + len(line)), line, color=colours[number % len(colours)], label=name,
                      **wide)  # fmt: skip
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        axes.margins(x=0.01)
        return canvas.finished(drawing, path, title)
