"""The error function's relatives: areas under the bell curve, scaled and inverted.

erfc(x) e**(x**2) falls from 1 like 1 / (sqrt(pi) x); times 1 + 2x it is smooth in (x - k) / (x + k) on all of
[0, inf]: M. M. Shepherd and J. G. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in
0 <= x < inf", Mathematics of Computation 36 (1981). The inverse is nearly linear in the square root of
-log(1 - x**2): M. B. Giles, "Approximating the erfinv function" (2010).
"""

from __future__ import annotations

import math
from typing import Any

from lampion.compiler.codegen.polynomials import FLOAT32, FLOAT64
from lampion.numerics import tables
from lampion.numerics.series import chebyshev, polynomial

ROOT_HALF = math.sqrt(0.5)


def erf(xp: Any, x: Any) -> Any:
    """The error function, of float32 or float64: x + x P(x**2) up to 1; beyond, 1 - e**-Q(x)."""
    form = FLOAT32 if x.dtype.itemsize == 4 else FLOAT64
    size = xp.minimum(xp.absolute(x), form.erf_high)
    small = x + x * polynomial(xp.minimum(x * x, 1), form.erf_small)
    large = xp.copysign(1 - xp.exp(-polynomial(size, form.erf_large)), x)
    return xp.where(size < 1, small, large)


def _scaled(xp: Any, x: Any) -> Any:
    """e**(x**2) erfc(x) for x >= 0."""
    return chebyshev(xp, tables.ERFCX, 1.0 - 7.5 / (x + 3.75)) / (1.0 + 2.0 * x)


def _parts(xp: Any, x: Any) -> tuple[Any, Any]:
    """Two numbers whose sum is x**2, the first of them exact; for x from 0 to 40."""
    coarse = xp.floor(x * 16.0) * 0.0625
    return coarse * coarse, (x - coarse) * (x + coarse)


def erfc(xp: Any, x: Any) -> Any:
    """1 - erf(x), without cancellation."""
    size = xp.minimum(xp.absolute(x), 40.0)
    square, rest = _parts(xp, size)
    tail = xp.exp(-square) * xp.exp(-rest) * _scaled(xp, size)
    return xp.where(x < 0, 2.0 - tail, tail)


def erfcx(xp: Any, x: Any) -> Any:
    """e**(x**2) erfc(x)."""
    size = xp.absolute(x)
    square, rest = _parts(xp, xp.minimum(size, 40.0))
    tail = _scaled(xp, size)
    return xp.where(x < 0, 2.0 * xp.exp(square) * xp.exp(rest) - tail, tail)


def ndtr(xp: Any, x: Any) -> Any:
    """The area under the bell curve up to x."""
    return 0.5 * erfc(xp, x * -ROOT_HALF)


def log_ndtr(xp: Any, x: Any) -> Any:
    """log(ndtr(x)), also where that is 0."""
    low = xp.log(0.5 * _scaled(xp, xp.maximum(x * -ROOT_HALF, 0.0))) - 0.5 * x * x
    return xp.where(x < -1.0, low, xp.log1p(-0.5 * erfc(xp, xp.maximum(x, -1.0) * ROOT_HALF)))


def erfinv(xp: Any, x: Any) -> Any:
    """The number whose erf is x."""
    w = -xp.log((1.0 - x) * (1.0 + x))
    near = chebyshev(xp, tables.ERFINV_NEAR, w)
    far = chebyshev(xp, tables.ERFINV_FAR, xp.sqrt(xp.maximum(w, 0.0)))
    out = x * xp.where(w < 6.0, near, far)
    return xp.where(xp.absolute(x) == 1.0, x * math.inf, out)


def ndtri(xp: Any, p: Any) -> Any:
    """The number whose ndtr is p."""
    y = p - 0.5
    middle = y * chebyshev(xp, tables.NDTRI_MIDDLE, y * y)
    smaller = xp.where(y > 0, 1.0 - p, p)
    z = xp.sqrt(-2.0 * xp.log(smaller))
    near, far = chebyshev(xp, tables.NDTRI_NEAR, z), chebyshev(xp, tables.NDTRI_FAR, z)
    tail = xp.where(z < 8.0, near, xp.where(smaller == 0, math.inf, far))
    out = xp.where(z > 2.0, xp.copysign(tail, y), middle)
    return xp.where(xp.absolute(y) <= 0.5, out, math.nan)
