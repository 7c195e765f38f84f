"""One recorded `scan`: its equations, its place on the tape, and its gradient, which is a scan in reverse.

The gradient's body is the tape of the body, walked once inside of a trace of its own. What that walk reads
of the forward body (saved values) becomes one more stacked result of the forward loop; what it reads from
outside is the same in each round there too. What arrives at tensors from outside (weights) is summed up in a
carry. Where the gradient is to be differentiated in turn, its body's graph is read back as operations on
Tensors, and recorded as a scan like any other: so there are derivatives of any order.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from lampion import ops as operations
from lampion.autograd.function import Bundle, FunctionNode
from lampion.autograd.graph import with_history
from lampion.autograd.tape import Node, new_node, next_order
from lampion.autograd.walk import _arrive, _pass_on
from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.scan.body import BodyTrace
from lampion.compiler.scan.loop import Loop, scan
from lampion.compiler.strides import is_contiguous
from lampion.compiler.trace import Trace, Tracer
from lampion.errors import GradientError
from lampion.mode import mode
from lampion.origin import where
from lampion.primitive import apply
from lampion.tensor import Tensor, wrap

#: A body on flat lists of Tensors: carries and slices to carries and outputs.
Body = Callable[[list[Tensor], list[Tensor]], tuple[list[Tensor], list[Tensor]]]

ops: Any = operations  # the stubs know one name by one type


def record_scan(
    body: Body, init: Sequence[Tensor], sequences: Sequence[Tensor], length: int, reverse: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Record a scan over the first dimension into the running trace: the last carries, and the outputs."""
    parent = mode.trace
    assert isinstance(parent, Trace)
    # Copies, so that what happens to the arguments' memory later does not matter.
    given = [_snapshot(parent, x) for x in (*init, *sequences)]
    plain = [_is_plain(x._array) for x in given[: len(init)]]
    while True:
        start = next_order()
        trace, leaves, results = _traced(parent, body, given, plain)
        stays = [_is_plain(trace.read(x)) for x in results[: len(init)]]
        if all(after or not before for before, after in zip(plain, stays, strict=True)):
            break
        plain = [before and after for before, after in zip(plain, stays, strict=True)]
    loop, more = trace.finish([trace.read(x).value for x in results], length, reverse)
    inputs = [*(parent.read(x).value for x in given[: len(init)]), *more]
    edges = [x._edge() for x in results]
    recorded = Recorded(parent, trace, loop, inputs, given, leaves, edges, start)
    parent.has_loops = True
    found = [recorded.result(place) for place in range(len(results))]
    if mode.grad:
        recorded.note(found)
    return found[: len(init)], found[len(init) :]


def _traced(
    parent: Trace, body: Body, given: list[Tensor], plain: list[bool]
) -> tuple[BodyTrace, list[Tensor], list[Tensor]]:
    """Trace the body once: the trace, what stands for what it is given, and what it gives.

    Args:
        plain: for each carry, whether it lies in memory in order.
    """
    trace, carries = BodyTrace(parent), len(plain)
    leaves = [trace.carry(x._array.shape, x._array.dtype, p) for x, p in zip(given, plain, strict=False)]
    leaves += [trace.slice(x) for x in given[carries:]]
    grad, mode.trace = mode.grad, trace
    if grad:
        for leaf in leaves:
            leaf._requires_grad = leaf._array.dtype.kind in "fcV"
    try:
        after, outputs = body(leaves[:carries], leaves[carries:])
        for x in (*after, *outputs):
            trace.read(x)  # what is read from outside is an input of the loop
    finally:
        mode.trace, mode.grad = parent, grad
    return trace, leaves, [*after, *outputs]


def _is_plain(array: Any) -> bool:
    """Whether an array of eager's would lie in memory in order, as far as that is known."""
    return array.strides is not None and is_contiguous(array.shape, array.strides, array.dtype.itemsize)


def _snapshot(parent: Trace, x: Tensor) -> Tensor:
    """What a tensor holds now, with its history, under a name of its own."""
    found = parent.read(x)
    return with_history(wrap(Tracer(found.value, found.strides)), x._edge() if mode.grad else None)


class LoopNode(Node):
    """The node of a scan on the tape."""

    __slots__ = ("__weakref__", "recorded")
    recorded: Recorded

    def release(self) -> None:
        """A second walk would ask for what eager has let go of by then."""
        self.released = True

    @property
    def freed(self) -> bool:
        """Whether a backward pass has let go of what eager's loop saved."""
        return self.released


