"""Whole plans in the cache, found by the graph as it was recorded.

What passes, scheduler, lowering and code generator make of a graph is decided by the graph, by how its inputs
lie in memory, by the processor and by Lampion's own sources: so these are the key, and whoever finds an entry
goes through none of that. An entry holds object code and the few numbers that it takes to run it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lampion.compiler import cache
from lampion.compiler.graph import Graph, Value
from lampion.compiler.switches import is_on
from lampion.dtype import DType
from lampion.primitive import PRIMITIVES, Primitive

if TYPE_CHECKING:
    from lampion.compiler.codegen.compiled import Code
    from lampion.compiler.codegen.target import Target

# A mark, then: bytes of the arena, kernel calls, those that are shared, when they are (`Sharing`).
_HEAD = struct.Struct("<8s4Q")
_MARK = b"PLAN\0\0\0\1"


class Entry(NamedTuple):
    """A plan that is one native function, as it is kept."""

    arena_bytes: int
    code: Code


class _Nameless(Exception):
    """The graph holds something that no text stands for."""


def name_of(
    graph: Graph, strides: dict[Value, tuple[int, ...]], targets: Sequence[Value | None], target: Target
) -> str | None:
    """The key of a graph; None where its text does not say what it means.

    That is so where a primitive was defined outside Lampion: its name does not tell what its code does.
    """
    try:
        text = _Writer().graph(graph)
    except _Nameless:
        return None
    switch = str(is_on("LAMPION_WINOGRAD"))  # see `codegen/winograd.py`
    lie = [strides[value] for value in (*graph.inputs, *graph.constants)]
    return cache.key("graph", text, repr(lie), repr(targets), target.key, switch)


def load(name: str) -> Entry | None:
    """What is stored under that key, or None."""
    data = cache.load(name)
    if data is None or len(data) <= _HEAD.size:
        return None
    mark, arena_bytes, calls, shared, sharing = _HEAD.unpack_from(data)
    from lampion.compiler.codegen.compiled import Claims, Code, Sharing

    if mark != _MARK or shared > calls or sharing not in list(Sharing):
        return None
    return Entry(arena_bytes, Code(data[_HEAD.size :], Sharing(sharing), Claims(calls, shared)))


def store(name: str, entry: Entry) -> None:
    """Keep an entry under that key."""
    code = entry.code
    head = _HEAD.pack(_MARK, entry.arena_bytes, code.claims.calls, code.claims.shared, code.sharing)
    cache.store(name, head + code.object)


class _Writer:
    """Writes a graph so that equal texts mean equal graphs, in every process. Places in the program, from
    which labels are made, are left out.
    """

    def __init__(self) -> None:
        self.loops: dict[Any, int] = {}

    def graph(self, graph: Graph) -> str:
        lines = [f"{v.name} {v.type}" for v in graph.inputs]
        for value, array in graph.constants.items():
            lines.append(f"{value.name} {value.type} = {self.param(array)}")
        for equation in graph.equations:
            out, params = equation.output, equation.params
            lines.append(
                f"{out.name} {out.dtype.name}{out.shape} = {self.primitive(equation.primitive)} "
                f"{[x.name if type(x) is Value else self.param(x) for x in equation.inputs]}"
                + (self.param(params) if params else "")
            )
        lines.append(repr([value.name for value in graph.outputs]))
        return "\n".join(lines)

    @staticmethod
    def primitive(primitive: Primitive) -> str:
        module = primitive.forward.__module__
        if not module.startswith("lampion.") or PRIMITIVES.get((module, primitive.name)) is not primitive:
            raise _Nameless
        return f"{module}.{primitive.name}"

    def param(self, thing: Any) -> str:
        """A parameter. What is not listed here has no text of which it is known that it says everything."""
        kind = type(thing)
        if kind in _PLAIN:
            return repr(thing)
        if kind is tuple or kind is list:
            return f"{kind.__name__}({', '.join(map(self.param, thing))})"
        if kind is dict:
            return "{" + ", ".join(f"{self.param(k)}: {self.param(v)}" for k, v in thing.items()) + "}"
        if kind is slice:
            return f"slice({self.param((thing.start, thing.stop, thing.step))})"
        if isinstance(thing, DType):
            return thing.name
        if isinstance(thing, Primitive):
            return self.primitive(thing)
        if isinstance(thing, np.dtype):
            return f"dtype({thing.name})"
        if isinstance(thing, np.ndarray | np.generic) and thing.dtype.kind != "O":
            array = np.ascontiguousarray(thing)
            digest = hashlib.sha256(array.tobytes()).hexdigest()
            return f"array({array.dtype.name}, {thing.shape}, {digest})"
        return self.loop(thing)

    def loop(self, thing: Any) -> str:
        from lampion.compiler.scan.loop import Loop

        if type(thing) is not Loop:
            raise _Nameless
        number = self.loops.get(thing)
        if number is not None:
            return f"loop {number}"
        number = self.loops[thing] = len(self.loops)
        numbers = thing.carries, thing.sequences, thing.length, thing.reverse
        return f"loop {number}({numbers}, {self.graph(thing.body)})"


_PLAIN = frozenset({type(None), bool, int, float, complex, str, type(Ellipsis)})
