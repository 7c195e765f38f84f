"""Losses that compare scores or probabilities with labels."""

from __future__ import annotations

import math
from typing import Any

from lampion import ops
from lampion.amp.policy import by_policy
from lampion.compiler.pieces import open_to_plans, planned
from lampion.dtype import float32, float64, int64
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.mode import mode
from lampion.nn.functional.checks import check_floats, dims_of_class, reduced, reduction_of
from lampion.nn.functional.maps import linear
from lampion.ops.composite import binary_entropy, mean_nll, softplus
from lampion.tensor import Tensor

_LARGE = 1 << 20  # scores from which on the loss runs as a plan in eager, too


@by_policy
def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """How far scores are from labels: the negative logarithm of the probability that they give the label.

        loss = -log(softmax(input)[target]) = log(sum(exp(input))) - input[target]

    Do not apply softmax yourself: the input is any real numbers (logits).

    Args:
        input: the scores.
        target: integer labels; or, for each class, its probability.
        weight: one factor for each class.
        ignore_index: labels of this value count for nothing.
        size_average, reduce: PyTorch's old names for `reduction`.
        reduction: "mean" (over the labels that count, by their class's weight), "sum" or "none".
        label_smoothing: how much of each label's probability is spread evenly over all classes.

    Shape:
        input: (C,), (N, C) or (N, C, d1, ...); labels: (), (N,) or (N, d1, ...); probabilities: as input.

    Raises:
        ShapeError, DTypeError: input and target do not belong together.
        IndexRangeError: a label is not in 0 to C - 1.

    Source: Deep Learning from Scratch 1, section 4.2; label smoothing: C. Szegedy et al. (CVPR 2016).

    >>> import lampion
    >>> scores = lampion.tensor([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]])
    >>> lampion.nn.functional.cross_entropy(scores, lampion.tensor([0, 1]))
    tensor(0.3185)
    """
    reduction = reduction_of("cross_entropy", reduction, size_average, reduce)
    dim = _check_scores("cross_entropy", input, weight)
    if not 0.0 <= label_smoothing <= 1.0:
        raise OptionError("cross_entropy", "label_smoothing is a share", expected="0 to 1",
                          got=str(label_smoothing))  # fmt: skip
    if target.dtype.is_floating_point and target.shape == input.shape:
        if ignore_index >= 0:
            raise OptionError("cross_entropy", "ignore_index is for labels; the target is probabilities",
                              got=str(ignore_index))  # fmt: skip
        return _against_probabilities(input, target, weight, reduction, label_smoothing, dim)
    _check_labels("cross_entropy", input, target, dim)
    if weight is None and not label_smoothing and reduction == "mean":
        labels = target if target.dtype is int64 else ops.cast(target, int64)
        large = input.ndim == 2 and math.prod(input.shape) >= _LARGE and input.dtype in (float32, float64)
        mean = _planned_mean if large and open_to_plans() else _mean
        return mean(input, ops.unsqueeze(labels, dim), dim, ignore_index)
    log_p = ops.log_softmax(input, dim)
    return _negative_log(log_p, target, weight, ignore_index, reduction, label_smoothing, dim)


def _mean(input: Tensor, labels: Tensor, dim: int, ignore_index: int) -> Tensor:
    loss: Tensor = mean_nll(ops.log_softmax(input, dim), labels, dim=dim, ignore=ignore_index)
    return loss


_planned_mean = planned(_mean)


