"""From groups to a plan: kernel records for each group, a place in memory for each stored value."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.lowering.assembly import assemble
from lampion.compiler.lowering.bases import based
from lampion.compiler.lowering.body import Body, Record
from lampion.compiler.lowering.checks import last_check
from lampion.compiler.lowering.in_place import scattered
from lampion.compiler.lowering.registry import GROUPS
from lampion.compiler.lowering.segments import merged
from lampion.compiler.memory import Arena
from lampion.compiler.merge import merge_groups
from lampion.compiler.recompute import recompute
from lampion.compiler.schedule import MACHINE_TYPES, Group, Layout, Schedule
from lampion.compiler.strides import contiguous_strides


class Lowering:
    """A plan in the making: where each value lives, and the kernel calls so far."""

    def __init__(
        self, graph: Graph, strides: dict[Value, tuple[int, ...]], targets: Sequence[Value | None]
    ) -> None:
        self.graph = graph
        self.schedule = Schedule(graph, strides)
        merge_groups(self.schedule, targets)
        recompute(self.schedule, targets)
        self.layouts = self.schedule.layouts
        self.places: dict[Value, ir.Place] = {}
        self.calls: list[ir.Call] = []
        self.arena = Arena()
        self.externals = 0
        self.channels_last: dict[Value, Layout] = {}  # copies of images whose channels were not adjacent
        self._place_inputs()
        # The last group that can fail: upon an index out of range, a singular matrix...
        self.last_check = last_check(self.schedule.groups, graph)
        self.copies: list[tuple[Value, Layout]] = []  # what has to be copied to its output at the end
        self._bind_outputs(targets)

    def _place_inputs(self) -> None:
        """Give the inputs and constants their places, behind external pointers."""
        known = [*self.graph.inputs, *self.graph.constants]
        for slot, value in enumerate(known):
            self.places[value] = ir.Place(False, slot, value.nbytes)
        self.externals = len(known)

    def _bind_outputs(self, targets: Sequence[Value | None]) -> None:
        """Let kernels write outputs where they belong; note those that need a copy at the end."""
        direct: set[Value] = set()
        for value, target in zip(self.graph.outputs, targets, strict=True):
            computed = value in self.schedule.position and value not in direct and self.is_plain(value)
            if target is None:
                slot = ir.Place(False, self.externals, value.nbytes)
                self.externals += 1
                if computed:
                    self.places[value] = slot
                    direct.add(value)
                else:
                    stand_in = Value(-1, value.shape, value.dtype)
                    self.places[stand_in] = slot
                    self.copies.append(
                        (value, Layout(stand_in, value.shape, contiguous_strides(value.shape, 1)))
                    )
            elif computed and (way := scattered(self, value, target)):
                self.places.update(dict.fromkeys(way, self.places[target]))
                direct.add(value)
            elif computed and self._may_overwrite(value, target):
                self.places[value] = self.places[target]
                direct.add(value)
            else:
                self.copies.append((value, self.layouts[target]))

    def is_plain(self, value: Value) -> bool:
        """Whether a value lies in memory as outputs do."""
        return self.layouts[value].strides == contiguous_strides(value.shape, 1)

    def _may_overwrite(self, value: Value, target: Value) -> bool:
        """Whether the kernel that computes `value` may write it straight over the input `target`.

        It may if nothing reads the target's old contents later, or in the same kernel at another point.
        """
        plain, layouts = contiguous_strides(target.shape, 1), (self.layouts[value], self.layouts[target])
        if value.shape != target.shape or any(layout.strides != plain for layout in layouts):
            return False
        own = self.schedule.position[value]
        if own <= self.last_check:
            return False  # it, or a later one, may find an error: then the user's tensors are as they were
        for index, group, equation, read in self.reads.get(target, ()):
            same_point = read is target and group.kind in ("map", "matmul", "convolution", "reduce") and (
                equation is not group.main and (group.kind == "map" or equation in group.epilogue)
            )  # fmt: skip
            if index > own or (index == own and not same_point):
                return False
        return all(self.root(v) is not target for v in self.graph.outputs)

    @functools.cached_property
    def reads(self) -> dict[Value | None, list[tuple[int, Group, Equation, Value]]]:
        """By whose memory is read: by which equations of which groups, and as what."""
        found: dict[Value | None, list[tuple[int, Group, Equation, Value]]] = {}
        for index, group in enumerate(self.schedule.groups):
            for equation in group.equations:
                for read in equation.values:
                    found.setdefault(self.root(read), []).append((index, group, equation, read))
        return found

    def root(self, value: Value) -> Value | None:
        """The value whose memory a kernel looks at where it reads this one; None for Python numbers."""
        while value in self.schedule.inlined:
            (value,) = self.schedule.inlined[value].inputs
        return None if value in self.schedule.numbers else self.layouts[value].root

    # -- the plan -----------------------------------------------------------------------------------

    def plan(self) -> ir.Plan:
        assemble(self)
        for group in self.schedule.groups:
            first = len(self.calls)
            GROUPS[group.kind](self, group)
            made = tuple(group.equations)
            self.calls[first:] = [replace(call, equations=made) for call in self.calls[first:]]
        self._final_copies()
        _check_reads(self.calls)
        calls = self.arena.place(self._merged())
        return ir.Plan(tuple(calls), self.arena.nbytes, self.externals)

    def _merged(self) -> list[ir.Call]:
        return merged(self.calls)

    def _final_copies(self) -> None:
        overwritten = {layout.root for _, layout in self.copies}
        ready = []
        for value, layout in self.copies:
            if self.root(value) in overwritten:
                # Another copy overwrites what this one reads: set it aside first.
                aside = Value(-1, value.shape, value.dtype)
                self.layouts[aside] = Layout(aside, value.shape, contiguous_strides(value.shape, 1))
                self.copy(value, self.layouts[aside], "set aside")
                value = aside
            ready.append((value, layout))
        for value, layout in ready:
            self.copy(value, layout, "write back")

    def place(self, root: Value) -> ir.Place:
        found = self.places.get(root)
        if found is None:
            found = self.places[root] = self.arena.take(root.nbytes)
        return found

    def call(self, record: Record, kernel: Any, label: str) -> None:
        self.calls.append(ir.Call(*based(kernel, record.places), label))

    # -- pieces ---------------------------------------------------------------------------------------

    def layout(self, value: Value) -> Layout:
        """Where a value can be read; numbers are written out first."""
        if value not in self.layouts:
            to = Layout(value, value.shape, contiguous_strides(value.shape, 1))
            self.copy(value, to, "full")
            self.layouts[value] = to
        return self.layouts[value]

    def copy(self, value: Value, to: Layout, label: str) -> None:
        """Write a value (broadcast) to a layout."""
        record = Record(self)
        if value.dtype not in MACHINE_TYPES:
            number = self.schedule.numbers.get(value)
            if number is None:
                source = record.window(self.layouts[value], value.dtype)
            else:
                source = value.dtype.numpy.type(number)
            out = record.window(to, value.dtype, written=True)
            kernel = ir.CallOut("copy", _identity, (source,), {}, out, tuple(record.operands))
            self.call(record, kernel, label)
            return
        body = Body(self, record, to.shape)
        number = body.read(value)
        store = ir.Store(record.window(to, value.dtype, written=True), number)
        self.call(record, ir.Map(to.shape, tuple(record.operands), tuple(body.values), (store,)), label)


def _check_reads(calls: list[ir.Call]) -> None:
    """No kernel may read a place of the arena that none before it has written: that would be any number."""
    written: set[int] = set()
    for call in calls:
        for place, operand in zip(call.places, call.kernel.operands, strict=True):
            if place.arena and not operand.written and place.index not in written:
                raise AssertionError(f"kernel `{call.label}` reads what is written after it")
        for place, operand in zip(call.places, call.kernel.operands, strict=True):
            if place.arena and operand.written:
                written.add(place.index)


def _identity(xp: Any, x: Any) -> Any:
    return x
