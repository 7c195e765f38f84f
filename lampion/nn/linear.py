"""Linear layers, and the two that only pass on: Identity and Flatten."""

from __future__ import annotations

import math
from typing import Any

from lampion.errors import LampionError
from lampion.nn import functional as F
from lampion.nn import init
from lampion.nn.module import Module
from lampion.nn.parameter import Parameter, new_parameter
from lampion.ops import flatten
from lampion.tensor import Tensor, check_device


class Linear(Module):
    """An affine map of the last dimension.

        y = x @ weight.T + bias

    Args:
        in_features: the size of the last dimension of x.
        out_features: the size of the last dimension of y.
        bias: whether there is one.

    Shape:
        x: (..., in_features); y: (..., out_features); weight: (out_features, in_features).

    Both start uniform in [-1/sqrt(in_features), 1/sqrt(in_features)], as in PyTorch.

    >>> import lampion
    >>> layer = lampion.nn.Linear(3, 2)
    >>> layer(lampion.ones(5, 3)).shape
    (5, 2)
    """

    bias: Parameter | None
    weight: Parameter

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        check_device("Linear", device)
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if not isinstance(size, int) or size < 0:
                raise LampionError(
                    "Linear", f"{name} is not a size", expected="an integer from 0 on", got=repr(size)
                )
        self.in_features = in_features
        self.out_features = out_features
        self.weight = new_parameter(out_features, in_features, dtype=dtype)
        if bias:
            self.bias = new_parameter(out_features, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new random weights."""
        # With the slope sqrt(5), the bound of kaiming_uniform_ is 1 / sqrt(in_features): PyTorch's choice.
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(max(self.in_features, 1))
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class Identity(Module):
    """Its argument, unchanged. Takes (and ignores) any arguments, so that it can stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """The dimensions from `start_dim` to `end_dim` as one; by default, all but the batch.

    >>> import lampion
    >>> lampion.nn.Flatten()(lampion.ones(5, 8, 8)).shape
    (5, 64)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Tensor) -> Tensor:
        return flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
