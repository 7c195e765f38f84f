"""Rows for the special functions. The references are integrals, sums and the standard library's functions."""

from __future__ import annotations

import math
import statistics

import numpy as np
from rows_core import INF, NAN, NO_NUMBER, UNLIKE, index, ones

import lampion as lp
from lampion import special
from lampion.errors import DTypeError, LampionError
from lampion.testing import At, Bad, Row, call
from lampion.testing.rows import FLOATS

ROOT_HALF = math.sqrt(0.5)


def each(function, pole=NAN):
    """A function of floats, for arrays; where it divides by zero, it has this value."""

    def safe(*numbers):
        try:
            return function(*map(float, numbers))
        except ZeroDivisionError:
            return pole

    return lambda *arrays: np.vectorize(safe, otypes=["f8"])(*arrays)


def few(d):
    return [call(d(3, 4)), call(d()), call(d(0, 2))]


def pairs(d):
    return [call(d(3, 4), d(4)), call(d(), d())]


# -- error functions -------------------------------------------------------------------------------------


def normal_quantile(p):
    if not 0 < p < 1:
        return -INF if p == 0 else INF if p == 1 else NAN
    return statistics.NormalDist().inv_cdf(p)


def erfinv(x):
    if abs(x) < 1e-3:
        return x * math.sqrt(math.pi) / 2 * (1 + math.pi * x * x / 12)
    # From the nearer tail, so that 1 + x does not cancel.
    return math.copysign(-normal_quantile((1 - abs(x)) / 2) * ROOT_HALF, x)


def log_ndtr(x):
    if x < -37:  # -x**2 / 2 - log(-x sqrt(2 pi)) + log(1 - 1 / x**2 + ...)
        return -x * x / 2 - math.log(-x * math.sqrt(2 * math.pi)) - 1 / (x * x) if x > -1e150 else -INF
    return math.log(math.erfc(-x * ROOT_HALF) / 2) if x < 0 else math.log1p(-math.erfc(x * ROOT_HALF) / 2)


ERRORS = [
    Row("erfc", lp.erfc, each(math.erfc), domain=(-3.0, 3.0),
        errors=[Bad(DTypeError, np.array([1j]), match="complex")],
        points=[At(INF, value=0.0, grad=0.0), At(-INF, value=2.0), At(0.0, value=1.0)]),
    Row("erfinv", lp.erfinv, each(erfinv), domain=(-0.95, 0.95), integers=(-1, 1),
        points=[At(1.0, value=INF), At(-1.0, value=-INF), At(0.0, value=0.0, grad=math.sqrt(math.pi) / 2)]),
    Row("special.erfcx", special.erfcx, each(lambda x: math.exp(x * x) * math.erfc(x)), samples=few, ulps=64,
        points=[At(1e10, value=1e-10 / math.sqrt(math.pi)), At(INF, value=0.0), At(-30.0, value=INF)]),
    Row("special.ndtr", special.ndtr, each(lambda x: math.erfc(-x * ROOT_HALF) / 2),
        points=[At(INF, value=1.0, grad=0.0), At(-INF, value=0.0, grad=0.0)]),
    Row("special.log_ndtr", special.log_ndtr, each(log_ndtr), samples=few, domain=(-6.0, 3.0),
        points=[At(-INF, value=-INF), At(INF, value=0.0), At(-50.0, value=log_ndtr(-50.0))]),
    Row("special.ndtri", special.ndtri, each(normal_quantile), domain=(0.03, 0.97), integers=(0, 1),
        points=[At(0.5, value=0.0, grad=math.sqrt(2 * math.pi)), At(0.0, value=-INF), At(-0.1, value=NAN)]),
]  # fmt: skip

# -- gamma functions -------------------------------------------------------------------------------------


def lgamma(x):
    if x == -INF or (x <= 0 and x == math.floor(x)):
        return INF
    try:
        return math.lgamma(x)
    except OverflowError:
        return INF


def rounded(function):
    """In the type of the argument: what is finite in float64 may be too large for float32."""
    return lambda x: function(x).astype(x.dtype if x.dtype.kind == "f" else np.float64)


def bernoulli_tail(s, a):
    """The sum of (a + k)**-s over k >= 0, for an `a` from 30 on: Euler and Maclaurin, to a few terms."""
    tail = a ** (1 - s) / (s - 1) + a**-s / 2 + s * a ** (-s - 1) / 12
    return (
        tail
        - s * (s + 1) * (s + 2) * a ** (-s - 3) / 720
        + math.prod(s + i for i in range(5)) * a ** (-s - 5) / 30240
    )


