"""Distributions of counts and of choices."""

from __future__ import annotations

import math
from typing import Any

from lampion import dtype as dtypes
from lampion import ops
from lampion.distributions.distribution import Distribution
from lampion.errors import OptionError
from lampion.tensor import Tensor

_Number = Tensor | float


def _one_of(name: str, probs: Any, logits: Any) -> dict[str, Any]:
    if (probs is None) is (logits is None):
        raise OptionError(name, "expected either probs or logits", got="none" if probs is None else "both")
    return {"logits": logits} if probs is None else {"probs": probs}


def _inside(probs: Tensor) -> Tensor:
    """Probabilities whose logarithms are finite."""
    eps = float(dtypes.finfo(probs.dtype).eps)
    return ops.clamp(probs, eps, 1 - eps)


class Bernoulli(Distribution):
    """1 with the probability `probs`, otherwise 0; or given by its logit, ``log(p / (1 - p))``.

    >>> import lampion
    >>> lampion.distributions.Bernoulli(0.25).mean
    tensor(0.2500)
    """

    probs: Tensor
    logits: Tensor

    def __init__(
        self, probs: _Number | None = None, logits: _Number | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(validate_args, **_one_of("Bernoulli", probs, logits))
        if probs is None:
            self.probs = ops.sigmoid(self.logits)
        else:
            self._check("probs", (self.probs >= 0) & (self.probs <= 1), "expected probabilities")
            inside = _inside(self.probs)
            self.logits = ops.log(inside) - ops.log1p(-inside)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        return ops.bernoulli(self.probs.expand(shape))

    def _supports(self, value: Tensor) -> Tensor:
        return ops.eq(value, 0) | ops.eq(value, 1)

    def _log_prob(self, value: Tensor) -> Tensor:
        return value * self.logits - softplus(self.logits)

    def entropy(self) -> Tensor:
        return softplus(self.logits) - self.logits * self.probs


def softplus(x: Tensor) -> Tensor:
    """log(1 + e**x)."""
    return ops.logaddexp(x, ops.zeros_like(x))


class Categorical(Distribution):
    """One of n choices, counted from 0, with probabilities in proportion to `probs`; or by their logarithms.

    >>> import lampion
    >>> lampion.distributions.Categorical(lampion.tensor([1.0, 3.0])).probs
    tensor([0.2500, 0.7500])
    """

    event_dims = 1
    probs: Tensor
    logits: Tensor

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(validate_args, **_one_of("Categorical", probs, logits))
        self.choices = self.event_shape[0]
        self._normalize()

    def _normalize(self) -> None:
        if "probs" in self._given:
            self._check("probs", self.probs >= 0, "expected probabilities")
            self.probs = self.probs / ops.sum(self.probs, -1, True)
            self.logits = ops.log(_inside(self.probs))
        else:
            self.logits = self.logits - ops.logsumexp(self.logits, -1, True)
            self.probs = ops.softmax(self.logits, -1)

    @property
    def param_shape(self) -> tuple[int, ...]:
        """The shape of the probabilities."""
        return tuple(self.probs.shape)

    @property
    def mean(self) -> Tensor:
        return ops.full(self.batch_shape, math.nan, self.probs.dtype)

    @property
    def variance(self) -> Tensor:
        return self.mean

    @property
    def mode(self) -> Tensor:
        """The most probable choice."""
        return ops.argmax(self.probs, -1)

    def _extended(self, sample_shape: Any) -> tuple[int, ...]:
        return (*sample_shape, *self.batch_shape)  # a sample is a number

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        count = math.prod(shape[: len(shape) - len(self.batch_shape)])
        rows = self.probs.detach().reshape(-1, self.choices)
        return ops.multinomial(rows, count, True).mT.reshape(shape)

    def _supports(self, value: Tensor) -> Tensor:
        return (value >= 0) & (value < self.choices) & ops.eq(value, ops.floor(value))

    def _log_prob(self, value: Tensor) -> Tensor:
        shape = ops.broadcast_shapes(value.shape, self.batch_shape)
        index = value.long().expand(shape).unsqueeze(-1)
        return ops.gather(self.logits.expand((*shape, self.choices)), -1, index).squeeze(-1)

    def entropy(self) -> Tensor:
        least = float(dtypes.finfo(self.logits.dtype).min)
        return -ops.sum(ops.clamp_min(self.logits, least) * self.probs, -1)


class Multinomial(Distribution):
    """How often each of n choices is drawn in `total_count` draws.

    >>> import lampion
    >>> lampion.distributions.Multinomial(4, lampion.tensor([1.0, 3.0])).mean
    tensor([1., 3.])
    """

    event_dims = 1
    probs: Tensor
    logits: Tensor

    def __init__(
        self, total_count: int = 1, probs: Tensor | None = None, logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(validate_args, **_one_of("Multinomial", probs, logits))
        if total_count < 0:
            raise OptionError("Multinomial", "the number of draws is negative", got=str(total_count))
        self.total_count = total_count
        self._one = Categorical(probs, logits, validate_args)
        self.probs, self.logits = self._one.probs, self._one.logits

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs) * self.total_count

    def expand(self, batch_shape: Any) -> Multinomial:
        """The same distribution with its parameters expanded to a larger batch."""
        probs = self.probs.expand((*batch_shape, *self.event_shape))
        return Multinomial(self.total_count, probs, validate_args=self.validate_args)

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        drawn = self._one._draw((self.total_count, *shape[:-1]))
        drawn = drawn.permute(*range(1, drawn.ndim), 0)
        counts = ops.zeros(shape, dtype=self.probs.dtype)
        return ops.scatter_add(counts, -1, drawn, ops.ones_like(drawn, dtype=self.probs.dtype))

    def _supports(self, value: Tensor) -> Tensor:
        return ops.all(value >= 0, -1) & ops.eq(ops.sum(value, -1), self.total_count)

    def _log_prob(self, value: Tensor) -> Tensor:
        never = ops.eq(value, 0) & ops.eq(self.logits, -math.inf)
        logits = ops.where(never, 0.0, self.logits)
        ways = ops.lgamma(ops.sum(value, -1) + 1) - ops.sum(ops.lgamma(value + 1), -1)
        return ways + ops.sum(value * logits, -1)

    def entropy(self) -> Tensor:
        n = self.total_count
        k = ops.arange(n + 1, dtype=self.probs.dtype)  # each choice is drawn k times with:
        p = self.probs.unsqueeze(-1)
        factorial = ops.lgamma(k + 1)
        ways = math.lgamma(n + 1) - factorial - ops.lgamma(n - k + 1)
        weights = ops.exp(ways + ops.xlogy(k, p) + ops.xlogy(n - k, 1 - p))
        return self._one.entropy() * n - math.lgamma(n + 1) + ops.sum(weights * factorial, (-2, -1))


class Poisson(Distribution):
    """How often something happens that happens `rate` times on average, each time independently."""

    rate: Tensor

    def __init__(self, rate: _Number, validate_args: bool | None = None) -> None:
        super().__init__(validate_args, rate=rate)
        self._check("rate", self.rate >= 0, "expected numbers that are not negative")

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def variance(self) -> Tensor:
        return self.rate

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        return ops.poisson(self.rate.expand(shape))

    def _supports(self, value: Tensor) -> Tensor:
        return (value >= 0) & ops.eq(value, ops.floor(value))

    def _log_prob(self, value: Tensor) -> Tensor:
        return ops.xlogy(value, self.rate) - self.rate - ops.lgamma(value + 1)
