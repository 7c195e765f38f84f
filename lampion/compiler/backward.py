"""The gradients of a compiled function, compiled.

A compiled function whose results need gradients leaves one node on the tape of the caller (`gradients.py`).
Behind it stands a `Tape`: the tape of the recorded function (`tape.py`), which is walked once for each set of
results from which gradients come and each set of inputs to which they shall go, all symbolically. What the
walk writes into the graph is made a plan: a `Derivative`. Its inputs are the gradients that come in, and what
the forward kept (`partition.py` chooses it); all else that it reads is computed again.

Derivatives of higher order are the same thing once more. If the caller wants to differentiate a gradient,
the walk itself is recorded on a tape; that tape, kept, is the `Tape` of the gradients, and its inputs are
those of the function together with the gradients that came in. So there is one mechanism for every order, and
no order is computed before it is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lampion import autograd
from lampion.autograd.function import FunctionNode
from lampion.autograd.tape import Node
from lampion.autograd.walk import reachable
from lampion.compiler.capture import Guards, Recorder
from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.partition import cut, extract, makers, read_by, stops
from lampion.compiler.passes.dead import drop_dead
from lampion.compiler.passes.dedupe import dedupe
from lampion.compiler.scan.record import LoopNode, Recorded
from lampion.compiler.strides import contiguous_strides
from lampion.compiler.tape import GradientTrace
from lampion.compiler.trace import Tracer
from lampion.forks import lock_of
from lampion.mode import mode
from lampion.tensor import Tensor, wrap

#: Sets of inputs for which a plan of their own is made; beyond it, all gradients are computed each time.
MAX_PATTERNS = 16

Flags = tuple[bool, ...]


@dataclass
class Saved:
    """A node of the kept tape that saved something, as error messages speak of it.

    Attributes:
        number: tells it from others.
        name, at: the operation, and the line that ran it.
        function: whether it is an `autograd.Function` of the user's.
        storages: the numbers of the user's storages that it saved.
        values: all that it saved.
    """

    number: int
    name: str
    at: str
    function: bool
    storages: list[int]
    values: list[Value]


@dataclass
class Derivative:
    """The gradients of some results with respect to some inputs, as a graph, and later as a plan.

    Attributes:
        graph: from what was kept and the incoming gradients to those of the inputs.
        takes: which value each input of the graph is: numbers into what was kept, then the gradients.
        gives: for each input of the function: the number of an output, or minus one minus the number of the
            incoming gradient that is handed on, or None.
        saved: the nodes that are passed on the way.
        guards: what gradients of the user's own read from Python.
        after: the tape of these gradients, if they can be differentiated in turn.
        lasting: which outputs are the ends of that tape.
    """

    graph: Graph
    takes: list[int]
    gives: list[int | None]
    saved: list[Saved]
    guards: Guards | None
    after: Tape | None = None
    lasting: list[int] = field(default_factory=list)
    plan: Any = None  # made when it is first run


@dataclass
class _Walk:
    """What a walk found."""

    seeds: list[Tensor]
    found: list[Tensor | None]
    saved: list[Saved]
    guards: Guards | None

    @property
    def given(self) -> list[Value]:
        """The gradients that come in."""
        return [seed._array.value for seed in self.seeds]

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients that go out, each once."""
        return list({id(g): g for g in self.found if g is not None}.values())


