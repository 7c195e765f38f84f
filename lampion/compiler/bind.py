"""A plan bound to the user's objects: each call checks that they are as they were, fills in pointers,
runs, and leaves everything as eager would have left it.
"""

from __future__ import annotations

import ctypes
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from lampion.autograd.sparse import SparseGradient
from lampion.autograd.tape import Node
from lampion.compiler.address import Spans, address, span
from lampion.compiler.callpath import DirectCall, direct_call
from lampion.compiler.graph import Graph, Value
from lampion.compiler.outside import WatchedOptimizer
from lampion.compiler.settings import Setting
from lampion.compiler.trace import Source
from lampion.compiler.tree import unflatten
from lampion.forks import lock_of
from lampion.mode import mode
from lampion.tensor import Tensor, wrap

if TYPE_CHECKING:
    from lampion.compiler.recording import Recording


@dataclass
class Returned:
    """One leaf of what the function returned.

    kind: "output" (number `index` of the graph's outputs), "tensor" (`thing`, an existing tensor, or
    argument `index`), "plain" (`thing` itself), or "sparse" (a gradient of the parts in `thing`). `chain` is
    the view to take of it: () is an alias as `detach()` makes it, None the tensor itself. `node` marks a
    result whose graph was used up by a backward pass inside. `version` is that of an output that was written
    to in place after it was made. `tracked` says that the view is one for gradients too.
    """

    kind: str
    thing: Any = None
    index: int = -1
    chain: tuple[Any, ...] | None = None
    node: Node | None = None
    version: tuple[int, Any] | None = None
    tracked: bool = False


@dataclass
class Binding:
    """All that a trace found out about the world around the graph."""

    graph: Graph  # as recorded
    sources: list[Source]
    targets: list[Value | None]  # for each output: the input whose memory it overwrites, or None
    returned: list[Returned]
    shape: Any  # the tree of what is returned
    grads: list[tuple[Tensor | int, Returned]]  # (tensor or argument, its .grad from now on)
    # (tensor or argument, how much its version goes up, who wrote it last, whether it is the tensor's .grad
    # that was written)
    written: list[tuple[Tensor | int, int, Any, bool]]
    providers: list[Any]
    generators: list[tuple[Any, int]]
    guards: Any
    no_grad_yet: list[Tensor]
    grads_there: list[tuple[Tensor, Tensor]]  # (tensor, its .grad), where that is no input
    optimizers: list[WatchedOptimizer]
    grad_mode: bool
    # Tensors outside that the function got hold of, by id: an argument may be one of them only if it was
    # when the function was recorded (`pins`: argument number and tensor).
    outside: dict[int, Tensor]
    pins: list[tuple[int, Tensor]]
    free: list[int]  # the other argument tensors
    views: list[tuple[Tensor, Tensor, Any]]  # captured views, their owners, and the movements between
    recording: Recording | None = None  # the tape, where gradients of results will be asked for outside
    keep: list[Any] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)  # plain values that are set outside
    postponed: list[Any] = field(default_factory=list)  # to be done in Python when all else is done


class Retrace(Exception):
    """Something that the plan was made for has changed."""


class Overlap(Exception):
    """A tensor that is written to shares memory with another, or is read-only: eager knows what to do."""


#: The call after which there is a short way: not the first, since many functions are called once.
SHORTEN_AFTER = 2
#: How often the short way through a plan's calls may be written anew.
MAX_WRITINGS = 8

SHARES = "it writes to a tensor that shares memory with another that it uses", "clone() one of them before"
READ_ONLY = "it writes to a tensor whose array is read-only", "make it with lampion.tensor(...), which copies"


