"""The node that a compiled function leaves on the tape of its caller.

It is one node, whatever the function did inside: its inputs are the arguments and parameters that need
gradients, and its outputs are the results that have them. (Several outputs stand on top of it, each with an
item of its own, as those of an `autograd.Function`.) What it saved carries versions, as on any tape: arrays
of the user's by reference, with the same check and the same message as in eager; arrays of the compiled
function's own, which nobody else can reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from lampion.autograd.function import Bundle, Function
from lampion.autograd.graph import with_history
from lampion.autograd.tape import Node, freed_error, new_node, overwritten_error
from lampion.compiler.backward import Derivative, Tape
from lampion.compiler.capture import CaptureError
from lampion.compiler.replay import replay
from lampion.errors import GradientError
from lampion.mode import mode
from lampion.tensor import Tensor, wrap


class _Rules:
    """What the walk asks of a node: the primitive of one call."""

    name = "compiled_function"
    saves_inputs = saves_output = False
    saves_shapes = ""
    analytic = False

    def __init__(self, kind: str, vjp: Callable[..., Any]) -> None:
        self.kind = kind
        self.vjp = vjp


class CompiledNode(Node):
    """The node of one call."""

    __slots__ = ("call",)
    call: Call

    def release(self) -> None:
        """Let go of what was kept for the gradients that were just computed."""
        super().release()
        self.call.release()


@dataclass
class Call:
    """What one call of a compiled function (or of a gradient of it) has kept.

    Attributes:
        edges: for each input of the tape, where on the caller's tape its gradient goes on.
        kept: the values of `tape.kept`.
        versions: for each of the user's storages among them: its version list, and what it was.
        freed: the nodes of the tape whose saved values a backward pass has let go of.
        last: the derivative that was computed last.
    """

    tape: Tape
    edges: list[Any]
    kept: list[Any]  # Tensors; None where they were freed
    versions: list[tuple[list[Any], int]]
    freed: set[int] = field(default_factory=set)
    last: Derivative | None = None

    def gradients(self, gradient: Tensor | Bundle, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        """The gradients of the inputs that are asked for."""
        parts = gradient.parts if isinstance(gradient, Bundle) else {0: gradient}
        ends = range(len(self.tape.outs))
        seeds = [parts[end] for end in ends if end in parts]
        create = mode.grad
        recorded = tuple(seed.requires_grad for seed in seeds) if create else None
        try:
            derivative = self.tape.derivative(tuple(end in parts for end in ends), tuple(wanted), recorded)
        except CaptureError as error:  # a gradient of the user's own does something else than before
            raise GradientError(
                "compiled_function", f"a gradient cannot be recorded: {error}",
                fix="leave the function uncompiled",
            ) from None  # fmt: skip
        self._check(derivative)
        self.last = derivative
        if mode.trace is not None:
            results = self._replayed(derivative, seeds)
        else:
            values = [*self.kept, *map(_in_order, seeds)]
            results = self._run(derivative, [values[number] for number in derivative.takes])
            if create and derivative.after is not None and derivative.lasting:
                self._record(derivative, derivative.after, seeds, results)
        return tuple(
            None if number is None or not wants else seeds[-1 - number] if number < 0 else results[number]
            for number, wants in zip(derivative.gives, wanted, strict=True)
        )

    def release(self) -> None:
        """Forget what only the backward pass that has just been made needed."""
        tape = self.tape
        if self.last is None:
            return
        self.freed.update(saved.number for saved in self.last.saved)
        everything = tape.derivatives.get(((True,) * len(tape.outs), (True,) * len(tape.leaves), None))
        if everything is None or not everything.saved:
            return
        left = {saved.number for saved in everything.saved} - self.freed
        if left and not tape.needs:
            return
        needed = set().union(*(tape.needs[number] for number in left))
        self.kept = [value if number in needed else None for number, value in enumerate(self.kept)]

    def _check(self, derivative: Derivative) -> None:
        """That all that is needed is still there, and as it was."""
        for saved in derivative.saved:
            if saved.number in self.freed:
                whose = f"operation of {saved.at}, whose saved values"
                if saved.function:
                    whose = f"saved tensors of {saved.name}, which"
                raise freed_error(saved.name, f"the {whose}")
            for number in saved.storages:
                storage, version = self.versions[number]
                if storage[0] != version:
                    raise overwritten_error(saved.name, saved.at, storage[1])
        for number in derivative.takes:
            if number < len(self.kept) and self.kept[number] is None:
                raise freed_error("compiled_function", "values that it had kept")

    def _run(self, derivative: Derivative, values: list[Any]) -> list[Tensor]:
        """Compute gradients by the plan, which is made at the first time."""
        if not derivative.graph.outputs:
            return []
        if derivative.plan is None:
            from lampion.compiler.bind import plan_of

            with self.tape.first.lock:  # other threads wait, rather than make it too
                if derivative.plan is None:
                    derivative.plan = plan_of(derivative.graph, [x._array for x in values])
        results: list[Tensor] = derivative.plan.run(values)
        return results

    def _record(
        self, derivative: Derivative, after: Tape, seeds: list[Tensor], results: list[Tensor]
    ) -> None:
        """Put the gradients on the tape in turn."""
        edges = [*self.edges, *(seed._edge() for seed in seeds if seed.requires_grad)]
        kept = [*self.kept, *(wrap(_in_order(seed)._array) for seed in seeds)]
        versions = [*self.versions, *((seed._version, seed._version[0]) for seed in seeds)]
        attach(after, edges, kept, versions, [results[number] for number in derivative.lasting])

    def _replayed(self, derivative: Derivative, seeds: list[Tensor]) -> Sequence[Tensor]:
        """The same operations through the door, where something stands in for computing: inside of `vmap`."""
        trace: Any = mode.trace
        if trace.compiles:
            trace.refuse("goes back through a graph that was recorded outside", "compute the loss inside")
        if mode.grad and derivative.after is not None and derivative.lasting:
            routes = [_route(edge, leaf) for edge, leaf in zip(self.edges, self.tape.leaves, strict=True)]
            results: Sequence[Tensor] = as_function(self, derivative, seeds).apply(*routes, *seeds)
            return results
        values = [*self.kept, *seeds]
        return replay(derivative.graph, [values[number] for number in derivative.takes])


def _route(edge: Any, leaf: Tensor) -> Tensor:
    """A tensor for nothing but to lead a gradient to an edge."""
    return with_history(wrap(np.broadcast_to(np.zeros((), leaf.dtype.numpy), leaf.shape)), edge)


def as_function(call: Call, derivative: Derivative, seeds: list[Tensor]) -> type[Function]:
    """The gradients as an `autograd.Function` of the inputs and of the gradients that come in.

    Transforms know what to do with one of these.
    """
    count = len(call.edges)
    recorded = [seed.requires_grad for seed in seeds]

    class Gradient(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, ...]:
            ctx.save_for_backward(*inputs[count:])
            ctx.set_materialize_grads(False)
            values = [*call.kept, *inputs[count:]]
            return tuple(replay(derivative.graph, [values[number] for number in derivative.takes]))

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
            arrived = enumerate(gradients[number] for number in derivative.lasting)
            parts = {end: gradient for end, gradient in arrived if gradient is not None}
            if not parts:
                return (None,) * (count + len(recorded))
            if mode.grad:
                raise GradientError(
                    "compiled_function", "a third derivative of a compiled function inside of a transform",
                    fix="leave the function uncompiled there: f.function is what it was made of",
                )  # fmt: skip
            kept = [*call.kept, *ctx.saved_tensors]
            versions = [*call.versions, *((seed._version, seed._version[0]) for seed in ctx.saved_tensors)]
            assert derivative.after is not None
            inner = Call(derivative.after, [], kept, versions)
            found = inner.gradients(Bundle(parts), (True,) * len(derivative.after.leaves))
            rest = iter(found[count:])
            return (*found[:count], *(next(rest) if has else None for has in recorded))

    Gradient.__name__ = _Rules.name
    return Gradient


def attach(
    tape: Tape, edges: list[Any], kept: list[Tensor], versions: list[tuple[list[Any], int]],
    results: Sequence[Tensor],
) -> None:  # fmt: skip
    """Put a call on the tape, as what made the results."""
    call = Call(tape, edges, kept, versions)
    single = len(results) == 1
    rules: Any = _Rules("compiled", call.gradients)
    node = new_node(CompiledNode, rules, edges, tape.shapes, tuple(results[0].shape) if single else (), [])
    node.call = call
    for place, result in enumerate(results):
        maker = node
        if not single:
            maker = new_node(Node, _Rules("function", partial(_item, place)), [node], [()], (), [])
        result._node, result._requires_grad = maker, True


def _item(place: int, gradient: Tensor) -> Bundle:
    return Bundle({place: gradient})


def _in_order(x: Tensor) -> Tensor:
    """A tensor whose elements lie in the order of their indices, as the plan was made for."""
    return x if x._array.flags.c_contiguous else wrap(x._array.copy(order="C"))


__all__ = ["Call", "CompiledNode", "attach"]
