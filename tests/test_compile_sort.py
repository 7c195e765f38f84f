"""Sorting as machine code, beside eager: every method, type and order."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import targets
from compile_lowered import check

import lampion as lp

rng = np.random.default_rng(0)
TYPES = [np.float32, np.float64, np.float16, np.int64, np.int32, np.int8, np.uint8, np.uint64, np.bool_]


def with_ties(shape, dtype=np.float32):
    """Many equal elements; zeros of both signs, infinities, NaNs; the extremes of integers."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) < 0.5
    if kind == "f":
        some = [0.0, -0.0, 1.0, -1.5, 1e-7, -300.0, np.inf, -np.inf, np.nan, -np.nan]
        return np.where(rng.random(shape) < 0.5, rng.choice(some, shape), rng.standard_normal(shape)).astype(
            dtype
        )
    info = np.iinfo(dtype)
    some = [info.min, info.max, info.max // 2, info.max // 3, 0, 1, 2]
    return rng.choice(np.array(some, dtype), shape)


def orders(x):
    """Everything that is made of an order."""
    return (*lp.sort(x), *lp.sort(x, descending=True), *lp.topk(x, 3), *lp.topk(x, 2, largest=False))


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("length", [9, 300], ids=str)  # by ranks; by bytes and, for few, by selection
def test_each_type(dtype, length):
    check(orders, with_ties((3, length), dtype))


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_each_level_of_processor(target):
    check(orders, with_ties((2, 33), np.float64), target=target)
    check(orders, with_ties((2, 140), np.float32), target=target)


@pytest.mark.parametrize("length", [1, 2, 128, 129], ids=str)
def test_lengths_at_the_borders(length):
    check(lambda x: lp.sort(x, 0), with_ties((length, 4)))
    check(lambda x: lp.topk(x, length, 0, largest=False), with_ties((length, 4)))


def test_other_dimensions_views_and_no_elements():
    x = with_ties((6, 50, 5))
    check(lambda x: lp.sort(x.permute(2, 0, 1)[:, ::2], 1), x)
    check(lambda x: (lp.argsort(x, 1, descending=True), *lp.kthvalue(x, 7, 1)), x)
    check(lambda x: lp.sort(x, 0), np.zeros((0, 4), np.float32))
    check(lambda x: lp.sort(x, 1), np.zeros((3, 0), np.float32))
    check(lambda x: lp.topk(x, 0, 1), np.zeros((3, 5), np.float32))


def test_many_rows_and_sixteen_of_many():
    check(lambda x: lp.sort(x), with_ties((40, 1000)))
    check(lambda x: (*lp.topk(x, 16), *lp.topk(x, 17)), with_ties((5, 1000), np.int64))


def test_a_pass_over_bytes_that_are_all_equal_is_left_out():
    check(lambda x: lp.sort(x), rng.integers(0, 200, (2, 500)))
    check(lambda x: lp.sort(x), np.full((2, 500), 7.0))


def test_the_gradient_of_a_sort():
    def step(x):
        x = x.detach().requires_grad_(True)
        (lp.sort(x).values * lp.arange(20)).sum().backward()
        return x.grad

    check(step, rng.permutation(60).reshape(3, 20).astype(np.float64))


def test_medians_and_quantiles():
    x = with_ties((3, 9))
    check(lambda x: (*lp.median(x, 1), *lp.nanmedian(x, 0)), x)
    y = rng.standard_normal((4, 21))
    check(lambda y: lp.quantile(y, 0.3, 1), y)
