"""First values of parameters. Each function overwrites a tensor, without recording, and returns it."""

from __future__ import annotations

import math
from typing import Any

from lampion import ops
from lampion.dtype import float64
from lampion.errors import LampionError, ShapeError
from lampion.mode import no_grad
from lampion.ops import rand, randn
from lampion.tensor import Tensor

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_",
    "ones_", "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_",
    "zeros_",
]  # fmt: skip


def _overwrite(tensor: Tensor, values: Any) -> Tensor:
    with no_grad():
        tensor.copy_(values)
    return tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform numbers in [a, b)."""
    return _overwrite(tensor, rand(*tensor.shape, generator=generator, dtype=tensor.dtype) * (b - a) + a)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal numbers with this mean and standard deviation."""
    return _overwrite(tensor, randn(*tensor.shape, generator=generator, dtype=tensor.dtype) * std + mean)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """The same number everywhere."""
    return _overwrite(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """0 everywhere."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """1 everywhere."""
    return constant_(tensor, 1.0)


_GAINS = {
    "linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75,
    "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0,
    "conv_transpose1d": 1.0, "conv_transpose2d": 1.0, "conv_transpose3d": 1.0,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which to scale weights so that signals keep their size through a nonlinearity.

    Args:
        nonlinearity: the name of the function that follows, such as ``"relu"``.
        param: the slope of ``"leaky_relu"`` (0.01 unless given).

    >>> from lampion.nn import init
    >>> init.calculate_gain("tanh")
    1.6666666666666667
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1.0 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise LampionError("calculate_gain", f"there is no gain for {nonlinearity!r}",
                           expected=", ".join([*_GAINS, "leaky_relu"]))  # fmt: skip
    return _GAINS[nonlinearity]


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    """How many inputs an output of the layer has, and how many outputs an input."""
    if tensor.ndim < 2:
        raise ShapeError(name, "fan in and fan out need a weight of at least two dimensions",
                         expected="(outputs, inputs, ...)", got=str(tuple(tensor.shape)),
                         fix="initialise biases with zeros_ or uniform_")  # fmt: skip
    receptive = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive, tensor.shape[0] * receptive


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [-a, a] with a = gain * sqrt(6 / (fan_in + fan_out)): for tanh and sigmoid.

    Source: X. Glorot, Y. Bengio (AISTATS 2010); Deep Learning from Scratch 1, section 6.2.2.
    """
    fan_in, fan_out = _fans("xavier_uniform_", tensor)
    bound = gain * math.sqrt(6.0 / max(fan_in + fan_out, 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out))."""
    fan_in, fan_out = _fans("xavier_normal_", tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / max(fan_in + fan_out, 1)), generator)


def _kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan_in, fan_out = _fans(name, tensor)
    if mode not in ("fan_in", "fan_out"):
        raise LampionError(name, "the mode is not known", expected='"fan_in" or "fan_out"', got=repr(mode))
    # A weight without elements has a fan of 0, and nothing to fill.
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan_in if mode == "fan_in" else fan_out, 1))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform in [-b, b] with b = gain * sqrt(3 / fan): for ReLU and its kin.

    Args:
        tensor: the weight.
        a: the slope of leaky ReLU below 0.
        mode: ``"fan_in"`` keeps the size of the signal forward, ``"fan_out"`` that of the gradient backward.
        nonlinearity: what follows the layer; gives the gain.
        generator: where the random numbers come from, if not from the default generator.

    Source: K. He et al. (ICCV 2015); Deep Learning from Scratch 1, section 6.2.3.
    """
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan); the arguments are those of `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
    generator: Any = None,
) -> Tensor:  # fmt: skip
    """Normal numbers of which those outside of [a, b] are drawn again.

    A uniform number is taken for the share of the distribution below the result, so that one draw is enough.
    """
    if not a < b or std <= 0:
        raise LampionError("trunc_normal_", "the interval is empty, or std not positive",
                           got=f"a={a}, b={b}, std={std}")  # fmt: skip
    low, high = (math.erf((x - mean) / (std * math.sqrt(2.0))) for x in (a, b))
    share = rand(*tensor.shape, generator=generator, dtype=float64) * (high - low) + low
    values = ops.erfinv(share) * (std * math.sqrt(2.0)) + mean
    return _overwrite(tensor, ops.clamp(values, a, b))


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """A random matrix whose rows (or columns, if they are fewer) are orthogonal and have length `gain`.

    Further dimensions are taken together with the second.

    Source: A. Saxe et al.: "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks" (ICLR 2014).
    """
    if tensor.ndim < 2:
        raise ShapeError("orthogonal_", "expected a matrix", expected="at least two dimensions",
                         got=str(tuple(tensor.shape)))  # fmt: skip
    if not tensor.numel():
        return tensor
    from lampion.linalg import qr

    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    with no_grad():
        tall = (max(rows, columns), min(rows, columns))
        q, r = qr(randn(*tall, generator=generator, dtype=tensor.dtype))
        q = q * ops.sign(ops.diagonal(r))  # so that all orthogonal matrices are equally likely
        if rows < columns:
            q = q.T
    return _overwrite(tensor, ops.reshape(q, tensor.shape) * gain)


def eye_(tensor: Tensor) -> Tensor:
    """1 on the diagonal of a matrix, 0 elsewhere."""
    if tensor.ndim != 2:
        raise ShapeError("eye_", "expected a matrix", got=str(tuple(tensor.shape)))
    rows, columns = tensor.shape
    return _overwrite(tensor, ops.unsqueeze(ops.arange(rows), 1) == ops.arange(columns))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The weight of a convolution that passes its channels on, as many as fit.

    Args:
        tensor: (outputs, inputs / groups, ...), of one to three dimensions of places.
        groups: how many groups of channels there are.
    """
    if not 3 <= tensor.ndim <= 5 or tensor.shape[0] % groups:
        raise ShapeError("dirac_", "expected the weight of a convolution",
                         expected=f"(outputs, inputs, ...), 3 to 5 sizes, outputs a multiple of {groups}",
                         got=str(tuple(tensor.shape)))  # fmt: skip
    size = tensor.shape[0] // groups
    middle = tuple(n // 2 for n in tensor.shape[2:])
    with no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(size, tensor.shape[1])):
                tensor[(group * size + channel, channel, *middle)] = 1.0
    return tensor


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal numbers, of which a share of each column is 0.

    Source: J. Martens: "Deep learning via Hessian-free optimization" (ICML 2010).
    """
    if tensor.ndim != 2:
        raise ShapeError("sparse_", "expected a matrix", got=str(tuple(tensor.shape)))
    rows, columns = tensor.shape
    normal_(tensor, 0.0, std, generator)
    order = ops.argsort(rand(rows, columns, generator=generator), 0)
    empty = ops.narrow(order, 0, 0, math.ceil(sparsity * rows))
    with no_grad():
        return _overwrite(tensor, ops.scatter(tensor, 0, empty, value=0.0))
