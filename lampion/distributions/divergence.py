"""How far one distribution is from another of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lampion import ops
from lampion.distributions.continuous import Exponential, Laplace, LogNormal, Normal, Uniform
from lampion.distributions.discrete import Bernoulli, Categorical, Poisson, softplus
from lampion.distributions.distribution import Distribution
from lampion.distributions.gamma import Beta, Dirichlet, Gamma
from lampion.errors import LampionError
from lampion.tensor import Tensor


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The expected value, under p, of ``log p(x) - log q(x)``: the Kullback-Leibler divergence.

    Both must be of one kind, for which there is a closed form.

    >>> import lampion
    >>> from lampion.distributions import Normal, kl_divergence
    >>> kl_divergence(Normal(1.0, 1.0), Normal(0.0, 1.0))
    tensor(0.5000)
    """
    if type(p) is type(q) and type(p) in _RULES:
        return _RULES[type(p)](p, q)
    raise LampionError(
        "kl_divergence", "there is no closed form", expected=", ".join(kind.__name__ for kind in _RULES),
        got=f"{type(p).__name__} and {type(q).__name__}", fix="average p.log_prob(x) - q.log_prob(x)",
    )  # fmt: skip


def _normal(p: Normal | LogNormal, q: Normal | LogNormal) -> Tensor:
    ratio = p.scale / q.scale
    apart = (p.loc - q.loc) / q.scale
    return (ratio * ratio + apart * apart - 1) * 0.5 - ops.log(ratio)


def _uniform(p: Uniform, q: Uniform) -> Tensor:
    outside = (q.low > p.low) | (q.high < p.high)
    return ops.where(outside, float("inf"), ops.log((q.high - q.low) / (p.high - p.low)))


def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ops.log(ratio) - 1


def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio, apart = p.scale / q.scale, ops.abs(p.loc - q.loc)
    return -ops.log(ratio) + apart / q.scale + ratio * ops.exp(-apart / p.scale) - 1


def _gamma(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    return (
        b * ops.log(p.rate / q.rate) + ops.lgamma(b) - ops.lgamma(a)
        + (a - b) * ops.digamma(a) + (q.rate - p.rate) * (a / p.rate)
    )  # fmt: skip


def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = ops.sum(a, -1)
    factors = ops.lgamma(total) - ops.lgamma(ops.sum(b, -1)) - ops.sum(ops.lgamma(a) - ops.lgamma(b), -1)
    return factors + ops.sum((a - b) * (ops.digamma(a) - ops.digamma(total).unsqueeze(-1)), -1)


def _beta(p: Beta, q: Beta) -> Tensor:
    return _dirichlet(p._both, q._both)


def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    """With logits, so that probabilities of 0 and 1 do no harm."""
    return p.probs * (p.logits - q.logits) - softplus(p.logits) + softplus(q.logits)


def _categorical(p: Categorical, q: Categorical) -> Tensor:
    parts = ops.where(ops.eq(p.probs, 0), 0.0, p.probs * (p.logits - q.logits))
    return ops.sum(parts, -1)


def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return ops.xlogy(p.rate, p.rate / q.rate) - p.rate + q.rate


_RULES: dict[type[Distribution], Callable[[Any, Any], Tensor]] = {
    Normal: _normal, LogNormal: _normal, Uniform: _uniform, Exponential: _exponential, Laplace: _laplace,
    Gamma: _gamma, Dirichlet: _dirichlet, Beta: _beta, Bernoulli: _bernoulli, Categorical: _categorical,
    Poisson: _poisson,
}  # fmt: skip