def zeta(s, q):
    if s <= 1:
        return INF if s == 1 else NAN
    return math.fsum((q + k) ** -s for k in range(40)) + bernoulli_tail(s, q + 40)


def digamma(x):
    a = x + 40
    tail = math.log(a) - 1 / (2 * a) - 1 / (12 * a**2) + 1 / (120 * a**4) - 1 / (252 * a**6)
    return tail - math.fsum(1 / (x + k) for k in range(40))


def polygamma(n, x):
    return digamma(x) if n == 0 else (-1) ** (n + 1) * math.factorial(n) * zeta(n + 1, x)


def lower_gamma(a, x):
    """The series x**a e**-x (1 / gamma(a + 1) + x / gamma(a + 2) + ...)."""
    if x == 0:
        return 0.0
    return math.fsum(math.exp((a + n) * math.log(x) - x - math.lgamma(a + n + 1)) for n in range(60))


def orders_and_places(d):
    """The order has no gradient: so it is an integer."""
    return [call(d(3, 4), index(2, 3, 4, 5)), call(d(), index(4)), call(d(0), index(2))]


def multivariate(x, p):
    return sum(each(lgamma)(x - j / 2) for j in range(p)) + p * (p - 1) / 4 * math.log(math.pi)


POSITIVE = {"domain": (0.3, 5.0), "integers": (1, 5)}
GAMMAS = [
    Row("lgamma", lp.lgamma, rounded(each(lgamma)), domain=(0.3, 12.0), ulps=32,
        points=[At(-1.5, value=math.lgamma(-1.5)), At(0.0, value=INF), At(-2.0, value=INF),
                At(1.0, value=0.0)]),
    Row("digamma", lp.digamma, each(digamma, -INF), samples=few, **POSITIVE, ulps=64,  # it has a zero there
        points=[At(0.0, value=-INF), At(-0.0, value=INF), At(-1.0, value=NAN),
                At(-0.5, value=digamma(0.5) + 2.0), At(20.0, value=digamma(20.0))]),
    Row("polygamma", lp.polygamma, lambda n, x: each(lambda v: polygamma(n, v), INF if n % 2 else -INF)(x),
        **POSITIVE, ulps=64,
        samples=lambda d: [call(0, d(3)), call(1, d(3, 4)), call(2, d(3)), call(4, d())],
        points=[At(1, -0.5, value=math.pi**2 - zeta(2, 1.5)), At(3, -0.5, value=6 * (zeta(4, 0.5) + 16))],
        errors=[Bad(LampionError, -1, ones(2), match=["polygamma: the order", "from 0 on", "-1"])]),
    Row("mvlgamma", lp.mvlgamma, multivariate, domain=(1.7, 5), integers=(2, 5), ulps=32,
        samples=lambda d: [call(d(3, 4), 1), call(d(4), 3)],
        errors=[Bad(LampionError, ones(2), 0, match="whole number from 1 on")]),
    Row("igamma: the second argument", lambda x, a: lp.igamma(a, x), lambda x, a: each(lower_gamma)(a, x),
        **POSITIVE, ulps=32, samples=orders_and_places,
        points=[At(0.0, 2.0, value=0.0), At(INF, 2.0, value=1.0), At(1.0, -1.0, value=NAN)]),
    Row("igammac: the second argument", lambda x, a: lp.igammac(a, x),
        lambda x, a: 1 - each(lower_gamma)(a, x), **POSITIVE, ulps=32, samples=orders_and_places,
        points=[At(0.0, 2.0, value=1.0), At(9.0, 0.5, value=math.erfc(3.0))]),
    Row("special.zeta", lambda q, s: special.zeta(s, q), lambda q, s: each(zeta, INF)(s, q), domain=(0.3, 5),
        integers=(1, 5), samples=orders_and_places, ulps=64,
        points=[At(1.0, 2.0, value=math.pi**2 / 6), At(2.0, 1.0, value=INF), At(2.0, 0.5, value=NAN),
                At(-1.0, 3.0, value=INF)]),
]  # fmt: skip

# -- Bessel functions ------------------------------------------------------------------------------------

STEPS = np.arange(-400, 401) / 50.0  # of the trapezoidal rule on a line
CIRCLE = (np.arange(400) + 0.5) * (math.pi / 400)  # and on half a period
GAUSS, WEIGHTS = np.polynomial.legendre.leggauss(120)


def on_circle(function):
    """1 / pi times the integral over [0, pi]: exact to rounding, as the function is periodic and smooth."""
    return each(lambda x: math.fsum(function(x, CIRCLE)) / 400)


