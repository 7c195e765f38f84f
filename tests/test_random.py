"""Random numbers: Philox's published numbers, the same draw for the same seed, the right distributions."""

import copy
import math
import threading

import numpy as np
import pytest

import lampion as lp
from lampion.errors import LampionError
from lampion.nn import functional as F
from lampion.ops.random import bernoulli_mask, dropout, random_bits
from lampion.testing import assert_close, assert_identical, gradcheck

# Philox4x32-10, from the known answers that the Random123 library publishes (kat_vectors):
# counter, key, result. A Lampion state is (key, counter) with the upper half of the counter 0.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_published_numbers(counter, key, expected):
    state = lp.from_numpy(np.array([key[0] | key[1] << 32, counter[0] | counter[1] << 32], np.uint64))
    assert random_bits(state, 4, 0).tolist() == list(expected)


def philox(counter, key):
    """Philox4x32-10 once more, in Python integers, straight from the paper."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def test_philox_in_python_gives_the_published_numbers():
    assert philox((0, 0, 0, 0), (0, 0)) == list(KNOWN[0][2])
    ones = 0xFFFFFFFF
    assert philox((ones,) * 4, (ones,) * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    assert philox(*pi) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5, 2**63 - 1])
@pytest.mark.parametrize("start", [0, 7, 2**32 - 2])
def test_element_i_is_lane_i_of_its_block(seed, start):
    state = lp.from_numpy(np.array([seed, start], np.uint64))
    expected = []
    for block in range(start + 3, start + 6):
        expected += philox((block & 0xFFFFFFFF, block >> 32, 0, 0), (seed & 0xFFFFFFFF, seed >> 32))
    for size in (0, 1, 4, 5, 11):
        assert random_bits(state, size, 3).tolist() == expected[:size]


# -- seeds and states ------------------------------------------------------------------------------------

DRAWS = {
    "rand": lambda g: lp.rand(5, generator=g),
    "rand float64": lambda g: lp.rand(5, generator=g, dtype=lp.float64),
    "randn": lambda g: lp.randn(2, 3, generator=g),
    "randint": lambda g: lp.randint(0, 10, (7,), generator=g),
    "randperm": lambda g: lp.randperm(9, generator=g),
    "rand_like": lambda g: lp.rand_like(lp.ones(3), generator=g),
    "randn_like": lambda g: lp.randn_like(lp.ones(3), generator=g),
    "bernoulli": lambda g: bernoulli_mask((6,), 0.4, g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_seed_draws_the_same_numbers(name):
    draw = DRAWS[name]
    first, second = (lp.Generator().manual_seed(3) for _ in range(2))
    a, b, c = draw(first), draw(second), draw(first)
    assert_identical(a, b)
    assert a.tolist() != c.tolist()
    assert draw(lp.Generator().manual_seed(4)).tolist() != a.tolist()


@pytest.mark.parametrize("name", DRAWS)
def test_manual_seed_is_the_default_generators(name):
    lp.manual_seed(3)
    a = DRAWS[name](None)
    assert lp.initial_seed() == 3
    assert_identical(a, DRAWS[name](lp.Generator().manual_seed(3)))


def test_states_can_be_kept():
    lp.rand(3)
    state = lp.get_rng_state()
    kept = state.tolist()
    expected = lp.randn(4)
    lp.manual_seed(99)
    assert state.tolist() == kept  # what was returned does not follow the generator
    lp.set_rng_state(state)
    assert_identical(lp.randn(4), expected)
    assert lp.initial_seed() == 0


def test_a_generator_can_be_copied():
    generator = lp.Generator().manual_seed(5)
    lp.rand(3, generator=generator)
    twin = copy.deepcopy(generator)
    assert_identical(lp.rand(3, generator=generator), lp.rand(3, generator=twin))


def test_shapes_draw_the_same_numbers_in_order():
    shapes = ((12,), (3, 4), (2, 3, 2))
    first, *others = (lp.rand(*shape, generator=lp.Generator().manual_seed(1)) for shape in shapes)
    for other in others:
        assert_identical(other.reshape(-1), first)


def test_different_seeds_and_generators_are_unrelated():
    draws = [lp.rand(1000, generator=lp.Generator().manual_seed(seed)).numpy() for seed in range(20)]
    correlations = np.corrcoef(np.stack(draws)) - np.eye(20)
    assert np.abs(correlations).max() < 0.15  # 4.7 standard deviations of 1 / sqrt(1000)


def test_unseeded_generators_differ():
    assert lp.Generator().initial_seed() != lp.Generator().initial_seed()


def test_threads_may_share_a_generator():
    generator = lp.Generator().manual_seed(1)
    drawn = []

    def draw():
        drawn.extend(lp.rand(8, generator=generator).tolist() for _ in range(50))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tuple(numbers) for numbers in drawn}) == 200  # no two of them got the same numbers


# -- distributions -----------------------------------------------------------------------------------------

N = 200_000


def close_to(statistic, expected, deviation):
    """Within five standard deviations: wrong once in two million honest runs, and the seed is fixed."""
    assert abs(statistic - expected) <= 5 * deviation, f"{statistic} is not {expected} +- {deviation:.2g}"


@pytest.mark.parametrize("dtype", [lp.float32, lp.float64])
def test_uniform_numbers(dtype):
    x = lp.rand(N, dtype=dtype).numpy().astype(np.float64)
    assert x.min() >= 0.0
    assert x.max() < 1.0
    close_to(x.mean(), 1 / 2, math.sqrt(1 / 12 / N))
    close_to(x.var(), 1 / 12, math.sqrt(1 / 180 / N))
    counts = np.bincount((x * 64).astype(int), minlength=64)
    close_to(((counts - N / 64) ** 2 / (N / 64)).sum(), 63, math.sqrt(2 * 63))
    close_to((x[1:] * x[:-1]).mean(), 1 / 4, math.sqrt(7 / 144 / N))


def test_uniform_numbers_use_all_bits_of_their_type():
    assert np.all(lp.rand(1000).numpy() * 2**24 % 1 == 0)
    assert np.any(lp.rand(1000).numpy() * 2**23 % 1 != 0)
    wide = lp.rand(1000, dtype=lp.float64).numpy()
    assert np.all(wide * 2**53 % 1 == 0)
    assert np.any(wide * 2**52 % 1 != 0)


@pytest.mark.parametrize("dtype", [lp.float32, lp.float64])
def test_normal_numbers(dtype):
    x = lp.randn(N, dtype=dtype).numpy().astype(np.float64)
    assert np.isfinite(x).all()
    close_to(x.mean(), 0, math.sqrt(1 / N))
    close_to((x**2).mean(), 1, math.sqrt(2 / N))
    close_to((x**3).mean(), 0, math.sqrt(15 / N))
    close_to((x**4).mean(), 3, math.sqrt(96 / N))
    for bound, share in ((1, 0.6826894921), (2, 0.9544997361), (3, 0.9973002039)):
        close_to((np.abs(x) < bound).mean(), share, math.sqrt(share * (1 - share) / N))


@pytest.mark.parametrize(("low", "high"), [(0, 10), (-3, 4), (5, 6), (0, 2**31), (-(2**31), 2**31)])
def test_integers(low, high):
    x = lp.randint(low, high, (N,)).numpy()
    assert x.dtype == np.int64
    assert x.min() >= low
    assert x.max() < high
    width = high - low
    close_to(x.mean(), (low + high - 1) / 2, math.sqrt((width**2 - 1) / 12 / N) + 1e-9)
    if width <= 10:
        counts = np.bincount(x - low, minlength=width)
        assert np.abs(counts / N - 1 / width).max() < 5 * math.sqrt(1 / width / N)


def test_integers_with_one_bound():
    assert lp.randint(1, size=(3,)).tolist() == [0, 0, 0]
    with pytest.raises(LampionError, match=r"range is empty(.|\n)*5 to 5"):
        lp.randint(5, 5, (2,))


def test_permutations():
    for n in (0, 1, 2, 100):
        assert sorted(lp.randperm(n).tolist()) == list(range(n))
    first = [lp.randperm(5)[0].item() for _ in range(2000)]
    assert np.abs(np.bincount(first, minlength=5) / 2000 - 0.2).max() < 5 * math.sqrt(0.16 / 2000)


def test_inplace_draws():
    x = lp.empty(N)
    assert x.uniform_(-2.0, 3.0) is x
    assert -2.0 <= x.amax().item() < 3.0
    close_to(x.mean().item(), 0.5, math.sqrt(25 / 12 / N))
    assert x.normal_(1.0, 2.0) is x
    close_to(x.mean().item(), 1.0, math.sqrt(4 / N))
    close_to(((x - 1) ** 2).mean().item(), 4.0, math.sqrt(32 / N))


def test_draws_are_not_recorded():
    x = lp.rand(3, requires_grad=True)
    assert x.is_leaf
    assert x.requires_grad
    assert not lp.rand_like(x).requires_grad
    w = lp.ones(3, requires_grad=True)
    with lp.no_grad():
        w.normal_()
    assert w.is_leaf


# -- dropout -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout(p):
    x = dropout(lp.ones(N), p).numpy()
    close_to((x == 0).mean(), p, math.sqrt(p * (1 - p) / N))
    assert np.unique(x[x != 0]).size <= 1
    if p < 1:
        assert_close(x.max(), np.float32(1 / (1 - p)))


def test_dropout_without_training():
    x = lp.ones(3)
    assert dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.5, training=False) is x
    with pytest.raises(LampionError, match="p is a probability"):
        F.dropout(x, 1.5)


def test_dropout_has_the_gradient_of_its_mask():
    def function(x):
        lp.manual_seed(3)
        return F.dropout(x, 0.4)

    gradcheck(function, lp.randn(20, dtype=lp.float64))
    x = lp.randn(1000, requires_grad=True)
    y = F.dropout(x, 0.4)
    y.sum().backward()
    assert_identical(x.grad != 0, y != 0)


def test_dropout_draws_on_in_program_order():
    lp.manual_seed(1)
    a, b = F.dropout(lp.ones(64)), F.dropout(lp.ones(64))
    assert a.tolist() != b.tolist()
    lp.manual_seed(1)
    F.dropout(lp.ones(64))
    assert_identical(F.dropout(lp.ones(64)), b)


def test_small_draws_are_the_numbers_of_a_large_one():
    """They come from a store, which is filled in steps that must not show."""
    one, many = lp.Generator().manual_seed(3), lp.Generator().manual_seed(3)
    sizes = [4, 252, 256, 256, 2000, 8, 4] * 4
    pieces = [many.bits(n).numpy() for n in sizes]
    np.testing.assert_array_equal(np.concatenate(pieces), one.bits(sum(sizes)).numpy())
    many.manual_seed(4)
    assert (many.bits(4).numpy() != pieces[0]).any()
