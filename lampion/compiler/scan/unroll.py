"""Loops whose body has no machine code are written out: a plan calls NumPy between native parts."""

from __future__ import annotations

from typing import Any

from lampion import ops as operations
from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.scan.loop import Loop, loop_of
from lampion.compiler.strides import contiguous_strides
from lampion.compiler.trace import Trace, Tracer
from lampion.mode import mode
from lampion.tensor import wrap

ops: Any = operations  # the stubs know one name by one type


def unroll(graph: Graph) -> Graph:
    """The graph with each loop that has no machine code written out."""
    foreign = {loop for loop in map(loop_of, graph) if loop is not None and not is_native(loop)}
    if not foreign:
        return graph
    rest = graph.replaced([])
    same: dict[Value, Value] = {}
    done: dict[tuple[Any, ...], list[Value]] = {}
    trace = Trace()
    trace.graph = rest
    scope = mode.trace, mode.grad
    mode.trace, mode.grad = trace, False
    try:
        for equation in graph:
            inputs = tuple(same.get(x, x) if isinstance(x, Value) else x for x in equation.inputs)
            loop = loop_of(equation)
            if loop not in foreign:
                rest.equations.append(
                    Equation(equation.primitive, inputs, equation.params, equation.output, equation.where)
                )
                continue
            key = (loop, *equation.inputs)
            if key not in done:
                done[key] = written_out(loop, inputs, trace)
            same[equation.output] = done[key][equation.params["result"]]
    finally:
        mode.trace, mode.grad = scope
    rest.outputs = [same.get(value, value) for value in graph.outputs]
    return rest


def written_out(loop: Loop, inputs: tuple[Value, ...], trace: Trace) -> list[Value]:
    """The results of a loop, one round after the other recorded into a trace."""
    from lampion.compiler.scan.record import replay

    tensors = [wrap(Tracer(value, None)) for value in inputs]
    after = loop.carries + loop.sequences
    carries, sequences = tensors[: loop.carries], tensors[loop.carries : after]
    body = replay(loop.body, tensors[after:])
    rows: list[Any] = []
    for i in loop.rounds:
        carries, outputs = body(carries, [ops.select(x, 0, i) for x in sequences])
        rows.append(outputs)
    if loop.reverse:
        rows.reverse()
    stacks = [ops.stack(list(column)) for column in zip(*rows, strict=True)]
    return [trace.read(x).value for x in (*carries, *stacks)]


def is_native(loop: Loop) -> bool:
    """Whether the whole body has machine code."""
    from lampion.compiler.lowering import lower
    from lampion.compiler.schedule import MACHINE_TYPES

    body = loop.body
    values = [*body.inputs, *(equation.output for equation in body)]
    if any(value.dtype not in MACHINE_TYPES for value in values):
        return False
    strides = {value: contiguous_strides(value.shape, 1) for value in body.inputs}
    plan = lower(body, strides, [None] * len(body.outputs))
    return not any(isinstance(call.kernel, ir.CallOut) for call in plan.calls)
