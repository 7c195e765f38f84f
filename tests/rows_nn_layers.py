"""Rows for normalisation, tables and bilinear maps in `nn.functional`."""

from __future__ import annotations

import numpy as np
from rows_core import FLOATS, NUMBERS, index, log_softmax, ones

from lampion.errors import DTypeError, IndexRangeError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import Bad, Row, call


def standardised(x, axes, eps=1e-5):
    apart = x - x.mean(axes, keepdims=True)
    return apart / np.sqrt((apart**2).mean(axes, keepdims=True) + eps)


def along_channels(x, weight=None, bias=None):
    shape = (1, -1, *[1] * (x.ndim - 2))
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def batch_norm(x, mean, var, weight=None, bias=None, training=False):
    if training:
        out = standardised(x, (0, *range(2, x.ndim)))
    else:
        out = along_channels(along_channels(x, None, -mean), 1 / np.sqrt(var + 1e-5))
    return along_channels(out, weight, bias)


def group_norm(x, groups, weight=None, bias=None):
    flat = standardised(x.reshape(len(x), groups, -1), 2)
    return along_channels(flat.reshape(x.shape), weight, bias)


def layer_norm(x, shape, weight=1.0, bias=0.0):
    return standardised(x, tuple(range(-len(shape), 0))) * weight + bias


def rms_norm(x, shape, weight=1.0, eps=1e-5):
    return x / np.sqrt((x * x).mean(tuple(range(-len(shape), 0)), keepdims=True) + eps) * weight


def response(x, size, alpha=1e-4, beta=0.75, k=1.0):
    total = np.zeros_like(x)
    for i in range(x.shape[1]):
        near = x[:, max(0, i - size // 2) : i + (size - 1) // 2 + 1]
        total[:, i] = (near**2).sum(1)
    mean = total // size if x.dtype.kind in "iu" else total / size
    return x / (k + alpha * mean) ** beta


def bilinear(x, y, weight, bias=0):
    return np.einsum("...i,oij,...j->...o", x, weight, y) + bias


def bags(rows, table, offsets=None, mode="mean", weights=None):
    if offsets is None:
        groups = list(rows)
    else:
        ends = [*offsets[1:], len(rows)]
        groups = [rows[a:b] for a, b in zip(offsets, ends, strict=True)]
    out = []
    for group in groups:
        found = table[group]
        combine = {"mean": np.mean, "sum": np.sum, "max": np.max}[mode]
        out.append(combine(found, 0) if len(found) else np.zeros(table.shape[1]))
    return np.array(out)


def linear_cross_entropy(x, weight, labels):
    logs = log_softmax(x @ weight.T, 1)
    return -np.take_along_axis(logs, labels[:, None], 1).mean()


INDEX = index([2, 0], [1, 2])

ROWS = [
    Row("F.batch_norm", F.batch_norm, batch_norm, dtypes=FLOATS, ulps=128,
        samples=lambda d: [call(d(4, 3), None, None, training=True),
                           call(d(4, 3), d(3), d(3, domain=(0.5, 2))),
                           call(d(2, 3, 2), None, None, d(3), d(3), training=True)],
        errors=[Bad(ShapeError, ones(3), None, None, training=True, match="a batch of channels"),
                Bad(ShapeError, ones(1, 3), None, None, training=True, match="has no variance"),
                Bad(OptionError, ones(2, 3), None, None, match="evaluation needs running_mean"),
                Bad(ShapeError, ones(2, 3), ones(2), ones(3), match="one number for each channel")]),
    Row("F.instance_norm", F.instance_norm, lambda x: standardised(x, tuple(range(2, x.ndim))), dtypes=FLOATS,
        samples=lambda d: [call(d(2, 3, 4))], ulps=128,
        errors=[Bad(ShapeError, ones(2, 3), match="channels of several values")]),
    Row("F.group_norm", F.group_norm, group_norm, dtypes=FLOATS, ulps=128,
        samples=lambda d: [call(d(2, 4, 3), 2), call(d(2, 4), 2, d(4), d(4))],
        errors=[Bad(ShapeError, ones(2, 3), 2, match="do not fall into equal groups")]),
    Row("F.layer_norm", F.layer_norm, layer_norm, dtypes=FLOATS, ulps=128,
        samples=lambda d: [call(d(3, 4), (4,)), call(d(2, 3, 2), (3, 2), d(3, 2), d(3, 2))],
        errors=[Bad(ShapeError, ones(2, 3), (2,), match=["are not normalized_shape", "(..., 2)"]),
                Bad(ShapeError, ones(2, 3), (3,), ones(2), match="weight has the shape")]),
    Row("F.rms_norm", F.rms_norm, rms_norm, dtypes=FLOATS, ulps=64,
        samples=lambda d: [call(d(3, 4), (4,), eps=1e-5), call(d(2, 3, 2), (3, 2), d(3, 2), eps=1e-5)],
        errors=[Bad(ShapeError, ones(2, 3), (2,), match="are not normalized_shape")]),
    Row("F.local_response_norm", F.local_response_norm, response, dtypes=NUMBERS, ulps=64,
        samples=lambda d: [call(d(2, 5, 2), 3, 0.5), call(d(1, 4, 2), 2, 0.5, 0.5, 2.0)],
        errors=[Bad(ShapeError, ones(2, 3), 3, match="channels of several values")]),
    Row("F.bilinear", F.bilinear, bilinear, dtypes=NUMBERS, ulps=128, integers=(-2, 2),
        samples=lambda d: [call(d(5, 3), d(5, 2), d(4, 3, 2)), call(d(3), d(2), d(4, 3, 2), d(4)),
                           call(d(2, 5, 3), d(2, 5, 2), d(4, 3, 2))],
        errors=[Bad(ShapeError, ones(2, 3), ones(2, 3), ones(4, 3, 2), match="the shapes do not fit")]),
    Row("F.embedding", lambda table, rows: F.embedding(rows, table), lambda table, rows: table[rows],
        samples=lambda d: [call(d(3, 2), INDEX), call(d(3, 2), np.array(1))],
        errors=[Bad(IndexRangeError, ones(3, 2), index(3), match="index 3 is out of range"),
                Bad(DTypeError, ones(3, 2), ones(3), match="indices are integers"),
                Bad(ShapeError, ones(3), index(1), match="rows and features")]),
    Row("F.embedding_bag", lambda table, rows, *args, **kwargs: F.embedding_bag(rows, table, *args, **kwargs),
        lambda table, rows, offsets=None, mode="mean": bags(rows, table, offsets, mode), dtypes=FLOATS,
        samples=lambda d: [call(d(3, 2), INDEX), call(d(3, 2), index(2, 0, 1), index(0, 2, 2), mode="sum"),
                           call(d(3, 2), index(2, 0, 1), index(0, 2), mode="max")],
        errors=[Bad(OptionError, ones(3, 2), INDEX, mode="min", match="the mode is not known"),
                Bad(ShapeError, ones(3, 2), index(1), match="marked by offsets")]),
    Row("F.linear_cross_entropy", F.linear_cross_entropy, linear_cross_entropy, dtypes=FLOATS, ulps=64,
        samples=lambda d: [call(d(3, 4), d(5, 4), index(2, 0, 4))]),
]  # fmt: skip
