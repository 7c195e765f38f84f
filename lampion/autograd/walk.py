"""Reading the tape backwards: `backward()` and `grad()`."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from lampion.autograd.tape import Node
from lampion.backend import silence
from lampion.errors import GradientError
from lampion.mode import mode
from lampion.origin import where
from lampion.tensor import Tensor, ones_like

_order = attrgetter("order")
_NO_CODE = (lambda: None).__code__


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradient of `tensors` to the `.grad` of every leaf that they were computed from.

    Args:
        tensors: where to start; a scalar needs no `grad_tensors`.
        grad_tensors: the gradient of each of them, of the same shape.
        retain_graph: keep the saved values, so that backward can run again. Default: `create_graph`.
        create_graph: record the backward pass itself, for derivatives of higher order.
    """
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    seeds = _seeds("backward", roots, grad_tensors)
    _walk(roots, seeds, retain_graph, create_graph, None)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`, without touching any `.grad`.

    >>> import lampion
    >>> x = lampion.tensor(3.0, requires_grad=True)
    >>> (dx,) = lampion.autograd.grad(x**3, x, create_graph=True)
    >>> (d2x,) = lampion.autograd.grad(dx, x)
    >>> dx.item(), d2x.item()
    (27.0, 18.0)
    """
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    targets = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds = _seeds("grad", roots, grad_outputs)
    for position, target in enumerate(targets):
        if not target._requires_grad:
            raise GradientError("grad", f"input {position} does not require a gradient",
                                got=_describe(target), fix="create it with requires_grad=True")  # fmt: skip
    found = _walk(roots, seeds, retain_graph, create_graph, [target._edge() for target in targets])
    if not allow_unused and any(gradient is None for gradient in found):
        position = next(i for i, gradient in enumerate(found) if gradient is None)
        raise GradientError(
            "grad", f"input {position} was not used to compute the outputs", got=_describe(targets[position]),
            fix="pass allow_unused=True to get None for it",
        )  # fmt: skip
    return tuple(found)


def _seeds(name: str, roots: list[Tensor], given: Any) -> list[Tensor]:
    """The gradients to start from, checked."""
    if given is None or isinstance(given, Tensor):
        given = [given] * len(roots) if given is None else [given]
    if len(given) != len(roots):
        raise GradientError(name, "the numbers of tensors and of gradients differ",
                            got=f"{len(roots)} tensors, {len(given)} gradients")  # fmt: skip
    seeds = []
    for root, seed in zip(roots, given, strict=True):
        if not root._requires_grad:
            raise GradientError(
                name, "the tensor does not require a gradient: nothing was recorded", got=_describe(root),
                fix="set requires_grad=True on an input, and compute outside of no_grad()",
            )  # fmt: skip
        if seed is None:
            if root.numel() != 1 or root.dtype.is_complex:
                raise GradientError(
                    name, "only a scalar has a gradient without being told where to start",
                    expected="a real tensor with one element", got=_describe(root),
                    fix="reduce it first (loss.mean()), or pass the gradient: y.backward(gradient)",
                )  # fmt: skip
            seed = ones_like(root)
        elif tuple(seed.shape) != tuple(root.shape):
            raise GradientError(name, "the gradient does not have its tensor's shape",
                                expected=str(tuple(root.shape)), got=str(tuple(seed.shape)))  # fmt: skip
        seeds.append(seed if seed.dtype is root.dtype else ops.cast(seed, root.dtype))
    return seeds


def _describe(tensor: Tensor) -> str:
    return f"a tensor of shape {tuple(tensor.shape)}, {tensor.dtype}"


def _reachable(roots: list[Tensor], targets: list[Any] | None) -> tuple[list[Node], set[int] | None]:
    """The nodes to visit, latest first, and the ids of the edges to follow (None: all of them).

    Where targets are given, only paths that lead to one of them are walked.
    """
    stack = [root._node for root in roots if root._node is not None]
    nodes: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in nodes:
            continue
        nodes.add(node)
        stack += [edge for edge in node.edges if type(edge) is Node and edge not in nodes]
    ordered = sorted(nodes, key=_order, reverse=True)
    if targets is None:
        return ordered, None
    follow = set(map(id, targets))
    useful = []
    for node in reversed(ordered):  # earliest first: a node leads to a target if an edge of it does
        if any(edge is not None and id(edge) in follow for edge in node.edges):
            follow.add(id(node))
            useful.append(node)
    return useful[::-1], follow


def _walk(
    roots: list[Tensor], seeds: list[Tensor], retain_graph: bool | None, create_graph: bool,
    targets: list[Any] | None,
) -> list[Tensor | None]:  # fmt: skip
    """Pass gradients from the roots back to the leaves, or to the targets where these are given."""
    retain = create_graph if retain_graph is None else retain_graph
    wanted = None if targets is None else set(map(id, targets))
    pending: dict[int, Tensor] = {}  # by id of the Node or leaf: the sum of what has arrived so far
    leaves: dict[int, Tensor] = {}
    previous, mode.grad = mode.grad, create_graph
    quiet = silence()
    quiet.__enter__()
    try:
        for root, seed in zip(roots, seeds, strict=True):
            _arrive(root._edge(), seed, pending, leaves)
        nodes, follow = _reachable(roots, targets)
        for node in nodes:
            is_target = wanted is not None and id(node) in wanted
            gradient = pending.get(id(node)) if is_target else pending.pop(id(node), None)
            if gradient is None:
                continue
            if node.retained is not None and targets is None:
                _accumulate(node.retained(), gradient, create_graph)
            for edge, passed in zip(
                node.edges, _gradients(node, gradient, create_graph, follow), strict=True
            ):
                if passed is not None:
                    _arrive(edge, passed, pending, leaves)
            if not retain:
                node.release()
        if targets is not None:
            return [pending.get(id(target)) for target in targets]
        # Table and names must let go of the gradients first, so that a leaf can take over an unshared one.
        gradient = passed = None
        for key, leaf in leaves.items():
            _accumulate(leaf, pending.pop(key), create_graph)
        return []
    finally:
        quiet.__exit__()
        mode.grad = previous


def _arrive(edge: Any, gradient: Tensor, pending: dict[int, Tensor], leaves: dict[int, Tensor]) -> None:
    key = id(edge)
    if type(edge) is not Node:
        leaves[key] = edge
    before = pending.get(key)
    pending[key] = gradient if before is None else ops.add(before, gradient)


def _gradients(node: Node, g: Tensor, create_graph: bool, follow: set[int] | None) -> list[Tensor | None]:
    """The gradient of each input of one operation, in that input's shape; None where not needed."""
    primitive, params = node.primitive, node.params
    saved = node.unpack(create_graph)
    if primitive.kind == "reduction":
        params = params.copy()
        if not params.pop("keepdims"):
            kept = reduced_shape(node.shapes[0], params["axis"], True)
            g = ops.reshape(g, kept)
            if primitive.saves_output:
                saved[-1] = ops.reshape(saved[-1], kept)
    elif primitive.saves_shapes:
        saved = [node.shapes[0] if primitive.saves_shapes == "shape" else node.shapes]
    assert primitive.vjp is not None
    conjugates = primitive.analytic and g._array.dtype.kind == "c"
    results = primitive.vjp(ops.conj(g) if conjugates else g, *saved, **params)
    if type(results) is not tuple:
        results = (results,)
    passed: list[Tensor | None] = []
    for result, edge, shape in zip(results, node.edges, node.shapes, strict=True):
        if edge is None or result is None or (follow is not None and id(edge) not in follow):
            passed.append(None)
            continue
        if not isinstance(result, Tensor):
            result = result(shape) if getattr(result, "__code__", _NO_CODE).co_argcount else result()
        gradient = ops.conj(result) if conjugates else result
        passed.append(gradient if gradient._array.shape == shape else fit(gradient, shape))
    return passed


def fit(gradient: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo broadcasting: sum over the dimensions that were stretched; stretch those that were reduced."""
    have = gradient._array.shape
    extra = len(have) - len(shape)
    if extra < 0:
        have, extra = (1,) * -extra + have, 0
        gradient = ops.reshape(gradient, have)
    axes = tuple(range(extra)) + tuple(
        axis + extra for axis, n in enumerate(shape) if n == 1 and have[axis + extra] != 1
    )
    if axes and len(axes) == extra:
        gradient = ops.sum(gradient, axes)
    elif axes:
        gradient = ops.reshape(ops.sum(gradient, axes, True), shape)
    return gradient if gradient._array.shape == shape else ops.broadcast_to(gradient, shape)


def _accumulate(leaf: Tensor | None, gradient: Tensor, create_graph: bool) -> None:
    """Add to a leaf's `.grad`: in place where it has one, as PyTorch does."""
    if leaf is None:
        return
    present = leaf.grad
    if present is None:
        leaf.grad = ops.clone(gradient) if create_graph else gradient._owned()
    elif create_graph:
        leaf.grad = ops.add(present, gradient)
    else:
        present._overwrite(ops.add(present, gradient), where(3))


from lampion import ops  # noqa: E402  # the walk computes with operations, which are recorded by the tape
from lampion.ops.shapes import reduced_shape  # noqa: E402
