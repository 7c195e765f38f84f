"""Elementwise operations, where the op table does not reach: names, operators, plain Python results."""

import numpy as np
import pytest

import lampion as lp
from lampion.ops.aliases import ALIASES

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("second", ALIASES)
def test_second_names_are_the_same_functions(second):
    first = ALIASES[second]
    assert getattr(lp, second) is getattr(lp, first)
    assert getattr(lp.Tensor, second) is getattr(lp.Tensor, first)
    assert getattr(lp.Tensor, f"{second}_") is getattr(lp.Tensor, f"{first}_")


def test_operators_are_the_operations():
    x, y = lp.tensor([7, -5, 2]), lp.tensor([2, 3, -1])
    pairs = [
        (x // y, lp.floor_divide(x, y)), (7 // y, lp.floor_divide(7, y)), (x % y, lp.remainder(x, y)),
        (7 % y, lp.remainder(7, y)), (abs(x), lp.abs(x)), (~x, lp.bitwise_not(x)),
        (x & y, lp.bitwise_and(x, y)),
        (6 & y, lp.bitwise_and(y, 6)), (x | y, lp.bitwise_or(x, y)), (6 | y, lp.bitwise_or(y, 6)),
        (x ^ y, lp.bitwise_xor(x, y)), (6 ^ y, lp.bitwise_xor(y, 6)), (x << y, lp.bitwise_left_shift(x, y)),
        (1 << y, lp.bitwise_left_shift(1, y)), (x >> 1, lp.bitwise_right_shift(x, 1)),
        (64 >> y, lp.bitwise_right_shift(64, y)),
    ]  # fmt: skip
    for number, (actual, expected) in enumerate(pairs):
        lp.testing.assert_identical(actual, expected, label=f"pair {number}")


def test_inplace_operators():
    x = before = lp.tensor([7, -5])
    x //= 2
    x %= 4
    x <<= 2
    x |= 1
    x ^= 3
    x &= 30
    x >>= 1
    x **= 2
    assert x is before
    assert x.tolist() == [49, 9]  # in turn: 3 -3, 3 1, 12 4, 13 5, 14 6, 14 6, 7 3


def test_equal_and_allclose_are_python_bools():
    x = lp.tensor([1.0, NAN, INF])
    assert lp.equal(x, x) is False  # NaN
    assert lp.equal(x[::2], x[::2]) is True
    assert lp.equal(x, x[:2]) is False
    assert lp.allclose(x, x, equal_nan=True) is True
    assert lp.allclose(x, x) is False
    assert lp.allclose(lp.tensor([1.0]), lp.tensor([1.1]), rtol=0.2) is True
    assert lp.allclose(lp.tensor([INF]), lp.tensor([-INF]), rtol=1.0) is False


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nextafter_to_the_bit(dtype):
    x = np.array([0, 1, -1, 3e30, INF, 1e-40], dtype)
    y = np.array([1, 2, -2, INF, 0, 0], dtype)
    out = lp.nextafter(lp.from_numpy(x), lp.from_numpy(y)).numpy()
    assert out.tobytes() == np.nextafter(x, y).tobytes()


def test_frexp_puts_numbers_together_again():
    x = lp.tensor([0.0, -0.0, 1.0, -6.5, INF, NAN, 1e-40])
    mantissa, exponent = lp.frexp(x)
    assert exponent.dtype is lp.int32
    lp.testing.assert_identical(lp.ldexp(mantissa, exponent), x)


def test_the_alpha_of_unsigned_integers_wraps_around():
    x = lp.tensor([10, 20], dtype=lp.uint8)
    assert lp.sub(x, x, alpha=2).tolist() == [246, 236]
    assert lp.add(x, x, alpha=-1).tolist() == [0, 0]


@pytest.mark.parametrize("name", ["sinc", "special.spherical_bessel_j0"])
def test_slopes_of_sine_ratios_do_not_cancel_near_zero(name):
    scale = np.pi if name == "sinc" else 1.0
    x = lp.tensor([1e-8, 1e-4, 1e-2], dtype=lp.float64, requires_grad=True)
    function = lp.sinc if name == "sinc" else lp.special.spherical_bessel_j0
    (first,) = lp.autograd.grad(function(x).sum(), x, create_graph=True)
    (second,) = lp.autograd.grad(first.sum(), x)
    a = x.detach().numpy() * scale
    np.testing.assert_allclose(first.detach().numpy(), scale * (-a / 3 + a**3 / 30 - a**5 / 840), rtol=1e-12)
    np.testing.assert_allclose(second.numpy(), scale**2 * (-1 / 3 + a**2 / 10 - a**4 / 168), rtol=1e-12)


def test_the_slope_of_logit_is_nan_where_the_value_is():
    x = lp.tensor([-0.5, 0.5, 1.5], requires_grad=True)
    lp.logit(x).sum().backward()
    assert str(x.grad.tolist()) == "[nan, 4.0, nan]"


NAMES = ["floor", "abs", "erf", "lgamma", "exp2", "sinc", "logit", "frac", "isnan", "frexp"]


@pytest.mark.parametrize("dtype", [lp.float16, lp.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_float32_rounded(name, dtype):
    x = lp.tensor([0.25, 0.5, 0.875], dtype=dtype)
    out, wide = getattr(lp, name)(x), getattr(lp, name)(x.float())
    pairs = [(out, wide)] if isinstance(out, lp.Tensor) else zip(out, wide, strict=True)
    for part, exact in pairs:
        assert part.dtype is (dtype if exact.dtype is lp.float32 else exact.dtype)
        lp.testing.assert_identical(part, exact.to(part.dtype))


def test_large_arrays_are_computed_in_parts():
    x = np.linspace(-3, 3, 30_000).reshape(100, 300)
    out = lp.erfc(lp.from_numpy(x.T)).numpy()
    pieces = [lp.erfc(lp.from_numpy(row)).numpy() for row in x]
    assert np.array_equal(out, np.stack(pieces, 1))
    a = np.linspace(0.5, 5, 200)
    both = lp.igamma(lp.from_numpy(a[:, None]), lp.from_numpy(a)).numpy()
    assert both.shape == (200, 200)
    assert np.array_equal(both[7], lp.igamma(lp.from_numpy(a[7:8]), lp.from_numpy(a)).numpy())


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "i4", "u1", "?"])
def test_choosing_by_bits_gives_what_numpy_gives(dtype):
    from lampion.backend import where

    rng = np.random.default_rng(0)
    x = (rng.standard_normal((100, 90)) * 3).astype(dtype)
    if dtype == "f4":
        x[0, :4] = np.nan, -0.0, np.inf, -np.inf
    mask = rng.random((100, 90)) > 0.5
    others = [
        x[::-1],
        x[:, ::-1],
        x[0],
        x.T.copy().T,
        np.array(2, dtype),
        0,
        -0.0,
        1,
        1.5,
        True,
        x.astype("f8"),
    ]
    for condition in (mask, mask.T.copy().T, mask[0], mask[:1]):
        for other in others:
            for pair in ((x, other), (other, x)):
                expected, got = np.where(condition, *pair), where(condition, *pair)
                assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
                assert got.tobytes() == expected.tobytes()
