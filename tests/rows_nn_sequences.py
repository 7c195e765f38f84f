"""Rows for layers of sequences in `nn.functional`: heads of attention, and alignments."""

from __future__ import annotations

import itertools

import numpy as np
from rows_core import FLOATS, index, ones
from rows_nn_attention import attention

from lampion.errors import DTypeError, IndexRangeError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import Bad, Row, call


def heads(query, key, value, weight, bias, out, out_bias, count=2, hidden=None, padding=None, more=None,
          zero=False, weights=True):  # fmt: skip
    """Attention in heads, sequence first: (L, N, E)."""
    projected = [
        x @ w.T + b
        for x, w, b in zip((query, key, value), np.split(weight, 3), np.split(bias, 3), strict=True)
    ]
    length, batch, size = query.shape
    q, k, v = projected
    added = 0
    if more is not None:
        k, v = (
            np.concatenate([x, np.broadcast_to(y, (1, batch, size))])
            for x, y in zip((k, v), more, strict=True)
        )
        added += 1
    if zero:
        k, v = (np.concatenate([x, np.zeros((1, batch, size), x.dtype)]) for x in (k, v))
        added += 1
    q, k, v = (x.reshape(len(x), batch, count, -1).transpose(1, 2, 0, 3) for x in (q, k, v))
    seen = np.ones((batch, count, length, k.shape[2]), bool)
    own = k.shape[2] - added
    if hidden is not None:
        seen[..., :own] &= ~(hidden if hidden.ndim == 2 else hidden.reshape(batch, count, length, own))
    if padding is not None:
        seen[..., :own] &= ~padding[:, None, None]
    found = attention(q, k, v, seen).transpose(2, 0, 1, 3).reshape(length, batch, size)
    return found @ out.T + out_bias


def heads_here(query, key, value, weight, bias, out, out_bias, count=2, hidden=None, padding=None, more=None,
               zero=False, weights=True):  # fmt: skip
    more = (None, None) if more is None else more
    return F.multi_head_attention_forward(
        query, key, value, query.shape[-1], count, weight, bias, *more, zero, 0.0, out, out_bias,
        attn_mask=hidden, key_padding_mask=padding, need_weights=weights,
    )[0]  # fmt: skip


HIDDEN = np.triu(np.ones((3, 3), bool), 1)
PADDING = np.array([[False, False, True], [False, True, True]])


def head_samples(d):
    def layer(length=3, keys=3):
        return [d(length, 2, 4), *[d(keys, 2, 4)] * 2, d(12, 4), d(12), d(4, 4), d(4)]

    return [
        call(*layer()),
        call(*layer(2), weights=False),
        call(*layer(), hidden=HIDDEN, padding=PADDING),
        call(*layer(), hidden=np.stack([HIDDEN, HIDDEN.T, HIDDEN, HIDDEN.T]), weights=False),
        call(*layer(), padding=PADDING, zero=True, weights=False),
        call(*layer(2), more=(d(1, 1, 4), d(1, 1, 4)), zero=True),
    ]


def spelled(way, blank):
    """What a way through the labels spells."""
    kept = [label for label, _ in itertools.groupby(way)]
    return tuple(label for label in kept if label != blank)


def ctc(x, targets, given, wanted, blank=0, reduction="mean", zero_infinity=False):
    """By looking at all ways."""
    log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
    if targets.ndim == 1:
        starts = np.cumsum([0, *wanted])
        rows = [targets[starts[n] : starts[n + 1]] for n in range(len(wanted))]
    else:
        rows = [row[:n] for row, n in zip(targets, wanted, strict=True)]
    losses = []
    for n, row in enumerate(rows):
        ways = itertools.product(range(x.shape[2]), repeat=given[n])
        chances = [
            np.exp(sum(log_p[t, n, label] for t, label in enumerate(way)))
            for way in ways if spelled(way, blank) == tuple(row)
        ]  # fmt: skip
        losses.append(-np.log(sum(chances)) if chances else 0.0 if zero_infinity else np.inf)
    losses = np.array(losses, x.dtype)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else (losses / np.maximum(wanted, 1)).mean(dtype=x.dtype)


def ctc_of_scores(x, *args, **kwargs):
    return F.ctc_loss(x.log_softmax(-1), *args, **kwargs)


TARGETS = np.array([[1, 1], [2, 1], [1, 0]])

ROWS = [
    Row("F.multi_head_attention_forward", heads_here, heads, (-1, 1), dtypes=FLOATS, ulps=256,
        samples=head_samples,
        errors=[
            Bad(ShapeError, *[ones(3, 1, 4)] * 3, *[ones(12, 4), ones(12), ones(4, 4), ones(4)], count=3,
                match="not divisible by the number of heads"),
            Bad(ShapeError, ones(3, 1, 4), ones(3, 1, 4), ones(2, 1, 4), ones(12, 4), ones(12), ones(4, 4),
                ones(4), match="each key needs a value"),
            Bad(ShapeError, ones(3, 4), *[ones(3, 1, 4)] * 2, ones(12, 4), ones(12), ones(4, 4), ones(4),
                match="all three"),
            Bad(ShapeError, *[ones(3, 1, 4)] * 3, *[ones(12, 4), ones(12), ones(4, 4), ones(4)],
                hidden=np.ones((2, 3), bool), match="attn_mask has another shape"),
            Bad(ShapeError, *[ones(3, 1, 4)] * 3, *[ones(12, 4), ones(12), ones(4, 4), ones(4)],
                padding=np.ones(3, bool), match="one number for each key"),
            Bad(DTypeError, *[ones(3, 1, 4)] * 3, *[ones(12, 4), ones(12), ones(4, 4), ones(4)],
                hidden=index([[0] * 3] * 3), match="only bool and floating types of attn_mask"),
        ]),
    # The gradient is that of the scores: see the function.
    Row("F.ctc_loss", ctc_of_scores, ctc, dtypes=FLOATS, ulps=256,
        samples=lambda d: [
            call(d(4, 3, 3), TARGETS, [4, 3, 4], [2, 2, 1]),
            call(d(4, 3, 3), TARGETS, [4, 2, 4], [2, 2, 0], reduction="sum"),
            call(d(3, 2, 3), np.array([0, 1, 1]), [3, 3], [2, 1], blank=2, reduction="none"),
            call(d(3, 2, 3), TARGETS[:2], [2, 3], [2, 2], zero_infinity=True),
        ],
        errors=[
            Bad(ShapeError, ones(4, 3, 3), TARGETS, [4, 4], [2, 2], match="input_lengths must be of size"),
            Bad(OptionError, ones(4, 1, 3), TARGETS[:1], [5], [2], match=("input_lengths does not fit", "5")),
            Bad(OptionError, ones(4, 1, 3), TARGETS[:1], [4], [3], match="target_lengths does not fit"),
            Bad(OptionError, ones(4, 1, 3), TARGETS[:1], [4], [2], blank=3, match="blank must be in label"),
            Bad(ShapeError, ones(4, 3, 3), np.array([1, 1]), [4] * 3, [1] * 3, match="all labels of all"),
            Bad(DTypeError, ones(4, 1, 3), ones(1, 2), [4], [2], match="targets must be integral"),
            Bad(IndexRangeError, ones(4, 1, 3), np.array([[1, 3]]), [4], [2],
                match="index 3 is out of range"),
        ]),
]  # fmt: skip
