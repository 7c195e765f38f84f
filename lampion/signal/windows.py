"""Window functions, under the names of `torch.signal.windows`.

A window weights a piece of a signal, fading towards its ends, so that the piece's spectrum is not that of
two jumps. All have the arguments

    M: the number of points;
    sym: a window that is its own mirror image; otherwise the first M points of one of M + 1, which is what
        spectra need (the next period begins where this one ends);
    dtype, requires_grad: as for `lampion.ones`.

They are computed in float64 and rounded once.

Source: F. Harris, "On the use of windows for harmonic analysis with the discrete Fourier transform", Proc.
IEEE 66 (1978); A. Nuttall, "Some windows with very good sidelobe behavior", IEEE Trans. ASSP 29 (1981).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lampion import dtype as dtypes
from lampion.construct import check_device
from lampion.errors import DTypeError, LampionError
from lampion.mode import mode
from lampion.tensor import Tensor, wrap

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming",
    "hamming", "hann", "kaiser", "nuttall",
]  # fmt: skip


def made(
    name: str, M: int, sym: bool, formula: Callable[[Any, float], Any], dtype: Any = None,
    requires_grad: bool = False, device: Any = None,
) -> Tensor:  # fmt: skip
    """A window from ``formula(points 0 to M - 1, the last point of a period)``."""
    wanted = dtypes.get_default_dtype() if dtype is None else dtypes.of(dtype)
    check_device(name, device)
    if not wanted.is_floating_point or wanted.is_half:
        raise DTypeError(name, "a window is float32 or float64", got=str(wanted))
    if M < 0:
        raise LampionError(name, "the number of points is negative", got=f"M={M}")
    if M <= 1:
        values = np.ones(M)
    else:
        values = formula(np.arange(M, dtype=np.float64), float(M - 1 if sym else M))
    array = values.astype(wanted.numpy)
    return wrap(array if mode.trace is None else mode.trace.constant(array)).requires_grad_(requires_grad)


def cosine_sum(weights: Iterable[float]) -> Callable[[Any, float], Any]:
    """``w[0] - w[1] cos(t) + w[2] cos(2 t) - ...``, t running once around the circle."""
    factors = list(weights)

    def formula(points: Any, last: float) -> Any:
        angle = points * (2 * math.pi / last)
        return sum((-1) ** i * w * np.cos(i * angle) for i, w in enumerate(factors))

    return formula


def bartlett(
    M: int, *, sym: bool = True, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A triangle: ``1 - |2 n / N - 1|``."""
    return made("bartlett", M, sym, lambda n, last: 1 - abs(2 * n / last - 1), dtype, requires_grad, device)


def blackman(
    M: int, *, sym: bool = True, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``0.42 - 0.5 cos(t) + 0.08 cos(2 t)``."""
    return made("blackman", M, sym, cosine_sum((0.42, 0.5, 0.08)), dtype, requires_grad, device)


def cosine(
    M: int, *, sym: bool = True, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Half a wave of the sine: ``sin(pi (n + 1/2) / M)``."""

    def formula(n: Any, last: float) -> Any:
        return np.sin(math.pi * (n + 0.5) / (last + 1))

    return made("cosine", M, sym, formula, dtype, requires_grad, device)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``exp(-|n - center| / tau)``; the centre may be given only if not `sym`."""
    if tau <= 0:
        raise LampionError("exponential", "tau must be positive", got=f"tau={tau}")
    if sym and center is not None:
        raise LampionError("exponential", "a symmetric window has its centre in the middle", fix="sym=False")

    def formula(n: Any, last: float) -> Any:
        return np.exp(-abs(n - (last / 2 if center is None else center)) / tau)

    return made("exponential", M, sym, formula, dtype, requires_grad, device)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``exp(-(n / std)**2 / 2)``, n counted from the middle."""
    if std <= 0:
        raise LampionError("gaussian", "the standard deviation must be positive", got=f"std={std}")

    def formula(n: Any, last: float) -> Any:
        return np.exp(-(((n - last / 2) / std) ** 2) / 2)

    return made("gaussian", M, sym, formula, dtype, requires_grad, device)


def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A sum of cosines with weights of one's own: ``a[0] - a[1] cos(t) + a[2] cos(2 t) - ...``."""
    weights = list(a)
    if not weights:
        raise LampionError("general_cosine", "there are no weights", got="a=[]")
    return made("general_cosine", M, sym, cosine_sum(weights), dtype, requires_grad, device)


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``alpha - (1 - alpha) cos(t)``."""
    return made("general_hamming", M, sym, cosine_sum((alpha, 1 - alpha)), dtype, requires_grad, device)


def hamming(
    M: int, *, sym: bool = True, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``0.54 - 0.46 cos(t)``."""
    return made("hamming", M, sym, cosine_sum((0.54, 0.46)), dtype, requires_grad, device)


def hann(
    M: int, *, sym: bool = True, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """``(1 - cos(t)) / 2``.

    >>> import lampion
    >>> lampion.signal.windows.hann(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return made("hann", M, sym, cosine_sum((0.5, 0.5)), dtype, requires_grad, device)


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``I0(beta sqrt(1 - (2 n / N - 1)**2)) / I0(beta)``, I0 being Bessel's modified function of order 0."""
    if beta < 0:
        raise LampionError("kaiser", "beta must not be negative", got=f"beta={beta}")

    def formula(n: Any, last: float) -> Any:
        inside = np.maximum(1 - (2 * n / last - 1) ** 2, 0)
        return np.i0(beta * np.sqrt(inside)) / np.i0(beta)

    return made("kaiser", M, sym, formula, dtype, requires_grad, device)


def nuttall(
    M: int, *, sym: bool = True, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The sum of four cosines that leaves least outside of its main lobe."""
    weights = (0.3635819, 0.4891775, 0.1365995, 0.0106411)
    return made("nuttall", M, sym, cosine_sum(weights), dtype, requires_grad, device)
