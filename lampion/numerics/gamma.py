"""The gamma function's relatives.

Chebyshev series between 1 and 10, Stirling's asymptotic series above, reflection below 1/2 (M. Abramowitz
and I. A. Stegun, "Handbook of Mathematical Functions" (1964), 6.1.17, 6.1.40, 6.3.7, 6.3.18, 6.4.10, 6.5;
Hurwitz' zeta function by the sum formula of Euler and Maclaurin, 23.1.30).
"""

from __future__ import annotations

import math
from typing import Any

from lampion.numerics import tables
from lampion.numerics.series import chebyshev, polynomial

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
#: The Bernoulli numbers B2, B4, ...
BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330,
    854513 / 138, -236364091 / 2730,
)  # fmt: skip
STIRLING = tuple(b / ((2 * k) * (2 * k - 1)) for k, b in enumerate(BERNOULLI[:9], 1))
DIGAMMA = tuple(b / (2 * k) for k, b in enumerate(BERNOULLI[:9], 1))


def _correction(y: Any) -> Any:
    """What Stirling's formula lacks: lgamma(y) - ((y - 1/2) log(y) - y + log(2 pi) / 2), for y >= 10."""
    return polynomial(1.0 / (y * y), STIRLING) / y


def lgamma(xp: Any, x: Any) -> Any:
    """log(|gamma(x)|)."""
    y = xp.where(x < 0.5, 1.0 - x, x)
    below = y < 1.0  # lgamma(y) = lgamma(y + 1) - log(y)
    n = xp.where(below, y + 1.0, y)
    near = (
        chebyshev(xp, tables.LGAMMA_NEAR, n) * xp.where(below, y, y - 1.0) * xp.where(below, y - 1.0, y - 2.0)
    )
    near = near - xp.where(below, xp.log(y), 0.0)
    large = xp.maximum(y, 10.0)
    far = (large - 0.5) * (xp.log(large) - 1.0) - 0.5 + HALF_LOG_TWO_PI + _correction(large)
    out = xp.where(y < 3.0, near, xp.where(y < 10.0, chebyshev(xp, tables.LGAMMA_MIDDLE, y), far))
    # gamma(x) gamma(1 - x) = pi / sin(pi x)
    sine = xp.absolute(xp.sin((x - xp.rint(x)) * math.pi))
    reflected = xp.where(sine == 0, math.inf, xp.log(math.pi / sine) - out)
    # Of a tiny number the sine may be 0 in flushed arithmetic, and 1 / x infinite: -log|x| is neither.
    reflected = xp.where(xp.absolute(x) < 1e-300, -xp.log(xp.absolute(x)), reflected)
    return xp.where(x < 0.5, xp.where(xp.isinf(x), math.inf, reflected), out)


def digamma(xp: Any, x: Any) -> Any:
    """The derivative of lgamma. NaN at negative whole numbers."""
    y = xp.where(x < 0.5, 1.0 - x, x)
    below = y < 1.0  # digamma(y) = digamma(y + 1) - 1 / y
    n = xp.where(below, y + 1.0, y)
    zero, rest = tables.DIGAMMA_ZERO
    near = chebyshev(xp, tables.DIGAMMA_NEAR, n) * ((n - zero) - rest) - xp.where(below, 1.0 / y, 0.0)
    large = xp.maximum(y, 10.0)
    square = 1.0 / (large * large)
    far = xp.log(large) - 0.5 / large - square * polynomial(square, DIGAMMA)
    out = xp.where(y < 3.0, near, xp.where(y < 10.0, chebyshev(xp, tables.DIGAMMA_MIDDLE, y), far))
    place = x - xp.rint(x)
    reflected = out - math.pi / xp.tan(place * math.pi)
    reflected = xp.where(x == 0, xp.copysign(math.inf, -x), xp.where(place == 0, math.nan, reflected))
    return xp.where(x < 0.5, reflected, out)


def trigamma(xp: Any, x: Any) -> Any:
    """The derivative of digamma. Infinite at 0 and negative whole numbers."""
    y = xp.where(x < 0.5, 1.0 - x, x)
    shifted, total = y, 0.0 * y
    for _ in range(12):  # trigamma(y) = trigamma(y + 1) + 1 / y**2
        low = shifted < 12.0
        total = total + xp.where(low, 1.0 / (shifted * shifted), 0.0)
        shifted = xp.where(low, shifted + 1.0, shifted)
    square = 1.0 / (shifted * shifted)
    tail = (1.0 + 0.5 / shifted + square * polynomial(square, BERNOULLI[:9])) / shifted
    out = total + tail
    sine = xp.sin((x - xp.rint(x)) * math.pi) * (1.0 / math.pi)
    return xp.where(x < 0.5, 1.0 / (sine * sine) - out, out)


def zeta(xp: Any, s: Any, q: Any) -> Any:
    """Hurwitz' zeta function, the sum of (q + k)**-s over k >= 0. Not straight-line code: it looks at q.

    Terms are added up to a point that lies far enough out for the sum formula; so a q far below 0 takes long.
    """
    s, q = xp.broadcast_arrays(s, q)
    total, place = xp.zeros(s.shape), xp.array(q)
    goal = 12.0 + xp.clip(xp.nan_to_num(s), 0.0, 100.0)
    while True:
        low = (place < goal) & xp.isfinite(place) & (s > 1)
        if not low.any():
            break
        total = xp.where(low, total + place**-s, total)
        place = xp.where(low, place + 1.0, place)
    power = place**-s
    factor = s / place  # s (s + 1) ... (s + 2j - 2) / place**(2j - 1)
    series = place / (s - 1.0) + 0.5
    over = 2.0  # (2j)!
    for j, b in enumerate(BERNOULLI, 1):
        series = series + factor * (b / over)
        factor = factor * ((s + (2 * j - 1)) / place) * ((s + 2 * j) / place)
        over *= (2 * j + 1) * (2 * j + 2)
    out = total + xp.where(xp.isinf(place), 0.0, power * series)
    out = xp.where(xp.isinf(s), xp.where(q < 1, xp.inf, q == 1), out)  # the largest of the powers decides
    poles = (s == 1) | ((q <= 0) & (q == xp.floor(q)) & (s > 1))
    undefined = (s < 1) | xp.isnan(s) | xp.isnan(q) | xp.isneginf(q)
    return xp.where(undefined, xp.nan, xp.where(poles, xp.inf, out))


