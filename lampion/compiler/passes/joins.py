"""The gradient of something that was taken apart: a sum of pieces, each in zeros, is the pieces side by side.

`q, k, v = x.split(...)` or `for t in range(T): ... x[t] ...` give x one gradient for each piece, of the shape
of x and zero outside of the piece; added up, that is a pass over memory for each of them. If the pieces fill
x, a concatenation does it; and where they lie side by side already, even that costs nothing (`schedule`).

The sum of a piece and of the others' zeros is the piece, but for the sign of a zero: -0.0 + 0.0 is 0.0.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from lampion.compiler.graph import Equation, Graph, Value
from lampion.ops.joining import cat
from lampion.ops.movement import reshape


@dataclass
class _Pieces:
    """What a value consists of along one dimension; it is zero elsewhere.

    Attributes:
        parts: (start, stop, value, the shape that the value is to have) in order.
    """

    dim: int
    parts: list[tuple[int, int, Value, tuple[int, ...]]]

    def __add__(self, other: _Pieces) -> _Pieces | None:
        """Both together, if they do not overlap."""
        if self.dim != other.dim:
            return None
        parts = sorted([*self.parts, *other.parts], key=lambda part: part[0])
        if any(a[1] > b[0] for a, b in itertools.pairwise(parts)):
            return None
        return _Pieces(self.dim, parts)

    def fill(self, size: int) -> bool:
        """Whether nothing is left of that many places."""
        ends = [0, *(part[1] for part in self.parts)]
        return ends[-1] == size and all(part[0] == end for part, end in zip(self.parts, ends, strict=False))


def join(graph: Graph) -> Graph:
    """The graph with such sums as concatenations."""
    made_by: dict[Value, Equation] = {}
    pieces: dict[Value, _Pieces] = {}
    kept: list[Equation] = []
    for equation in graph:
        found = _pieces(equation, made_by, pieces)
        if found is not None:
            pieces[equation.output] = found
            if equation.primitive.name == "add" and found.fill(equation.output.shape[found.dim]):
                kept += _joined(graph, equation, found)
                continue
        made_by[equation.output] = equation
        kept.append(equation)
    return graph.replaced(kept)


def _pieces(
    equation: Equation, made_by: dict[Value, Equation], known: dict[Value, _Pieces]
) -> _Pieces | None:
    """What a `put` into zeros, or the sum of two such, consists of."""
    if equation.primitive.name == "put":
        base, value = equation.inputs
        made = made_by.get(base)
        if (
            made is None
            or made.primitive.name != "full"
            or made.params["value"] != 0
            or value.dtype is not base.dtype
        ):
            return None
        return _piece(equation.params["chain"], base, value)
    if equation.primitive.name != "add" or equation.output.dtype.kind not in "fc":
        return None
    parts = [known.get(x) if isinstance(x, Value) else None for x in equation.inputs]
    if parts[0] is None or parts[1] is None or any(x.type != equation.output.type for x in equation.values):
        return None
    return parts[0] + parts[1]


def _piece(chain: Any, base: Value, value: Value) -> _Pieces | None:
    """A slice along one dimension, perhaps without that dimension (`x[t]`)."""
    first, params = chain[0]
    if first.name != "slice" or any(step.name != "reshape" for step, _ in chain[1:]):
        return None
    if None in params["bounds"]:  # new dimensions: it is not by their order that pieces are found
        return None
    # A place that stands for itself (x[3]) is a slice of one place.
    bounds = [(b, b + 1, 1) if isinstance(b, int) else b for b in params["bounds"]]
    cut = [d for d, (start, stop, step) in enumerate(bounds) if (start, stop, step) != (0, base.shape[d], 1)]
    if len(cut) != 1 or bounds[cut[0]][2] != 1:
        return None
    (dim,) = cut
    start, stop, _ = bounds[dim]
    shape = (*base.shape[:dim], stop - start, *base.shape[dim + 1 :])
    return _Pieces(dim, [(start, stop, value, shape)]) if start < stop else None


def _joined(graph: Graph, equation: Equation, pieces: _Pieces) -> list[Equation]:
    """The concatenation, and the reshapes that it takes."""
    steps: list[Equation] = []
    values = []
    for _, _, value, shape in pieces.parts:
        if value.shape != shape:
            shaped = graph.value(shape, value.dtype.numpy)
            steps.append(Equation(reshape.primitive, (value,), {"shape": shape}, shaped, equation.where))
            value = shaped
        values.append(value)
    whole = Equation(cat.primitive, tuple(values), {"dim": pieces.dim}, equation.output, equation.where)
    return [*steps, whole]
