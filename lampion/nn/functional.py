"""The functions behind the layers. All are composed of operations, so all have derivatives of any order."""

from __future__ import annotations

import math
import warnings

from lampion import ops
from lampion.dtype import int64
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.ops.composite import affine, mean_nll
from lampion.ops.random import dropout as _dropout
from lampion.tensor import Tensor

__all__ = [
    "cross_entropy", "dropout", "gelu", "leaky_relu", "linear", "log_softmax", "mse_loss", "nll_loss",
    "one_hot", "relu", "sigmoid", "silu", "softmax", "tanh",
]  # fmt: skip

tanh = ops.tanh
sigmoid = ops.sigmoid


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``.

    Shape:
        input: (..., in_features); weight: (out_features, in_features); bias: (out_features,).
    """
    # One product of two matrices is faster than a stack of them with a shared one.
    flat = input if input.ndim <= 2 or weight.ndim != 2 else ops.reshape(
        input, math.prod(input.shape[:-1]), input.shape[-1]
    )  # fmt: skip
    if bias is not None and flat.ndim == weight.ndim == 2 and flat.dtype is weight.dtype is bias.dtype:
        out = affine(flat, weight, bias)
    else:
        out = flat @ weight.T
        if bias is not None:
            out = out + bias
    return out if flat is input else ops.reshape(out, *input.shape[:-1], out.shape[-1])


# -- activations ---------------------------------------------------------------------------------------


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0); `inplace` overwrites the input."""
    return input.relu_() if inplace else ops.relu(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """input where it is positive, ``negative_slope * input`` elsewhere."""
    return ops.where(input > 0, input, input * negative_slope)


def silu(input: Tensor) -> Tensor:
    """``input * sigmoid(input)``, also called swish."""
    return input * ops.sigmoid(input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Approximately x times the normal distribution function of x (``approximate="tanh"``).

        0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))

    Source: D. Hendrycks, K. Gimpel: "Gaussian error linear units" (2016).

    >>> import lampion
    >>> lampion.nn.functional.gelu(lampion.tensor([-1.0, 1.0]), approximate="tanh")
    tensor([-0.1588,  0.8412])
    """
    check_gelu(approximate)
    inner = math.sqrt(2.0 / math.pi) * (input + 0.044715 * input * input * input)
    return 0.5 * input * (1.0 + ops.tanh(inner))


def check_gelu(approximate: str) -> None:
    """Refuse the exact form, for which there is no `erf` yet, instead of approximating it unasked."""
    if approximate != "tanh":
        raise LampionError(
            "gelu",
            "only the tanh approximation exists: Lampion has no erf yet",
            expected='approximate="tanh"',
            got=f"approximate={approximate!r}",
            fix='pass approximate="tanh"; it differs from the exact form by less than 0.0005',
        )


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Zero each element with probability `p`, and scale the others by 1 / (1 - p); see `nn.Dropout`."""
    out: Tensor = _dropout(input, p, training)
    return out


