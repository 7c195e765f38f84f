"""Rows of products of vectors and matrices, and of einsum."""

from __future__ import annotations

import math

import numpy as np

import lampion as lp
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.testing.rows import FLOATS, NUMBERS, Bad, Row, call

linalg = lp.linalg


def ones(*shape):
    return np.ones(shape, np.float32)


def added(product):
    def reference(x, a, b, *, beta=1, alpha=1):
        return x | product(a, b) if x.dtype == bool else beta * x + alpha * product(a, b)

    return reference


def scales(shape, *rest):
    def samples(d):
        integers = d.dtype.kind in "iu"
        factors = {"beta": 2, "alpha": 3} if integers else {"beta": 0.5, "alpha": -2}
        factors = {} if d.dtype.kind == "b" else factors
        return [call(d(*shape), *(d(*s) for s in rest)), call(d(1), *(d(*s) for s in rest), **factors)]

    return samples


def unread(d):
    """NaNs, where there are any."""
    return np.full((2, 2), math.nan if d.dtype.kind == "f" else 1, d.dtype.numpy)


def multi(d):
    return [call([d(2, 5), d(5, 3), d(3, 4)]), call([d(3), d(3, 2), d(2)])]


def einsum(equation, *xs):
    if equation == "ij->" and xs[0].dtype.kind != "f":
        return xs[0].sum()  # a sum alone adds integers up as int64
    return np.einsum(equation, *xs)


def einsums(d):
    return [
        call("ij,jk->ik", d(2, 3), d(3, 4)), call("bii->bi", d(2, 3, 3)), call("ij->", d(2, 3)),
        call("i,j", d(2), d(3)), call("...ij,...jk,kl->...il", d(2, 2, 3), d(3, 2), d(2, 2)),
        call("b i, b j -> i j b", d(2, 3), d(2, 2)),
    ]  # fmt: skip


def vandermonde(x, N=None):
    x = x if x.dtype.kind == "f" else x.astype(np.int64)
    return x[..., None] ** np.arange(N or x.shape[-1])


def falling(x, N=None, increasing=False):
    powers = vandermonde(x, N)
    return powers if increasing else powers[..., ::-1]


def crosses(d):
    return [call(d(2, 3), d(2, 3)), call(d(3, 4), d(3, 4), 0)]


