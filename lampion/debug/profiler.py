"""Where time and memory go: by operation, by module, by kernel; as a table, and for chrome://tracing."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, Self

from lampion.autograd.tape import next_order
from lampion.compiler.explain import size_of
from lampion.debug.memory import Ledger
from lampion.debug.places import path_of, running
from lampion.debug.watch import Watcher
from lampion.errors import OptionError
from lampion.nn.module import Module
from lampion.utils.files import write_file

_FORWARD, _BACKWARD = "forward", "backward"


@dataclass
class Event:
    """Something that took time.

    Attributes:
        name: of the operation, module, optimizer or compiled function.
        kind: ``"operation"``, ``"module"``, ``"backward"``, ``"optimizer"`` or ``"compiled"``.
        began, total: nanoseconds: since the profile began, and how long it took.
        own: `total` without the modules called inside; of a backward pass and of an optimizer's step,
            without the operations inside.
        phase: of an operation: ``"forward"``, or ``"backward"`` where it computes a gradient.
        module: in which module it ran; of a gradient, in which one the forward operation ran.
        shape, nbytes: of an operation: its result, and how much memory that took (a view takes none).
    """

    name: str
    kind: str
    began: int
    total: int
    own: int
    phase: str = _FORWARD
    module: str = ""
    shape: tuple[int, ...] = ()
    nbytes: int = 0


@dataclass
class Row:
    """The sum of several events: one line of a table. Times are nanoseconds."""

    name: str
    count: int = 0
    total: int = 0
    own: int = 0
    nbytes: int = 0
    peak: int = 0
    phase: str = ""

    def add(self, event: Event) -> None:
        self.count += 1
        self.total += event.total
        self.own += event.own
        self.nbytes += event.nbytes


@dataclass
class _Frame:
    """An event that is not over yet."""

    name: str
    inside: int = 0  # nanoseconds in the modules within it
    nbytes: int = 0


class profile(Watcher):
    """Measure what runs in this block. A ``with`` block; afterwards it holds the results.

    Eager operations are seen one by one: the time of the computing itself, without what the tape costs
    (that is in the time of the module, or of the backward pass, around it). A compiled function is one event;
    its kernels are measured after the block, each by itself, on copies of the last call's data. The first
    call of a compiled function, or of a heavy operation (a convolution) with new shapes, takes as long as
    compiling does: run a step before the block to leave that out.

    Attributes:
        events: all that happened, in the order in which it ended.
        peak_bytes: the most memory that results of operations held at one time.

    >>> import lampion
    >>> model = lampion.nn.Sequential(lampion.nn.Linear(4, 8), lampion.nn.ReLU())
    >>> with lampion.debug.profile() as p:
    ...     model(lampion.ones(2, 4)).sum().backward()
    >>> [(row.name, row.count) for row in p.by_operation() if row.name == "relu"]
    [('relu', 1)]
    >>> [row.name for row in p.by_module() if "ReLU" in row.name]
    ['1 (ReLU)']
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._ledger = Ledger()
        self._modules: list[tuple[Module, _Frame]] = []
        self._began = 0
        self._made: dict[int, str] = {}  # by the order of a node: in which module it was made
        self._names: dict[tuple[Module, ...], str] = {}
        self._compiled: dict[int, tuple[Any, int]] = {}
        self.kernels: list[tuple[str, str, int, float]] = []

    @property
    def peak_bytes(self) -> int:
        return self._ledger.peak

    def __enter__(self) -> Self:
        super().__enter__()
        self._began = perf_counter_ns()
        return self

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        for compiled, calls in self._compiled.values():
            plans = [plan for plan in compiled.explain().plans if plan.native and plan.calls]
            # Which plan ran how often is not told apart: the newest is the one that was used last.
            for label, nanoseconds in plans[0].profile() if plans else []:
                self.kernels.append((compiled.__name__, label, calls, nanoseconds))

    # -- what the watcher hears ------------------------------------------------------------------------

    def computed(self, primitive: Any, arrays: Any, params: Any, out: Any, began: int, ended: int) -> None:
        chain, node = running()
        if node is None:
            phase, module = _FORWARD, self._name(chain)
            if chain:
                self._made[next_order() + 1] = module
        else:
            phase, module = _BACKWARD, self._made.get(node.order, self._name(chain))
        nbytes = self._ledger.add(out, arrays, (primitive.name, phase, module))
        took = ended - began
        if self._modules:
            self._modules[-1][1].nbytes += nbytes
        self._note(Event(
            primitive.name, "operation", began, took, took, phase, module, tuple(out.shape), nbytes
        ))  # fmt: skip

    def entering(self, module: Module, args: tuple[Any, ...]) -> None:
        chain = (*(called for called, _ in self._modules), module)
        self._modules.append((module, _Frame(self._name(chain))))

    def left(self, module: Module, began: int, ended: int) -> None:
        if not self._modules:  # it was called before the block began
            return
        _, frame = self._modules.pop()
        took = ended - began
        if self._modules:
            self._modules[-1][1].inside += took
            self._modules[-1][1].nbytes += frame.nbytes
        self._note(Event(
            frame.name, "module", began, took, max(took - frame.inside, 0), module=frame.name,
            nbytes=frame.nbytes
        ))  # fmt: skip

    def walked(self, began: int, ended: int) -> None:
        self._note(Event("backward", "backward", began, ended - began, self._rest(began, ended)))

    def stepped(self, optimizer: Any, began: int, ended: int) -> None:
        name = f"{type(optimizer).__name__}.step"
        self._note(Event(name, "optimizer", began, ended - began, self._rest(began, ended)))

    def _rest(self, began: int, ended: int) -> int:
        """How much of a stretch of time that ends now was not spent in operations."""
        rest = ended - began
        for event in reversed(self.events):
            if event.began + event.total < began - self._began:
                break
            if event.kind in ("operation", "compiled"):
                rest -= event.total
        return max(rest, 0)

    def ran(self, compiled: Any, began: int, ended: int) -> None:
        took = ended - began
        calls = self._compiled.get(id(compiled), (compiled, 0))[1]
        self._compiled[id(compiled)] = (compiled, calls + 1)
        self._note(Event(compiled.__name__, "compiled", began, took, took))

    def _note(self, event: Event) -> None:
        event.began -= self._began
        self.events.append(event)

    def _name(self, chain: tuple[Module, ...]) -> str:
        name = self._names.get(chain)
        if name is None:
            name = self._names[chain] = path_of(chain)
        return name

    # -- the results -------------------------------------------------------------------------------------

    def by_operation(self) -> list[Row]:
        """The operations, forward and backward apart, the most expensive first."""
        rows: dict[tuple[str, str], Row] = {}
        for event in self.events:
            if event.kind == "operation":
                key = (event.name, event.phase)
                rows.setdefault(key, Row(event.name, phase=event.phase)).add(event)
        for (name, phase, _), size in self._ledger.at_peak.items():
            if (name, phase) in rows:
                rows[name, phase].peak += size
        return sorted(rows.values(), key=lambda row: row.own, reverse=True)

    def by_module(self) -> list[Row]:
        """The modules, forward: time with and without the modules inside; memory that their operations took.

        At the peak, memory counts for the innermost module, gradients for that of the forward operation.
        """
        rows: dict[str, Row] = {}
        for event in self.events:
            if event.kind == "module":
                rows.setdefault(event.name, Row(event.name)).add(event)
        for (_, _, module), size in self._ledger.at_peak.items():
            if module in rows:
                rows[module].peak += size
        return sorted(rows.values(), key=lambda row: row.total, reverse=True)

    def table(self, by: str = "all", limit: int = 20) -> str:
        """The results as text.

        Args:
            by: ``"operation"``, ``"module"``, ``"kernel"``, or ``"all"`` of them.
            limit: how many lines of each.
        """
        if by not in ("all", "operation", "module", "kernel"):
            raise OptionError("profile.table", "there is no such table", got=repr(by),
                              expected="'operation', 'module', 'kernel' or 'all'")  # fmt: skip
        parts = []
        if by == "operation" or (by == "all" and self.by_operation()):
            parts.append(_table("operation", self.by_operation(), limit))
        if by in ("all", "module") and (by == "module" or self.by_module()):
            parts.append(_table("module", self.by_module(), limit))
        if by == "all":
            rows: dict[str, Row] = {}
            for event in self.events:
                if event.kind in ("backward", "optimizer", "compiled"):
                    rows.setdefault(event.name, Row(event.name)).add(event)
            if rows:
                parts.append(_table("step", list(rows.values()), limit))
        if by == "kernel" or (by == "all" and self.kernels):
            parts.append(self._kernel_table(limit))
        if by != "kernel":
            parts.append(f"most memory held at one time: {size_of(self.peak_bytes)}")
        return "\n\n".join(parts)

    def _kernel_table(self, limit: int) -> str:
        width = max([6, *(len(label) for _, label, _, _ in self.kernels)])
        lines = [f"{'kernel':<{width}}  {'calls':>7}  {'each':>10}  {'total':>10}  of"]
        ordered = sorted(self.kernels, key=lambda kernel: kernel[2] * kernel[3], reverse=True)
        for function, label, calls, each in ordered[:limit]:
            lines.append(
                f"{label:<{width}}  {calls:>7}  {_time(each):>10}  {_time(calls * each):>10}  {function}"
            )
        return "\n".join(lines + _left_out(len(ordered), limit))

    def chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the events as a file for chrome://tracing (or https://ui.perfetto.dev).

        Source: Trace Event Format, complete events (``"ph": "X"``), in microseconds.
        """
        process, thread = os.getpid(), threading.get_native_id()
        who = {"pid": process, "tid": thread}
        events: list[dict[str, Any]] = [
            {"name": "process_name", "ph": "M", **who, "args": {"name": "lampion"}}
        ]
        for event in sorted(self.events, key=lambda event: (event.began, -event.total)):
            details: dict[str, Any] = {"phase": event.phase, "bytes": event.nbytes}
            if event.kind == "operation":
                details |= {"module": event.module, "shape": list(event.shape)}
            events.append(
                {"name": event.name, "cat": event.kind, "ph": "X", "ts": event.began / 1000,
                 "dur": event.total / 1000, **who, "args": details}
            )  # fmt: skip
        write_file(path, json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}))

    def __str__(self) -> str:
        return self.table()


def _table(title: str, rows: list[Row], limit: int) -> str:
    names = [row.name if row.phase != _BACKWARD else f"{row.name} (backward)" for row in rows]
    width = max([len(title), *map(len, names)])
    head = f"{title:<{width}}  {'count':>7}  {'total':>10}  {'self':>10}  {'memory':>10}  {'at peak':>10}"
    lines = [
        f"{name:<{width}}  {row.count:>7}  {_time(row.total):>10}  {_time(row.own):>10}  "
        f"{size_of(row.nbytes):>10}  {size_of(row.peak):>10}"
        for name, row in zip(names[:limit], rows, strict=False)
    ]
    return "\n".join([head, *lines, *_left_out(len(rows), limit)])


def _left_out(count: int, limit: int) -> list[str]:
    return [f"... and {count - limit} more"] if count > limit else []


def _time(nanoseconds: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.2f} {unit}"
    return f"{nanoseconds:.0f} ns"
