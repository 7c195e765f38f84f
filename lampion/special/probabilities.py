"""`softmax` and `log_softmax` with the signatures of `torch.special`."""

from __future__ import annotations

from typing import Any

from lampion.nn import functional
from lampion.tensor import Tensor


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """e**x / sum(e**x) along a dimension: see `lampion.nn.functional.softmax`."""
    return functional.softmax(input, dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The logarithm of `softmax`: see `lampion.nn.functional.log_softmax`."""
    return functional.log_softmax(input, dim, dtype=dtype)