class BoundPlan:
    """A specialisation of a compiled function, ready to be called."""

    def __init__(self, binding: Binding, engine: Any) -> None:
        self.binding = binding
        self.engine = engine
        self.lock = lock_of(self)
        self.calls = 0
        graph = binding.graph
        inputs = len(graph.inputs)
        self.constants = [np.ascontiguousarray(a) for a in graph.constants.values()]
        fresh = [i for i, target in enumerate(binding.targets) if target is None]
        self.fresh = [(graph.outputs[i].shape, graph.outputs[i].dtype.numpy) for i in fresh]
        self.buffer = {number: i for i, number in enumerate(fresh)}  # which fresh array an output is in
        self.table = (ctypes.c_size_t * max(1, inputs + len(self.constants) + len(fresh)))()
        self.table_address = ctypes.addressof(self.table)
        self.table[inputs : inputs + len(self.constants)] = [address(a) for a in self.constants]
        self.first_output = inputs + len(self.constants)
        self.arrays: list[Any] = [None] * inputs  # those of arguments only for the time of a call
        self.layouts: dict[int, Any] = {}  # of the arguments' arrays
        self._sort_sources()
        watched = {**binding.outside, **{id(view): view for view, _, _ in binding.views}}
        captured = set(map(id, (tensor for _, tensor in self.captured)))
        self.watched: list[tuple[int, Tensor, Any, bool]] = [
            (slot, tensor, _layout(tensor._array), tensor._requires_grad)
            for slot, tensor in (*self.captured, *((-1, t) for k, t in watched.items() if k not in captured))
        ]
        # What had hooks when the function was recorded: they were of no account (`Trace.outside_hooks`).
        self.hooked = {id(tensor) for _, tensor, _, _ in self.watched if tensor._hooks is not None}
        self.grad_layouts = [
            _layout(tensor._grad._array) for _, tensor in self.grad_inputs if tensor._grad is not None
        ]
        # Arguments that are written to must not overlap anything else either.
        self.written_arguments = [t for t, _, _, _ in binding.written if not isinstance(t, Tensor)]
        self.writes_grads = any(is_grad for _, _, _, is_grad in binding.written)
        #: The short way through a call (callpath.py), once there is one; how often it was written so far.
        self.direct: DirectCall | None = None
        self.writings = 0
        self._bind()

    def _sort_sources(self) -> None:
        """Sort the inputs by where they come from, and give scalars and states a memory of their own."""
        binding = self.binding
        self.arguments: list[tuple[int, int]] = []  # (slot, argument number)
        self.captured: list[tuple[int, Tensor]] = []
        self.grad_inputs: list[tuple[int, Tensor]] = []
        self.states: list[tuple[Any, Any]] = []
        floats = sum(source.kind == "float" for source in binding.sources)
        self.floats: list[tuple[int, int]] = []  # (place among the scalars, argument number)
        scalars = np.zeros(sum(count for _, count, _ in binding.providers) + floats, np.float64)
        starts = list(itertools.accumulate((count for _, count, _ in binding.providers), initial=0))
        for slot, source in enumerate(binding.sources):
            if source.kind == "argument":
                self.arguments.append((slot, source.part))
            elif source.kind == "captured":
                self.captured.append((slot, source.thing))
            elif source.kind == "grad":
                self.grad_inputs.append((slot, source.thing))
            else:
                if source.kind == "scalar":
                    position = starts[source.thing] + source.part
                    array = scalars[position : position + 1].reshape(())
                elif source.kind == "float":
                    position = starts[-1] + len(self.floats)
                    array = scalars[position : position + 1].reshape(())
                    self.floats.append((position, source.part))
                else:
                    array = source.thing.array()
                    self.states.append((array, source.thing))
                self.arrays[slot] = array
                self.table[slot] = address(array)
        self.scalars: ctypes.Array[ctypes.c_double] | list[float] = []
        if len(scalars):
            self.scalars = (ctypes.c_double * len(scalars)).from_buffer(scalars.data)
        self.providers = [
            (peek, start, start + count)
            for (peek, count, _), start in zip(binding.providers, starts, strict=False)
        ]
        self.commits = [commit for _, _, commit in binding.providers]

    def _bind(self) -> None:
        """Take the addresses of the captured tensors' arrays; they rarely change.

        All or nothing: if this fails, the arrays of before stay bound, and the next call finds a difference
        again.
        """
        binding = self.binding
        arrays = self.arrays.copy()
        bound: list[tuple[Tensor, Any, bool]] = []
        for slot, tensor, layout, requires_grad in self.watched:
            array = tensor._array
            if _layout(array) != layout:
                raise Retrace(f"a captured tensor changed its shape, dtype or strides: now {_layout(array)}")
            bound.append((tensor, array, requires_grad))
            if slot >= 0:
                arrays[slot] = array
        grads = self._read_grads()
        for (slot, _), (_, _, array) in zip(self.grad_inputs, grads, strict=True):
            arrays[slot] = array
        written = {
            id(owner._grad if is_grad else owner) for owner, _, _, is_grad in binding.written
            if isinstance(owner, Tensor)
        }  # fmt: skip
        own: list[Any] = []
        reads: list[Any] = []
        for tensor, array in (*((t, t._array) for _, t in self.captured), *((g, a) for _, g, a in grads)):
            (own if id(tensor) in written else reads).append(array)
        spans = Spans(own)
        borders = [span(array) for array in reads]
        if not spans.disjoint or any(spans.touch(*border) for border in borders):
            raise Overlap(*SHARES)
        if not all(array.flags.writeable for array in own):
            raise Overlap(*READ_ONLY)
        with self.lock:
            for slot, array in enumerate(arrays):
                if array is not self.arrays[slot]:
                    self.arrays[slot] = array
                    self.table[slot] = address(array)
            self.bound, self.grads, self.written, self.reads = bound, grads, spans, borders

    def _read_grads(self) -> list[tuple[Tensor, Tensor, Any]]:
        """The .grad of each tensor whose .grad is an input, checked."""
        outside = self.binding.outside
        grads: list[tuple[Tensor, Tensor, Any]] = []
        for (_, tensor), layout in zip(self.grad_inputs, self.grad_layouts, strict=True):
            grad = tensor._grad
            if grad is None or _layout(grad._array) != layout:
                raise Retrace("a .grad changed its layout")
            if grad._base is not None or id(grad) in outside:
                raise Overlap(*SHARES)
            grads.append((tensor, grad, grad._array))
        if len({id(grad) for _, grad, _ in grads}) < len(grads):
            raise Overlap(*SHARES)
        return grads

    def _bind_grads(self) -> None:
        """`_bind` where only gradients are new, and are only read: an eager optimizer's every step."""
        grads = self._read_grads()
        spans = self.written
        if any(spans.touch(*span(array)) for _, _, array in grads):
            raise Overlap(*SHARES)
        with self.lock:
            for (slot, _), (_, _, array) in zip(self.grad_inputs, grads, strict=True):
                self.arrays[slot] = array
                self.table[slot] = address(array)
            self.grads = grads

    # -- checks -------------------------------------------------------------------------------------

    def changed(self, leaves: list[Any]) -> str | None:
        """Which of the things that the plan was made for has changed; None: the plan still holds."""
        binding = self.binding
        if mode.grad is not binding.grad_mode:
            return "gradients were switched " + ("on" if mode.grad else "off")
        moved = new_grads = False
        for tensor, array, requires_grad in self.bound:
            if tensor._requires_grad is not requires_grad:
                return f"requires_grad of a tensor of shape {tuple(tensor.shape)} changed"
            if tensor._hooks is not None and id(tensor) not in self.hooked:
                return f"a tensor of shape {tuple(tensor.shape)} has hooks now"
            if tensor._array is not array:
                moved = True
        if moved or binding.views:
            for view, owner, chain in binding.views:
                # (What is moved may have been looked at by a view: it would still look at the old place.)
                if view._base is not owner or view._chain is not chain or moved:
                    return "a view, or what it is a view of, was replaced"
        for tensor in binding.no_grad_yet:
            if tensor._grad is not None:
                return f"a tensor of shape {tuple(tensor.shape)} has a .grad now"
        for tensor, grad in binding.grads_there:
            if tensor._grad is not grad:
                return f"the .grad of a tensor of shape {tuple(tensor.shape)} was replaced"
        for tensor, grad, array in self.grads:
            if tensor._grad is not grad or grad._array is not array:
                if tensor._grad is None:
                    return f"a tensor of shape {tuple(tensor.shape)} has no .grad now"
                new_grads = True
        if moved or new_grads:
            try:
                if moved or self.writes_grads or self.written_arguments:
                    self._bind()
                else:
                    self._bind_grads()
            except Retrace as different:
                return str(different)
        for number, tensor in binding.pins:
            if leaves[number] is not tensor:
                return "an argument that the function also knows by another name was replaced"
        outside = binding.outside
        for number in binding.free:
            if id(leaves[number]) in outside:
                return "an argument is a tensor that the function also knows by another name"
        for optimizer in binding.optimizers:
            if (reason := optimizer.changed()) is not None:
                return reason
        return None if binding.guards is None else binding.guards.check()

    def shorten(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Write the short way through calls like this one, which has just gone the long way.

        Where that happens again and again (something is replaced at each call), the long way is cheaper.
        """
        if self.calls >= SHORTEN_AFTER and self.writings < MAX_WRITINGS:
            self.writings += 1
            self.direct = direct_call(self, args, kwargs) if self.writings < MAX_WRITINGS else None

    # -- running ------------------------------------------------------------------------------------

    def run(self, leaves: list[Any]) -> Any:
        """One call, after `changed()` found nothing."""
        with self.lock:
            undo = [s._replace(old=s.table.get(s.name)) for s in self.binding.settings if s.before]
            try:
                return self._run(leaves)
            except BaseException:
                for setting in reversed(undo):
                    setting.undo()
                raise

    def _run(self, leaves: list[Any]) -> Any:
        table, arrays, written = self.table, self.arrays, self.written
        for slot, number in self.arguments:
            array = leaves[number]._array
            arrays[slot] = array
            table[slot] = start = address(array)
            if written.starts:
                if array.flags.c_contiguous:
                    overlap = written.touch(start, start + array.nbytes)
                else:
                    overlap = written.touch(*span(array))
                if overlap:
                    raise Overlap(*SHARES)
        if self.written_arguments:
            self._check_written_arguments(leaves)
        for position, number in self.floats:
            self.scalars[position] = leaves[number]
        for setting in self.binding.settings:
            if setting.before:
                setting.act(leaves)
        for peek, start, stop in self.providers:
            values = peek()
            if values is None:
                raise Retrace("parameters of one optimizer have taken different numbers of steps")
            self.scalars[start:stop] = values
        for state, generator in self.states:
            state[0], state[1] = generator.seed_value, generator.offset
        outputs = []
        slot = self.first_output
        for shape, dtype in self.fresh:
            array = np.empty(shape, dtype)
            outputs.append(array)
            table[slot] = address(array)
            slot += 1
        if not self.calls:
            self.layouts = {slot: _layout(arrays[slot]) for slot, _ in self.arguments}
        try:
            self.engine.run(self, outputs)
        finally:
            for slot, _ in self.arguments:  # a batch must not stay in memory because of a plan
                arrays[slot] = None
        self.calls += 1
        return self._finish(leaves, outputs)

    def rehearse(self, act: Any) -> Any:
        """Call `act(table, its address)` with copies of what is read and written: nothing changes.

        The arguments are gone by now: in their place there are random numbers, and zeros for integers, which
        may be indices.
        """
        with self.lock:
            copies = []
            table = type(self.table)(*self.table)
            for slot, array in enumerate(self.arrays):
                values = array
                if array is None:
                    shape, dtype, strides = self.layouts[slot]
                    array = as_strided(np.empty(1, dtype), shape, strides)  # only for its layout
                    values = _made_up(shape, dtype)
                low, high = span(array)
                block = np.empty(max(1, high - low), np.uint8)
                copy = np.ndarray(array.shape, array.dtype, block, address(array) - low, array.strides)
                copy[...] = values
                copies.append(block)
                table[slot] = address(copy)
            for i, (shape, dtype) in enumerate(self.fresh):
                copies.append(np.empty(shape, dtype))
                table[self.first_output + i] = address(copies[-1])
            return act(table, ctypes.addressof(table))

    def _check_written_arguments(self, leaves: list[Any]) -> None:
        spans = [span(leaves[number]._array) for _, number in self.arguments]
        numbers = [number for _, number in self.arguments]
        for position in self.written_arguments:
            array = leaves[position]._array
            own = span(array)
            others = [s for s, n in zip(spans, numbers, strict=True) if n != position] + self.reads
            if any(a < own[1] and own[0] < b for a, b in others):
                raise Overlap(*SHARES)
            if not array.flags.writeable:
                raise Overlap(*READ_ONLY)

    def _finish(self, leaves: list[Any], outputs: list[Any]) -> Any:
        """Leave the user's objects as eager would have, and put the result together."""
        binding = self.binding
        for commit in self.commits:
            commit()
        for generator, blocks in binding.generators:
            generator.offset += blocks
        for owner, count, writer, is_grad in binding.written:
            tensor = leaves[owner] if isinstance(owner, int) else owner
            target = tensor._grad if is_grad else tensor
            assert target is not None  # the .grad was there when `changed` looked
            version = target._version
            version[0] += count
            version[1] = writer
        made: dict[int, Tensor] = {}
        if binding.recording is not None:
            self._record(binding.recording, leaves, outputs, made)
        for owner, grad in binding.grads:
            tensor = leaves[owner] if isinstance(owner, int) else owner
            tensor._grad = self._result(grad, leaves, outputs, made)
        if binding.shape is None:
            whole = self._result(binding.returned[0], leaves, outputs, made)
        else:
            results = [self._result(item, leaves, outputs, made) for item in binding.returned]
            whole = unflatten(binding.shape, iter(results))
        for setting in binding.settings:
            if not setting.before:
                setting.act(leaves)
        for act in binding.postponed:
            act()
        return whole

    def _record(
        self, recording: Recording, leaves: list[Any], outputs: list[Any], made: dict[int, Tensor]
    ) -> None:
        """Make the results that have a history, and give it to them."""
        versions = {item.index: item.version for item in self.binding.returned if item.kind == "output"}
        for number in recording.ends:
            made[number] = wrap(outputs[self.buffer[number]])
            made[number]._version[:] = versions[number] or (0, None)
        recording.attach(leaves, lambda number: outputs[self.buffer[number]], made)

    def _result(self, item: Returned, leaves: list[Any], outputs: list[Any], made: dict[int, Tensor]) -> Any:
        """One result. `made` holds the tensors of outputs that have been handed out: each is one tensor."""
        if item.kind == "plain":
            return item.thing
        if item.kind == "sparse":
            index, rows, shape = item.thing
            index, rows = (self._result(part, leaves, outputs, made) for part in (index, rows))
            return SparseGradient(index, rows, shape)
        if item.kind == "tensor":
            result = item.thing if item.index < 0 else leaves[item.index]
        else:
            result = made.get(item.index)
            if result is None:
                result = made[item.index] = wrap(outputs[self.buffer[item.index]])
                if item.version is not None:
                    result._version[:] = item.version
        if item.chain is not None:
            from lampion.ops.movement import follow

            previous, mode.grad = mode.grad, item.tracked
            try:
                result = follow(result, item.chain) if item.chain else result.detach()
            finally:
                mode.grad = previous
        if item.node is not None:
            result._node, result._requires_grad = item.node, True
        return result


def plan_of(graph: Graph, arrays: list[Any]) -> BoundPlan:
    """A graph as a plan that is called with a list of tensors, and gives a list of tensors."""
    from lampion.compiler.engine import make_engine

    count = len(graph.outputs)
    targets: list[Value | None] = [None] * count
    binding = Binding(
        graph=graph, sources=[Source("argument", None, i) for i in range(len(arrays))], targets=targets,
        returned=[Returned("output", None, i) for i in range(count)], shape=(list, (None,) * count),
        grads=[], written=[], providers=[], generators=[], guards=None, no_grad_yet=[], grads_there=[],
        optimizers=[], grad_mode=False, outside={}, pins=[], free=[], views=[],
    )  # fmt: skip
    return BoundPlan(binding, make_engine(graph, arrays, targets))


def _made_up(shape: tuple[int, ...], dtype: Any) -> Any:
    """Numbers of no meaning, in place of an argument's."""
    if dtype.kind in "fc":
        return np.random.default_rng(0).random(shape).astype(dtype)
    return np.zeros(shape, dtype)


def _layout(array: Any) -> tuple[Any, ...]:
    return array.shape, array.dtype, array.strides
