"""The tape as an object: its nodes and places, and what it does with the arrays that it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lampion.autograd.tape import GradientEdge, Node, record
from lampion.errors import GradientError
from lampion.hooks import hooks_of
from lampion.mode import mode
from lampion.tensor import Tensor, wrap

__all__ = [
    "GradientEdge", "Node", "disable_saved_tensors_hooks", "get_gradient_edge", "increment_version",
    "save_on_cpu", "saved_tensors_hooks",
]  # fmt: skip


class saved_tensors_hooks:
    """Decide how the tape keeps what gradients read: a ``with`` block.

    Args:
        pack_hook: called with each tensor that an operation inside the block saves; what it returns is kept
            in the tensor's place.
        unpack_hook: called with that when the gradient is computed; gives a tensor of the same values.

    Inside of several blocks the innermost one decides.

    >>> import lampion
    >>> x = lampion.ones(2, requires_grad=True)
    >>> with lampion.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), lampion.tensor):
    ...     y = x.exp().sum()
    >>> y.backward()
    >>> x.grad
    tensor([2.7183, 2.7183])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook
        self.previous: list[Any] = []

    def __enter__(self) -> None:
        if isinstance(mode.saving, disable_saved_tensors_hooks):
            raise GradientError("saved_tensors_hooks", mode.saving.error_message)
        self.previous.append(mode.saving)
        mode.saving = self

    def __exit__(self, *exception: object) -> None:
        mode.saving = self.previous.pop()

    def pack(self, node: Node, first: int = 0) -> None:
        """Hand what a node has saved, from position `first` on, to the hook."""
        assert node.saved is not None
        scope = (mode.saving, mode.grad)
        mode.saving, mode.grad = None, False
        try:
            for position in range(first, len(node.saved)):
                array, version = node.saved[position], node.versions[position]
                if array is None or version is None:
                    continue
                tensor = wrap(array)
                tensor._version[0] = version[1]
                hooks_of(node).packed[position] = (self.pack_hook(tensor), self.unpack_hook)
                node.saved[position] = None
        finally:
            mode.saving, mode.grad = scope


def unpacked(node: Node, position: int, edge: Any) -> Tensor:
    """A saved tensor brought back by its hook, with the history that `edge` stands for."""
    assert node.hooks is not None
    kept, unpack = node.hooks.packed[position]
    previous, mode.grad = mode.grad, False
    try:
        value = unpack(kept)
    finally:
        mode.grad = previous
    if not isinstance(value, Tensor):
        raise GradientError("saved_tensors_hooks", "the unpack hook must return a Tensor",
                            got=type(value).__name__)  # fmt: skip
    return with_history(value.detach(), edge)


def with_history(tensor: Tensor, edge: Any) -> Tensor:
    """A tensor without history, given the one that goes on at `edge`."""
    if isinstance(edge, Tensor):
        from lampion import ops  # which needs the tape

        # A leaf takes gradients by being itself; a copy of it reaches it by way of a node.
        record(tensor, ops.clone.primitive, (edge,), [edge._array], {})  # type: ignore[attr-defined]  # a stub
    elif edge is not None:
        tensor._node, tensor._requires_grad = edge, True
    return tensor


class save_on_cpu(saved_tensors_hooks):
    """Keep what gradients read in the memory of the processor: where Lampion keeps everything."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cpu") -> None:
        super().__init__(lambda tensor: tensor, lambda tensor: tensor)


class disable_saved_tensors_hooks:
    """Refuse `saved_tensors_hooks` inside the block, with this message."""

    def __init__(self, error_message: str) -> None:
        self.error_message = error_message
        self.previous: list[Any] = []

    def __enter__(self) -> None:
        self.previous.append(mode.saving)
        mode.saving = self

    def __exit__(self, *exception: object) -> None:
        mode.saving = self.previous.pop()

    def pack(self, node: Node, first: int = 0) -> None:
        """Leave what the node saved where it is."""


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where on the tape the gradient of this tensor arrives: for `autograd.grad`, without the tensor."""
    edge = tensor._edge()
    if edge is None:
        raise GradientError("get_gradient_edge", "the tensor does not require a gradient",
                            got=f"a tensor of shape {tuple(tensor.shape)}")  # fmt: skip
    return GradientEdge(edge, 0)


def increment_version(tensors: Tensor | list[Tensor] | tuple[Tensor, ...]) -> None:
    """Tell autograd that the memory of these tensors was written to behind its back."""
    from lampion.origin import where

    for tensor in [tensors] if isinstance(tensors, Tensor) else tensors:
        tensor._version[0] += 1
        tensor._version[1] = where()
