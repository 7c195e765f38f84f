"""What a graph shows: the tape behind a tensor, with values, gradients and the modules it went through."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lampion.autograd.tape import Node, next_order
from lampion.autograd.walk import grad
from lampion.backend import silence
from lampion.errors import LampionError
from lampion.mode import no_grad, uncompiled
from lampion.tensor import Tensor, wrap


@dataclass
class Box:
    """One box of the picture: an operation, a leaf, other data, or a module whose inside is not shown."""

    key: int
    kind: str  # "operation", "parameter", "data" or "module"
    title: str
    shape: tuple[int, ...]
    name: str = ""  # the user's, for the tensor that comes out
    value: Any = None  # an array, where it is known
    gradient: Any = None
    scope: tuple[int, ...] = ()  # the modules around it, from the outside in
    where: str = ""  # the line that ran it
    parameters: int = 0  # of a module: how many numbers it learns
    is_result: bool = False


@dataclass
class Scope:
    """One call of a module."""

    name: str  # the dotted name in the model; "" for the model itself
    kind: str  # its class
    begin: int
    end: int = 0
    parent: int | None = None


@dataclass
class Reading:
    """Boxes, the arrows between them as (from, to, share of the upper edge), and the calls of modules."""

    boxes: dict[int, Box] = field(default_factory=dict)
    arrows: list[tuple[int, int, float]] = field(default_factory=list)
    scopes: dict[int, Scope] = field(default_factory=dict)


class modules:
    """Note which operations a model's modules run, in a ``with`` block: `graph` draws a frame around each.

    >>> import lampion
    >>> from lampion import nn, viz
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with viz.modules(model) as calls:
    ...     y = model(lampion.ones(1, 2)).sum()
    >>> [scope.name for scope in viz.graph(y, modules=calls).scopes.values()]
    ['', '0', '1']
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.calls: list[Scope] = []
        self.given: dict[int, Any] = {}  # the arrays that the model was called with, by id
        self._open: list[int] = []
        self._handles: list[Any] = []
        self._scope = uncompiled()

    def __enter__(self) -> modules:
        self._scope.__enter__()
        for name, module in self.model.named_modules():
            before = module.register_forward_pre_hook(self._enter(name), prepend=True)
            self._handles += [before, module.register_forward_hook(self._leave, always_call=True)]
        return self

    def __exit__(self, *exception: object) -> None:
        self._scope.__exit__(None, None, None)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._open.clear()

    def _enter(self, name: str) -> Any:
        def hook(module: Any, args: Any) -> None:
            parent = self._open[-1] if self._open else None
            if parent is None:
                self.given |= {id(x._array): x._array for x in args if isinstance(x, Tensor)}
            self._open.append(len(self.calls))
            self.calls.append(Scope(name, type(module).__name__, next_order(), parent=parent))

        return hook

    def _leave(self, module: Any, args: Any, output: Any) -> None:
        if self._open:
            self.calls[self._open.pop()].end = next_order()

    def path(self, order: int) -> tuple[int, ...]:
        """The calls that were running when a node was made, from the outside in."""
        found = [i for i, call in enumerate(self.calls) if call.begin < order < call.end]
        return tuple(found)


def read(
    y: Any, params: Mapping[str, Any] | Iterable[tuple[str, Any]] | None, calls: modules | None,
    depth: int | None, show: tuple[str, ...],
) -> Reading:  # fmt: skip
    """Follow the tape from `y` (or several tensors) back to the leaves."""
    roots = [y] if isinstance(y, Tensor) else list(y)
    for root in roots:
        if not isinstance(root, Tensor):
            raise LampionError("graph", "only the history of tensors can be drawn", got=type(root).__name__,
                               expected="a Tensor, or several in a list")  # fmt: skip
    names = _names(params, calls)
    nodes, leaves = _reach(roots)
    known = _values(nodes, roots) if "values" in show else {}
    arrived = _gradients(roots, nodes, leaves) if "gradients" in show else {}
    result = Reading()
    if calls is not None:
        result.scopes = dict(enumerate(calls.calls))
    _add_boxes(result, roots, nodes, leaves, names, calls, known, arrived)
    _home_leaves(result, {} if calls is None else calls.given)
    if depth is not None:
        _close(result, depth)
    used = {scope for box in result.boxes.values() for scope in box.scope}
    result.scopes = {i: scope for i, scope in result.scopes.items() if i in used}
    return result