# -- incomplete ----------------------------------------------------------------------------------------


def igamma(xp: Any, a: Any, x: Any) -> Any:
    """The regularised lower incomplete gamma function P(a, x)."""
    return _incomplete(xp, a, x)[0]


def igammac(xp: Any, a: Any, x: Any) -> Any:
    """The regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x)."""
    return _incomplete(xp, a, x)[1]


def _incomplete(xp: Any, a: Any, x: Any) -> tuple[Any, Any]:
    """P and Q: of the two, the smaller one by a series or a continued fraction, the other as its rest."""
    a, x = xp.broadcast_arrays(a, x)
    valid = (a > 0) & (x > 0) & xp.isfinite(a) & xp.isfinite(x)
    safe_a, safe_x = xp.where(valid, a, 1.0), xp.where(valid, x, 1.0)
    front = _front(xp, safe_a, safe_x)
    by_series = (safe_x <= 1.1) | (safe_x <= safe_a)
    lower = front * _sum(xp, xp.where(by_series, safe_a, 1.0), xp.where(by_series, safe_x, 0.5))
    fraction = _fraction(xp, xp.where(by_series, 1.0, safe_a), xp.where(by_series, 2.0, safe_x))
    upper = front * safe_a * fraction
    lower, upper = xp.minimum(lower, 1.0), xp.minimum(upper, 1.0)
    p = xp.where(by_series, lower, 1.0 - upper)
    q = xp.where(by_series, 1.0 - lower, upper)
    # Small arguments: Q would be what is left of 1. x**a / gamma(a + 1) near 1 is said by its logarithm.
    few = (safe_x <= 1.1) & (safe_a < 1.0)
    q = xp.where(few, _upper_of_small(xp, xp.where(few, safe_a, 0.5), xp.where(few, safe_x, 0.5)), q)
    all_below = ((x == xp.inf) & (a >= 0) & xp.isfinite(a)) | ((a == 0) & (x > 0))
    none_below = ((x == 0) & (a > 0)) | ((a == xp.inf) & xp.isfinite(x) & (x >= 0))
    p = xp.where(all_below, 1.0, xp.where(none_below, 0.0, xp.where(valid, p, xp.nan)))
    q = xp.where(all_below, 0.0, xp.where(none_below, 1.0, xp.where(valid, q, xp.nan)))
    return p, q


def _front(xp: Any, a: Any, x: Any) -> Any:
    """x**a e**-x / gamma(a + 1). For large a, powers of x / a, which do not cancel: 6.1.38."""
    small = xp.exp(a * xp.log(x) - x - lgamma(xp, a + 1.0))
    large = xp.maximum(a, 10.0)
    u = (x - large) / large
    near = chebyshev(xp, tables.LOG1PMX, u) * u * u
    gap = xp.where((u > -0.5) & (u < 0.75), near, xp.log(x / large) - u)
    far = xp.exp(large * gap - _correction(large)) / xp.sqrt(2 * math.pi * large)
    return xp.where(a < 10.0, small, far)


def _sum(xp: Any, a: Any, x: Any) -> Any:
    """1 + x / (a + 1) + x**2 / ((a + 1) (a + 2)) + ...: 6.5.29."""
    term, total, n = xp.ones(a.shape), xp.ones(a.shape), a
    while bool((term > 1e-17 * total).any()):
        n = n + 1.0
        term = term * x / n
        total = total + term
    return total


def _fraction(xp: Any, a: Any, x: Any) -> Any:
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - 2 (2 - a) / ...)): 6.5.31, by Lentz' algorithm."""
    b = x + 1.0 - a
    d = 1.0 / b
    c, out = xp.full(a.shape, 1e300), d
    k, going = 0, xp.ones(a.shape, bool)
    while bool(going.any()) and k < 100_000:
        k += 1
        factor = k * (a - k)
        b = b + 2.0
        d = 1.0 / _off_zero(xp, b + factor * d)
        c = _off_zero(xp, b + factor / c)
        change = c * d
        out = xp.where(going, out * change, out)
        going = going & (xp.absolute(change - 1.0) > 3e-16)
    return out


def _off_zero(xp: Any, x: Any) -> Any:
    return xp.where(xp.absolute(x) < 1e-300, 1e-300, x)


def _upper_of_small(xp: Any, a: Any, x: Any) -> Any:
    """Q = (1 - x**a / gamma(a + 1)) - x**a / gamma(a) times the sum of (-x)**n / (n! (a + n)), n >= 1."""
    logarithm = a * xp.log(x)
    first = -xp.expm1(logarithm - lgamma(xp, a + 1.0))
    power, total = xp.ones(a.shape), xp.zeros(a.shape)
    for n in range(1, 25):
        power = power * -x / n
        total = total + power / (a + n)
    return first - xp.exp(logarithm - lgamma(xp, a)) * total
