"""The graph: what was recorded, as typed single assignments. It prints, is checked, and is run by
`interpret`, which *defines* what every other reading of it must compute.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lampion import backend
from lampion.dtype import DType, of
from lampion.errors import LampionError
from lampion.origin import Where
from lampion.primitive import Primitive


class Value:
    """One array in the graph: assigned once, by an equation, an input or a constant."""

    __slots__ = ("dtype", "name", "shape")

    def __init__(self, name: int, shape: tuple[int, ...], dtype: DType) -> None:
        self.name = name
        self.shape = shape
        self.dtype = dtype

    @property
    def type(self) -> str:
        """``f32[30, 10]``."""
        return f"{self.dtype.short}[{', '.join(map(str, self.shape))}]"

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"%{self.name}"


class Equation:
    """``output = primitive(inputs, **params)``. Inputs are Values or Python numbers."""

    __slots__ = ("inputs", "output", "params", "primitive", "where")

    def __init__(
        self, primitive: Primitive, inputs: tuple[Any, ...], params: dict[str, Any], output: Value,
        where: Where | None,
    ) -> None:  # fmt: skip
        self.primitive = primitive
        self.inputs = inputs
        self.params = params
        self.output = output
        self.where = where

    @property
    def values(self) -> list[Value]:
        """The inputs that are Values."""
        return [x for x in self.inputs if isinstance(x, Value)]

    def __repr__(self) -> str:
        words = [repr(x) for x in self.inputs] + [f"{k}={show(v)}" for k, v in self.params.items()]
        return f"{self.output!r}: {self.output.type} = {self.primitive.name}({', '.join(words)})"


def show(param: Any) -> str:
    """A parameter as the printer writes it, and as keys compare it."""
    if isinstance(param, Primitive):
        return param.name
    if isinstance(param, DType):
        return param.name
    if isinstance(param, tuple | list):
        return "(" + ", ".join(map(show, param)) + ("," if len(param) == 1 else "") + ")"
    if isinstance(param, dict):
        return "{" + ", ".join(f"{k}: {show(v)}" for k, v in param.items()) + "}"
    return repr(param)


class Graph:
    """Inputs and constants, equations in order, and outputs."""

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.constants: dict[Value, Any] = {}  # NumPy arrays, never written to
        self.equations: list[Equation] = []
        self.outputs: list[Value] = []
        self._next = 0

    def value(self, shape: tuple[int, ...], dtype: Any) -> Value:
        """A new Value, not yet assigned."""
        self._next += 1
        return Value(self._next - 1, tuple(map(int, shape)), of(dtype))

    def input(self, shape: tuple[int, ...], dtype: Any) -> Value:
        value = self.value(shape, dtype)
        self.inputs.append(value)
        return value

    def constant(self, array: Any) -> Value:
        value = self.value(array.shape, array.dtype)
        self.constants[value] = array
        return value

    def add(
        self, primitive: Primitive, inputs: Sequence[Any], params: dict[str, Any], shape: tuple[int, ...],
        dtype: Any, where: Where | None = None,
    ) -> Value:  # fmt: skip
        output = self.value(shape, dtype)
        self.equations.append(Equation(primitive, tuple(inputs), params, output, where))
        return output

    def replaced(self, equations: list[Equation], outputs: list[Value] | None = None) -> Graph:
        """The same inputs and constants with other equations: what a pass returns."""
        graph = Graph()
        graph.inputs = list(self.inputs)
        graph.constants = dict(self.constants)
        graph.equations = equations
        graph.outputs = list(self.outputs if outputs is None else outputs)
        graph._next = self._next
        return graph

    def __iter__(self) -> Iterator[Equation]:
        return iter(self.equations)

    def lines(self) -> list[str]:
        """Constants and equations as lines; the body of a loop stands before its first result."""
        lines = [f"{v!r}: {v.type} = constant({_brief(a)})" for v, a in self.constants.items()]
        shown: set[int] = set()
        for equation in self.equations:
            loop = equation.params.get("loop")
            if loop is not None and id(loop) not in shown:
                shown.add(id(loop))
                lines += loop.show()
            lines.append(repr(equation))
        return lines

    def __str__(self) -> str:
        head = ", ".join(f"{v!r}: {v.type}" for v in self.inputs)
        lines = [f"graph({head}):", *(f"  {line}" for line in self.lines())]
        return "\n".join([*lines, f"  return {', '.join(map(repr, self.outputs))}"])


def _brief(array: Any) -> str:
    return np.array2string(array, threshold=6, edgeitems=2, separator=", ").replace("\n", " ")


def check(graph: Graph) -> None:
    """Every Value assigned once, before it is used, with the type that its primitive's shape rule gives."""
    known: set[Value] = set()
    for value in [*graph.inputs, *graph.constants]:
        _assign(value, known)
    for equation in graph:
        for value in equation.values:
            if value not in known:
                raise LampionError("graph", f"{value!r} is used before it is assigned", got=repr(equation))
        if (loop := equation.params.get("loop")) is not None:
            loop.check(equation.values)
        stand_ins = [_Typed(x) if isinstance(x, Value) else x for x in equation.inputs]
        shape, dtype = equation.primitive.infer(*stand_ins, **equation.params)
        if tuple(shape) != equation.output.shape or of(dtype) is not equation.output.dtype:
            raise LampionError("graph", "an equation has the wrong type", got=repr(equation),
                               expected=f"{of(dtype).short}{list(shape)}")  # fmt: skip
        _assign(equation.output, known)
    for value in graph.outputs:
        if value not in known:
            raise LampionError("graph", f"the output {value!r} is never assigned")


def _assign(value: Value, known: set[Value]) -> None:
    if value in known:
        raise LampionError("graph", f"{value!r} is assigned twice")
    known.add(value)


class _Typed:
    """What a shape rule may look at: shape and NumPy dtype."""

    def __init__(self, value: Value) -> None:
        self.shape = value.shape
        self.dtype = value.dtype.numpy


def interpret(graph: Graph, inputs: Sequence[Any]) -> list[Any]:
    """Run the graph with NumPy, one equation after the other: the meaning of a graph.

    Bit for bit what eager computes, since it makes the same NumPy calls.
    """
    table: dict[Value, Any] = dict(zip(graph.inputs, inputs, strict=True))
    table.update(graph.constants)
    last = {value: i for i, equation in enumerate(graph) for value in equation.values}
    keep = set(graph.outputs)
    loops: dict[tuple[Any, ...], list[Any]] = {}  # all results of each loop that has run
    token = backend.quiet()
    try:
        for i, equation in enumerate(graph):
            arrays = [table[x] if isinstance(x, Value) else x for x in equation.inputs]
            if (loop := equation.params.get("loop")) is not None:
                results = loops.get(key := (loop, *equation.inputs)) or loop.run(arrays)
                loops[key], result = results, results[equation.params["result"]]
            else:
                xp = backend.namespace(arrays[0]) if arrays else np
                result = equation.primitive.forward(xp, *arrays, **equation.params)
            table[equation.output] = np.asarray(result)
            for value in equation.values:
                if last[value] == i and value not in keep:
                    table.pop(value, None)
    finally:
        backend.restore(token)
    return [table[value] for value in graph.outputs]
