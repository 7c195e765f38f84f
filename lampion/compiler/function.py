"""`lampion.compile`: a Python function, captured as whole training steps and run as machine code."""

from __future__ import annotations

import functools
import logging
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from lampion import optim
from lampion.autograd.tape import Node
from lampion.compiler.bind import Binding, BoundPlan, Overlap, Retrace, Returned
from lampion.compiler.capture import CaptureError, Recorder, default_trusted
from lampion.compiler.engine import Interpreted, make_engine
from lampion.compiler.graph import Value
from lampion.compiler.trace import Trace, Tracer
from lampion.compiler.tree import flatten, signature
from lampion.mode import mode
from lampion.tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("lampion.compile")

#: Specialisations kept for one function; beyond it the one that was not used for longest goes.
MAX_PLANS = 16
#: Optimizers answer for their own reads and effects, as the core does: see `Trace.guard_group`.
_TRUSTED = (*default_trusted(), os.path.dirname(optim.__file__) + os.sep)
_tracing = threading.RLock()  # sys.settrace is for one thread, but versions and attributes are shared


@overload
def compile(function: Callable[P, R], *, dynamic: bool = False) -> CompiledFunction[P, R]: ...
@overload
def compile(*, dynamic: bool = False) -> Callable[[Callable[P, R]], CompiledFunction[P, R]]: ...
def compile(function: Callable[..., Any] | None = None, *, dynamic: bool = False) -> Any:
    """Compile a function, typically a whole training step, into one native function.

    The function runs once while Lampion records what it does: forward, backward and optimizer. From then
    on a call runs the recorded step as machine code, and leaves parameters, gradients, optimizer state and
    random state as the function itself would have. What the function read from Python (attributes,
    globals, arguments) is checked before each call, and a change records anew. What cannot be recorded
    (printing, changing lists outside, branching on a tensor's value) makes the function run as it is, with
    one warning that names the line.

    Args:
        function: a function of Tensors. Without it, `compile` is a decorator with options.
        dynamic: reserved by PyTorch's signature; plans are made for fixed shapes, one for each.

    >>> import lampion
    >>> w = lampion.ones(3, requires_grad=True)
    >>> opt = lampion.optim.SGD([w], lr=0.1)
    >>> @lampion.compile
    ... def step(x):
    ...     loss = (w * x).sum()
    ...     opt.zero_grad()
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> step(lampion.ones(3)).item(), w.detach()
    (3.0, tensor([0.9000, 0.9000, 0.9000]))
    """
    if function is None:
        return functools.partial(compile, dynamic=dynamic)
    return CompiledFunction(function)


class CompiledFunction(Generic[P, R]):
    """What `lampion.compile` returns: called like the function that it was made of."""

    def __init__(self, function: Callable[P, R], guarded: bool = True) -> None:
        functools.update_wrapper(self, function, updated=())
        self.__name__: str = getattr(function, "__name__", type(function).__name__)
        self.guarded = guarded  # False: the function answers for what it reads, as optimizers do
        self.function = function
        self.plans: dict[Any, list[BoundPlan]] = {}
        self.traces = 0
        self.refused: CaptureError | None = None  # why it runs eagerly, if it does

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__qualname__', self.function)!s}>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        # Inside another compiled function this one is simply part of it.
        if mode.trace is not None or self.refused is not None:
            return self.function(*args, **kwargs)
        leaves: list[Any] = []
        shape = flatten((args, kwargs) if kwargs else args, leaves)
        key = (shape, *map(signature, leaves))
        reason = None
        try:
            plans = self.plans.setdefault(key, [])
            for position, plan in enumerate(plans):
                reason = plan.changed()
                if reason is None:
                    if position:
                        plans.insert(0, plans.pop(position))
                    return plan.run(leaves)  # type: ignore[no-any-return]  # as the function itself
            plan = self._specialize(args, kwargs, leaves, reason)
            plans.insert(0, plan)
            self._forget()
            return plan.run(leaves)  # type: ignore[no-any-return]  # as the function itself
        except CaptureError as error:
            self.refused = error
            warnings.warn(
                f"lampion.compile: {self.__name__} runs eagerly: {error}", RuntimeWarning, stacklevel=2
            )
        except Retrace as error:
            log.info("%s: %s", self, error)
            plans.clear()
            return self(*args, **kwargs)
        except Overlap:
            log.info("%s: a tensor that is written shares memory with another: this call ran eagerly", self)
        return self.function(*args, **kwargs)

    def _forget(self) -> None:
        if sum(map(len, self.plans.values())) > MAX_PLANS:
            oldest = next(iter(self.plans))
            self.plans.pop(oldest)
            log.warning("%s: more than %d specialisations; the oldest is dropped", self, MAX_PLANS)

    def _specialize(self, args: Any, kwargs: Any, leaves: list[Any], reason: str | None) -> BoundPlan:
        """Record one call, and make a plan of it."""
        self.traces += 1
        if self.traces > 1:
            log.info("%s: recorded again (%d): %s", self, self.traces, reason or "new shapes or types")
        binding, arrays = trace_call(self.function, args, kwargs, leaves, self.guarded)
        try:
            return BoundPlan(binding, make_engine(binding.graph, arrays, binding.targets))
        except Overlap:
            code = getattr(self.function, "__code__", None)
            file, line = (code.co_filename, code.co_firstlineno) if code else ("<unknown>", 0)
            raise CaptureError(
                "it writes to a tensor that shares memory with another one that it uses", file, line,
                "clone() one of them before",
            ) from None

    def explain(self) -> Any:
        """What became of the function: graph, kernels, memory. Prints well; see `compiler.explain`."""
        from lampion.compiler.explain import Explanation

        return Explanation(self)


