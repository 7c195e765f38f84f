"""Probability distributions: drawing samples, and how probable values are.

`sample` draws without a gradient; `rsample` draws so that the samples depend differentiably on the
parameters. Parameters may be numbers or tensors, which broadcast; the names are those of
`torch.distributions`.

>>> import lampion
>>> lampion.distributions.Normal(0.0, 1.0).log_prob(lampion.tensor(0.0))
tensor(-0.9189)
"""

from lampion.distributions.continuous import Exponential, Laplace, LogNormal, Normal, Uniform
from lampion.distributions.discrete import Bernoulli, Categorical, Multinomial, Poisson
from lampion.distributions.distribution import Distribution
from lampion.distributions.divergence import kl_divergence
from lampion.distributions.gamma import Beta, Dirichlet, Gamma

__all__ = [
    "Bernoulli", "Beta", "Categorical", "Dirichlet", "Distribution", "Exponential", "Gamma", "Laplace",
    "LogNormal", "Multinomial", "Normal", "Poisson", "Uniform", "kl_divergence",
]  # fmt: skip