class Recorded:
    """A scan in a trace.

    Attributes:
        home: the trace in which its equations stand.
        trace: that of its body.
        inputs: the values in `home` that the loop is given.
        given: the carries and sequences as Tensors of `home`.
        leaves: what stands for them inside the body.
        edges: for each result, where in the body's tape its gradient goes to.
        start: nodes of the tape before this number are not the body's.
    """

    def __init__(
        self, home: Trace, trace: BodyTrace, loop: Loop, inputs: list[Value], given: list[Tensor],
        leaves: list[Tensor], edges: list[Any], start: int,
    ) -> None:  # fmt: skip
        self.home, self.trace, self.loop, self.inputs = home, trace, loop, inputs
        self.given, self.leaves, self.edges = given, leaves, edges
        self.start, self.stop = start, next_order()
        self.outside: list[Any] = []  # where the tape leaves the body: nodes, and leaves of the user's
        self.places: dict[tuple[Value, int], int] = {}  # results that were asked for later
        self.fixed: dict[tuple[Value, int], Tensor] = {}  # values of the body that no round changes
        self.needed: list[bool] = []  # for each of `given`, whether its gradient is needed
        self.node: weakref.ref[LoopNode] | None = None
        self.at = where(3)

    def result(self, place: int) -> Tensor:
        """A result as an equation in `home`."""
        shape, dtype = self.loop.type_of(place)
        if place >= self.loop.carries:  # equal results are equal equations
            outputs = self.loop.body.outputs
            place = outputs.index(outputs[place], self.loop.carries)
        params = {"loop": self.loop, "result": place}
        value = self.home.graph.add(scan, self.inputs, params, shape, dtype, self.at)
        return wrap(Tracer(value, None).anew())

    # -- the tape -------------------------------------------------------------------------------------

    def note(self, results: list[Tensor]) -> None:
        """Put the scan on the tape, if a gradient is needed that it leads to."""
        carries, leads = self.loop.carries, [_leaves_of(edge, self) for edge in self.edges]
        self.needed = [x.requires_grad for x in self.given]
        numbers = {id(leaf): number for number, leaf in enumerate(self.leaves)}
        outside = {
            id(edge): edge for reached in leads for edge in reached.values() if id(edge) not in numbers
        }
        self.outside = list(outside.values())

        # Round by round: a carry that begins as a constant may need its gradient later, and the reverse.
        now = list(self.needed)
        recorded = [False] * len(leads)
        for _ in range(self.loop.length):
            after = [any(key in outside or now[numbers[key]] for key in reached) for reached in leads]
            recorded = after[:carries] + [a or b for a, b in zip(recorded, after, strict=True)][carries:]
            if after[:carries] == now[:carries]:
                break
            now[:carries] = after[:carries]
            self.needed = [a or b for a, b in zip(self.needed, now, strict=True)]
        if not any(recorded):
            return
        edges = [x._edge() for x in self.given] + self.outside
        shapes = [x._array.shape for x in self.given] + [_shape(edge) for edge in self.outside]
        node = new_node(LoopNode, _rules(self._gradients), edges, shapes, (), [])
        node.recorded, self.node = self, weakref.ref(node)
        for place, (result, wanted) in enumerate(zip(results, recorded, strict=True)):
            if wanted:
                result._node, result._requires_grad = _item(node, place), True

    def _gradients(self, bundle: Bundle) -> tuple[Any, ...]:
        node = None if self.node is None else self.node()
        if node is not None and node.released:
            raise GradientError("scan", "the backward pass through this graph has already been made",
                                got=f"the scan of {self.at}",
                                fix="pass retain_graph=True to the first backward()")  # fmt: skip
        from lampion.compiler.scan.gradient import gradients

        return gradients(self, bundle.parts)

    # -- what the gradient reads ------------------------------------------------------------------------

    def stacked(self, value: Value) -> int | None:
        """Which sequence the body's value is a slice of, if it is one."""
        for number, (inside, _) in enumerate(self.trace.sequences):
            if inside is value:
                return number
        return None

    def sequence(self, number: int, edge: Any) -> Tensor:
        """A sequence as a Tensor of `home`; with its history, if the body's value has one."""
        x = self.trace.sequences[number][1]
        return x if edge is not None else wrap(self.home.read(x))

    def unchanging(self, value: Value, edge: Any) -> Tensor | None:
        """A value of the body that is the same in every round, computed outside; None if it is not."""
        key = (value, id(edge))
        if key not in self.fixed:
            found = self._captured(value, edge)
            if found is None:
                found = self._computed(value, edge)
            if found is None:
                return None
            self.fixed[key] = found
        return self.fixed[key]

    def _computed(self, value: Value, edge: Any) -> Tensor | None:
        made = self._maker(value)
        if made is None or (edge is not None and getattr(edge, "primitive", None) is not made.primitive):
            return None
        histories = [None] * len(made.inputs) if edge is None else edge.edges
        args: list[Any] = []
        for x, history in zip(made.inputs, histories, strict=True):
            if isinstance(x, Value):
                args.append(self.unchanging(x, history))
                if args[-1] is None:
                    return None
            else:
                args.append(x)
        trace, grad = mode.trace, mode.grad
        mode.trace, mode.grad = self.home, edge is not None
        try:
            return apply(made.primitive, *args, **made.params)
        finally:
            mode.trace, mode.grad = trace, grad

    def _captured(self, value: Value, edge: Any) -> Tensor | None:
        for inside, outer, _ in self.trace.captured.values():
            if inside is value:
                own = edge if any(edge is place for place in self.outside) else None
                return with_history(wrap(Tracer(outer.value, outer.strides)), own)
        return None

    def _maker(self, value: Value) -> Equation | None:
        return next(
            (e for e in self.loop.body.equations if e.output is value and e.primitive is not scan), None
        )

    def saved(self, value: Value, edge: Any) -> Tensor:
        """A value of the body in each round, stacked: one more result of the loop."""
        key = (value, id(edge))
        if key not in self.places:
            self.places[key] = len(self.loop.body.outputs)
            self.loop.body.outputs.append(value)
            self.edges.append(edge)
        place = self.places[key]
        tensor = self.result(place)
        node = None if self.node is None else self.node()
        if edge is not None and node is not None:
            tensor._node, tensor._requires_grad = _item(node, place), True
        return tensor


