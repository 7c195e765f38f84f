"""Derivatives of functions: `grad`, `vjp`, `jvp`, and the matrices that are made of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from lampion import autograd
from lampion.autograd.tape import Node
from lampion.errors import GradientError, LampionError
from lampion.func.forward import Dual, DualLevel
from lampion.func.levels import Level, ops
from lampion.func.mapping import vmap
from lampion.func.tracking import reaches_more, tracked
from lampion.func.tree import flatten, map_tree, tensors_of, unflatten
from lampion.mode import mode
from lampion.tensor import Tensor

Argnums = int | tuple[int, ...]


class _Run:
    """A function run with some of its arguments tracked, and what is needed to walk back from its results."""

    def __init__(self, name: str, function: Callable[..., Any], leaves: list[Tensor], call: Any) -> None:
        self.previous = mode.grad
        current: Any = mode.trace
        self.level = level = current if isinstance(current, Level) else None
        self.inner = [tracked(leaf, name) for leaf in leaves]
        self.edges: list[Node] = [x._node for x in self.inner]  # type: ignore[misc]  # `tracked` made one
        if level is not None:
            level.gradients += 1
        mode.grad = True
        try:
            self.result = call(function, self.inner)
        finally:
            mode.grad = self.previous
            if level is not None:
                level.gradients -= 1

    def gradients(self, outputs: list[Tensor], seeds: list[Any], keep: bool) -> list[Tensor]:
        """The gradient of each tracked argument; zeros where the outputs do not depend on it."""
        create = self.previous and reaches_more(outputs, self.edges, self.level)
        pairs = [(out, seed) for out, seed in zip(outputs, seeds, strict=True) if out.requires_grad]
        if not pairs:
            return [ops.zeros_like(x) for x in self.inner]
        found = autograd.grad(
            [out for out, _ in pairs], [autograd.graph.GradientEdge(edge) for edge in self.edges],
            [seed for _, seed in pairs], retain_graph=keep or create, create_graph=create, allow_unused=True,
        )  # fmt: skip
        return [
            ops.zeros(*x.shape, dtype=x.dtype) if g is None else g
            for g, x in zip(found, self.inner, strict=True)
        ]

    def released(self, tree: Any) -> Any:
        """Results without the history that only this derivative needs."""

        def release(x: Any) -> Any:
            if not isinstance(x, Tensor) or not x.requires_grad:
                return x
            if self.previous and reaches_more([x], self.edges, self.level):
                return x
            return x.detach()

        return map_tree(release, tree)


def _chosen(name: str, argnums: Argnums, args: tuple[Any, ...]) -> tuple[list[int], list[Tensor], Any]:
    """The places, the leaves and the tree of the arguments to be differentiated with respect to."""
    places = [argnums] if isinstance(argnums, int) else list(argnums)
    for place in places:
        if not -len(args) <= place < len(args):
            raise LampionError(name, f"argnums names argument {place}, of {len(args)}")
    places = [place % len(args) for place in places]
    picked = args[places[0]] if isinstance(argnums, int) else tuple(args[place] for place in places)
    leaves, tree = tensors_of(name, picked, "the arguments that argnums names")
    return places, leaves, tree


def _caller(args: tuple[Any, ...], kwargs: Any, argnums: Argnums, places: list[int], tree: Any) -> Any:
    """Calls a function with the tracked leaves in the chosen arguments' places."""

    def call(function: Callable[..., Any], inner: list[Tensor]) -> Any:
        picked = unflatten(tree, iter(inner))
        new = list(args)
        for place, value in zip(places, (picked,) if isinstance(argnums, int) else picked, strict=True):
            new[place] = value
        return function(*new, **kwargs)

    return call


