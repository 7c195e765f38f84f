"""Convolution in any number of dimensions, and the two operations that are its gradients.

With w the filters, r their taps, s, p and d stride, padding and dilation, and j = s i + d r - p:

    convolution         y[n, o, i] = sum over c and r of w[o, c, r] * x[n, c, j]
    convolution_input   x[n, c, j] = sum over o, and all i and r that lead to j, of w[o, c, r] * y[n, o, i]
    convolution_weight  w[o, c, r] = sum over n and i of y[n, o, i] * x[n, c, j]

All three come of one sum of products x * w * y over (n, o, c, i, r), which is linear in each of them. So
the gradients of each of the three operations are the other two, and there are derivatives of any order.
(Outside of x there are zeros.)

`groups` cuts channels into as many parts, each with filters of its own: w is (O, C / groups, *taps).
`padding` has a pair (in front, behind) for each dimension, which may be negative: then x is cut.

Source: Deep Learning from Scratch 1, chapter 7; V. Dumoulin, F. Visin: "A guide to convolution arithmetic for
deep learning" (2016).
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from lampion.errors import ShapeError
from lampion.ops.define import apply_wide, kernel
from lampion.ops.movement import slice_


@kernel(public=False, saves="others")
class convolution:
    """y from x and w.

    Args:
        x: (N, C, *sizes).
        w: (O, C / groups, *taps).
        stride, dilation: a number for each dimension.
        padding: a pair for each dimension.
    """

    def work(x, w, stride, padding, dilation, groups):
        sizes = out_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
        return x.shape[0] * math.prod(sizes) * w.size

    def infer(x, w, stride, padding, dilation, groups):
        sizes = out_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
        return (x.shape[0], w.shape[0], *sizes), x.dtype

    def forward(xp, x, w, stride, padding, dilation, groups):
        sizes = out_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
        columns = _columns(xp, x, sizes, w.shape[2:], stride, padding, dilation, groups)
        out = xp.matmul(w.reshape(groups, w.shape[0] // groups, columns.shape[1]), columns)
        return _images(xp, out, x.shape[0], sizes)

    def vjp(g, x, w, stride, padding, dilation, groups):
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return (
            lambda shape: convolution_input(g, w, shape[2:], **geometry),
            lambda shape: convolution_weight(g, x, shape[2:], **geometry),
        )

    def call(x, w, stride, padding, dilation, groups):
        return apply_wide(
            convolution.primitive, x, w, stride=stride, padding=padding, dilation=dilation, groups=groups
        )


@kernel(public=False, saves="others")
class convolution_input:
    """x from y and w: what a transposed convolution computes.

    Args:
        y: (N, O, *sizes).
        w: (O, C / groups, *taps).
        sizes: of x, which y and w alone do not determine.
    """

    def work(y, w, sizes, stride, padding, dilation, groups):
        return y.shape[0] * math.prod(y.shape[2:]) * w.size

    def infer(y, w, sizes, stride, padding, dilation, groups):
        return (y.shape[0], w.shape[1] * groups, *sizes), y.dtype

    def forward(xp, y, w, sizes, stride, padding, dilation, groups):
        count, channels = y.shape[0], w.shape[1] * groups
        per_group = w.shape[0] // groups
        weights = w.reshape(groups, per_group, -1).swapaxes(-1, -2)
        grouped = xp.moveaxis(y, 1, 0).reshape(groups, per_group, -1)
        columns = xp.matmul(weights, grouped).reshape(channels, *w.shape[2:], count, *y.shape[2:])
        padded = [n + before + after for n, (before, after) in zip(sizes, padding, strict=True)]
        # Taps reach beyond what is left where a stride does not fit, or padding cuts: room for these too.
        needed = [
            s * (i - 1) + d * (r - 1) + 1 if i else 0
            for i, r, s, d in zip(y.shape[2:], w.shape[2:], stride, dilation, strict=True)
        ]
        room = xp.zeros((channels, count, *map(max, padded, needed)), y.dtype)
        for taps in itertools.product(*map(range, w.shape[2:])):
            places = tuple(
                slice(r * d, r * d + s * (i - 1) + 1 if i else r * d, s)
                for r, d, s, i in zip(taps, dilation, stride, y.shape[2:], strict=True)
            )
            room[(slice(None), slice(None), *places)] += columns[(slice(None), *taps)]
        return xp.ascontiguousarray(xp.moveaxis(_cut(xp, room, sizes, padding), 0, 1))

    def vjp(g, y, w, sizes, stride, padding, dilation, groups):
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return (
            lambda shape: _first(convolution(g, w, **geometry), shape),
            lambda shape: convolution_weight(y, g, shape[2:], **geometry),
        )

    def call(y, w, sizes, stride, padding, dilation, groups):
        return apply_wide(
            convolution_input.primitive, y, w, sizes=tuple(sizes), stride=stride, padding=padding,
            dilation=dilation, groups=groups,
        )  # fmt: skip


@kernel(public=False, saves="others")
class convolution_weight:
    """w from y and x.

    Args:
        y: (N, O, *sizes).
        x: (N, C, *sizes of the input).
        taps: the sizes of w's filters.
    """

    def work(y, x, taps, stride, padding, dilation, groups):
        return y.size * x.shape[1] // groups * math.prod(taps)

    def infer(y, x, taps, stride, padding, dilation, groups):
        return (y.shape[1], x.shape[1] // groups, *taps), y.dtype

    def forward(xp, y, x, taps, stride, padding, dilation, groups):
        columns = _columns(xp, x, y.shape[2:], taps, stride, padding, dilation, groups)
        grouped = xp.moveaxis(y, 1, 0).reshape(groups, y.shape[1] // groups, -1)
        out = xp.matmul(grouped, columns.swapaxes(-1, -2))
        return out.reshape(y.shape[1], x.shape[1] // groups, *taps)

    def vjp(g, y, x, taps, stride, padding, dilation, groups):
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return (
            lambda shape: _first(convolution(x, g, **geometry), shape),
            lambda shape: convolution_input(y, g, shape[2:], **geometry),
        )

    def call(y, x, taps, stride, padding, dilation, groups):
        return apply_wide(
            convolution_weight.primitive, y, x, taps=tuple(taps), stride=stride, padding=padding,
            dilation=dilation, groups=groups,
        )  # fmt: skip


def _first(y, shape):
    """As much of y as there was: a larger x (an output padding) has room for more than there ever was."""
    return slice_(y, tuple((0, n, 1) for n in shape)) if y.shape != tuple(shape) else y


def out_sizes(sizes, taps, stride, padding, dilation):
    """How often filters fit: (size + padding - dilation * (taps - 1) - 1) // stride + 1 in each dimension."""
    found = []
    for n, r, s, (before, after), d in zip(sizes, taps, stride, padding, dilation, strict=True):
        reach = d * (r - 1) + 1
        if n + before + after < reach:
            raise ShapeError("convolution", "the filter is larger than the padded input",
                             expected=f"at least {reach} places, which is what it reaches over",
                             got=f"{n}, and {before} + {after} of padding",
                             fix="pad more, or use a smaller filter")  # fmt: skip
        found.append((n + before + after - reach) // s + 1)
    return tuple(found)


def _columns(xp, x, sizes, taps, stride, padding, dilation, groups):
    """What each tap sees: (groups, C / groups * taps, N * places)."""
    count, channels = x.shape[:2]
    x = _padded(xp, x, padding)
    steps = x.strides
    windows = np.lib.stride_tricks.as_strided(
        x, (count, channels, *taps, *sizes),
        (*steps[:2], *(d * step for d, step in zip(dilation, steps[2:], strict=True)),
         *(s * step for s, step in zip(stride, steps[2:], strict=True))),
        writeable=False,
    )  # fmt: skip
    shape = (groups, channels // groups * math.prod(taps), count * math.prod(sizes))
    return xp.moveaxis(windows, 0, 1 + len(taps)).reshape(shape)


def _padded(xp, x, padding):
    """x with zeros around it; without what negative padding cuts off."""
    inside = [slice(max(0, -b), n - max(0, -a)) for n, (b, a) in zip(x.shape[2:], padding, strict=True)]
    x = x[(..., *inside)]
    if not any(b > 0 or a > 0 for b, a in padding):
        return x
    return xp.pad(x, [(0, 0), (0, 0), *((max(0, b), max(0, a)) for b, a in padding)])


def _cut(xp, room, sizes, padding):
    """What lies inside of the padding (j is at j + before in the room); zeros where the room has nothing."""
    inside, places = [], []
    for n, (before, _), have in zip(sizes, padding, room.shape[2:], strict=True):
        inside.append(slice(max(0, before), min(have, n + before)))
        places.append(slice(max(0, -before), min(n, have - before)))
    if all(place == slice(0, n) for place, n in zip(places, sizes, strict=True)):
        return room[(..., *inside)]
    out = xp.zeros((*room.shape[:2], *sizes), room.dtype)
    out[(..., *places)] = room[(..., *inside)]
    return out


def _images(xp, out, count, sizes):
    """(groups, O / groups, N * places) as (N, O, *sizes)."""
    out = out.reshape(out.shape[0] * out.shape[1], count, *sizes)
    return xp.ascontiguousarray(xp.moveaxis(out, 0, 1))
