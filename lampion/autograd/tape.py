"""The tape: one `Node` for each recorded operation.

A tensor points to the node that made it, and a node to the nodes that made its inputs (its *edges*),
never the other way. So there are no reference cycles, and the whole tape is freed the moment that the
last tensor computed from it goes.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from lampion.errors import GradientError, OverwrittenError
from lampion.hooks import Hooks, RemovableHandle, hooks_of, register
from lampion.mode import mode
from lampion.origin import Where, here
from lampion.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType

    from lampion.primitive import Primitive

_order = itertools.count()
_new = object.__new__


class Node:
    """One operation that ran: how to get from the gradient of its output to those of its inputs.

    Attributes:
        edges: for each input, the Node that made it, or the leaf Tensor itself where gradients come to
            rest, or None where no gradient is needed.
        shapes: the shape of each input; for a Python number, the number itself.
        saved: the arrays that the gradient reads; None once freed by a backward pass.
        versions: for each saved array, its storage's version list and the version when it was saved.
        order: nodes made later have greater numbers, so that decreasing order is a topological order.
        at: where the operation was run, as `where` reads it.
    """

    __slots__ = (
        "at", "edges", "hooks", "order", "output_shape", "params", "primitive", "released", "saved", "shapes",
        "versions",
    )  # fmt: skip

    # Set by `record`, without a call of `__init__`: there is one for every operation that runs.
    primitive: Primitive
    edges: Sequence[Any]
    shapes: Sequence[Any]
    params: dict[str, Any]
    output_shape: tuple[int, ...]
    at: tuple[CodeType, int] | None
    order: int
    saved: list[Any] | None
    versions: list[Any]
    released: bool  # whether a backward pass went through here and let go of what was saved
    hooks: Hooks | None  # what the user has to say about this node; None nearly always

    def __repr__(self) -> str:
        return f"<{self.name()}>"

    @property
    def where(self) -> Where | None:
        """The user's line that ran the operation."""
        return None if self.at is None else Where(*self.at)

    def name(self) -> str:
        """The name that PyTorch would print: ``MulBackward``."""
        return "".join(part.title() for part in self.primitive.name.split("_")) + "Backward"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """For each input, the node that the gradient is passed on to, with 0 (the number of its output).

        A leaf stands there as an `AccumulateGrad`, an input that needs no gradient as None.
        """
        return tuple((AccumulateGrad(edge) if isinstance(edge, Tensor) else edge, 0) for edge in self.edges)

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(input_gradients, output_gradients)``, two tuples, when the node's gradient is computed.

        What it returns, if not None, takes the place of the inputs' gradients.
        """
        return register(hooks_of(self).after, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(output_gradients)``, a tuple, before the gradient is computed; it may replace it."""
        return register(hooks_of(self).before, hook)

    def unpack(self, create_graph: bool, output: Any = None) -> list[Any]:
        """The saved arrays as Tensors again, connected to the tape if a graph is being created."""
        if self.saved is None:
            raise freed_error(self.primitive.name, f"the operation of {self.where}, whose saved values")
        packed = None if self.hooks is None else self.hooks.packed
        tensors: list[Any] = []  # beside tensors: None for what is not read, and Python numbers
        for position, array in enumerate(self.saved):
            if packed and position in packed:
                from lampion.autograd.graph import unpacked

                tensors.append(unpacked(self, position, self._history_of(position) if create_graph else None))
                continue
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
            tensor = _new(Tensor)  # as `wrap` does
            tensor._array = array
            tensor._version = [version, None]  # for which a traced value holds
            tensor._requires_grad = tensor._inference = False
            tensor._node = tensor._follows = None
            if create_graph:
                edge = self._history_of(position)
                if isinstance(edge, Tensor):
                    tensor = edge  # a leaf: the tensor itself, so that its gradient arrives there
                elif edge is not None:
                    tensor._node = edge
                    tensor._requires_grad = True
            tensors.append(tensor)
        return tensors

    def _history_of(self, position: int) -> Any:
        """The edge at which the history of a saved tensor goes on."""
        inputs = len(self.edges) if self.primitive.saves_inputs else 0
        if position < inputs:
            return self.edges[position]
        # Beyond the inputs and the output lies what `save` kept, which has no history.
        return self if self.primitive.saves_output and position == inputs else None

    def save(self, constant: Tensor) -> None:
        """Keep one more tensor for the gradient: one that is not differentiated itself."""
        assert self.saved is not None
        self.saved.append(constant._array)
        self.versions.append((constant._version, constant._version[0]))
        if mode.saving is not None:
            mode.saving.pack(self, len(self.saved) - 1)

    def release(self) -> None:
        """Forget the saved arrays: they are most of the memory of a training step."""
        self.released = True
        if self.hooks is not None:
            self.hooks.packed = {}
        if self.saved:  # a node that saved nothing can be passed again
            self.saved = None
            self.versions = []

    @property
    def freed(self) -> bool:
        """Whether a backward pass has let go of what was saved."""
        return self.saved is None


