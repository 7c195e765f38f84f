"""A graph as operations on tensors: every equation once more through the door.

So a graph can go wherever tensors can: into `vmap`, for one, where machine code cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lampion.compiler.graph import Graph, Value
from lampion.primitive import apply
from lampion.tensor import Tensor, wrap


def replay(graph: Graph, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The outputs of a graph, as tensors."""
    table: dict[Value, Any] = dict(zip(graph.inputs, inputs, strict=True))
    table.update((value, wrap(array)) for value, array in graph.constants.items())
    for equation in graph:
        operands = [table[x] if isinstance(x, Value) else x for x in equation.inputs]
        table[equation.output] = apply(equation.primitive, *operands, **equation.params)
    return [table[value] for value in graph.outputs]
