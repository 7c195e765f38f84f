"""Replace equations by simpler ones that give the same bits.

Only rewrites that are exact for every input, NaN, infinities and signed zeros included: a copy is its
source (values are never overwritten in the graph), two permutations are one, x * 1 is x.
"""

from __future__ import annotations

import math
from typing import Any

from lampion.compiler.graph import Equation, Graph, Value


def simplify(graph: Graph) -> Graph:
    """The graph after one sweep of the rules below, in order of the equations."""
    same: dict[Value, Value] = {}
    made_by: dict[Value, Equation] = {}
    kept = []
    for equation in graph:
        inputs: tuple[Any, ...] = tuple(
            same.get(x, x) if isinstance(x, Value) else x for x in equation.inputs
        )
        rewritten = _rewrite(
            Equation(equation.primitive, inputs, equation.params, equation.output, equation.where), made_by
        )
        if isinstance(rewritten, Value):
            same[equation.output] = rewritten
            continue
        made_by[rewritten.output] = rewritten
        kept.append(rewritten)
    return graph.replaced(kept, [same.get(value, value) for value in graph.outputs])


def _rewrite(equation: Equation, made_by: dict[Value, Equation]) -> Equation | Value:
    """A Value that the equation's output equals, or a simpler equation for it."""
    name, out, params = equation.primitive.name, equation.output, equation.params
    if equation.primitive.kind == "elementwise" and name not in ("cast", "clone"):
        equation = _with_numbers(equation, made_by)
        inputs = equation.inputs
        if name == "second" and isinstance(inputs[1], Value) and inputs[1].type == out.type:
            return inputs[1]
        if name in ("mul", "div") and _is_number(inputs[1], 1) and _is_like(inputs[0], out):
            return inputs[0]  # type: ignore[no-any-return]  # a Value, like the output
        if name == "mul" and _is_number(inputs[0], 1) and _is_like(inputs[1], out):
            return inputs[1]  # type: ignore[no-any-return]  # a Value, like the output
        if name == "add" and _is_minus_zero(inputs[0]) and _is_like(inputs[1], out):
            return inputs[1]  # type: ignore[no-any-return]  # a Value, like the output
        return equation
    if name == "put":
        return _whole_put(equation)
    x = equation.inputs[0] if equation.inputs else None
    if not isinstance(x, Value):
        return equation
    if name in ("cast", "clone", "reshape", "broadcast_to") and x.type == out.type:
        return x
    before = made_by.get(x)
    if name == "permute":
        if before is not None and before.primitive.name == "permute":
            dims = tuple(before.params["dims"][d] for d in params["dims"])
            equation = Equation(equation.primitive, before.inputs, {"dims": dims}, out, equation.where)
        if tuple(equation.params["dims"]) == tuple(range(len(out.shape))):
            return equation.inputs[0]  # type: ignore[no-any-return]  # `x`, or what `before` permutes
    if name == "reshape" and before is not None and before.primitive.name == "reshape":
        source = before.inputs[0]
        if source.type == out.type:
            return source  # type: ignore[no-any-return]  # movements are of Values
        return Equation(equation.primitive, before.inputs, params, out, equation.where)
    return equation


def _whole_put(equation: Equation) -> Equation | Value:
    """Writing all of a tensor through a reshaped view of it is a reshape of what is written."""
    (base, value), chain = equation.inputs, equation.params["chain"]
    if not isinstance(value, Value) or any(step.name != "reshape" for step, _ in chain):
        return equation
    if value.type == base.type:
        return value
    if value.size != base.size or value.dtype is not base.dtype:
        return equation
    reshape = chain[-1][0]
    return Equation(reshape, (value,), {"shape": base.shape}, equation.output, equation.where)


def _with_numbers(equation: Equation, made_by: dict[Value, Equation]) -> Equation:
    """Operands that are `full` of one number as that number, where another operand sets shape and type."""
    inputs = list(equation.inputs)
    for i, x in enumerate(inputs):
        made = made_by.get(x) if isinstance(x, Value) else None
        if made is None or made.primitive.name != "full":
            continue
        others = [y for j, y in enumerate(inputs) if j != i and isinstance(y, Value)]
        # `where` takes its type from its branches, not from its condition.
        if equation.primitive.name == "where":
            others = (
                [y for j, y in enumerate(inputs) if j not in (0, i) and isinstance(y, Value)] if i else []
            )
        fits = [y for y in others if y.dtype is x.dtype]
        if fits and any(y.shape == equation.output.shape for y in others):
            inputs[i] = _plain(made.params["value"], x.dtype.kind)
    return Equation(equation.primitive, tuple(inputs), equation.params, equation.output, equation.where)


def _plain(value: Any, kind: str) -> Any:
    return bool(value) if kind == "b" else float(value) if kind == "f" else int(value)


def _is_number(x: Any, number: int) -> bool:
    return not isinstance(x, Value) and type(x) in (int, float) and x == number


def _is_minus_zero(x: Any) -> bool:
    """Whether adding this changes nothing: 0.0 would make 0.0 of -0.0."""
    return type(x) is float and x == 0 and math.copysign(1, x) < 0


def _is_like(x: Any, out: Value) -> bool:
    return isinstance(x, Value) and x.type == out.type