ROWS = [
    Row(
        "mm",
        lp.mm,
        np.matmul,
        dtypes=NUMBERS,
        samples=lambda d: [call(d(2, 3), d(3, 4)), call(d(2, 0), d(0, 3))],
        errors=[Bad(ShapeError, ones(2, 2, 2), ones(2, 2), match=["mm: expected a matrix", "matmul"])],
    ),
    Row(
        "bmm",
        lp.bmm,
        np.matmul,
        dtypes=NUMBERS,
        samples=lambda d: [call(d(2, 2, 3), d(2, 3, 1))],
        errors=[Bad(ShapeError, ones(1, 2, 2), ones(3, 2, 2), match="batches have different sizes")],
    ),
    Row(
        "mv",
        lp.mv,
        np.matmul,
        dtypes=NUMBERS,
        samples=lambda d: [call(d(2, 3), d(3))],
        errors=[Bad(ShapeError, ones(2, 2), ones(2, 2), match="expected a vector")],
    ),
    Row(
        "dot",
        lp.dot,
        np.dot,
        dtypes=NUMBERS,
        samples=lambda d: [call(d(5), d(5))],
        errors=[
            Bad(ShapeError, ones(2), ones(3), match=["different lengths", "2 and 3"]),
            Bad(DTypeError, ones(2), np.ones(2), match="different types"),
        ],
    ),
    Row("vdot", lp.vdot, np.vdot, dtypes=NUMBERS, samples=lambda d: [call(d(5), d(5))]),
    Row(
        "inner",
        lp.inner,
        np.inner,
        dtypes=NUMBERS,
        samples=lambda d: [call(d(2, 3), d(4, 3))],
        errors=[Bad(ShapeError, ones(2, 3), ones(2), match="last sizes differ")],
    ),
    Row("inner: numbers", lp.inner, np.inner, samples=lambda d: [call(d(), d(2))]),
    Row("outer", lp.outer, np.outer, samples=lambda d: [call(d(2), d(3))]),
    Row("ger", lp.ger, np.outer, samples=lambda d: [call(d(2), d(3))]),
    Row(
        "addmm",
        lp.addmm,
        added(np.matmul),
        dtypes=NUMBERS,
        samples=scales((2, 4), (2, 3), (3, 4)),
        errors=[Bad(ShapeError, ones(5), ones(2, 3), ones(3, 4), match="do not broadcast")],
    ),
    Row("addmv", lp.addmv, added(np.matmul), dtypes=NUMBERS, samples=scales((2,), (2, 3), (3,))),
    Row(
        "addr",
        lp.addr,
        added(np.outer),
        samples=scales((2, 3), (2,), (3,)),
        errors=[Bad(DTypeError, *(np.ones(2, int),) * 3, beta=0.5, match="must be integers")],
    ),
    Row(
        "baddbmm",
        lp.baddbmm,
        added(np.matmul),
        dtypes=NUMBERS,
        samples=scales((2, 2, 1), (2, 2, 3), (2, 3, 1)),
    ),
    Row(
        "addbmm",
        lp.addbmm,
        added(lambda a, b: (a @ b).sum(0, dtype=a.dtype)),
        dtypes=NUMBERS,
        samples=scales((2, 1), (3, 2, 2), (3, 2, 1)),
    ),
    Row(
        "addmm: without reading what is times 0",
        lambda x, a: lp.addmm(x, a, a, beta=0),
        lambda x, a: a @ a,
        samples=lambda d: [call(unread(d), d(2, 2))],
        dtypes=NUMBERS,
    ),
    Row(
        "chain_matmul",
        lp.chain_matmul,
        lambda *x: np.linalg.multi_dot(x),
        dtypes=NUMBERS,
        samples=lambda d: [call(d(2, 5), d(5, 3), d(3, 4), d(4, 1))],
    ),
    Row(
        "linalg.multi_dot",
        linalg.multi_dot,
        np.linalg.multi_dot,
        dtypes=NUMBERS,
        samples=multi,
        errors=[
            Bad(ShapeError, [ones(2)], match="not two"),
            Bad(ShapeError, [ones(2, 2), ones(3, 2)], match="two neighbours do not fit"),
        ],
    ),
    Row(
        "matrix_power",
        lp.matrix_power,
        np.linalg.matrix_power,
        dtypes=NUMBERS,
        ulps=256,
        samples=lambda d: [call(d(3, 3), 5), call(d(2, 2, 2), 0)],
        errors=[Bad(ShapeError, ones(2, 3), 2, match="square")],
    ),
    Row(
        "matrix_power: negative",
        lambda x: lp.matrix_power(x + 5 * lp.eye(3, dtype=x.dtype), -3),
        lambda x: np.linalg.matrix_power(x + 5 * np.eye(3), -3),
        dtypes=FLOATS,
        ulps=2000,
        samples=lambda d: [call(d(3, 3))],
    ),
    Row(
        "tensordot",
        lp.tensordot,
        np.tensordot,
        dtypes=NUMBERS,
        samples=lambda d: [
            call(d(2, 3, 4), d(4, 3, 2), ([1, 2], [1, 0])),
            call(d(2, 3), d(3, 2), 1),
            call(d(2), d(3), 0),
        ],
        errors=[Bad(ShapeError, ones(2), ones(3), 1, match="sizes to sum over differ")],
    ),
    Row("kron", lp.kron, np.kron, samples=lambda d: [call(d(2, 3), d(3, 2)), call(d(2), d(2, 1, 2))]),
    Row(
        "einsum",
        lp.einsum,
        einsum,
        dtypes=NUMBERS,
        samples=einsums,
        ulps=64,
        errors=[
            Bad(ShapeError, "ij,jk", ones(2, 3), ones(4, 2), match=["'j'", "3 and 4"]),
            Bad(LampionError, "i?", ones(2), match="cannot read"),
            Bad(LampionError, "i->k", ones(2), match="'k' is unknown"),
            Bad(ShapeError, "ijk", ones(2), match="number of letters"),
        ],
    ),
    Row(
        "cross",
        lp.cross,
        lambda x, y, dim=-1: np.cross(x, y, axis=dim),
        dtypes=NUMBERS,
        samples=crosses,
        errors=[Bad(ShapeError, ones(2, 4), ones(2, 4), match="no dimension has size 3")],
    ),
    Row(
        "linalg.cross",
        lambda x, y, dim=-1: linalg.cross(x, y, dim=dim),
        lambda x, y, dim=-1: np.cross(x, y, axis=dim),
        dtypes=NUMBERS,
        samples=crosses,
        errors=[Bad(ShapeError, ones(4), ones(4), match="vectors of three")],
    ),
    Row(
        "linalg.vecdot", linalg.vecdot, lambda x, y: (x * y).sum(-1), samples=lambda d: [call(d(2, 3), d(3))]
    ),
    Row(
        "linalg.vander",
        linalg.vander,
        vandermonde,
        samples=lambda d: [call(d(4)), call(d(2, 3), N=5)],
        errors=[Bad(ShapeError, ones(2), N=1, match="two powers")],
    ),
    Row(
        "linalg.diagonal",
        linalg.diagonal,
        lambda x, offset=0: np.diagonal(x, offset, -2, -1),
        samples=lambda d: [call(d(2, 3, 4)), call(d(3, 3), offset=1)],
    ),
    Row(
        "vander",
        lp.vander,
        falling,
        samples=lambda d: [call(d(4)), call(d(3), 2), call(d(3), 5, True)],
        errors=[Bad(ShapeError, ones(2, 2), match="expected a vector")],
    ),
]
