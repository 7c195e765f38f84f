"""Samples of distributions: the right distribution, the same for the same seed, eager and compiled."""

import math

import numpy as np
import pytest

import lampion as lp
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.ops.samplers import dirichlet, gamma_slope, standard_gamma
from lampion.testing import assert_close, assert_identical

N = 100_000


@pytest.fixture(autouse=True)
def seeded():
    lp.manual_seed(7)


def flat(value, dtype=lp.float32):
    return lp.full((N,), value, dtype)


def beside(x, mean, variance, kurtosis=3.0):
    """Mean and variance within five of their own deviations; the seed is fixed."""
    x = x.numpy().astype(np.float64)
    assert abs(x.mean() - mean) <= 5 * math.sqrt(variance / x.size)
    assert abs(x.var() - variance) <= 5 * variance * math.sqrt((kurtosis - 1) / x.size)


def kolmogorov(x, distribution):
    """The largest distance of both distribution functions: over 1.95 / sqrt(n) once in a thousand."""
    x = np.sort(x.numpy().astype(np.float64))
    steps = np.arange(1, x.size + 1) / x.size
    reached = distribution(x)
    assert max(np.abs(steps - reached).max(), np.abs(steps - 1 / x.size - reached).max()) < 1.95 / math.sqrt(
        x.size
    )


CONTINUOUS = {
    "uniform_": (lambda x: x.uniform_(-1.0, 3.0), lambda x: (x + 1) / 4),
    "exponential_": (lambda x: x.exponential_(2.0), lambda x: 1 - np.exp(-2 * x)),
    "cauchy_": (lambda x: x.cauchy_(1.0, 2.0), lambda x: np.arctan((x - 1) / 2) / math.pi + 0.5),
    "normal_": (lambda x: x.normal_(1.0, 2.0), lambda x: 0.5 + 0.5 * error_function((x - 1) / math.sqrt(8))),
    "log_normal_": (
        lambda x: x.log_normal_(0.5, 0.25),
        lambda x: 0.5 + 0.5 * error_function((np.log(x) - 0.5) / (0.25 * math.sqrt(2))),
    ),
}


def error_function(x):
    return np.vectorize(math.erf)(x)


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("dtype", [lp.float32, lp.float64])
def test_distribution_functions(name, dtype):
    draw, distribution = CONTINUOUS[name]
    x = lp.zeros(20_000, dtype=dtype)
    assert draw(x) is x
    kolmogorov(x, distribution)


def test_exponential_numbers_are_positive():
    assert bool((lp.zeros(N).exponential_() > 0).all())


COUNTS = {
    "poisson of 3": (lambda: lp.poisson(flat(3.0)), 3.0, 3.0),
    "poisson of 50": (lambda: lp.poisson(flat(50.0)), 50.0, 50.0),
    "binomial": (lambda: lp.binomial(flat(12.0), flat(0.3)), 3.6, 2.52),
    "geometric_": (lambda: flat(0.0).geometric_(0.25), 4.0, 12.0),
    "bernoulli": (lambda: lp.bernoulli(flat(0.3)), 0.3, 0.21),
    "bernoulli p": (lambda: lp.bernoulli(flat(9), p=0.8), 0.8, 0.16),
    "bernoulli_": (lambda: flat(0, lp.int64).bernoulli_(0.5), 0.5, 0.25),
    "bernoulli_ of tensors": (lambda: flat(0.0).bernoulli_(flat(0.5, lp.float64)), 0.5, 0.25),
    "random_": (lambda: flat(0, lp.int64).random_(2, 6), 3.5, 1.25),
    "randint_like": (lambda: lp.randint_like(flat(0.0), 4), 1.5, 1.25),
    "normal": (lambda: lp.normal(flat(2.0), 3.0), 2.0, 9.0),
    "normal of numbers": (lambda: lp.normal(2.0, 3.0, (N,)), 2.0, 9.0),
    "normal of tensors": (lambda: lp.normal(flat(2.0), flat(3.0)), 2.0, 9.0),
}


@pytest.mark.parametrize("name", COUNTS)
def test_means_and_variances(name):
    draw, mean, variance = COUNTS[name]
    beside(draw(), mean, variance, kurtosis=10.0)


