"""A plan bound to the user's objects: each call checks that they are as they were, fills in pointers,
runs, and leaves everything as eager would have left it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lampion.autograd.tape import Node
from lampion.compiler.graph import Graph, Value
from lampion.compiler.trace import Source
from lampion.compiler.tree import unflatten
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
        fresh = [v for v, target in zip(graph.outputs, binding.targets, strict=True) if target is None]
        self.fresh = [(v.shape, v.dtype.numpy) for v in fresh]
        self.slots = [
            i for i, target in enumerate(binding.targets) if target is None
        ]  # the output number of each fresh buffer
        self.table = np.zeros(inputs + len(self.constants) + len(fresh), np.uintp)
        self.table[inputs : inputs + len(self.constants)] = [_address(a) for a in self.constants]
        self.table_address = _address(self.table)
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
        self.scalars = np.zeros(sum(count for _, count, _ in binding.providers), np.float64)
        starts = np.cumsum([0] + [count for _, count, _ in binding.providers])
        states = []
        for slot, source in enumerate(binding.sources):
            if source.kind == "argument":
                self.arguments.append((slot, source.part))
            elif source.kind == "captured":
                self.captured.append((slot, source.thing))
            elif source.kind == "grad":
                self.grad_inputs.append((slot, source.thing))
            elif source.kind == "scalar":
                position = starts[source.thing] + source.part
                self.arrays[slot] = self.scalars[position : position + 1].reshape(())
                self.table[slot] = self.scalars.ctypes.data + 8 * position
            else:
                state = source.thing.array()
                states.append((state, source.thing))
                self.arrays[slot] = state
                self.table[slot] = _address(state)
        self.states = states
        self.starts = [int(s) for s in starts]

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
            self.table[slot] = _address(array)
            self.bound.append((tensor, array, tensor._requires_grad))
        own = [t for t, _, is_grad in self.binding.written if isinstance(t, Tensor) and not is_grad]
        written = set(map(id, own))
        self.written_arrays = [t._array for t in own]
        self.read_arrays = [t._array for _, t in self.captured if id(t) not in written]
        for i, array in enumerate(self.written_arrays):
            others = self.written_arrays[:i] + self.read_arrays
            if not array.flags.writeable or any(np.may_share_memory(array, other) for other in others):
                raise Retrace("overlap")

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
        binding, table, arrays = self.binding, self.table, self.arrays
        for slot, number in self.arguments:
            array = leaves[number]._array
            arrays[slot] = array
            table[slot] = array.__array_interface__["data"][0]
        if self.written_arrays and any(
            np.may_share_memory(leaves[number]._array, w) for _, number in self.arguments for w in self.written_arrays
        ):
            raise Retrace("overlap")
        for slot, tensor in self.grad_inputs:
            assert tensor._grad is not None
            arrays[slot] = tensor._grad._array
            table[slot] = _address(arrays[slot])
        for number, (peek, count, _) in enumerate(binding.providers):
            values = peek()
            if values is None:
                raise Retrace("parameters of one optimizer have taken different numbers of steps")
            if count:
                start = self.starts[number]
                self.scalars[start : start + count] = values
        for state, generator in self.states:
            state[0], state[1] = generator.seed_value, generator.offset
        outputs = [np.empty(shape, dtype) for shape, dtype in self.fresh]
        slot = self.first_output
        for array in outputs:
            table[slot] = array.__array_interface__["data"][0]
            slot += 1
        self.engine.run(self, outputs)
        self.calls += 1
        return self._finish(leaves, dict(zip(self.slots, outputs, strict=True)))

    def _finish(self, leaves: list[Any], outputs: dict[int, Any]) -> Any:
        """Leave the user's objects as eager would have, and put the result together."""
        binding = self.binding
        for _, _, commit in binding.providers:
            commit()
        for generator, blocks in binding.generators:
            generator.offset += blocks
        for owner, count, is_grad in binding.written:
            tensor = owner if isinstance(owner, Tensor) else leaves[owner]
            (tensor._grad if is_grad else tensor)._version[0] += count
        for owner, grad in binding.grads:
            tensor = owner if isinstance(owner, Tensor) else leaves[owner]
            if type(grad) is int:
                tensor._grad = wrap(outputs[grad])
            else:
                tensor._grad = grad
        results = [self._result(item, leaves, outputs) for item in binding.returned]
        return results[0] if binding.shape is None else unflatten(binding.shape, iter(results))

    def _result(self, item: Returned, leaves: list[Any], outputs: dict[int, Any]) -> Any:
        if item.kind == "plain":
            return item.thing
        if item.kind == "tensor":
            result = item.thing if item.index < 0 else leaves[item.index]
        else:
            result = wrap(outputs[item.index])
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


def _address(array: Any) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


Provider = Callable[[], Any]
