"""What an elementwise operation costs at one point, in units of one addition: for sharing work out."""

from __future__ import annotations

#: A polynomial and some arithmetic.
_POLYNOMIAL = (
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "erf", "exp", "exp2", "expm1",
    "floor_divide", "fmod", "log", "log1p", "log10", "log2", "logaddexp", "logaddexp2", "logit", "remainder",
    "sigmoid", "sin", "sinc", "sinh", "tan", "tanh", "xlog1py", "xlogy",
)  # fmt: skip
#: A division by software, or polynomials in twice the digits.
_LONG = ("pow", "trunc_divide")
#: Several series in float64, of which one is chosen.
_SERIES = (
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "digamma", "erfc", "erfcx", "erfinv", "i0",
    "i0e", "i1", "i1e", "lgamma", "log_ndtr", "modified_bessel_k0", "modified_bessel_k1", "ndtr", "ndtri",
    "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "trigamma",
)  # fmt: skip

PRICES: dict[str, float] = (
    {"div": 3.0, "sqrt": 4.0, "rsqrt": 6.0, "reciprocal": 3.0, "hypot": 8.0}
    | dict.fromkeys(_POLYNOMIAL, 16.0)
    | dict.fromkeys(_LONG, 40.0)
    | dict.fromkeys(_SERIES, 120.0)
)


def price(name: str) -> float:
    """1 for what is not listed."""
    return PRICES.get(name, 1.0)