@pytest.mark.parametrize("concentration", [0.2, 1.0, 7.5])
def test_gamma_and_its_gradient(concentration):
    a = flat(concentration, lp.float64).requires_grad_()
    x = standard_gamma(a)
    beside(x.detach(), concentration, concentration, kurtosis=3 + 6 / concentration)
    # The mean is the concentration, so samples move with it by 1 on average.
    (slope,) = lp.autograd.grad(x.sum(), a)
    assert abs(slope.mean().item() - 1) < 0.05


def test_gamma_slope_is_that_of_the_quantiles():
    # Of concentration 1 the distribution function is 1 - e**-x; its derivative by the concentration was
    # integrated numerically: d/da of the integral of t**(a - 1) e**-t / gamma(a), over 0 to x.
    t = np.linspace(0, 1, 400_001)[1:] ** 3 * 1.5  # finer near 0, where the logarithm is
    density = np.exp(-t)
    by_concentration = np.trapezoid(density * (np.log(t) + np.euler_gamma), t)
    found = gamma_slope(lp.tensor([1.0], dtype=lp.float64), lp.tensor([1.5], dtype=lp.float64)).item()
    assert abs(found + by_concentration / density[-1]) < 1e-6


def test_dirichlet():
    a = lp.tensor([1.0, 2.0, 5.0]).expand(N, 3)
    x = dirichlet(a)
    assert_close(x.sum(-1), lp.ones(N), rtol=0, atol=1e-6)
    assert_close(x.mean(0), lp.tensor([0.125, 0.25, 0.625]), rtol=0, atol=5e-3)


# -- multinomial -----------------------------------------------------------------------------------------


def test_multinomial_with_replacement():
    x = lp.multinomial(lp.tensor([[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]]), N, replacement=True).numpy()
    counts = np.bincount(x[0], minlength=3) / N
    assert counts[1] == 0
    assert abs(counts[0] - 0.25) < 5 * math.sqrt(0.25 * 0.75 / N)
    assert (x[1] == 1).all()


def test_multinomial_without_replacement():
    x = lp.multinomial(lp.tensor([1.0, 0.0, 3.0, 4.0]).expand(N, 4), 2).numpy()
    assert not (x == 1).any()
    assert (x[:, 0] != x[:, 1]).all()
    first = np.bincount(x[:, 0], minlength=4) / N
    np.testing.assert_allclose(first, [0.125, 0, 0.375, 0.5], atol=0.01)
    # After the last (half of all), the first one follows with probability 1 / 4.
    assert abs((x[x[:, 0] == 3][:, 1] == 0).mean() - 0.25) < 0.02


def test_multinomial_says_what_is_wrong():
    for weights, number, words in (
        ([1.0, 0.0], 2, "too few weights are not 0"), ([1.0, -1.0], 1, "negative or not finite"),
        ([1.0], 2, "cannot draw that many"),
    ):  # fmt: skip
        with pytest.raises(LampionError, match=words):
            lp.multinomial(lp.tensor(weights), number)
    with pytest.raises(ShapeError, match="one or two dimensions"):
        lp.multinomial(lp.ones(1, 1, 1), 1)


# -- ranges, types, errors -------------------------------------------------------------------------------


def test_random_fills_the_range_of_its_type():
    for dtype, highest in ((lp.uint8, 255), (lp.int8, 127), (lp.float16, 2**11)):
        x = lp.zeros(50_000, dtype=dtype).random_().numpy().astype(np.int64)
        assert (x.min(), x.max()) == (0, highest)
    assert set(lp.zeros(50, dtype=lp.bool).random_().tolist()) == {False, True}
    assert lp.zeros(50, dtype=lp.int64).random_().max().item() > 2**60


def test_wide_ranges_of_integers():
    x = lp.randint(-(2**63), 2**63 - 1, (N,)).numpy() / 2.0**63
    assert abs(x.mean()) < 5 / math.sqrt(3 * N)
    assert x.min() < -0.99
    assert x.max() > 0.99
    y = lp.randint(5, 5 + 2**33, (1000,))
    assert bool(((y >= 5) & (y < 5 + 2**33)).all())


def test_forms_of_randint():
    assert lp.randint(1, (2, 3)).tolist() == [[0] * 3] * 2
    assert lp.randint(4, 5, (2,), dtype=lp.float32).tolist() == [4.0, 4.0]
    assert lp.randint(high=1, size=(2,)).tolist() == [0, 0]
    assert lp.randint_like(lp.zeros(2, dtype=lp.uint8), 3, 4).dtype is lp.uint8


