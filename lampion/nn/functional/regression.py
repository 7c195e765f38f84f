"""Losses that compare numbers with numbers, and distributions with distributions."""

from __future__ import annotations

import math
import warnings

from lampion import ops
from lampion.amp.policy import by_policy
from lampion.errors import OptionError, ShapeError
from lampion.mode import mode
from lampion.nn.functional.checks import (
    check_floats,
    check_positive,
    check_reduction,
    reduced,
    reduction_of,
    warn_of_broadcasting,
)  # fmt: skip
from lampion.nn.functional.distances import at_least
from lampion.ops.define import refuse_bools
from lampion.tensor import Tensor


@by_policy
def mse_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The squared differences: their mean, their sum, or (``reduction="none"``) each.

    Args:
        input, target: of one shape. Where they differ they are broadcast, with a warning.
        size_average, reduce: PyTorch's old names for `reduction`; given, they come first.
        reduction: "mean", "sum" or "none".
        weight: a factor for each element; the mean is then over these.
    """
    reduction = reduction_of("mse_loss", reduction, size_average, reduce)
    warn_of_broadcasting("mse_loss", input, target)
    difference = input - target
    return _weighted("mse_loss", difference * difference, weight, reduction, input)


@by_policy
def l1_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The sizes of the differences; the arguments are those of `mse_loss`."""
    reduction = reduction_of("l1_loss", reduction, size_average, reduce)
    warn_of_broadcasting("l1_loss", input, target)
    return _weighted("l1_loss", ops.abs(input - target), weight, reduction, input)


def _weighted(name: str, losses: Tensor, weight: Tensor | None, reduction: str, input: Tensor) -> Tensor:
    if weight is None:
        return reduced(losses, reduction)
    _check_weight(name, weight, input)
    losses = losses * weight
    return ops.sum(losses) / ops.sum(weight) if reduction == "mean" else reduced(losses, reduction)


def _check_weight(name: str, weight: Tensor, input: Tensor) -> None:
    if weight.shape != input.shape:
        raise ShapeError(name, "weight has a factor for each element", expected=str(tuple(input.shape)),
                         got=str(tuple(weight.shape)))  # fmt: skip


@by_policy
def smooth_l1_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", beta: float = 1.0,
) -> Tensor:  # fmt: skip
    """`huber_loss` divided by `beta`: slopes of 1 outside of [-beta, beta].

    The arguments are those of `mse_loss`; with ``beta=0`` it is `l1_loss`.
    """
    reduction = reduction_of("smooth_l1_loss", reduction, size_average, reduce)
    check_floats("smooth_l1_loss", input)
    warn_of_broadcasting("smooth_l1_loss", input, target)
    if beta < 0:
        raise OptionError("smooth_l1_loss", "beta is not negative", got=str(beta))
    if beta == 0:
        return reduced(ops.abs(input - target), reduction)
    return reduced(_huber(input, target, beta) / beta, reduction)


@by_policy
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Half the squared difference up to `delta`, straight lines beyond.

        d**2 / 2 where |d| <= delta, else delta * (|d| - delta / 2)

    Source: P. Huber: "Robust estimation of a location parameter" (1964).
    """
    check_reduction("huber_loss", reduction)
    check_floats("huber_loss", input)
    check_positive("huber_loss", "delta", delta)
    warn_of_broadcasting("huber_loss", input, target)
    losses = _huber(input, target, delta)
    if weight is not None:
        _check_weight("huber_loss", weight, input)
        losses = losses * weight
    return reduced(losses, reduction)


def _huber(input: Tensor, target: Tensor, delta: float) -> Tensor:
    difference = input - target
    size = ops.abs(difference)
    return ops.where(size < delta, difference * difference * 0.5, (size - 0.5 * delta) * delta)


@by_policy
def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False,
    size_average: bool | None = None, eps: float = 1e-8, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The negative logarithm of the probability that a Poisson distribution gives the target.

    Args:
        input: the expected counts, or (`log_input`) their logarithms.
        target: the counts.
        log_input: which of the two the input is.
        full: add Stirling's approximation of log(target!), which does not depend on the input.
        eps: added to the input before its logarithm is taken.
        size_average, reduce, reduction: see `mse_loss`.
    """
    reduction = reduction_of("poisson_nll_loss", reduction, size_average, reduce)
    refuse_bools("poisson_nll_loss", input)
    losses = ops.exp(input) - target * input if log_input else input - target * ops.log(input + eps)
    if full:
        many = target > 1
        safe = ops.where(many, target, 1.0)
        stirling = safe * ops.log(safe) - safe + ops.log(safe * (2 * math.pi)) * 0.5
        losses = losses + ops.where(many, stirling, 0.0)
    return reduced(losses, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The negative logarithm of the density that a normal distribution gives the target.

        (log(var) + (input - target)**2 / var) / 2

    Args:
        input: the expected values.
        target: the values.
        var: the variances: of the input's shape, or without its last dimension, or with 1 for one of them.
        full: add the constant, log(2 pi) / 2.
        eps: variances below are raised to it.
        reduction: see `mse_loss`.

    Source: D. Nix, A. Weigend: "Estimating the mean and variance of the target probability distribution"
    (1994).
    """
    check_reduction("gaussian_nll_loss", reduction)
    check_floats("gaussian_nll_loss", input)
    if not isinstance(var, Tensor):
        var = ops.full_like(input, float(var))
    if mode.trace is None and (var._array < 0).any():
        raise OptionError("gaussian_nll_loss", "a variance is negative", got=str(var._array.min()))
    if var.shape != input.shape:
        ones = [n for n, m in zip(input.shape, var.shape, strict=False) if n != m]
        if var.shape == input.shape[:-1]:
            var = ops.unsqueeze(var, -1)
        elif var.ndim != input.ndim or len(ones) != 1 or 1 not in var.shape:
            raise ShapeError(
                "gaussian_nll_loss", "the variances do not fit the input",
                expected=f"{tuple(input.shape)}, without the last size, or with 1 for one of them",
                got=str(tuple(var.shape)),
            )  # fmt: skip
    var = at_least(var, eps)
    difference = input - target
    losses = (ops.log(var) + difference * difference / var) * 0.5
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(losses, reduction)


@by_policy
def kl_div(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", log_target: bool = False,
) -> Tensor:  # fmt: skip
    """The Kullback-Leibler divergence of distributions, before the sum over their parts.

        target * (log(target) - input)

    Args:
        input: logarithms of probabilities.
        target: probabilities, or (`log_target`) their logarithms.
        size_average, reduce: PyTorch's old names for `reduction`.
        reduction: "batchmean" (the sum, divided by the first size: the divergence), "sum", "none", or
            "mean" (over all elements; with a warning, for that is no divergence).
        log_target: which of the two the target is.
    """
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            'kl_div: reduction="mean" divides by the number of classes too; reduction="batchmean" is the '
            "divergence",
            UserWarning, stacklevel=2,
        )  # fmt: skip
    reduction = reduction_of("kl_div", reduction, size_average, reduce, "batchmean")
    check_floats("kl_div", input)
    losses = ops.exp(target) * (target - input) if log_target else ops.xlogy(target, target) - target * input
    if reduction == "batchmean":
        total = ops.sum(losses)
        return total / input.shape[0] if input.ndim else total
    return reduced(losses, reduction)
