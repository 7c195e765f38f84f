"""Discrete Fourier transforms: the three kernels that `lampion.fft` is made of.

All are linear, so a gradient is another transform: that of the transposed matrix. A transform's matrix
w**(jk) is symmetric, so the transpose of a complex one is itself; for the real ones see below.

A norm names where the factor 1/n is put, as in NumPy: on the way there ("forward"), on the way back
("backward"), or its square root on both ("ortho"). To turn the direction and keep the factor therefore
means to exchange "forward" and "backward".
"""

from __future__ import annotations

from lampion import dtype as dtypes
from lampion.ops.complex_numbers import real
from lampion.ops.creation import zeros
from lampion.ops.define import cast_to, kernel
from lampion.ops.joining import cat
from lampion.ops.views import narrow
from lampion.primitive import apply

OTHER_WAY = {"forward": "backward", "backward": "forward", "ortho": "ortho"}


@kernel(public=False)
class fourier:
    """The transform of complex numbers along some dimensions, there or back."""

    native = False
    def infer(x, dims, inverse, norm): return x.shape, x.dtype

    def forward(xp, x, dims, inverse, norm):
        transform = xp.fft.ifftn if inverse else xp.fft.fftn
        return transform(x, axes=dims, norm=norm).astype(x.dtype, copy=False)

    def vjp(g, dims, inverse, norm): return fourier(g, dims, inverse, norm)

    def call(x, dims, inverse, norm):
        if not dims or not x.numel():
            return x
        return apply(fourier.primitive, x, dims=tuple(dims), inverse=inverse, norm=norm)


@kernel(public=False)
class fourier_of_real:
    """The first half of the transform of real numbers; the rest are the conjugates of it."""

    native = False
    analytic = False

    def infer(x, dim, norm):
        shape = (*x.shape[:dim], x.shape[dim] // 2 + 1, *x.shape[dim + 1 :])
        return shape, dtypes.of(x.dtype).to_complex().numpy

    def forward(xp, x, dim, norm):
        return xp.fft.rfft(x, axis=dim, norm=norm).astype(dtypes.of(x.dtype).to_complex().numpy, copy=False)

    def vjp(g, dim, norm):
        # x -> the transform's first rows: the transpose sums over those rows only.
        return lambda shape: real(fourier(resized(g, shape[dim], dim), (dim,), True, OTHER_WAY[norm]))

    def call(x, dim, norm): return apply(fourier_of_real.primitive, x, dim=dim, norm=norm)


@kernel(public=False)
class fourier_to_real:
    """n real numbers from the first half of their transform."""

    native = False
    analytic = False

    def infer(x, n, dim, norm):
        return (*x.shape[:dim], n, *x.shape[dim + 1 :]), dtypes.of(x.dtype).to_real().numpy

    def forward(xp, x, n, dim, norm):
        return xp.fft.irfft(x, n, axis=dim, norm=norm).astype(dtypes.of(x.dtype).to_real().numpy, copy=False)

    def vjp(g, n, dim, norm):
        out = fourier_of_real(g, dim, OTHER_WAY[norm])
        twice = (n - 1) // 2  # these entries stand for their conjugates too
        return cat([narrow(out, dim, 0, 1), narrow(out, dim, 1, twice) * 2,
                    narrow(out, dim, 1 + twice, out.shape[dim] - 1 - twice)], dim)  # fmt: skip

    def call(x, n, dim, norm): return apply(fourier_to_real.primitive, x, n=n, dim=dim, norm=norm)


def resized(x, n, dim):
    """The first n entries along a dimension, with zeros behind where there are fewer."""
    have = x.shape[dim]
    if n == have:
        return x
    if n < have:
        return narrow(x, dim, 0, n)
    return cat([x, zeros((*x.shape[:dim], n - have, *x.shape[dim + 1 :]), dtype=x.dtype)], dim)


def rolled(x, shift, dim):
    """The entries along a dimension moved on by `shift` places; the last ones come first."""
    n = x.shape[dim]
    if not n or not shift % n:
        return x.clone()
    cut = n - shift % n
    return cat([narrow(x, dim, cut, n - cut), narrow(x, dim, 0, cut)], dim)


def as_complex(x):
    """Numbers as complex ones."""
    return cast_to(x, x.dtype.to_complex())
