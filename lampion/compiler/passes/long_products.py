"""Products with a small result and long sums (``x.T @ x`` of a tall x): cut along the sums.

Threads share a product out by parts of its result, and a small result has few parts. Here it becomes several
products of a part of the sums each, side by side as one batch, and a sum over the batch: as many parts as
there are threads for. It reads the operands in place, as views; and it depends on nothing but shapes, so that
the bits are the same for any number of threads.
"""

from __future__ import annotations

from lampion.compiler.graph import Equation, Graph, Value
from lampion.ops.movement import permute, reshape
from lampion.ops.reduce import sum
from lampion.primitive import Primitive

_PART = (28, 32)  # rows and columns of the result that one thread can well work on
_PARTS = 16  # that are enough for any number of threads
_SHORTEST = 512  # steps that a part of a sum has, at least
_WORK = 1 << 23  # multiplications below which it is not worth it


def split_products(graph: Graph) -> Graph:
    """The graph with such products in parts."""
    kept: list[Equation] = []
    for equation in graph:
        count = _pieces(equation)
        kept += [equation] if count == 1 else _split(graph, equation, count)
    return graph.replaced(kept)


def _pieces(equation: Equation) -> int:
    """How many parts the sums of a product are cut into."""
    if equation.primitive.name != "matmul" or len(equation.output.shape) != 2:
        return 1
    if not equation.output.dtype.is_inexact:
        return 1
    (m, n), steps = equation.output.shape, equation.values[0].shape[-1]
    parts = -(-m // _PART[0]) * -(-n // _PART[1])
    # Where rows and columns are few, it is reading them that takes the time.
    if (m * n + 8 * (m + n)) * steps < _WORK or not parts:
        return 1
    most = min(_PARTS // parts, steps // _SHORTEST)
    return next((count for count in range(most, 1, -1) if steps % count == 0), 1)


def _split(graph: Graph, equation: Equation, count: int) -> list[Equation]:
    """A product of `count` parts, and their sum."""
    made: list[Equation] = []

    def make(primitive: Primitive, inputs: list[Value], sizes: tuple[int, ...], **params: object) -> Value:
        out = graph.value(sizes, equation.output.dtype)
        made.append(Equation(primitive, tuple(inputs), params, out, equation.where))
        return out

    x, y = equation.values
    (m, steps), n = x.shape, y.shape[1]
    thick, wide = (m, count, steps // count), (count, steps // count, n)
    x = make(reshape.primitive, [x], thick, shape=thick)
    x = make(permute.primitive, [x], (count, m, steps // count), dims=(1, 0, 2))
    y = make(reshape.primitive, [y], wide, shape=wide)
    products = make(equation.primitive, [x, y], (count, m, n))
    summing = {"axis": (0,), "keepdims": False}
    return [*made, Equation(sum.primitive, (products,), summing, equation.output, equation.where)]
