"""Rows of sorting, searching, running sums and differences: see `rows_core.py`."""

from __future__ import annotations

import numpy as np
from rows_core import INF, NAN, index, ones

import lampion as lp
from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError
from lampion.testing import At, Bad, Row, call
from lampion.testing.rows import FLOATS, NUMBERS

NO_DIM = Bad(IndexRangeError, ones(2, 3), 2, match=["dimension 2 does not exist", "-2 to 1"])
ONLY_FLOATS = {"dtypes": FLOATS}


def along(draw):
    """Calls with a dimension."""
    yield call(draw(3, 4), 0)
    yield call(draw(2, 3, 4), -1)
    yield call(draw(2, 0, 3), 1)
    yield call(draw(), 0)


def rows(draw):
    """The same, where an empty dimension has no result."""
    yield call(draw(3, 4), 0)
    yield call(draw(2, 3, 4), -2)
    yield call(draw(), 0)


def real(draw):
    """Draws floats, also where integers are being checked: those have a row of their own, or no meaning."""

    def numbers(*shape):
        found = draw(*shape)
        return found if found.dtype.kind == "f" else found.astype(np.float32)

    return numbers


# -- sorting -------------------------------------------------------------------------------------------


def descending(x, dim):
    """The stable descending order."""
    n = x.shape[dim]
    return np.flip(n - 1 - np.argsort(np.flip(x, dim), dim, kind="stable"), dim)


def argsort(x, dim=-1, descending_=False):
    if not x.ndim:
        return np.zeros((), np.int64)
    return descending(x, dim) if descending_ else np.argsort(x, dim, kind="stable")


def sort(x, dim=-1, descending_=False):
    places = argsort(x, dim, descending_)
    return (np.take_along_axis(x, places, dim) if x.ndim else x), places


def orderings(draw):
    yield call(draw(7))
    yield call(draw(3, 4), 0, True)
    yield call(draw(2, 3, 2), -2)
    yield call(draw())
    yield call(draw(0, 2), 0)


def first(x, k, dim=-1, largest=True):
    if not x.ndim:
        return x, np.zeros((), np.int64)
    values, places = sort(x, dim, largest)
    cut = tuple(slice(k) if a == dim % x.ndim else slice(None) for a in range(x.ndim))
    return values[cut], places[cut]


def many(draw):
    """Numbers among which there are equal ones, at the boundary too."""
    x = draw(2, 40)
    x[:, 7:30] = x[:, 7:8]
    yield from (call(x, k, -1, largest) for k in (1, 3, 9) for largest in (True, False))
    yield call(x.T.copy(), 5, 0)


def kth(x, k, dim=-1, keepdim=False):
    values, places = (x, np.zeros((), np.int64)) if not x.ndim else sort(x, dim)
    cut = [np.take(part, [k - 1], dim) if x.ndim else part for part in (values, places)]
    return tuple(part if keepdim or not x.ndim else part.squeeze(dim) for part in cut)


