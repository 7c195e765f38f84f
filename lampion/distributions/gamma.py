"""The gamma distribution, and those that are made of it."""

from __future__ import annotations

from lampion import dtype as dtypes
from lampion import ops
from lampion.distributions.distribution import Distribution
from lampion.ops.samplers import standard_gamma
from lampion.tensor import Tensor

_Number = Tensor | float


def _gamma(concentration: Tensor, shape: tuple[int, ...]) -> Tensor:
    return standard_gamma(concentration.expand(shape))  # type: ignore[no-any-return]  # untyped in lampion.ops


class Gamma(Distribution):
    """The gamma distribution, of the density ``x**(concentration - 1) e**(-rate x)``, up to a factor.

    >>> import lampion
    >>> lampion.distributions.Gamma(3.0, 2.0).mean
    tensor(1.5000)
    """

    has_rsample = True
    concentration: Tensor
    rate: Tensor

    def __init__(self, concentration: _Number, rate: _Number, validate_args: bool | None = None) -> None:
        super().__init__(validate_args, concentration=concentration, rate=rate)
        self._positive("concentration", "rate")

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def variance(self) -> Tensor:
        return self.concentration / (self.rate * self.rate)

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        out = _gamma(self.concentration, shape) / self.rate
        return ops.clamp_min(out, float(dtypes.finfo(out.dtype).tiny))

    def _supports(self, value: Tensor) -> Tensor:
        return value >= 0

    def _log_prob(self, value: Tensor) -> Tensor:
        a, rate = self.concentration, self.rate
        return ops.xlogy(a, rate) + ops.xlogy(a - 1, value) - rate * value - ops.lgamma(a)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - ops.log(self.rate) + ops.lgamma(a) + (1 - a) * ops.digamma(a)


class Dirichlet(Distribution):
    """Shares that add up to 1, of the density ``prod(x**(concentration - 1))``, up to a factor.

    `concentration` has one number for each share, in its last dimension.

    >>> import lampion
    >>> lampion.distributions.Dirichlet(lampion.tensor([1.0, 3.0])).mean
    tensor([0.2500, 0.7500])
    """

    has_rsample = True
    event_dims = 1
    concentration: Tensor

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        super().__init__(validate_args, concentration=concentration)
        self._positive("concentration")

    @property
    def mean(self) -> Tensor:
        return self.concentration / ops.sum(self.concentration, -1, True)

    @property
    def variance(self) -> Tensor:
        total = ops.sum(self.concentration, -1, True)
        return self.concentration * (total - self.concentration) / (total * total * (total + 1))

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        out = _gamma(self.concentration, shape)
        return out / ops.sum(out, -1, True)

    def _supports(self, value: Tensor) -> Tensor:
        return ops.all(value >= 0, -1) & (ops.abs(ops.sum(value, -1) - 1) < 1e-6)

    def _log_prob(self, value: Tensor) -> Tensor:
        a = self.concentration
        shape = ops.sum(ops.xlogy(a - 1, value), -1)
        return shape + ops.lgamma(ops.sum(a, -1)) - ops.sum(ops.lgamma(a), -1)

    def entropy(self) -> Tensor:
        a = self.concentration
        total = ops.sum(a, -1)
        factor = ops.sum(ops.lgamma(a), -1) - ops.lgamma(total)
        around = (total - a.shape[-1]) * ops.digamma(total)
        return factor + around - ops.sum((a - 1) * ops.digamma(a), -1)


class Beta(Distribution):
    """Shares between 0 and 1, of the density ``x**(concentration1 - 1) (1 - x)**(concentration0 - 1)``."""

    has_rsample = True
    concentration1: Tensor
    concentration0: Tensor

    def __init__(
        self, concentration1: _Number, concentration0: _Number, validate_args: bool | None = None
    ) -> None:
        super().__init__(validate_args, concentration1=concentration1, concentration0=concentration0)
        self._positive("concentration1", "concentration0")
        self._both = Dirichlet(ops.stack([self.concentration1, self.concentration0], -1), False)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total * total * (total + 1))

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        return self._both._draw((*shape, 2))[..., 0]

    def _supports(self, value: Tensor) -> Tensor:
        return (value >= 0) & (value <= 1)

    def _log_prob(self, value: Tensor) -> Tensor:
        return self._both._log_prob(ops.stack([value, 1 - value], -1))

    def entropy(self) -> Tensor:
        return self._both.entropy()