def _names(params: Any, calls: modules | None) -> dict[int, str]:
    """The user's names of tensors, by where each one stands on the tape."""
    pairs: list[tuple[str, Any]] = []
    if calls is not None:
        pairs += [*calls.model.named_parameters(), *calls.model.named_buffers()]
    if params is not None:
        pairs += params.items() if isinstance(params, Mapping) else list(params)
    names: dict[int, str] = {}
    for name, tensor in pairs:
        names[id(tensor)] = names[id(tensor._array)] = name
        if tensor.grad_fn is not None:
            names[id(tensor.grad_fn)] = name
    return names


def _reach(roots: list[Any]) -> tuple[list[Node], dict[int, Any]]:
    """All nodes, earliest first, and the leaves by id."""
    found: dict[int, Node] = {}
    leaves: dict[int, Any] = {}
    stack = [root._edge() if root._edge() is not None else root for root in roots]
    while stack:
        edge = stack.pop()
        if isinstance(edge, Tensor):
            leaves[id(edge)] = edge
        elif id(edge) not in found:
            found[id(edge)] = edge
            stack += [e for e in edge.edges if e is not None]
    return sorted(found.values(), key=lambda node: node.order), leaves


def _saved(node: Node, position: int) -> Any:
    """What a node keeps at a position, unless it was freed, packed away, or written over since."""
    if node.saved is None or position >= len(node.saved):
        return None
    array, version = node.saved[position], node.versions[position]
    if version is not None and version[0][0] != version[1]:
        return None
    return array


def _values(nodes: list[Node], roots: list[Any]) -> dict[int, Any]:
    """The output of each node, by its id: what the tape keeps, and what follows from that."""
    known: dict[int, Any] = {}
    for root in roots:
        if root.grad_fn is not None and isinstance(root._array, np.ndarray):
            known[id(root.grad_fn)] = root._array
    for node in nodes:
        inputs = len(node.edges) if getattr(node.primitive, "saves_inputs", False) else 0
        for position, edge in enumerate(node.edges[:inputs]):
            array = _saved(node, position)
            if isinstance(edge, Node) and isinstance(array, np.ndarray):
                known.setdefault(id(edge), array)
        if node.primitive.saves_output and isinstance(array := _saved(node, inputs), np.ndarray):
            known.setdefault(id(node), array)
    with silence():
        for node in nodes:
            if id(node) not in known:
                value = _computed(node, known)
                if value is not None:
                    known[id(node)] = value
    return known


def _computed(node: Node, known: dict[int, Any]) -> Any:
    """A node's output, computed once more where all its inputs are known."""
    forward = getattr(node.primitive, "forward", None)
    if forward is None:  # a Function of the user's own
        return None
    arrays: list[Any] = []
    for position, edge in enumerate(node.edges):
        if isinstance(edge, Tensor):
            array: Any = edge._array
        elif edge is not None:
            array = known.get(id(edge))
        else:
            array = _saved(node, position) if node.primitive.saves_inputs else None
            if array is None and not isinstance(node.shapes[position], tuple):
                array = node.shapes[position]  # a Python number stands for itself
        if array is None or not isinstance(array, np.ndarray | np.generic | int | float | complex | bool):
            return None
        arrays.append(array)
    try:
        if node.primitive.kind == "composite":  # whose rule speaks of Tensors
            with no_grad():
                given = [wrap(array) if isinstance(array, np.ndarray) else array for array in arrays]
                made = forward(*given, **node.params)
            result = (made[0] if isinstance(made, tuple) else made)._array
        else:
            result = np.asarray(forward(np, *arrays, **node.params))
    except Exception:  # a primitive that wants more than its arrays: the picture goes without this value
        return None
    return result if result.shape == tuple(node.output_shape) else None


