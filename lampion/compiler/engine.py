"""What runs a bound plan: machine code, or the interpreter where there is none."""

from __future__ import annotations

import contextlib
import functools
import gc
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from lampion.compiler import entries
from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Graph, Value, interpret
from lampion.compiler.parts import Parts
from lampion.compiler.resident import drop_compiler, give_back
from lampion.compiler.strides import contiguous_strides
from lampion.errors import LampionError
from lampion.ops.advanced_indexing import wrong_index
from lampion.ops.scatter import out_of_range


class Interpreted:
    """Runs the graph as it was recorded, with NumPy."""

    def __init__(self, graph: Graph, targets: list[Value | None], reason: str) -> None:
        self.graph, self.targets, self.reason = graph, targets, reason

    def entry(self) -> None:
        """There is no native function."""

    def run(self, bound: Any, outputs: list[Any]) -> None:
        results = interpret(self.graph, bound.arrays)
        inputs = dict(zip(self.graph.inputs, bound.arrays, strict=True))
        # All results exist before the first write: an output may be an input that another overwrites.
        fresh = iter(outputs)
        copies = [np.array(result) for result in results]
        for result, target in zip(copies, self.targets, strict=True):
            (next(fresh) if target is None else inputs[target])[...] = result


class Recipe:
    """From a recorded graph to a plan: worked out when somebody asks, which is never where the cache has the
    code and nobody wants to see where it came from.
    """

    def __init__(
        self, recorded: Graph, strides: dict[Value, tuple[int, ...]], targets: list[Value | None], target: Any
    ) -> None:
        self.recorded, self.strides, self.targets, self.target = recorded, strides, targets, target

    @functools.cached_property
    def graph(self) -> Graph:
        """The graph after all passes."""
        from lampion.compiler.passes import optimize
        from lampion.compiler.passes.short_products import shorten_products

        graph = optimize(self.recorded)
        if self.target.multiplies_bfloat16:
            graph = shorten_products(graph)
        graph.constants = self.recorded.constants  # all of them: their slots in the table are fixed
        return graph

    @functools.cached_property
    def plan(self) -> ir.Plan:
        """The plan."""
        from lampion.compiler.lowering import lower

        return lower(self.graph, self.strides, self.targets)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's cycle collector, which would look again and again at the growing IR: no part of it is
    dropped before all of it is, and it was a quarter of the time to compile.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


