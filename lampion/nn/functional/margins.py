"""Losses that want a margin between right and wrong."""

from __future__ import annotations

from collections.abc import Callable

from lampion import ops
from lampion.amp.policy import by_policy
from lampion.errors import OptionError, ShapeError
from lampion.nn.functional.activation import logsigmoid
from lampion.nn.functional.checks import (
    check_floats,
    check_positive,
    check_reduction,
    check_same_shapes,
    reduced,
    reduction_of,
)  # fmt: skip
from lampion.nn.functional.distances import pairwise_distance
from lampion.ops.composite import softplus
from lampion.tensor import Tensor

# The arguments `size_average`, `reduce` and `reduction` are those of `mse_loss`, everywhere in this file.


@by_policy
def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The input where the target is 1, ``max(0, margin - input)`` where it is -1.

    The input is a distance: alike things are to be near each other, others at least `margin` apart.
    """
    reduction = reduction_of("hinge_embedding_loss", reduction, size_average, reduce)
    check_floats("hinge_embedding_loss", input)
    apart = ops.where(target != 1, ops.clamp_min(margin - input, 0), 0.0)
    return reduced(apart + ops.where(target != -1, input, 0.0), reduction)


@by_policy
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1.

    Shape:
        input1, input2: (N, D) with a target (N,), or (D,) with a target ().
    """
    name = "cosine_embedding_loss"
    reduction = reduction_of(name, reduction, size_average, reduce)
    if target.ndim not in (0, 1) or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        raise ShapeError(
            name, "the shapes do not fit", expected="(N, D), (N, D) and (N,), or (D,), (D,) and ()",
            got=f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(target.shape)}",
        )  # fmt: skip
    dim = target.ndim
    squares = [ops.sum(x * x, dim) + 1e-12 for x in (input1, input2)]
    cosine = ops.sum(input1 * input2, dim) / ops.sqrt(squares[0] * squares[1])
    alike = ops.where(target == 1, 1.0 - cosine, 0.0)
    return reduced(alike + ops.where(target == -1, ops.clamp_min(cosine - margin, 0), 0.0), reduction)


@by_policy
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """``max(0, margin - target * (input1 - input2))``: the target says which is to be larger, 1 or -1."""
    reduction = reduction_of("margin_ranking_loss", reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise ShapeError(
            "margin_ranking_loss", "the three have as many dimensions as each other",
            got=f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(target.shape)}",
        )  # fmt: skip
    return reduced(ops.clamp_min(-target * (input1 - input2) + margin, 0), reduction)


@by_policy
def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """By how much other classes come nearer than `margin` to the right one, to the power p.

        sum over j != y of max(0, margin - x[y] + x[j])**p / C

    Args:
        input: scores, (N, C) or (C,).
        target: labels, (N,) or ().
        p: 1 or 2.
        margin: how far apart they are to be.
        weight: a factor for each class, (C,).
        size_average, reduce, reduction: see `mse_loss`.
    """
    name = "multi_margin_loss"
    reduction = reduction_of(name, reduction, size_average, reduce)
    check_floats(name, input)
    if p not in (1, 2):
        raise OptionError(name, "p is 1 or 2", got=str(p))
    single = input.ndim < 2
    scores = ops.reshape(input, 1, -1) if single else input
    labels = ops.reshape(target, -1)
    if input.ndim > 2 or target.ndim > 1 or not scores.shape[1] or labels.shape[0] != scores.shape[0]:
        raise ShapeError(name, "input and target do not belong together", expected="(N, C) and (N,)",
                         got=f"{tuple(input.shape)} and {tuple(target.shape)}")  # fmt: skip
    classes = scores.shape[1]
    index = ops.unsqueeze(labels, 1)
    distances = scores + (margin - ops.gather(scores, 1, index))
    wrong = ops.logical_and(ops.arange(classes) != index, distances > 0)
    losses = ops.where(wrong, distances if p == 1 else distances * distances, 0.0)
    if weight is not None:
        if tuple(weight.shape) != (classes,):
            raise ShapeError(name, "weight has one factor for each class", expected=f"({classes},)",
                             got=str(tuple(weight.shape)))  # fmt: skip
        losses = losses * ops.unsqueeze(ops.index_select(weight, 0, labels), 1)
    each = ops.sum(losses, 1) / classes
    return reduced(ops.reshape(each, target.shape) if single else each, reduction)


