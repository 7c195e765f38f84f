"""Evaluating series, and running formulas of float64 for other types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Table = tuple[float, float, tuple[float, ...]]


def double(xp: Any, formula: Callable[..., Any], *args: Any) -> Any:
    """The formula of these arguments, computed in float64 and rounded to their type once."""
    dtype = next(x.dtype for x in args if hasattr(x, "dtype"))
    wide = [x.astype("float64") if hasattr(x, "dtype") else float(x) for x in args]
    return formula(xp, *wide).astype(dtype)


def chebyshev(xp: Any, table: Table, x: Any) -> Any:
    """The sum of c[k] T_k(t), where t is x mapped from [low, high] to [-1, 1] (and clipped to it).

    Clenshaw's recurrence: C. W. Clenshaw, "A note on the summation of Chebyshev series" (1955).
    """
    low, high, coefficients = table
    t = (x - 0.5 * (low + high)) * (2.0 / (high - low))
    t = xp.minimum(xp.maximum(t, -1.0), 1.0)
    twice = t + t
    after = coefficients[-1]
    now = twice * after + coefficients[-2]
    for c in coefficients[-3:0:-1]:
        now, after = twice * now - after + c, now
    return t * now - after + coefficients[0]


def polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    """Horner's rule; the lowest power first."""
    out = x * coefficients[-1] + coefficients[-2]
    for c in coefficients[-3::-1]:
        out = out * x + c
    return out
