"""Activations as layers: each calls the function of the same name in `functional`, which says what it is."""

from __future__ import annotations

from typing import Any

from lampion.errors import OptionError, ShapeError
from lampion.nn import functional as F
from lampion.nn import init
from lampion.nn.functional.activation import check_gelu
from lampion.nn.module import Module
from lampion.nn.parameter import Parameter, new_parameter
from lampion.tensor import Tensor, check_device


class _Activation(Module):
    """What activations share: how they print their options, and `inplace`."""

    #: The options that are printed, in PyTorch's order.
    shown: tuple[str, ...] = ()
    inplace: bool = False

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        if inplace:
            self.inplace = True

    def extra_repr(self) -> str:
        options = [f"{name}={getattr(self, name)}" for name in self.shown]
        return ", ".join([*options, "inplace=True"] if self.inplace else options)


class ReLU(_Activation):
    """max(x, 0); see `functional.relu`.

    >>> import lampion
    >>> lampion.nn.ReLU()(lampion.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)


class LeakyReLU(_Activation):
    """x where x > 0, negative_slope * x elsewhere; see `functional.leaky_relu`."""

    shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class PReLU(_Activation):
    """A leaky ReLU with learned slopes, one for all channels or one for each; see `functional.prelu`."""

    shown = ("num_parameters",)
    weight: Parameter

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        check_device("PReLU", device)
        self.num_parameters = num_parameters
        self.init = init
        self.weight = new_parameter(num_parameters, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All slopes as they were at first."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)


class RReLU(_Activation):
    """A leaky ReLU whose slopes are drawn in training; see `functional.rrelu`."""

    shown = ("lower", "upper")

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.lower = lower
        self.upper = upper

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Hardtanh(_Activation):
    """x, held between two numbers; see `functional.hardtanh`."""

    shown: tuple[str, ...] = ("min_val", "max_val")

    def __init__(
        self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False,
        min_value: float | None = None, max_value: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(inplace)
        self.min_val = min_val if min_value is None else min_value  # PyTorch's old names
        self.max_val = max_val if max_value is None else max_value
        if not self.min_val < self.max_val:
            raise OptionError("Hardtanh", "min_val is below max_val", got=f"{self.min_val}, {self.max_val}")

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class ReLU6(Hardtanh):
    """x, held between 0 and 6; see `functional.relu6`."""

    shown = ()

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(input, self.inplace)


class Threshold(_Activation):
    """x where it is above a threshold, a value elsewhere; see `functional.threshold`."""

    shown = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold = threshold
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)


class Hardsigmoid(_Activation):
    """(x + 3) / 6, held between 0 and 1; see `functional.hardsigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)


class Hardswish(_Activation):
    """x * hardsigmoid(x); see `functional.hardswish`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)


class Hardshrink(_Activation):
    """x outside of [-lambd, lambd], 0 inside; see `functional.hardshrink`."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softshrink(Hardshrink):
    """x, moved towards 0 by lambd; see `functional.softshrink`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)


class ELU(_Activation):
    """x where x > 0, alpha * (e**x - 1) elsewhere; see `functional.elu`."""

    shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)


class CELU(ELU):
    """x where x > 0, alpha * (e**(x / alpha) - 1) elsewhere; see `functional.celu`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


class SELU(_Activation):
    """An ELU after which signals keep mean 0 and variance 1; see `functional.selu`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)


class SiLU(_Activation):
    """x * sigmoid(x), also called swish; see `functional.silu`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)


class Mish(_Activation):
    """x * tanh(softplus(x)); see `functional.mish`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)


class GELU(_Activation):
    """x times the normal distribution function of x; see `functional.gelu`."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        check_gelu(approximate)
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(_Activation):
    """log(1 + e**(beta * x)) / beta; see `functional.softplus`."""

    shown = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class Sigmoid(Module):
    """1 / (1 + e**-x)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class LogSigmoid(Module):
    """The logarithm of the sigmoid of x; see `functional.logsigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softsign(Module):
    """x / (1 + |x|)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class GLU(_Activation):
    """The first half of x along `dim`, times the sigmoid of the second; see `functional.glu`."""

    shown = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)


class Softmax(Module):
    """Probabilities along `dim`: e**x, divided by its sum.

    >>> import lampion
    >>> lampion.nn.Softmax(dim=0)(lampion.tensor([0.0, 0.0]))
    tensor([0.5000, 0.5000])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(Softmax):
    """Probabilities along `dim`, the largest for the smallest x; see `functional.softmin`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim)


class LogSoftmax(Softmax):
    """The logarithms of the probabilities that `Softmax` gives."""

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)


class Softmax2d(Module):
    """Probabilities over the channels of images, at each place: (N, C, H, W) or (C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ShapeError("Softmax2d", "expected images", expected="(N, C, H, W) or (C, H, W)",
                             got=str(tuple(input.shape)))  # fmt: skip
        return F.softmax(input, -3)
