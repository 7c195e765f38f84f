"""`lampion.compile`: a Python function, captured as whole training steps and run as machine code."""

from __future__ import annotations

import collections
import functools
import logging
import operator
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from lampion import optim
from lampion.compiler.bind import Binding, BoundPlan, Overlap, Retrace
from lampion.compiler.callpath import MISSED, DirectCall
from lampion.compiler.capture import CaptureError, Recorder, default_trusted
from lampion.compiler.engine import Interpreted, make_engine
from lampion.compiler.finish import Finisher, array_of, place_of
from lampion.compiler.floats import FLOATS, Differing, Places, replaced, top_floats
from lampion.compiler.trace import Trace
from lampion.compiler.tree import flatten, flatten_arguments, is_known_by_name, signature
from lampion.compiler.why import different
from lampion.dtype import get_default_dtype
from lampion.errors import LampionError, OptionError
from lampion.forks import wait_for
from lampion.mode import mode
from lampion.nn.module import Module
from lampion.tensor import Tensor

if TYPE_CHECKING:
    from lampion.compiler.module import CompiledModule

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("lampion.compile")

#: What PyTorch's programs may ask for; all of them mean the same here.
_BACKENDS = (None, "inductor", "lampion")
_MODES = (None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
#: Specialisations kept for one function; beyond it the one that was not used for longest goes.
MAX_PLANS = 16
#: The same, where it is one value that is different.
MAX_TOPIC = 16
#: Calls that may run eagerly since they make what later calls use (the state of an optimizer).
MAX_SETTLING = 3
#: Recordings after which a function is taken to be different at every call.
MAX_TRACES = 64
#: Optimizers answer for their own reads and effects, as the core does: see `Trace.guard_group`.
_TRUSTED = (
    *default_trusted(),
    *(str(file) for file in Path(optim.__file__).parent.glob("*.py") if file.name != "swa_utils.py"),
)
_bookkeeping = threading.Lock()
wait_for(_bookkeeping.acquire, _bookkeeping.release)
_tracing = threading.RLock()  # sys.settrace is for one thread, but versions and attributes are shared
wait_for(_tracing.acquire, _tracing.release, first=True)


@overload  # a Module is a Callable too: the first that fits is meant
def compile(  # type: ignore[overload-overlap]
    function: Module, *, fullgraph: bool = ..., dynamic: bool | None = ..., backend: str | None = ...,
    mode: str | None = ..., disable: bool = ...,
) -> CompiledModule: ...  # fmt: skip
@overload
def compile(
    function: Callable[P, R], *, fullgraph: bool = ..., dynamic: bool | None = ..., backend: str | None = ...,
    mode: str | None = ..., disable: bool = ...,
) -> CompiledFunction[P, R]: ...  # fmt: skip
@overload
def compile(
    *, fullgraph: bool = ..., dynamic: bool | None = ..., backend: str | None = ...,
    mode: str | None = ..., disable: bool = ...,
) -> Callable[[Callable[P, R]], CompiledFunction[P, R]]: ...  # fmt: skip
def compile(
    function: Callable[..., Any] | None = None, *, fullgraph: bool = False, dynamic: bool | None = None,
    backend: str | None = None, mode: str | None = None, disable: bool = False,
) -> Any:  # fmt: skip
    """Compile a function, typically a whole training step, into one native function.

    The function runs once while Lampion records what it does: forward, backward and optimizer. From then
    on a call runs the recorded step as machine code, and leaves parameters, gradients, optimizer state and
    random state as the function itself would have. Where a result still needs its gradient, as the output of
    a model does, the backward pass through the function is compiled too. What the function read from Python
    (attributes, globals, arguments) is checked before each call, and a change records anew. What cannot be
    recorded (printing, changing lists outside, branching on a tensor's value) makes the function run as it
    is, with one warning that names the line.

    Args:
        function: a function of Tensors, or a Module: of that, the result is a Module too
            (`compiler.module.CompiledModule`). Without it, `compile` is a decorator with options.
        fullgraph: whether what cannot be recorded is an error, instead of a warning.
        dynamic, backend, mode: as PyTorch's programs give them. They make no difference: plans are for fixed
            shapes, one for each, by the one compiler that there is.
        disable: whether to hand the function back as it is.

    Raises:
        LampionError: it cannot be called; or, with `fullgraph`, at a call: it cannot be recorded.
        OptionError: a backend or mode that PyTorch does not have for CPUs.

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
    for option, value, known in (("backend", backend, _BACKENDS), ("mode", mode, _MODES)):
        if value not in known:
            raise OptionError("compile", f"the {option} is not known", got=repr(value),
                              expected=", ".join(map(repr, known)))  # fmt: skip
    if function is None:
        return functools.partial(compile, fullgraph=fullgraph, disable=disable)
    if disable:
        return function
    if isinstance(function, Module):
        from lampion.compiler.module import CompiledModule

        module = function if isinstance(function, CompiledModule) else CompiledModule(function)
        module._compiled.strict = fullgraph
        return module
    if not callable(function):
        raise LampionError(
            "compile", "this cannot be called", got=type(function).__name__, expected="a function or a Module"
        )
    return CompiledFunction(function, strict=fullgraph)


class CompiledFunction(Generic[P, R]):
    """What `lampion.compile` returns: called like the function that it was made of."""

    def __init__(self, function: Callable[P, R], guarded: bool = True, strict: bool = False) -> None:
        functools.update_wrapper(self, function, updated=())
        self.__name__: str = getattr(function, "__name__", type(function).__name__)
        self.guarded = guarded  # False: the function answers for what it reads, as optimizers do
        self.strict = strict  # whether what cannot be recorded is an error
        self.function = function
        self.plans: dict[Any, list[BoundPlan]] = {}
        self.traces = 0
        self.refused: CaptureError | None = None  # why it runs eagerly, if it does
        self._differing = Differing()
        self._topics: collections.Counter[str] = collections.Counter()  # why it was recorded again
        self._settling = 0  # calls that ran eagerly because the function makes what later calls use
        self._recent: list[BoundPlan] = []  # all of them, the one that was used last first
        self._direct: DirectCall | None = None  # the short way through that one

    def __repr__(self) -> str:
        return f"<compiled {getattr(self.function, '__qualname__', self.function)!s}>"

    def __getattr__(self, name: str) -> Any:
        # What is asked of a compiled module (parameters(), train(), ...) is asked of the module.
        if name.startswith("__") or "function" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.function, name)

    def __reduce__(self) -> Any:
        """Plans are tied to the objects that they were made of: a copy records anew."""
        module = sys.modules.get(getattr(self, "__module__", None) or "")
        if getattr(module, self.__name__, None) is self:
            return self.__name__
        return type(self), (self.function, self.guarded, self.strict)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if (direct := self._direct) is not None and (result := direct(args, kwargs)) is not MISSED:
            return result  # type: ignore[no-any-return]  # as the function itself
        # Inside another compiled function this one is simply part of it. And `saved_tensors_hooks` want to
        # see what each operation keeps.
        if mode.trace is not None or self.refused is not None or mode.saving is not None or mode.plain:
            if self.strict and self.refused is not None and mode.trace is None:
                raise self._error(self.refused)
            return self.function(*args, **kwargs)
        for plan in self._recent[1:]:
            if plan.direct is not None and (result := plan.direct(args, kwargs)) is not MISSED:
                self._used(plan)
                return result  # type: ignore[no-any-return]
        return self._call(args, kwargs)  # type: ignore[no-any-return]

    def _call(self, args: Any, kwargs: Any) -> Any:
        """A call that no short way fits: find the plan, or make one."""
        leaves: list[Any] = []
        layout = (bool(kwargs), flatten_arguments((args, kwargs) if kwargs else args, leaves))
        plan = None
        try:
            plan, _ = self._find(layout, leaves)
            if plan is None:
                with _tracing:
                    plan, reason = self._find(layout, leaves)  # perhaps another thread has made it meanwhile
                    if plan is None:
                        plan = self._specialize(args, kwargs, leaves, layout, reason)
            result = plan.run(leaves)
            plan.shorten(args, kwargs)
            self._used(plan)
            return result
        except CaptureError as error:
            if error.once and self._settling < MAX_SETTLING:
                self._settling += 1
                log.info("%s runs eagerly this time: %s", self, error)
                return self.function(*args, **kwargs)
            self.refused, self._direct = error, None
            log.info("%s runs eagerly: %s", self, error)
            if self.strict:
                raise self._error(error) from None
            if self.guarded:  # else it is Lampion's own, and nobody could do anything about it
                warnings.warn(
                    f"lampion.compile: {self.__name__} runs eagerly: {error}", RuntimeWarning, stacklevel=3
                )
        except Retrace as error:
            log.info("%s: %s", self, error)
            if plan is not None:
                self._drop(plan)
            return self(*args, **kwargs)
        except Overlap as error:
            log.info("%s ran eagerly this time: %s", self, error.args[0])
        return self.function(*args, **kwargs)

    def _error(self, refused: CaptureError) -> LampionError:
        """What `fullgraph` makes of a function that cannot be recorded."""
        return LampionError(
            "compile", f"{self.__name__} {refused.reason} ({refused.filename}:{refused.lineno})",
            expected="with fullgraph=True, a function that can be recorded whole", fix=refused.fix,
        )  # fmt: skip

    def _key(self, layout: Any, leaves: list[Any]) -> tuple[Any, ...]:
        """What plans are looked up by: all that is known of arguments and settings beforehand."""
        signatures = [*map(signature, leaves)]
        for number in self._differing.known(layout):
            if type(leaves[number]) in FLOATS:
                signatures[number] = type(leaves[number])
        surroundings = (get_default_dtype(), mode.autocast, mode.short)
        return (*layout, surroundings, _equals(leaves), *signatures)

    def _find(self, layout: Any, leaves: list[Any]) -> tuple[BoundPlan | None, str | None]:
        """The plan that holds; or, where there are some for such arguments, why the latest one does not."""
        reasons = []
        for plan in sorted(self.plans.get(self._key(layout, leaves), ()), key=self._age):
            if (reason := plan.changed(leaves)) is None:
                return plan, None
            reasons.append(reason)
        return None, reasons[0] if reasons else None

    def _keys(self) -> list[Any]:
        """What plans are looked up by: of that which was used last first."""
        ages = [(min(map(self._age, plans)), key) for key, plans in list(self.plans.items()) if plans]
        return [key for _, key in sorted(ages, key=operator.itemgetter(0))]

    def _age(self, plan: BoundPlan) -> int:
        """How many plans have been used since this one was."""
        recent = tuple(self._recent)
        return recent.index(plan) if plan in recent else -1  # it is new

    def _used(self, plan: BoundPlan) -> None:
        """Note which plan was used last; beyond `MAX_PLANS` the one that was not used for longest goes."""
        with _bookkeeping:
            if plan in self._recent:
                self._recent.remove(plan)
            self._recent.insert(0, plan)
            self._direct = plan.direct
            if len(self._recent) > MAX_PLANS:
                self._drop(self._recent.pop())
                log.warning("%s: more than %d specialisations; the oldest is dropped", self, MAX_PLANS)

    def _drop(self, plan: BoundPlan) -> None:
        for key, plans in list(self.plans.items()):
            if plan in plans:
                plans.remove(plan)
            if not plans:
                self.plans.pop(key, None)

    def _specialize(
        self, args: Any, kwargs: Any, leaves: list[Any], layout: Any, reason: str | None
    ) -> BoundPlan:
        """Record one call, and make a plan of it."""
        if self.traces >= MAX_TRACES:
            raise CaptureError(
                f"it was recorded {self.traces} times, the last time because of {reason or 'new arguments'}",
                *place_of(self.function),
                "pass numbers that change at every call as tensors: lampion.tensor(lr); keep shapes to a few",
            )
        self.traces += 1
        if self.traces > 1:
            reason = reason or different(self.function, args, kwargs, self._key(layout, leaves), self._keys())
            log.info("%s: recorded again (%d): %s", self, self.traces, reason)
            self._count(reason)
        binding, arrays = self._record(args, kwargs, leaves, layout)
        binding.keep.append([leaf for leaf in leaves if is_known_by_name(leaf)])
        try:
            plan = BoundPlan(binding, make_engine(binding.graph, arrays, binding.targets))
        except Overlap as error:
            raise CaptureError(error.args[0], *place_of(self.function), error.args[1]) from None
        self.plans.setdefault(self._key(layout, leaves), []).insert(0, plan)
        return plan

    def _count(self, reason: str) -> None:
        """Give up where one and the same value is another at each call. (Shapes may be a few more.)"""
        topic = reason.partition(" changed from ")[0]
        self._topics[topic] += 1
        if self._topics[topic] >= MAX_TOPIC and not topic.startswith(("shape of", "strides of")):
            raise CaptureError(
                f"it was recorded {MAX_TOPIC} times because of one value: {reason}", *place_of(self.function),
                "pass it as a tensor, or as a float of its own that is a factor or a term",
            )  # fmt: skip

    def _record(self, args: Any, kwargs: Any, leaves: list[Any], layout: Any) -> tuple[Binding, list[Any]]:
        """Record one call; floats that differ from the last one's become inputs, if that can be."""
        places = top_floats(args, kwargs) if self.guarded else {}
        numbers = self._differing.note(layout, places, leaves)
        if numbers:
            floats = {n: places[n] for n in numbers}
            try:
                found = trace_call(self.function, args, kwargs, leaves, floats=floats)
            except (CaptureError, Exception) as error:  # if it is the program's own, it comes again
                log.info("%s: its floats cannot be inputs: %s", self, error)
                self._differing.settle(layout, ())
            else:
                self._differing.settle(layout, numbers)
                return found
        return trace_call(self.function, args, kwargs, leaves, self.guarded)

    def explain(self, profile: bool = False) -> Any:
        """What became of the function: graph, kernels, memory. Prints well; see `compiler.explain`.

        Args:
            profile: measure how long each kernel takes, too, on copies of the data (and made-up arguments).
        """
        from lampion.compiler.explain import Explanation

        return Explanation(self, profile)


def _equals(leaves: list[Any]) -> tuple[int, ...] | None:
    """Which argument tensors are one and the same, as a key; None, the usual case, if none are."""
    tensors = [id(leaf) for leaf in leaves if isinstance(leaf, Tensor)]
    return None if len(set(tensors)) == len(tensors) else tuple(map(tensors.index, tensors))


def trace_call(
    function: Callable[..., Any], args: Any, kwargs: Any, leaves: list[Any], guarded: bool = True,
    floats: Places | None = None,
) -> tuple[Binding, list[Any]]:  # fmt: skip
    """Record one call of a function: the graph with its ties to the user's objects, and the input arrays.

    Args:
        floats: arguments in whose places there are scalars, by the numbers of their leaves.
    """
    with _tracing:
        trace = Trace()
        guards, grad_mode, casts = None, mode.grad, (mode.autocast, mode.short)
        try:
            for number, leaf in enumerate(leaves):
                if isinstance(leaf, Tensor) and id(leaf) not in trace.arguments:
                    trace.bind_argument(leaf, number)
            mode.trace = trace
            if guarded:
                stand_ins = {place: trace.float_argument(n) for n, place in (floats or {}).items()}
                given, named = replaced(args, kwargs, stand_ins) if stand_ins else (args, kwargs)
                with _recorder(trace) as recorder:
                    recorder.scalars = {id(scalar): scalar for scalar in stand_ins.values()}
                    trace.own, trace.hook = recorder.fresh, recorder.hook
                    trace.class_reads = recorder.reader.core_class_reads
                    result = recorder.run(function, *given, **named)
                guards = recorder.guards
            else:
                result = function(*args, **kwargs)
            if (mode.autocast, mode.short) != casts:
                fix = "use `with lampion.autocast(...):`"
                raise CaptureError("leaves autocast switched on or off", *place_of(function), fix)
            binding = Finisher(trace, function, (args, kwargs), leaves, guards, grad_mode).finish(result)
        except BaseException:
            trace.give_up()
            raise
        finally:
            mode.trace, mode.grad, (mode.autocast, mode.short) = None, grad_mode, casts
            trace.restore()
    return binding, [array_of(source, leaves) for source in binding.sources]


def _recorder(trace: Trace) -> Recorder:
    """A recorder that tells the trace what it has to know of."""

    def looked_at(thing: Any, name: str) -> None:
        if not isinstance(thing, optim.Optimizer):
            return
        if name == "param_groups":
            for group in thing.param_groups:
                trace.options[id(group)] = thing
                recorder.by_entry(group, f"group of {type(thing).__name__}")
        elif name == "state":
            for table in (thing.state, *thing.state.values()):
                recorder.settling[id(table)] = table

    recorder = Recorder(
        trusted=_TRUSTED, on_own_read=looked_at, on_store=trace.sets,
        on_derived=lambda scalar: setattr(scalar, "_weak", True),
    )  # fmt: skip
    return recorder


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
