"""Rows for the activations of `nn.functional`, and for padding and shuffling."""

from __future__ import annotations

import math

import numpy as np
from rows_core import FLOATS, NUMBERS, log_softmax, ones, scores

import lampion as lp
from lampion.errors import DTypeError, LampionError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import At, Bad, Row, call

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772
erf = np.vectorize(math.erf, otypes=[np.float64])


def softplus(x):
    return np.logaddexp(x, 0)


def elu(x, alpha=1.0, divisor=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.where(x > 0, 0, x) / divisor))


def clipped(x, low, high):
    return np.where(x <= low, low, np.where(x >= high, high, x)).astype(x.dtype)


def glu(x, dim=-1):
    first, second = np.split(x, 2, dim)
    return first / (1 + np.exp(-second))


def prelu(x, weight):
    if weight.size > 1:
        weight = weight.reshape(-1, *[1] * max(x.ndim - 2, 0))
    return np.where(x > 0, x, x * (weight if weight.size > 1 else weight.item()))


def shuffled(x, r):
    *batch, channels, height, width = x.shape
    out = np.empty((*batch, channels // r**2, height * r, width * r), x.dtype)
    for i in range(r):
        for j in range(r):
            out[..., i::r, j::r] = x[..., i * r + j :: r * r, :, :]
    return out


def unshuffled(x, r):
    *batch, channels, height, width = x.shape
    out = np.empty((*batch, channels * r**2, height // r, width // r), x.dtype)
    for i in range(r):
        for j in range(r):
            out[..., i * r + j :: r * r, :, :] = x[..., i::r, j::r]
    return out


def padded(x, pad, mode="constant", value=0):
    sides = [(0, 0)] * x.ndim
    for n in range(len(pad) // 2):
        sides[-1 - n] = (pad[2 * n], pad[2 * n + 1])
    name = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    return np.pad(x, sides, name, **({"constant_values": value} if mode == "constant" else {}))


def images(d):
    return [call(d(2, 4, 2, 4), 2), call(d(4, 2, 2), 2), call(d(0, 4, 2, 2), 2)]


ROWS = [
    Row("F.relu", F.relu, lambda x: np.maximum(x, x.dtype.type(0)), avoid=(0.0,), dtypes=NUMBERS),
    Row("F.relu6", F.relu6, lambda x: clipped(x, 0, 6), domain=(-8, 8), avoid=(0.0, 6.0), dtypes=NUMBERS,
        points=[At(0.0, value=0.0, grad=0.0), At(6.0, value=6.0, grad=0.0)]),
    Row("F.leaky_relu", F.leaky_relu, lambda x: np.where(x > 0, x, x * 0.01), avoid=(0.0,), dtypes=FLOATS,
        points=[At(0.0, value=0.0, grad=0.01)]),
    Row("F.prelu", F.prelu, prelu, avoid=(0.0,), dtypes=FLOATS,
        samples=lambda d: [call(d(2, 3, 2), d(3)), call(d(3, 4), d(1)), call(d(3), d(3))],
        errors=[Bad(ShapeError, ones(2, 3), ones(2), match=["one slope", "(1,) or (3,)"])]),
    Row("F.rrelu", F.rrelu, lambda x: np.where(x > 0, x, x * (1 / 8 + 1 / 3) / 2), avoid=(0.0,),
        dtypes=FLOATS, errors=[Bad(OptionError, ones(2), 0.5, 0.1, match="lower is above upper")]),
    Row("F.hardtanh", F.hardtanh, lambda x: clipped(x, -1, 1), domain=(-3, 3), avoid=(-1.0, 1.0),
        dtypes=(lp.int32, lp.int64, *FLOATS),
        points=[At(-1.0, value=-1.0, grad=0.0), At(1.0, value=1.0, grad=0.0)],
        errors=[Bad(OptionError, ones(2), 2.0, 1.0, match="min_val is above max_val")]),
    Row("F.threshold", F.threshold, lambda x, t, v: np.where(x <= t, v, x).astype(x.dtype), avoid=(1.0,),
        dtypes=NUMBERS, samples=lambda d: [call(d(3, 4), 1, 2), call(d(), 1, 0)]),
    Row("F.hardsigmoid", F.hardsigmoid, lambda x: clipped(x + 3, 0, 6) / 6, domain=(-5, 5), avoid=(-3.0, 3.0),
        dtypes=FLOATS, points=[At(-3.0, value=0.0, grad=0.0), At(3.0, value=1.0, grad=0.0)]),
    Row("F.hardswish", F.hardswish,
        lambda x: np.where(x <= -3, x * 0, np.where(x >= 3, x, x * (x + 3) / 6)),
        domain=(-5, 5), avoid=(-3.0, 3.0), dtypes=FLOATS),
    Row("F.hardshrink", F.hardshrink, lambda x: np.where((x >= -0.5) & (x <= 0.5), 0, x).astype(x.dtype),
        avoid=(-0.5, 0.5), dtypes=FLOATS,
        points=[At(-0.5, value=0.0, grad=0.0), At(0.5, value=0.0, grad=0.0)]),
    Row("F.softshrink", F.softshrink,
        lambda x: np.where(x > 0.5, x - 0.5, np.where(x < -0.5, x + 0.5, x * 0)),
        avoid=(-0.5, 0.5), dtypes=FLOATS,
        errors=[Bad(OptionError, ones(2), -1.0, match="lambd is not negative")]),
    Row("F.elu", F.elu, elu, avoid=(0.0,), dtypes=FLOATS, points=[At(0.0, value=0.0, grad=1.0)]),
    Row("F.celu", F.celu, elu, avoid=(0.0,), dtypes=FLOATS,
        errors=[Bad(OptionError, ones(2), 0.0, match="alpha divides")]),
    Row("F.selu", F.selu, lambda x: elu(x, ALPHA) * SCALE, avoid=(0.0,), dtypes=FLOATS),
    Row("F.silu", F.silu, lambda x: x / (1 + np.exp(-1.0 * x)), samples=lambda d: [call(d(3, 4)), call(d())],
        dtypes=FLOATS),
    Row("F.mish", F.mish, lambda x: x * np.tanh(softplus(x)), dtypes=FLOATS,
        samples=lambda d: [call(d(3, 4)), call(d())]),
    Row("F.gelu", F.gelu, lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))), dtypes=FLOATS, ulps=64,
        samples=lambda d: [call(d(3, 4))], points=[At(0.0, value=0.0, grad=0.5)],
        errors=[Bad(OptionError, ones(2), "sigmoid", match="the approximation is not known")]),
    Row("F.gelu: tanh", lambda x: F.gelu(x, approximate="tanh"),
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), dtypes=FLOATS,
        samples=lambda d: [call(d(3, 4))], ulps=64),
    Row("F.softplus", F.softplus, softplus, dtypes=FLOATS, domain=(-4, 4),
        points=[At(30.0, value=30.0, grad=1.0), At(0.0, value=math.log(2), grad=0.5),
                At(-800.0, value=0.0, grad=0.0)]),
    Row("F.softplus: beta", F.softplus, lambda x, beta, threshold: np.where(x * beta > threshold, x,
        softplus(x * beta) / beta), dtypes=FLOATS, avoid=(1.5,),
        samples=lambda d: [call(d(3, 4), 2.0, 3.0)]),
    Row("F.logsigmoid", F.logsigmoid, lambda x: -softplus(-x), dtypes=FLOATS,
        points=[At(-1000.0, value=-1000.0, grad=1.0), At(0.0, value=-math.log(2), grad=0.5)]),
    Row("F.softsign", F.softsign, lambda x: x / (1 + np.abs(x)), avoid=(0.0,), dtypes=NUMBERS,
        samples=lambda d: [call(d(3, 4))]),
    Row("F.tanhshrink", F.tanhshrink, lambda x: x - np.tanh(x), domain=(0.5, 3),
        samples=lambda d: [call(d(3, 4))]),
    Row("F.glu", F.glu, glu, dtypes=FLOATS,
        samples=lambda d: [call(d(3, 4)), call(d(4, 3), 0), call(d(2, 6, 3), 1)],
        errors=[Bad(ShapeError, ones(3), match=["cannot be halved", "an even size"])]),
    Row("F.sigmoid", F.sigmoid, lambda x: 1 / (1 + np.exp(-1.0 * x))),
    Row("F.tanh", F.tanh, np.tanh),
    Row("F.softmax", F.softmax, lambda x, dim: np.exp(log_softmax(x, dim)), samples=scores, dtypes=FLOATS,
        points=[At([1e4, 0.0], 0, value=[1.0, 0.0]), At([-np.inf, 0.0], 0, value=[0.0, 1.0])],
        errors=[Bad(DTypeError, np.array([1, 2]), 0, match="expected floats")]),
    Row("softmax", lp.softmax, lambda x, dim: np.exp(log_softmax(x, dim)), samples=scores, dtypes=FLOATS,
        errors=[Bad(DTypeError, np.array([1, 2]), 0, match="expected floats")]),
    Row("F.softmin", F.softmin, lambda x, dim: np.exp(log_softmax(-x, dim)), samples=scores, dtypes=FLOATS),
    Row("F.log_softmax", F.log_softmax, log_softmax, samples=scores, dtypes=FLOATS),
    Row("F.pad", F.pad, padded, samples=lambda d: [
            call(d(2, 3), (1, 2)), call(d(2, 3), (1, 0, 2, 1), "constant", 2),
            call(d(2, 4), (2, 1), "reflect"),
            call(d(2, 3), (1, 2, 1, 1), "replicate"), call(d(2, 3), (2, 1), "circular"),
        ],
        errors=[Bad(ShapeError, ones(3), (1,), match="two numbers for each"),
                Bad(LampionError, ones(3), (1, 1), "mirror", match="no such mode")]),
    Row("F.pixel_shuffle", F.pixel_shuffle, shuffled, samples=images,
        errors=[Bad(ShapeError, ones(3, 2, 2), 2, match="cannot be spread")]),
    Row("F.pixel_unshuffle", F.pixel_unshuffle, unshuffled, samples=images,
        errors=[Bad(ShapeError, ones(3, 3, 2), 2, match="cannot be divided")]),
    Row("F.channel_shuffle", F.channel_shuffle,
        lambda x, g: np.concatenate([x[:, i :: x.shape[1] // g] for i in range(x.shape[1] // g)], 1),
        samples=lambda d: [call(d(2, 6, 3), 2), call(d(1, 4, 2, 2), 4)],
        errors=[Bad(ShapeError, ones(1, 3, 2), 2, match="do not fall into equal groups")]),
]  # fmt: skip