def trace_call(
    function: Callable[..., Any], args: Any, kwargs: Any, leaves: list[Any], guarded: bool = True
) -> tuple[Binding, list[Any]]:
    """Record one call of a function: the graph with its ties to the user's objects, and the input arrays."""
    with _tracing:
        trace = Trace()
        for number, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor) and id(leaf) not in trace.arguments:
                if leaf._node is not None and mode.grad:
                    trace.refuse("an argument is part of a graph that was recorded outside", "detach() it first")
                trace.bind_argument(leaf, number)
        guards = None
        mode.trace = trace
        try:
            if guarded:
                with Recorder(trusted=_TRUSTED) as recorder:
                    result = recorder.run(function, *args, **kwargs)
                guards = recorder.guards
            else:
                result = function(*args, **kwargs)
            binding = _Finisher(trace, leaves).finish(result)
            binding.guards = guards
        finally:
            mode.trace = None
            trace.restore()
    return binding, [_array_of(source, leaves) for source in binding.sources]


def _array_of(source: Any, leaves: list[Any]) -> Any:
    """An array like the one that the input will be handed: for its strides."""
    import numpy as np

    if source.kind == "argument":
        return leaves[source.part]._array
    if source.kind == "captured":
        return source.thing._array
    if source.kind == "grad":
        return source.thing._grad._array
    return np.empty((), np.float64) if source.kind == "scalar" else source.thing.array()


def run_as(reading: str, function: Callable[..., Any], *args: Any, target: Any = None) -> Any:
    """Call a function through one reading of it: "eager", "interpreted" or "compiled" (never cached).

    Args:
        target: for "compiled": the `codegen.target.Target` to compile for; the host's, unless given.
    """
    if reading == "eager":
        return function(*args)
    leaves: list[Any] = []
    flatten(args, leaves)
    binding, arrays = trace_call(function, args, {}, leaves, guarded=False)
    if reading == "interpreted":
        engine: Any = Interpreted(binding.graph, binding.targets, "asked for")
    else:
        engine = make_engine(binding.graph, arrays, binding.targets, target, strict=True)
    return BoundPlan(binding, engine).run(leaves)


