"""Products leave loops: one large product instead of one for each round.

*Before* the loop goes what depends on the slices alone and ends in a product: the input projection of a
recurrent layer, for all time steps at once. So does all that is the same in each round.

*Behind* the loop goes what only adds up products: the gradient of a weight, ``sum over t of x_t.T @ g_t``.
The loop stacks both factors instead, and they are one product over all rounds.

Slices become a batch by the rules that `vmap` has for each primitive.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from lampion import ops as operations
from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.passes.dead import drop_dead
from lampion.compiler.scan.loop import Loop, families, loop_of, scan
from lampion.compiler.trace import Trace, Tracer
from lampion.func.batching import MOVES, Batched, batch_of
from lampion.mode import mode
from lampion.primitive import apply
from lampion.tensor import Tensor, wrap

ops: Any = operations  # the stubs know one name by one type


def hoist(graph: Graph) -> Graph:
    """The graph with each loop rid of the products that can be made outside of it."""
    loops = families(graph)
    if not loops:
        return graph
    rest = graph.replaced([])
    same: dict[Value, Value] = {}  # what results are called now
    done: dict[tuple[Any, ...], _Hoist] = {}
    trace = Trace()
    trace.graph = rest
    scope = mode.trace, mode.grad
    mode.trace, mode.grad = trace, False
    try:
        for equation in graph:
            inputs = tuple(same.get(x, x) if isinstance(x, Value) else x for x in equation.inputs)
            key = (equation.params.get("loop"), *equation.inputs)
            if loop_of(equation) is None:
                rest.equations.append(
                    Equation(equation.primitive, inputs, equation.params, equation.output, equation.where)
                )
                continue
            if key not in done:
                done[key] = _Hoist(equation, inputs, trace)
            same[equation.output] = done[key].result(equation.params["result"])
    finally:
        mode.trace, mode.grad = scope
    rest.outputs = [same.get(value, value) for value in graph.outputs]
    return rest


class _Hoist:
    """One loop, and what is made of it.

    Attributes:
        outside: for values of the body that are known outside: a Tensor, and whether it is a stack of one
            for each round.
        added: values of the body that it is handed now, instead of computing them.
        stacked: values of the body that are stacked now.
    """

    def __init__(self, equation: Equation, inputs: tuple[Any, ...], trace: Trace) -> None:
        loop: Loop = equation.params["loop"]
        self.loop, self.trace, self.where, self.inputs = loop, trace, equation.where, inputs
        self.level: Any = SimpleNamespace(size=loop.length)
        self.made = {e.output: e for e in loop.body}
        after = loop.carries + loop.sequences
        self.outside: dict[Value, tuple[Tensor, bool]] = {
            value: (wrap(Tracer(inputs[number], None)), number < after)
            for number, value in enumerate(loop.body.inputs) if number >= loop.carries
        }  # fmt: skip
        self.flat: dict[Value, Tensor] = {}  # stacked matrices, as rows below each other
        self.added: dict[Value, None] = {}
        self.stacked: list[Value] = []
        self.ys = loop.body.outputs[loop.carries :]
        self._before()
        self.sums = {place: terms for place in range(loop.carries) if (terms := self._sum(place))}
        for terms in self.sums.values():
            for term in terms:
                for value in self._factors(term):
                    if value not in self.outside and value not in (*self.ys, *self.stacked):
                        self.stacked.append(value)
        self._rebuild()

    # -- before the loop --------------------------------------------------------------------------------

    def _before(self) -> None:
        """Compute outside what can be, and is worth it."""
        free: set[Value] = set(self.outside)  # could be computed outside
        sliced = {value for value, (_, stacked) in self.outside.items() if stacked}
        worth: set[Value] = set()  # and should be
        for equation in self.loop.body:
            if not all(value in free for value in equation.values) or not _batches(equation):
                continue
            out = equation.output
            free.add(out)
            if any(value in sliced for value in equation.values):
                sliced.add(out)
            if equation.primitive.name == "full" or equation.primitive.is_movement:
                continue
            follows = equation.primitive.kind == "elementwise" and any(
                value in worth and value.size >= out.size for value in equation.values if value in sliced
            )
            if equation.primitive.name == "matmul" or out not in sliced or follows:
                worth.add(out)
        for equation in self.loop.body:
            if equation.primitive.name == "matmul" and equation.output not in worth:
                # Transposed weights, so that they can be turned once: see `lowering/loops.py`.
                worth |= {x for x in equation.values if x in free and x not in sliced and self._turned(x)[1]}
        for equation in self.loop.body:
            if equation.output in worth:
                self._compute(equation.output)
                self.added[equation.output] = None

    def _compute(self, value: Value) -> tuple[Tensor, bool]:
        """A value of the body, outside."""
        if value not in self.outside:
            equation = self.made[value]
            arrays: list[Any] = [
                Batched(self.level, *self._compute(x)) if isinstance(x, Value) else x for x in equation.inputs
            ]
            if equation.primitive.kind == "elementwise" and (flat := self._flat(equation)) is not None:
                self.flat[value] = apply(equation.primitive, *flat, **equation.params)
                self.outside[value] = ops.reshape(self.flat[value], (self.loop.length, *value.shape)), True
            elif arrays:
                found = batch_of(self.level, equation.primitive, arrays, equation.params)
                self.outside[value] = found.value, found.batched
                if equation.primitive.name == "matmul" and found.batched and len(value.shape) == 2:
                    self.flat[value] = ops.reshape(found.value, (-1, value.shape[1]))
            else:
                self.outside[value] = apply(equation.primitive, **equation.params), False
        return self.outside[value]

    def _flat(self, equation: Equation) -> list[Any] | None:
        """The operands of an elementwise equation as rows of all rounds below each other; None if it has
        others. So what follows a product stays in its kernel.
        """
        found: list[Any] = []
        for x in equation.inputs:
            if isinstance(x, Value) and x in self.flat:
                found.append(self.flat[x])
            elif not isinstance(x, Value):
                found.append(x)
            elif self.outside[x][1] or x.shape not in ((), equation.output.shape[-1:]):
                return None
            else:
                found.append(self.outside[x][0])
        return found if any(x in self.flat for x in equation.values) else None

    # -- behind the loop ----------------------------------------------------------------------------------

    def _sum(self, place: int) -> list[Equation]:
        """What each round adds to a carry, if that is all, and it can be added up later as well."""
        body = self.loop.body
        carry, value = body.inputs[place], body.outputs[place]
        terms: list[Equation] = []
        if self._uses(carry) != 1:
            return []
        while value is not carry:
            equation = self.made.get(value)
            if equation is None or equation.primitive.name != "add" or self._uses(value) != 1:
                return []
            value, term = equation.inputs
            found = self._terms(term) if isinstance(value, Value) and isinstance(term, Value) else []
            if not found or any(made.output.type != carry.type for made in found):
                return []
            terms = found + terms
        return terms

    def _terms(self, value: Value) -> list[Equation]:
        """The products that a value is the sum of; none, if it is something else."""
        made = self.made.get(value)
        if made is None or self._uses(value) != 1:
            return []
        if self._adds_up(made):
            return [made]
        if made.primitive.name != "add" or not all(isinstance(x, Value) for x in made.inputs):
            return []
        left, right = (self._terms(x) for x in made.inputs)
        return left + right if left and right else []

    def _adds_up(self, term: Equation) -> bool:
        """Whether all rounds' terms can be added up at once, better than one by one."""
        if term.primitive.name == "permute" and len(term.output.shape) == 2:
            made = self.made.get(term.inputs[0])
            return made is not None and made.primitive.name == "matmul" and self._adds_up(made)
        if term.primitive.name == "sum":
            return True
        return term.primitive.name == "matmul" and all(len(value.shape) == 2 for value in term.values)

    def _uses(self, value: Value) -> int:
        body = self.loop.body
        return sum(x is value for e in body for x in e.values) + sum(x is value for x in body.outputs)

    def _factors(self, term: Equation) -> list[Value]:
        """What has to be stacked so that a term can be computed for all rounds at once."""
        if term.primitive.name == "permute":
            term = self.made[term.inputs[0]]
        return [self._turned(value)[0] for value in term.values]

    def _turned(self, value: Value) -> tuple[Value, bool]:
        """A matrix, or the one that it is the transpose of."""
        made = self.made.get(value)
        if made is not None and made.primitive.name == "permute" and made.params["dims"] == (1, 0):
            return made.inputs[0], True
        return value, False

    def _total(self, term: Equation) -> Tensor:
        """A term, added up over all rounds."""
        if term.primitive.name == "permute":
            total = self._total(self.made[term.inputs[0]])
            return ops.permute(total, 1, 0)  # type: ignore[no-any-return]  # see `ops`
        if term.primitive.name == "sum":
            x = self._stack(term.inputs[0])
            axis = (0, *(a + 1 for a in term.params["axis"]))
            if axis == tuple(range(len(axis))):  # as rows below each other: perhaps that sum is there
                x, axis = ops.reshape(x, (math.prod(x.shape[: len(axis)]), *x.shape[len(axis) :])), (0,)
            total = apply(term.primitive, x, axis=axis, keepdims=False)
            return ops.reshape(total, term.output.shape)  # type: ignore[no-any-return]  # see `ops`
        a, b = (self._stack(value) for value in self._factors(term))
        if self._turned(term.inputs[0])[1]:
            left = ops.permute(ops.reshape(a, (-1, a.shape[2])), 1, 0)  # (T, k, m) to (m, T*k)
        else:
            left = ops.reshape(ops.permute(a, 1, 0, 2), (a.shape[1], -1))
        if self._turned(term.inputs[1])[1]:
            right = ops.reshape(ops.permute(b, 0, 2, 1), (-1, b.shape[1]))
        else:
            right = ops.reshape(b, (-1, b.shape[2]))
        return apply(term.primitive, left, right)

    def _stack(self, value: Value) -> Tensor:
        if value in self.outside:
            tensor, stacked = self.outside[value]
            return tensor if stacked else ops.broadcast_to(tensor, (self.loop.length, *tensor.shape))
        return self._output(len(self.kept) + [*self.ys, *self.stacked].index(value))

    # -- the loop that is left ------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        loop, body = self.loop, self.loop.body
        self.kept = [place for place in range(loop.carries) if place not in self.sums]
        graph = body.replaced([e for e in body if e.output not in self.added])
        graph.outputs = [*(body.outputs[place] for place in self.kept), *self.ys, *self.stacked]
        after = loop.carries + loop.sequences
        slices = [value for value in self.added if self.outside[value][1]]
        fixed = [value for value in self.added if not self.outside[value][1]]
        new = [self.outside[value][0]._array.value for value in (*slices, *fixed)]
        graph.inputs = [
            *(body.inputs[place] for place in self.kept), *body.inputs[loop.carries : after], *slices,
            *body.inputs[after:], *fixed,
        ]  # fmt: skip
        self.given = [
            *(self.inputs[place] for place in self.kept), *self.inputs[loop.carries : after],
            *new[: len(slices)], *self.inputs[after:], *new[len(slices) :],
        ]  # fmt: skip
        count = loop.sequences + len(slices)
        self.left = Loop(drop_dead(graph), len(self.kept), count, loop.length, loop.reverse)
        self.outputs: dict[int, Tensor] = {}

    def _output(self, place: int) -> Tensor:
        """A result of the loop that is left."""
        if place not in self.outputs:
            shape, dtype = self.left.type_of(place)
            params = {"loop": self.left, "result": place}
            value = self.trace.graph.add(scan, self.given, params, shape, dtype, self.where)
            self.outputs[place] = wrap(Tracer(value, None).anew())
        return self.outputs[place]

    def result(self, place: int) -> Value:
        """A result of the loop as it was."""
        if place in self.sums:
            total = wrap(Tracer(self.inputs[place], None))
            for term in self.sums[place]:
                total = ops.add(total, self._total(term))
            return total._array.value  # type: ignore[no-any-return]  # a Tracer's
        if place < self.loop.carries:
            place = self.kept.index(place)
        else:
            place -= len(self.sums)
        return self._output(place)._array.value  # type: ignore[no-any-return]  # a Tracer's


def _batches(equation: Equation) -> bool:
    """Whether `vmap` has a rule that does all slices at once."""
    primitive = equation.primitive
    if primitive.kind == "movement":
        return primitive.name == "broadcast_to" or primitive.name in MOVES
    return primitive.kind in ("elementwise", "reduction") or primitive.name in ("matmul", "full")