def _gradients(roots: list[Any], nodes: list[Node], leaves: dict[int, Any]) -> dict[int, Any]:
    """The gradient of the one-element result by each node and leaf, by id; no `.grad` is touched.

    Where the tape was freed by a backward pass, or the result is no scalar: the `.grad` of the leaves.
    """
    found = {key: leaf.grad._array for key, leaf in leaves.items() if leaf.grad is not None}
    wanted = [leaf for leaf in leaves.values() if leaf.requires_grad]
    freed = any(node.freed for node in nodes)
    if len(roots) != 1 or roots[0].numel() != 1 or freed or not wanted or not nodes:
        return found
    arrived: dict[int, Any] = {}
    handles = []
    for node in nodes:
        # The hook must not hold the node: the node holds the hook.
        handles.append(node.register_prehook(_Listener(arrived, id(node))))
    try:
        for leaf, gradient in zip(
            wanted, grad(roots[0], wanted, retain_graph=True, allow_unused=True), strict=True
        ):
            if gradient is not None:
                arrived[id(leaf)] = gradient._array
    except LampionError:  # an operation without a gradient, or values written over since
        return found
    finally:
        for handle in handles:
            handle.remove()
    return arrived


class _Listener:
    """A hook that writes down the gradient that arrives at a node."""

    def __init__(self, table: dict[int, Any], key: int) -> None:
        self.table, self.key = table, key

    def __call__(self, gradients: Any) -> None:
        if isinstance(gradients[0], Tensor):
            self.table[self.key] = gradients[0]._array


_SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "neg": "−", "pow": "power", "affine": "linear"}


def _title(node: Node) -> str:
    """The operation's name, with the number that it takes beside tensors: ``× 2``, ``1 −``, ``pow 3``."""
    name = node.primitive.name
    sign = _SIGNS.get(name, name)
    numbers = [s for s, e in zip(node.shapes, node.edges, strict=False) if e is None and _is_number(s)]
    if len(node.edges) == 2 and len(numbers) == 1:
        first = not isinstance(node.shapes[0], tuple)
        return f"{_short(numbers[0])} {sign}" if first else f"{sign} {_short(numbers[0])}"
    if node.primitive.kind == "reduction" and len(node.shapes[0]) > (n := len(node.params["axis"])) > 0:
        return f"{sign} over dim{'s' if n > 1 else ''} {', '.join(map(str, node.params['axis']))}"
    return sign


def _is_number(shape: Any) -> bool:
    return isinstance(shape, int | float | complex)


def _short(number: Any) -> str:
    if isinstance(number, float):
        return f"{number:.4g}".replace("-", "−")
    return str(number).replace("-", "−")


