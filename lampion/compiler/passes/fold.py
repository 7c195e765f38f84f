"""Arithmetic on constants is done now."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion import backend
from lampion.compiler.graph import Equation, Graph, Value
from lampion.ops.creation import full

#: Operations whose result on one number is the same bits as on an array of it: those that IEEE 754
#: rounds exactly. NumPy's `exp` may differ between its scalar and its vector loop.
EXACT = frozenset({"add", "sub", "mul", "div", "neg", "sqrt", "cast"})


def fold(graph: Graph) -> Graph:
    """The graph with operations on numbers, however often these are repeated, replaced by their results."""
    numbers: dict[Value, Any] = {}
    kept = []
    for equation in graph:
        primitive, out, value = equation.primitive, equation.output, None
        if primitive.name == "full":
            value = equation.params["value"]
        elif equation.values and all(x in numbers for x in equation.values):
            if primitive.kind == "movement":
                value = numbers[equation.inputs[0]]
            elif primitive.name in EXACT:
                value = _evaluate(equation, numbers)
        if value is not None:
            numbers[out] = value
            params = {"shape": out.shape, "value": value, "dtype": out.dtype}
            equation = Equation(full.primitive, (), params, out, equation.where)
        kept.append(equation)
    return graph.replaced(kept)


def _evaluate(equation: Equation, numbers: dict[Value, Any]) -> Any:
    arrays = [np.full((), numbers[x], x.dtype.numpy) if isinstance(x, Value) else x for x in equation.inputs]
    token = backend.quiet()
    try:
        return equation.primitive.forward(np, *arrays, **equation.params).item()
    finally:
        backend.restore(token)