def freed_error(name: str, whose: str) -> GradientError:
    """What a second backward pass meets where the first one has let go of what was saved."""
    return GradientError(
        name, "the backward pass through this graph has already been made", got=f"{whose} were freed",
        fix="pass retain_graph=True to the first backward(), or compute the loss again",
    )  # fmt: skip


def overwritten_error(name: str, at: object, writer: object) -> OverwrittenError:
    """What a backward pass meets where a saved value is not what it was."""
    return OverwrittenError(
        name, "a value that the gradient needs was overwritten in place",
        expected=f"the value saved by {name} at {at}", got=f"overwritten at {writer}",
        fix="use the out-of-place form there (y = y + 1 for y += 1), or clone() before it",
    )  # fmt: skip


class AccumulateGrad:
    """The end of the tape at a leaf, as `next_functions` shows it: here a gradient comes to rest.

    Attributes:
        variable: the leaf.
    """

    next_functions: tuple[Any, ...] = ()

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def name(self) -> str:
        """``AccumulateGrad``."""
        return type(self).__name__

    def __repr__(self) -> str:
        return f"<{self.name()}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return hash((AccumulateGrad, id(self.variable)))


def record(
    result: Tensor, primitive: Primitive, inputs: tuple[Any, ...], arrays: list[Any], params: dict[str, Any]
) -> None:
    """Note an operation on the tape, as the maker of `result`."""
    edges: list[Any] = []
    shapes: list[Any] = []
    saved: list[Any] = []
    versions: list[Any] = []
    saves, inferred = primitive.saves_inputs, False
    needing = last = 0  # how many inputs need a gradient, and the position of the last one
    for x in inputs:
        if isinstance(x, Tensor):
            # `x._edge()`, without the call for all that is no view.
            edge = x._edge() if x._follows is not None else x._node
            if edge is None and x._requires_grad:
                edge = x
            if edge is not None:
                needing += 1
                last = len(edges)
            edges.append(edge)
            array = x._array
            shapes.append(array.shape)
            if x._inference:
                inferred = True
            if saves:
                saved.append(array)
                version = x._version
                versions.append((version, version[0]))
        else:
            edges.append(None)
            shapes.append(x)
            if saves:
                saved.append(x)  # a Python number, or None
                versions.append(None)
    if saves:
        if mode.trace is not None:  # what the tensors hold by now
            saved = [array if isinstance(x, Tensor) else x for x, array in zip(inputs, arrays, strict=True)]
        if primitive.saves_others:
            if needing == 1:  # each gradient reads only the other inputs: that one's own is not read
                saved[last] = None
        elif primitive.saves_only is not None:
            for position, x in enumerate(inputs):
                if position not in primitive.saves_only and isinstance(x, Tensor):
                    saved[position] = None
        if inferred:
            for x, array in zip(inputs, saved, strict=True):
                if isinstance(x, Tensor) and x._inference and array is not None:
                    x._refuse_inference(primitive.name, "kept for a gradient")
    if primitive.saves_output:
        saved.append(result._array)
        versions.append((result._version, 0))
    node = _new(Node)
    node.primitive = primitive
    node.edges = edges
    node.shapes = shapes
    node.params = params
    node.output_shape = result._array.shape
    node.at = here(4)  # behind this, the door, and the operation's own function
    node.order = next(_order)
    node.saved = saved
    node.versions = versions
    node.released = False
    node.hooks = None
    result._node = node
    result._requires_grad = True
    if mode.saving is not None:
        mode.saving.pack(node)


