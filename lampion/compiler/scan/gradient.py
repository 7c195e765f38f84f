"""The gradient of a recorded scan: another scan, in the other direction."""

from __future__ import annotations

from typing import Any

from lampion.compiler.graph import Value
from lampion.compiler.scan.body import BodyTrace
from lampion.compiler.scan.loop import scan
from lampion.compiler.scan.record import Recorded, has_function, ops, pull_back, record_scan, replay
from lampion.compiler.trace import Trace, Tracer
from lampion.dtype import of
from lampion.errors import LampionError
from lampion.mode import mode
from lampion.tensor import Tensor, wrap


class GradientTrace(BodyTrace):
    """The trace of the body of a gradient.

    What it reads of the forward body's values is a slice of something that the forward loop has, or will
    have, stacked.
    """

    def __init__(self, parent: Trace, forward: Recorded) -> None:
        super().__init__(parent)
        self.forward = forward
        self.higher = mode.grad  # whether the gradient will be differentiated in turn
        self.found: dict[tuple[Value, int], Any] = {}

    def read(self, tensor: Tensor) -> Tracer:
        """What the tensor holds at this point of the body."""
        array: Any = tensor._array
        if not self.forward.trace.owns(array):
            return super().read(tensor)
        edge = tensor._edge() if self.higher else None
        key = (array.value, id(edge))
        if key not in self.found:
            self.found[key] = self._fetched(array.value, edge)
        found = self.found[key]
        if isinstance(found, Tensor):  # the same in each round
            return super().read(found)
        return found  # type: ignore[no-any-return]  # a Tracer

    def key_of(self, outer: Tracer, tensor: Tensor) -> Any:
        """By what a captured tensor is known: with and without its history it is two."""
        return outer.value, id(tensor._edge()) if self.higher else None

    def _fetched(self, value: Value, edge: Any) -> Any:
        forward = self.forward
        trace, grad = mode.trace, mode.grad
        mode.trace = forward.home
        try:
            number = forward.stacked(value)
            if number is None and (fixed := forward.unchanging(value, edge)) is not None:
                return fixed
            stack = forward.saved(value, edge) if number is None else forward.sequence(number, edge)
        finally:
            mode.trace, mode.grad = trace, grad
        return self.slice(stack)._array


def gradients(forward: Recorded, parts: dict[int, Tensor]) -> tuple[Tensor | None, ...]:
    """The gradients of what a scan was given, and of what it captured, from those of its results."""
    parent, loop = mode.trace, forward.loop
    if not isinstance(parent, Trace):
        raise LampionError("scan", "a gradient is taken at another level than that of the scan",
                           fix="call scan inside of the function that is differentiated")  # fmt: skip
    if mode.grad and has_function(forward.edges, forward):
        parent.refuse("differentiates twice through an autograd.Function in a scan", "write it as operations")
    needed = [place for place in range(loop.carries) if forward.needed[place]]
    init = [parts[place] if place in parts else _zeros(loop, place) for place in needed]
    given = [place for place in sorted(parts) if place >= loop.carries]
    trace = GradientTrace(parent, forward)
    carries = [trace.carry(x._array.shape, x._array.dtype) for x in init]
    # The outputs' gradients first: that is the order in which eager sums up what arrives at one place.
    roots = [(forward.edges[place], trace.slice(parts[place])) for place in given]
    roots += [(forward.edges[place], x) for place, x in zip(needed, carries, strict=True)]
    grad, mode.trace = mode.grad, trace
    try:
        arrived = pull_back([(edge, x) for edge, x in roots if edge is not None], forward)
        mode.grad = False
        heads = [_or_zeros(arrived.get(id(forward.leaves[place])), x)
                 for place, x in zip(needed, carries, strict=True)]  # fmt: skip
        weights = [edge for edge in forward.outside if id(edge) in arrived]
        sums = [trace.carry(arrived[id(edge)]._array.shape, arrived[id(edge)]._array.dtype)
                for edge in weights]  # fmt: skip
        heads += [ops.add(x, arrived[id(edge)]) for x, edge in zip(sums, weights, strict=True)]
        wanted = [
            place for place in range(loop.carries, len(forward.given))
            if forward.needed[place] and id(forward.leaves[place]) in arrived
        ]  # fmt: skip
        slices = [arrived[id(forward.leaves[place])] for place in wanted]
        values = [trace.read(x).value for x in (*heads, *slices)]
        # -0.0 + x is x, whatever x is; 0.0 + -0.0 is not.
        mode.trace = parent
        init += [ops.full(x._array.shape, -0.0, dtype=x.dtype) for x in sums]
    finally:
        mode.trace, mode.grad = parent, grad
    results = _run(trace, values, init, not loop.reverse, loop.length)
    found: dict[int, Tensor] = dict(zip(needed, results, strict=False))
    totals = dict(zip(map(id, weights), results[len(needed) :], strict=False))
    found.update(zip(wanted, results[len(init) :], strict=True))
    own = [found.get(place) for place in range(len(forward.given))]
    return (*own, *(totals.get(id(edge)) for edge in forward.outside))


def _run(
    trace: GradientTrace, values: list[Value], init: list[Tensor], reverse: bool, length: int
) -> list[Tensor]:
    """Record the loop of a finished body: all its results."""
    parent = trace.parent
    if not mode.grad:
        loop, more = trace.finish(values, length, reverse)
        inputs = [*(parent.read(x).value for x in init), *more]
        results = []
        for place in range(len(values)):
            shape, dtype = loop.type_of(place)
            params = {"loop": loop, "result": place}
            value = parent.graph.add(scan, inputs, params, shape, dtype, trace.forward.at)
            results.append(wrap(Tracer(value, None).anew()))
        return results
    graph = trace.graph
    graph.inputs = [*trace.carries, *(v for v, _ in trace.sequences)]
    graph.inputs += [inside for inside, _, _ in trace.captured.values()]
    graph.outputs = values
    captured = [tensor for _, _, tensor in trace.captured.values()]
    body = replay(graph, captured)
    carries, outputs = record_scan(body, init, [x for _, x in trace.sequences], length, reverse)
    return [*carries, *outputs]


def _zeros(loop: Any, place: int) -> Tensor:
    shape, dtype = loop.type_of(place)
    grad, mode.grad = mode.grad, False
    try:
        return ops.zeros(shape, dtype=of(dtype))  # type: ignore[no-any-return]  # see `ops`
    finally:
        mode.grad = grad


def _or_zeros(x: Tensor | None, like: Tensor) -> Tensor:
    return ops.zeros(like._array.shape, dtype=like.dtype) if x is None else x
