"""Rows for attention in `nn.functional`."""

from __future__ import annotations

import numpy as np
from rows_core import FLOATS, ones

from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import Bad, Row, call


def attention(q, k, v, mask=None, is_causal=False, scale=None, enable_gqa=False):
    if enable_gqa:
        k, v = (np.repeat(x, q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) * (scale or q.shape[-1] ** -0.5)
    if is_causal:
        mask = np.tri(*scores.shape[-2:], dtype=bool)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
    return np.where(np.isnan(weights), 0, weights).astype(q.dtype) @ v


SOME = np.array([[True, False, True, True], [False, False, False, False], [True, True, False, False]])

ROWS = [
    # Each result is a mean of values, weighted by what passed through an exponential.
    Row("F.scaled_dot_product_attention", F.scaled_dot_product_attention, attention, dtypes=FLOATS, ulps=64,
        samples=lambda d: [
            call(d(2, 3, 4, 2), d(2, 3, 4, 2), d(2, 3, 4, 2)),
            call(d(3, 4, 2), d(3, 4, 2), d(3, 4, 2), is_causal=True),
            call(d(3, 2), d(4, 2), d(4, 3), scale=0.5),
            call(d(2, 1, 3, 2), d(4, 2), d(1, 4, 3), is_causal=True),
            call(d(3, 2), d(4, 2), d(4, 3), SOME),
            call(d(2, 3, 2), d(2, 4, 2), d(2, 4, 3), d(3, 4)),
            call(d(1, 4, 3, 2), d(1, 2, 4, 2), d(1, 2, 4, 2), enable_gqa=True),
        ],
        errors=[
            Bad(ShapeError, ones(3), ones(3), ones(3), match="at least two dimensions"),
            Bad(ShapeError, ones(3, 2), ones(4, 3), ones(4, 3), match="different sizes"),
            Bad(ShapeError, ones(3, 2), ones(4, 2), ones(5, 2), match="each key needs a value"),
            Bad(DTypeError, ones(3, 2), ones(4, 2), ones(4, 2).astype("f8"), match="of different types"),
            Bad(OptionError, ones(3, 2), ones(3, 2), ones(3, 2), ones(3, 3), is_causal=True,
                match="cannot be given together"),
            Bad(ShapeError, ones(3, 3, 2), ones(2, 3, 2), ones(2, 3, 2), enable_gqa=True,
                match="whole groups"),
            Bad(DTypeError, ones(3, 2), ones(3, 2), ones(3, 2), ones(3, 3).astype("i8"), match="to add"),
        ]),
]  # fmt: skip
