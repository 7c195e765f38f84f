"""The computational graph of a tensor, as a picture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lampion.errors import LampionError
from lampion.tensor import Tensor
from lampion.utils.files import write_file
from lampion.viz import drawing
from lampion.viz.reading import Box, Reading, Scope, modules, read

_SHOWN = ("shapes", "values", "gradients")


class Graph:
    """How a tensor was computed: shown by notebooks, saved as SVG or DOT.

    Attributes:
        boxes: by number, in the order in which they were computed: operations, leaves, other data.
        arrows: (from, to, share): the last is where on the upper edge of the target, from 0 to 1.
        scopes: the calls of modules, by number.
    """

    def __init__(self, reading: Reading, show: tuple[str, ...], title: str) -> None:
        self._reading, self._show, self.title = reading, show, title
        self._svg: str | None = None

    @property
    def boxes(self) -> dict[int, Box]:
        """The boxes by number."""
        return self._reading.boxes

    @property
    def arrows(self) -> list[tuple[int, int, float]]:
        """The arrows, in the order of the inputs of each operation."""
        return self._reading.arrows

    @property
    def scopes(self) -> dict[int, Scope]:
        """The calls of modules by number."""
        return self._reading.scopes

    @property
    def svg(self) -> str:
        """The picture, as a document of its own."""
        if self._svg is None:
            self._svg = drawing.svg(self._reading, self._show, self.title)
        return self._svg

    @property
    def dot(self) -> str:
        """The same in the language of Graphviz."""
        return drawing.dot(self._reading, self._show, self.title)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture, in the form that the name asks for: .svg, .dot or .html."""
        kind = os.path.splitext(os.fspath(path))[1]
        if kind not in (".svg", ".dot", ".html"):
            raise LampionError("Graph.save", "a graph is written as SVG, DOT or HTML",
                               expected="a name that ends in .svg, .dot or .html",
                               got=repr(os.fspath(path)))  # fmt: skip
        page = (
            f"<!doctype html>\n<meta charset=utf-8>\n<title>graph</title>\n{self.svg}"
            if kind == ".html"
            else ""
        )
        write_file(path, page or (self.svg if kind == ".svg" else self.dot))

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<graph of {len(self.boxes)} boxes and {len(self.arrows)} arrows>"


def graph(
    y: Tensor | Sequence[Tensor],
    params: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
    *,
    modules: modules | None = None,
    depth: int | None = None,
    show: Sequence[str] = _SHOWN,
    title: str = "",
) -> Graph:
    """Draw how a tensor was computed: data flows down, from the leaves to the result.

    Each box is an operation with the shape of its result, its value, and the gradient of `y` by it (both as
    "least … greatest" where there are more than three numbers). Values are those that the tape keeps, and
    those that follow from them. Gradients are computed for the picture, where `y` has one element; no
    ``.grad`` changes. After `backward` without ``retain_graph`` the tape is freed: then the graph has the
    values that are left, and the ``.grad`` of the leaves.

    Args:
        y: the result, or several.
        params: names for tensors: ``dict(model.named_parameters())``, ``{"x": x, "y": y}``.
        modules: the calls of modules that `viz.modules` noted while `y` was computed: each gets a frame, and
            the model's parameters their names.
        depth: modules that are nested deeper than this are drawn as one box.
        show: what stands in the boxes, of "shapes", "values" and "gradients".
        title: the picture's title (not drawn: what a browser shows, and a screen reader reads).

    >>> import lampion
    >>> from lampion import viz
    >>> x = lampion.tensor(0.5, requires_grad=True)
    >>> y = lampion.tanh(x)
    >>> (dy,) = lampion.autograd.grad(y, x, create_graph=True)
    >>> picture = viz.graph(dy, {"x": x, "y": y, "dy": dy})
    >>> [box.title for box in picture.boxes.values()]
    ['x', 'tanh', '×', '1 −', '1', '×']
    >>> picture.svg[:4], picture.dot[:7]
    ('<svg', 'digraph')
    """
    unknown = [word for word in show if word not in _SHOWN]
    if unknown or isinstance(show, str):
        raise LampionError("graph", "show does not name what a graph can show", got=repr(show),
                           expected=f"some of {', '.join(map(repr, _SHOWN))}, in a list")  # fmt: skip
    if depth is not None and modules is None:
        raise LampionError("graph", "depth is that of modules, whose calls were not noted",
                           fix="compute y within `with viz.modules(model) as m`, and pass m")  # fmt: skip
    reading = read(y, params, modules, depth, tuple(show))
    return Graph(reading, tuple(show), title or "computational graph")
