"""The exponential of a log-softmax is the softmax, whose exponentials are there already.

    log_p = (x - max) - log(sum(e)), where e = exp(x - max): so exp(log_p) = e / sum(e)

This is not the same bits: it is nearer to the truth, since the rounding of log_p itself, which exp multiplies
by |log_p|, does not enter. Where one side is NaN the other one is: the sum is at least 1, or NaN.
"""

from __future__ import annotations

from typing import Any

from lampion.compiler.graph import Equation, Graph, Value
from lampion.ops.elementwise import div, mul


def reuse_exponentials(graph: Graph) -> Graph:
    """The graph with ``exp(log_softmax)`` as ``e * (1 / sum(e))``."""
    made_by = {equation.output: equation for equation in graph}
    kept: list[Equation] = []
    for equation in graph:
        found = _softmax(equation, made_by)
        if found is None:
            kept.append(equation)
            continue
        powers, total = found
        inverse = graph.value(total.shape, total.dtype)
        kept += [
            Equation(div.primitive, (1.0, total), {}, inverse, equation.where),
            Equation(mul.primitive, (powers, inverse), {}, equation.output, equation.where),
        ]
    return graph.replaced(kept)


def _softmax(equation: Equation, made_by: dict[Value, Equation]) -> tuple[Value, Value] | None:
    """e and sum(e), where the equation is the exponential of a log-softmax."""

    def inputs(value: Any, name: str) -> tuple[Any, ...] | None:
        """What a value was made from by the primitive of that name."""
        made = made_by.get(value) if isinstance(value, Value) else None
        return made.inputs if made is not None and made.primitive.name == name else None

    if equation.primitive.name != "exp" or (last := inputs(equation.inputs[0], "sub")) is None:
        return None
    shifted, logarithm = last
    first, sums = inputs(shifted, "sub"), inputs(logarithm, "log")
    if first is None or sums is None or inputs(sums[0], "sum") is None:
        return None
    summing = made_by[sums[0]]
    (powers,) = summing.inputs
    if inputs(powers, "exp") != (shifted,) or inputs(first[1], "amax") != (first[0],):
        return None
    alike = made_by[first[1]].params == summing.params and summing.params["keepdims"]
    return (powers, sums[0]) if alike else None
