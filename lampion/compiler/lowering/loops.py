"""`scan`: the body becomes a plan of its own, once, and that plan's calls become a native loop.

Inside the body a carry has one place, from which a round reads it and to which it writes the next: straight
away where nothing reads the old one later, else by a copy at the end. A slice of a sequence, or of a stacked
result, is a place that moves on from round to round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import mul
from typing import TYPE_CHECKING

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.lowering.panels import in_panels, lay_out
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
    """The plan of a body.

    Args:
        inputs: where each input lies.
        outputs: where each output goes to; None for a carry that is written over the old one.
    """

    def __init__(self, graph: Graph, inputs: Sequence[_Moving], outputs: Sequence[_Moving | None]) -> None:
        slots = [None if x is None else Value(-1, x.layout.shape, x.layout.root.dtype) for x in outputs]
        self.slots = [value for value in slots if value is not None]
        self.moving = [*inputs, *(x for x in outputs if x is not None)]
        strides = {value: x.layout.strides for value, x in zip(graph.inputs, inputs, strict=True)}
        targets = [graph.inputs[n] if slot is None else slot for n, slot in enumerate(slots)]
        super().__init__(graph, strides, targets)

    def _place_inputs(self) -> None:
        """Give inputs, and outputs with a place of their own, a number into `moving`, each by itself."""
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

    def beside(self, moving: _Moving) -> ir.Place:
        """One more buffer of the plan around it."""
        self.moving.append(moving)
        return ir.Place(False, len(self.moving) - 1, moving.layout.root.nbytes)

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
                found.append(ir.Spot(number, moving.offset + place.start, moving.step))
        return tuple(found)


@lowers("scan")
def lower_scan(lowering: Lowering, main: Equation) -> None:
    loop = _LoopLowering(lowering, main)
    lowering.calls.append(loop.call())
    for place, last in loop.ends:
        end = Value(-1, last.shape, last.dtype)
        lowering.layouts[end] = Layout(end, end.shape, contiguous_strides(end.shape, 1))
        lowering.places[end] = place
        lowering.copy(end, lowering.layouts[last], "scan: last carry")


class _LoopLowering:
    """A loop, in the making: where its values lie."""

    def __init__(self, lowering: Lowering, main: Equation) -> None:
        self.lowering, self.given = lowering, main.inputs
        self.loop: Loop = main.params["loop"]
        group = lowering.schedule.groups[lowering.schedule.position[main.output]]
        self.results: dict[int, Value] = {e.params["result"]: e.output for e in (main, *group.epilogue)}
        self.inputs: list[_Moving] = []
        self.outputs: list[_Moving | None] = []
        self.trails: set[int] = set()  # the results that are the trail of a carry
        self.ends: list[tuple[ir.Place, Value]] = []  # what has to be copied from a trail after the loop
        self.fixed: dict[int, Layout] = {}  # where inputs lie that are the same in each round
        self.turned: dict[int, tuple[Layout, ir.Call]] = {}  # where they lay before a copy that turned them
        for place in range(self.loop.carries):
            self._carry(place)
        for given in main.inputs[len(self.inputs) :][: self.loop.sequences]:
            self.inputs.append(self._slice(given))
        for given in main.inputs[len(self.inputs) :]:
            self._fix(given)

    def call(self) -> ir.Call:
        """The call of the loop's kernel."""
        loop = self.loop
        stacked = [n for n in range(loop.carries, len(loop.body.outputs)) if n not in self.trails]
        self.outputs += [self._slice(self.results[number]) for number in stacked]
        outputs = [loop.body.outputs[number] for number in (*range(loop.carries), *stacked)]
        graph = loop.body.replaced(list(loop.body.equations), outputs)
        body = BodyLowering(graph, self.inputs, self.outputs)
        plan = body.plan()
        scratch = self.lowering.arena.take(plan.arena_bytes)
        places: list[ir.Place] = []
        rounds: list[ir.Round] = []
        labels: list[str] = []
        for part in (part for call in plan.calls for part in self._in_panels(call, body)):
            rounds.append(ir.Round(part.kernel, body.spots(part, places, scratch)))
            labels.append(part.label)
        self._forget_turned(places)
        operands: dict[int, ir.Operand] = {}
        for call in rounds:
            for spot, operand in zip(call.spots, call.kernel.operands, strict=True):
                before = operands.get(spot.operand, operand)
                operands[spot.operand] = ir.Operand(before.dtype, before.written or operand.written)
        inside = tuple(operands[number] for number in range(len(places)))
        kernel = ir.Repeat(loop.length, inside, tuple(rounds), tuple(labels))
        return ir.Call(kernel, tuple(places), f"scan of {len(rounds)} kernels")

    # -- matrices that are the same in each round ------------------------------------------------------

    def _fix(self, given: Value) -> None:
        """Say where something lies that is the same in each round."""
        number = len(self.inputs)
        layout = self.fixed[number] = self._turned(number, given)
        inside = Layout(given, layout.shape, layout.strides)
        self.inputs.append(
            _Moving(inside, self.lowering.place(layout.root), layout.offset * given.dtype.itemsize, 0)
        )

    def _turned(self, number: int, given: Value) -> Layout:
        """Where it lies; a matrix that products read is laid out by rows first, if it is not yet: each round
        would do that again.
        """
        layout, inside = self.lowering.layout(given), self.loop.body.inputs[number]
        reads = [e for e in self.loop.body if e.primitive.name == "matmul" and inside in e.values]
        if not reads or layout.strides == contiguous_strides(layout.shape, 1):
            return layout
        turned = Value(-1, given.shape, given.dtype)
        to = self.lowering.layouts[turned] = Layout(turned, given.shape, contiguous_strides(given.shape, 1))
        self.lowering.copy(given, to, "scan: rows")
        self.turned[number] = layout, self.lowering.calls[-1]
        return to

    def _in_panels(self, call: ir.Call, body: BodyLowering) -> list[ir.Call]:
        """A call of the body, or what it becomes if it is a product with a matrix that lies in panels."""
        panels = in_panels(call.kernel, self.loop.length)
        if panels is None or (old := call.places[panels.matrix]).arena or old.index not in self.fixed:
            return [call]
        pieces = [self._outside(old, piece) for piece in panels.pieces]
        packed = lay_out(self.lowering, panels, pieces)
        new = body.beside(_Moving(packed, self.lowering.place(packed.root), 0, 0))
        places = tuple(new if n == panels.matrix else place for n, place in enumerate(call.places))
        return [replace(call, kernel=kernel, places=places) for kernel in panels.kernels]

    def _outside(self, place: ir.Place, window: ir.Window) -> Layout:
        """Where a window onto something fixed lies outside of the loop; if that was turned, before it was."""
        layout = self.fixed[place.index]
        steps = [place.start // layout.root.dtype.itemsize + window.offset, *window.strides]
        if place.index in self.turned and len(layout.shape) == 2:
            row, (layout, _) = layout.shape[1], self.turned[place.index]
            steps = [sum(map(mul, divmod(step, row), layout.strides)) for step in steps]
        return Layout(layout.root, window.shape, tuple(steps[1:]), layout.offset + steps[0])

    def _forget_turned(self, places: Sequence[ir.Place]) -> None:
        """Take back the copies that nothing in the loop reads any more."""
        for number, (_, copy) in self.turned.items():
            if self.inputs[number].place not in places:
                del self.lowering.calls[next(n for n, call in enumerate(self.lowering.calls) if call is copy)]

    def _carry(self, number: int) -> None:
        """Give a carry its place, with its first value in it."""
        init = self.given[number]
        value = self.results.get(number) or Value(-1, init.shape, init.dtype)
        layout = Layout(value, value.shape, contiguous_strides(value.shape, 1))
        trail = self._trail(number)
        if trail is not None:
            self._follow(number, trail, init, value)
            return
        self.lowering.layouts[value] = layout
        self.lowering.copy(init, layout, "scan: first carry")
        self.inputs.append(_Moving(layout, self.lowering.place(value), 0, 0))
        self.outputs.append(None)

    def _slice(self, whole: Value) -> _Moving:
        """Where the slices of something lie."""
        layout, size = self.lowering.layout(whole), whole.dtype.itemsize
        step = layout.strides[0] * size
        inside = Layout(whole, layout.shape[1:], layout.strides[1:])
        start = layout.offset * size + self.loop.rounds[0] * step
        return _Moving(inside, self.lowering.place(layout.root), start, -step if self.loop.reverse else step)

    # -- carries that are stacked too ----------------------------------------------------------------------

    def _trail(self, number: int) -> dict[int, int] | None:
        """The results that are all values of a carry, before or after each round; None if there are none.

        By number, the first row of the trail that is theirs. (A result that belongs elsewhere is not one.)
        """
        body, found = self.loop.body, {}
        for place in range(self.loop.carries, len(body.outputs)):
            value = body.outputs[place]
            if value is body.inputs[number] or value is body.outputs[number]:
                after = value is body.outputs[number]
                if place not in self.trails and self.results[place] not in self.lowering.places:
                    found[place] = int(after is not self.loop.reverse)
        return found or None

    def _follow(self, number: int, trail: dict[int, int], init: Value, last: Value) -> None:
        """Let a carry move along a buffer in which all its values remain."""
        lowering, loop, row = self.lowering, self.loop, init.nbytes
        buffer = lowering.arena.take(row * (loop.length + 1))
        for place, begin in trail.items():
            whole = replace(buffer, nbytes=row * loop.length, start=row * begin)
            lowering.places[self.results[place]] = whole
        self.trails |= set(trail)
        first = loop.length if loop.reverse else 0
        start = Value(-1, init.shape, init.dtype)
        layout = Layout(start, init.shape, contiguous_strides(init.shape, 1))
        lowering.layouts[start] = layout
        lowering.places[start] = replace(buffer, nbytes=row, start=row * first)
        lowering.copy(init, layout, "scan: first carry")
        step = -row if loop.reverse else row
        self.inputs.append(_Moving(layout, buffer, row * first, step))
        self.outputs.append(_Moving(layout, buffer, row * first + step, step))
        end = replace(buffer, nbytes=row, start=row * (loop.length - first))
        if last in lowering.places:
            self.ends.append((end, last))
        else:
            lowering.places[last] = end