class Native:
    """Runs the plan as one native function."""

    def __init__(
        self, graph: Graph, strides: dict[Value, tuple[int, ...]], targets: list[Value | None], target: Any
    ) -> None:
        from lampion.compiler.codegen.target import Target

        self.recipe = recipe = Recipe(graph, strides, targets, target or Target.host())
        name = entries.name_of(graph, strides, targets, recipe.target)
        entry = None if name is None else entries.load(name)
        if entry is None:
            with _uncollected():
                self.parts = Parts(recipe.plan, recipe.target, cached=name is None)
            arena_bytes = recipe.plan.arena_bytes
            if name is not None and self.parts.only is not None:
                entries.store(name, entries.Entry(arena_bytes, self.parts.only.code))
            give_back()
        else:
            arena_bytes = entry.arena_bytes
            self.parts = Parts.ready(entry.code, recipe)
        drop_compiler()
        self.memory = np.empty(arena_bytes + 64, np.uint8)
        self.arena = (self.memory.__array_interface__["data"][0] + 63) & ~63

    @property
    def graph(self) -> Graph:
        """The graph after all passes."""
        return self.recipe.graph

    @property
    def plan(self) -> ir.Plan:
        """The plan."""
        return self.recipe.plan

    def run(self, bound: Any, outputs: list[Any]) -> None:
        failure = self.parts.run(bound.table, bound.table_address, self.arena)
        if failure is not None:
            raise self.error(*failure, bound)

    def entry(self) -> tuple[Any, Any, int] | None:
        """What to call, with the table's address and the arena's, where the plan is one native function;
        what makes the error of a failure that it reports; and the arena.
        """
        only = self.parts.only
        return None if only is None else (only.run, self.error, self.arena)

    def error(self, number: int, position: int, bound: Any) -> Exception:
        """The exception that eager raises, from what the kernel reported."""
        return self._error(self.plan.calls[number], position, bound)

    def _error(self, call: ir.Call, position: int, bound: Any) -> Exception:
        kernel = call.kernel
        if isinstance(kernel, ir.Repeat):
            return self._error(*inside_of(call, kernel, position), bound)
        if isinstance(kernel, ir.Rows):
            return self._wrong_choice(call, position, bound)
        if not isinstance(kernel, ir.Gather | ir.ScatterAdd):
            return LampionError(call.label, "the kernel failed", got=f"element {position}")
        if kernel.picks:
            return self._wrong_pick(call, position, bound)
        bad = self._element(call, kernel.index, position, bound)
        size, dim = kernel.far.shape[kernel.axis], kernel.axis
        error: Exception = out_of_range(call.label.split(":")[0], bad, size, dim)
        return error

    def _wrong_pick(self, call: ir.Call, position: int, bound: Any) -> Exception:
        """The same where there are several indices, negative ones among them."""
        assert isinstance(call.kernel, ir.Gather | ir.ScatterAdd)
        for pick in call.kernel.picks:
            index = self._element(call, pick.window, position, bound)
            if not -pick.size * pick.wraps <= index < pick.size:
                error: Exception = wrong_index(call.label, index, pick.size, pick.dim, pick.wraps)
                return error
        raise AssertionError("a kernel reported an index that is in range")

    def _wrong_choice(self, call: ir.Call, row: int, bound: Any) -> Exception:
        """The same for an element that is picked from a row."""
        kernel = call.kernel
        assert isinstance(kernel, ir.Rows)
        size = math.prod(kernel.shape[kernel.outer :])
        for choice in kernel.choices:
            load = kernel.rows[choice.index]
            assert isinstance(load, ir.Load)  # the scheduler takes in no other index
            index = self._element(call, load.window, row, bound)
            if not 0 <= index < size:
                error: Exception = out_of_range("gather", index, size, choice.dim)
                return error
        raise AssertionError("a kernel reported an index that is in range")

    def _element(self, call: ir.Call, window: ir.Window, position: int, bound: Any) -> int:
        """The index that a kernel read at a point."""
        place = call.places[window.operand]
        start = self.arena + place.index if place.arena else int(bound.table[place.index]) + place.start
        offset = window.offset + sum(
            int(i) * s for i, s in zip(np.unravel_index(position, window.shape), window.strides, strict=True)
        )
        dtype = call.kernel.operands[window.operand].dtype.numpy
        import ctypes

        raw = ctypes.string_at(start + offset * dtype.itemsize, dtype.itemsize)
        return int(np.frombuffer(raw, dtype)[0])


def inside_of(call: ir.Call, loop: ir.Repeat, position: int) -> tuple[ir.Call, int]:
    """The call inside of a loop that failed, with its places in that round; and the position in it."""
    from lampion.compiler.codegen.repeat import failed

    t, number, position = failed(loop, position)
    inside, places = loop.calls[number], []
    for spot in inside.spots:
        place, offset = call.places[spot.operand], spot.offset + t * spot.step
        if place.arena:
            places.append(replace(place, index=place.index + offset))
        else:
            places.append(replace(place, start=place.start + offset))
    return ir.Call(inside.kernel, tuple(places), loop.labels[number]), position


def make_engine(
    graph: Graph, arrays: list[Any], targets: list[Value | None], target: Any = None, strict: bool = False
) -> Any:
    """Machine code where llvmlite is installed; else the interpreter.

    With `strict`, what has to be interpreted is an error instead.
    """
    try:
        import llvmlite  # noqa: F401
    except ImportError:
        if strict:
            raise
        return Interpreted(graph, targets, "llvmlite is not installed")
    strides = {}
    for value, array in zip(graph.inputs, arrays, strict=True):
        if any(s % value.dtype.itemsize for s in array.strides):
            if strict:
                raise LampionError("compile", "an array has elements that are not whole elements apart")
            return Interpreted(graph, targets, "an array has elements that are not whole elements apart")
        strides[value] = tuple(s // value.dtype.itemsize for s in array.strides)
    for value in graph.constants:
        strides[value] = contiguous_strides(value.shape, 1)
    return Native(graph, strides, targets, target)
