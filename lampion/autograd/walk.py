"""Reading the tape backwards: `backward()` and `grad()`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from operator import attrgetter
from types import FunctionType
from typing import Any

from lampion.autograd.tape import GradientEdge, Node
from lampion.backend import silence
from lampion.errors import GradientError
from lampion.hooks import Hooks, any_leaf_hooks
from lampion.mode import mode
from lampion.origin import where
from lampion.tensor import Tensor, ones_like

_order = attrgetter("order")

#: Where a gradient starts, or is wanted: a tensor, or its place on the tape.
Place = Tensor | GradientEdge


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradient of `tensors` to the `.grad` of every leaf that they were computed from.

    Args:
        tensors: where to start; a scalar needs no `grad_tensors`.
        grad_tensors: the gradient of each of them, of the same shape.
        retain_graph: keep the saved values, so that backward can run again. Default: `create_graph`.
        create_graph: record the backward pass itself, for derivatives of higher order.
        inputs: the tensors whose `.grad` to add to, and no others; they need not be leaves.
    """
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    seeds = _seeds("backward", roots, grad_tensors)
    if inputs is None:
        _walk(roots, seeds, retain_graph, create_graph, None)
        return
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not wanted:
        raise GradientError("backward", "inputs is empty", fix="leave it out to reach every leaf")
    targets = _targets("backward", wanted)
    for tensor in wanted:
        tensor.retain_grad()  # does nothing to a leaf
    found = _walk(roots, seeds, retain_graph, create_graph, targets)
    for tensor, gradient in zip(wanted, found, strict=True):
        if gradient is not None and tensor.is_leaf:
            _accumulate(tensor, gradient, create_graph)
            if tensor._hooks is not None:
                _accumulated(tensor)


