"""Drop the equations whose results nothing needs."""

from __future__ import annotations

from lampion.compiler.graph import Graph


def drop_dead(graph: Graph) -> Graph:
    """The graph without equations that no output depends on."""
    needed = set(graph.outputs)
    kept = []
    for equation in reversed(graph.equations):
        if equation.output in needed:
            needed.update(equation.values)
            kept.append(equation)
    out = graph.replaced(kept[::-1])
    out.constants = {value: array for value, array in graph.constants.items() if value in needed}
    return out
