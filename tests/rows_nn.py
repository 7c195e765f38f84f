"""Rows for `nn.functional`, and for the composites behind it that have a gradient of their own."""

from __future__ import annotations

import numpy as np
from rows_core import FLOATS, NUMBERS, index, log_softmax, ones

import lampion as lp
from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import Bad, Row, call

LABELS = index(2, 0, 3)


def linear(x, weight, bias=None):
    out = x @ weight.T
    return out if bias is None else out + bias


def mse(x, y, reduction="mean"):
    squares = (x - y) ** 2
    return {"mean": squares.mean, "sum": squares.sum, "none": lambda: squares}[reduction]()


def nll(logs, labels, weight=None, ignore_index=-100, reduction="mean"):
    logs = np.moveaxis(logs, 1, -1) if logs.ndim > 1 else logs
    counts = labels != ignore_index
    chosen = np.where(counts, labels, 0)
    scale = (np.ones(logs.shape[-1]) if weight is None else weight)[chosen] * counts
    losses = np.where(counts, -np.take_along_axis(logs, chosen[..., None], -1)[..., 0] * scale, 0.0)
    if reduction == "none":
        return losses
    return losses.sum() / (scale.sum() if reduction == "mean" else 1)


def cross_entropy(x, labels, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    logs = log_softmax(x, min(1, x.ndim - 1))
    if labels.dtype.kind != "f" and not label_smoothing:
        return nll(logs, labels, weight, ignore_index, reduction)
    share = np.eye(x.shape[1])[labels] if labels.dtype.kind != "f" else labels
    share = share * (1 - label_smoothing) + label_smoothing / x.shape[1]
    losses = -(share * logs * (1 if weight is None else weight)).sum(1)
    if reduction == "none":
        return losses
    return losses.sum() / (len(x) if reduction == "mean" and (weight is None or labels.dtype.kind == "f")
                           else weight[labels].sum() if reduction == "mean" else 1)  # fmt: skip


def log_scores(d):
    return [call(d(3, 4), LABELS), call(d(4), np.array(2)), call(d(2, 3, 2), index([0, 2], [1, 1])),
            call(d(3, 4), LABELS, ignore_index=0), call(d(3, 4), LABELS, reduction="sum"),
            call(d(3, 4), LABELS.astype(np.int32), reduction="none"),
            call(d(3, 4), LABELS, d(4, domain=(0.5, 2)), ignore_index=2)]  # fmt: skip


def entropies(d):
    share = np.array([[0.7, 0.1, 0.2], [0, 0, 1]], d.dtype.numpy)
    return [*log_scores(d), call(d(3, 4), LABELS, label_smoothing=0.1), call(d(2, 3), share),
            call(d(3, 4), LABELS, d(4, domain=(0.5, 2)), label_smoothing=0.1),
            call(d(2, 3), share, reduction="sum"), call(d(2, 3), share, d(3, domain=(0.5, 2))),
            call(d(2, 3), share, reduction="none", label_smoothing=0.3)]  # fmt: skip


BAD_LABELS = [
    Bad(IndexRangeError, ones(2, 3), index(0, 3), match=["index 3 is out of range", "0 to 2"]),
    Bad(ShapeError, ones(2, 3), index(0, 1, 2), match=["do not belong together", "argmax(1)"]),
    Bad(DTypeError, ones(2, 3), ones(2), match=["labels are integers", "target.long()"]),
    Bad(DTypeError, index([1, 2]), index(0), match="floating tensor of scores"),
    Bad(ShapeError, ones(2, 3), index(0, 1), ones(2), match=["weight has one factor", "(3,)"]),
    Bad(LampionError, ones(2, 3), index(0, 1), reduction="avg", match=["is not known", "'avg'"]),
]  # fmt: skip

ROWS = [
    Row("F.linear", F.linear, linear, ulps=64, dtypes=NUMBERS,
        samples=lambda d: [call(d(2, 3), d(4, 3)), call(d(2, 3), d(4, 3), d(4)), call(d(3), d(4, 3), d(4)),
                           call(d(2, 5, 3), d(4, 3), d(4)), call(d(0, 3), d(4, 3), d(4))],
        errors=[Bad(ShapeError, ones(2, 5), ones(4, 3), match=["inner sizes differ", "in_features"])]),
    Row("F.mse_loss", F.mse_loss, mse, dtypes=NUMBERS,
        samples=lambda d: [call(d(3, 4), d(3, 4)), call(d(3, 4), d(3, 4), reduction="sum"),
                           call(d(3, 4), d(3, 4), reduction="none")],
        errors=[Bad(LampionError, ones(2), ones(2), reduction="avg", match="reduction is not known")]),
    Row("F.nll_loss", F.nll_loss, nll, samples=log_scores, dtypes=FLOATS, errors=BAD_LABELS),
    Row("F.cross_entropy", F.cross_entropy, cross_entropy, samples=entropies, dtypes=FLOATS,
        errors=BAD_LABELS),
    Row("F.one_hot", F.one_hot, lambda x, n: np.eye(n, dtype=np.int64)[x], orders=0, result=lp.int64,
        samples=lambda d: [call(d(2, 3), 4)], dtypes=(lp.uint8, lp.int32, lp.int64), integers=(0, 3),
        errors=[Bad(IndexRangeError, index(2), 2, match="index 2 is out of range"),
                Bad(LampionError, index(2), 0, match="num_classes must be given")]),
]  # fmt: skip
