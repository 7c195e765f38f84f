"""Activations: functions of each element, but for `glu`, which halves a dimension.

Those that PyTorch can do in place take `inplace`; the result is then written into the input, and returned.
"""

from __future__ import annotations

import math

from lampion import ops
from lampion.amp.policy import by_policy
from lampion.errors import OptionError, ShapeError
from lampion.nn.functional.checks import check_floats, overwriting, rounded_once
from lampion.ops.composite import softplus as _softplus
from lampion.ops.define import refuse_bools
from lampion.ops.shapes import normalize_dim
from lampion.tensor import Tensor


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0); `inplace` overwrites the input."""
    return input.relu_() if inplace else ops.relu(input)


def relu_(input: Tensor) -> Tensor:
    """`relu`, in place."""
    return relu(input, True)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return ops.tanh(input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e**-input)."""
    return ops.sigmoid(input)


# -- straight pieces -----------------------------------------------------------------------------------


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where it is positive, ``negative_slope * input`` elsewhere."""
    check_floats("leaky_relu", input)
    return overwriting(_leaky_relu, input, negative_slope, inplace=inplace)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu`, in place."""
    return leaky_relu(input, negative_slope, True)


def _leaky_relu(input: Tensor, negative_slope: float) -> Tensor:
    return ops.where(input > 0, input, input * negative_slope)


@by_policy
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where it is positive, ``weight * input`` elsewhere: a `leaky_relu` with learned slopes.

    Shape:
        input: (N, C, ...); weight: (1,), (C,) or ().

    Source: K. He et al.: "Delving deep into rectifiers" (ICCV 2015).
    """
    check_floats("prelu", input)
    if weight.numel() > 1:
        channels = input.shape[min(1, input.ndim - 1)] if input.ndim else 1
        if weight.ndim != 1 or weight.shape[0] != channels:
            raise ShapeError("prelu", "weight has one slope for all channels or one for each",
                             expected=f"(1,) or ({channels},)", got=str(tuple(weight.shape)))  # fmt: skip
        weight = weight.reshape([-1] + [1] * max(input.ndim - 2, 0))
    elif weight.ndim > input.ndim:
        weight = weight.reshape(())
    return ops.where(input > 0, input, input * weight)


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """A `leaky_relu` whose slopes are drawn, in training, from [lower, upper); else it is their middle.

    Source: B. Xu et al.: "Empirical evaluation of rectified activations in convolution network" (2015).
    """
    check_floats("rrelu", input)
    if not lower <= upper:
        raise OptionError("rrelu", "lower is above upper", got=f"{lower}, {upper}")
    if not training:
        return overwriting(_leaky_relu, input, (lower + upper) / 2, inplace=inplace)
    return overwriting(_rrelu, input, lower, upper, inplace=inplace)


def rrelu_(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Tensor:
    """`rrelu`, in place."""
    return rrelu(input, lower, upper, training, True)


def _rrelu(input: Tensor, lower: float, upper: float) -> Tensor:
    slopes = ops.rand_like(input) * (upper - lower) + lower
    return ops.where(input <= 0, input * slopes, input)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """input, held between `min_val` and `max_val`. From the two on outwards the slope is 0."""
    if min_val > max_val:
        raise OptionError("hardtanh", "min_val is above max_val", got=f"{min_val}, {max_val}")
    return overwriting(_hardtanh, input, min_val, max_val, inplace=inplace)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh`, in place."""
    return hardtanh(input, min_val, max_val, True)


