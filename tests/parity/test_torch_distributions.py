"""Distributions beside PyTorch's: densities, entropies, moments, divergences, and their gradients."""

import numpy as np
import pytest

import lampion as lp
from lampion import distributions as ours
from lampion.testing import assert_close

torch = pytest.importorskip("torch")

from both import array_of  # noqa: E402  # which needs PyTorch

theirs = torch.distributions
RNG = np.random.default_rng(0)


def between(low, high, *shape):
    return RNG.uniform(low, high, shape)


SHARES = RNG.dirichlet([2.0, 1.0, 3.0], 4)


def located():
    """A location and a scale."""
    return [between(-1, 1, 3), between(1, 2, 3)]


def shaped():
    """Two positive parameters."""
    return [between(0.5, 3, 3), between(1, 2, 3)]


#: name: parameters, parameters of another one, values that can occur
CASES = {
    "Normal": (located(), located(), between(-2, 2, 4, 3)),
    "LogNormal": (located(), located(), between(0.1, 2, 3)),
    "Uniform": (
        [between(-2, -1, 3), between(1, 2, 3)],
        [-3 * np.ones(3), 3 * np.ones(3)],
        between(-1, 1, 4, 3),
    ),
    "Exponential": ([between(0.5, 2, 3)], [between(0.5, 2, 3)], between(0, 2, 4, 3)),
    "Laplace": (located(), located(), between(-2, 2, 4, 3)),
    "Gamma": (shaped(), shaped(), between(0.1, 2, 4, 3)),
    "Beta": (shaped(), shaped(), between(0.1, 0.9, 4, 3)),
    "Dirichlet": ([between(0.5, 3, 4, 3)], [between(0.5, 3, 4, 3)], SHARES),
    "Bernoulli": ([between(0.1, 0.9, 3)], [between(0.1, 0.9, 3)], np.eye(3)),
    "Categorical": ([between(0.5, 2, 2, 3)], [between(0.5, 2, 2, 3)], np.array([[0.0, 2.0], [1.0, 1.0]])),
    "Poisson": ([between(0.5, 9, 3)], [between(0.5, 9, 3)], np.array([[0.0, 1.0, 7.0]])),
}


def pair(name, parameters):
    mine = [lp.from_numpy(p.copy()).requires_grad_() for p in parameters]
    other = [torch.from_numpy(p.copy()).requires_grad_() for p in parameters]
    return mine, getattr(ours, name)(*mine), other, getattr(theirs, name)(*other)


def same_slopes(a, b, mine, other):
    first = lp.autograd.grad(a.sum(), mine, allow_unused=True)
    second = torch.autograd.grad(b.sum(), other, allow_unused=True)
    for x, y, z in zip(first, second, mine, strict=True):
        zeros = np.zeros(tuple(z.shape))
        assert_close(zeros if x is None else x, zeros if y is None else array_of(y), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_log_prob(name):
    parameters, _, values = CASES[name]
    mine, p, other, q = pair(name, parameters)
    found, expected = p.log_prob(lp.from_numpy(values)), q.log_prob(torch.from_numpy(values))
    assert_close(found, array_of(expected), rtol=1e-7, atol=1e-9)
    same_slopes(found, expected, mine, other)


@pytest.mark.parametrize("name", CASES)
def test_moments_and_shapes(name):
    mine, p, other, q = pair(name, CASES[name][0])
    assert (p.batch_shape, p.has_rsample) == (tuple(q.batch_shape), q.has_rsample)
    for what in ("mean", "variance", "stddev"):
        found, expected = getattr(p, what), getattr(q, what)
        assert_close(found, array_of(expected), rtol=1e-7, atol=1e-9, equal_nan=True)
        if expected.requires_grad:
            same_slopes(found, expected, mine, other)
    for shape in ((), (5,), (2, 3)):
        x, y = p.sample(shape), q.sample(shape)
        assert tuple(x.shape) == tuple(y.shape)
        assert not x.requires_grad
        assert p.log_prob(x).shape == tuple(q.log_prob(y).shape)
    wider = p.expand((2, *p.batch_shape))
    assert wider.batch_shape == (2, *p.batch_shape)
    assert tuple(wider.sample().shape) == tuple(q.expand((2, *q.batch_shape)).sample().shape)


@pytest.mark.parametrize(
    "name", [name for name in CASES if name != "Poisson"]
)  # whose entropy has no closed form
def test_entropy(name):
    mine, p, other, q = pair(name, CASES[name][0])
    found, expected = p.entropy(), q.entropy()
    assert_close(found, array_of(expected), rtol=1e-7, atol=1e-9)
    same_slopes(found, expected, mine, other)


@pytest.mark.parametrize("name", CASES)
def test_kl_divergence(name):
    mine, p, other, q = pair(name, CASES[name][0])
    mine_2, p_2, other_2, q_2 = pair(name, CASES[name][1])
    found, expected = ours.kl_divergence(p, p_2), theirs.kl_divergence(q, q_2)
    assert_close(found, array_of(expected), rtol=1e-7, atol=1e-9)
    same_slopes(found, expected, [*mine, *mine_2], [*other, *other_2])


@pytest.mark.parametrize("name", ["Normal", "Uniform", "Exponential", "Laplace"])
def test_distribution_functions_and_their_inverses(name):
    _, p, _, q = pair(name, CASES[name][0])
    values = CASES[name][2]
    assert_close(
        p.cdf(lp.from_numpy(values)), array_of(q.cdf(torch.from_numpy(values))), rtol=1e-7, atol=1e-12
    )
    shares = between(0.1, 0.9, 3)
    assert_close(
        p.icdf(lp.from_numpy(shares)), array_of(q.icdf(torch.from_numpy(shares))), rtol=1e-7, atol=1e-12
    )


@pytest.mark.parametrize("name", ["Bernoulli", "Categorical"])
def test_logits(name):
    logits = between(-2, 2, 4, 3)
    p, q = (
        getattr(ours, name)(logits=lp.from_numpy(logits)),
        getattr(theirs, name)(logits=torch.from_numpy(logits)),
    )
    assert_close(p.probs, array_of(q.probs), rtol=1e-12, atol=0)
    assert_close(p.entropy(), array_of(q.entropy()), rtol=1e-9, atol=0)


def test_multinomial():
    probs, counts = SHARES[0], np.array([[2.0, 1.0, 1.0], [0.0, 4.0, 0.0]])
    p, q = ours.Multinomial(4, lp.from_numpy(probs)), theirs.Multinomial(4, torch.from_numpy(probs))
    assert_close(
        p.log_prob(lp.from_numpy(counts)), array_of(q.log_prob(torch.from_numpy(counts))), rtol=1e-7, atol=0
    )
    assert_close(p.entropy(), array_of(q.entropy()), rtol=1e-7, atol=0)
    assert_close(p.mean, array_of(q.mean))
    assert_close(p.variance, array_of(q.variance))
    assert tuple(p.sample((5,)).shape) == (5, 3)
    assert p.expand((2,)).sample().sum(-1).tolist() == [4.0, 4.0]
