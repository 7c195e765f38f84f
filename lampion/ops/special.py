"""What `lampion.special` has beyond the functions that have a name at the top level too.

The formulas are in `lampion/numerics`.
"""

from __future__ import annotations

import math

from lampion.errors import GradientError
from lampion.numerics import errors, gamma, orthogonal
from lampion.numerics.series import double
from lampion.ops.define import elementwise
from lampion.ops.elementwise import add, div, eq, exp, le, log, neg, where
from lampion.ops.exponentials import log1p
from lampion.ops.logic import logical_and

ROOT_TWO_PI = math.sqrt(2 * math.pi)


@elementwise(saves="inputs", inputs="float", complexes=False, public=False)
class entr:
    """The entropy -x log(x) of each element: 0 at 0, -infinity below.

    >>> import lampion
    >>> lampion.special.entr(lampion.tensor([0.0, 0.5, 1.0]))
    tensor([0.0000, 0.3466, -0.0000])
    """

    def forward(xp, x):
        inside = xp.where(xp.greater(x, 0), x, 1)
        value = xp.negative(inside * xp.log(inside))
        value = xp.where(xp.equal(x, 0), 0, xp.where(xp.less(x, 0), -math.inf, value))
        return xp.where(xp.isnan(x), x, value).astype(x.dtype)

    def vjp(g, x): return g * neg(add(log(x), 1))


@elementwise(saves="inputs", inputs="float", complexes=False, public=False)
class erfcx:
    """e**(x**2) erfc(x), which neither vanishes nor overflows for x > 0."""

    def forward(xp, x): return double(xp, errors.erfcx, x)
    def vjp(g, x): return g * (2 * x * erfcx(x) - 2 / math.sqrt(math.pi))


@elementwise(saves="inputs", inputs="float", complexes=False, public=False)
class ndtr:
    """The area under the bell curve up to x: the normal distribution function."""

    def forward(xp, x): return double(xp, errors.ndtr, x)
    def vjp(g, x): return g * exp(x * x * -0.5) * (1 / ROOT_TWO_PI)


@elementwise(saves="inputs", inputs="float", complexes=False, public=False)
class log_ndtr:
    """log(ndtr(x)), accurate also where ndtr(x) is near 0 or 1.

    >>> import lampion
    >>> lampion.special.log_ndtr(lampion.tensor([-40.0, 0.0, 10.0]))
    tensor([-8.0461e+02, -6.9315e-01, -7.6199e-24])
    """

    def forward(xp, x): return double(xp, errors.log_ndtr, x)
    def vjp(g, x): return div(g * math.sqrt(2 / math.pi), erfcx(x * -math.sqrt(0.5)))


@elementwise(saves="output", inputs="float", complexes=False, public=False)
class ndtri:
    """The number whose ndtr is x: the quantile of the normal distribution. NaN outside of [0, 1]."""

    def forward(xp, x): return double(xp, errors.ndtri, x)
    def vjp(g, y): return g * exp(y * y * 0.5) * ROOT_TWO_PI


@elementwise(saves="inputs", inputs="float", complexes=False, public=False)
class xlog1py:
    """x log(1 + y); 0 where x is 0, whatever y is but NaN."""

    def forward(xp, x, y):
        nothing = xp.logical_and(xp.equal(x, 0), xp.logical_not(xp.isnan(y)))
        return xp.where(nothing, 0, x * xp.log1p(y)).astype((y if hasattr(y, "dtype") else x).dtype)

    def vjp(g, x, y):
        return (
            lambda: where(logical_and(eq(x, 0), le(y, -1)), 0.0, g * log1p(y)),
            lambda: g * div(x, add(y, 1)),
        )


@elementwise(saves="inputs", inputs="float", complexes=False, public=False)
class zeta:
    """Hurwitz' zeta function: the sum of (y + k)**-x over k = 0, 1, 2... Differentiable in y only.

    >>> import lampion
    >>> lampion.special.zeta(lampion.tensor(2.0), 1)
    tensor(1.6449)
    """

    native = False
    def forward(xp, x, y): return double(xp, gamma.zeta, x, y)
    def vjp(g, x, y): return lambda: _no_slope("zeta"), lambda: neg(g * x * zeta(add(x, 1), y))


def _no_slope(name):
    raise GradientError(name, "it is not differentiable in its first argument", fix="detach() that one")


# -- orthogonal polynomials: of a whole order, that may be another one for each element -------------------


def _defined(family, name, text, of=None):
    """The operation that evaluates a family of polynomials at x, or at `of` x. It has no gradient."""

    class rules:
        native = False  # a loop whose length is a value

        def forward(xp, x, y):
            return double(xp, lambda xp, x, n: orthogonal.evaluate(xp, family, of(x) if of else x, n), x, y)

        def extend(plain):
            def polynomial(input, n): return plain(input, n)
            return polynomial

    rules.__name__, rules.__doc__ = name, text
    return elementwise(rules, inputs="float", complexes=False, public=False)


NOTE = " The order is cut to a whole number; below 0 the result is 0. Not differentiable."
chebyshev_polynomial_t = _defined("chebyshev_t", "chebyshev_polynomial_t",
    "Chebyshev's polynomial of the first kind: cos(n t) at x = cos(t)." + NOTE)  # fmt: skip
chebyshev_polynomial_u = _defined("chebyshev_u", "chebyshev_polynomial_u",
    "Chebyshev's polynomial of the second kind: sin((n + 1) t) / sin(t) at x = cos(t)." + NOTE)  # fmt: skip
chebyshev_polynomial_v = _defined("chebyshev_v", "chebyshev_polynomial_v",
    "Chebyshev's polynomial of the third kind: cos((n + 1/2) t) / cos(t / 2) at x = cos(t)."
    + NOTE)  # fmt: skip
chebyshev_polynomial_w = _defined("chebyshev_w", "chebyshev_polynomial_w",
    "Chebyshev's polynomial of the fourth kind: sin((n + 1/2) t) / sin(t / 2) at x = cos(t)."
    + NOTE)  # fmt: skip
hermite_polynomial_h = _defined("hermite_h", "hermite_polynomial_h",
    "The physicist's Hermite polynomial: 1, 2x, 4x**2 - 2..." + NOTE)  # fmt: skip
hermite_polynomial_he = _defined("hermite_he", "hermite_polynomial_he",
    "The probabilist's Hermite polynomial: 1, x, x**2 - 1..." + NOTE)  # fmt: skip
laguerre_polynomial_l = _defined("laguerre", "laguerre_polynomial_l",
    "Laguerre's polynomial: 1, 1 - x, 1 - 2x + x**2 / 2..." + NOTE)  # fmt: skip
legendre_polynomial_p = _defined("legendre", "legendre_polynomial_p",
    "Legendre's polynomial: 1, x, (3x**2 - 1) / 2..." + NOTE)  # fmt: skip


def _shifted(kind):
    return _defined(f"chebyshev_{kind}", f"shifted_chebyshev_polynomial_{kind}",
                    f"`chebyshev_polynomial_{kind}` at 2x - 1, for x from 0 to 1." + NOTE,
                    of=lambda x: 2.0 * x - 1.0)  # fmt: skip


shifted_chebyshev_polynomial_t = _shifted("t")
shifted_chebyshev_polynomial_u = _shifted("u")
shifted_chebyshev_polynomial_v = _shifted("v")
shifted_chebyshev_polynomial_w = _shifted("w")
