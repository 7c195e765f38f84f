"""Distributions of numbers that are made of uniform and normal ones."""

from __future__ import annotations

import math

from lampion import dtype as dtypes
from lampion import ops
from lampion.distributions.distribution import LOG_ROOT_TAU, Distribution
from lampion.tensor import Tensor

_Number = Tensor | float


class Normal(Distribution):
    """The normal distribution, of the density ``e**(-z**2 / 2) / (scale sqrt(2 pi))``, z = (x - loc) / scale.

    >>> import lampion
    >>> lampion.distributions.Normal(1.0, 2.0).variance
    tensor(4.)
    """

    has_rsample = True
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: _Number, scale: _Number, validate_args: bool | None = None) -> None:
        super().__init__(validate_args, loc=loc, scale=scale)
        self._positive("scale")

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.scale * self.scale

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        return self.loc + ops.randn(shape, dtype=self.loc.dtype) * self.scale

    def _log_prob(self, value: Tensor) -> Tensor:
        z = (value - self.loc) / self.scale
        return z * z * -0.5 - ops.log(self.scale) - LOG_ROOT_TAU

    def entropy(self) -> Tensor:
        return ops.log(self.scale) + (0.5 + LOG_ROOT_TAU)

    def cdf(self, value: Tensor) -> Tensor:
        """How probable a number up to this one is."""
        return (ops.erf((value - self.loc) / (self.scale * math.sqrt(2))) + 1) * 0.5

    def icdf(self, value: Tensor) -> Tensor:
        """The number below which a share of the distribution lies: the inverse of `cdf`."""
        return self.loc + self.scale * ops.erfinv(value * 2 - 1) * math.sqrt(2)


class LogNormal(Distribution):
    """The distribution of numbers whose logarithms are normal, with mean `loc` and deviation `scale`."""

    has_rsample = True
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: _Number, scale: _Number, validate_args: bool | None = None) -> None:
        super().__init__(validate_args, loc=loc, scale=scale)
        self._positive("scale")
        self._logarithm = Normal(self.loc, self.scale, False)

    @property
    def mean(self) -> Tensor:
        return ops.exp(self.loc + self.scale * self.scale * 0.5)

    @property
    def variance(self) -> Tensor:
        square = self.scale * self.scale
        return ops.expm1(square) * ops.exp(self.loc * 2 + square)

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        return ops.exp(self._logarithm._draw(shape))

    def _supports(self, value: Tensor) -> Tensor:
        return value > 0

    def _log_prob(self, value: Tensor) -> Tensor:
        logarithm = ops.log(value)
        return self._logarithm._log_prob(logarithm) - logarithm

    def entropy(self) -> Tensor:
        return self._logarithm.entropy() + self.loc


class Uniform(Distribution):
    """Every number of [low, high) alike."""

    has_rsample = True
    low: Tensor
    high: Tensor

    def __init__(self, low: _Number, high: _Number, validate_args: bool | None = None) -> None:
        super().__init__(validate_args, low=low, high=high)
        self._check("high", self.low < self.high, "expected low < high")

    @property
    def mean(self) -> Tensor:
        return (self.low + self.high) * 0.5

    @property
    def variance(self) -> Tensor:
        width = self.high - self.low
        return width * width / 12

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        return self.low + ops.rand(shape, dtype=self.low.dtype) * (self.high - self.low)

    def _supports(self, value: Tensor) -> Tensor:
        return (value >= self.low) & (value <= self.high)

    def _log_prob(self, value: Tensor) -> Tensor:
        inside = (value >= self.low) & (value < self.high)
        return ops.where(inside, -self.entropy(), -math.inf)

    def entropy(self) -> Tensor:
        return ops.log(self.high - self.low)

    def cdf(self, value: Tensor) -> Tensor:
        """How probable a number up to this one is."""
        return ops.clamp((value - self.low) / (self.high - self.low), 0, 1)

    def icdf(self, value: Tensor) -> Tensor:
        """The number below which a share of the distribution lies: the inverse of `cdf`."""
        return self.low + value * (self.high - self.low)


def _positive_uniform(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Uniform numbers of (0, 1): a logarithm may follow."""
    return ops.clamp_min(ops.rand(shape, dtype=like.dtype), float(dtypes.finfo(like.dtype).tiny))


class Exponential(Distribution):
    """Waiting times, of the density ``rate e**(-rate x)`` for x >= 0."""

    has_rsample = True
    rate: Tensor

    def __init__(self, rate: _Number, validate_args: bool | None = None) -> None:
        super().__init__(validate_args, rate=rate)
        self._positive("rate")

    @property
    def mean(self) -> Tensor:
        return ops.reciprocal(self.rate)

    @property
    def variance(self) -> Tensor:
        return ops.reciprocal(self.rate * self.rate)

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        return -ops.log(_positive_uniform(shape, self.rate)) / self.rate

    def _supports(self, value: Tensor) -> Tensor:
        return value >= 0

    def _log_prob(self, value: Tensor) -> Tensor:
        return ops.log(self.rate) - self.rate * value

    def entropy(self) -> Tensor:
        return 1 - ops.log(self.rate)

    def cdf(self, value: Tensor) -> Tensor:
        """How probable a number up to this one is."""
        return -ops.expm1(-self.rate * value)

    def icdf(self, value: Tensor) -> Tensor:
        """The number below which a share of the distribution lies: the inverse of `cdf`."""
        return -ops.log1p(-value) / self.rate


class Laplace(Distribution):
    """Two exponential distributions back to back, of the density ``e**(-|x - loc| / scale) / (2 scale)``."""

    has_rsample = True
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: _Number, scale: _Number, validate_args: bool | None = None) -> None:
        super().__init__(validate_args, loc=loc, scale=scale)
        self._positive("scale")

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.scale * self.scale * 2

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        size = -ops.log(_positive_uniform(shape, self.loc))
        sign = ops.where(ops.rand(shape) < 0.5, -1.0, 1.0).to(self.loc.dtype)
        return self.loc + self.scale * (size * sign)

    def _log_prob(self, value: Tensor) -> Tensor:
        return -ops.log(self.scale * 2) - ops.abs(value - self.loc) / self.scale

    def entropy(self) -> Tensor:
        return ops.log(self.scale * 2) + 1

    def cdf(self, value: Tensor) -> Tensor:
        """How probable a number up to this one is."""
        apart = value - self.loc
        return 0.5 - ops.sign(apart) * ops.expm1(-ops.abs(apart) / self.scale) * 0.5

    def icdf(self, value: Tensor) -> Tensor:
        """The number below which a share of the distribution lies: the inverse of `cdf`."""
        apart = value - 0.5
        return self.loc - self.scale * ops.sign(apart) * ops.log1p(ops.abs(apart) * -2)
