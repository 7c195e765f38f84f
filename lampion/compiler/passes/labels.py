"""The gradient of a pick is a comparison, not a scatter.

A loss picks one score of each row by its label. Its gradient adds one number a row into zeros: to write the
zeros, scatter, and read all that again costs more than the loss. As ``where(position == label, number, 0)``
it is evaluated where it is used. The sum over such a row is the number itself.

A scatter checks its indices, which a comparison does not; so this is done only where the graph has a gather
with the same indices into as many elements, which checks them.
"""

from __future__ import annotations

from lampion.compiler.graph import Equation, Graph, Value
from lampion.dtype import DType, bool_, int32
from lampion.ops.creation import full
from lampion.ops.elementwise import cast, eq, where
from lampion.ops.movement import reshape
from lampion.primitive import Primitive

positions = Primitive(
    "positions",
    "kernel",
    {
        "__doc__": "0, 1, 2...: what the compiler compares labels with.",
        "infer": lambda size, dtype: ((size,), dtype.numpy),
        "forward": lambda xp, size, dtype: xp.arange(size, dtype=dtype.numpy),
    },
    "",
)


def compare_labels(graph: Graph) -> Graph:
    """The graph with scatters into zeros as comparisons, where indices are one a row and checked already."""
    made_by = {equation.output: equation for equation in graph}
    checked = {
        (e.inputs[1], e.inputs[0].shape[e.params["dim"]]) for e in graph if e.primitive.name == "gather"
    }
    spread: dict[Value, tuple[Value, int]] = {}  # for each comparison, the numbers and their dimension
    same: dict[Value, Value] = {}
    kept: list[Equation] = []
    for equation in graph:
        inputs = tuple(same.get(x, x) if isinstance(x, Value) else x for x in equation.inputs)
        name, params = equation.primitive.name, equation.params
        if name == "scatter_add" and _is_pick(equation, made_by, checked):
            kept += _compared(graph, equation)
            spread[equation.output] = inputs[2], params["dim"]
        elif name == "sum" and params["keepdims"] and spread.get(inputs[0], (0, -1))[1:] == params["axis"]:
            same[equation.output] = spread[inputs[0]][0]
        else:
            kept.append(Equation(equation.primitive, inputs, params, equation.output, equation.where))
    return graph.replaced(kept, [same.get(value, value) for value in graph.outputs])


def _is_pick(equation: Equation, made_by: dict[Value, Equation], checked: set[tuple[Value, int]]) -> bool:
    base, index, source = equation.inputs
    dim, size = equation.params["dim"], base.shape[equation.params["dim"]]
    zeros = made_by.get(base)
    return (
        zeros is not None
        and zeros.primitive is full.primitive
        and not zeros.params["value"]
        and base.dtype.kind == "f"
        and index.shape == source.shape == (*base.shape[:dim], 1, *base.shape[dim + 1 :])
        and (index, size) in checked
        and size <= int32.max
    )


def _compared(graph: Graph, equation: Equation) -> list[Equation]:
    """``where(position == index, source, 0)``."""
    out, (_, index, source), dim = equation.output, equation.inputs, equation.params["dim"]
    size, made = out.shape[dim], []

    def add(
        primitive: Primitive, inputs: tuple[object, ...], params: dict[str, object], shape: tuple[int, ...],
        dtype: DType,
    ) -> Value:  # fmt: skip
        value = graph.value(shape, dtype)
        made.append(Equation(primitive, inputs, params, value, equation.where))
        return value

    place = add(positions, (), {"size": size, "dtype": int32}, (size,), int32)
    if len(out.shape) - dim > 1:
        shape = (size, *[1] * (len(out.shape) - dim - 1))
        place = add(reshape.primitive, (place,), {"shape": shape}, shape, int32)
    if index.dtype is not int32:  # as wide as the scores, most of the time
        params = {"dtype": int32, "source": index.dtype}
        index = add(cast.primitive, (index,), params, index.shape, int32)
    hit = add(eq.primitive, (place, index), {}, out.shape, bool_)
    return [*made, Equation(where.primitive, (hit, source, 0.0), {}, out, equation.where)]