class Tape:
    """A kept tape, and the derivatives that were made of it.

    Attributes:
        graph: where all of it is written; shared by all orders.
        outs: the ends that gradients come from.
        leaves: the stand-ins of the inputs that they go to.
        kept: the values that a call leaves for the backward pass.
        storages: by id of a version list of the tape: the number of the user's storage that it stands for.
        needs: by number of a node that saved something: what of the kept values it needs. Not known where
            gradients read what no node says: loops, and gradients of the user's own.
        runs_user_code: whether there are gradients that the user wrote.
        loops: the scans of the function, which remember what a walk made of them.
        first: the tape whose gradients' gradients this is about, or itself. Its lock is held while the graph
            is written.
    """

    def __init__(
        self, graph: Graph, outs: list[Tensor], leaves: list[Tensor], storages: list[list[Any]],
        runs_user_code: bool, loops: list[Recorded], first: Tape | None = None,
    ) -> None:  # fmt: skip
        self.graph, self.outs, self.leaves = graph, outs, leaves
        self.shapes = [tuple(leaf.shape) for leaf in leaves]
        self.runs_user_code, self.loops = runs_user_code, loops
        self.lock = lock_of(self, threading.RLock)
        self.first = self if first is None else first
        self.kept: list[Value] = []
        self.needs: dict[int, set[int]] = {}
        self._versions = storages  # keeps the ids valid
        self.storages = {id(versions): number for number, versions in enumerate(storages)}
        self.derivatives: dict[tuple[Flags, Flags, Flags | None], Derivative] = {}

    # -- what a backward pass asks for --------------------------------------------------------------------

    def derivative(self, given: Flags, wanted: Flags, recorded: Flags | None) -> Derivative:
        """How to compute gradients.

        Args:
            given: for each end, whether a gradient comes from there.
            wanted: for each input, whether its gradient is asked for.
            recorded: None, or, where the gradients are to be differentiated: which of the incoming ones have
                a history.
        """
        with self.first.lock:
            if len(self.derivatives) >= MAX_PATTERNS and (given, wanted, recorded) not in self.derivatives:
                wanted = (True,) * len(self.leaves)
            found = self.derivatives.get((given, wanted, recorded))
            if found is None or (found.guards is not None and found.guards.check() is not None):
                found = self.derivatives[given, wanted, recorded] = self._derive(given, wanted, recorded)
            return found

    def _derive(self, given: Flags, wanted: Flags, recorded: Flags | None) -> Derivative:
        before = len(self.graph.equations)
        walk = self._walk(given, wanted, recorded)
        values = [_value(gradient) for gradient in walk.gradients]
        whole = _merged(self.graph, [*self.kept, *values])
        kept, values = whole.outputs[: len(self.kept)], whole.outputs[len(self.kept) :]
        derivative = self._derivative(whole, walk, kept, values)
        if recorded is None:
            self.forget(before)  # nothing will be derived from these
        else:
            self._go_on(derivative, walk, recorded)
        return derivative

    def forget(self, before: int) -> None:
        """Remove the last equations of the graph again, and what refers to them."""
        del self.graph.equations[before:]
        for loop in self.loops:
            loop.fixed.clear()

    def _derivative(self, whole: Graph, walk: _Walk, kept: list[Value], values: list[Value]) -> Derivative:
        """The part of a graph that leads from what is kept to the gradients."""
        given = walk.given
        known = [*kept, *given]
        seeds = {value: -1 - number for number, value in enumerate(given)}
        outputs = [value for value in values if value not in seeds]
        numbers: dict[int, int] = {}  # by id of a gradient: what `gives` says of it
        count = 0
        for gradient, value in zip(walk.gradients, values, strict=True):
            if value in seeds:
                numbers[id(gradient)] = seeds[value]
            else:
                numbers[id(gradient)] = count
                count += 1
        graph = extract(whole, known, outputs)
        position = {value: number for number, value in reversed(list(enumerate(known)))}
        return Derivative(
            graph=graph, takes=[position[value] for value in graph.inputs],
            gives=[None if g is None else numbers[id(g)] for g in walk.found],
            saved=walk.saved, guards=walk.guards,
        )  # fmt: skip

    def _go_on(self, derivative: Derivative, walk: _Walk, recorded: Flags) -> None:
        """Keep the tape of a walk: it is that of the gradients."""
        ends: dict[int, Tensor] = {}  # by number of an output
        for number, gradient in zip(derivative.gives, walk.found, strict=True):
            if gradient is not None and number is not None and number >= 0 and gradient.requires_grad:
                ends[number] = gradient
        versions = [*self._versions, *(seed._version for seed in walk.seeds)]
        leaves = [*self.leaves, *(seed for seed, has in zip(walk.seeds, recorded, strict=True) if has)]
        after = Tape(
            self.graph, list(ends.values()), leaves, versions, self.runs_user_code, self.loops, self.first
        )
        after.kept = [*self.kept, *walk.given]
        derivative.after, derivative.lasting = after, list(ends)

    # -- walking --------------------------------------------------------------------------------------------

    def _walk(self, given: Flags, wanted: Flags, recorded: Flags | None) -> _Walk:
        """Walk the tape symbolically."""
        trace = GradientTrace(self.graph)
        outs = [out for out, has in zip(self.outs, given, strict=True) if has]
        seeds = [self._seed(out) for out in outs]
        for seed, has in zip(seeds, recorded or (), strict=False):
            seed._requires_grad = has
        targets = [leaf for leaf, wants in zip(self.leaves, wanted, strict=True) if wants]
        scope = mode.trace, mode.grad, mode.saving
        mode.trace, mode.grad, mode.saving = trace, recorded is not None, None
        guards = None
        try:
            if self.runs_user_code:
                with Recorder() as recorder:
                    trace.own, trace.class_reads = recorder.fresh, recorder.reader.core_class_reads
                    found = recorder.run(_gradients, outs, targets, seeds, recorded is not None)
                guards = recorder.guards
            else:
                found = _gradients(outs, targets, seeds, recorded is not None)
            nodes, _ = reachable(list(outs), [leaf._edge() for leaf in targets])
            arrived = iter([None if g is None else _settled(trace, g) for g in found])
        finally:
            mode.trace, mode.grad, mode.saving = scope
        return _Walk(
            seeds, [next(arrived) if wants else None for wants in wanted],
            [saved for node in nodes if (saved := self._saved(node)) is not None], guards,
        )  # fmt: skip

    def _seed(self, out: Tensor) -> Tensor:
        """A gradient that comes in: a value that nothing computes."""
        value = self.graph.value(out.shape, out.dtype)
        return wrap(Tracer(value, contiguous_strides(value.shape, value.dtype.itemsize)))

    def _saved(self, node: Node) -> Saved | None:
        """What a node has saved; None if nothing."""
        function = isinstance(node, FunctionNode)
        if function:
            storages = [saved.storage for saved in node.ctx._saved or () if saved is not None]  # type: ignore[attr-defined]
        else:
            storages = [pair[0] for pair in node.versions if pair is not None]
        if not storages and not node.saved and not isinstance(node, LoopNode):
            return None
        numbers = [self.storages[id(versions)] for versions in storages if id(versions) in self.storages]
        values = [array.value for array in node.saved or () if isinstance(array, Tracer)]
        return Saved(node.order, node.primitive.name, str(node.where), function, numbers, values)


