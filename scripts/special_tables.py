"""Compute the numbers behind the special functions: writes lampion/numerics/tables.py.

    python scripts/special_tables.py

Each entry is a function that is smooth on an interval, as a Chebyshev series: interpolated in 40 digits at
64 nodes, and cut off where the rest is below 1e-17 of the largest value. Which function it is, of
which variable, is written here and nowhere else; `lampion/numerics` has the formulas that use it. Needs
mpmath, which Lampion itself does not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpmath import mp, mpf

mp.dps = 40
NODES = 64
TARGET = Path(__file__).resolve().parent.parent / "lampion" / "numerics" / "tables.py"
HEAD = '''\
# Written by `python scripts/special_tables.py`.
"""Chebyshev series of smooth functions: (low, high, coefficients). See the script for what each one is."""

from __future__ import annotations

'''


def series(function: Callable[[Any], Any], low: float, high: float) -> list[float]:
    """The coefficients of the Chebyshev polynomials, halved at 0: sum c[k] T_k."""
    low, high = mpf(low), mpf(high)
    angles = [mp.pi * (2 * n + 1) / (2 * NODES) for n in range(NODES)]
    values = [function((low + high) / 2 + (high - low) / 2 * mp.cos(angle)) for angle in angles]
    found = []
    for k in range(NODES):
        total = mp.fsum(value * mp.cos(k * angle) for value, angle in zip(values, angles, strict=True))
        found.append(total * (1 if k == 0 else 2) / NODES)
    limit = max(abs(value) for value in values) * mpf("1e-17")
    while found and abs(found[-1]) < limit:
        found.pop()
    if len(found) > NODES - 8:
        raise ValueError("the series does not converge quickly enough on this interval")
    return [float(c) for c in found]


def ndtri_tail(z: Any) -> Any:
    """-ndtri(exp(-z**2 / 2))."""
    return mp.findroot(lambda y: mp.log(mp.erfc(y / mp.sqrt(2)) / 2) + z * z / 2, z - mp.log(2 * z) / z)


def hankel(order: int, x: Any) -> tuple[Any, Any]:
    """P and Q with J + iY = sqrt(2 / (pi x)) exp(i (x - pi/4 - order pi/2)) (P + iQ)."""
    value = (mp.besselj(order, x) + 1j * mp.bessely(order, x)) * mp.sqrt(mp.pi * x / 2)
    value *= mp.exp(-1j * (x - mp.pi / 4 - order * mp.pi / 2))
    return value.real, value.imag


def airy_wave(zeta: Any) -> tuple[Any, Any]:
    """F and G with Ai(-x) = (cos(zeta - pi/4) F + sin(zeta - pi/4) G) / (sqrt(pi) x**(1/4))."""
    x = (zeta * 3 / 2) ** (mpf(2) / 3)
    size = mp.sqrt(mp.pi) * mp.root(x, 4)
    a, b = mp.airyai(-x) * size, mp.airybi(-x) * size
    c, s = mp.cos(zeta - mp.pi / 4), mp.sin(zeta - mp.pi / 4)
    return a * c - b * s, a * s + b * c


def airy_decay(zeta: Any) -> Any:
    x = (zeta * 3 / 2) ** (mpf(2) / 3)
    return 2 * mp.sqrt(mp.pi) * mp.root(x, 4) * mp.exp(zeta) * mp.airyai(x)


def erfinv_ratio(w: Any) -> Any:
    """erfinv(x) / x, where w = -log(1 - x**2)."""
    x = mp.sqrt(-mp.expm1(-w))
    start = mp.sqrt(w) if w > 1 else x
    y = mp.findroot(lambda y: mp.log(mp.erfc(y)) - mp.log1p(-x) if w > 1 else mp.erf(y) - x, start)
    return y / x


def main() -> None:
    i, k, root = mp.besseli, mp.besselk, mp.sqrt
    zero_of_digamma = mp.findroot(mp.digamma, 1.46)
    zero_of_j0, zero_of_j1 = mp.besseljzero(0, 1), mp.besseljzero(1, 1)
    shape = mpf("3.75")  # of the map from [0, inf) to [-1, 1): see numerics/errors.py

    def erfcx(u: Any) -> Any:
        x = shape * (1 + u) / (1 - u)
        return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)

    tables: dict[str, tuple[Callable[[Any], Any], float, float]] = {
        "ERFCX": (erfcx, -1, 1),
        "ERFINV_NEAR": (erfinv_ratio, 0, 6),
        "ERFINV_FAR": (lambda s: erfinv_ratio(s * s), 2.4, 6.2),
        "NDTRI_MIDDLE": (lambda v: mp.sqrt(2) * mp.erfinv(2 * root(v)) / root(v), 0, 0.1332),
        "NDTRI_NEAR": (ndtri_tail, 2, 8),
        "NDTRI_FAR": (ndtri_tail, 8, 39),
        "LGAMMA_NEAR": (lambda x: mp.loggamma(x) / ((x - 1) * (x - 2)), 1, 3),
        "LGAMMA_MIDDLE": (mp.loggamma, 3, 10),
        "DIGAMMA_NEAR": (lambda x: mp.digamma(x) / (x - zero_of_digamma), 1, 3),
        "DIGAMMA_MIDDLE": (mp.digamma, 3, 10),
        "LOG1PMX": (lambda u: (mp.log1p(u) - u) / (u * u), -0.5, 0.75),
        "I0_NEAR": (lambda x: mp.exp(-x) * i(0, x), 0, 8),
        "I0_FAR": (lambda r: root(8 / r) * mp.exp(-8 / r) * i(0, 8 / r), 0, 1),
        "I1_NEAR": (lambda x: mp.exp(-x) * i(1, x) / x, 0, 8),
        "I1_FAR": (lambda r: root(8 / r) * mp.exp(-8 / r) * i(1, 8 / r), 0, 1),
        "K0_NEAR": (lambda v: k(0, root(v)) + mp.log(root(v) / 2) * i(0, root(v)), 0, 4),
        "K0_FAR": (lambda r: root(2 / r) * mp.exp(2 / r) * k(0, 2 / r), 0, 1),
        "K1_NEAR": (lambda v: root(v) * (k(1, root(v)) - mp.log(root(v) / 2) * i(1, root(v))), 0, 4),
        "K1_FAR": (lambda r: root(2 / r) * mp.exp(2 / r) * k(1, 2 / r), 0, 1),
        "J0_NEAR": (lambda v: mp.besselj(0, root(v)) / (v - zero_of_j0**2), 0, 25),
        "J1_NEAR": (lambda v: mp.besselj(1, root(v)) / (root(v) * (v - zero_of_j1**2)), 0, 25),
        "Y0_NEAR": (
            lambda v: mp.bessely(0, root(v)) - mp.log(v) / mp.pi * mp.besselj(0, root(v)), 0, 25,
        ),
        "Y1_NEAR": (
            lambda v: (mp.bessely(1, root(v)) - (mp.log(v) * mp.besselj(1, root(v)) - 2 / root(v)) / mp.pi)
            / root(v), 0, 25,
        ),
        "P0": (lambda r: hankel(0, 5 / root(r))[0], 0, 1),
        "Q0": (lambda r: hankel(0, 5 / root(r))[1] / root(r), 0, 1),
        "P1": (lambda r: hankel(1, 5 / root(r))[0], 0, 1),
        "Q1": (lambda r: hankel(1, 5 / root(r))[1] / root(r), 0, 1),
        "AIRY_MIDDLE": (mp.airyai, -2.1, 2.1),
        "AIRY_DECAY": (lambda r: airy_decay(2 / r), 0, 1),
        "AIRY_WAVE_F": (lambda r: airy_wave(2 / root(r))[0], 0, 1),
        "AIRY_WAVE_G": (lambda r: airy_wave(2 / root(r))[1] / root(r), 0, 1),
    }  # fmt: skip
    numbers = {
        "DIGAMMA_ZERO": (zero_of_digamma, float(zero_of_digamma)),
        "J0_ZERO": (zero_of_j0, float(zero_of_j0)),
        "J1_ZERO": (zero_of_j1, float(zero_of_j1)),
    }
    parts = [HEAD]
    for name, (exact, rounded) in numbers.items():
        parts.append(f"{name} = ({rounded!r}, {float(exact - rounded)!r})  # and what rounding took away\n")
    for name, (function, low, high) in tables.items():
        print(name)
        words = [f"{c!r}," for c in series(function, low, high)]
        lines = [" ".join(words[n : n + 4]) for n in range(0, len(words), 4)]
        coefficients = "".join(f"    {line}\n" for line in lines)
        parts.append(f"{name} = ({low}, {high}, (\n{coefficients}))  # fmt: skip\n")
    TARGET.write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
