"""Dropout: zeros at random, in training. Eager and compiled code draw the same ones."""

from __future__ import annotations

import warnings

from lampion import ops
from lampion.errors import ShapeError
from lampion.nn.functional.activation import SELU_ALPHA, SELU_SCALE
from lampion.nn.functional.checks import check_floats, check_probability, overwriting
from lampion.ops.random import bernoulli_mask
from lampion.ops.random import dropout as _dropout
from lampion.tensor import Tensor


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability `p`, and scale the others by 1 / (1 - p); see `nn.Dropout`."""
    check_probability("dropout", p)
    if inplace and training:
        return overwriting(_dropout, input, p, inplace=True)
    out: Tensor = _dropout(input, p, training)
    return out


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels with probability `p`, and scale the others by 1 / (1 - p).

    Shape:
        input: (N, C, L) or (C, L).
    """
    if input.ndim not in (2, 3):
        raise ShapeError("dropout1d", "expected channels of a sequence", expected="(N, C, L) or (C, L)",
                         got=str(tuple(input.shape)))  # fmt: skip
    return _channels("dropout1d", input, p, training, inplace, batched=input.ndim == 3)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels with probability `p`, and scale the others by 1 / (1 - p).

    Shape:
        input: (N, C, H, W). Three dimensions are taken as (N, C, L), with a warning, as in PyTorch.
    """
    if input.ndim != 4:
        warnings.warn(
            f"dropout2d: expected (N, C, H, W), got {tuple(input.shape)}, whose second dimension is taken "
            "for the channels; dropout1d is for (N, C, L)",
            UserWarning, stacklevel=2,
        )  # fmt: skip
    return _channels("dropout2d", input, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels with probability `p`, and scale the others by 1 / (1 - p).

    Shape:
        input: (N, C, D, H, W) or (C, D, H, W).
    """
    if input.ndim not in (4, 5):
        warnings.warn(
            f"dropout3d: expected (N, C, D, H, W) or (C, D, H, W), got {tuple(input.shape)}, whose second "
            "dimension is taken for the channels",
            UserWarning, stacklevel=2,
        )  # fmt: skip
    return _channels("dropout3d", input, p, training, inplace, batched=input.ndim != 4)


def _channels(
    name: str, input: Tensor, p: float, training: bool, inplace: bool, batched: bool = True
) -> Tensor:
    check_probability(name, p)
    if not training or p == 0.0:
        return input
    return overwriting(_drop_channels, input, p, batched, inplace=inplace)


def _drop_channels(input: Tensor, p: float, batched: bool) -> Tensor:
    if p == 1.0:
        return input * 0.0
    return ops.where(_kept(input, p, batched), input * (1.0 / (1.0 - p)), 0.0)


def _kept(input: Tensor, p: float, batched: bool = True) -> Tensor:
    """A draw for each channel."""
    count = 2 if batched else 1
    if input.ndim < count:
        raise ShapeError("dropout", "there is no dimension of channels", expected="(N, C, ...)",
                         got=str(tuple(input.shape)))  # fmt: skip
    kept: Tensor = bernoulli_mask((*input.shape[:count], *[1] * (input.ndim - count)), 1.0 - p)
    return kept


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout for `selu`: what is dropped becomes selu's lowest value, and mean and variance stay.

    Source: G. Klambauer et al.: "Self-normalizing neural networks" (NeurIPS 2017).
    """
    check_probability("alpha_dropout", p)
    if not training or p == 0.0:
        return input
    check_floats("alpha_dropout", input)
    return overwriting(_alpha_dropout, input, p, False, inplace=inplace)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`alpha_dropout` of whole channels: (N, C, ...)."""
    check_probability("feature_alpha_dropout", p)
    if not training or p == 0.0:
        return input
    check_floats("feature_alpha_dropout", input)
    return overwriting(_alpha_dropout, input, p, True, inplace=inplace)


def _alpha_dropout(input: Tensor, p: float, channels: bool) -> Tensor:
    if p == 1.0:
        return input * 0.0
    lowest = -SELU_ALPHA * SELU_SCALE
    scale = ((1.0 - p) * (1.0 + p * lowest**2)) ** -0.5
    kept = _kept(input, p) if channels else bernoulli_mask(input.shape, 1.0 - p)
    out: Tensor = ops.where(kept, input * scale, lowest * scale) - scale * lowest * p
    return out
