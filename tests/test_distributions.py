"""Distributions: samples follow the moments, gradients flow through them, mistakes are named."""

import pytest

import lampion as lp
from lampion import distributions as D
from lampion.errors import LampionError, OptionError
from lampion.testing import assert_close

N = 40_000
DISTRIBUTIONS = {
    "Normal": lambda: D.Normal(1.0, 2.0), "LogNormal": lambda: D.LogNormal(0.5, 0.4),
    "Uniform": lambda: D.Uniform(-1.0, 3.0), "Exponential": lambda: D.Exponential(2.0),
    "Laplace": lambda: D.Laplace(1.0, 0.5), "Gamma": lambda: D.Gamma(2.5, 2.0),
    "Beta": lambda: D.Beta(2.0, 0.7),
    "Dirichlet": lambda: D.Dirichlet(lp.tensor([0.5, 2.0, 3.0])), "Bernoulli": lambda: D.Bernoulli(0.3),
    "Multinomial": lambda: D.Multinomial(5, lp.tensor([0.2, 0.8])), "Poisson": lambda: D.Poisson(4.0),
}  # fmt: skip


@pytest.fixture(autouse=True)
def seeded():
    lp.manual_seed(11)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_samples_have_the_moments(name):
    distribution = DISTRIBUTIONS[name]()
    x = distribution.sample((N,))
    deviation = distribution.stddev / N**0.5
    assert bool((lp.abs(x.mean(0) - distribution.mean) < deviation * 5).all())
    assert_close(x.var(0), distribution.variance, rtol=0.06, atol=0.0)  # of heavy tails, too


@pytest.mark.parametrize(
    "name", [n for n in DISTRIBUTIONS if n not in ("Bernoulli", "Multinomial", "Poisson")]
)
def test_the_entropy_is_the_mean_of_minus_log_prob(name):
    distribution = DISTRIBUTIONS[name]()
    x = distribution.sample((N,))
    x = lp.clamp(x, 1e-6, 1 - 1e-6) if name == "Beta" else x  # in float32 a share may be exactly 1
    if name == "Dirichlet":
        x = x / x.sum(-1, True)
    assert abs((distribution.log_prob(x).mean() + distribution.entropy()).item()) < 0.05


def test_frequencies_of_choices():
    p = D.Categorical(lp.tensor([[1.0, 3.0], [2.0, 0.0]]))
    x = p.sample((N,))
    assert x.shape == (N, 2)
    assert abs(x[:, 0].float().mean().item() - 0.75) < 0.02
    assert not bool(x[:, 1].any())
    assert p.mode.tolist() == [1, 0]


PATHWISE = {
    "Normal": lambda a: D.Normal(a, 1.0), "LogNormal": lambda a: D.LogNormal(a, 0.3),
    "Uniform": lambda a: D.Uniform(0.0, a), "Exponential": D.Exponential,
    "Laplace": lambda a: D.Laplace(a, 1.0),
    "Gamma": lambda a: D.Gamma(a, 2.0), "Beta": lambda a: D.Beta(a, 2.0),
}  # fmt: skip


@pytest.mark.parametrize("name", PATHWISE)
def test_the_gradient_of_samples_is_that_of_the_mean_on_average(name):
    a = lp.tensor(1.5, requires_grad=True)
    distribution = PATHWISE[name](a)
    (expected,) = lp.autograd.grad(distribution.mean, a)
    (found,) = lp.autograd.grad(PATHWISE[name](a).rsample((N,)).mean(), a)
    assert_close(found, expected, rtol=0.03, atol=0.0)  # an average of 40,000


def test_gradients_of_shares():
    a = lp.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (expected,) = lp.autograd.grad(D.Dirichlet(a).mean[0], a)
    (found,) = lp.autograd.grad(D.Dirichlet(a).rsample((N,)).mean(0)[0], a)
    assert_close(found, expected, rtol=0.0, atol=3e-3)


def test_samples_compile():
    def step(rate):
        return D.Normal(rate, 1.0).rsample(), D.Gamma(rate, 1.0).sample(), D.Categorical(rate).sample((3,))

    rate, compiled = lp.tensor([0.5, 2.0]), lp.compile(step)
    for _ in range(2):
        state = lp.get_rng_state()
        expected = step(rate)
        lp.set_rng_state(state)
        for a, b in zip(compiled(rate), expected, strict=True):
            assert_close(a, b, rtol=1e-6, atol=1e-6)  # a logarithm's last digit may differ


MISTAKES = {
    "expected positive numbers": lambda: D.Normal(0.0, -1.0),
    "expected low < high": lambda: D.Uniform(1.0, 0.0),
    "expected probabilities": lambda: D.Bernoulli(1.5),
    "expected either probs or logits": lambda: D.Bernoulli(),
    "a value cannot occur": lambda: D.Gamma(1.0, 1.0).log_prob(lp.tensor(-1.0)),
    "needs a dimension more": lambda: D.Categorical(lp.tensor(1.0)),
    "the number of draws is negative": lambda: D.Multinomial(-1, lp.ones(2)),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_are_named(words):
    with pytest.raises(OptionError, match=words):
        MISTAKES[words]()


def test_what_does_not_exist_says_so():
    with pytest.raises(LampionError, match="do not depend smoothly"):
        D.Poisson(1.0).rsample()
    with pytest.raises(LampionError, match="no closed form"):
        D.Poisson(1.0).entropy()
    with pytest.raises(LampionError, match=r"no closed form(.|\n)*Normal and Laplace"):
        D.kl_divergence(D.Normal(0.0, 1.0), D.Laplace(0.0, 1.0))


def test_checks_can_be_left_out_and_names_are_shown():
    p = D.Uniform(0.0, 1.0, validate_args=False)
    assert p.log_prob(lp.tensor(2.0)).item() == -float("inf")
    assert repr(p) == "Uniform(low: 0.0, high: 1.0)"
    assert repr(D.Poisson(lp.ones(2, 3))) == "Poisson(rate: (2, 3))"
