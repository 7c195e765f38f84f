"""A plan bound to the user's objects: each call checks that they are as they were, fills in pointers,
runs, and leaves everything as eager would have left it.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lampion.autograd.tape import Node
from lampion.compiler.address import Spans, address, span
from lampion.compiler.graph import Graph, Value
from lampion.compiler.trace import Source
from lampion.compiler.tree import unflatten
from lampion.errors import LampionError
from lampion.mode import mode
from lampion.tensor import Tensor, wrap


@dataclass
class Returned:
    """One leaf of what the function returned.

    kind: "output" (number `index` of the graph's outputs), "tensor" (`thing`, an existing tensor, or
    argument `index`), or "plain" (`thing` itself). `chain` is the view to take of it; `node` marks a
    result whose graph was used up by a backward pass inside.
    """

    kind: str
    thing: Any = None
    index: int = -1
    chain: tuple[Any, ...] = ()
    node: Node | None = None


@dataclass
class Binding:
    """All that a trace found out about the world around the graph."""

    graph: Graph  # as recorded
    sources: list[Source]
    targets: list[Value | None]  # for each output: the input whose memory it overwrites, or None
    returned: list[Returned]
    shape: Any  # the tree of what is returned
    grads: list[tuple[Tensor | int, int | Tensor | None]]  # (tensor or argument, output or tensor or None)
    # (tensor or argument, how much its version goes up, whether it is the tensor's .grad that was written)
    written: list[tuple[Tensor | int, int, bool]]
    providers: list[Any]
    generators: list[tuple[Any, int]]
    guards: Any
    no_grad_yet: list[Tensor]
    groups: list[tuple[Any, dict[str, Any], list[Any], dict[str, Any]]]
    grad_mode: bool
    keep: list[Any] = field(default_factory=list)


class Retrace(Exception):
    """Something that the plan was made for has changed."""


class Overlap(Exception):
    """A tensor that is written to shares memory with another: the order of single writes would matter."""


class BoundPlan:
    """A specialisation of a compiled function, ready to be called."""

    def __init__(self, binding: Binding, engine: Any) -> None:
        self.binding = binding
        self.engine = engine
        self.lock = threading.Lock()
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
        self.arrays: list[Any] = [None] * inputs
        self._sort_sources()
        self._bind_captured()

    def _sort_sources(self) -> None:
        """Sort the inputs by where they come from, and give scalars and states a memory of their own."""
        binding = self.binding
        self.arguments: list[tuple[int, int]] = []  # (slot, argument number)
        self.captured: list[tuple[int, Tensor]] = []
        self.grad_inputs: list[tuple[int, Tensor]] = []
        self.states: list[tuple[Any, Any]] = []
        scalars = np.zeros(sum(count for _, count, _ in binding.providers), np.float64)
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
                else:
                    array = source.thing.array()
                    self.states.append((array, source.thing))
                self.arrays[slot] = array
                self.table[slot] = address(array)
        self.scalars: ctypes.Array[ctypes.c_double] | list[float] = []
        if len(scalars):
            self.scalars = (ctypes.c_double * len(scalars)).from_buffer(scalars.data)
        self.providers = [
            (peek, start, start + count) for (peek, count, _), start in zip(binding.providers, starts, strict=False)
        ]
        self.commits = [commit for _, _, commit in binding.providers]

    def _bind_captured(self) -> None:
        """Take the addresses of the captured tensors' arrays; they rarely change."""
        self.bound: list[tuple[Tensor, Any, bool]] = []
        for slot, tensor in self.captured:
            array = tensor._array
            value = self.binding.graph.inputs[slot]
            if array.shape != value.shape or array.dtype != value.dtype.numpy:
                raise Retrace(f"a captured tensor changed its shape or dtype: {array.shape}, {array.dtype}")
            if self.arrays[slot] is not None and array.strides != self.arrays[slot].strides:
                raise Retrace("a captured tensor changed its strides")
            self.arrays[slot] = array
            self.table[slot] = address(array)
            self.bound.append((tensor, array, tensor._requires_grad))
        own = [t for t, _, is_grad in self.binding.written if isinstance(t, Tensor) and not is_grad]
        written = set(map(id, own))
        self.written = Spans(t._array for t in own)
        reads = [span(t._array) for _, t in self.captured if id(t) not in written]
        if not self.written.disjoint or any(self.written.touch(*read) for read in reads):
            raise Overlap
        for tensor in own:
            if not tensor._array.flags.writeable:
                raise LampionError("compile", "a tensor that is written to has a read-only array",
                                   fix="make it with lampion.tensor(...), which copies")  # fmt: skip
        # Arguments that are written to must not overlap anything else either.
        self.written_arguments = [t for t, _, _ in self.binding.written if not isinstance(t, Tensor)]
        self.reads = reads if self.written_arguments else []

    # -- checks -------------------------------------------------------------------------------------

    def changed(self) -> str | None:
        """Which of the things that the plan was made for has changed; None: the plan still holds."""
        binding = self.binding
        if mode.grad is not binding.grad_mode:
            return "gradients were switched " + ("on" if mode.grad else "off")
        for tensor, array, requires_grad in self.bound:
            if tensor._requires_grad is not requires_grad:
                return f"requires_grad of a tensor of shape {tuple(tensor.shape)} changed"
            if tensor._array is not array:
                try:
                    self._bind_captured()
                except Retrace as reason:
                    return str(reason)
                break
        for tensor in binding.no_grad_yet:
            if tensor._grad is not None:
                return f"a tensor of shape {tuple(tensor.shape)} has a .grad now"
        for slot, tensor in self.grad_inputs:
            grad, value = tensor._grad, binding.graph.inputs[slot]
            if grad is None:
                return f"a tensor of shape {tuple(tensor.shape)} has no .grad now"
            if not grad._array.flags.c_contiguous or grad._array.dtype != value.dtype.numpy:
                return "a .grad changed its layout"
        for optimizer, group, params, flags in binding.groups:
            if group["params"] != params and list(map(id, group["params"])) != list(map(id, params)):
                return f"the parameters of {type(optimizer).__name__} changed"
            for name, value in flags.items():
                if group[name] != value:
                    return f"{name} of {type(optimizer).__name__} changed from {value} to {group[name]}"
        return None if binding.guards is None else binding.guards.check()

    # -- running ------------------------------------------------------------------------------------

    def run(self, leaves: list[Any]) -> Any:
        """One call, after `changed()` found nothing."""
        with self.lock:
            return self._run(leaves)

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
                    raise Overlap
        if self.written_arguments:
            self._check_written_arguments(leaves)
        for slot, tensor in self.grad_inputs:
            arrays[slot] = tensor._grad._array  # type: ignore[union-attr]  # checked by `changed`
            table[slot] = address(arrays[slot])
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
        self.engine.run(self, outputs)
        self.calls += 1
        return self._finish(leaves, outputs)

    def rehearse(self, act: Any) -> Any:
        """Call `act(table address)` with copies of the last call's inputs: nothing of the user's changes."""
        with self.lock:
            copies = []
            table = type(self.table)(*self.table)
            for slot, array in enumerate(self.arrays):
                low, high = span(array)
                block = np.empty(max(1, high - low), np.uint8)
                copy = np.ndarray(array.shape, array.dtype, block, address(array) - low, array.strides)
                copy[...] = array
                copies.append(block)
                table[slot] = address(copy)
            for i, (shape, dtype) in enumerate(self.fresh):
                copies.append(np.empty(shape, dtype))
                table[self.first_output + i] = address(copies[-1])
            return act(ctypes.addressof(table))

    def _check_written_arguments(self, leaves: list[Any]) -> None:
        spans = [span(leaves[number]._array) for _, number in self.arguments]
        numbers = [number for _, number in self.arguments]
        for position in self.written_arguments:
            array = leaves[position]._array
            own = span(array)
            others = [s for s, n in zip(spans, numbers, strict=True) if n != position] + self.reads
            if any(a < own[1] and own[0] < b for a, b in others):
                raise Overlap
            if not array.flags.writeable:
                raise LampionError("compile", "an argument that is written to has a read-only array")

    def _finish(self, leaves: list[Any], outputs: list[Any]) -> Any:
        """Leave the user's objects as eager would have, and put the result together."""
        binding, buffer = self.binding, self.buffer
        for commit in self.commits:
            commit()
        for generator, blocks in binding.generators:
            generator.offset += blocks
        for owner, count, is_grad in binding.written:
            tensor = leaves[owner] if isinstance(owner, int) else owner
            if is_grad:
                tensor = tensor._grad  # there is one: the graph writes into it
            tensor._version[0] += count
        for owner, grad in binding.grads:
            tensor = leaves[owner] if isinstance(owner, int) else owner
            tensor._grad = wrap(outputs[buffer[grad]]) if isinstance(grad, int) else grad
        if binding.shape is None:
            return self._result(binding.returned[0], leaves, outputs)
        results = [self._result(item, leaves, outputs) for item in binding.returned]
        return unflatten(binding.shape, iter(results))

    def _result(self, item: Returned, leaves: list[Any], outputs: list[Any]) -> Any:
        if item.kind == "plain":
            return item.thing
        if item.kind == "tensor":
            result = item.thing if item.index < 0 else leaves[item.index]
        else:
            result = wrap(outputs[self.buffer[item.index]])
        if item.chain:
            from lampion.ops.movement import follow

            previous, mode.grad = mode.grad, False
            try:
                result = follow(result, item.chain)
            finally:
                mode.grad = previous
        if item.node is not None:
            result._node, result._requires_grad = item.node, True
        return result