SORTING = [
    Row("argsort", lp.argsort, argsort, orders=0, errors=[NO_DIM],
        samples=orderings,
        points=[At([2.0, NAN, 1.0, INF, 1.0], value=[2, 4, 0, 3, 1])]),
    Row("argsort: NaN first where descending", lambda x: lp.argsort(x, descending=True),
        lambda x: descending(x, -1), orders=0, samples=lambda d: [call(d(3, 4))],
        points=[At([2.0, NAN, 1.0, INF, 1.0], value=[1, 3, 0, 2, 4])]),
    Row("sort", lp.sort, sort, errors=[NO_DIM],
        samples=orderings),
    Row("msort", lp.msort, lambda x: np.sort(x, 0), samples=lambda d: [call(d(4, 3)), call(d(5))]),
    Row("topk", lp.topk, first,
        samples=lambda d: [call(d(6), 2), call(d(3, 4), 3, 0, False), call(d(2, 3), 0), call(d(), 1)],
        errors=[Bad(IndexRangeError, ones(3), 4, match=["not as many elements", "0 to 3"])]),
    Row("topk: few of many", lambda x, *o: lp.topk(x.detach(), *o), first, samples=many, orders=0),
    Row("topk: NaN is the largest", lambda x: lp.topk(x, 2).indices, lambda x: first(x, 2)[1], orders=0,
        samples=lambda d: [call(d(9))],
        points=[At([1.0] * 9 + [NAN, 3.0, NAN], value=[9, 11]), At([1.0] * 9 + [NAN, 3.0], value=[9, 10])]),
    Row("topk: NaN is not the smallest", lambda x: lp.topk(x, 2, largest=False).indices, orders=0,
        reference=lambda x: first(x, 2, largest=False)[1], samples=lambda d: [call(d(9))],
        points=[At([NAN] * 9 + [1.0, NAN, 0.0], value=[11, 9]), At([NAN] * 9 + [1.0], value=[9, 0])]),
    Row("kthvalue", lp.kthvalue, kth,
        samples=lambda d: [call(d(6), 2), call(d(3, 4), 3, 0, True), call(d(2, 3), 1), call(d(), 1)],
        errors=[Bad(IndexRangeError, ones(3), 0, match=["no such element", "1 to 3"])]),
    Row("searchsorted", lambda s, x, right=False: lp.searchsorted(s, x, right=right),
        lambda s, x, right=False: np.searchsorted(s, x, "right" if right else "left"), orders=0,
        samples=lambda d: [call(np.sort(d(6)), d(3, 2)), call(np.sort(d(5)), d(4), right=True),
                           call(np.sort(d(3)), d())]),
    Row("searchsorted: rows", lp.searchsorted,
        lambda s, x: np.stack([np.searchsorted(a, b) for a, b in zip(s, x, strict=True)]), orders=0,
        samples=lambda d: [call(np.sort(d(2, 5)), d(2, 3))],
        errors=[Bad(ShapeError, ones(2, 3), ones(3, 1), match="one for every row"),
                Bad(LampionError, ones(3), ones(1), side="middle", match="side is unknown")]),
    Row("searchsorted: in another order", lambda s, x, o: lp.searchsorted(s, x, sorter=o, out_int32=True),
        lambda s, x, o: np.searchsorted(s[o], x).astype(np.int32), orders=0, result=lp.int32,
        samples=lambda d: [call(np.array([1, 0, 1], d.dtype.numpy), d(4), index(1, 0, 2))]),
    Row("bucketize", lp.bucketize, lambda x, b: np.searchsorted(b, x), orders=0,
        samples=lambda d: [call(d(3, 2), np.sort(d(6)))],
        errors=[Bad(ShapeError, ones(2), ones(2, 2), match="one row of boundaries")]),
]  # fmt: skip

# -- running ---------------------------------------------------------------------------------------------


def running(function):
    def reference(x, dim, **options):
        return function(x, dim, **options) if x.ndim else function(x.reshape(1), 0, **options).reshape(())

    return reference


def running_extreme(function):
    def reference(x, dim):
        if not x.ndim:
            return x, np.zeros((), np.int64)
        best = function.accumulate(x, dim)
        places = np.where(x == best, np.indices(x.shape)[dim], 0)
        return best, np.maximum.accumulate(places, dim)

    return reference


def with_zeros(draw):
    """Rows with none, one and two zeros."""
    x = draw(3, 4)
    x[1, 2] = x[2, 0] = x[2, 3] = 0
    return [call(x, 1), call(x, 0)]


RUNNING = [
    Row("cumsum", lp.cumsum, running(np.cumsum), samples=along, errors=[NO_DIM]),
    Row("cumsum: dtype", lambda x: lp.cumsum(x, 0, dtype=lp.float64), lambda x: np.cumsum(x, 0, np.float64),
        samples=lambda d: [call(d(3, 2))], result=lp.float64),
    Row("cumprod", lp.cumprod, running(np.cumprod), samples=along, errors=[NO_DIM]),
    Row("cumprod: zeros", lp.cumprod, np.cumprod, samples=with_zeros),
    Row("logcumsumexp", lp.logcumsumexp,
        running(lambda x, dim: np.logaddexp.accumulate(x * np.float64(1), dim)),
        samples=along, errors=[NO_DIM]),
    Row("logcumsumexp: infinities", lambda x: lp.logcumsumexp(x, 0), lambda x: np.logaddexp.accumulate(x),
        samples=lambda d: [call(real(d)(5))], **ONLY_FLOATS,
        points=[At([-INF, -INF, 0.0], value=[-INF, -INF, 0.0]),
                At([1e3, 1e3], value=[1e3, 1e3 + np.log(2)])]),
    Row("logcumsumexp: its gradient does not overflow", lambda x: lp.logcumsumexp(x, 0).sum(), **ONLY_FLOATS,
        reference=lambda x: np.logaddexp.accumulate(x).sum(), samples=lambda d: [call(real(d)(3))],
        points=[At([1e3, 1e3], value=2e3 + np.log(2), grad=[1.5, 0.5]),
                At([-INF, 0.0, 0.0], value=-INF, grad=[1.0, 1.5, 0.5])]),
    Row("cummax", lp.cummax, running_extreme(np.maximum), samples=rows, errors=[NO_DIM]),
    Row("cummax: places", lambda x: lp.cummax(x, 0).indices, lambda x: running_extreme(np.maximum)(x, 0)[1],
        samples=lambda d: [call(d(5))], orders=0,
        points=[At([1.0, 1.0, 0.0, NAN, 2.0, NAN], value=[0, 1, 1, 3, 3, 5])]),
    Row("cummin", lp.cummin, running_extreme(np.minimum), samples=rows, errors=[NO_DIM]),
]  # fmt: skip

