"""A loop as the graph knows it: a body graph that runs `length` times.

An equation has one output, and a loop has several results. So each result is an equation of its own, of the
same inputs and the same `Loop`: ``%7 = scan(%0, %1, %2, loop=loop_0, result=1)``. Each of them means all the
loop's rounds; that they are computed together is the scheduler's business. So results that nobody uses are
dead code like any other, and one that turns out to be needed later (by the gradient) is one equation more.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lampion.compiler.graph import Equation, Graph, Value, check, interpret
from lampion.errors import LampionError
from lampion.primitive import Primitive

_numbers = itertools.count()


class Loop:
    """What is repeated, and how often.

    Attributes:
        body: its inputs are the carries, a slice of each sequence, and what is the same in each round; its
            outputs are the next carries, and a slice of each stacked result.
        carries, sequences: how many of the inputs are which.
        length: the number of rounds; at least one.
        reverse: whether the last slice comes first.
    """

    def __init__(self, body: Graph, carries: int, sequences: int, length: int, reverse: bool) -> None:
        self.body = body
        self.carries = carries
        self.sequences = sequences
        self.length = length
        self.reverse = reverse
        self.is_small = False  # whether all of it is needed for its results, and the body is optimized
        self.number = next(_numbers)

    def __repr__(self) -> str:
        return f"loop_{self.number}"  # each loop is itself alone, so that equal texts mean equal loops

    @property
    def rounds(self) -> range:
        """The slices in the order in which they are used."""
        return range(self.length - 1, -1, -1) if self.reverse else range(self.length)

    def type_of(self, result: int) -> tuple[tuple[int, ...], Any]:
        """Shape and NumPy dtype of a result."""
        value = self.body.outputs[result]
        stacked = () if result < self.carries else (self.length,)
        return (*stacked, *value.shape), value.dtype.numpy

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """All results, computed with NumPy, one round after the other: the meaning of a loop."""
        after = self.carries + self.sequences
        carries, sequences, fixed = arrays[: self.carries], arrays[self.carries : after], arrays[after:]
        stacks = [
            np.empty((self.length, *value.shape), value.dtype.numpy)
            for value in self.body.outputs[self.carries :]
        ]
        for i in self.rounds:
            slices = [x[i, ...] for x in sequences]
            outputs = interpret(self.body, [*carries, *slices, *fixed])
            carries = outputs[: self.carries]
            for stack, y in zip(stacks, outputs[self.carries :], strict=True):
                stack[i, ...] = y
        return [*carries, *stacks]

    def check(self, inputs: Sequence[Value]) -> None:
        """The body is a graph as it should be, and fits what the loop is given."""
        after = self.carries + self.sequences
        if len(inputs) != len(self.body.inputs):
            raise LampionError("graph", f"{self!r} takes {len(self.body.inputs)} inputs, got {len(inputs)}")
        for place, (given, inside) in enumerate(zip(inputs, self.body.inputs, strict=True)):
            stacked = (self.length,) if self.carries <= place < after else ()
            if given.shape != (*stacked, *inside.shape) or given.dtype is not inside.dtype:
                raise LampionError("graph", f"input {place} of {self!r} has the wrong type",
                                   got=given.type, expected=inside.type)  # fmt: skip
        if len(self.body.outputs) < self.carries:
            raise LampionError("graph", f"{self!r} has {self.carries} carries and too few outputs")
        for place in range(self.carries):
            before, after_ = self.body.inputs[place], self.body.outputs[place]
            if before.type != after_.type:
                raise LampionError("graph", f"carry {place} of {self!r} changes its type",
                                   expected=before.type, got=after_.type)  # fmt: skip
        check(self.body)

    def show(self) -> list[str]:
        """The lines of a text of the loop."""
        inputs, outputs, after = self.body.inputs, self.body.outputs, self.carries + self.sequences

        def typed(values: Sequence[Value]) -> str:
            return ", ".join(f"{v!r}: {v.type}" for v in values)

        order = f"reversed(range({self.length}))" if self.reverse else f"range({self.length})"
        lines = [f"{self!r}: for each of {order}:", f"  carry {typed(inputs[: self.carries])}"]
        if self.sequences:
            lines.append(f"  slice {typed(inputs[self.carries : after])}")
        if len(inputs) > after:
            lines.append(f"  fixed {typed(inputs[after:])}")
        lines += [f"  {line}" for line in self.body.lines()]
        lines.append(f"  next {', '.join(map(repr, outputs[: self.carries]))}")
        if len(outputs) > self.carries:
            lines.append(f"  stack {', '.join(map(repr, outputs[self.carries :]))}")
        return lines


def _infer(*inputs: Any, loop: Loop, result: int) -> tuple[tuple[int, ...], Any]:
    return loop.type_of(result)


def _forward(xp: Any, *arrays: Any, loop: Loop, result: int) -> Any:
    return loop.run(arrays)[result]


#: One result of a loop. Its gradient is not a rule of its own: see `record`.
scan = Primitive(
    "scan", "kernel", {"__doc__": "One result of a loop.", "infer": _infer, "forward": _forward}, ""
)


def loop_of(equation: Equation) -> Loop | None:
    """The loop of which an equation is a result; None for other equations."""
    return equation.params["loop"] if equation.primitive is scan else None


def leaks(graph: Graph) -> bool:
    """Whether something is read that is no value of the graph: of the body of a loop, say."""
    known = {*graph.inputs, *graph.constants}
    for equation in graph:
        loop = loop_of(equation)
        if not known.issuperset(equation.values) or (loop is not None and leaks(loop.body)):
            return True
        known.add(equation.output)
    return False


def families(graph: Graph) -> dict[tuple[Any, ...], list[Equation]]:
    """The results of each loop, which are computed together: those of equal inputs."""
    found: dict[tuple[Any, ...], list[Equation]] = {}
    for equation in graph:
        loop = loop_of(equation)
        if loop is not None:
            found.setdefault((loop, *equation.inputs), []).append(equation)
    return found
