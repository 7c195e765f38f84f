"""Gradients through rows that were looked up: summed by row first, where that is less to multiply."""

import itertools

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite nothing is compiled")

import lampion as lp
from lampion.compiler.graph import check, interpret
from lampion.compiler.passes import PASSES
from lampion.compiler.passes.dead import drop_dead
from lampion.compiler.passes.lookups import sum_by_row
from lampion.nn import functional as F

ROWS, WIDTH, OUT = 11, 12, 200


def arrays(dtype="f4", shape=(40, 10), rows=ROWS):
    rng = np.random.default_rng(2)
    table, w = rng.standard_normal((rows, WIDTH)), rng.standard_normal((OUT, WIDTH))
    slope = rng.standard_normal((*shape, OUT))
    words = rng.integers(0, rows, shape)
    words[words == 3] = 4  # a row that is never looked up
    return *(array.astype(dtype) for array in (table, w, rng.standard_normal(OUT), slope)), words


def gradients(map_, padding=None):
    """A function that gives the gradients of table, weight and bias."""

    def function(table, w, bias, slope, words):
        y = map_(F.embedding(words, table, padding_idx=padding), w, bias)
        return lp.autograd.grad(y.tanh(), (table, w, bias), slope.reshape(y.shape))

    return function


def linear(x, w, bias):
    return F.linear(x, w, bias)


def turned(x, w, bias):
    return x.reshape(-1, WIDTH) @ w.T.contiguous() + bias


def run(function, given):
    """The results, compiled and eager, and how many steps there are in products and sums of the plan."""
    compiled = lp.compile(function)
    tensors = [lp.tensor(array) for array in given]
    results = compiled(*(t.requires_grad_() if t.is_floating_point() else t for t in tensors))
    assert compiled.explain().fallbacks == 0
    kernels = [call.kernel for call in compiled.explain().plans[0].kernels]
    steps = [kernel.a.shape[-1] for kernel in kernels if type(kernel).__name__ == "Matmul"]
    eager = function(*(t.detach().requires_grad_() if t.is_floating_point() else t for t in tensors))
    steps += [kernel.shape[0] for kernel in kernels if type(kernel).__name__ == "Reduce"]
    return [r.numpy() for r in results], [r.numpy() for r in eager], sorted(steps)


def assert_close(actual, expected, dtype):
    """The same terms in another order: up to 400 of them, of a few units each."""
    eps = np.finfo(dtype).eps
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == other.dtype == dtype
        np.testing.assert_allclose(one, other, rtol=100 * eps, atol=400 * eps)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(40, 10), (400,)])
@pytest.mark.parametrize("map_", [linear, turned])
def test_gradients_are_summed_by_row(map_, shape, dtype):
    given = arrays(dtype, shape)
    actual, expected, steps = run(gradients(map_), given)
    assert_close(actual, expected, dtype)
    assert steps == [ROWS, ROWS, WIDTH, OUT]  # not 400
    assert not actual[0][3].any()


def test_a_word_without_gradient():
    actual, expected, steps = run(gradients(linear, padding=4), arrays())
    assert_close(actual, expected, "f4")
    assert not actual[0][4].any()
    assert ROWS in steps


@pytest.mark.parametrize("rows", [101, 5000])
def test_many_rows_stay_as_they_are(rows):
    actual, expected, steps = run(gradients(linear), arrays(rows=rows))
    assert_close(actual, expected, "f4")
    assert ROWS not in steps
    assert steps[-1] == 400


def test_what_was_not_looked_up_does_not_matter():
    """An infinity there, times a zero, would be no number."""
    table, w, bias, slope, words = arrays()
    table[3] = np.inf
    actual, expected, _ = run(gradients(linear), (table, w, bias, slope, words))
    assert_close(actual, expected, "f4")
    assert all(np.isfinite(gradient).all() for gradient in actual)


def test_an_infinite_weight_does_not_reach_what_was_not_looked_up():
    def function(table, w, bias, slope, words):
        y = F.linear(F.embedding(words, table), w, bias)
        return lp.autograd.grad(y, (table, w), slope)

    table, w, bias, slope, words = arrays()
    w[5, 7] = np.inf
    actual, expected, steps = run(function, (table, w, bias, slope, words))
    assert ROWS in steps
    for one, other in zip(actual, expected, strict=True):  # (inf - inf or inf is a matter of order)
        np.testing.assert_array_equal(np.isfinite(one), np.isfinite(other))
    assert_close(
        *([np.nan_to_num(x, nan=0, posinf=0, neginf=0) for x in xs] for xs in (actual, expected)), "f4"
    )
    assert not actual[0][3].any()
    assert not np.isfinite(actual[0][4, 7])


def test_wrong_words_are_refused():
    compiled = lp.compile(gradients(linear))
    *numbers, words = arrays()
    numbers = [lp.tensor(array).requires_grad_() for array in numbers]
    compiled(*numbers, lp.tensor(words))
    for wrong in (ROWS, -1):
        words[2, 3] = wrong
        with pytest.raises(IndexError, match=str(wrong)):
            compiled(*numbers, lp.tensor(words))


def test_what_must_not_count_from_the_end_does_not():
    def function(table, g, w, words):
        return table[words].sum(), lp.zeros_like(table).index_add(0, words, g @ w)

    table, w, _, slope, words = arrays(shape=(400,))
    given = [lp.tensor(array) for array in (table, slope, w)]
    compiled = lp.compile(function)
    compiled(*given, lp.tensor(words))
    assert ROWS in [
        e.output.shape[0] for e in compiled.explain().plans[0].optimized if e.primitive.name == "matmul"
    ]
    words[7] = -1
    with pytest.raises(IndexError, match="-1"):
        compiled(*given, lp.tensor(words))


def test_numbers_that_are_spread_over_columns_stay():
    def function(table, g, vector, words):
        return table[words].sum(), lp.zeros_like(table).index_add(0, words, (g @ vector).expand(400, 400))

    rng = np.random.default_rng(4)
    table, g, vector = (rng.standard_normal(shape) for shape in ((ROWS, 400), (400, OUT), (OUT,)))
    given = [*map(lp.tensor, (table, g, vector, rng.integers(0, ROWS, 400)))]
    for one, other in zip(lp.compile(function)(*given), function(*given), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-12, atol=1e-10)


def test_the_graph_means_the_same():
    """Also where the table is the left factor, and where rows are summed before it is known by what."""

    def function(table, g, w, numbers):
        total = g.sum(0)
        words = numbers.abs()
        x = table[words]
        return total, g.sum(0) * 2, x.T @ g, g.T @ x, lp.zeros_like(table).index_add(0, words, g @ w)

    rng = np.random.default_rng(3)
    shapes = (ROWS, WIDTH), (400, OUT), (OUT, WIDTH)
    table, g, w = (rng.standard_normal(shape) for shape in shapes)
    words = rng.integers(0, ROWS, 400)
    compiled = lp.compile(function)
    compiled(*map(lp.tensor, (table, g, w, words)))
    graph = compiled.explain().plans[0].recorded
    for _, rewrite in itertools.takewhile(lambda step: step[1] is not sum_by_row, PASSES):
        graph = rewrite(graph)
    rewritten = drop_dead(sum_by_row(graph))
    check(rewritten)
    assert sum(e.primitive.name == "matmul" and 400 in e.values[0].shape for e in rewritten) == 0
    given = [table, g, w, words]
    for one, other in zip(interpret(rewritten, given), interpret(graph, given), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