# -- differences -----------------------------------------------------------------------------------------


def diff(x, n=1, dim=-1):
    return np.diff(x, min(n, x.shape[dim]), dim)


def slopes(x, spacing=1, dim=None, edge_order=1):
    found = np.gradient(x, spacing, axis=dim, edge_order=edge_order)
    return tuple(found) if isinstance(found, list | tuple) else (found,)


def positions(draw):
    """Ascending places, not evenly spaced."""
    return np.cumsum(np.abs(draw(4)) + 0.5).astype(draw.dtype.numpy if draw.dtype.kind == "f" else np.float32)


DIFFERENCES = [
    Row("diff", lp.diff, diff,
        samples=lambda d: [call(d(5)), call(d(3, 4), 2, 0), call(d(2, 3), 5), call(d(3, 2), 1, -2)],
        errors=[Bad(IndexRangeError, ones(2), 1, 1, match="dimension 1 does not exist"),
                Bad(ShapeError, ones(), match="at least one dimension"),
                Bad(LampionError, ones(2), -1, match="negative")]),
    Row("diff: with edges", lambda x, a, b: lp.diff(x, 1, 0, a, b),
        lambda x, a, b: np.diff(np.concatenate([a, x, b])),
        samples=lambda d: [call(d(3), d(1), d(2))]),
    Row("trapezoid", lambda y, dx: lp.trapezoid(y, dx=dx, dim=0),
        lambda y, dx: np.trapezoid(y, dx=dx, axis=0),
        samples=lambda d: [call(d(4), 0.5), call(d(3, 2), 1.0)], dtypes=NUMBERS,
        errors=[Bad(DTypeError, np.array([True]), 1.0, match="booleans have no area")]),
    Row("trapezoid: at places", lp.trapezoid, lambda y, x: np.trapezoid(y, x), **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(4), positions(d)), call(real(d)(3, 4), real(d)(3, 4))],
        errors=[Bad(ShapeError, ones(3), ones(2), match="one x for every y")]),
    Row("trapz", lp.trapz, np.trapezoid, samples=lambda d: [call(d(2, 4))], dtypes=NUMBERS),
    Row("cumulative_trapezoid", lp.cumulative_trapezoid,
        lambda y, x: np.cumsum((y[..., 1:] + y[..., :-1]) * np.diff(x) / 2, -1), **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(4), positions(d)), call(real(d)(3, 4), positions(d))]),
    Row("gradient", lambda x, **o: lp.gradient(x, **o), slopes, **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(5)), call(real(d)(3, 4), spacing=0.5),
                           call(real(d)(3, 4), dim=1, edge_order=2), call(real(d)(2, 3), dim=0)],
        errors=[Bad(ShapeError, ones(2), edge_order=2, match=["too few points", "at least 3"]),
                Bad(LampionError, ones(3), edge_order=3, match="no such edge_order")]),
    Row("gradient: at places", lambda x, at, edge: lp.gradient(x, spacing=(at,), dim=1, edge_order=edge),
        lambda x, at, edge: np.gradient(x, at, axis=1, edge_order=edge), **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(2, 4), positions(d), edge) for edge in (1, 2)]),
]  # fmt: skip

ROWS = [*SORTING, *RUNNING, *DIFFERENCES]
