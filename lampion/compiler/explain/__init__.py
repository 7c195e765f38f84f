"""`step.explain()`: what became of a compiled function, in words that can be read.

    print(step.explain())               what the kernels are
    print(step.explain(profile=True))   and how long each takes, beside what the machine could do
    plan = step.explain().plans[0]
    print(plan.recorded)                the graph as it was recorded; plan.optimized: after the passes
    print(plan.fused())                 which operations, of which lines, became which kernel
    print(plan.loops())                 each kernel as the loops that a reader would write
    print(plan.ir, plan.assembly)       LLVM's own language, and the processor's
    compiler.dump(step, "folder")       all of it, as files

In reading order: this file; `work` counts operations and bytes; `machine` measures what the processor and
the memory can do; `page` is the same for notebooks; `files` writes them all to a folder.
"""

from __future__ import annotations

import os
from typing import Any

from lampion.compiler import kernel_ir as ir
from lampion.compiler.explain import work
from lampion.compiler.explain.machine import Machine
from lampion.compiler.graph import Graph


class Explanation:
    """The plans of a compiled function: their graphs, kernels and memory. `print` it, or take its parts.

    Attributes:
        eager: why the function runs eagerly, or None.
        plans: one `PlanExplanation` for each specialisation.
        traces: how often the function was recorded.
        callouts: how many operations have no machine code, those of gradients included.
    """

    def __init__(self, compiled: Any, profile: bool = False) -> None:
        self.name = compiled.__name__
        self.eager = None if compiled.refused is None else str(compiled.refused)
        self.traces = compiled.traces
        self.plans = [PlanExplanation(plan) for plans in compiled.plans.values() for plan in plans]
        every = [part for plan in self.plans for part in (plan, *plan.gradients)]
        self.callouts = sum(plan.callouts for plan in every)
        self.fallbacks = int(self.eager is not None)
        if profile:
            for plan in every:
                plan.profile()

    def __str__(self) -> str:
        lines = [f"{self.name}: recorded {self.traces} time(s), {len(self.plans)} plan(s)"]
        if self.eager is not None:
            lines.append(f"runs eagerly: {self.eager}")
        elif not self.plans:
            lines.append("not called yet: a plan is made at the first call")
        for number, plan in enumerate(self.plans):
            lines += ["", f"plan {number}: {plan}"]
            for gradient in plan.gradients:
                lines += ["", f"{gradient.title} of plan {number}: {gradient}"]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from lampion.compiler.explain.page import html

        return html(self)