def on_line(function):
    """The integral over [0, infinity) of an even function that decays doubly exponentially."""
    return each(lambda x: math.fsum(function(x, STEPS)) / 100 if x else INF)


def second_kind(order):
    """9.1.22: the integral over [0, pi], less that of a decay over [0, infinity)."""

    def value(x):
        if x == 0:
            return -INF
        angles = (GAUSS + 1) * (math.pi / 2)
        wave = math.fsum(WEIGHTS * np.sin(x * np.sin(angles) - order * angles)) * (math.pi / 2)
        decay = 0.0
        for start in range(0, 8, 2):
            t = start + GAUSS + 1
            both = np.exp(order * t) + (-1) ** order * np.exp(-order * t)
            decay += math.fsum(WEIGHTS * both * np.exp(-x * np.sinh(t)))
        return (wave - decay) / math.pi

    return each(value)


def airy(x):
    """The power series, 10.4.2."""
    f = g = term_f = term_g = 1.0
    for k in range(1, 60):
        term_f *= x**3 / ((3 * k - 1) * (3 * k))
        term_g *= x**3 / ((3 * k) * (3 * k + 1))
        f, g = f + term_f, g + term_g
    return f / (3 ** (2 / 3) * math.gamma(2 / 3)) - x * g / (3 ** (1 / 3) * math.gamma(1 / 3))


def bessel_row(name, op, reference, **more):
    options = {"domain": (0.3, 12.0), "integers": (1, 9), "samples": few, "ulps": 64} | more
    return Row(name, op, reference, **options)


J0, J1 = on_circle(lambda x, t: np.cos(x * np.sin(t))), on_circle(lambda x, t: np.cos(x * np.sin(t) - t))
I0, I1 = (
    on_circle(lambda x, t: np.exp(x * np.cos(t))),
    on_circle(lambda x, t: np.exp(x * np.cos(t)) * np.cos(t)),
)
K0 = on_line(lambda x, t: np.exp(-x * np.cosh(t)))
K1 = on_line(lambda x, t: np.exp(-x * np.cosh(t)) * np.cosh(t))
BOTH_SIDES = {"domain": (-12.0, 12.0), "avoid": (0.0,)}

BESSEL = [
    bessel_row("i0", lp.i0, I0, **BOTH_SIDES, points=[At(INF, value=INF), At(0.0, value=1.0, grad=0.0)]),
    bessel_row("special.i0e", special.i0e, lambda x: I0(x) * np.exp(-np.abs(x * 1.0)), **BOTH_SIDES,
        points=[At(INF, value=0.0), At(1e6, value=1 / math.sqrt(2e6 * math.pi) * (1 + 1.25e-7))]),
    bessel_row("special.i1", special.i1, I1, **BOTH_SIDES, points=[At(0.0, value=0.0, grad=0.5)]),
    bessel_row("special.i1e", special.i1e, lambda x: I1(x) * np.exp(-np.abs(x * 1.0)), **BOTH_SIDES,
        points=[At(0.0, value=0.0, grad=0.5)]),
    bessel_row("special.modified_bessel_k0", special.modified_bessel_k0, K0,
        points=[At(0.0, value=INF), At(-1.0, value=NAN), At(INF, value=0.0)]),
    bessel_row("special.modified_bessel_k1", special.modified_bessel_k1, K1, points=[At(0.0, value=INF)]),
    bessel_row("special.scaled_modified_bessel_k0", special.scaled_modified_bessel_k0,
        lambda x: K0(x) * np.exp(1.0 * x), points=[At(-1.0, value=NAN)]),
    bessel_row("special.scaled_modified_bessel_k1", special.scaled_modified_bessel_k1,
        lambda x: K1(x) * np.exp(1.0 * x), points=[At(0.0, value=INF)]),
    bessel_row("special.bessel_j0", special.bessel_j0, J0, **BOTH_SIDES,
        points=[At(0.0, value=1.0, grad=0.0), At(INF, value=0.0)]),
    bessel_row("special.bessel_j1", special.bessel_j1, J1, **BOTH_SIDES,
        points=[At(0.0, value=0.0, grad=0.5)]),
    bessel_row("special.bessel_y0", special.bessel_y0, second_kind(0),
        points=[At(0.0, value=-INF), At(-1.0, value=NAN)]),
    bessel_row("special.bessel_y1", special.bessel_y1, second_kind(1),
        points=[At(0.0, value=-INF), At(-1.0, value=NAN)]),
    bessel_row("special.spherical_bessel_j0", special.spherical_bessel_j0,
        lambda x: np.sinc(x / math.pi), **BOTH_SIDES,
        points=[At(0.0, value=1.0, grad=0.0), At(INF, value=0.0)]),
    bessel_row("special.airy_ai", special.airy_ai, each(airy), domain=(-4.5, 2.5), integers=(-4, 2), orders=0,
        points=[At(INF, value=0.0), At(10.0, value=1.1047532552898686e-10)]),
]  # fmt: skip