def _gradients(outs: list[Tensor], targets: list[Tensor], seeds: list[Tensor], create_graph: bool) -> Any:
    if not targets:
        return ()
    return autograd.grad(
        outs, targets, seeds, retain_graph=True, create_graph=create_graph, allow_unused=True
    )


def _settled(trace: GradientTrace, gradient: Any) -> Tensor:
    """A gradient, with the value that it has now (it may be a view of what was written to); never sparse."""
    if not isinstance(gradient, Tensor):
        gradient = gradient.to_dense()
    gradient._array = trace.read(gradient)
    result: Tensor = gradient
    return result


def _merged(graph: Graph, outputs: list[Value]) -> Graph:
    """What leads to some values, with nothing computed twice.

    No other pass has its turn before backward and forward are parted: it may find that a value which is kept
    need not be read, if one that is not kept is read instead.
    """
    return dedupe(drop_dead(graph.replaced(graph.equations, outputs)))


def _value(gradient: Tensor) -> Value:
    return gradient._array.value  # type: ignore[no-any-return]  # a Tracer's


# -- the first walk ---------------------------------------------------------------------------------------


def choose(
    tape: Tape, results: Sequence[Value], there: Sequence[tuple[Value, int]]
) -> tuple[Graph, list[int | None]]:
    """Walk a new tape for all gradients, and decide what its function keeps for them: `tape.kept`.

    Args:
        tape: the tape. Its first derivative is made at once.
        results: what the function computes.
        there: values that lie in tensors of the user's, each with the number of its storage.

    Returns: the graph of the function, whose results come first, and then the kept values that are not there
    anyway; and for each kept value its number in `there`, or None.
    """
    graph = tape.graph
    before = len(graph.equations)
    given, wanted = (True,) * len(tape.outs), (True,) * len(tape.leaves)
    walk = tape._walk(given, wanted, None)
    before = _with_stacks(graph, before)
    # What eager would not have kept by reference may be overwritten, without anybody being told.
    held = {number for saved in walk.saved for number in saved.storages}
    shared = [number for number, (_, storage) in enumerate(there) if storage in held]
    values = [_value(gradient) for gradient in walk.gradients]
    # All that is read counts: derivatives of higher order read these values once more, and nothing else of
    # the function's own.
    read = read_by(graph.equations[before:], values, walk.given)
    held_values = [value for saved in walk.saved for value in saved.values]
    asked = [*results, *(there[number][0] for number in shared), *read, *held_values, *values]
    whole = _merged(graph, asked)
    names = iter(whole.outputs[len(results) :])
    free = dict(reversed([(next(names), number) for number in shared]))
    tape.kept = cut(whole, [next(names) for _ in read], free)
    if not tape.loops and not tape.runs_user_code:
        position = {value: number for number, value in enumerate(tape.kept)}
        made_by = makers(whole)
        for node in walk.saved:
            leads = stops(made_by, [next(names) for _ in node.values], position)
            tape.needs[node.number] = {position[value] for value in leads}
    else:
        for _ in held_values:
            next(names)
    tape.derivatives[given, wanted, None] = tape._derivative(whole, walk, tape.kept, list(names))
    tape.forget(before)
    saved = [value for value in tape.kept if value not in free]
    forward = drop_dead(graph.replaced(graph.equations, [*results, *saved]))
    return forward, [free.get(value) for value in tape.kept]


def _with_stacks(graph: Graph, before: int) -> int:
    """Where the forward ends, with what the gradients of loops read of the forward's loops: a value of each
    round, stacked, is one more result of such a loop.
    """
    loops = {id(equation.params["loop"]) for equation in graph.equations[:before] if _is_loop(equation)}
    made = {equation.output for equation in graph.equations[before:]}
    forward: list[Equation] = []
    later: list[Equation] = []
    for equation in graph.equations[before:]:
        of_forward = _is_loop(equation) and id(equation.params["loop"]) in loops
        of_forward = of_forward and made.isdisjoint(equation.values)
        (forward if of_forward else later).append(equation)
    graph.equations[before:] = [*forward, *later]
    return before + len(forward)


def _is_loop(equation: Equation) -> bool:
    return "loop" in equation.params


__all__ = ["Derivative", "Saved", "Tape", "choose"]
