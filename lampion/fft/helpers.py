"""Frequencies, and moving the frequency 0 to the middle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lampion import ops
from lampion.dtype import get_default_dtype
from lampion.ops.fourier import rolled
from lampion.ops.shapes import normalize_dim
from lampion.tensor import Tensor, as_tensor


def fftfreq(n: int, d: float = 1.0, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """The frequency of each entry of `fft`'s result, in cycles per unit of the spacing `d`.

    >>> import lampion
    >>> lampion.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    dtype = get_default_dtype() if dtype is None else dtype
    places = ops.cat([ops.arange(0, (n + 1) // 2), ops.arange(-(n // 2), 0)])
    return (places.to(dtype) * (1.0 / (n * d))).requires_grad_(requires_grad)


def rfftfreq(n: int, d: float = 1.0, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """The frequency of each entry of `rfft`'s result: as `fftfreq`, from 0 up."""
    dtype = get_default_dtype() if dtype is None else dtype
    return (ops.arange(0, n // 2 + 1).to(dtype) * (1.0 / (n * d))).requires_grad_(requires_grad)


def fftshift(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """The entries moved so that the frequency 0 is in the middle (default: along all dimensions)."""
    return _shifted("fftshift", input, dim, lambda n: n // 2)


def ifftshift(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shifted("ifftshift", input, dim, lambda n: (n + 1) // 2)


def _shifted(name: str, input: Tensor, dim: int | Sequence[int] | None, shift: Any) -> Tensor:
    x = as_tensor(input)
    dims = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    for d in dims:
        axis = normalize_dim(name, d, x.ndim)
        if x.ndim:
            x = rolled(x, shift(x.shape[axis]), axis)
    return x
