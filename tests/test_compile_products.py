"""Products with long sums: cut into parts, which threads share and one kernel adds up."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite nothing is compiled")

import lampion as lp
from lampion.compiler.graph import Graph, check, interpret
from lampion.compiler.passes.long_products import split_products
from lampion.ops.matrix import matmul


def compiled(function, *arrays):
    """The result with 1, 2, 3 and 8 threads (the same bits), and what kernels there were."""
    step, threads = lp.compile(function), lp.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3, 8):
            lp.set_num_threads(count)
            results.append(step(*map(lp.tensor, arrays)).numpy())
    finally:
        lp.set_num_threads(threads)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    return results[0], [type(call.kernel).__name__ for call in step.explain().plans[0].kernels]


def assert_close(actual, a, b):
    """A few roundings of each term: parts of 512 steps and more have sums of 160 steps inside."""
    exact = a.astype("f8") @ b.astype("f8")
    size = np.abs(a).astype("f8") @ np.abs(b).astype("f8")
    np.testing.assert_array_less(np.abs(actual - exact), 12 * np.finfo(actual.dtype).eps * size)


@pytest.mark.parametrize("m, steps, n", [(10, 98000, 10), (1, 1 << 19, 1), (20, 9000, 40)])
def test_parts_are_added_up(m, steps, n):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((steps, m)).astype("f4"), rng.standard_normal((steps, n)).astype("f4")
    result, kernels = compiled(lambda x, y: x.T @ y, x, y)
    assert kernels == ["Matmul", "Reduce"]
    assert_close(result, x.T, y)


def test_other_layouts_types_and_what_follows():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((16, 40000)), rng.standard_normal((16, 40000))
    result, kernels = compiled(lambda x, y: (x @ y.T).relu() + 1, x, y)
    assert kernels == ["Matmul", "Reduce"]  # relu and + 1 are the end of the sum
    np.testing.assert_allclose(result, np.maximum(x @ y.T, 0) + 1, rtol=1e-9)


@pytest.mark.parametrize(
    "m, steps, n",
    [(10, 2000, 10), (500, 8192, 64), (10, 99991, 10), (0, 90000, 3)],
    ids=["little work", "a large result", "no part divides a prime", "nothing"],
)
def test_others_stay_whole(m, steps, n):
    graph = Graph()
    x, y = graph.input((m, steps), lp.float32), graph.input((steps, n), lp.float32)
    graph.outputs = [graph.add(matmul.primitive, (x, y), {}, (m, n), lp.float32)]
    assert [e.primitive.name for e in split_products(graph)] == ["matmul"]


def test_the_graph_means_the_same():
    graph = Graph()
    x, y = graph.input((6, 65536), lp.float64), graph.input((65536, 8), lp.float64)
    graph.outputs = [graph.add(matmul.primitive, (x, y), {}, (6, 8), lp.float64)]
    split = split_products(graph)
    check(split)
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal((6, 65536)), rng.standard_normal((65536, 8))]
    (whole,), (parts,) = interpret(graph, arrays), interpret(split, arrays)
    assert len(split.equations) == 5
    np.testing.assert_allclose(parts, whole, rtol=1e-9, atol=1e-9)


def names(step):
    return [type(call.kernel).__name__ for call in step.explain().plans[0].kernels]


@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_product_that_is_read_transposed_is_turned(shape):
    rng = np.random.default_rng(4)
    a, b, c = (rng.standard_normal((*shape, *size)).astype("f4") for size in ((20, 7), (7, 30), (30, 20)))
    step = lp.compile(lambda a, b, c: (a @ b).mT * 2 + c)
    np.testing.assert_allclose(
        step(*map(lp.tensor, (a, b, c))).numpy(), (a @ b).swapaxes(-1, -2) * 2 + c, rtol=1e-5, atol=1e-5
    )
    assert names(step) == ["Matmul"]


def test_a_product_that_is_read_as_it_is_too_is_made_once():
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal(size).astype("f4") for size in ((40, 50), (50, 40)))

    def function(a, b):
        product = a @ b
        return product.T * 2, product.sum(0)

    step = lp.compile(function)
    twice, total = step(lp.tensor(a), lp.tensor(b))
    assert names(step).count("Matmul") == 1
    np.testing.assert_allclose(twice.numpy(), (a @ b).T * 2, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(total.numpy(), (a @ b).sum(0), rtol=1e-5, atol=1e-4)
