"""Reductions in two stages: few results of much data."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

import lampion as lp
from lampion.compiler.lowering import stages

rng = np.random.default_rng(0)


def kernels(step):
    return [call.kernel for call in step.explain().plans[0].kernels]


def by_threads(step, *args):
    """The result of a compiled function, which must be the same bits for any number of threads."""
    before = lp.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 8):
            lp.set_num_threads(threads)
            results.append(step(*args).numpy().copy())
    finally:
        lp.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    return results[0]


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((100_003,), (0,)),  # a prime: blocks, and a rest
        ((400, 300), (0, 1)),
        ((20_000, 5), (0,)),
        ((8, 100, 2, 64), (0, 1, 3)),
        ((11, 7, 1000), (0, 1, 2)),
    ],
    ids=str,
)
def test_sums_in_stages(shape, axes):
    x = lp.tensor(rng.standard_normal(shape).astype(np.float32))
    step = lp.compile(lambda x: (x * 2).sum(axes) + 1)
    ours = by_threads(step, x)
    assert len(kernels(step)) >= 2
    exact = (x.numpy().astype(np.float64) * 2).sum(axes) + 1
    eager = np.abs(((x * 2).sum(axes) + 1).numpy() - exact)
    spacing = np.spacing(np.abs(exact).astype(np.float32))
    # The rule of the house: twice eager's error and 4 ulp; the sum's own rounding counts at its terms' size.
    noise = 4 * np.spacing(np.float32(np.sqrt(x.numel() / max(1, ours.size)) * 2))
    assert np.all(np.abs(ours - exact) <= 2 * eager + 4 * spacing + noise)


def test_integers_booleans_products_and_extremes_are_exact():
    x = rng.integers(-50, 50, (70_001,))
    t = lp.tensor(x)
    assert by_threads(lp.compile(lambda t: t.sum()), t) == x.sum()
    assert by_threads(lp.compile(lambda t: t.amax()), t) == 49
    assert by_threads(lp.compile(lambda t: (t > 48).any()), t)
    assert not by_threads(lp.compile(lambda t: (t < 49).all()), t)
    signs = lp.tensor(np.where(rng.random(70_000) < 0.5, -1.0, 1.0))
    assert by_threads(lp.compile(lambda t: t.prod()), signs) == np.prod(signs.numpy())


@pytest.mark.parametrize("place", [0, 40_000, 70_000], ids=str)
def test_a_nan_in_any_block_is_the_maximum(place):
    x = rng.standard_normal(70_001)
    x[place] = np.nan
    assert np.isnan(by_threads(lp.compile(lambda t: t.amax()), lp.tensor(x)))


def test_columns_of_a_transposed_tensor_and_what_follows():
    x = rng.standard_normal((40, 5000))
    bias = lp.tensor(rng.standard_normal(40))
    step = lp.compile(lambda x, b: (x.t().sum(0) * b).relu())
    ours = by_threads(step, lp.tensor(x), bias)
    # 5000 terms in another order, in float64.
    np.testing.assert_allclose(ours, np.maximum(x.sum(1) * bias.numpy(), 0), rtol=1e-12, atol=1e-12)


def test_small_reductions_and_those_with_many_results_are_one_kernel():
    for shape, axis in (((100, 100), 0), ((1000, 100), 1), ((64, 4096), 0)):
        step = lp.compile(lambda x, axis=axis: x.sum(axis))
        step(lp.ones(*shape))
        assert len(kernels(step)) == 1


def test_blocks_divide_the_axis_where_some_number_does():
    assert [stages._blocks(n) for n in (8, 31, 2048, 1000, 10_007)] == [8, 31, 64, 50, 32]
