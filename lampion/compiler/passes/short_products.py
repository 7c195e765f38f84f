"""Products of bfloat16 numbers as such, where the processor multiplies them: twice as fast as float32.

Eager widens both operands to float32 and multiplies those. Here the product takes the bfloat16 values
themselves, past the widening and whatever only moves it: the numbers multiplied are the same, and the sums
are float32 still. So are the results, but for how each sum is rounded (see `codegen/matmul_bf16.py`).
"""

from __future__ import annotations

from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.passes.dead import drop_dead
from lampion.dtype import bfloat16, float32
from lampion.ops.matrix import product_of_bfloat16

_LEAST = 8  # rows and columns: below that, more is packed than multiplied


def shorten_products(graph: Graph) -> Graph:
    """The graph with such products."""
    narrow: dict[Value, Value] = {}  # float32 values that are bfloat16 ones widened
    kept: list[Equation] = []
    for equation in graph:
        primitive, out = equation.primitive, equation.output
        source = equation.inputs[0] if equation.inputs else None
        if primitive.name == "cast" and out.dtype is float32 and equation.values[0].dtype is bfloat16:
            narrow[out] = equation.values[0]
        elif primitive.is_movement and isinstance(source, Value) and source in narrow:
            narrow[out] = graph.value(out.shape, bfloat16)
            kept.append(Equation(primitive, (narrow[source],), equation.params, narrow[out], equation.where))
        elif primitive.name == "matmul" and all(x in narrow for x in equation.values) and _is_large(equation):
            inputs = tuple(narrow[x] for x in equation.values)
            equation = Equation(product_of_bfloat16.primitive, inputs, {}, out, equation.where)
        kept.append(equation)
    return drop_dead(graph.replaced(kept))


def _is_large(equation: Equation) -> bool:
    rows, columns = equation.output.shape[-2:]
    return min(rows, columns) >= _LEAST
