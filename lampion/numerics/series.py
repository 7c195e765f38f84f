"""Evaluating series, and running formulas of float64 for other types."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

#: Elements that a formula is carried out on at a time.
BLOCK = 8192
Table = tuple[float, float, tuple[float, ...]]


def double(xp: Any, formula: Callable[..., Any], *args: Any) -> Any:
    """The formula of these arguments, computed in float64 and rounded to their type once."""
    dtype = next(x.dtype for x in args if hasattr(x, "dtype"))

    def wide(xp: Any, *parts: Any) -> Any:
        numbers = [x.astype("float64") if hasattr(x, "dtype") else float(x) for x in parts]
        return formula(xp, *numbers).astype(dtype)

    return in_blocks(xp, wide, *args)


def in_blocks(xp: Any, formula: Callable[..., Any], *args: Any) -> Any:
    """The formula; in NumPy a part of the elements at a time, so that its many arrays stay in cache."""
    if xp is not np or max(np.size(x) for x in args) <= 2 * BLOCK:
        return formula(xp, *args)
    shape = np.broadcast_shapes(*(np.shape(x) for x in args))
    flat = [np.broadcast_to(x, shape).reshape(-1) if np.ndim(x) else x for x in args]
    size = math.prod(shape)
    parts = [
        formula(np, *(x[start : start + BLOCK] if np.ndim(x) else x for x in flat))
        for start in range(0, size, BLOCK)
    ]
    return np.concatenate(parts).reshape(shape)


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