def record_plain(result: Tensor, primitive: Primitive, x: Tensor, y: Any) -> None:
    """`record` for the commonest operations: see `primitive.apply_plain`. No input is a view with history."""
    node = _new(Node)
    node.primitive = primitive
    a = x._array
    edge: Any = x._node
    if edge is None and x._requires_grad:
        edge = x
    saved: list[Any] = []
    versions: list[Any] = []
    if y is None:
        node.edges = (edge,)
        node.shapes = (a.shape,)
    elif not isinstance(y, Tensor):
        node.edges = (edge, None)
        node.shapes = (a.shape, y)
    else:
        other: Any = y._node
        if other is None and y._requires_grad:
            other = y
        node.edges = (edge, other)
        node.shapes = (a.shape, y._array.shape)
    if primitive.saves_inputs:
        others = primitive.saves_others  # each gradient reads only the other input
        version = x._version
        versions.append((version, version[0]))
        if y is None:
            saved.append(a)
        elif not isinstance(y, Tensor):
            saved.append(None if others else a)
            saved.append(y)
            versions.append(None)
        else:
            saved.append(None if others and other is None else a)
            saved.append(None if others and edge is None else y._array)
            version = y._version
            versions.append((version, version[0]))
            if y._inference and saved[1] is not None:
                y._refuse_inference(primitive.name, "kept for a gradient")
        if x._inference and saved[0] is not None:
            x._refuse_inference(primitive.name, "kept for a gradient")
    array = result._array
    if primitive.saves_output:
        saved.append(array)
        versions.append((result._version, 0))
    node.saved = saved
    node.versions = versions
    node.params = {}
    node.output_shape = array.shape
    node.at = here(4)
    node.order = next(_order)
    node.released = False
    node.hooks = None
    result._node = node
    result._requires_grad = True
    if mode.saving is not None:
        mode.saving.pack(node)


def next_order() -> int:
    """A number greater than that of every node so far."""
    return next(_order)


def new_node(
    kind: Any, rules: Any, edges: list[Any], shapes: list[tuple[int, ...]], output_shape: tuple[int, ...],
    saved: list[Any],
) -> Any:  # fmt: skip
    """A node that is no operation's: of an `autograd.Function`, say, whose `rules` stand for a primitive."""
    node = _new(kind)
    node.primitive, node.edges, node.shapes, node.params = rules, edges, shapes, {}
    node.output_shape, node.at, node.order = output_shape, here(3), next(_order)
    node.saved, node.versions, node.released, node.hooks = saved, [], False, None
    return node


class GradientEdge(NamedTuple):
    """A place on the tape, without the tensor that was computed there: see `autograd.graph`."""

    node: Any  # the Node; a leaf stands for itself
    output_nr: int = 0


def spent(node: Node) -> Node:
    """What is left of a node after a backward pass: a name and a line, for the error at the next one."""
    rest = _new(Node)
    for name in Node.__slots__:
        setattr(rest, name, getattr(node, name))
    rest.edges, rest.shapes, rest.params = [], [], {}
    rest.saved, rest.versions, rest.released, rest.hooks = None, [], True, None
    return rest
