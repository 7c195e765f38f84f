"""Rows for convolutions in `nn.functional`."""

from __future__ import annotations

import itertools

import numpy as np
from rows_core import NUMBERS, ones

from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import Bad, Row, call


def _all(value, count):
    return (value,) * count if isinstance(value, int) else tuple(value)


def _taps(place, stride, dilation, w):
    """Where the taps of a filter are."""
    axes = zip(place, stride, dilation, w.shape[2:], strict=True)
    return tuple(slice(i * s, i * s + d * (r - 1) + 1, d) for i, s, d, r in axes)


def convolved(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Place by place and tap by tap."""
    count = w.ndim - 2
    if x.ndim == count + 1:
        return convolved(x[None], w, bias, stride, padding, dilation, groups)[0]
    s, d = _all(stride, count), _all(dilation, count)
    if padding == "same":
        totals = [d * (n - 1) for d, n in zip(d, w.shape[2:], strict=True)]
        around = [(total // 2, total - total // 2) for total in totals]
    else:
        around = [(p, p) for p in _all(0 if padding == "valid" else padding, count)]
    x = np.pad(x, [(0, 0), (0, 0), *around])
    sizes = [
        (n - d * (r - 1) - 1) // s + 1 for n, r, s, d in zip(x.shape[2:], w.shape[2:], s, d, strict=True)
    ]
    out = np.zeros((len(x), len(w), *sizes), x.dtype)
    inside, outside = w.shape[1], len(w) // groups
    for place in itertools.product(*map(range, sizes)):
        seen = _taps(place, s, d, w)
        for g in range(groups):
            part = x[(slice(None), slice(g * inside, (g + 1) * inside), *seen)]
            own = slice(g * outside, (g + 1) * outside)
            axes = list(range(1, w.ndim))
            out[(slice(None), own, *place)] = np.tensordot(part, w[own], (axes, axes))
    return out if bias is None else out + bias.reshape(-1, *(1,) * count)


def spread(x, w, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Each number adds its filter."""
    count = w.ndim - 2
    if x.ndim == count + 1:
        return spread(x[None], w, bias, stride, padding, output_padding, groups, dilation)[0]
    s, p, m, d = (_all(v, count) for v in (stride, padding, output_padding, dilation))
    geometry = zip(x.shape[2:], s, d, w.shape[2:], m, strict=True)
    sizes = [(n - 1) * s + d * (r - 1) + 1 + m for n, s, d, r, m in geometry]
    outputs = w.shape[1]
    out = np.zeros((len(x), outputs * groups, *sizes), x.dtype)
    inside = x.shape[1] // groups
    for place in itertools.product(*map(range, x.shape[2:])):
        to = _taps(place, s, d, w)
        for g in range(groups):
            part = x[(slice(None), slice(g * inside, (g + 1) * inside), *place)]
            own = slice(g * outputs, (g + 1) * outputs)
            out[(slice(None), own, *to)] += np.tensordot(part, w[g * inside : (g + 1) * inside], (1, 0))
    out = out[(..., *(slice(p, n - p) for p, n in zip(p, sizes, strict=True)))]
    return out if bias is None else out + bias.reshape(-1, *(1,) * count)


def wrong(function, count):
    places = (4,) * count
    x, w = ones(1, 2, *places), ones(3, 2, *(2,) * count)
    return [
        Bad(ShapeError, ones(*places[1:]), w, match="another number of dimensions"),
        Bad(DTypeError, x, w.astype("f8"), match="of different types"),
        Bad(OptionError, x, w, stride=0, match=["stride is not right", "from 1 on"]),
        Bad(OptionError, x, w, groups=0, match="groups is a count"),
        *([] if function is spread else [
            Bad(ShapeError, ones(1, 5, *places), w, match=["another number of channels", "in_channels"]),
            Bad(ShapeError, x, ones(3, 2, *(5,) * count), match=["larger than the padded input", "pad more"]),
            Bad(OptionError, x, w, stride=2, padding="same", match="for stride 1"),
            Bad(OptionError, x, w, padding="half", match="the padding is not known"),
            Bad(ShapeError, x, w, ones(2), match="one number for each filter"),
            Bad(ShapeError, x, ones(3, 1, *(2,) * count), groups=2, match="equal groups"),
        ]),
    ]  # fmt: skip


# Sums of up to 36 products, in another order than the reference's.
ROWS = [
    Row("F.conv1d", F.conv1d, convolved, dtypes=NUMBERS, ulps=128, errors=wrong(convolved, 1),
        samples=lambda d: [call(d(2, 3, 7), d(4, 3, 3), d(4)), call(d(2, 7), d(3, 2, 2), stride=2, padding=1),
                           call(d(1, 4, 8), d(4, 2, 3), dilation=2, groups=2, padding="same")]),
    Row("F.conv2d", F.conv2d, convolved, dtypes=NUMBERS, ulps=128, errors=wrong(convolved, 2),
        samples=lambda d: [call(d(2, 3, 4, 5), d(2, 3, 3, 2), d(2), padding=1),
                           call(d(2, 5, 4), d(3, 2, 2, 2), stride=(2, 1), padding="valid"),
                           call(d(1, 4, 5, 5), d(4, 1, 3, 3), dilation=(1, 2), groups=4, padding=(1, 2))]),
    Row("F.conv3d", F.conv3d, convolved, dtypes=NUMBERS, ulps=128, errors=wrong(convolved, 3),
        samples=lambda d: [call(d(1, 2, 3, 4, 3), d(2, 2, 2, 2, 2), d(2), stride=(1, 2, 1), padding=1)]),
    Row("F.conv_transpose1d", F.conv_transpose1d, spread, dtypes=NUMBERS, ulps=128, errors=wrong(spread, 1),
        samples=lambda d: [call(d(2, 3, 4), d(3, 2, 3), d(2), stride=2, padding=1, output_padding=1),
                           call(d(4, 3), d(4, 1, 2), groups=2, dilation=2)]),
    Row("F.conv_transpose2d", F.conv_transpose2d, spread, dtypes=NUMBERS, ulps=128,
        samples=lambda d: [call(d(2, 2, 3, 2), d(2, 3, 2, 3), d(3), stride=(3, 1), padding=(1, 0)),
                           call(d(1, 2, 2, 3), d(2, 2, 3, 3), stride=2, padding=1, output_padding=(1, 0))],
        errors=[*wrong(spread, 2),
                Bad(ShapeError, ones(1, 5, 4, 4), ones(3, 2, 2, 2), match="another number of channels"),
                Bad(OptionError, ones(1, 3, 4, 4), ones(3, 2, 2, 2), output_padding=1,
                    match="must be smaller"),
                Bad(ShapeError, ones(1, 3, 1, 1), ones(3, 2, 2, 2), padding=1, match="nothing is left")]),
    Row("F.conv_transpose3d", F.conv_transpose3d, spread, dtypes=NUMBERS, ulps=128, errors=wrong(spread, 3),
        samples=lambda d: [call(d(1, 2, 2, 2, 3), d(2, 2, 2, 2, 2), d(2), stride=(2, 1, 2), padding=1)]),
]  # fmt: skip
