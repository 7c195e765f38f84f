"""Pooling: of each window of an image, the largest number; and what of another image lies at its place.

    pool_pick    y[n, c, i] = z[n, c, the place of the first maximum of x in window i]
    pool_spread  z[n, c, j] = sum of y[n, c, i] over the windows i whose first maximum is at place j

The maximum itself is `pool_pick(x, x)`. Each of the two is linear in its first argument, and the gradient of
the other: so there are derivatives of any order. x only says which places are meant, and gets no gradient.
A window's places behind the padding never count, not even against minus infinity; a NaN counts as largest.

Source: Deep Learning from Scratch 1, chapter 7.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from lampion.ops.convolution import out_sizes
from lampion.ops.define import apply_wide, kernel


def _sizes(x, taps, stride, padding, dilation):
    return out_sizes(x.shape[2:], taps, stride, padding, dilation)


@kernel(public=False, saves=(1,))
class pool_pick:
    """What of z lies at the places of x's maxima.

    Args:
        z, x: (N, C, *sizes).
        taps: the sizes of a window.
        stride, dilation: a number for each dimension; padding: a pair.
    """

    def work(z, x, taps, stride, padding, dilation):
        return 8 * z.size * math.prod(taps)  # NumPy is so much slower at it than at products

    def infer(z, x, taps, stride, padding, dilation):
        return (*z.shape[:2], *_sizes(x, taps, stride, padding, dilation)), z.dtype

    def forward(xp, z, x, taps, stride, padding, dilation):
        places = _places(xp, x, taps, stride, padding, dilation)
        windows = _windows(xp, z, 0, taps, stride, padding, dilation)
        return xp.take_along_axis(windows, places[..., None], -1)[..., 0]

    def vjp(g, _, x, taps, stride, padding, dilation):
        return lambda: pool_spread(g, x, taps, stride, padding, dilation), None

    def call(z, x, taps, stride, padding, dilation):
        return apply_wide(
            pool_pick.primitive, z, x, taps=taps, stride=stride, padding=padding, dilation=dilation
        )


@kernel(public=False, saves=(1,))
class pool_spread:
    """Each number of y added at the place of x's maximum in its window.

    Args:
        y: (N, C, *windows).
        x: (N, C, *sizes).
    """

    def work(y, x, taps, stride, padding, dilation):
        return 8 * x.size * math.prod(taps)

    def infer(y, x, taps, stride, padding, dilation):
        return x.shape, y.dtype

    def forward(xp, y, x, taps, stride, padding, dilation):
        places = _places(xp, x, taps, stride, padding, dilation)
        padded = (n + b + a for n, (b, a) in zip(x.shape[2:], padding, strict=True))
        room = xp.zeros((*x.shape[:2], *padded), y.dtype)
        for number, tap in enumerate(itertools.product(*map(range, taps))):
            seen = tuple(
                slice(r * d, r * d + s * (i - 1) + 1, s)
                for r, d, s, i in zip(tap, dilation, stride, y.shape[2:], strict=True)
            )
            room[(..., *seen)] += xp.where(places == number, y, xp.zeros((), y.dtype))
        inside = (slice(b, b + n) for n, (b, _) in zip(x.shape[2:], padding, strict=True))
        return xp.ascontiguousarray(room[(..., *inside)])

    def vjp(g, _, x, taps, stride, padding, dilation):
        return lambda: pool_pick(g, x, taps, stride, padding, dilation), None

    def call(y, x, taps, stride, padding, dilation):
        return apply_wide(
            pool_spread.primitive, y, x, taps=taps, stride=stride, padding=padding, dilation=dilation
        )


def _places(xp, x, taps, stride, padding, dilation):
    """Which of a window's places has the first maximum, counted in order."""
    if 0 in x.shape:
        return xp.zeros((*x.shape[:2], *_sizes(x, taps, stride, padding, dilation)), np.int64)
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    places = _windows(xp, x, least, taps, stride, padding, dilation).argmax(-1)
    if any(b > 0 or a > 0 for b, a in padding):
        # Where all there is equals what stands behind the padding, the first place that exists is meant.
        exists = _windows(xp, xp.ones((1, 1, *x.shape[2:]), bool), False, taps, stride, padding, dilation)
        exists = xp.broadcast_to(exists, (*places.shape, exists.shape[-1]))
        found = xp.take_along_axis(exists, places[..., None], -1)[..., 0]
        places = xp.where(found, places, exists.argmax(-1))
    return places


def _windows(xp, x, outside, taps, stride, padding, dilation):
    """(N, C, *windows, places of a window)."""
    if any(b or a for b, a in padding):
        x = xp.pad(x, [(0, 0), (0, 0), *padding], constant_values=outside)
    sizes = out_sizes(x.shape[2:], taps, stride, ((0, 0),) * len(taps), dilation)
    steps = x.strides
    view = np.lib.stride_tricks.as_strided(
        x, (*x.shape[:2], *sizes, *taps),
        (*steps[:2], *(s * step for s, step in zip(stride, steps[2:], strict=True)),
         *(d * step for d, step in zip(dilation, steps[2:], strict=True))),
        writeable=False,
    )  # fmt: skip
    return view.reshape(*x.shape[:2], *sizes, math.prod(taps))
