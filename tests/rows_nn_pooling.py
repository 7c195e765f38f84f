"""Rows for pooling in `nn.functional`."""

from __future__ import annotations

import itertools

import numpy as np
from rows_core import FLOATS, NUMBERS, ones

import lampion as lp
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import Bad, Row, call


def _all(value, count):
    return (value,) * count if isinstance(value, int) else tuple(value)


def pooled(count, combine, outside):
    """A reference that looks at each window by itself."""

    def reference(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        k, p, d = _all(kernel_size, count), _all(padding, count), _all(dilation, count)
        s = k if stride is None else _all(stride, count)
        round_ = np.ceil if ceil_mode else np.floor
        sizes = [
            int(round_((n + 2 * p - d * (k - 1) - 1) / s)) + 1
            for n, k, s, p, d in zip(x.shape[-count:], k, s, p, d, strict=True)
        ]
        sizes = [
            i - (ceil_mode and (i - 1) * s >= n + p)
            for i, n, s, p in zip(sizes, x.shape[-count:], s, p, strict=True)
        ]
        front = x.shape[:-count]
        least = outside
        if outside is None:
            least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        x = np.pad(x, [(0, 0)] * len(front) + [(p, p + 9) for p in p], constant_values=least)
        out = np.zeros((*front, *sizes), x.dtype)
        for place in itertools.product(*map(range, sizes)):
            axes = zip(place, k, s, d, strict=True)
            seen = tuple(slice(i * s, i * s + d * (k - 1) + 1, d) for i, k, s, d in axes)
            out[(..., *place)] = combine(x[(..., *seen)], tuple(range(-count, 0)))
        return out

    return reference


def adaptive(count):
    def reference(x, output_size):
        sizes = [
            n if m is None else m for m, n in zip(_all(output_size, count), x.shape[-count:], strict=True)
        ]
        out = np.zeros((*x.shape[:-count], *sizes), x.dtype)
        for place in itertools.product(*map(range, sizes)):
            axes = zip(place, sizes, x.shape[-count:], strict=True)
            seen = tuple(slice(i * n // m, -(-(i + 1) * n // m)) for i, m, n in axes)
            out[(..., *place)] = x[(..., *seen)].mean(tuple(range(-count, 0)))
        return out

    return reference


def largest(count):
    return pooled(count, np.max, None)


def mean(count):
    return pooled(count, np.mean, 0.0)


def wrong(count):
    x = ones(1, 2, *(4,) * count)
    return [
        Bad(ShapeError, ones(*(4,) * (count - 1)), 2, match="another number of dimensions"),
        Bad(ShapeError, x, 5, match=["larger than the padded input", "smaller window"]),
        Bad(OptionError, x, 2, padding=2, match="at most half of a window"),
        Bad(OptionError, x, 0, match="kernel_size is not right"),
        Bad(DTypeError, x.astype(bool), 2, match="a boolean tensor"),
    ]


ROWS = [
    Row("F.max_pool1d", F.max_pool1d, largest(1), dtypes=NUMBERS, errors=wrong(1),
        samples=lambda d: [call(d(2, 3, 7), 2), call(d(2, 7), 3, 2, 1, ceil_mode=True),
                           call(d(1, 2, 8), 2, 1, 1, 3)]),
    Row("F.max_pool2d", F.max_pool2d, largest(2), dtypes=NUMBERS, errors=wrong(2),
        samples=lambda d: [call(d(2, 3, 4, 6), 2), call(d(2, 5, 4), (3, 2), 1, (1, 0)),
                           call(d(1, 2, 5, 5), 2, 2, ceil_mode=True)]),
    Row("F.max_pool3d", F.max_pool3d, largest(3), dtypes=NUMBERS, errors=wrong(3),
        samples=lambda d: [call(d(1, 2, 3, 4, 3), 2, 1, 1)]),
    # Sums of up to a dozen numbers, in another order than the reference's.
    Row("F.avg_pool1d", F.avg_pool1d, mean(1), dtypes=(lp.int64, *FLOATS), ulps=32, errors=wrong(1)[:-1],
        samples=lambda d: [call(d(2, 3, 6), 2), call(d(2, 7), 3, 2, 1)]),
    Row("F.avg_pool2d", F.avg_pool2d, mean(2), dtypes=(lp.int64, *FLOATS), ulps=32, errors=wrong(2)[:-1],
        samples=lambda d: [call(d(2, 3, 4, 6), 2), call(d(2, 5, 4), (3, 2), 1, (1, 0))]),
    Row("F.avg_pool3d", F.avg_pool3d, mean(3), dtypes=(lp.int64, *FLOATS), ulps=32, errors=wrong(3)[:-1],
        samples=lambda d: [call(d(1, 2, 3, 4, 3), 2, 1)]),
    Row("F.adaptive_avg_pool1d", F.adaptive_avg_pool1d, adaptive(1), dtypes=FLOATS, ulps=32,
        samples=lambda d: [call(d(2, 3, 7), 3), call(d(2, 6), 2)],
        errors=[Bad(ShapeError, ones(2), 1, match="another number of dimensions")]),
    Row("F.adaptive_avg_pool2d", F.adaptive_avg_pool2d, adaptive(2), dtypes=FLOATS, ulps=32,
        samples=lambda d: [call(d(2, 3, 4, 6), 1), call(d(2, 5, 4), (2, 3)), call(d(2, 5, 4), (None, 2))],
        errors=[Bad(OptionError, ones(1, 2, 3), (1, 2, 3), match="output_size is not right"),
                Bad(ShapeError, ones(1, 0, 3), 1, match="nothing to take means of")]),
    Row("F.adaptive_avg_pool3d", F.adaptive_avg_pool3d, adaptive(3), dtypes=FLOATS, ulps=32,
        samples=lambda d: [call(d(1, 2, 3, 4, 3), 2)]),
]  # fmt: skip
