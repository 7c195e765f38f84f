"""Compute what is computed twice only once."""

from __future__ import annotations

from lampion.compiler.graph import Equation, Graph, Value, show


def dedupe(graph: Graph) -> Graph:
    """The graph with equal equations merged: every primitive is a function of its inputs, random bits too."""
    same: dict[Value, Value] = {}
    seen: dict[tuple[object, ...], Value] = {}
    kept = []
    for equation in graph:
        inputs = tuple(same.get(x, x) if isinstance(x, Value) else x for x in equation.inputs)
        key = (
            equation.primitive,
            # 1, 1.0 and True are equal in Python, but not the same operand; nor are 0.0 and -0.0.
            tuple(x if isinstance(x, Value) else (type(x), repr(x)) for x in inputs),
            show(equation.params),
        )
        if key in seen:
            same[equation.output] = seen[key]
            continue
        seen[key] = equation.output
        kept.append(Equation(equation.primitive, inputs, equation.params, equation.output, equation.where))
    return graph.replaced(kept, [same.get(value, value) for value in graph.outputs])