@by_policy
def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """By how much wrong classes come nearer than 1 to those that are right, for several labels.

        sum over labels y and other classes j of max(0, 1 - x[y] + x[j]) / C

    Args:
        input: scores, (N, C) or (C,).
        target: labels, of the same shape: those before the first -1 count.
        size_average, reduce, reduction: see `mse_loss`.
    """
    name = "multilabel_margin_loss"
    reduction = reduction_of(name, reduction, size_average, reduce)
    check_floats(name, input)
    check_same_shapes(name, input=input, target=target)
    single = input.ndim < 2
    scores, labels = (ops.reshape(x, 1, -1) if single else x for x in (input, target))
    rows, classes = scores.shape
    if not classes:
        raise ShapeError(name, "there are no classes", got=str(tuple(input.shape)))
    place = ops.arange(classes)
    end = ops.amin(ops.where(labels < 0, place, classes), 1, True) if rows else labels
    counts = place < end  # (N, C): which entries of the target are labels
    index = ops.where(counts, labels, 0)
    named = ops.logical_and(ops.unsqueeze(index, 2) == place, ops.unsqueeze(counts, 2))  # (N, label, C)
    others = ops.logical_not(ops.any(named, 1, True))
    gaps = 1.0 - ops.unsqueeze(ops.gather(scores, 1, index), 2) + ops.unsqueeze(scores, 1)
    near = ops.logical_and(ops.logical_and(ops.unsqueeze(counts, 2), others), gaps > 0)
    each = ops.sum(ops.where(near, gaps, 0.0), (1, 2)) / classes
    return reduced(ops.reshape(each, ()) if single else each, reduction)


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`binary_cross_entropy_with_logits`, averaged over the classes, which stand in the last dimension."""
    reduction = reduction_of("multilabel_soft_margin_loss", reduction, size_average, reduce)
    check_floats("multilabel_soft_margin_loss", input)
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        losses = losses * weight
    return reduced(ops.sum(losses, -1) / input.shape[-1], reduction)


@by_policy
def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """``log(1 + e**(-target * input))``; the target is 1 or -1."""
    reduction = reduction_of("soft_margin_loss", reduction, size_average, reduce)
    check_floats("soft_margin_loss", input)
    return reduced(softplus(-target * input), reduction)


@by_policy
def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
    swap: bool = False, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """``max(0, margin + distance(anchor, positive) - distance(anchor, negative))``.

    Args:
        anchor, positive, negative: vectors in the last dimension; they broadcast.
        margin: how much further away the negative is to be.
        p, eps: see `pairwise_distance`.
        swap: take the distance of positive and negative instead, where that is less.
        size_average, reduce, reduction: see `mse_loss`.

    Source: V. Balntas et al.: "Learning local feature descriptors with triplets and shallow convolutional
    neural networks" (BMVC 2016).
    """
    reduction = reduction_of("triplet_margin_loss", reduction, size_average, reduce)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    return _triplet("triplet_margin_loss", (anchor, positive, negative), distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0,
    swap: bool = False, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`triplet_margin_loss` with a distance of one's own; without one, `pairwise_distance`."""
    name = "triplet_margin_with_distance_loss"
    check_reduction(name, reduction)
    distance = distance_function or pairwise_distance
    return _triplet(name, (anchor, positive, negative), distance, margin, swap, reduction)


def _triplet(
    name: str, tensors: tuple[Tensor, Tensor, Tensor], distance: Callable[[Tensor, Tensor], Tensor],
    margin: float, swap: bool, reduction: str,
) -> Tensor:  # fmt: skip
    check_positive(name, "margin", margin)
    anchor, positive, negative = tensors
    if len({x.ndim for x in tensors}) > 1:
        raise ShapeError(name, "the three have as many dimensions as each other",
                         got=", ".join(str(tuple(x.shape)) for x in tensors))  # fmt: skip
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    return reduced(ops.clamp_min(near - far + margin, 0), reduction)
