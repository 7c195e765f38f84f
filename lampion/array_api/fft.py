"""The standard's extension for Fourier transforms, over `lampion.fft`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lampion import fft as _fft
from lampion.array_api._rules import DType, Tensor, on_device

_ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
_SEVERAL = ("fftn", "ifftn", "rfftn", "irfftn")
_Source: Any = _fft

__all__ = [*_ONE, *_SEVERAL, "fftfreq", "fftshift", "ifftshift", "rfftfreq"]  # names all of them


def _along_one(name: str) -> Callable[..., Any]:
    transform = getattr(_Source, name)

    def function(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
        out: Tensor = transform(x, n, axis, norm)
        return out

    return _named(function, name, transform)


def _along_several(name: str) -> Callable[..., Any]:
    transform = getattr(_Source, name)

    def function(
        x: Tensor,
        /,
        *,
        s: Sequence[int] | None = None,
        axes: Sequence[int] | None = None,
        norm: str = "backward",
    ) -> Tensor:
        out: Tensor = transform(x, s, axes, norm)
        return out

    return _named(function, name, transform)


def _named(function: Callable[..., Any], name: str, transform: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = transform.__doc__
    return function


for _name in _ONE:
    globals()[_name] = _along_one(_name)
for _name in _SEVERAL:
    globals()[_name] = _along_several(_name)


def fftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The frequencies of the elements of a transform of length n, at a sample spacing of d."""
    on_device("fftfreq", device)
    out: Tensor = _Source.fftfreq(n, d, dtype=dtype)
    return out


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The same for a transform of real numbers."""
    on_device("rfftfreq", device)
    out: Tensor = _Source.rfftfreq(n, d, dtype=dtype)
    return out


def fftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """The frequency 0 moved into the middle."""
    out: Tensor = _Source.fftshift(x, axes)
    return out


def ifftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """The frequency 0 moved back to the beginning."""
    out: Tensor = _Source.ifftshift(x, axes)
    return out
