"""The end of a recording: from the tables of a trace to what a plan has to check, to fill in and to write."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn, cast

import numpy as np

from lampion.autograd.sparse import SparseGradient
from lampion.autograd.tape import Node, spent
from lampion.autograd.walk import reachable
from lampion.compiler.bind import Binding, Returned
from lampion.compiler.border import Border
from lampion.compiler.capture import CaptureError, Guards
from lampion.compiler.capture.policy import is_plain
from lampion.compiler.graph import Graph, Value
from lampion.compiler.outside import Reached, WatchedOptimizer
from lampion.compiler.recording import Recording, record_tape
from lampion.compiler.scan.loop import leaks
from lampion.compiler.trace import Trace, Tracer
from lampion.compiler.tree import flatten
from lampion.dtype import DType
from lampion.errors import LampionError
from lampion.mode import mode
from lampion.nn.module import Module
from lampion.origin import where
from lampion.tensor import Tensor


class Finisher:
    """Turns the tables of a finished trace into a Binding.

    Args:
        function, arguments: what was called; they lead to objects outside too.
        leaves: the arguments' leaves, in order.
        grad_mode: whether gradients were on when the function was called.
    """

    def __init__(
        self, trace: Trace, function: Callable[..., Any], arguments: Any, leaves: list[Any],
        guards: Guards | None, grad_mode: bool,
    ) -> None:  # fmt: skip
        self.trace, self.guards, self.grad_mode = trace, guards, grad_mode
        self.function, self.leaves = function, leaves
        self.numbers = {
            id(leaf): i for i, leaf in reversed(list(enumerate(leaves))) if isinstance(leaf, Tensor)
        }
        self.outputs: list[Value] = []
        self.targets: list[Value | None] = []
        self.made: dict[int, int] = {}  # by id of a tensor of the trace: which output it is
        self.ends: dict[int, Tensor] = {}  # by number of an output: the tensor, if its gradient is outside
        self.reached = Reached()
        if guards is not None:
            self.reached.add_guards(guards)
        self.reached.add(function)
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                self.reached.add(leaf)
        self.not_fresh = self.reached.containers | _containers(arguments)

    def finish(self, result: Any) -> Binding:
        """The whole of what the trace found out, given what the function returned."""
        trace = self.trace
        if mode.grad is not self.grad_mode:
            self._refuse("leaves gradients switched on or off", "use `with lampion.no_grad():`")
        if trace.has_loops and leaks(trace.graph):
            self._refuse("uses a tensor of the body of a scan outside of it", "return it as an output")
        found: list[Any] = []
        self._check_containers(result, set())
        shape = flatten(result, found)
        returned = [self._returned(leaf) for leaf in found]
        grads = self._grads()
        written = self._written()
        graph, recording = self._recording()
        outside = self._outside()
        inputs = {id(source.thing) for source in trace.sources if source.kind == "grad"}
        owners = [(t, trace.grads_there[k]) for k, t in trace.grad_owner.items() if id(t) not in inputs]
        tensors = [i for i, leaf in enumerate(self.leaves) if isinstance(leaf, Tensor)]
        return Binding(
            graph=graph, recording=recording, sources=trace.sources, targets=self.targets,
            returned=returned, shape=shape,
            grads=grads, written=written, providers=trace.providers,
            generators=[(g, drawn) for g, _, drawn in trace.generators.values()], guards=self.guards,
            no_grad_yet=list(trace.no_grad_yet.values()),
            grads_there=owners, optimizers=self._optimizers(), grad_mode=self.grad_mode, outside=outside,
            pins=[(i, leaf) for i, leaf in enumerate(self.leaves) if id(leaf) in outside],
            free=[i for i in tensors if id(self.leaves[i]) not in outside],
            views=list(trace.outside_views.values()), keep=[trace.owners], postponed=self._postponed(),
            settings=trace.settings,
        )  # fmt: skip

    def _refuse(self, what: str, fix: str) -> NoReturn:
        # What is found only now, after the last line of the function, is told with its first.
        raise CaptureError(what, *place_of(self.function), fix)

    # -- the outside ----------------------------------------------------------------------------------

    def _outside(self) -> dict[int, Tensor]:
        """All tensors that the function knows from elsewhere than its arguments."""
        trace = self.trace
        outside = dict(self.reached.tensors)
        for source in trace.sources:
            if source.kind in ("captured", "grad") and isinstance(source.thing, Tensor):
                outside[id(source.thing)] = source.thing
        for _, group, params, _ in trace.groups:
            outside.update((id(p), p) for p in (*params, *group["params"]))
        for view, owner, _ in trace.outside_views.values():
            outside.update({id(view): view, id(owner): owner})
        for tensor in (*trace.no_grad_yet.values(), *trace.grad_owner.values()):
            if id(tensor) not in self.numbers:
                outside[id(tensor)] = tensor
        for tensor, _ in trace.changed.values():
            if id(tensor) not in self.numbers and type(tensor._array) is not Tracer:
                outside[id(tensor)] = tensor
        for key in trace.grads_there:
            if key in outside:
                self._refuse("uses the .grad of a tensor under another name too", "clone() one of them")
        return outside

    def _optimizers(self) -> list[WatchedOptimizer]:
        trace = self.trace
        found = {**self.reached.optimizers, **{id(who): who for who, _, _, _ in trace.groups}}
        watched = [WatchedOptimizer(optimizer, trace.groups) for optimizer in found.values()]
        for optimizer in watched:
            if (name := optimizer.hidden()) is not None:
                self._refuse(
                    f"attribute `{name}` of an optimizer is a container", "keep it outside of the optimizer"
                )
        return watched

    def _postponed(self) -> list[Callable[[], Any]]:
        """The steps of schedulers. What they change must not have been looked at: it was not changed yet."""
        tables: set[int] = set()
        for scheduler, _ in self.trace.postponed:
            tables |= {id(vars(scheduler)), *(id(vars(part)) for part in parts_of(scheduler))}
            tables |= {id(group) for group in scheduler.optimizer.param_groups}
        if self.guards is not None and (note := self.guards.looks_into(tables, ("optimizer",))) is not None:
            raise CaptureError(
                f"{note.what} is read in a function that steps its scheduler", note.filename, note.lineno,
                "read it outside of the compiled function",
            )  # fmt: skip
        return [act for _, act in self.trace.postponed]

    # -- what is returned --------------------------------------------------------------------------------

    def _check_containers(self, result: Any, seen: set[int]) -> None:
        """A list or dict that exists outside, or twice in the result, would be copied: refuse it."""
        if isinstance(result, list | dict):
            if id(result) in self.not_fresh or id(result) in seen:
                self._refuse(
                    f"returns a {type(result).__name__} that is known elsewhere too", "return a new one"
                )
            seen.add(id(result))
        if isinstance(result, list | tuple | dict):
            for item in result.values() if isinstance(result, dict) else result:
                self._check_containers(item, seen)

    def _output(self, value: Value, target: Value | None = None) -> int:
        self.outputs.append(value)
        self.targets.append(target)
        return len(self.outputs) - 1

    def _returned(self, leaf: Any) -> Returned:
        if id(leaf) in self.trace.floats:
            return Returned("tensor", None, self.trace.floats[id(leaf)][1])  # the argument itself, a float
        if isinstance(leaf, Tensor):
            if leaf._weak:
                self._refuse("returns a number that it computes from another", "return a tensor")
            item = self._tensor(leaf, self._used_up(leaf))
            made_inside = type(leaf._array) is Tracer and id(leaf) not in self.numbers
            if made_inside and item.node is None and leaf.requires_grad:
                self._note_end(leaf, item)
            return item
        if leaf is None or is_plain(leaf) or isinstance(leaf, DType):
            return Returned("plain", leaf)
        if isinstance(leaf, SparseGradient):
            return self._sparse(leaf)
        return self._refuse(
            f"returns a {type(leaf).__name__}", "return tensors, numbers, and tuples, lists or dicts of them"
        )

    def _sparse(self, gradient: SparseGradient) -> Returned:
        return Returned("sparse", (self._tensor(gradient.index), self._tensor(gradient.rows), gradient.shape))

    def _tensor(self, leaf: Tensor, node: Node | None = None) -> Returned:
        """How to hand out a tensor: it exists, or it is an output, or it is a view of one of these."""
        number = self.numbers.get(id(leaf))
        if number is not None:
            return Returned("tensor", None, number)
        if type(leaf._array) is not Tracer:
            if id(leaf) in self.trace.grad_owner:
                self._refuse("returns a .grad that was there before", "clone() it")
            return Returned("tensor", leaf)
        owner = leaf if leaf._base is None else leaf._base
        chain = None if leaf is owner else leaf._chain
        number = self.numbers.get(id(owner))
        if number is not None:
            return Returned("tensor", None, number, chain, node)
        if type(owner._array) is not Tracer:
            if id(owner) in self.trace.grad_owner:
                self._refuse("returns a view of a .grad that was there before", "clone() it")
            return Returned("tensor", owner, -1, chain, node)
        index = self.made.get(id(owner))
        if index is not None and self.trace.read(owner).doubt[0]:
            self._refuse("returns tensors that may share memory, which is not known", "clone() one of them")
        if index is None:
            index = self.made[id(owner)] = self._output(self.trace.read(owner).value)
        version = (owner._version[0], owner._version[1]) if owner._version[0] else None
        return Returned("output", None, index, chain, node, version)

    def _used_up(self, leaf: Tensor) -> Node | None:
        """The spent node of a result whose backward pass was made inside; None if it still lives."""
        if type(leaf._array) is not Tracer or id(leaf) in self.numbers:
            return None  # it is the tensor itself that is returned
        if leaf._grad is not None:
            self._refuse("returns a tensor made inside that has a .grad", "return the .grad beside it")
        if not leaf.requires_grad:
            return None
        if leaf._node is None:
            self._refuse("returns a leaf made inside that requires a gradient", "return x.detach()")
        nodes, _ = reachable([leaf], None, borders=Border)
        return spent(leaf._node) if any(node.freed for node in nodes) else None

    def _note_end(self, leaf: Tensor, item: Returned) -> None:
        """A result whose gradient will be asked for outside: an end of the tape, or a view of one."""
        if item.chain is None:
            if item.kind == "output":
                self.ends[item.index] = leaf
            return
        owner = leaf._base
        if leaf._follows is not owner or leaf._path != item.chain:
            self._refuse("returns a view whose gradient is not that of what it looks into", "clone() it")
        item.tracked = True
        if item.kind == "output":
            assert owner is not None
            self.ends[item.index] = owner

    def _recording(self) -> tuple[Graph, Recording | None]:
        """What the function computes; and the tape, if gradients of results will be asked for outside."""
        trace = self.trace
        if any(border.hooks is not None for border in trace.borders):
            self._refuse("has a hook on a tensor that was computed outside", "register it outside")
        if not self.ends:
            trace.graph.outputs = self.outputs
            return trace.graph, None
        try:
            graph, recording = record_tape(trace, self.ends, self.numbers, self.leaves, self.outputs)
        except LampionError as error:
            self._refuse(f"has a gradient that cannot be derived: {error}", "run it under no_grad()")
        for value in graph.outputs[len(self.outputs) :]:
            self._output(value)
        return graph, recording

    # -- what is left behind -----------------------------------------------------------------------------

    def _grads(self) -> list[tuple[Tensor | int, Returned]]:
        grads: list[tuple[Tensor | int, Returned]] = []
        for (_, attribute), (tensor, old) in self.trace.changed.items():
            if type(tensor._array) is Tracer:
                continue  # a tensor of the trace itself
            if attribute != "_grad":
                if tensor.__dict__.get(attribute) != old:
                    self._refuse(f"changes {attribute.strip('_')} of a tensor", "do that outside")
                continue
            owner, grad = self.numbers.get(id(tensor), tensor), cast(Any, tensor._grad)
            if grad is None:
                grads.append((owner, Returned("plain", None)))
                continue
            if isinstance(grad, SparseGradient):
                grads.append((owner, self._sparse(grad)))
                continue
            if type(grad._array) is Tracer and (grad._node is not None or grad._requires_grad):
                self._refuse("leaves a .grad with a graph", "use autograd.grad for higher derivatives")
            grads.append((owner, self._tensor(grad)))
        return grads

    def _written(self) -> list[tuple[Tensor | int, int, Any, bool]]:
        trace = self.trace
        inputs: dict[tuple[str, int], Value] = {}
        for source, value in zip(trace.sources, trace.graph.inputs, strict=True):
            inputs[source.kind, source.part if source.kind == "argument" else id(source.thing)] = value
        written: list[tuple[Tensor | int, int, Any, bool]] = []
        for tensor in trace.written.values():
            count = tensor._version[0] - trace.versions[id(tensor._version)][1]
            writer = tensor._version[1]
            number, whose = self.numbers.get(id(tensor)), trace.grad_owner.get(id(tensor))
            if number is not None:
                self._output(trace.arguments[id(tensor)].value, inputs["argument", number])
                written.append((number, count, writer, False))
            elif whose is not None:
                self._output(trace.current[id(tensor)].value, inputs["grad", id(whose)])
                written.append((whose, count, writer, True))
            else:
                self._output(trace.current[id(tensor)].value, inputs["captured", id(tensor)])
                written.append((tensor, count, writer, False))
        return written


def parts_of(scheduler: Any) -> list[Any]:
    """The schedulers that a scheduler is made of."""
    parts: list[Any] = []
    for part in getattr(scheduler, "_schedulers", ()):
        parts += [part, *parts_of(part)]
    return parts


def place_of(function: Any) -> tuple[str, int]:
    """The file and line where a function is defined, or called from if it is not a plain function."""
    while isinstance(function, functools.partial):
        function = function.func
    if getattr(function, "__name__", "") == "_call_uncompiled":  # of a module that is compiled in place
        function = function.__self__
    if isinstance(function, Module):
        function = type(function).forward
    code = getattr(function, "__code__", None)
    if code is not None:
        return code.co_filename, code.co_firstlineno
    at = where()
    return ("<unknown>", 0) if at is None else (at.code.co_filename, at.line)


def _containers(thing: Any) -> set[int]:
    """The ids of the lists and dicts in the arguments."""
    found: set[int] = set()
    if isinstance(thing, list | tuple | dict):
        found.add(id(thing))
        for item in thing.values() if isinstance(thing, dict) else thing:
            found |= _containers(item)
    return found


def array_of(source: Any, leaves: list[Any]) -> Any:
    """An array like the one that an input will be handed: for its strides."""
    if source.kind == "argument":
        return leaves[source.part]._array
    if source.kind == "captured":
        return source.thing._array
    if source.kind == "grad":
        return source.thing._grad._array
    return np.empty((), np.float64) if source.kind in ("scalar", "float") else source.thing.array()
