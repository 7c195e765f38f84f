"""The formulas behind the special functions, beside mpmath: how far they are from the truth."""

import numpy as np
import pytest

from lampion.numerics import bessel, errors, gamma

mpmath = pytest.importorskip("mpmath", reason="the truth, to 30 digits: pip install mpmath")
rng = np.random.default_rng(0)


def line(low, high, n=60):
    return rng.uniform(low, high, n)


def sizes(low, high, n=60):
    return 10.0 ** rng.uniform(low, high, n)


def scaled(function, order, factor):
    return lambda x: function(order, x) * mpmath.exp(factor(x))


def ndtr(x):
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def erfinv(x):
    with mpmath.workdps(60):
        return mpmath.erfinv(x)


# name: (function, truth, arguments, relative error allowed, below which size the error counts as absolute)
CASES = {
    "erfc": (errors.erfc, mpmath.erfc, [line(-6, 26.5)], 2e-15, 0),
    "erfcx": (
        errors.erfcx,
        lambda x: mpmath.exp(x * x) * mpmath.erfc(x),
        [line(-26, 30), sizes(-5, 3)],
        2e-15,
        0,
    ),
    "ndtr": (
        errors.ndtr,
        ndtr,
        [line(-37, 8)],
        5e-13,
        0,
    ),  # of x / sqrt(2) the last digit is multiplied by x**2
    "log_ndtr": (errors.log_ndtr, lambda x: mpmath.log(ndtr(x)), [line(-37, 5), line(-2, 2)], 1e-14, 0),
    "erfinv": (errors.erfinv, erfinv, [line(-1, 1), 1 - sizes(-15, -1), sizes(-10, 0)], 2e-15, 0),
    "lgamma": (
        gamma.lgamma,
        lambda x: mpmath.log(abs(mpmath.gamma(x))),
        [line(0, 12), sizes(-10, 8)],
        5e-15,
        0,
    ),
    "lgamma below 0": (gamma.lgamma, lambda x: mpmath.log(abs(mpmath.gamma(x))), [line(-20, 0)], 5e-15, 1),
    "digamma": (gamma.digamma, mpmath.digamma, [line(0, 12), sizes(-10, 8)], 5e-15, 0),
    "digamma below 0": (gamma.digamma, mpmath.digamma, [line(-20, 0)], 1e-13, 1),
    "trigamma": (gamma.trigamma, lambda x: mpmath.psi(1, x), [line(-20, 12), sizes(-10, 8)], 2e-13, 0),
    "i0": (bessel.i0, lambda x: mpmath.besseli(0, x), [line(-700, 700), line(-10, 10)], 3e-15, 0),
    "i1": (bessel.i1, lambda x: mpmath.besseli(1, x), [line(-700, 700), line(-10, 10)], 3e-15, 0),
    "k0": (bessel.k0, lambda x: mpmath.besselk(0, x), [line(0, 30), sizes(-5, 2)], 3e-15, 0),
    "k1": (bessel.k1, lambda x: mpmath.besselk(1, x), [line(0, 30), sizes(-5, 2)], 3e-15, 0),
    "k0e": (bessel.k0e, scaled(mpmath.besselk, 0, lambda x: x), [line(0, 30), sizes(-5, 2)], 3e-15, 0),
    "k1e": (bessel.k1e, scaled(mpmath.besselk, 1, lambda x: x), [line(0, 30), sizes(-5, 2)], 3e-15, 0),
    "j0": (bessel.j0, lambda x: mpmath.besselj(0, x), [line(-40, 40)], 5e-15, 0.1),
    "j1": (bessel.j1, lambda x: mpmath.besselj(1, x), [line(-40, 40)], 5e-15, 0.1),
    "y0": (bessel.y0, lambda x: mpmath.bessely(0, x), [line(0, 40), sizes(-3, 1)], 1e-14, 0.1),
    "y1": (bessel.y1, lambda x: mpmath.bessely(1, x), [line(0, 40), sizes(-3, 1)], 1e-14, 0.1),
    "airy": (bessel.airy_ai, mpmath.airyai, [line(-2.2, 10)], 1e-14, 0),
    "airy below 0": (bessel.airy_ai, mpmath.airyai, [line(-40, -2)], 2e-13, 0.1),  # sin(zeta), zeta up to 170
}


def worst(got, exact, floor):
    errors = [abs(mpmath.mpf(float(g)) - e) / max(abs(e), floor) for g, e in zip(got, exact, strict=True)]
    return float(max(errors))


@pytest.mark.parametrize("name", CASES)
def test_accuracy(name):
    function, truth, arguments, limit, floor = CASES[name]
    x = np.concatenate(arguments)
    with mpmath.workdps(30), np.errstate(all="ignore"):
        assert worst(function(np, x), [truth(mpmath.mpf(v)) for v in x], floor) <= limit


PAIRS = {
    "igamma": (gamma.igamma, lambda a, x: mpmath.gammainc(a, 0, x, regularized=True), 1e-12),
    "igammac": (gamma.igammac, lambda a, x: mpmath.gammainc(a, x, mpmath.inf, regularized=True), 1e-12),
    "zeta": (gamma.zeta, mpmath.zeta, 1e-14),
}


@pytest.mark.parametrize("name", PAIRS)
def test_accuracy_of_two_arguments(name):
    function, truth, limit = PAIRS[name]
    a, x = sizes(-2, 2.3), sizes(-2, 2.3)
    if name == "zeta":
        a, x = line(1.1, 30), line(0.1, 40)
    with mpmath.workdps(60), np.errstate(all="ignore"):  # at 30, mpmath's zeta is off by 1e-12
        exact = [truth(mpmath.mpf(u), mpmath.mpf(v)) for u, v in zip(a, x, strict=True)]
        assert worst(function(np, a, x), exact, mpmath.mpf(10) ** -300) <= limit


def test_incomplete_gamma_of_large_arguments():
    # At x = a both are near 1/2: P(a, a) = 1/2 + 1 / (3 sqrt(2 pi a)) + O(a**-3/2), DLMF 8.11.12.
    a = np.array([1e4, 1e6])
    with np.errstate(all="ignore"):
        p, q = gamma.igamma(np, a, a), gamma.igammac(np, a, a)
    np.testing.assert_allclose(p, 0.5 + 1 / (3 * np.sqrt(2 * np.pi * a)), rtol=1e-7)
    np.testing.assert_allclose(p + q, 1, rtol=1e-13)
