"""A plan as it runs: native parts, and between them the calls out to NumPy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from lampion import backend
from lampion.compiler import kernel_ir as ir
from lampion.errors import LampionError


class Parts:
    """The native functions of a plan in order, and the calls between them.

    Attributes:
        parts: (number of its first call, a `CompiledPlan` or the `Call` of a `CallOut`).

    Args:
        cached: whether the cache knows the parts by their own text (the whole plan is not in it).
    """

    def __init__(self, plan: ir.Plan, target: Any, cached: bool = True) -> None:
        from lampion.compiler.codegen.plan import compile_plan

        self.parts: list[tuple[int, Any]] = []
        runs = list(_runs(plan.calls))
        for first, calls in runs:
            if isinstance(calls[0].kernel, ir.CallOut):
                self.parts.append((first, calls[0]))
            else:  # with calls out in between it is the parts that the cache keeps
                keep = cached or len(runs) > 1
                part = compile_plan(replace(plan, calls=calls), target, cached=keep)
                self.parts.append((first, part))

    @classmethod
    def ready(cls, code: Any, recipe: Any) -> Parts:
        """A plan that is one native function, of which there is the `Code` already."""
        from lampion.compiler.codegen.compiled import CompiledPlan

        self = cls.__new__(cls)
        self.parts = [(0, CompiledPlan(code, recipe.target, lambda: recipe.plan))]
        return self

    @property
    def native(self) -> list[Any]:
        """The native parts."""
        return [part for _, part in self.parts if not isinstance(part, ir.Call)]

    @property
    def only(self) -> Any:
        """The native part, where there is nothing else; or None."""
        part = self.parts[0][1] if len(self.parts) == 1 else None
        return None if isinstance(part, ir.Call) else part

    def run(self, table: Any, table_address: int, arena: int) -> tuple[int, int] | None:
        """Run it all: None, or (number of the call, position) of what failed in machine code."""
        for first, part in self.parts:
            if isinstance(part, ir.Call):
                call_out(part, table, arena)
            elif (failure := part.run(table_address, arena)) is not None:
                return first + failure.call, failure.position
        return None

    def profile(self, table: Any, table_address: int, arena: int) -> list[float]:
        """Run it all: the nanoseconds of each call."""
        times: list[float] = []
        for _, part in self.parts:
            if isinstance(part, ir.Call):
                start = time.perf_counter_ns()
                call_out(part, table, arena)
                times.append(float(time.perf_counter_ns() - start))
            else:
                times += part.profile(table_address, arena)
        return times


def _runs(calls: tuple[ir.Call, ...]) -> Iterator[tuple[int, tuple[ir.Call, ...]]]:
    """The calls in runs that are native, and single calls that are not, with the number of the first."""
    start = 0
    for number, call in enumerate(calls):
        if isinstance(call.kernel, ir.CallOut):
            if start < number:
                yield start, calls[start:number]
            yield number, (call,)
            start = number + 1
    if start < len(calls):
        yield start, calls[start:]


def call_out(call: ir.Call, table: Any, arena: int) -> None:
    """Run a primitive's `forward` on the plan's memory."""
    kernel = call.kernel
    assert isinstance(kernel, ir.CallOut)

    def array(window: ir.Window) -> Any:
        place = call.places[window.operand]
        start = arena + place.index if place.arena else int(table[place.index])
        return view_of(start, window, kernel.operands[window.operand].dtype.numpy)

    inputs = [array(x) if isinstance(x, ir.Window) else x for x in kernel.inputs]
    token = backend.quiet()
    try:
        result = np.asarray(kernel.forward(np, *inputs, **kernel.params))
    except LampionError:
        raise
    except (ValueError, TypeError, IndexError) as error:
        raise LampionError(kernel.name, str(error)) from None
    finally:
        backend.restore(token)
    out = array(kernel.out)
    if kernel.name != "copy" and (result.dtype != out.dtype or result.shape != out.shape):
        raise AssertionError(f"{kernel.name}: forward gave {result.dtype}{result.shape}, its shape rule "
                             f"says {out.dtype}{out.shape}")  # fmt: skip
    out[...] = result


class _Memory:
    """Some memory that belongs to somebody else, as NumPy asks for it."""

    def __init__(self, start: int, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> None:
        self.__array_interface__ = {
            "version": 3, "data": (start, False), "shape": shape, "strides": strides,
            "typestr": f"|V{itemsize}",
        }  # fmt: skip


def view_of(start: int, window: ir.Window, dtype: Any) -> Any:
    """The array that a window shows, over the memory that begins at `start`."""
    if 0 in window.shape:
        return np.empty(window.shape, dtype)
    size = dtype.itemsize
    strides = tuple(s * size for s in window.strides)
    return np.asarray(_Memory(start + window.offset * size, window.shape, strides, size)).view(dtype)