@by_policy
def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The negative log-likelihood: ``-input[target]``, where the input is logarithms of probabilities.

    ``nll_loss(log_softmax(x, 1), target)`` is ``cross_entropy(x, target)``; the arguments are those of
    `cross_entropy`.
    """
    reduction = reduction_of("nll_loss", reduction, size_average, reduce)
    dim = _check_scores("nll_loss", input, weight)
    _check_labels("nll_loss", input, target, dim)
    return _negative_log(input, target, weight, ignore_index, reduction, 0.0, dim)


def _labels(target: Tensor, ignore_index: int, dim: int) -> tuple[Tensor, Tensor]:
    """Which labels count, and the labels with 0 for those that do not, both with a class dimension of 1."""
    labels = ops.unsqueeze(target if target.dtype is int64 else ops.cast(target, int64), dim)
    counts = ops.ne(labels, ignore_index)
    return counts, ops.where(counts, labels, 0)


def _negative_log(
    log_p: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, smoothing: float,
    dim: int,
) -> Tensor:  # fmt: skip
    """The loss from logarithms of probabilities."""
    counts, index = _labels(target, ignore_index, dim)
    losses = -ops.gather(log_p, dim, index)
    scale = None
    if weight is not None:
        weight = _along(weight, dim, log_p.ndim)
        scale = ops.gather(ops.broadcast_to(weight, log_p.shape), dim, index)
        losses = losses * scale
    if smoothing:
        spread = -ops.sum(log_p if weight is None else log_p * weight, dim, True)
        losses = losses * (1.0 - smoothing) + spread * (smoothing / log_p.shape[dim])
    return _reduce(losses, counts, scale, reduction, dim)


def _reduce(losses: Tensor, counts: Tensor, scale: Tensor | None, reduction: str, dim: int) -> Tensor:
    """Reduce the losses of the labels that count; those of others may be anything, infinite too."""
    losses = ops.where(counts, losses, 0.0)
    if reduction == "none":
        return ops.squeeze(losses, dim)
    total = ops.sum(losses)
    if reduction == "sum":
        return total
    weights = ops.cast(counts, losses.dtype) if scale is None else ops.where(counts, scale, 0.0)
    return total / ops.sum(weights)


def _against_probabilities(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float, dim: int
) -> Tensor:
    classes = input.shape[dim]
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / classes
    products = target * ops.log_softmax(input, dim)
    if weight is not None:
        products = products * _along(weight, dim, input.ndim)
    if reduction == "none":
        return -ops.sum(products, dim)
    total = -ops.sum(products)
    return total if reduction == "sum" or not classes else total / (input.numel() / classes)


def _along(weight: Tensor, dim: int, ndim: int) -> Tensor:
    """The weights of the classes, shaped so that they broadcast along `dim`."""
    return ops.reshape(weight, [-1 if a == dim else 1 for a in range(ndim)])


def _check_scores(name: str, input: Tensor, weight: Tensor | None) -> int:
    """Check all but the target; returns the dimension of the classes."""
    dim = dims_of_class(name, input)
    if not input.dtype.is_floating_point:
        raise DTypeError(
            name,
            "the input is a floating tensor of scores",
            expected="float32 or float64",
            got=str(input.dtype),
            fix="input.float(); or are input and target exchanged?",
        )
    if weight is not None and weight.dtype is not input.dtype:
        raise DTypeError(name, "weight and input have one type", expected=str(input.dtype),
                         got=str(weight.dtype))  # fmt: skip
    if weight is not None and tuple(weight.shape) != (input.shape[dim],):
        raise ShapeError(name, "weight has one factor for each class", expected=f"({input.shape[dim]},)",
                         got=str(tuple(weight.shape)))  # fmt: skip
    return dim


def _check_labels(name: str, input: Tensor, target: Tensor, dim: int) -> None:
    wanted = (*input.shape[:dim], *input.shape[dim + 1 :])
    if target.shape != wanted:
        alternative = f", or probabilities of shape {tuple(input.shape)}" if name == "cross_entropy" else ""
        raise ShapeError(
            name, "input and target do not belong together",
            expected=f"labels of shape {wanted} for an input of shape {tuple(input.shape)}{alternative}",
            got=f"a target of shape {tuple(target.shape)}, {target.dtype}",
            fix="one class number for each row of scores, not one-hot rows: target.argmax(1), "
                "or target.squeeze(1)",
        )  # fmt: skip
    if target.dtype.kind not in "iu":
        raise DTypeError(name, "labels are integers", expected="lampion.int64", got=str(target.dtype),
                         fix="convert them: target.long()")  # fmt: skip


def linear_cross_entropy(
    input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Tensor | None = None,
    weight: Tensor | None = None, reduction: str = "mean", ignore_index: int | None = None,
    label_smoothing: float = 0.0, options: Any = None,
) -> Tensor:  # fmt: skip
    """``cross_entropy(linear(input, linear_weight, linear_bias), target)``.

    Args:
        input: the samples.
        linear_weight: (C, in_features), or (C, d1, ..., in_features) for several losses a sample.
        target: labels or probabilities, as in `cross_entropy`.
        linear_bias: (C,), or as `linear_weight` but for the last dimension.
        weight, reduction, ignore_index, label_smoothing: as in `cross_entropy`.
        options: how PyTorch is to save memory. No result depends on it, and it is not read: what is kept
            between the steps is for the compiler to decide.

    Shape:
        input: (in_features,) or (N, in_features).
    """
    *out_shape, features = linear_weight.shape
    if input.ndim != 2 and (len(out_shape) > 1 or input.ndim != 1):
        raise ShapeError("linear_cross_entropy", "the input is no batch of samples",
                         expected=f"(N, {features})", got=str(tuple(input.shape)))  # fmt: skip
    scores = linear(input, linear_weight.reshape(-1, features))
    scores = scores.reshape(*input.shape[:-1], *out_shape)
    if linear_bias is not None:
        bias = linear_bias.reshape(*linear_bias.shape, *[1] * (len(out_shape) - linear_bias.ndim))
        scores = scores + bias
    ignored = -100 if ignore_index is None else ignore_index
    return cross_entropy(
        scores, target, weight, ignore_index=ignored, reduction=reduction, label_smoothing=label_smoothing
    )


# -- yes or no -------------------------------------------------------------------------------------------


@by_policy
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """How far probabilities are from yes (1) or no (0).

        loss = -(target * log(input) + (1 - target) * log(1 - input))

    The logarithms are held above -100, as in PyTorch, so that certainty in something wrong is no infinity.
    `binary_cross_entropy_with_logits` loses no digits; prefer it.

    Args:
        input: probabilities.
        target: the truth, 0 to 1.
        weight: a factor for each element; it broadcasts.
        size_average, reduce, reduction: see `mse_loss`.
    """
    reduction = reduction_of("binary_cross_entropy", reduction, size_average, reduce)
    check_floats("binary_cross_entropy", input, target)
    _check_target("binary_cross_entropy", input, target)
    if mode.trace is None and input.numel():
        values = input._array
        if not ((values >= 0) & (values <= 1)).all():
            raise OptionError("binary_cross_entropy", "the input is probabilities", expected="0 to 1",
                              got=f"{values.min()} to {values.max()}",
                              fix="apply a sigmoid, or use binary_cross_entropy_with_logits")  # fmt: skip
    losses = binary_entropy(input, target)
    return reduced(losses if weight is None else losses * weight, reduction)


@by_policy
def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean", pos_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """`binary_cross_entropy` of the sigmoid of the input, computed without overflow.

        loss = (1 - target) * input + log(1 + e**-input)

    Args:
        input: scores, any numbers.
        target: the truth, 0 to 1.
        weight: a factor for each element; it broadcasts.
        size_average, reduce, reduction: see `mse_loss`.
        pos_weight: a factor for the share of yes.
    """
    name = "binary_cross_entropy_with_logits"
    reduction = reduction_of(name, reduction, size_average, reduce)
    check_floats(name, input)
    _check_target(name, input, target)
    yes = 1.0 if pos_weight is None else (pos_weight - 1.0) * target + 1.0
    # log(1 + e**-x) is log(1 + e**-|x|), less x where x is negative. That x and the one in front are taken
    # together: beside numbers of their size, what is left of a sure and right answer would be lost.
    negative = input < 0
    slope = (1.0 - target) - yes * negative.to(input.dtype)
    losses = slope * input + yes * softplus(ops.where(negative, input, -input))
    return reduced(losses if weight is None else losses * weight, reduction)


def _check_target(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ShapeError(name, "input and target have one shape", expected=str(tuple(input.shape)),
                         got=f"a target of shape {tuple(target.shape)}")  # fmt: skip