# -- logarithms, and what is composed ----------------------------------------------------------------------


def entr(x):
    x = x * 1.0
    return np.where(
        x > 0, -x * np.log(np.where(x > 0, x, 1.0)), np.where(x == 0, 0.0, np.where(x < 0, -INF, x))
    )


def xlog1py(x, y):
    return np.where((x == 0) & ~np.isnan(y), 0.0, x * np.log1p(y))


def shares(x, dim, dtype=None):
    powers = np.exp(x - x.max(dim, keepdims=True))
    return powers / powers.sum(dim, keepdims=True)


OTHERS = [
    Row("special.entr", special.entr, entr, domain=(0.2, 3.0),
        points=[At(0.0, value=0.0), At(-1.0, value=-INF)]),
    Row("special.xlog1py", special.xlog1py, xlog1py, domain=((-2, 2), (-0.7, 3)), integers=(0, 4),
        errors=[UNLIKE, NO_NUMBER], points=[At(0.0, -1.0, value=0.0), At(0.0, NAN, value=NAN)]),
    Row("special.softmax", special.softmax, shares, dtypes=FLOATS,
        samples=lambda d: [call(d(3, 4), 1), call(d(4), -1)]),
    Row("special.log_softmax", special.log_softmax, lambda x, dim: np.log(shares(x, dim)), dtypes=FLOATS,
        samples=lambda d: [call(d(3, 4), 1), call(d(4), -1)]),
]  # fmt: skip

# -- orthogonal polynomials: of x and whole orders -----------------------------------------------------------


def by_basis(family):
    return each(lambda x, n: family.basis(int(n))(x) if n >= 0 else 0.0)


def chebyshev(kind, shift=False):
    """By the angle, for x between -1 and 1."""
    forms = {
        "t": lambda n, t: math.cos(n * t),
        "u": lambda n, t: math.sin((n + 1) * t) / math.sin(t),
        "v": lambda n, t: math.cos((n + 0.5) * t) / math.cos(t / 2),
        "w": lambda n, t: math.sin((n + 0.5) * t) / math.sin(t / 2),
    }

    def value(x, n):
        x = 2.0 * x - 1.0 if shift else float(x)
        if abs(x) == 1.0:  # the limits
            x *= 1 - 1e-15
        return forms[kind](int(n), math.acos(x)) if n >= 0 else 0.0

    return each(value)


def orders(d):
    return [call(d(3, 4), index(0, 1, 2, 7)), call(d(3), 5), call(d(2), index(-1, 3))]


def polynomial_row(name, reference, domain=(-0.9, 0.9)):
    return Row(f"special.{name}", getattr(special, name), reference, orders=0, samples=orders,
               integers=(-1 if domain[0] < 0 else 0, 1),
               domain=domain, ulps=512)  # fmt: skip


HIGH = Bad(LampionError, ones(2), 10**6, match=["legendre: the order is too high", "at most 100000"])
POLYNOMIALS = [
    *(polynomial_row(f"chebyshev_polynomial_{kind}", chebyshev(kind)) for kind in "tuvw"),
    *(polynomial_row(f"shifted_chebyshev_polynomial_{kind}", chebyshev(kind, True), (0.1, 0.9))
      for kind in "tuvw"),
    polynomial_row("hermite_polynomial_h", by_basis(np.polynomial.Hermite)),
    polynomial_row("hermite_polynomial_he", by_basis(np.polynomial.HermiteE)),
    polynomial_row("laguerre_polynomial_l", by_basis(np.polynomial.Laguerre)),
    polynomial_row("legendre_polynomial_p", by_basis(np.polynomial.Legendre)),
    Row("special.legendre_polynomial_p: orders", special.legendre_polynomial_p,
        by_basis(np.polynomial.Legendre), orders=0, integers=(0, 3), samples=lambda d: [call(d(3), d(3))],
        errors=[HIGH]),
]  # fmt: skip

ROWS = [*ERRORS, *GAMMAS, *BESSEL, *OTHERS, *POLYNOMIALS]