def _shape(edge: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = edge.output_shape if isinstance(edge, Node) else edge._array.shape
    return shape


def _rules(vjp: Callable[..., Any]) -> Any:
    """What the walk asks of a node: the primitive of this one call."""
    return SimpleNamespace(
        kind="function", name="scan", vjp=vjp, saves_inputs=False, saves_output=False, saves_shapes="",
        analytic=False,
    )  # fmt: skip


def _item(node: Node, place: int) -> Node:
    """The node of one result: it hands the result's gradient down in a bundle."""
    found: Node = new_node(Node, _rules(lambda g: Bundle({place: g})), [node], [()], (), [])
    return found


def is_inside(edge: Any, recorded: Recorded) -> bool:
    """Whether a place on the tape is a node of the body."""
    return isinstance(edge, Node) and recorded.start <= edge.order < recorded.stop


def _leaves_of(edge: Any, recorded: Recorded) -> dict[int, Any]:
    """Where the body's tape ends that begins at an edge: leaves of the body, and all that is outside."""
    ends: dict[int, Any] = {}
    stack, seen = [edge], set()
    while stack:
        at = stack.pop()
        if at is None or id(at) in seen:
            continue
        seen.add(id(at))
        if is_inside(at, recorded):
            stack += at.edges
        else:
            ends[id(at)] = at
    return ends


def pull_back(roots: Sequence[tuple[Any, Tensor]], recorded: Recorded) -> dict[int, Tensor]:
    """Walk the body's tape from its results: by id of the places where it ends, what arrives there."""
    pending: dict[int, Tensor] = {}
    for edge, seed in roots:
        _arrive(edge, seed, pending, {})
    for node in sorted(inside_of(recorded, [edge for edge, _ in roots]), key=lambda node: -node.order):
        gradient = pending.pop(id(node), None)
        if gradient is None:
            continue
        if node.hooks is not None:
            assert mode.trace is not None
            mode.trace.refuse("has a hook on a tensor in the body of a scan", "leave it out")
        _pass_on(node, node.edges, gradient, mode.grad, None, pending, {})
    return pending


def inside_of(recorded: Recorded, roots: Sequence[Any] | None = None) -> list[Node]:
    """The nodes of the body's tape that lie behind some edges; behind any, unless these are given."""
    nodes: dict[int, Node] = {}
    stack = list(recorded.edges if roots is None else roots)
    while stack:
        node = stack.pop()
        if is_inside(node, recorded) and id(node) not in nodes:
            nodes[id(node)] = node
            stack += node.edges
    return list(nodes.values())


def has_function(roots: Sequence[Any], recorded: Recorded) -> bool:
    """Whether a Function of the user's own stands on the body's tape."""
    stack, seen = list(roots), set()
    while stack:
        node = stack.pop()
        if not is_inside(node, recorded) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, FunctionNode):
            return True
        stack += node.edges
    return False


def replay(graph: Graph, captured: Sequence[Tensor]) -> Body:
    """A body graph as operations on Tensors."""

    def body(carries: list[Tensor], slices: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        table: dict[Value, Any] = dict(zip(graph.inputs, (*carries, *slices, *captured), strict=True))
        for equation in graph:
            inputs = [table[x] if isinstance(x, Value) else x for x in equation.inputs]
            table[equation.output] = apply(equation.primitive, *inputs, **equation.params)
        outputs = [table[value] for value in graph.outputs]
        return outputs[: len(carries)], outputs[len(carries) :]

    return body
