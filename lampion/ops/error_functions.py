"""The error function and its relatives."""

from __future__ import annotations

import math

from lampion.compiler.codegen.polynomials import FLOAT32, FLOAT64
from lampion.numerics import errors
from lampion.numerics.series import double, polynomial
from lampion.ops.define import elementwise
from lampion.ops.elementwise import exp, neg

TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


@elementwise(saves="inputs", inputs="float", complexes=False)
class erf:
    """The error function: 2 / sqrt(pi) times the integral of e**-t**2 from 0 to x.

    In the way of `compiler/codegen/mathlib.py`: x + x P(x**2) up to 1; beyond, 1 - e**-Q(x).
    """

    def forward(xp, x):
        if hasattr(xp, "erf"):  # machine code has it
            return xp.erf(x)
        form = FLOAT32 if x.dtype.itemsize == 4 else FLOAT64
        size = xp.minimum(xp.absolute(x), form.erf_high)
        small = x + x * polynomial(xp.minimum(x * x, 1), form.erf_small)
        large = xp.copysign(1 - xp.exp(-polynomial(size, form.erf_large)), x)
        return xp.where(xp.less(size, 1), small, large)

    def vjp(g, x): return g * exp(neg(x * x)) * TWO_OVER_ROOT_PI


@elementwise(saves="inputs", inputs="float", complexes=False)
class erfc:
    """1 - erf(x), without cancellation where erf(x) is near 1."""

    def forward(xp, x): return double(xp, errors.erfc, x)
    def vjp(g, x): return neg(g * exp(neg(x * x)) * TWO_OVER_ROOT_PI)


@elementwise(saves="output", inputs="float", complexes=False)
class erfinv:
    """The number whose erf is x; infinite at -1 and 1, NaN outside."""

    def forward(xp, x): return double(xp, errors.erfinv, x)
    def vjp(g, y): return g * exp(y * y) * (1 / TWO_OVER_ROOT_PI)
