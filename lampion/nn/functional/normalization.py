"""Normalisation: numbers of mean 0 and variance 1, over the batch, over the features, over groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lampion import ops
from lampion.dtype import finfo
from lampion.errors import OptionError, ShapeError
from lampion.mode import no_grad
from lampion.nn.functional.checks import check_floats, check_positive
from lampion.ops.composite import batch_normalised, centred, mean_square
from lampion.ops.define import cast_to, refuse_bools, widened
from lampion.tensor import Tensor


def batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Each channel with mean 0 and variance 1 over the batch, then scaled and shifted.

        (x - mean) / sqrt(var + eps) * weight + bias

    Args:
        input: (N, C) or (N, C, ...).
        running_mean, running_var: the statistics of the past, (C,): used where not `training`, and brought
            up to date in place where `training`.
        weight, bias: a factor and an addend for each channel, (C,).
        training: take the statistics from this batch.
        momentum: the share of this batch in the running statistics.
        eps: keeps the square root away from 0.

    Source: S. Ioffe, C. Szegedy: "Batch normalization" (ICML 2015); Deep Learning from Scratch 1,
    section 6.3.
    """
    check_floats("batch_norm", input)
    if input.ndim == 1 and not input.shape[0]:
        return ops.clone(input)
    if input.ndim < 2:
        raise ShapeError("batch_norm", "expected a batch of channels", expected="(N, C) or (N, C, ...)",
                         got=str(tuple(input.shape)))  # fmt: skip
    channels = input.shape[1]
    for label, x in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight),
                     ("bias", bias)):  # fmt: skip
        if x is not None and x.numel() != channels:
            raise ShapeError("batch_norm", f"{label} has one number for each channel",
                             expected=f"({channels},)", got=str(tuple(x.shape)))  # fmt: skip
    check_positive("batch_norm", "eps", eps)
    axes = (0, *range(2, input.ndim))
    wide = widened(input)
    if training:
        count = input.numel() // max(channels, 1)
        if count == 1:
            raise ShapeError(
                "batch_norm", "one value for each channel has no variance", got=str(tuple(input.shape)),
                expected="more than one, in training", fix="use a larger batch, or model.eval()",
            )  # fmt: skip
        with no_grad():
            mean, variance = _moments(wide, axes)
        if count:
            _keep(running_mean, mean, momentum)
            _keep(running_var, variance, momentum, count / (count - 1))
        gain, shift = (
            ops.full((1,), number, dtype=wide.dtype, device=wide.device) if x is None
            else cast_to(_per_channel(x, input.ndim), wide.dtype)
            for x, number in ((weight, 1.0), (bias, 0.0))
        )  # fmt: skip
        out = batch_normalised(wide, gain, shift, mean, ops.rsqrt(variance + eps), axes=axes, eps=eps)
        return _rounded(out, input)
    if running_mean is None or running_var is None:
        raise OptionError(
            "batch_norm", "evaluation needs running_mean and running_var", got="None",
            fix="pass them, or training=True",
        )  # fmt: skip
    mean, variance = (cast_to(_per_channel(x, input.ndim), wide.dtype) for x in (running_mean, running_var))
    return _rounded(_scaled((wide - mean) * ops.rsqrt(variance + eps), weight, bias), input)


def _rounded(out: Tensor, input: Tensor) -> Tensor:
    """What was computed in float32 for an input of half precision, in its type."""
    return ops.cast(out, input.dtype) if input.dtype.is_half else out


