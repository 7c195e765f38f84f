"""Rows for fractional max pooling; the numbers that are drawn are given: there is one right answer."""

from __future__ import annotations

import itertools
import math

import numpy as np
from rows_core import FLOATS, ones
from rows_nn_pooling import _all

from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import Bad, Row, call

#: (N, C, dimensions); no (i + u) * alpha of the samples below is near an integer.
DRAWN = {2: np.array([[[0.12, 0.83], [0.55, 0.31]]], np.float32),
         3: np.array([[[0.12, 0.83, 0.4], [0.55, 0.31, 0.9]]], np.float32)}  # fmt: skip


def starts(n, taps, windows, u):
    if windows == 1:
        return [n - taps]
    alpha = (n - taps) / (windows - 1)
    return [math.floor((i + u) * alpha) - math.floor(u * alpha) for i in range(windows - 1)] + [n - taps]


def windows_by_themselves(count):
    def reference(x, kernel_size, output_size=None, output_ratio=None, _random_samples=None):
        taps, places = _all(kernel_size, count), x.shape[-count:]
        sizes = [int(n * output_ratio) for n in places] if output_size is None else _all(output_size, count)
        images = x if x.ndim == count + 2 else x[None]
        out = np.zeros((*images.shape[:2], *sizes), x.dtype)
        for n, c in np.ndindex(images.shape[:2]):
            u = _random_samples[n, c].astype(np.float64)
            u = u[::-1] if count == 2 else u
            sides = [starts(*side) for side in zip(places, taps, sizes, u, strict=True)]
            for place in itertools.product(*map(range, sizes)):
                axes = zip(sides, place, taps, strict=True)
                seen = tuple(slice(side[i], side[i] + k) for side, i, k in axes)
                out[(n, c, *place)] = images[(n, c, *seen)].max()
        return out if x.ndim == count + 2 else out[0]

    return reference


def wrong(count):
    x = ones(1, 2, *(5,) * count)
    return [
        Bad(ShapeError, ones(*(4,) * count), 2, 1, match="another number of dimensions"),
        Bad(ShapeError, x, 3, 4, match=["the windows do not fit", "at least (6, 6", "(5, 5"]),
        Bad(OptionError, x, 2, match=["by its size, or by a ratio", "output_size=None, output_ratio=None"]),
        Bad(OptionError, x, 2, 2, 0.5, match="one of the two"),
        Bad(OptionError, x, 2, output_ratio=1.5, match=["output_ratio is not right", "between 0 and 1"]),
        Bad(OptionError, x, 0, 2, match="kernel_size is not right"),
        Bad(
            ShapeError, x, 2, 2, _random_samples=ones(1, 2, 1), match="_random_samples has a number for each"
        ),
        Bad(DTypeError, x.astype(np.int64), 2, 2, match=["expected floats", "x.float()"]),
    ]


def row(count, samples):
    name = f"fractional_max_pool{count}d"
    function = getattr(F, name)
    return Row(f"F.{name}", function, windows_by_themselves(count), dtypes=FLOATS, samples=samples,
               errors=wrong(count))  # fmt: skip


ROWS = [
    row(2, lambda d: [call(d(1, 2, 7, 6), 2, (3, 4), _random_samples=DRAWN[2]),
                      call(d(2, 5, 8), (3, 2), 1, _random_samples=DRAWN[2]),
                      call(d(1, 2, 9, 8), 2, output_ratio=0.6, _random_samples=DRAWN[2])]),
    row(3, lambda d: [call(d(1, 2, 4, 5, 6), 2, (2, 3, 3), _random_samples=DRAWN[3])]),
]  # fmt: skip
