"""The trace of a loop's body, inside of the trace of what is around it.

The body is traced once, into a graph of its own. What it reads from outside is asked of the trace around it,
and becomes an input that is the same in each round. It may do to its own tensors what it likes; tensors made
outside are not written to, since that would have to happen once a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from lampion.compiler.graph import Graph, Value
from lampion.compiler.scan.loop import Loop
from lampion.compiler.strides import contiguous_strides
from lampion.compiler.trace import Trace, Tracer
from lampion.mode import mode
from lampion.ops.elementwise import add
from lampion.primitive import apply
from lampion.tensor import Tensor, wrap


class BodyGraph(Graph):
    """A graph that knows its own values."""

    def __init__(self) -> None:
        super().__init__()
        self.own: set[Value] = set()

    def value(self, shape: tuple[int, ...], dtype: Any) -> Value:
        """A new Value, not yet assigned."""
        value = super().value(shape, dtype)
        self.own.add(value)
        return value


class BodyTrace(Trace):
    """The recording of a body.

    Attributes:
        parent: the trace around it.
        carries: the inputs that one round hands to the next.
        sequences: the inputs that are slices, with what they are slices of: Tensors of the parent.
        captured: what is the same in each round: the input that stands for it, the parent's Tracer, and the
            Tensor that was read.
    """

    def __init__(self, parent: Trace) -> None:
        super().__init__()
        self.parent = parent
        self.graph: BodyGraph = BodyGraph()
        self.compiles = parent.compiles
        self.own, self.unmaking, self.class_reads = parent.own, parent.unmaking, parent.class_reads
        self.carries: list[Value] = []
        self.sequences: list[tuple[Value, Tensor]] = []
        self.captured: dict[Any, tuple[Value, Tracer, Tensor]] = {}
        self.states: dict[int, tuple[Any, Tracer, int]] = {}  # generators, and the blocks drawn from each

    # -- inputs -------------------------------------------------------------------------------------

    def carry(self, shape: tuple[int, ...], dtype: Any, plain: bool = False) -> Tensor:
        """A tensor that stands for what the round before handed on.

        Args:
            plain: whether, in each round of eager's loop, it lies in memory in order.
        """
        value = self.graph.value(shape, dtype)
        self.carries.append(value)
        return wrap(Tracer(value, contiguous_strides(shape, value.dtype.itemsize) if plain else None))

    def slice(self, sequence: Tensor) -> Tensor:
        """A tensor that stands for a slice of the sequence, along its first dimension."""
        array = sequence._array
        value = self.graph.value(array.shape[1:], array.dtype)
        self.sequences.append((value, sequence))
        return wrap(Tracer(value, None if array.strides is None else array.strides[1:]))

    def owns(self, array: Any) -> bool:
        """Whether this is a value of the body."""
        return type(array) is Tracer and array.value in self.graph.own

    def read(self, tensor: Tensor) -> Tracer:
        """What the tensor holds at this point of the body."""
        array: Any = tensor._array
        if self.owns(array) and array.version == tensor._version[0]:
            return array  # type: ignore[no-any-return]  # a Tracer, as `owns` says
        owner = tensor if tensor._base is None else tensor._base
        if self.owns(owner._array):
            return super().read(tensor)
        found = self.parent.read(tensor)
        key = self.key_of(found, tensor)
        if key not in self.captured:
            self.captured[key] = (self.graph.value(found.shape, found.dtype), found, tensor)
        inside = Tracer(self.captured[key][0], found.strides)
        inside.version, inside.fixed = tensor._version[0], found.fixed
        return inside

    def key_of(self, outer: Tracer, tensor: Tensor) -> Any:
        """By what a captured tensor is known: here the parent's value alone."""
        return outer.value

    def draw(self, generator: Any, blocks: int) -> tuple[Tensor, int]:
        """The state of a generator at the start of the round, and how many blocks were drawn since."""
        found = self.states.get(id(generator))
        if found is None:
            found = (generator, Tracer(self.graph.value((2,), np.uint64), (8,)), 0)
        _, state, drawn = found
        self.states[id(generator)] = (generator, state, drawn + blocks)
        return wrap(state), drawn

    def constant(self, array: Any) -> Tracer:
        """A Tracer of an array that is the same in every round, and at every call."""
        outer = self.parent.constant(array)
        value = self.graph.value(outer.shape, outer.dtype)
        self.captured[outer.value] = (value, outer, wrap(outer))
        return Tracer(value, outer.strides)

    # -- what a body does not do ----------------------------------------------------------------------

    def write(self, tensor: Tensor, value: Tensor) -> None:
        """The tensor's memory now holds `value`."""
        owner = tensor if tensor._base is None else tensor._base
        if not self.owns(owner._array):
            self.refuse("writes, in the body of a scan, to a tensor made outside of it", "make it a carry")
        super().write(tensor, value)

    def changing(self, tensor: Tensor, attribute: str) -> None:
        """An attribute of the tensor is about to be set."""
        if not self.owns(tensor._array):
            what = "the .grad" if attribute == "_grad" else attribute.strip("_")
            self.refuse(f"changes {what} of a tensor made outside of a scan, in its body",
                        "use lampion.func.grad there")  # fmt: skip

    def read_grad(self, tensor: Tensor) -> Tensor | None:
        """The `.grad` of a tensor."""
        if not self.owns(tensor._array):
            self.refuse("reads a .grad in the body of a scan", "pass it as an argument")
        return tensor._grad

    def host_scalars(self, *_: Any) -> NoReturn:
        """An optimizer's step."""
        self.refuse("steps an optimizer in the body of a scan", "step it outside")

    def guard_group(self, *_: Any) -> NoReturn:
        """An optimizer's step."""
        self.host_scalars()

    # -- the end ----------------------------------------------------------------------------------------

    def finish(self, outputs: Sequence[Value], length: int, reverse: bool) -> tuple[Loop, list[Value]]:
        """The loop, and its inputs in the parent's graph behind the carries'. The parent is current again."""
        for generator, state, blocks in self.states.values():
            self.sequences.append((state.value, self._states(generator, blocks, length, reverse)))
        graph = self.graph
        graph.inputs = [*self.carries, *(v for v, _ in self.sequences)]
        graph.inputs += [value for value, _, _ in self.captured.values()]
        graph.outputs = list(outputs)
        loop = Loop(graph, len(self.carries), len(self.sequences), length, reverse)
        outside = [self.parent.read(sequence).value for _, sequence in self.sequences]
        return loop, [*outside, *(outer.value for _, outer, _ in self.captured.values())]

    def _states(self, generator: Any, blocks: int, length: int, reverse: bool) -> Tensor:
        """A generator's state at the start of each round, by slice: what the eager loop would draw from."""
        state, drawn = self.parent.draw(generator, length * blocks)
        starts = np.zeros((length, 2), np.uint64)
        rounds = np.arange(length, dtype=np.uint64)
        starts[:, 1] = np.uint64(drawn) + (rounds[::-1] if reverse else rounds) * np.uint64(blocks)
        grad, mode.grad = mode.grad, False
        try:
            return apply(add.primitive, state, wrap(self.parent.constant(starts)))
        finally:
            mode.grad = grad


def outputs_of(body: Any, carry: Sequence[Tensor], sequences: Sequence[Tensor]) -> list[tuple[Any, Any]]:
    """Shapes and dtypes of a body's outputs, by tracing it without computing anything."""
    parent = mode.trace if isinstance(mode.trace, Trace) else Trace()
    trace = BodyTrace(parent)
    scope = mode.trace, mode.grad
    mode.trace, mode.grad = trace, False
    try:
        carries = [trace.carry(tuple(x.shape), x._array.dtype) for x in carry]
        slices = [
            wrap(Tracer(trace.graph.value(tuple(x.shape)[1:], x._array.dtype), None)) for x in sequences
        ]
        _, outputs = body(carries, slices)
        return [(tuple(y.shape), y.dtype) for y in outputs]
    finally:
        mode.trace, mode.grad = scope