def grad(
    outputs: Place | Sequence[Place],
    inputs: Place | Sequence[Place],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`, without touching any `.grad`.

    Args:
        outputs, inputs: tensors, or what `autograd.graph.get_gradient_edge` gives for them.
        grad_outputs: where to start, for each output; a scalar needs none.
        retain_graph: keep the saved values, so that the graph can be walked again. Default: `create_graph`.
        create_graph: record the walk itself, for derivatives of higher order.
        allow_unused: give None for an input that the outputs do not depend on, instead of an error.
        is_grads_batched: `grad_outputs` have one dimension more, in front: walk for all of them at once.
        materialize_grads: give zeros for an input that the outputs do not depend on.

    >>> import lampion
    >>> x = lampion.tensor(3.0, requires_grad=True)
    >>> (dx,) = lampion.autograd.grad(x**3, x, create_graph=True)
    >>> (d2x,) = lampion.autograd.grad(dx, x)
    >>> dx.item(), d2x.item()
    (27.0, 18.0)
    """
    if allow_unused is False and materialize_grads:
        raise ValueError(
            "grad: materialize_grads gives zeros for unused inputs, so allow_unused cannot be False"
        )
    roots, targets = _listed(outputs), _listed(inputs)
    if is_grads_batched:
        return _batched(
            roots, targets, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads
        )
    seeds = _seeds("grad", roots, grad_outputs)
    found = _walk(roots, seeds, retain_graph, create_graph, _targets("grad", targets))
    if materialize_grads:
        return tuple(
            ops.zeros_like(target) if gradient is None and isinstance(target, Tensor) else gradient
            for target, gradient in zip(targets, found, strict=True)
        )
    if not allow_unused and any(gradient is None for gradient in found):
        position = next(i for i, gradient in enumerate(found) if gradient is None)
        raise GradientError(
            "grad", f"input {position} was not used to compute the outputs", got=_describe(targets[position]),
            fix="pass allow_unused=True to get None for it",
        )  # fmt: skip
    return tuple(found)


def _listed(given: Any) -> list[Any]:
    return [given] if isinstance(given, Tensor | GradientEdge) else list(given)


def _targets(name: str, inputs: list[Any]) -> list[Any]:
    """The edges at which gradients are wanted."""
    for position, target in enumerate(inputs):
        if isinstance(target, Tensor) and not target.requires_grad:
            raise GradientError(name, f"input {position} does not require a gradient",
                                got=_describe(target), fix="create it with requires_grad=True")  # fmt: skip
    return [target._edge() if isinstance(target, Tensor) else target.node for target in inputs]


def _batched(
    roots: list[Any], targets: list[Any], grad_outputs: Any, retain_graph: bool | None, create_graph: bool,
    allow_unused: bool | None, materialize: bool,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """`grad` for a batch of gradients to start from: one walk, by `vmap`."""
    from lampion.func import vmap

    given = [grad_outputs] if isinstance(grad_outputs, Tensor) or grad_outputs is None else list(grad_outputs)
    missing: list[bool] = []

    def walk(*batch: Tensor) -> tuple[Tensor, ...]:
        rest = iter(batch)
        seeds = [None if seed is None else next(rest) for seed in given]
        found = grad(
            roots, targets, seeds, retain_graph, create_graph, allow_unused, materialize_grads=materialize
        )
        missing[:] = [gradient is None for gradient in found]
        return tuple(gradient for gradient in found if gradient is not None)

    there = iter(vmap(walk)(*(seed for seed in given if seed is not None)))
    return tuple(None if none else next(there) for none in missing)


def _seeds(name: str, roots: list[Any], given: Any) -> list[Tensor]:
    """The gradients to start from, checked."""
    if given is None or isinstance(given, Tensor):
        given = [given] * len(roots) if given is None else [given]
    if len(given) != len(roots):
        raise GradientError(name, "the numbers of tensors and of gradients differ",
                            got=f"{len(roots)} tensors, {len(given)} gradients")  # fmt: skip
    seeds = []
    for root, seed in zip(roots, given, strict=True):
        if isinstance(root, GradientEdge):
            if seed is None:
                raise GradientError(name, "a gradient edge has to be told where to start",
                                    fix="pass its gradient")  # fmt: skip
            seeds.append(seed)
            continue
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


def _describe(tensor: Any) -> str:
    if not isinstance(tensor, Tensor):
        return repr(tensor)
    return f"a tensor of shape {tuple(tensor.shape)}, {tensor.dtype}"


def reachable(
    roots: list[Tensor], targets: list[Any] | None, borders: Any = ()
) -> tuple[list[Node], set[int] | None]:
    """The nodes to visit, latest first, and the ids of the edges to follow (None: all of them).

    Where targets are given, only paths that lead to one of them are walked. Nodes of the kinds `borders` are
    not visited.
    """
    stack = [edge for edge in map(_edge_of, roots) if isinstance(edge, Node)]
    nodes: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in nodes or isinstance(node, borders):
            continue
        nodes.add(node)
        stack += [edge for edge in node.edges if isinstance(edge, Node) and edge not in nodes]
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
    policy, mode.autocast = mode.autocast, None  # gradients are computed in the types of the forward pass
    quiet = silence()
    away: AbstractContextManager[None] = nullcontext()
    quiet.__enter__()
    try:
        for root, seed in zip(roots, seeds, strict=True):
            _arrive(_edge_of(root), seed, pending, leaves)
        nodes, follow = reachable(roots, targets)
        if mode.trace is not None and nodes:
            mode.trace.walks(nodes)
        if (
            mode.trace is not None
            and mode.trace.compiles
            and all(map(_is_core, nodes))
            and not any_leaf_hooks[0]
        ):
            away = mode.trace.away()  # a recorder has nothing to see here
            away.__enter__()
        waiting = _waiting(nodes) if targets is None and any_leaf_hooks[0] else None
        for node in nodes:
            key = id(node)
            is_target = wanted is not None and key in wanted
            gradient = pending.get(key) if is_target else pending.pop(key, None)
            if gradient is None:
                if waiting:
                    _settle(node, waiting, pending, leaves, create_graph)
                continue
            hooks = node.hooks
            if hooks is not None:
                gradient = _heard(hooks, gradient, create_graph)
                if is_target:
                    pending[id(node)] = gradient
                gradient = hooks.on_arrival(gradient)
            if hooks is not None and hooks.after:
                _pass_on_heard(node, hooks, gradient, create_graph, follow, pending, leaves)
            else:
                _pass_on(node, node.edges, gradient, create_graph, follow, pending, leaves)
            if waiting:
                gradient = None
                _settle(node, waiting, pending, leaves, create_graph)
            if not retain:
                node.release()
        if targets is not None:
            return _at_targets(targets, pending, nodes, create_graph)
        # Table and names must let go of the gradients first, so that a leaf can take over an unshared one.
        gradient = hooks = None
        for key, leaf in leaves.items():
            if leaf._hooks is None:
                _accumulate(leaf, pending.pop(key), create_graph)
            else:
                _finish(leaf, pending.pop(key), create_graph)
        return []
    finally:
        away.__exit__(None, None, None)
        quiet.__exit__()
        mode.grad, mode.autocast = previous, policy


def _is_core(node: Node) -> bool:
    """Whether passing a gradient through the node runs nothing but Lampion's own operations."""
    vjp = node.primitive.vjp
    return node.hooks is None and vjp is not None and vjp.__module__.startswith("lampion.ops.")


def _edge_of(root: Any) -> Any:
    return root._edge() if isinstance(root, Tensor) else root.node


def _waiting(nodes: list[Node]) -> dict[int, int]:
    """By id of each leaf with hooks: from how many places its gradient is still to come."""
    count: dict[int, int] = {}
    for node in nodes:
        for edge in node.edges:
            if isinstance(edge, Tensor) and edge._hooks is not None:
                count[id(edge)] = count.get(id(edge), 0) + 1
    return count


def _settle(
    node: Node, waiting: dict[int, int], pending: dict[int, Tensor], leaves: dict[int, Tensor],
    create_graph: bool,
) -> None:  # fmt: skip
    """Finish the leaves with hooks for which this node was the last one. Others can wait until the end."""
    for edge in node.edges:
        key = id(edge)
        if key in waiting:
            waiting[key] -= 1
            if not waiting[key] and leaves.pop(key, None) is not None:
                _finish(edge, pending.pop(key), create_graph)


def _finish(leaf: Tensor, gradient: Tensor, create_graph: bool) -> None:
    """Add to a leaf's `.grad` what its hooks make of the gradient."""
    _refuse_hooks(leaf)
    assert leaf._hooks is not None
    _accumulate(leaf, leaf._hooks.on_tensor(gradient), create_graph)
    _accumulated(leaf)


def _heard(hooks: Hooks, gradient: Tensor, create_graph: bool) -> Tensor:
    """The gradient of a node's output after the tensor's hooks, and kept where that was asked for."""
    gradient = hooks.on_tensor(gradient)
    if hooks.retained is not None:
        _accumulate(hooks.retained(), gradient, create_graph)
    return gradient


def _at_targets(
    targets: list[Any], pending: dict[int, Tensor], visited: list[Node], create_graph: bool
) -> list[Tensor | None]:
    """What arrived at each target. The hooks of the nodes on the way there have been called already."""
    found: dict[int, Tensor | None] = {}
    heard = set(map(id, visited))
    for target in targets:
        gradient, key = pending.get(id(target)), id(target)
        if key not in found:
            hooks = target.hooks if isinstance(target, Node) else target._hooks
            if gradient is not None and hooks is not None and key not in heard:
                if isinstance(target, Tensor):
                    _refuse_hooks(target)
                gradient = _heard(hooks, gradient, create_graph)
            found[key] = gradient
    return [found[id(target)] for target in targets]


def _refuse_hooks(leaf: Tensor) -> None:
    """A compiled step would not notice when the hooks of what it finds outside change."""
    if mode.trace is not None:
        mode.trace.outside_hooks(leaf)


def _accumulated(leaf: Tensor) -> None:
    """Tell those who wait for a leaf's gradient that it is there."""
    if leaf._hooks is not None:
        for hook in list(leaf._hooks.accumulated.values()):
            hook(leaf)


def _arrive(edge: Any, gradient: Tensor, pending: dict[int, Tensor], leaves: dict[int, Tensor]) -> None:
    key = id(edge)
    if not isinstance(edge, Node):
        leaves[key] = edge
    before = pending.get(key)
    pending[key] = gradient if before is None else _sum(before, gradient)


def _sum(before: Any, gradient: Any) -> Any:
    """What has arrived at one place so far; at a Function with several outputs, a `Bundle`."""
    if not isinstance(before, Tensor):
        return before.merged(gradient)
    return _add(before, gradient) if isinstance(gradient, Tensor) else gradient.merged(before)


def _pass_on_heard(
    node: Node, hooks: Hooks, gradient: Tensor, create_graph: bool, follow: set[int] | None,
    pending: dict[int, Tensor], leaves: dict[int, Tensor],
) -> None:  # fmt: skip
    """`_pass_on` for a node with hooks that want to see the gradients of its inputs, each by itself."""
    edges = [edge if follow is None or id(edge) in follow else None for edge in node.edges]
    places = [None if edge is None else object() for edge in edges]  # instead of edges, which may be equal
    passed: dict[int, Tensor] = {}
    _pass_on(node, places, gradient, create_graph, None, passed, {})
    found = [passed.get(id(place)) for place in places]
    for edge, result in zip(edges, hooks.on_departure(found, gradient), strict=True):
        if result is not None and edge is not None:
            _arrive(edge, result, pending, leaves)


def _pass_on(
    node: Node, edges: Sequence[Any], g: Tensor, create_graph: bool, follow: set[int] | None,
    pending: dict[int, Tensor], leaves: dict[int, Tensor],
) -> None:  # fmt: skip
    """Pass the gradient of an operation's output on to its inputs, in their shapes, where it is needed."""
    primitive, params = node.primitive, node.params
    saved: Any = node.unpack(create_graph) if node.saved != [] else ()
    if primitive.kind != "elementwise":
        if primitive.kind == "compiled":  # one plan computes all gradients that are asked for
            saved = [[edge is not None and (follow is None or id(edge) in follow) for edge in edges]]
        elif primitive.kind == "reduction":
            params = params.copy()
            if not params.pop("keepdims"):
                kept = reduced_shape(node.shapes[0], params["axis"], True)
                g = ops.reshape(g, kept)
                if primitive.saves_output:
                    saved[-1] = ops.reshape(saved[-1], kept)
        elif primitive.saves_shapes:
            saved = [node.shapes[0] if primitive.saves_shapes == "shape" else node.shapes]
    assert primitive.vjp is not None
    conjugates = g._array.dtype.kind == "c" and primitive.analytic
    if conjugates:
        g = ops.conj(g)
    results = primitive.vjp(g, *saved, **params) if params else primitive.vjp(g, *saved)
    if type(results) is not tuple:
        results = (results,)
    position = -1
    for edge in edges:
        position += 1
        result = results[position]
        if edge is None or result is None or (follow is not None and id(edge) not in follow):
            continue
        shape = node.shapes[position]
        if type(result) is FunctionType:
            result = result(shape) if result.__code__.co_argcount else result()
        elif type(result) is partial:
            result = result()
        if conjugates:
            result = ops.conj(result)
        # `_arrive`, without the call: this is where a backward pass spends its time.
        if result._array.shape != shape:
            result = fit(result, shape)
        key = id(edge)
        if not isinstance(edge, Node):
            leaves[key] = edge
        before = pending.get(key)
        pending[key] = result if before is None else _sum(before, result)


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
    elif create_graph or not isinstance(present, Tensor):
        leaf.grad = _sum(present, gradient)
    else:
        present._overwrite(_sum(present, gradient), where(3))


from lampion import ops  # noqa: E402  # the walk computes with operations, which are recorded by the tape
from lampion.ops.elementwise import add  # noqa: E402
from lampion.ops.shapes import reduced_shape  # noqa: E402

_add = add.plain  # without options
