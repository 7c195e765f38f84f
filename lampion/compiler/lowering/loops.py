"""`scan`: the body becomes a plan of its own, once, and that plan's calls become a native loop.

Inside the body a carry has one place, from which a round reads it and to which it writes the next: straight
away where nothing reads the old one later, else by a copy at the end. A slice of a sequence, or of a stacked
result, is a place that moves on from round to round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.lowering.plan import Lowering
from lampion.compiler.lowering.registry import lowers
from lampion.compiler.schedule import Layout
from lampion.compiler.strides import contiguous_strides

if TYPE_CHECKING:
    from lampion.compiler.scan.loop import Loop


@dataclass(frozen=True)
class _Moving:
    """Where a value of the body lies: a buffer of the plan around it, from which byte on, how far apart."""

    layout: Layout  # inside the body
    place: ir.Place
    offset: int
    step: int


class BodyLowering(Lowering):
    """The plan of a body."""

    def __init__(self, graph: Graph, inputs: Sequence[_Moving], outputs: Sequence[_Moving], carries: int):
        self.moving: list[_Moving] = [*inputs, *outputs[carries:]]
        self.slots = [Value(-1, x.layout.shape, x.layout.root.dtype) for x in outputs[carries:]]
        strides = {value: x.layout.strides for value, x in zip(graph.inputs, inputs, strict=True)}
        super().__init__(graph, strides, [*graph.inputs[:carries], *self.slots])

    def _place_inputs(self) -> None:
        """Give inputs and stacked outputs their places: a number into `moving`, each by itself."""
        values = [*self.graph.inputs, *self.slots]
        for number, value in enumerate(values):
            self.places[value] = ir.Place(False, number, value.nbytes)
        for value in self.slots:
            self.layouts[value] = Layout(value, value.shape, contiguous_strides(value.shape, 1))
        self.externals = len(values)

    def _bind_outputs(self, targets: Sequence[Value | None]) -> None:
        self.last_check = -1  # after an error nobody looks at a loop's results
        super()._bind_outputs(targets)

    def _merged(self) -> list[ir.Call]:
        return self.calls  # a call over several tensors looks up its places by itself, which move here

    def spots(self, call: ir.Call, places: list[ir.Place], scratch: ir.Place) -> tuple[ir.Spot, ...]:
        """Where a call's operands lie, as operands of the loop, which are added to `places`."""
        found = []
        for place in call.places:
            moving = None if place.arena else self.moving[place.index]
            buffer = scratch if moving is None else moving.place
            if buffer not in places:
                places.append(buffer)
            number = places.index(buffer)
            if moving is None:
                found.append(ir.Spot(number, place.index, 0))
            else:
                found.append(ir.Spot(number, moving.offset, moving.step))
        return tuple(found)


@lowers("scan")
def lower_scan(lowering: Lowering, main: Equation) -> None:
    loop: Loop = main.params["loop"]
    group = lowering.schedule.groups[lowering.schedule.position[main.output]]
    results = {e.params["result"]: e.output for e in (main, *group.epilogue)}
    carries = [_carry(lowering, loop, number, main, results) for number in range(loop.carries)]
    sequences = range(loop.carries, loop.carries + loop.sequences)
    inputs = [*carries, *(_slice(lowering, loop, main.inputs[n]) for n in sequences)]
    inputs += [_fixed(lowering, value) for value in main.inputs[len(inputs) :]]
    outputs = [*carries]
    for number in range(loop.carries, len(loop.body.outputs)):
        stack = results[number]
        outputs.append(_slice(lowering, loop, stack))
    body = BodyLowering(loop.body, inputs, outputs, loop.carries)
    plan = body.plan()
    scratch = lowering.arena.take(plan.arena_bytes)
    places: list[ir.Place] = []
    rounds = [ir.Round(call.kernel, body.spots(call, places, scratch)) for call in plan.calls]
    written = {
        spot.operand: operand.dtype for call in rounds
        for spot, operand in zip(call.spots, call.kernel.operands, strict=True) if operand.written
    }  # fmt: skip
    types = {
        spot.operand: operand.dtype for call in rounds
        for spot, operand in zip(call.spots, call.kernel.operands, strict=True)
    }  # fmt: skip
    operands = tuple(ir.Operand(types[n], n in written) for n in range(len(places)))
    labels = tuple(call.label for call in plan.calls)
    kernel = ir.Repeat(loop.length, operands, tuple(rounds), labels)
    lowering.calls.append(ir.Call(kernel, tuple(places), f"scan of {len(rounds)} kernels"))


def _carry(
    lowering: Lowering, loop: Loop, number: int, main: Equation, results: dict[int, Value]
) -> _Moving:
    """The place of a carry, with its first value in it."""
    init = main.inputs[number]
    value = results.get(number) or Value(-1, init.shape, init.dtype)
    layout = Layout(value, value.shape, contiguous_strides(value.shape, 1))
    lowering.layouts[value] = layout
    lowering.copy(init, layout, "scan: first carry")
    return _Moving(layout, lowering.place(value), 0, 0)


def _slice(lowering: Lowering, loop: Loop, whole: Value) -> _Moving:
    layout, size = lowering.layout(whole), whole.dtype.itemsize
    step = layout.strides[0]
    first = loop.rounds[0]
    inside = Layout(whole, layout.shape[1:], layout.strides[1:])
    sign = -1 if loop.reverse else 1
    return _Moving(inside, lowering.place(layout.root), (layout.offset + first * step) * size, sign * step * size)


def _fixed(lowering: Lowering, value: Value) -> _Moving:
    layout = lowering.layout(value)
    inside = Layout(value, layout.shape, layout.strides)
    return _Moving(inside, lowering.place(layout.root), layout.offset * value.dtype.itemsize, 0)
