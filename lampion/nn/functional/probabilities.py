"""Softmax and its kin: probabilities from scores."""

from __future__ import annotations

import warnings
from typing import Any

from lampion import ops
from lampion.nn.functional.checks import check_floats
from lampion.tensor import Tensor


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Probabilities along `dim`: ``exp(x) / sum(exp(x))``.

    The largest x is subtracted first: the quotient is the same, and exp cannot overflow.

    Args:
        input: the scores.
        dim: the dimension along which the probabilities add up to 1. Without it, PyTorch's old guess is
            made, with a warning.
        dtype: the type to convert the input to, before anything is computed.

    Source: Deep Learning from Scratch 1, section 3.5.

    >>> import lampion
    >>> lampion.nn.functional.softmax(lampion.tensor([1000.0, 1000.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    return ops.softmax(input, _guessed("softmax", input) if dim is None else dim, dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """``softmax(-input)``: the smallest score gets the largest probability."""
    return ops.softmax(-input, _guessed("softmin", input) if dim is None else dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """``log(softmax(x))``, without forming the quotient: ``x - log(sum(exp(x)))``.

    >>> import lampion
    >>> lampion.nn.functional.log_softmax(lampion.tensor([0.0, -1000.0]), dim=0)
    tensor([    0., -1000.])
    """
    return ops.log_softmax(input, _guessed("log_softmax", input) if dim is None else dim, dtype)


def _guessed(name: str, input: Tensor) -> int:
    warnings.warn(
        f"{name}: without `dim` the dimension is guessed from the shape; say which one is meant",
        UserWarning, stacklevel=3,
    )  # fmt: skip
    return 0 if input.ndim in (0, 1, 3) else 1


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Draw from the categorical distribution of the logits, in a way that has a gradient.

        softmax((logits + gumbel noise) / tau)

    Args:
        logits: unnormalised logarithms of probabilities.
        tau: the temperature: the lower, the nearer to one-hot.
        hard: return one-hot vectors, with the gradient of the soft ones.
        eps: ignored, as in PyTorch.
        dim: the dimension of the categories.

    Source: E. Jang et al.: "Categorical reparameterization with Gumbel-softmax" (ICLR 2017).
    """
    check_floats("gumbel_softmax", logits)
    exponential = -ops.log(1.0 - ops.rand_like(logits))
    noise = -ops.log(ops.clamp_min(exponential, 2.0**-54))  # never infinite: rand_like may give 0
    soft = ops.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = ops.argmax(soft, dim, True)
    chosen = ops.scatter(ops.zeros_like(logits), dim, index, value=1.0)
    return chosen - soft.detach() + soft