class _Finisher:
    """Turns the tables of a finished trace into a Binding."""

    def __init__(self, trace: Trace, leaves: list[Any]) -> None:
        self.trace = trace
        self.numbers = {id(leaf): i for i, leaf in reversed(list(enumerate(leaves))) if isinstance(leaf, Tensor)}
        self.outputs: list[Value] = []
        self.targets: list[Value | None] = []

    def finish(self, result: Any) -> Binding:
        trace = self.trace
        found: list[Any] = []
        shape = flatten(result, found)
        returned = [self._returned(leaf) for leaf in found]
        grads = self._grads()
        written = self._written()
        trace.graph.outputs = self.outputs
        return Binding(
            graph=trace.graph, sources=trace.sources, targets=self.targets, returned=returned, shape=shape,
            grads=grads, written=written, providers=trace.providers,
            generators=[(g, drawn) for g, _, drawn in trace.generators.values()], guards=None,
            no_grad_yet=list(trace.no_grad_yet.values()), groups=trace.groups, grad_mode=mode.grad,
            keep=[trace.owners],
        )  # fmt: skip

    def _output(self, value: Value, target: Value | None = None) -> int:
        self.outputs.append(value)
        self.targets.append(target)
        return len(self.outputs) - 1

    def _returned(self, leaf: Any) -> Returned:
        if not isinstance(leaf, Tensor):
            if leaf is None or isinstance(leaf, bool | int | float | complex | str | bytes):
                return Returned("plain", leaf)
            self.trace.refuse(
                f"returns a {type(leaf).__name__}", "return tensors, numbers, and tuples, lists or dicts of them"
            )
        owner = leaf if leaf._base is None else leaf._base
        if id(leaf) in self.numbers:
            return Returned("tensor", None, self.numbers[id(leaf)])
        node = self._used_up(leaf)
        if type(owner._array) is Tracer:
            tracer = self.trace.read(owner)
            return Returned("output", None, self._output(tracer.value), leaf._chain, node)
        if leaf is owner:
            return Returned("tensor", leaf)
        if id(owner) in self.numbers:
            return Returned("tensor", None, self.numbers[id(owner)], leaf._chain, node)
        if type(leaf._array) is not Tracer:
            return Returned("tensor", leaf)
        return Returned("tensor", owner, -1, leaf._chain, node)

    def _used_up(self, leaf: Tensor) -> Node | None:
        """The spent node of a result whose backward pass was made inside; an error if it still lives."""
        if not leaf.requires_grad or leaf._node is None:
            return None
        node = leaf._node
        if not node.released:
            self.trace.refuse(
                "returns a tensor whose gradient can still be asked for",
                "call backward() inside the compiled function, run it under no_grad(), or return x.detach()",
            )
        return Node(node.primitive, [], [], {}, node.output_shape, node.where)

    def _grads(self) -> list[tuple[Tensor | int, int | Tensor | None]]:
        grads: list[tuple[Tensor | int, int | Tensor | None]] = []
        for (_, attribute), (tensor, old) in self.trace.changed.items():
            if type(tensor._array) is Tracer:
                continue  # a tensor of the trace itself
            if attribute != "_grad":
                if tensor.__dict__.get(attribute) != old:
                    self.trace.refuse(f"changes {attribute.strip('_')} of a tensor", "do that outside")
                continue
            owner = self.numbers.get(id(tensor), tensor)
            grad = tensor._grad
            if grad is None or (type(grad._array) is not Tracer and grad._base is None):
                grads.append((owner, grad))
                continue
            if grad._node is not None:
                self.trace.refuse("leaves a .grad with a graph", "use autograd.grad for higher derivatives")
            grads.append((owner, self._output(self.trace.read(grad).value)))
        return grads

    def _written(self) -> list[tuple[Tensor | int, int, bool]]:
        trace = self.trace
        written: list[tuple[Tensor | int, int, bool]] = []
        for tensor in trace.written.values():
            before = trace.versions[id(tensor._version)][1]
            number = self.numbers.get(id(tensor))
            if number is not None:
                final = trace.arguments[id(tensor)]
                value = trace.graph.inputs[next(
                    i for i, s in enumerate(trace.sources) if s.kind == "argument" and s.part == number
                )]  # fmt: skip
            else:
                final = trace.current[id(tensor)]
                value = trace.graph.inputs[next(
                    i for i, s in enumerate(trace.sources)
                    if (s.kind == "captured" and s.thing is tensor)
                    or (s.kind == "grad" and trace.grad_owner.get(id(tensor)) is s.thing)
                )]  # fmt: skip
            self._output(final.value, value)
            count = tensor._version[0] - before
            whose = trace.grad_owner.get(id(tensor))
            if whose is not None:
                written.append((self.numbers.get(id(whose), whose), count, True))
            else:
                written.append((tensor if number is None else number, count, False))
        return written
