"""`step.explain()`: what became of a compiled function, in words that can be read."""

from __future__ import annotations

from typing import Any

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Graph


class Explanation:
    """The plans of a compiled function: their graphs, kernels and memory. `print` it, or take its parts.

    Attributes:
        eager: why the function runs eagerly, or None.
        plans: one `PlanExplanation` for each specialisation.
        traces: how often the function was recorded.
        callouts: how many operations have no machine code.
    """

    def __init__(self, compiled: Any) -> None:
        self.name = compiled.__name__
        self.eager = None if compiled.refused is None else str(compiled.refused)
        self.traces = compiled.traces
        self.plans = [PlanExplanation(plan) for plans in compiled.plans.values() for plan in plans]
        self.callouts = sum(plan.callouts for plan in self.plans)
        self.fallbacks = int(self.eager is not None)

    def __str__(self) -> str:
        lines = [f"{self.name}: recorded {self.traces} time(s), {len(self.plans)} plan(s)"]
        if self.eager is not None:
            lines.append(f"runs eagerly: {self.eager}")
        elif not self.plans:
            lines.append("not called yet: a plan is made at the first call")
        for number, plan in enumerate(self.plans):
            lines += ["", f"plan {number}: {plan}"]
        return "\n".join(lines)

    __repr__ = __str__


class PlanExplanation:
    """One specialisation.

    Attributes:
        recorded, optimized: the graph as it was recorded, and after the passes.
        kernels: the kernel calls in order, as records (see `kernel_ir`).
        flops: floating-point operations of the matrix products (2 m n k each).
        arena_bytes: memory for all intermediate results.
    """

    def __init__(self, bound: Any) -> None:
        self._bound = bound
        engine = bound.engine
        self.recorded: Graph = bound.binding.graph
        self.native = hasattr(engine, "plan")
        self.reason = "" if self.native else engine.reason
        self.optimized: Graph = engine.graph
        self.kernels: tuple[ir.Call, ...] = engine.plan.calls if self.native else ()
        self.arena_bytes: int = engine.plan.arena_bytes if self.native else 0
        outside = [call for call in self.kernels if isinstance(call.kernel, ir.CallOut)]
        self.callouts = len(outside) if self.native else len(self.recorded.equations)
        self.flops = sum(map(_flops, self.kernels))
        self.calls: int = bound.calls

    def profile(self, repeat: int = 10) -> list[tuple[str, float]]:
        """Nanoseconds of each kernel call (the least of `repeat` runs), on copies of the last call's data."""
        if not self.native or not self._bound.calls:
            return []
        engine = self._bound.engine
        times = self._bound.rehearse(
            lambda table, start: [engine.parts.profile(table, start, engine.arena) for _ in range(repeat)]
        )
        return [
            (call.label, min(column))
            for call, column in zip(self.kernels, zip(*times, strict=True), strict=True)
        ]

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
        from lampion.compiler.loops import show_kernel

        return "\n\n".join(
            f"# {number}: {call.label}\n{show_kernel(call.kernel)}"
            for number, call in enumerate(self.kernels)
        )

    def __str__(self) -> str:
        head = (
            f"{len(self.recorded.equations)} operations recorded, "
            f"{len(self.optimized.equations)} after the passes, "
            f"{len(self.kernels)} kernel calls ({len({c.kernel for c in self.kernels})} different), "
            f"arena {_bytes(self.arena_bytes)}, {self.flops / 1e6:.3g} MFLOP in matrix products, "
            f"call-outs {self.callouts}, called {self.calls} time(s)"
        )
        if not self.native:
            return f"{head}\n  interpreted: {self.reason}"
        lines = [head]
        for number, call in enumerate(self.kernels):
            kernel = call.kernel
            shape = getattr(kernel, "shape", None)
            size = "x".join(map(str, shape)) if shape is not None else ""
            moved = sum(place.nbytes for place in call.places)
            lines.append(
                f"  {number:3d}  {type(kernel).__name__:<10} {size:<16} {_bytes(moved):>9}  {call.label}"
            )
        return "\n".join(lines)


def _flops(call: ir.Call) -> int:
    kernel = call.kernel
    if not isinstance(kernel, ir.Matmul):
        return 0
    count = 2 * kernel.a.shape[-1]
    for n in kernel.shape:
        count *= n
    return count


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
