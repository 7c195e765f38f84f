"""How far rounding can carry a result: the graph in float64, with noise where float32 would round.

A result can be the difference of two numbers that are nearly equal, as the slope 1 - y * y of a tanh is.
Then one unit in the last place of y becomes many in the result, for eager as for compiled code, and which
of the two is nearer to the truth is luck. So before a result is called too far away, the intermediate
results are shaken a little, and one looks at what arrives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lampion.dtype import float32
from lampion.ops.define import OPERATIONS
from lampion.testing.compare import flatten, to_array

#: Results of these are exact, or other results handed on.
_EXACT = {
    "amax", "amin", "cast", "cat", "full", "gather", "maximum", "minimum", "neg", "put", "relu", "second",
    "where",
}  # fmt: skip
#: Results of these are sums of many terms.
_SUMS = {
    "attention", "attention_slopes", "convolution", "convolution_input", "convolution_weight", "matmul",
    "pool_spread", "sum",
}  # fmt: skip
_RUNS = 4


def spread(fn: Callable[..., Any], make_args: Callable[[], Any], noise: float) -> tuple[list[Any], list[Any]]:
    """The largest change of each result, and of each argument written to, under relative noise inside.

    Args:
        make_args: makes the (float64) arguments, new ones for each run.
        noise: how much each intermediate result is changed at most, as a share of it.
    """
    results, arguments = _run(fn, make_args(), 0.0, 0)
    widths = [[np.zeros(np.shape(x)) for x in part] for part in (results, arguments)]
    for seed in range(_RUNS):
        parts = _run(fn, make_args(), noise, seed)
        for part, exact, width in zip(parts, (results, arguments), widths, strict=True):
            for i, (shaken, still) in enumerate(zip(part, exact, strict=True)):
                if still.dtype.kind == "f":
                    with np.errstate(all="ignore"):
                        width[i] = np.maximum(width[i], np.nan_to_num(np.abs(shaken - still), nan=0.0))
    return widths[0], widths[1]


def _run(fn: Callable[..., Any], args: Any, noise: float, seed: int) -> tuple[list[Any], list[Any]]:
    from lampion.compiler import tree
    from lampion.compiler.bind import BoundPlan
    from lampion.compiler.engine import Interpreted
    from lampion.compiler.function import trace_call

    leaves: list[Any] = []
    tree.flatten(args, leaves)
    binding, _ = trace_call(fn, args, {}, leaves, guarded=False)
    binding.graph = shaken(binding.graph, noise, np.random.default_rng(seed))
    result = BoundPlan(binding, Interpreted(binding.graph, binding.targets, "shaken")).run(leaves)
    return [to_array(x) for x in flatten(result)], [to_array(x) for x in flatten(list(args))]


def shaken(graph: Any, noise: float, rng: Any) -> Any:
    """The graph with its rounded intermediate results (not its outputs) multiplied by numbers near 1.

    So are the terms of sums, which may be added up in any order.
    """
    from lampion.compiler.graph import Equation, Value

    mul = OPERATIONS["mul"].primitive
    equations: list[Any] = []
    moved: dict[Any, Any] = {}

    def shake(value: Any) -> Any:
        # What a program has in float32 even here would be rounded to the same number again.
        strength = 4.0 if value.dtype is float32 else 1.0
        # Up or down by the whole of it: of four smaller steps all may happen to be too small.
        factor = 1 + strength * noise * rng.choice((-1.0, 1.0), value.shape)
        factor = graph.constant(np.asarray(factor, value.dtype.numpy))
        out = graph.value(value.shape, value.dtype)
        equations.append(Equation(mul, (value, factor), {}, out, None))
        return out

    for equation in graph:
        primitive = equation.primitive
        inputs = [moved.get(x, x) if isinstance(x, Value) else x for x in equation.inputs]
        if primitive.name in _SUMS:
            inputs = [shake(x) if isinstance(x, Value) and x.dtype.kind == "f" else x for x in inputs]
        equations.append(Equation(primitive, tuple(inputs), equation.params, equation.output, equation.where))
        narrow = primitive.name == "cast" and equation.output.dtype is float32
        exact = primitive.kind == "movement" or primitive.name in _EXACT
        if narrow or (equation.output.dtype.kind == "f" and not exact):
            moved[equation.output] = shake(equation.output)
    return graph.replaced(equations)
