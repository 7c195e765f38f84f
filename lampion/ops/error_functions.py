"""The error function and its relatives."""

from __future__ import annotations

import math

from lampion.compiler.codegen.polynomials import FLOAT32, FLOAT64
from lampion.ops.define import elementwise
from lampion.ops.elementwise import exp, neg

TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


def horner(x, coefficients):
    """The polynomial with these coefficients, lowest power first."""
    out = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        out = out * x + coefficient
    return out


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
        small = x + x * horner(xp.minimum(x * x, 1), form.erf_small)
        large = xp.copysign(1 - xp.exp(-horner(size, form.erf_large)), x)
        return xp.where(xp.less(size, 1), small, large)

    def vjp(g, x): return g * exp(neg(x * x)) * TWO_OVER_ROOT_PI
