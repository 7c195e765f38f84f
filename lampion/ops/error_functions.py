"""The error function and its relatives."""

from __future__ import annotations

import math

from lampion.numerics import errors
from lampion.numerics.series import double, in_blocks
from lampion.ops.define import elementwise
from lampion.ops.elementwise import exp, neg

TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


@elementwise(saves="inputs", inputs="float", complexes=False)
class erf:
    """The error function: 2 / sqrt(pi) times the integral of e**-t**2 from 0 to x.

    Machine code has its own: `compiler/codegen/mathlib.py`.
    """

    def forward(xp, x): return xp.erf(x) if hasattr(xp, "erf") else in_blocks(xp, errors.erf, x)
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