def _hardtanh(input: Tensor, min_val: float, max_val: float) -> Tensor:
    refuse_bools("hardtanh", input)
    if not input.dtype.is_floating_point:
        low, high = int(min_val), int(max_val)
        if low < 0 and input.dtype.kind == "u":
            raise OptionError("hardtanh", "unsigned numbers have no negative minimum", got=str(min_val))
        return ops.where(input <= low, low, ops.where(input >= high, high, input)).to(input.dtype)
    return ops.where(input <= min_val, min_val, ops.where(input >= max_val, max_val, input))


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """input, held between 0 and 6."""
    return overwriting(_hardtanh, input, 0.0, 6.0, inplace=inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """input where it is above `threshold`, `value` elsewhere."""
    return overwriting(_threshold, input, threshold, value, inplace=inplace)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold`, in place."""
    return overwriting(_threshold, input, threshold, value, inplace=True)


def _threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    refuse_bools("threshold", input)
    if not input.dtype.is_floating_point:
        threshold, value = int(threshold), int(value)
    return ops.where(input <= threshold, value, input).to(input.dtype)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """(input + 3) / 6, held between 0 and 1: straight pieces in place of the sigmoid.

    Source: A. Howard et al.: "Searching for MobileNetV3" (ICCV 2019).
    """
    check_floats("hardsigmoid", input)
    return overwriting(_hardsigmoid, input, inplace=inplace)


def _hardsigmoid(input: Tensor) -> Tensor:
    return _hardtanh(input + 3.0, 0.0, 6.0) / 6.0


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input * hardsigmoid(input)``.

    Source: A. Howard et al.: "Searching for MobileNetV3" (ICCV 2019).
    """
    check_floats("hardswish", input)
    return overwriting(_hardswish, input, inplace=inplace)


@rounded_once
def _hardswish(input: Tensor) -> Tensor:
    below, above = input <= -3.0, input >= 3.0
    inside = ops.where(ops.logical_or(below, above), 0.0, input)  # the square of infinity has no slope
    return ops.where(below, input * 0.0, ops.where(above, input, inside * (inside + 3.0) / 6.0))


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input where it is outside of [-lambd, lambd], 0 inside."""
    check_floats("hardshrink", input)
    inside = ops.logical_and(input >= -lambd, input <= lambd)
    return ops.where(inside, 0.0, input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input, moved by `lambd` towards 0, and 0 where it was no further away than that."""
    check_floats("softshrink", input)
    if lambd < 0:
        raise OptionError("softshrink", "lambd is not negative", got=str(lambd))
    below = ops.where(input < -lambd, input + lambd, input * 0.0)
    return ops.where(input > lambd, input - lambd, below)


# -- smooth ones -----------------------------------------------------------------------------------------


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where it is positive, ``alpha * (e**input - 1)`` elsewhere.

    Source: D. Clevert et al.: "Fast and accurate deep network learning by exponential linear units" (2016).
    """
    check_floats("elu", input)
    return overwriting(_elu, input, alpha, inplace=inplace)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu`, in place."""
    return elu(input, alpha, True)


@rounded_once
def _elu(input: Tensor, alpha: float, divisor: float = 1.0) -> Tensor:
    above = input > 0
    low = ops.where(above, 0.0, input)  # where the exponential is not wanted, it must not overflow
    return ops.where(above, input, ops.expm1(low if divisor == 1.0 else low / divisor) * alpha)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where it is positive, ``alpha * (e**(input / alpha) - 1)`` elsewhere: an `elu` without a kink.

    Source: J. Barron: "Continuously differentiable exponential linear units" (2017).
    """
    check_floats("celu", input)
    if alpha == 0:
        raise OptionError("celu", "alpha divides, and is not 0", got=str(alpha))
    return overwriting(_elu, input, alpha, alpha, inplace=inplace)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu`, in place."""
    return celu(input, alpha, True)


#: With these, layers of independent inputs keep mean 0 and variance 1.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """An `elu` of fixed alpha and scale, after which signals keep mean 0 and variance 1.

    Source: G. Klambauer et al.: "Self-normalizing neural networks" (NeurIPS 2017).
    """
    check_floats("selu", input)
    return overwriting(_selu, input, inplace=inplace)


def selu_(input: Tensor) -> Tensor:
    """`selu`, in place."""
    return selu(input, True)


@rounded_once
def _selu(input: Tensor) -> Tensor:
    return _elu(input, SELU_ALPHA) * SELU_SCALE


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input * sigmoid(input)``, also called swish."""
    check_floats("silu", input)
    return overwriting(_silu, input, inplace=inplace)


@rounded_once
def _silu(input: Tensor) -> Tensor:
    return input * ops.sigmoid(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input * tanh(softplus(input))``.

    Source: D. Misra: "Mish: a self regularized non-monotonic activation function" (BMVC 2020).
    """
    check_floats("mish", input)
    return overwriting(_mish, input, inplace=inplace)


@rounded_once
def _mish(input: Tensor) -> Tensor:
    return input * ops.tanh(_softplus(input))


@rounded_once
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x.

        x * (1 + erf(x / sqrt(2))) / 2

    With ``approximate="tanh"``, something that differs from it by less than 0.0005:

        x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2

    Source: D. Hendrycks, K. Gimpel: "Gaussian error linear units" (2016).

    >>> import lampion
    >>> lampion.nn.functional.gelu(lampion.tensor([-1.0, 1.0]))
    tensor([-0.1587,  0.8413])
    """
    check_gelu(approximate)
    check_floats("gelu", input)
    if approximate == "none":
        return 0.5 * input * (1.0 + ops.erf(input * math.sqrt(0.5)))
    inner = math.sqrt(2.0 / math.pi) * (input + 0.044715 * input * input * input)
    return 0.5 * input * (1.0 + ops.tanh(inner))


def check_gelu(approximate: str) -> None:
    """Refuse forms that do not exist."""
    if approximate not in ("none", "tanh"):
        raise OptionError("gelu", "the approximation is not known", expected='"none" or "tanh"',
                          got=f"approximate={approximate!r}")  # fmt: skip


@rounded_once
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + e**(beta * input)) / beta``, a smooth `relu`.

    Where ``beta * input`` is above `threshold` it is the input itself.

    >>> import lampion
    >>> lampion.nn.functional.softplus(lampion.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000e+00, 6.9315e-01, 1.0000e+03])
    """
    check_floats("softplus", input)
    if beta == 1.0:
        return ops.where(input > threshold, input, _softplus(input))
    scaled = input * beta
    return ops.where(scaled > threshold, input, _softplus(scaled) / beta)


@rounded_once
def logsigmoid(input: Tensor) -> Tensor:
    """``log(sigmoid(input))``, without overflow."""
    check_floats("logsigmoid", input)
    out: Tensor = -_softplus(-input)
    return out


@rounded_once
def softsign(input: Tensor) -> Tensor:
    """``input / (1 + |input|)``."""
    return input / (ops.abs(input) + 1.0)


@rounded_once
def tanhshrink(input: Tensor) -> Tensor:
    """``input - tanh(input)``."""
    return input - ops.tanh(input)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim`, times the sigmoid of the second half.

    Source: Y. Dauphin et al.: "Language modeling with gated convolutional networks" (ICML 2017).
    """
    check_floats("glu", input)
    if not input.ndim:
        raise ShapeError("glu", "there is no dimension to halve", got="()")
    axis = normalize_dim("glu", dim, input.ndim)
    half, odd = divmod(input.shape[axis], 2)
    if odd:
        raise ShapeError("glu", "the dimension cannot be halved", expected="an even size",
                         got=f"{tuple(input.shape)}, dim {dim}")  # fmt: skip
    return ops.narrow(input, axis, 0, half) * ops.sigmoid(ops.narrow(input, axis, half, half))
