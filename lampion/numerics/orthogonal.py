"""Orthogonal polynomials, each from the two before it: Abramowitz and Stegun, 22.7 and 22.4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lampion.errors import LampionError

MOST = 100_000

#: name: (the polynomial of order 1, the one of order k + 1 from those of orders k and k - 1)
FAMILIES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "chebyshev_t": (lambda x: x, lambda x, k, now, last: 2.0 * x * now - last),
    "chebyshev_u": (lambda x: 2.0 * x, lambda x, k, now, last: 2.0 * x * now - last),
    "chebyshev_v": (lambda x: 2.0 * x - 1.0, lambda x, k, now, last: 2.0 * x * now - last),
    "chebyshev_w": (lambda x: 2.0 * x + 1.0, lambda x, k, now, last: 2.0 * x * now - last),
    "hermite_h": (lambda x: 2.0 * x, lambda x, k, now, last: 2.0 * (x * now - k * last)),
    "hermite_he": (lambda x: x, lambda x, k, now, last: x * now - k * last),
    "laguerre": (lambda x: 1.0 - x, lambda x, k, now, last: ((2 * k + 1 - x) * now - k * last) / (k + 1)),
    "legendre": (lambda x: x, lambda x, k, now, last: ((2 * k + 1) * x * now - k * last) / (k + 1)),
}


def evaluate(xp: Any, family: str, x: Any, n: Any) -> Any:
    """The polynomial of order n at x; n is cut to a whole number, and below 0 the result is 0."""
    first, step = FAMILIES[family]
    x, n = xp.broadcast_arrays(x, xp.trunc(n))
    most = n.max() if n.size else 0
    if most > MOST:
        raise LampionError(family, "the order is too high for a recurrence", expected=f"at most {MOST}",
                           got=f"{most:g}")  # fmt: skip
    last, now = xp.ones(x.shape), first(x)
    out = xp.where(n == 0, 1.0, xp.where(n == 1, now, 0.0))
    for k in range(1, int(most) if most > 1 else 1):
        last, now = now, step(x, k, now, last)
        out = xp.where(n == k + 1, now, out)
    return out
