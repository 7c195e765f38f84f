"""Rows for the losses of `nn.functional` that are not of labels, and for distances."""

from __future__ import annotations

import math

import numpy as np
from rows_core import FLOATS, NUMBERS, index, ones

from lampion.errors import DTypeError, LampionError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import Bad, Row, call

SIGNS = np.array([1.0, -1.0, 1.0])


def reduced(losses, reduction="mean"):
    return {"mean": losses.mean, "sum": losses.sum, "none": lambda: losses}[reduction]()


def reductions(*arrays, **kwargs):
    """The call with each reduction."""
    return [call(*arrays, **kwargs), call(*arrays, reduction="sum", **kwargs),
            call(*arrays, reduction="none", **kwargs)]  # fmt: skip


def pairs(d):
    return reductions(d(3, 4), d(3, 4))


def signed(d):
    """An input, and a target of 1 and -1."""
    return reductions(d(2, 3), SIGNS.astype(d.dtype.numpy) * np.ones((2, 1), d.dtype.numpy))


def huber(x, y, reduction="mean", delta=1.0):
    size = np.abs(x - y)
    return reduced(np.where(size < delta, size**2 / 2, delta * (size - delta / 2)), reduction)


def smooth(x, y, reduction="mean", beta=1.0):
    return huber(x, y, reduction, beta) / beta if beta else reduced(np.abs(x - y), reduction)


def poisson(x, y, log_input=True, full=False, reduction="mean"):
    x, y = x * 1.0, y * 1.0  # small integers have functions of few digits
    losses = np.exp(x) - y * x if log_input else x - y * np.log(x + 1e-8)
    if full:
        with np.errstate(all="ignore"):
            losses = losses + np.where(y > 1, y * np.log(y) - y + 0.5 * np.log(2 * np.pi * y), 0)
    return reduced(losses, reduction)


def gaussian(x, y, var, full=False, reduction="mean"):
    var = np.maximum(var if np.ndim(var) == x.ndim else var[..., None], 1e-6)
    return reduced((np.log(var) + (x - y) ** 2 / var + (math.log(2 * math.pi) if full else 0)) / 2, reduction)


def kl(x, y, reduction="mean", log_target=False):
    losses = np.exp(y) * (y - x) if log_target else y * np.log(y) - y * x
    return losses.sum() / len(x) if reduction == "batchmean" else reduced(losses, reduction)


def bce(x, y, weight=1.0, reduction="mean"):
    return reduced(-(y * np.log(x) + (1 - y) * np.log1p(-x)) * weight, reduction)


def bce_logits(x, y, weight=1.0, reduction="mean", pos_weight=1.0):
    losses = (1 - y) * np.logaddexp(x, 0) + y * pos_weight * np.logaddexp(-x, 0)
    return reduced(losses * weight, reduction)


def hinge(x, y, margin=1.0, reduction="mean"):
    return reduced(np.where(y == 1, x, np.maximum(0, margin - x)), reduction)


def cosine(x, y, dim=-1, eps=0.0):
    squares = [(z * z).sum(dim) + eps for z in (x, y)]
    return (x * y).sum(dim) / np.sqrt(squares[0] * squares[1])


def cosine_embedding(x, y, t, margin=0.0, reduction="mean"):
    similar = cosine(x, y, eps=1e-12)
    return reduced(np.where(t == 1, 1 - similar, np.maximum(0, similar - margin)), reduction)


def ranking(x, y, t, margin=0.0, reduction="mean"):
    return reduced(np.maximum(0, -t * (x - y) + margin), reduction)


def multi_margin(x, y, p=1, margin=1.0, weight=None, reduction="mean"):
    rows, labels = np.atleast_2d(x), np.atleast_1d(y)
    right = np.take_along_axis(rows, labels[:, None], 1)
    terms = np.maximum(0, margin - right + rows) ** p * (1 if weight is None else weight[labels][:, None])
    terms[np.arange(len(rows)), labels] = 0
    losses = terms.sum(1) / rows.shape[1]
    return reduced(losses.reshape(np.shape(y)), reduction)


def multilabel_margin(x, y, reduction="mean"):
    losses = []
    for row, labels in zip(np.atleast_2d(x), np.atleast_2d(y), strict=True):
        named = list(labels[: list(labels).index(-1)] if -1 in labels else labels)
        others = [j for j in range(len(row)) if j not in named]
        losses.append(sum(max(0.0, 1 - row[i] + row[j]) for i in named for j in others) / len(row))
    return reduced(np.array(losses).reshape(x.shape[:-1]), reduction)