class PlanExplanation:
    """One specialisation.

    Attributes:
        recorded, optimized: the graph as it was recorded, and after the passes.
        kernels: the kernel calls in order, as records (see `kernel_ir`).
        flops: floating-point operations of the matrix products (2 m n k each), attention's included.
        arena_bytes: memory for all intermediate results.
        times: nanoseconds of each kernel call, once `profile()` was called.
        gradients: the plans that backward passes outside of the function have asked for so far.
        title: of those: which gradient it is.
    """

    def __init__(self, bound: Any, title: str = "") -> None:
        self._bound, self.title = bound, title
        recording = bound.binding.recording
        self.gradients = [] if recording is None else [
            PlanExplanation(plan, name) for name, plan in recording.gradients()
        ]  # fmt: skip
        engine = bound.engine
        self.recorded: Graph = bound.binding.graph
        self.native = hasattr(engine, "plan")
        self.reason = "" if self.native else engine.reason
        self.optimized: Graph = engine.graph
        self.kernels: tuple[ir.Call, ...] = engine.plan.calls if self.native else ()
        self.arena_bytes: int = engine.plan.arena_bytes if self.native else 0
        outside = [call for call in self.kernels if isinstance(call.kernel, ir.CallOut)]
        self.callouts = len(outside) if self.native else len(self.recorded.equations)
        self.flops = sum(work.products(call.kernel) for call in self.kernels)
        self.calls: int = bound.calls
        self.times: list[float] = []

    def profile(self, repeat: int = 10) -> list[tuple[str, float]]:
        """Nanoseconds of each kernel call (the least of `repeat` runs), on copies of the data.

        (Not of the arguments, which the plan does not keep: random numbers stand in for them.)
        """
        if not self.native or not self._bound.calls:
            return []
        engine = self._bound.engine
        runs = self._bound.rehearse(
            lambda table, start: [engine.parts.profile(table, start, engine.arena) for _ in range(repeat)]
        )
        self.times = [min(column) for column in zip(*runs, strict=True)]
        return [(call.label, time) for call, time in zip(self.kernels, self.times, strict=True)]

    @property
    def ir(self) -> str:
        """The LLVM IR of the plan."""
        return self._native("ir")

    @property
    def assembly(self) -> str:
        """The machine code of the plan, as text."""
        return self._native("assembly")

    def _native(self, what: str) -> str:
        parts = self._bound.engine.parts.native if self.native else []
        return "\n\n".join(str(getattr(part, what)) for part in parts)

    def loops(self) -> str:
        """Every kernel as the loops that a reader would write."""
        return "\n\n".join(
            f"# {number}: {call.label}\n{show_loops(call)}" for number, call in enumerate(self.kernels)
        )

    def fused(self) -> str:
        """The operations of each kernel, with the lines that they came from."""
        lines = []
        for number, call in enumerate(self.kernels):
            lines.append(f"{number}: {type(call.kernel).__name__} {_size(call)}")
            for equation in call.equations:
                lines.append(f"    {equation!r}{_line(equation)}")
            if not call.equations:
                lines.append(f"    {call.label}")
        return "\n".join(lines)

    @property
    def machine(self) -> Machine:
        """What this machine can do with the threads that the plan uses: a small plan runs on one."""
        serial = all(part.serial for part in self._bound.engine.parts.native)
        return Machine.measured(1 if serial else None)

    @property
    def head(self) -> str:
        """All in a line."""
        return (
            f"{len(self.recorded.equations)} operations recorded, "
            f"{len(self.optimized.equations)} after the passes, "
            f"{len(self.kernels)} kernel calls ({len({c.kernel for c in self.kernels})} different), "
            f"arena {size_of(self.arena_bytes)}, {self.flops / 1e6:.3g} MFLOP in matrix products, "
            f"call-outs {self.callouts}, called {self.calls} time(s)"
        )

    def rows(self) -> list[list[str]]:
        """The table that is printed: a list of words for each kernel, the titles first."""
        timed = bool(self.times)
        rows = [["", "kernel", "points", *(["us", "roofline", "GFLOP/s", "GB/s"] if timed else []),
                 "operations", "moved", "what it computes"]]  # fmt: skip
        machine = self.machine if timed else None
        for number, call in enumerate(self.kernels):
            flops, moved = work.operations(call.kernel), work.moved(call)
            row = [str(number), type(call.kernel).__name__, _size(call)]
            if machine is not None:
                time = self.times[number]
                row += [f"{time / 1e3:.1f}", _share(machine.least(flops, moved), time)]
                row += [f"{flops / time:.1f}", f"{moved / time:.1f}"] if time else ["", ""]
            rows.append([*row, f"{flops:,}", size_of(moved), call.label])
        return rows

    def __str__(self) -> str:
        if not self.native:
            return f"{self.head}\n  interpreted: {self.reason}"
        lines = [self.head]
        if self.times:
            lines.append(f"  {sum(self.times) / 1e3:.1f} us in kernels; {self.machine}")
        rows = self.rows()
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
        left = (1, 2)  # words; the others are numbers
        for row in rows:
            cells = [
                word.ljust(width) if n in left else word.rjust(width)
                for n, (word, width) in enumerate(zip(row, widths, strict=False))
            ]
            lines.append("  " + "  ".join([*cells, row[-1]]).rstrip())
        return "\n".join(lines)


def _line(equation: Any) -> str:
    """The line of the program that an equation came from, as a comment."""
    where = equation.where
    return "" if where is None else f"   # {os.path.basename(where.code.co_filename)}:{where.line}"


def show_loops(call: ir.Call) -> str:
    """One kernel as loops."""
    from lampion.compiler.loops import show_kernel

    return show_kernel(call.kernel)


def size_of(count: float) -> str:
    """Bytes, as people write them."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _size(call: ir.Call) -> str:
    return "x".join(map(str, getattr(call.kernel, "shape", ())))


def _share(least: float, time: float) -> str:
    """How near to what the machine can do; more than all of it is possible where the data is in a cache."""
    return f"{100 * least / time:.0f}%" if time else ""


def dump(compiled: Any, folder: Any) -> list[str]:
    """Write graphs, kernels, LLVM IR and assembly of a compiled function to a folder; see `files.dump`."""
    from lampion.compiler.explain import files

    return files.dump(compiled, folder)


__all__ = ["Explanation", "PlanExplanation", "dump"]