def softmax(input: Tensor, dim: int) -> Tensor:
    """Probabilities along `dim`: ``exp(x) / sum(exp(x))``.

    The largest x is subtracted first: the quotient is the same, and exp cannot overflow.

    Source: Deep Learning from Scratch 1, section 3.5.

    >>> import lampion
    >>> lampion.nn.functional.softmax(lampion.tensor([1000.0, 1000.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    if not input.dtype.is_floating_point:
        raise DTypeError("softmax", "expected floats", got=str(input.dtype), fix="convert it: x.float()")
    if not input.numel():
        return ops.clone(input)
    powers = ops.exp(_shifted(input, dim))
    return powers / ops.sum(powers, dim, True)


def log_softmax(input: Tensor, dim: int) -> Tensor:
    """``log(softmax(x))``, without forming the quotient: ``x - log(sum(exp(x)))``.

    >>> import lampion
    >>> lampion.nn.functional.log_softmax(lampion.tensor([0.0, -1000.0]), dim=0)
    tensor([    0., -1000.])
    """
    return ops.log_softmax(input, dim)


def _shifted(input: Tensor, dim: int) -> Tensor:
    """x minus its largest element along `dim`: at most 0, so that exp cannot overflow.

    Adding a number to all scores changes no probability, so the largest one is a constant to the gradient.
    """
    return input - ops.amax(input.detach(), dim, True)


def one_hot(tensor: Tensor, num_classes: int) -> Tensor:
    """A row for each label, with a 1 at the label's place. The number of classes must be given.

    >>> import lampion
    >>> lampion.nn.functional.one_hot(lampion.tensor([0, 2]), 3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if tensor.dtype.kind not in "iu":
        raise DTypeError("one_hot", "labels are integers", expected="lampion.int64", got=str(tensor.dtype),
                         fix="convert them: tensor.long()")  # fmt: skip
    if num_classes < 1:
        raise LampionError(
            "one_hot",
            "num_classes must be given",
            expected="an integer from 1 on",
            got=str(num_classes),
            fix="pass the number of classes: one_hot(labels, 10)",
        )
    index = ops.cast(tensor, int64).unsqueeze(-1)
    zeros = ops.zeros(*tensor.shape, num_classes, dtype=int64)
    return ops.scatter_add(zeros, -1, index, ops.ones(*index.shape, dtype=int64))


# -- losses --------------------------------------------------------------------------------------------


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """The squared differences: their mean, their sum, or (``reduction="none"``) each.

    Shape:
        input and target: the same. Where they differ they are broadcast, with a warning.
    """
    check_reduction("mse_loss", reduction)
    if input.shape != target.shape:
        warnings.warn(
            f"mse_loss: input {tuple(input.shape)} and target {tuple(target.shape)} have different shapes "
            "and are broadcast; that is seldom meant ((N, 1) against (N,) becomes (N, N)): reshape one of "
            "them",
            UserWarning, stacklevel=2,
        )  # fmt: skip
    difference = input - target
    squares = difference * difference
    if reduction == "mean":
        return ops.mean(squares)
    return ops.sum(squares) if reduction == "sum" else squares


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100,
    reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """How far scores are from labels: the negative logarithm of the probability that they give the label.

        loss = -log(softmax(input)[target]) = log(sum(exp(input))) - input[target]

    Do not apply softmax yourself: the input is any real numbers (logits).

    Args:
        input: the scores.
        target: integer labels; or, for each class, its probability.
        weight: one factor for each class.
        ignore_index: labels of this value count for nothing.
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
    dim = _check_scores("cross_entropy", input, weight, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise LampionError("cross_entropy", "label_smoothing is a share", expected="0 to 1",
                           got=str(label_smoothing))  # fmt: skip
    if target.dtype.is_floating_point and target.shape == input.shape:
        return _against_probabilities(input, target, weight, reduction, label_smoothing, dim)
    _check_labels("cross_entropy", input, target, dim)
    log_p = ops.log_softmax(input, dim)
    if weight is None and not label_smoothing and reduction == "mean":
        labels = target if target.dtype is int64 else ops.cast(target, int64)
        loss: Tensor = mean_nll(log_p, ops.unsqueeze(labels, dim), dim=dim, ignore=ignore_index)
        return loss
    return _negative_log(log_p, target, weight, ignore_index, reduction, label_smoothing, dim)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood: ``-input[target]``, where the input is logarithms of probabilities.

    ``nll_loss(log_softmax(x, 1), target)`` is ``cross_entropy(x, target)``; the arguments are those of
    `cross_entropy`.
    """
    dim = _check_scores("nll_loss", input, weight, reduction)
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
    products = target * log_softmax(input, dim)
    if weight is not None:
        products = products * _along(weight, dim, input.ndim)
    if reduction == "none":
        return -ops.sum(products, dim)
    total = -ops.sum(products)
    return total if reduction == "sum" else total / (input.numel() / classes)


def _along(weight: Tensor, dim: int, ndim: int) -> Tensor:
    """The weights of the classes, shaped so that they broadcast along `dim`."""
    return ops.reshape(weight, [-1 if a == dim else 1 for a in range(ndim)])


def check_reduction(name: str, reduction: str) -> None:
    """Refuse reductions that do not exist."""
    if reduction not in ("mean", "sum", "none"):
        raise LampionError(name, "the reduction is not known", expected='"mean", "sum" or "none"',
                           got=repr(reduction))  # fmt: skip


def _check_scores(name: str, input: Tensor, weight: Tensor | None, reduction: str) -> int:
    """Check all but the target; returns the dimension of the classes."""
    check_reduction(name, reduction)
    if not input.ndim:
        raise ShapeError(name, "the input has no dimension of classes", got="()",
                         expected="(C,), (N, C) or (N, C, ...)")  # fmt: skip
    if not input.dtype.is_floating_point:
        raise DTypeError(
            name,
            "the input is a floating tensor of scores",
            expected="float32 or float64",
            got=str(input.dtype),
            fix="input.float(); or are input and target exchanged?",
        )
    dim = 0 if input.ndim == 1 else 1
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
