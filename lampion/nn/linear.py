"""Linear layers."""

from __future__ import annotations

import math
from typing import Any

from lampion.errors import LampionError, OptionError
from lampion.nn import functional as F
from lampion.nn import init
from lampion.nn.module import Module
from lampion.nn.parameter import Parameter, new_parameter
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

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class Bilinear(Module):
    """For each output o: x1 @ weight[o] @ x2 + bias[o].

    Args:
        in1_features, in2_features, out_features: the sizes of the last dimensions.
        bias: whether there is one.

    Shape:
        x1: (..., in1_features); x2: (..., in2_features); result: (..., out_features).
    """

    bias: Parameter | None
    weight: Parameter

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device("Bilinear", device)
        if in1_features <= 0:
            raise OptionError("Bilinear", "in1_features is a positive number", got=str(in1_features))
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = new_parameter(out_features, in1_features, in2_features, dtype=dtype)
        self.register_parameter("bias", new_parameter(out_features, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new random weights, as PyTorch does: uniform in [-1, 1] / sqrt(in1_features)."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
