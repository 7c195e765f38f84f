"""Rows of norms, condition numbers and ranks."""

from __future__ import annotations

import math

import numpy as np
from rows_linalg import linalg, ones, regular, row, turned

import lampion as lp
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.testing.rows import Bad, call


def lengths(d):
    return [call(d(3, 4)), call(d(3, 4), 3, 1, True), call(d(3, 4), 1.5, (0, 1)), call(d(4), math.inf),
            call(d(4), -math.inf), call(d(2, 3), 1, 0), call(d(4), 0)]  # fmt: skip


def vector_norm(x, ord=2, dim=None, keepdim=False):
    axes = tuple(range(x.ndim)) if dim is None else dim if isinstance(dim, tuple) else (dim,)
    x = abs(x)
    if ord in (math.inf, -math.inf):
        return (x.max if ord > 0 else x.min)(axis=axes, keepdims=keepdim)
    if ord == 0:
        return (x != 0).sum(axes, keepdims=keepdim).astype(x.dtype)
    return (x**ord).sum(axes, keepdims=keepdim) ** (1 / ord)


def matrix_norms(d):
    return [call(d(3, 4), ord) for ord in ("fro", 1, -math.inf, -2)] + [
        call(d(2, 3, 4), "nuc", (0, 2), True), call(d(2, 3, 4), 1, (2, 0))]  # fmt: skip


def matrix_norm(x, ord="fro", dim=(-2, -1), keepdim=False):
    return np.linalg.norm(x, ord, dim, keepdim)


ROWS = [
    row(
        "linalg.vector_norm",
        linalg.vector_norm,
        vector_norm,
        samples=lengths,
        errors=[
            Bad(DTypeError, np.ones(2, int), match="x.float()"),
            Bad(LampionError, ones(2), "fro", match="a number"),
            Bad(ShapeError, ones(0), math.inf, match="without elements"),
        ],
    ),
    row(
        "linalg.matrix_norm",
        linalg.matrix_norm,
        matrix_norm,
        samples=matrix_norms,
        errors=[
            Bad(LampionError, ones(2, 2), 3, match="no norm of order 3"),
            Bad(ShapeError, ones(2), match="matrix"),
            Bad(ShapeError, ones(2, 2), dim=(0, 0), match="two dimensions"),
        ],
    ),
    row(
        "linalg.norm",
        linalg.norm,
        np.linalg.norm,
        samples=lambda d: [call(d(2, 3, 2)), call(d(3), 1), call(d(3, 2), "nuc"), call(d(2, 3, 2), 2, 1)],
        errors=[
            Bad(ShapeError, ones(2, 2, 2), 1, match="vector or a matrix"),
            Bad(LampionError, ones(2, 2), "fro", 0, match="vectors"),
        ],
    ),
    row(
        "linalg.cond",
        linalg.cond,
        np.linalg.cond,
        regular,
        lambda d: [call(d(3, 3)), call(d(3, 3), -2), call(d(3, 3), 1)],
    ),
    row(
        "linalg.matrix_rank",
        lambda x: linalg.matrix_rank(x @ turned(x)),
        lambda x: np.linalg.matrix_rank(x @ turned(x)),
        samples=lambda d: [call(d(4, 2)), call(d(2, 3, 3))],
        orders=0,
    ),
    row(
        "nuclear_norm", lp.nuclear_norm, lambda x: np.linalg.norm(x, "nuc"), samples=lambda d: [call(d(3, 2))]
    ),
]