@pytest.mark.parametrize("dtype", [lp.float16, lp.bfloat16])
def test_half_floats_are_below_one(dtype):
    x = lp.rand(N, dtype=dtype)
    assert x.dtype is dtype
    assert x.float().max().item() < 1.0
    beside(lp.randn(N, dtype=dtype).float(), 0.0, 1.0)


def test_complex_numbers_have_both_parts():
    x = lp.randn(N, dtype=lp.complex64)
    beside(x.real, 0.0, 0.5)
    beside(x.imag, 0.0, 0.5)
    u = lp.rand(N, dtype=lp.complex128)
    assert 0 <= u.imag.min().item() < u.imag.max().item() < 1


BAD = {
    "p is no probability": lambda: lp.zeros(1).bernoulli_(1.5),
    "an element is no probability": lambda: lp.bernoulli(lp.tensor([2.0])),
    "a standard deviation is negative": lambda: lp.normal(lp.zeros(1), lp.tensor([-1.0])),
    "the standard deviation is negative": lambda: lp.zeros(1).normal_(0, -1),
    "the rate is not positive": lambda: lp.zeros(1).exponential_(0.0),
    "sigma is not positive": lambda: lp.zeros(1).cauchy_(0, 0),
    "a rate is negative": lambda: lp.poisson(lp.tensor([-1.0])),
    "p is no probability below 1": lambda: lp.zeros(1).geometric_(1.0),
    "the bounds are exchanged": lambda: lp.zeros(1).uniform_(1, 0),
    "have a shape already": lambda: lp.normal(lp.zeros(1), 1.0, (2,)),
}


@pytest.mark.parametrize("words", BAD)
def test_errors_name_the_parameter(words):
    with pytest.raises(LampionError, match=words):
        BAD[words]()


def test_integers_cannot_hold_what_is_continuous():
    for name in ("uniform_", "normal_", "exponential_", "cauchy_", "log_normal_"):
        with pytest.raises(DTypeError, match="expected a tensor of floats"):
            getattr(lp.zeros(2, dtype=lp.int64), name)()


# -- seeds -------------------------------------------------------------------------------------------------

DRAWS = {
    "bernoulli": lambda p, g: lp.bernoulli(p, generator=g),
    "binomial": lambda p, g: lp.binomial(p * 0 + 90.0, p, generator=g),
    "exponential_": lambda p, g: (p * 1).exponential_(generator=g),
    "gamma": standard_gamma,
    "multinomial": lambda p, g: lp.multinomial(p, 5, True, generator=g),
    "multinomial without": lambda p, g: lp.multinomial(p, 5, generator=g),
    "normal": lambda p, g: lp.normal(p, p, generator=g),
    "poisson": lambda p, g: lp.poisson(p * 50, g),
    "randint, wide": lambda p, g: lp.randint(0, 2**40, (3,), generator=g),
    "random_": lambda p, g: (p * 1).random_(1000, generator=g),
    "randperm": lambda p, g: lp.randperm(9, generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_seed_draws_the_same(name):
    p = lp.linspace(0.2, 0.7, 30)
    a, b, c = (DRAWS[name](p, lp.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert_identical(a, b)
    assert a.tolist() != c.tolist()
    generator = lp.Generator().manual_seed(3)
    DRAWS[name](p, generator)
    assert DRAWS[name](p, generator).tolist() != a.tolist()


def test_compiled_draws_are_the_eager_ones():
    def step(p):
        return tuple(draw(p, None) for draw in DRAWS.values())

    p, compiled = lp.linspace(0.2, 0.7, 30), lp.compile(step)
    for _ in range(2):
        state = lp.get_rng_state()
        expected = step(p)
        lp.set_rng_state(state)
        for name, a, b in zip(DRAWS, compiled(p), expected, strict=True):
            assert_close(a, b, rtol=1e-6, atol=1e-6, label=name)  # a logarithm's last digit may differ


def test_fork_rng_goes_back():
    with lp.random.fork_rng():
        a = lp.rand(4)
    assert_identical(a, lp.rand(4))
    with lp.random.fork_rng(enabled=False):
        a = lp.rand(4)
    assert a.tolist() != lp.rand(4).tolist()


def test_seed_is_a_new_one():
    try:
        first = lp.seed()
        assert lp.initial_seed() == first
        assert lp.random.seed() != first
    finally:
        lp.manual_seed(0)
