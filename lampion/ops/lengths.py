"""Lengths of vectors, with the slopes at 0 that training needs.

A length has a kink at 0, where its slope is none or infinite; as in PyTorch 0 is given, so that a weight
that happens to be 0 stays where it is. That is more than a chain of elementwise operations would do.
"""

from __future__ import annotations

from lampion.ops.arithmetic import abs, sgn
from lampion.ops.complex_numbers import imag, real
from lampion.ops.define import composite
from lampion.ops.elementwise import eq, sqrt, where
from lampion.ops.movement import reshape
from lampion.ops.reduce import sum


def _kept(x, axes, keepdim, *reduced):
    """The tensors with the summed dimensions as dimensions of size 1."""
    if keepdim:
        return reduced
    shape = [1 if a in axes else n for a, n in enumerate(x.shape)]
    return tuple(reshape(t, shape) for t in reduced)


@composite(saves="both", public=False)
class euclidean:
    """The root of the sum of squares along `axes`."""

    analytic = False

    def forward(x, axes, keepdim):
        squares = x * x if not x.dtype.is_complex else real(x) * real(x) + imag(x) * imag(x)
        return sqrt(sum(squares, axes, keepdim))

    def vjp(g, x, y, axes, keepdim):
        g, y = _kept(x, axes, keepdim, g, y)
        return g * where(eq(y, 0), 0.0, x / y)

    def call(x, axes, keepdim): return euclidean.primitive.composed(x, axes=axes, keepdim=keepdim)


@composite(saves="both", public=False)
class power_mean:
    """``(sum of |x|**p)**(1 / p)`` along `axes`, for any p but 0 and infinity."""

    analytic = False
    def forward(x, axes, keepdim, p): return sum(abs(x) ** p, axes, keepdim) ** (1 / p)

    def vjp(g, x, y, axes, keepdim, p):
        """gx = gy (|x| / y)**(p - 1) sgn(x)."""
        g, y = _kept(x, axes, keepdim, g, y)
        if p < 1:  # |x|**(p - 1) is infinite at 0
            return where(eq(x, 0), 0.0, sgn(x) * abs(x) ** (p - 1)) * g * y ** (1 - p)
        slope = sgn(x) * abs(x) ** (p - 1) if p < 2 else x * abs(x) ** (p - 2)
        return slope * where(eq(y, 0), 0.0, g / y ** (p - 1))

    def call(x, axes, keepdim, p): return power_mean.primitive.composed(x, axes=axes, keepdim=keepdim, p=p)
