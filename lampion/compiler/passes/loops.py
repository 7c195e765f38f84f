"""Loops lose what nobody needs of them, and their bodies are optimized."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.passes.dead import drop_dead
from lampion.compiler.scan.loop import Loop, families


def prune(graph: Graph, optimize: Callable[[Graph], Graph]) -> Graph:
    """The graph with each loop reduced to the results that are used, and what these need.

    Args:
        optimize: what is done to each body.
    """
    while True:
        graph = drop_dead(graph)
        smaller = _pruned_once(graph, optimize)
        if smaller is graph:
            return graph
        graph = smaller  # what a loop no longer reads may be a result of an earlier one that nobody needs now


def _pruned_once(graph: Graph, optimize: Callable[[Graph], Graph]) -> Graph:
    changed: dict[Value, Equation] = {}
    for (loop, *inputs), equations in families(graph).items():
        used = sorted({equation.params["result"] for equation in equations})
        kept, ins, small = pruned(loop, used, optimize)
        if small is loop:
            continue
        for equation in equations:
            params = {"loop": small, "result": kept.index(equation.params["result"])}
            given = tuple(inputs[n] for n in ins)
            changed[equation.output] = Equation(
                equation.primitive, given, params, equation.output, equation.where
            )
    if not changed:
        return graph
    return graph.replaced([changed.get(equation.output, equation) for equation in graph])


def pruned(
    loop: Loop, used: Sequence[int], optimize: Callable[[Graph], Graph]
) -> tuple[list[int], list[int], Loop]:
    """A loop that gives the used results: which results and which inputs of the old one it has, and itself.

    A carry is needed if it is used, or if something needed reads it.
    """
    kept = set(used)
    while True:
        outputs = [value for number, value in enumerate(loop.body.outputs) if number in kept]
        body = drop_dead(_rewired(loop.body, loop.body.inputs, outputs))
        read = {value for equation in body for value in equation.values} | set(outputs)
        more = {n for n, value in enumerate(loop.body.inputs[: loop.carries]) if value in read} - kept
        if not more:
            break
        kept |= more
    order = sorted(kept)
    if loop.is_small and len(order) == len(loop.body.outputs):
        return order, list(range(len(loop.body.inputs))), loop
    body = optimize(body)
    read = {value for equation in body for value in equation.values} | set(body.outputs)
    carries = sum(number < loop.carries for number in order)
    after = loop.carries + loop.sequences
    ins = [
        number for number, value in enumerate(loop.body.inputs)
        if (number in kept if number < loop.carries else value in read)
    ]  # fmt: skip
    sequences = sum(loop.carries <= number < after for number in ins)
    body = _rewired(body, [loop.body.inputs[n] for n in ins], body.outputs)
    small = Loop(body, carries, sequences, loop.length, loop.reverse)
    small.is_small = True
    return order, ins, small


def _rewired(body: Graph, inputs: Sequence[Any], outputs: Sequence[Value]) -> Graph:
    graph = body.replaced(list(body.equations), list(outputs))
    graph.inputs = list(inputs)
    return graph
