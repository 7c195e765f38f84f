"""Running sums, products and extremes as machine code, beside eager."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import targets
from compile_lowered import check

import lampion as lp
from lampion.ops.cumulative import recurrence

rng = np.random.default_rng(0)
SHAPES = [
    ((7,), 0),
    ((5, 33), 1),
    ((5, 33), 0),
    ((3, 4, 70), 1),
    ((1, 6), 0),
    ((2, 9, 1), 1),
    ((0, 3), 0),
    ((4, 0), 0),
]


def special(shape, dtype=np.float32):
    """Some of everything: equal elements, zeros of both signs, infinities, NaNs."""
    some = [0.0, -0.0, 1.0, 2.0, 2.0, -3.0, 1.0, np.inf, -np.inf, np.nan]
    return rng.choice(some, shape, p=[0.12] * 7 + [0.06, 0.06, 0.04]).astype(dtype)


@pytest.mark.parametrize(("shape", "dim"), SHAPES, ids=str)
def test_each_shape_and_dimension(shape, dim):
    x = special(shape)
    y = rng.standard_normal(shape).astype(np.float32)
    check(lambda x, y: (lp.cumsum(x, dim), lp.cumprod(y, dim), recurrence(x, y, dim)), x, y)
    # logaddexp is ours, not NumPy's: an ulp or two at each step.
    check(lambda y: lp.logcumsumexp(y, dim), y, rtol=1e-6, atol=1e-6)
    if 0 not in shape:
        check(lambda x: (*lp.cummax(x, dim), *lp.cummin(x, dim)), x)


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_each_level_of_processor(target):
    x = special((6, 37), np.float64)
    check(lambda x: (lp.cumsum(x, 0), lp.cumsum(x, 1), *lp.cummax(x, 1)), x, target=target)


@pytest.mark.parametrize(
    "dtype", [np.int32, np.int64, np.uint8, np.bool_, np.float16], ids=lambda t: t.__name__
)
def test_each_kind_of_element(dtype):
    x = rng.integers(0, 2 if dtype is np.bool_ else 9, (5, 40)).astype(dtype)
    check(lambda x: (lp.cumsum(x, 1), lp.cumprod(x, 1), *lp.cummax(x, 0)), x)


def test_views_and_threads():
    x = rng.standard_normal((60, 50, 40)).astype(np.float32)
    check(lambda x: lp.cumsum(x.permute(2, 0, 1)[:, ::2], 0), x)
    check(lambda x: lp.cumsum(x.permute(2, 0, 1), 1), x)


def test_gradients_are_native_too():
    def step(x):
        x = x.detach().requires_grad_(True)
        lp.cumsum(x, 1).square().sum().backward()
        return x.grad

    # A sum of another order.
    check(step, rng.standard_normal((4, 30)), rtol=1e-12, atol=1e-12)


def test_a_walk_is_printed_as_a_loop():
    compiled = lp.compile(lambda x: lp.cumsum(x, 1))
    compiled(lp.ones(3, 4))
    loops = compiled.explain().plans[0].loops()
    assert "for j in range(4):" in loops
    assert "v2 = v1 + v0" in loops and "r0 = v2" in loops
