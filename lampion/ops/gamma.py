"""The gamma function's relatives, and the modified Bessel function i0, which `torch` has at its top level.

The formulas are in `lampion/numerics`.
"""

from __future__ import annotations

import math

from lampion.errors import GradientError, LampionError
from lampion.numerics import bessel, gamma
from lampion.numerics.series import double
from lampion.ops.arithmetic import abs
from lampion.ops.define import elementwise, operation, to_float
from lampion.ops.elementwise import add, eq, exp, gt, log, mul, neg, sub, where
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor


@elementwise(saves="inputs", inputs="float", complexes=False)
class lgamma:
    """The logarithm of the absolute value of the gamma function; infinite at 0, -1, -2..."""

    def forward(xp, x): return double(xp, gamma.lgamma, x)
    def vjp(g, x): return g * digamma(x)


@elementwise(saves="inputs", inputs="float", complexes=False)
class digamma:
    """The derivative of lgamma: gamma'(x) / gamma(x)."""

    def forward(xp, x): return double(xp, gamma.digamma, x)
    def vjp(g, x): return g * polygamma(1, x)


@elementwise(saves="inputs", public=False, complexes=False)
class trigamma:
    """The derivative of digamma."""

    def forward(xp, x): return double(xp, gamma.trigamma, x)
    def vjp(g, x): return g * polygamma(2, x)


@elementwise(saves="inputs", public=False)
class higher_polygamma:
    """The n-th derivative of digamma, for n >= 2: (-1)**(n + 1) n! zeta(n + 1, x)."""

    native = False

    def forward(xp, x, n):
        scale = (1.0 if n % 2 else -1.0) * math.exp(math.lgamma(n + 1))
        return double(xp, lambda xp, x: scale * gamma.zeta(xp, n + 1.0, x), x)

    def vjp(g, x, n): return g * polygamma(n + 1, x)

    def call(x, n): return apply(higher_polygamma.primitive, x, n=n)


@operation(inplace=True)
def polygamma(n, input):
    """The n-th derivative of `digamma`, n = 0, 1, 2... As a method: ``x.polygamma(n)``.

    >>> import lampion
    >>> lampion.polygamma(1, lampion.tensor([1.0, 0.5]))
    tensor([1.6449, 4.9348])
    """
    if isinstance(n, Tensor) and not isinstance(input, Tensor):
        n, input = input, n  # the method's order
    if not isinstance(n, int) or n < 0:
        raise LampionError("polygamma", "the order must be a whole number from 0 on", got=repr(n))
    input = to_float(as_tensor(input))
    if n > 1:
        return higher_polygamma(input, n)
    return trigamma(input) if n else digamma(input)


@operation(inplace=True)
def mvlgamma(input, p):
    """The logarithm of the multivariate gamma function with dimension p.

    C + lgamma(x) + lgamma(x - 1/2) + ... + lgamma(x - (p - 1) / 2), where C = p (p - 1) / 4 log(pi); for x
    above (p - 1) / 2.
    """
    if not isinstance(p, int) or p < 1:
        raise LampionError("mvlgamma", "the dimension must be a whole number from 1 on", got=repr(p))
    input = to_float(as_tensor(input))
    total = lgamma(input)
    for j in range(1, p):
        total = add(total, lgamma(sub(input, j / 2)))
    return add(total, p * (p - 1) / 4 * math.log(math.pi))


@elementwise(saves="inputs", inputs="float", complexes=False)
class igamma:
    """The regularised lower incomplete gamma function: the integral of t**(x-1) e**-t from 0 to y, divided
    by gamma(x). Differentiable in the second argument only.
    """

    native = False
    def forward(xp, x, y): return double(xp, gamma.igamma, x, y)
    def vjp(g, x, y): return lambda: _no_slope("igamma"), lambda: g * _density(x, y)


@elementwise(saves="inputs", inputs="float", complexes=False)
class igammac:
    """The regularised upper incomplete gamma function: 1 - igamma(x, y)."""

    native = False
    def forward(xp, x, y): return double(xp, gamma.igammac, x, y)
    def vjp(g, x, y): return lambda: _no_slope("igammac"), lambda: neg(g * _density(x, y))


def _density(a, x):
    """x**(a-1) e**-x / gamma(a)."""
    a = as_tensor(a)
    return exp(sub(sub(mul(sub(a, 1), log(x) if isinstance(x, Tensor) else math.log(x)), x), lgamma(a)))


def _no_slope(name):
    raise GradientError(name, "it is not differentiable in its first argument", fix="detach() that one")


@elementwise(saves="inputs", inputs="float", complexes=False)
class i0:
    """The modified Bessel function of the first kind of order 0."""

    def forward(xp, x): return double(xp, bessel.i0, x)
    def vjp(g, x): return g * i1(x)


@elementwise(saves="both", inputs="float", complexes=False, public=False)
class i1:
    """The modified Bessel function of the first kind of order 1."""

    def forward(xp, x): return double(xp, bessel.i1, x)

    def vjp(g, x, y):
        apart = apart_from_zero(x)
        return g * where(eq(apart, x), sub(i0(apart), i1(apart) / apart), 0.5)


def apart_from_zero(x):
    """x, but where it is nearer to 0 than a unit in the last place: there a number that can be divided by."""
    limit = 2.0**-52 if x.dtype.itemsize == 8 else 2.0**-23
    return where(gt(abs(x), limit), x, limit)