def _add_boxes(
    result: Reading, roots: list[Any], nodes: list[Node], leaves: dict[int, Any], names: dict[int, str],
    calls: modules | None, known: dict[int, Any], arrived: dict[int, Any],
) -> None:  # fmt: skip
    """A box for each node and leaf, and for the data that an operation reads; numbered in order."""
    numbers: dict[int, int] = {}
    data: dict[int, int] = {}
    ends = {id(root._edge()) if root._edge() is not None else id(root) for root in roots}

    def add(box: Box) -> int:
        box.key = len(result.boxes)
        result.boxes[box.key] = box
        return box.key

    def leaf_box(leaf: Any) -> int:
        if id(leaf) not in numbers:
            name = names.get(id(leaf)) or names.get(id(leaf._array), "")
            kind = "parameter" if leaf.requires_grad else "data"
            numbers[id(leaf)] = add(Box(
                0, kind, name or ("leaf" if kind == "parameter" else "data"), tuple(leaf.shape), name,
                _array(leaf._array), arrived.get(id(leaf)), is_result=id(leaf) in ends,
            ))  # fmt: skip
        return numbers[id(leaf)]

    for node in nodes:
        scope = calls.path(node.order) if calls is not None else ()
        sources: list[int] = []
        for position, edge in enumerate(node.edges):
            if isinstance(edge, Tensor):
                sources.append(leaf_box(edge))
            elif edge is not None:
                sources.append(numbers[id(edge)])
            elif isinstance(node.shapes[position], tuple) and node.primitive.kind != "function":
                array = _saved(node, position) if node.primitive.saves_inputs else None
                key = id(array) if isinstance(array, np.ndarray) else 0
                if not key or key not in data:
                    name = names.get(key, "")
                    made = add(
                        Box(0, "data", name or _data_title(array), node.shapes[position], name, _array(array))
                    )
                    data[key or -made] = made
                    sources.append(made)
                else:
                    sources.append(data[key])
        number = numbers[id(node)] = add(Box(
            0, "operation", _title(node), tuple(node.output_shape), names.get(id(node), ""),
            known.get(id(node)), arrived.get(id(node)), scope, str(node.where or ""),
            is_result=id(node) in ends,
        ))  # fmt: skip
        for position, source in enumerate(sources):
            result.arrows.append((source, number, (position + 1) / (len(sources) + 1)))
    for root in roots:  # a result that is a leaf itself
        if root._edge() is None or root._edge() is root:
            leaf_box(root)


def _data_title(array: Any) -> str:
    """A single number is its own name."""
    if isinstance(array, np.ndarray) and array.ndim == 0 and array.dtype.kind in "fiu":
        return _short(array.item())
    return "data"


def _array(array: Any) -> Any:
    return array if isinstance(array, np.ndarray) else None


def _home_leaves(result: Reading, given: dict[int, Any]) -> None:
    """Leaves and data go into the innermost module with all their readers; what it was given, outside."""
    readers: dict[int, list[tuple[int, ...]]] = {}
    for source, target, _ in result.arrows:
        readers.setdefault(source, []).append(result.boxes[target].scope)
    for key, box in result.boxes.items():
        if box.kind == "operation" or key not in readers:
            continue
        shared = readers[key][0]
        for other in readers[key][1:]:
            same = 0
            while same < min(len(shared), len(other)) and shared[same] == other[same]:
                same += 1
            shared = shared[:same]
        box.scope = () if id(box.value) in given else shared


def _close(result: Reading, depth: int) -> None:
    """Draw the modules at this depth as single boxes, whatever is in them."""
    closed: dict[int, int] = {}  # by the call of a module: its box
    stands: dict[int, int] = {}
    boxes: dict[int, Box] = {}
    for key, box in result.boxes.items():
        if len(box.scope) <= depth:
            stands[key] = key
            boxes[key] = box
            continue
        call = box.scope[depth]
        if call not in closed:
            closed[call] = key
            scope = result.scopes[call]
            boxes[key] = Box(key, "module", scope.kind, (), scope.name, scope=box.scope[:depth])
        inside = boxes[closed[call]]
        if box.kind == "parameter":
            inside.parameters += math.prod(box.shape)
        elif box.kind == "operation":  # the last one is the module's output
            inside.shape, inside.value, inside.gradient = box.shape, box.value, box.gradient
            inside.is_result |= box.is_result
            inside.where = box.where
        stands[key] = closed[call]
    arrows: dict[tuple[int, int], None] = {}
    shares: list[tuple[int, int, float]] = []
    for source, target, share in result.arrows:
        a, b = stands[source], stands[target]
        if a == b:
            continue
        if boxes[b].kind == "module":
            if (a, b) in arrows:
                continue
            arrows[a, b] = None
            share = 0.5
        shares.append((a, b, share))
    result.boxes, result.arrows = boxes, shares
