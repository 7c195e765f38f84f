"""Lengths, distances and angles."""

from __future__ import annotations

import math

from lampion import ops
from lampion.amp.policy import by_policy
from lampion.errors import ShapeError
from lampion.nn.functional.checks import check_floats
from lampion.ops.arranging import constant
from lampion.ops.define import widened
from lampion.ops.shapes import normalize_dim
from lampion.tensor import Tensor


def p_norm(x: Tensor, p: float, dims: tuple[int, ...], keepdim: bool = False) -> Tensor:
    """``sum(|x|**p) ** (1 / p)``; where that is 0, the slope is 0 too."""
    if x.dtype.is_half:  # the squares of large numbers, and sums of small ones, need float32
        return ops.cast(p_norm(widened(x), p, dims, keepdim), x.dtype)
    size = ops.abs(x) if x.dtype.is_complex or p != 2 else x
    if p == math.inf:
        return ops.amax(size, dims, keepdim)
    if p == -math.inf:
        return ops.amin(size, dims, keepdim)
    if p == 0:
        return ops.sum(ops.sign(ops.abs(size)), dims, keepdim)
    if p == 1:
        return ops.sum(size, dims, keepdim)
    if p != 2 and p > 0:  # powers have no slope at 0, or an infinite one
        size_is_zero = size == 0
        powers = ops.where(size_is_zero, 0.0, ops.pow(ops.where(size_is_zero, 1.0, size), p))
    else:
        powers = size * size if p == 2 else ops.pow(size, p)
    total = ops.sum(powers, dims, keepdim)
    zero = total == 0
    safe = ops.where(zero, 1.0, total)
    return ops.where(zero, 0.0, ops.sqrt(safe) if p == 2 else ops.pow(safe, 1.0 / p))


def normalize(input: Tensor, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12) -> Tensor:
    """``input / max(norm(input), eps)``: vectors along `dim` of length 1.

    Args:
        input: the vectors.
        p: which length: ``sum(|x|**p) ** (1 / p)``.
        dim: the dimension along which a vector's numbers lie; several in a tuple.
        eps: what shorter ones are divided by.

    >>> import lampion
    >>> lampion.nn.functional.normalize(lampion.tensor([3.0, 4.0]), dim=0)
    tensor([0.6000, 0.8000])
    """
    check_floats("normalize", input)
    dims = tuple(dim) if not isinstance(dim, int) else (dim,)
    axes = tuple(normalize_dim("normalize", a, max(input.ndim, 1)) for a in dims) if input.ndim else ()
    return input / ops.clamp_min(p_norm(input, p, axes, True), eps)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """``norm(x1 - x2 + eps)`` along the last dimension.

    Shape:
        x1, x2: (..., D), which broadcast; result: (...), or (..., 1) with `keepdim`.
    """
    return p_norm(x1 - x2 + eps, p, (-1,), keepdim)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors: ``x1 @ x2 / (|x1| * |x2|)``.

    Args:
        x1, x2: the vectors; they broadcast.
        dim: the dimension along which their numbers lie.
        eps: what shorter lengths are raised to.

    >>> import lampion
    >>> a, b = lampion.tensor([1.0, 0.0]), lampion.tensor([1.0, 1.0])
    >>> lampion.nn.functional.cosine_similarity(a, b, dim=0)
    tensor(0.7071)
    """
    check_floats("cosine_similarity", x1, x2)
    x1, x2 = ops.broadcast_tensors(x1, x2)
    axis = normalize_dim("cosine_similarity", dim, x1.ndim or 1)
    dims = (axis,) if x1.ndim else ()
    units = [x / at_least(p_norm(x, 2.0, dims, True), eps) for x in (x1, x2)]
    return ops.sum(units[0] * units[1], dims)


def at_least(x: Tensor, low: float) -> Tensor:
    """`x`, raised to `low` where it is below; the slope is 1 everywhere."""
    return x + (ops.clamp_min(x.detach(), low) - x.detach())


@by_policy
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The distance of each row to each later row.

    Shape:
        input: (N, D); result: (N * (N - 1) / 2,).
    """
    check_floats("pdist", input)
    if input.ndim != 2:
        raise ShapeError("pdist", "expected the rows of a matrix", got=str(tuple(input.shape)))
    n = input.shape[0]
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    first, second = (ops.index_select(input, 0, constant([pair[k] for pair in pairs])) for k in (0, 1))
    return p_norm(first - second, p, (1,))
