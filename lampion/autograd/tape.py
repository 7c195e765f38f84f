"""The tape: one `Node` for each recorded operation.

A tensor points to the node that made it, and a node to the nodes that made its inputs (its *edges*),
never the other way. So there are no reference cycles, and the whole tape is freed the moment that the
last tensor computed from it goes.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from lampion.errors import GradientError, OverwrittenError
from lampion.origin import Where, where
from lampion.tensor import Tensor, wrap

if TYPE_CHECKING:
    from lampion.primitive import Primitive

_order = itertools.count()


class Node:
    """One operation that ran: how to get from the gradient of its output to those of its inputs.

    Attributes:
        edges: for each input, the Node that made it, or the leaf Tensor itself where gradients come to
            rest, or None where no gradient is needed.
        saved: the arrays that the gradient reads; None once freed by a backward pass.
        versions: for each saved array, its storage's version list and the version when it was saved.
        order: nodes made later have greater numbers, so that decreasing order is a topological order.
        where: the user's line that ran the operation.
    """

    __slots__ = (
        "edges", "order", "output_shape", "params", "primitive", "released", "retained", "saved", "shapes",
        "versions", "where",
    )  # fmt: skip

    def __init__(
        self, primitive: Primitive, edges: list[Any], shapes: list[tuple[int, ...]], params: dict[str, Any],
        output_shape: tuple[int, ...], at: Where | None,
    ) -> None:  # fmt: skip
        self.primitive = primitive
        self.edges = edges
        self.shapes = shapes
        self.params = params
        self.output_shape = output_shape
        self.where = at
        self.order = next(_order)
        self.saved: list[Any] | None = None
        self.versions: list[Any] = []
        self.released = False  # whether a backward pass went through here and let go of what was saved
        self.retained: Any = None  # weak reference to the tensor that asked to keep its gradient

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def name(self) -> str:
        """The name that PyTorch would print: ``MulBackward``."""
        return "".join(part.title() for part in self.primitive.name.split("_")) + "Backward"

    @property
    def next_functions(self) -> tuple[Any, ...]:
        """The nodes (or leaf tensors) that this one passes gradients on to."""
        return tuple(edge for edge in self.edges if edge is not None)

    def unpack(self, create_graph: bool, output: Any = None) -> list[Any]:
        """The saved arrays as Tensors again, connected to the tape if a graph is being created."""
        if self.saved is None:
            raise GradientError(
                self.primitive.name, "the backward pass through this graph has already been made",
                got=f"the operation of {self.where}, whose saved values were freed",
                fix="pass retain_graph=True to the first backward(), or compute the loss again",
            )  # fmt: skip
        tensors: list[Any] = []  # beside tensors: None for what is not read, and Python numbers
        count = len(self.edges)
        for position, array in enumerate(self.saved):
            if array is None or self.versions[position] is None:
                tensors.append(array)
                continue
            storage, version = self.versions[position]
            if storage[0] != version:
                raise OverwrittenError(
                    self.primitive.name,
                    "a value that the gradient needs was overwritten in place",
                    expected=f"the value saved by {self.primitive.name} at {self.where}",
                    got=f"overwritten at {storage[1]}",
                    fix="use the out-of-place form there (y = y + 1 for y += 1), or clone() before it",
                )
            tensor = wrap(array)
            tensor._version[0] = version  # for which a traced value holds
            if create_graph:
                is_output = self.primitive.saves_output and position == len(self.saved) - 1
                # Beyond the inputs and the output lies what `save` kept, which has no history.
                edge = self if is_output else self.edges[position] if position < count else None
                if isinstance(edge, Tensor):
                    tensor = edge  # a leaf: the tensor itself, so that its gradient arrives there
                elif edge is not None:
                    tensor._node = edge
                    tensor._requires_grad = True
            tensors.append(tensor)
        return tensors

    def save(self, constant: Tensor) -> None:
        """Keep one more tensor for the gradient: one that is not differentiated itself."""
        assert self.saved is not None
        self.saved.append(constant._array)
        self.versions.append((constant._version, constant._version[0]))

    def release(self) -> None:
        """Forget the saved arrays: they are most of the memory of a training step."""
        self.released = True
        if self.saved:  # a node that saved nothing can be passed again
            self.saved = None
            self.versions = []


def record(
    result: Tensor, primitive: Primitive, inputs: tuple[Any, ...], arrays: list[Any], params: dict[str, Any]
) -> None:
    """Note an operation on the tape, as the maker of `result`."""
    edges: list[Any] = []
    shapes = []
    for x in inputs:
        if isinstance(x, Tensor):
            edges.append(x._edge())
            shapes.append(x._array.shape)
        else:
            edges.append(None)
            shapes.append(())
    node = Node(primitive, edges, shapes, params, result._array.shape, where(3))
    saved: list[Any] = []
    versions: list[Any] = []
    if primitive.saves_inputs:
        needed = sum(edge is not None for edge in edges)
        for position, x in enumerate(inputs):
            # With "others", an input is left out if only its own gradient is wanted: that does not read it.
            unread = (primitive.saves_others and needed == (edges[position] is not None)) or (
                primitive.saves_only is not None and position not in primitive.saves_only
            )
            if not isinstance(x, Tensor):
                saved.append(x)  # a Python number, or None
                versions.append(None)
            else:
                saved.append(None if unread else arrays[position])
                versions.append((x._version, x._version[0]))
    if primitive.saves_output:
        saved.append(result._array)
        versions.append((result._version, 0))
    node.saved = saved
    node.versions = versions
    result._node = node
    result._requires_grad = True