def _moments(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and variance (of the numbers as they are: divided by their count), with the dimensions kept."""
    mean = ops.mean(x, axes, True)
    return mean, mean_square(x - mean, axes=axes)


def _standardised(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """Mean 0 and variance 1 over the axes."""
    apart: Tensor = centred(x, axes=axes)
    return apart * ops.rsqrt(mean_square(apart, axes=axes) + eps)


def _keep(running: Tensor | None, new: Tensor, momentum: float, factor: float = 1.0) -> None:
    """Bring a running statistic up to date."""
    if running is None:
        return
    with no_grad():
        new = ops.reshape(new.detach(), running.shape)
        running.copy_(running * (1.0 - momentum) + new * (momentum * factor))


def _per_channel(x: Tensor, ndim: int) -> Tensor:
    """One number for each channel, shaped so that they broadcast along dimension 1."""
    return ops.reshape(x, [1, -1, *[1] * (ndim - 2)]) if ndim != 2 else x


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """A factor and an addend for each channel, which leave the type as it is."""
    if weight is not None:
        x = x * cast_to(_per_channel(weight, x.ndim), x.dtype)
    return x if bias is None else x + cast_to(_per_channel(bias, x.ndim), x.dtype)


def instance_norm(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
    weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Each channel of each sample with mean 0 and variance 1, then scaled and shifted.

    Args:
        input: (N, C, ...).
        running_mean, running_var, weight, bias, momentum, eps: as in `batch_norm`.
        use_input_stats: take the statistics from the input; else from the running ones.

    Source: D. Ulyanov et al.: "Instance normalization" (2016).
    """
    check_floats("instance_norm", input)
    if input.ndim < 3:
        raise ShapeError("instance_norm", "expected channels of several values", expected="(N, C, L, ...)",
                         got=str(tuple(input.shape)))  # fmt: skip
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    count = math.prod(input.shape[2:])
    if count == 1:
        raise ShapeError("instance_norm", "one value for each channel has no variance",
                         got=str(tuple(input.shape)))  # fmt: skip
    wide = widened(input)
    mean, variance = _moments(wide, tuple(range(2, input.ndim)))
    _keep(running_mean, ops.mean(mean.detach(), 0), momentum)
    _keep(running_var, ops.mean(variance.detach(), 0), momentum, count / max(count - 1, 1))
    return _rounded(_scaled((wide - mean) * ops.rsqrt(variance + eps), weight, bias), input)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Each group of channels of each sample with mean 0 and variance 1; then a factor for each channel.

    Args:
        input: (N, C, ...).
        num_groups: how many groups the channels fall into.
        weight, bias: (C,).
        eps: keeps the square root away from 0.

    Source: Y. Wu, K. He: "Group normalization" (ECCV 2018).
    """
    check_floats("group_norm", input)
    if input.ndim < 2 or num_groups < 1 or input.shape[1] % num_groups:
        raise ShapeError("group_norm", "the channels do not fall into equal groups",
                         expected=f"(N, C, ...) where C is a multiple of {num_groups}",
                         got=str(tuple(input.shape)))  # fmt: skip
    for label, x in (("weight", weight), ("bias", bias)):
        if x is not None and tuple(x.shape) != (input.shape[1],):
            raise ShapeError("group_norm", f"{label} has one number for each channel",
                             expected=f"({input.shape[1]},)", got=str(tuple(x.shape)))  # fmt: skip
    size = math.prod(input.shape[1:]) // num_groups
    groups = ops.reshape(widened(input), input.shape[0], num_groups, size)
    out = ops.reshape(_standardised(groups, (2,), eps), input.shape)
    return _rounded(_scaled(out, weight, bias), input)


def layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """The last dimensions with mean 0 and variance 1, then scaled and shifted.

        (x - mean) / sqrt(var + eps) * weight + bias

    Args:
        input: (..., *normalized_shape).
        normalized_shape: the sizes of the dimensions that mean and variance are taken over.
        weight, bias: of `normalized_shape`.
        eps: keeps the square root away from 0.

    Source: J. Ba et al.: "Layer normalization" (2016).
    """
    axes = _last("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    out = _standardised(widened(input), axes, eps)
    if weight is not None:
        out = out * weight
    return _rounded(out if bias is None else out + bias, input)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """The last dimensions divided by the root of the mean of their squares, then scaled.

        x / sqrt(mean(x**2) + eps) * weight

    Args:
        input: (..., *normalized_shape).
        normalized_shape: the sizes of the dimensions that the mean is taken over.
        weight: of `normalized_shape`.
        eps: keeps the square root away from 0; by default the distance from 1 to the next number.

    Source: B. Zhang, R. Sennrich: "Root mean square layer normalization" (NeurIPS 2019).
    """
    axes = _last("rms_norm", input, normalized_shape, weight=weight)
    least = finfo(input.dtype).eps if eps is None else eps
    wide = widened(input)
    out = wide * ops.rsqrt(mean_square(wide, axes=axes) + least)
    return _rounded(out if weight is None else out * weight, input)


def _last(
    name: str, input: Tensor, normalized_shape: Sequence[int], **parameters: Tensor | None
) -> tuple[int, ...]:
    """The last dimensions, checked to be those of `normalized_shape`."""
    check_floats(name, input)
    shape = tuple(normalized_shape)
    count = len(shape)
    if not count or tuple(input.shape[-count:]) != shape:
        raise ShapeError(name, "the last sizes of the input are not normalized_shape",
                         expected=f"(..., {', '.join(map(str, shape))})",
                         got=str(tuple(input.shape)))  # fmt: skip
    for label, x in parameters.items():
        if x is not None and tuple(x.shape) != shape:
            raise ShapeError(name, f"{label} has the shape of normalized_shape", expected=str(shape),
                             got=str(tuple(x.shape)))  # fmt: skip
    return tuple(range(-count, 0))


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Each channel divided by what its neighbours have: ``x / (k + alpha * mean of squares) ** beta``.

    Args:
        input: (N, C, ...).
        size: how many channels beside each other are looked at; those beyond the ends are 0.
        alpha, beta, k: see the formula.

    Source: A. Krizhevsky et al.: "ImageNet classification with deep convolutional neural networks" (2012).
    """
    if input.ndim < 3:
        raise ShapeError("local_response_norm", "expected channels of several values",
                         expected="(N, C, L, ...)", got=str(tuple(input.shape)))  # fmt: skip
    refuse_bools("local_response_norm", input)
    if not input.numel():
        return input
    channels = input.shape[1]
    before, after = size // 2, (size - 1) // 2
    squares = ops.constant_pad_nd(input * input, [0, 0] * (input.ndim - 2) + [before, after])
    total = ops.narrow(squares, 1, 0, channels)
    for start in range(1, size):
        total = total + ops.narrow(squares, 1, start, channels)
    mean = total / size if input.dtype.is_inexact else total // size  # integers stay integers, as in PyTorch
    return input / ops.pow(mean * alpha + k, beta)