def distance(x, y, p=2.0, eps=1e-6, keepdim=False):
    return np.linalg.norm(np.atleast_1d(x - y + eps), p, -1, keepdim)


def triplet(a, p, n, margin=1.0, swap=False, reduction="mean"):
    far = np.minimum(distance(a, n), distance(p, n)) if swap else distance(a, n)
    return reduced(np.maximum(0, margin + distance(a, p) - far), reduction)


def probabilities(d):
    return [*reductions(d(3, 4), d(3, 4)), call(d(3, 4), d(3, 4), d(4))]


BAD_REDUCTION = Bad(OptionError, ones(2), ones(2), reduction="avg", match="reduction is not known")
OTHER_SHAPE = Bad(ShapeError, ones(2), ones(3), match="input and target have one shape")
INTEGERS = Bad(DTypeError, index(1, 2), index(1, 2), match="expected floats")

ROWS = [
    Row("F.l1_loss", F.l1_loss, lambda x, y, reduction="mean": reduced(np.abs(x - y), reduction),
        samples=pairs, dtypes=NUMBERS, errors=[BAD_REDUCTION]),
    Row("F.smooth_l1_loss", F.smooth_l1_loss, smooth, dtypes=FLOATS,
        samples=lambda d: [*pairs(d), call(d(4), d(4), beta=0.3), call(d(4), d(4), beta=0.0)],
        errors=[BAD_REDUCTION, INTEGERS,
                Bad(OptionError, ones(2), ones(2), beta=-1.0, match="not negative")]),
    Row("F.huber_loss", F.huber_loss, huber, dtypes=FLOATS,
        samples=lambda d: [*pairs(d), call(d(4), d(4), delta=0.3)],
        errors=[INTEGERS,
                Bad(LampionError, ones(2), ones(2), delta=0.0, match="delta is a positive number")]),
    Row("F.poisson_nll_loss", F.poisson_nll_loss, poisson, domain=(0.2, 3), avoid=(1.0,), dtypes=NUMBERS,
        samples=lambda d: [*pairs(d), call(d(4), d(4), False), call(d(4), d(4), full=True)]),
    Row("F.gaussian_nll_loss", F.gaussian_nll_loss, gaussian, domain=(0.2, 2), dtypes=FLOATS,
        samples=lambda d: [*reductions(d(3, 2), d(3, 2), d(3, 2)), call(d(3, 2), d(3, 2), d(3), full=True)],
        errors=[Bad(OptionError, ones(2), ones(2), -ones(2), match="a variance is negative"),
                Bad(ShapeError, ones(2, 3), ones(2, 3), ones(3), match="the variances do not fit")],
        not_compiled="that no variance is negative is only looked at outside of compiled code"),
    Row("F.kl_div", F.kl_div, kl, domain=((-2, 0), (0.1, 1)), dtypes=FLOATS,
        samples=lambda d: [call(d(3, 4), d(3, 4), reduction="batchmean"), call(d(3), d(3), reduction="sum"),
                           call(d(3), d(3), reduction="sum", log_target=True)],
        errors=[BAD_REDUCTION]),
    Row("F.binary_cross_entropy", F.binary_cross_entropy, bce, domain=(0.1, 0.9), samples=probabilities,
        dtypes=FLOATS,
        errors=[Bad(ShapeError, ones(2), ones(3), match="input and target have one shape"),
                Bad(OptionError, 2 * ones(2), ones(2), match=["the input is probabilities", "0 to 1"])],
        not_compiled="that the input is probabilities is only looked at outside of compiled code"),
    Row("F.binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits, bce_logits,
        domain=((-3, 3), (0.1, 0.9)), dtypes=FLOATS,
        samples=lambda d: [*probabilities(d),
                           call(d(3), d(3), d(3, domain=(0.5, 2)), pos_weight=np.array(2.0, d.dtype.numpy))],
        errors=[OTHER_SHAPE]),
    Row("F.hinge_embedding_loss", F.hinge_embedding_loss, hinge, samples=signed, avoid=(1.0,), dtypes=FLOATS),
    Row("F.cosine_embedding_loss", F.cosine_embedding_loss, cosine_embedding, ulps=64,
        samples=lambda d: reductions(d(3, 4), d(3, 4), np.array([1, -1, 1]), margin=-0.9),
        errors=[Bad(ShapeError, ones(2, 3), ones(2, 3), ones(3, 1), match="the shapes do not fit")]),
    Row("F.margin_ranking_loss", F.margin_ranking_loss, ranking, dtypes=NUMBERS,
        samples=lambda d: reductions(d(3), d(3), SIGNS.astype(d.dtype.numpy), margin=0.1),
        errors=[Bad(ShapeError, ones(2), ones(2), ones(2, 1), match="as many dimensions")]),
    Row("F.multi_margin_loss", F.multi_margin_loss, multi_margin, dtypes=FLOATS,
        samples=lambda d: [*reductions(d(3, 4), index(2, 0, 3)), call(d(4), np.array(1), p=2),
                           call(d(3, 4), index(2, 0, 3), 1, 0.5, d(4))],
        errors=[Bad(OptionError, ones(2, 3), index(0, 1), p=3, match="p is 1 or 2"),
                Bad(ShapeError, ones(2, 3), index(0), match="do not belong together")]),
    Row("F.multilabel_margin_loss", F.multilabel_margin_loss, multilabel_margin, dtypes=FLOATS,
        samples=lambda d: [*reductions(d(2, 4), index([3, 0, -1, 1], [1, 2, 3, 0])),
                           call(d(3), index(1, -1, 0))],
        errors=[Bad(ShapeError, ones(2, 3), index(0, 1), match="have one shape")]),
    Row("F.multilabel_soft_margin_loss", F.multilabel_soft_margin_loss,
        lambda x, y, reduction="mean": reduced(
            ((1 - y) * np.logaddexp(x, 0) + y * np.logaddexp(-x, 0)).mean(-1), reduction),
        domain=((-3, 3), (0.1, 0.9)), samples=pairs, dtypes=FLOATS),
    Row("F.soft_margin_loss", F.soft_margin_loss,
        lambda x, y, reduction="mean": reduced(np.logaddexp(-y * x, 0), reduction), samples=signed,
        dtypes=FLOATS),
    Row("F.triplet_margin_loss", F.triplet_margin_loss, triplet, dtypes=NUMBERS, ulps=64,
        samples=lambda d: [*reductions(d(3, 4), d(3, 4), d(3, 4), margin=3.0),
                           call(d(4), d(4), d(4), margin=3.0, swap=True)],
        errors=[Bad(LampionError, ones(2), ones(2), ones(2), margin=0.0, match="margin is a positive number"),
                Bad(ShapeError, ones(2), ones(2), ones(1, 2), match="as many dimensions")]),
    Row("F.triplet_margin_with_distance_loss", F.triplet_margin_with_distance_loss, triplet, dtypes=NUMBERS,
        samples=lambda d: [call(d(3, 4), d(3, 4), d(3, 4), margin=3.0)], ulps=64),
    Row("F.pairwise_distance", F.pairwise_distance, distance, dtypes=NUMBERS, ulps=64,
        samples=lambda d: [call(d(3, 4), d(3, 4)), call(d(4), d(3, 4), p=1.0), call(d(3, 4), d(3, 4), p=3.5),
                           call(d(3, 4), d(3, 4), p=float("inf"), keepdim=True)]),
    Row("F.pdist", F.pdist, lambda x, p=2.0: np.array([
            np.linalg.norm(x[i] - x[j], p) for i in range(len(x)) for j in range(i + 1, len(x))]),
        samples=lambda d: [call(d(4, 3)), call(d(3, 2), 1.0)], dtypes=FLOATS, ulps=64,
        errors=[Bad(ShapeError, ones(3), match="rows of a matrix")]),
    Row("F.cosine_similarity", F.cosine_similarity, lambda x, y, dim=1: cosine(x, y, dim), dtypes=FLOATS,
        ulps=64, samples=lambda d: [call(d(3, 4), d(3, 4)), call(d(4), d(3, 4), dim=-1),
                                    call(d(4), d(4), dim=0)]),
    Row("F.normalize", F.normalize, lambda x, p=2.0, dim=1: x / np.linalg.norm(x, p, dim, True),
        dtypes=FLOATS, samples=lambda d: [call(d(3, 4)), call(d(4), dim=0), call(d(3, 4), 1.0, 0)], ulps=64),
]  # fmt: skip