def grad_and_value(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives the gradient of `func` and its value; see `grad`.

    With `has_aux`: the gradient, and a pair of the value and what else `func` returned.
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        places, leaves, tree = _chosen("grad", argnums, args)
        run = _Run("grad", func, leaves, _caller(args, kwargs, argnums, places, tree))
        value, aux = _with_aux("grad", run.result) if has_aux else (run.result, None)
        if not isinstance(value, Tensor) or value.numel() != 1 or value.ndim:
            raise GradientError(
                "grad", "the function must return a scalar", expected="a tensor of shape ()",
                got=f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__,
                fix="reduce it (loss.mean()), or use jacrev",
            )  # fmt: skip
        if value.dtype.is_complex:
            raise GradientError("grad", "the function must return a real number", got=str(value.dtype),
                                fix="take a real part, or use vjp")  # fmt: skip
        slopes = unflatten(tree, iter(run.gradients([value], [None], keep=False)))
        value, aux = run.released(value), run.released(aux)
        return (slopes, (value, aux)) if has_aux else (slopes, value)

    return wrapper


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of `func`, which returns a scalar.

    Args:
        func: takes Tensors, also in tuples, lists and dicts.
        argnums: with respect to which arguments; for a tuple of them the gradients come as a tuple.
        has_aux: `func` returns a pair, the scalar and something else, which is handed on.

    >>> import lampion
    >>> from lampion.func import grad
    >>> grad(lampion.sin)(lampion.tensor(0.0))
    tensor(1.)
    >>> grad(grad(lambda x: x**3))(lampion.tensor(2.0))
    tensor(12.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        slopes, value = both(*args, **kwargs)
        return (slopes, value[1]) if has_aux else slopes

    return wrapper


def _with_aux(name: str, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise LampionError(name, "with has_aux the function must return a pair", got=type(result).__name__)
    return result


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of `func`, and a function from a gradient of it to the gradients of the arguments.

    Returns: the value and that function, which returns a tuple of one gradient an argument; with `has_aux`
    also what else `func` returned.

    >>> import lampion
    >>> value, back = lampion.func.vjp(lampion.sin, lampion.zeros(2))
    >>> back(lampion.tensor([1.0, 2.0]))
    (tensor([1., 2.]),)
    """
    leaves, tree = tensors_of("vjp", primals, "the arguments")
    run = _Run("vjp", func, leaves, lambda f, inner: f(*unflatten(tree, iter(inner))))
    value, aux = _with_aux("vjp", run.result) if has_aux else (run.result, None)
    outputs, shape = tensors_of("vjp", value, "what the function returns")

    def back(*cotangents: Any, retain_graph: bool | None = None, create_graph: bool | None = None) -> Any:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        seeds, form = tensors_of("vjp", given, "the gradients to start from")
        if form != shape:
            raise LampionError("vjp", "the gradient does not have the structure of the function's value")
        for out, seed in zip(outputs, seeds, strict=True):
            if tuple(out.shape) != tuple(seed.shape):
                raise LampionError("vjp", "a gradient has another shape than its value",
                                   expected=str(tuple(out.shape)), got=str(tuple(seed.shape)))  # fmt: skip
        return unflatten(tree, iter(run.gradients(outputs, seeds, keep=True)))

    value = run.released(value)
    return (value, back, run.released(aux)) if has_aux else (value, back)


def jvp(
    func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> Any:
    """The value of `func`, and how it moves when the arguments move along `tangents`: in forward mode.

    Costs about as much again as `func`, whatever the numbers of arguments and results; nothing is kept.

    Args:
        primals, tangents: tuples, one entry an argument (a tensor, or a tree of them).
        strict: an error, instead of zeros, where a result does not depend on the arguments.
        has_aux: `func` returns a pair, whose second part is handed on.

    >>> import lampion
    >>> lampion.func.jvp(lampion.sin, (lampion.zeros(2),), (lampion.tensor([1.0, 2.0]),))
    (tensor([0., 0.]), tensor([1., 2.]))
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise LampionError("jvp", "primals and tangents are tuples, one entry for each argument",
                           got=f"{type(primals).__name__} and {type(tangents).__name__}")  # fmt: skip
    leaves, tree = tensors_of("jvp", primals, "the primals")
    directions, form = tensors_of("jvp", tangents, "the tangents")
    if form != tree:
        raise LampionError("jvp", "the tangents do not have the structure of the primals")
    level = DualLevel()
    inside = []
    for leaf, direction in zip(leaves, directions, strict=True):
        if tuple(leaf.shape) != tuple(direction.shape):
            raise LampionError("jvp", "a tangent has another shape than its primal",
                               expected=str(tuple(leaf.shape)), got=str(tuple(direction.shape)))  # fmt: skip
        if not leaf.dtype.is_inexact:
            raise LampionError("jvp", "only floating and complex tensors have tangents", got=str(leaf.dtype))
        if direction.dtype is not leaf.dtype:
            direction = ops.cast(direction, leaf.dtype)
        inside.append(level.argument(leaf, Dual(level, leaf, direction)))
    with level:
        result = func(*unflatten(tree, iter(inside)))
        value, aux = _with_aux("jvp", result) if has_aux else (result, None)
        found, shape = tensors_of("jvp", value, "what the function returns")
        lifted = [level.read(x) for x in found]
        aux = map_tree(lambda x: level.read(x).primal if isinstance(x, Tensor) else x, aux)
    level.carry_out()
    if strict and any(x.tangent is None for x in lifted):
        raise GradientError(
            "jvp", "a result does not depend on the arguments", fix="leave strict out for zeros"
        )
    out = unflatten(shape, iter([x.primal for x in lifted]))
    moved = [ops.zeros_like(x.primal) if x.tangent is None else x.tangent for x in lifted]
    slopes = unflatten(shape, iter(moved))
    return (out, slopes, aux) if has_aux else (out, slopes)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of `func`, and the linear function from tangents of the arguments to that of the value.

    The work of `func` is done once, for any number of tangents.

    >>> import lampion
    >>> value, push = lampion.func.linearize(lampion.exp, lampion.zeros(2))
    >>> push(lampion.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    leaves, tree = tensors_of("linearize", primals, "the arguments")
    run = _Run("linearize", func, leaves, lambda f, inner: f(*unflatten(tree, iter(inner))))
    outputs, shape = tensors_of("linearize", run.result, "what the function returns")
    previous, mode.grad = mode.grad, True
    try:
        seeds = [ops.zeros_like(out).requires_grad_() for out in outputs]
        pairs = [(out, seed) for out, seed in zip(outputs, seeds, strict=True) if out.requires_grad]
        edges = [autograd.graph.GradientEdge(edge) for edge in run.edges]
        slopes: Any = [None] * len(edges)
        if pairs:
            slopes = autograd.grad(
                [out for out, _ in pairs], edges, [seed for _, seed in pairs], create_graph=True,
                allow_unused=True,
            )  # fmt: skip
    finally:
        mode.grad = previous

    def push(*tangents: Any) -> Any:
        directions, form = tensors_of("linearize", tangents, "the tangents")
        if form != tree:
            raise LampionError("linearize", "the tangents do not have the structure of the arguments")
        known = [(g, t) for g, t in zip(slopes, directions, strict=True) if g is not None and g.requires_grad]
        moved: Any = [None] * len(seeds)
        if known:
            create = mode.grad and any(x.requires_grad for x in (*leaves, *directions))
            moved = autograd.grad(
                [g for g, _ in known], seeds, [t for _, t in known], retain_graph=True, create_graph=create,
                allow_unused=True,
            )  # fmt: skip
        return unflatten(
            shape,
            iter([ops.zeros_like(s) if t is None else t for s, t in zip(outputs, moved, strict=True)]),
        )

    return run.released(run.result), push


# -- matrices of derivatives ----------------------------------------------------------------------------


def _basis(leaves: list[Tensor]) -> list[Tensor]:
    """For each leaf a batch of directions, one for each element of all leaves together."""
    sizes = [math.prod(leaf.shape) for leaf in leaves]
    total = sum(sizes)
    found, start = [], 0
    for leaf, size in zip(leaves, sizes, strict=True):
        rows, columns = ops.arange(total), ops.arange(start, start + size)
        ones = ops.eq(ops.reshape(rows, (total, 1)), ops.reshape(columns, (1, size)))
        found.append(ops.reshape(ops.cast(ones, leaf.dtype), (total, *leaf.shape)))
        start += size
    return found


def _split(batch: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """A batch of one row for each element of all leaves, by leaf, in the leaves' shapes."""
    parts, start = [], 0
    for leaf in leaves:
        size = math.prod(leaf.shape)
        part = ops.narrow(batch, 0, start, size)
        parts.append(ops.reshape(part, (*leaf.shape, *batch.shape[1:])))
        start += size
    return parts


def jacrev(
    func: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:  # fmt: skip
    """A function that gives the Jacobian of `func`, row by row: for more arguments than results.

    Its shape is that of the result followed by that of the argument; where results or arguments are trees,
    a tree (of the results) of trees (of the arguments).

    Args:
        argnums: with respect to which arguments.
        has_aux: `func` returns a pair, whose second part is handed on.
        chunk_size: how many rows to compute at once; all of them, unless given.

    >>> import lampion
    >>> lampion.func.jacrev(lampion.sin)(lampion.zeros(2))
    tensor([[1., 0.],
            [0., 1.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        places, leaves, tree = _chosen("jacrev", argnums, args)
        call = _caller(args, kwargs, argnums, places, tree)

        def flat(*inner: Tensor) -> Any:
            return call(func, list(inner))

        value, back, *aux = vjp(flat, *leaves, has_aux=has_aux)
        outputs, shape = tensors_of("jacrev", value, "what the function returns")
        rows = vmap(lambda *seeds: back(unflatten(shape, iter(seeds))), chunk_size=chunk_size)(
            *_basis(outputs)
        )
        columns = [_split(row, outputs) for row in rows]  # by argument, then by result
        found = [unflatten(tree, iter([column[i] for column in columns])) for i in range(len(outputs))]
        jacobian = unflatten(shape, iter(found))
        return (jacobian, *aux) if has_aux else jacobian

    return wrapper


def jacfwd(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, *, randomness: str = "error",
    chunk_size: int | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """A function that gives the Jacobian of `func`, column by column: for more results than arguments.

    See `jacrev` for its form.

    >>> import lampion
    >>> lampion.func.jacfwd(lampion.sin)(lampion.zeros(2))
    tensor([[1., 0.],
            [0., 1.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        places, leaves, tree = _chosen("jacfwd", argnums, args)
        call = _caller(args, kwargs, argnums, places, tree)

        def push(*directions: Tensor) -> Any:
            out = jvp(lambda *xs: call(func, list(xs)), tuple(leaves), directions, has_aux=has_aux)
            return out[1:]

        moved = vmap(push, randomness=randomness, chunk_size=chunk_size)
        slopes, *aux = moved(*_basis(leaves))
        outputs: list[Any] = []
        shape = flatten(slopes, outputs)
        found = []
        for out in outputs:
            columns = [
                _behind(part, leaf.ndim) for part, leaf in zip(_split(out, leaves), leaves, strict=True)
            ]
            found.append(unflatten(tree, iter(columns)))
        jacobian = unflatten(shape, iter(found))
        return (jacobian, map_tree(lambda x: ops.select(x, 0, 0), aux[0])) if has_aux else jacobian

    return wrapper


def _behind(x: Tensor, count: int) -> Tensor:
    """The first so many dimensions moved behind the others."""
    return ops.movedim(x, tuple(range(count)), tuple(range(x.ndim - count, x.ndim)))  # type: ignore[no-any-return]


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives the matrix of second derivatives of `func`: forward over reverse mode.

    >>> import lampion
    >>> lampion.func.hessian(lambda x: (x**3).sum())(lampion.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


def hvp(func: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """The Hessian of a scalar function times `tangents`, without computing the Hessian.

    Returns: for one argument a tensor (or tree), for several a tuple.

    >>> import lampion
    >>> x = lampion.tensor([1.0, 2.0])
    >>> lampion.func.hvp(lambda x: (x**3).sum(), (x,), (lampion.ones(2),))
    tensor([ 6., 12.])
    """
    places: Argnums = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(func, places), primals, tangents)[1]
