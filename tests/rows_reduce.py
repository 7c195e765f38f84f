"""Rows of reductions, statistics, norms and counting: see `rows_core.py`."""

from __future__ import annotations

import numpy as np
from rows_core import INF, NAN, NO_DIM, index, mean, ones, reduced
from rows_sorting import real

import lampion as lp
from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError
from lampion.testing import At, Bad, Row, call
from lampion.testing.rows import FLOATS

ONLY_FLOATS = {"dtypes": FLOATS}
EMPTY = Bad(ShapeError, ones(0, 3), 0, match=["empty dimension", "shape (0, 3)"])
NO_FLOATS = Bad(DTypeError, index(1, 2), match=["expected floats", "x.float()"])
UNKNOWN = "not differentiable, and of a size that values decide: eager only"


def some(draw):
    """A few calls of a reduction, of floats."""
    d = real(draw)
    shaped = [call(d(3, 4)), call(d(3, 4), dim=0), call(d(3), dim=-1)]
    return [*shaped, call(d(2, 3, 2), dim=(0, -1), keepdim=True)]


def one_dim(draw, empty=True):
    yield call(draw(3, 4))
    yield call(draw(3, 4), dim=0)
    yield call(draw(2, 3, 4), dim=-1, keepdim=True)
    yield call(draw())
    if empty:
        yield call(draw(0, 3), dim=0)


def factors(draw):
    """Rows with none, one and two zeros."""
    x = draw(3, 4)
    x[1, 2] = x[2, 0] = x[2, 3] = 0
    return [call(x, dim=1), call(x), call(x, dim=0, keepdim=True)]


def with_nan(draw):
    x = real(draw)(3, 4)
    x[0, 1] = x[2, 0] = x[2, 2] = NAN
    return [call(x), call(x, dim=1), call(x, dim=0, keepdim=True)]


def nonzeros(x, dim=None):
    return np.count_nonzero(x, dim)


def logsumexp(x, dim, keepdim=False):
    return np.log(np.sum(np.exp(x), axis=dim if x.ndim else None, keepdims=keepdim))


def extreme(value, place):
    def reference(x, dim, keepdim=False):
        return value(x, dim, keepdims=keepdim), place(x, dim, keepdims=keepdim)

    return reference


SUMS = [
    Row("prod", lp.prod, reduced(np.prod), samples=one_dim, errors=[NO_DIM]),
    Row("prod: several dimensions", lp.prod, reduced(np.prod), samples=lambda d: [
            call(d(2, 3, 2), dim=(0, 2)), call(d(2, 3, 2), dim=(1, 2), keepdim=True)]),
    Row("prod: zeros", lp.prod, reduced(np.prod), samples=factors),
    Row("prod: dtype", lambda x: lp.prod(x, dtype=lp.float64), lambda x: np.prod(x.astype("f8")),
        samples=lambda d: [call(d(4))], result=lp.float64),
    Row("sum: dtype", lambda x: lp.sum(x, dim=0, dtype=lp.float64), lambda x: np.sum(x, 0, np.float64),
        samples=lambda d: [call(d(3, 2))], result=lp.float64),
    Row("nansum", lp.nansum, reduced(np.nansum), samples=with_nan, **ONLY_FLOATS, errors=[NO_DIM]),
    Row("nanmean", lp.nanmean, reduced(np.nanmean), samples=with_nan, **ONLY_FLOATS, errors=[NO_DIM],
        points=[At([NAN, 3.0, 1.0], value=2.0, grad=[0.0, 0.5, 0.5]), At([NAN], value=NAN)]),
    Row("count_nonzero", lp.count_nonzero, nonzeros,
        samples=lambda d: [call(d(3, 4)), call(d(3, 4), dim=1), call(d(2, 3, 4), dim=(0, 2))], orders=0,
        errors=[NO_DIM]),
    Row("logsumexp", lp.logsumexp, logsumexp, errors=[NO_DIM],
        samples=lambda d: [call(d(3, 4), 1), call(d(2, 3, 2), (0, 2), keepdim=True), call(d(), 0),
                           call(d(2, 0), 0)]),
    Row("logsumexp: infinities", lambda x: lp.logsumexp(x, 0), lambda x: logsumexp(x, 0), **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(4))],
        points=[At([1e3, 1e3], value=1e3 + np.log(2), grad=[0.5, 0.5]), At([-INF, -INF], value=-INF),
                At([INF, 0.0], value=INF)]),
    Row("any: of no dims", lambda x: lp.any(x, ()), lambda x: x != 0, orders=0,
        samples=lambda d: [call(d(3))]),
    Row("all: of no dims", lambda x: lp.all(x, ()), lambda x: x != 0, orders=0,
        samples=lambda d: [call(d(3))]),
    Row("any: dims", lambda x: lp.any(x, dim=(0, 2)), lambda x: np.any(x, (0, 2)), orders=0,
        samples=lambda d: [call(d(2, 3, 2)), call(d(2, 0, 2))]),
]  # fmt: skip

EXTREMES = [
    Row("argmin", lp.argmin, reduced(np.argmin), orders=0, points=[At([1.0, NAN, 0.0, NAN], value=1)],
        samples=lambda d: one_dim(d, empty=False),
        errors=[NO_DIM, Bad(ShapeError, ones(0), match="empty dimension")]),
    Row("min", lp.min, np.min, samples=lambda d: [call(d(3, 4)), call(d())],
        points=[At([2.0, 0.0, 0.0], value=0.0, grad=[0.0, 0.5, 0.5])]),
    Row("min: along a dimension", lp.min, extreme(np.min, np.argmin), errors=[NO_DIM],
        samples=lambda d: [call(d(3, 4), 0), call(d(2, 3, 4), -1, keepdim=True)]),
    Row("min: of two", lp.min, np.minimum, samples=lambda d: [call(d(3, 4), d(4))]),
    Row("aminmax", lp.aminmax, lambda x, dim=None, keepdim=False: (
            np.min(x, dim, keepdims=keepdim), np.max(x, dim, keepdims=keepdim)),
        samples=lambda d: one_dim(d, empty=False)),
]  # fmt: skip

# -- spread ----------------------------------------------------------------------------------------------


def spread(function):
    def reference(x, dim=None, keepdim=False, correction=1):
        return function(x, axis=dim if x.ndim else None, keepdims=keepdim, ddof=correction)

    return reference


def with_mean(function):
    def reference(x, **options):
        center = {name: value for name, value in options.items() if name != "correction"}
        return spread(function)(x, **options), reduced(mean)(x, **center)

    return reference


def spreads(draw):
    yield from some(draw)
    yield call(real(draw)(3, 4), dim=1, correction=0)


FAR = 1e8  # what one pass over the squares would lose all digits of
SPREAD = [
    Row("var", lp.var, spread(np.var), samples=spreads, **ONLY_FLOATS, errors=[NO_FLOATS, NO_DIM],
        points=[At([FAR, FAR + 1, FAR + 2], value=1.0, grad=[-1.0, 0.0, 1.0])]),
    Row("var: biased", lambda x: lp.var(x, False), np.var, **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(3, 4))]),
    Row("std", lp.std, spread(np.std), samples=spreads, **ONLY_FLOATS, errors=[NO_FLOATS],
        points=[At([2.0, 2.0], value=0.0, grad=[0.0, 0.0])]),
    Row("var_mean", lp.var_mean, with_mean(np.var), samples=spreads, **ONLY_FLOATS, errors=[NO_FLOATS]),
    Row("std_mean", lp.std_mean, with_mean(np.std), samples=spreads, **ONLY_FLOATS, errors=[NO_FLOATS]),
    Row("cov", lp.cov, lambda x, **o: np.cov(x, ddof=o.get("correction", 1)), **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(3, 5)), call(real(d)(4)), call(real(d)(2, 4), correction=0)],
        errors=[Bad(ShapeError, ones(1, 2, 2), match="at most two dimensions")]),
    Row("cov: weighted", lambda x, w: lp.cov(x, fweights=lp.arange(1, 5), aweights=w), **ONLY_FLOATS,
        reference=lambda x, w: np.cov(x, fweights=[1, 2, 3, 4], aweights=w),
        samples=lambda d: [call(real(d)(3, 4), np.abs(real(d)(4)) + np.float32(0.5))],
        errors=[Bad(ShapeError, ones(2, 3), ones(3), match="fweights must hold a number")]),
    Row("cov: weights that are none", lambda x, w: lp.cov(x, aweights=w), np.cov, **ONLY_FLOATS,
        samples=lambda d: [], not_compiled="the row is about errors that look at values",
        errors=[Bad(LampionError, ones(2, 3), -ones(3), match="aweights are not negative")]),
    Row("corrcoef", lp.corrcoef, np.corrcoef, samples=lambda d: [call(real(d)(3, 5))], **ONLY_FLOATS),
]  # fmt: skip

# -- the middle ------------------------------------------------------------------------------------------


def middle(x, dim=None, keepdim=False):
    if not x.ndim:
        return x if dim is None else (x, np.zeros((), np.int64))
    if dim is None:
        return np.sort(x, None)[(x.size - 1) // 2]
    places = np.argsort(x, dim, kind="stable").take([(x.shape[dim] - 1) // 2], dim)
    parts = np.take_along_axis(x, places, dim), places
    return parts if keepdim else tuple(part.squeeze(dim) for part in parts)


def quantile(x, q, dim=None, keepdim=False, interpolation="linear"):
    return np.quantile(x, q, axis=dim, keepdims=keepdim, method=interpolation)


def shares(draw):
    d = real(draw)
    for way in ("linear", "lower", "higher", "midpoint", "nearest"):
        yield call(d(3, 4), 0.35, dim=1, interpolation=way)
    yield call(d(7), np.array([0.1, 0.45, 0.9], d().dtype))
    yield call(d(2, 3), 0.6, keepdim=True)
    yield call(d(2, 6), 0.5, dim=1, interpolation="nearest")  # half way: to the even place


def with_one_nan(draw):
    x = real(draw)(3, 5)
    x[0, 1] = x[2, 0] = NAN
    return [call(x, 0.4, dim=1), call(x, 0.9, dim=0, keepdim=True)]


def second_and_last(x):
    return np.array(x[1]), np.array(4)


MIDDLE = [
    Row("median", lp.median, middle, samples=lambda d: one_dim(d, empty=False), errors=[NO_DIM],
        points=[At([1.0, NAN, 2.0], value=NAN),
                At([1.0, 2.0, 2.0, 3.0], value=2.0, grad=[0.0, 0.5, 0.5, 0.0])]),
    Row("median: NaN along a dimension", lambda x: lp.median(x, 0).indices, orders=0,
        reference=lambda x: middle(x, 0)[1],
        samples=lambda d: [call(d(5))], points=[At([1.0, NAN, 2.0, NAN], value=1)]),
    Row("nanmedian", lp.nanmedian, middle, samples=lambda d: one_dim(d, empty=False), errors=[NO_DIM],
        points=[At([1.0, NAN, 2.0, 3.0], value=2.0, grad=[0.0, 0.0, 1.0, 0.0]), At([NAN], value=NAN)]),
    Row("mode", lambda x, dim=-1: lp.mode(x, dim), lambda x, dim: middle(x, dim),
        samples=lambda d: [call(d(3, 1), 1), call(d(1, 2), 0)], errors=[NO_DIM, EMPTY]),
    Row("mode: of several", lambda x: lp.mode(x.detach()), second_and_last, orders=0,
        samples=lambda d: [call(np.array([0, 1, 0, 1, 1], d.dtype.numpy))]),
    Row("mode: the smallest", lambda x: lp.mode(x.detach()), second_and_last, orders=0, **ONLY_FLOATS,
        samples=lambda d: [call(np.array([0, 1, 3, 3, 1], real(d)().dtype))]),
    Row("quantile", lambda x, q, **o: lp.quantile(x, q, **o), quantile, samples=shares, **ONLY_FLOATS,
        errors=[Bad(LampionError, ones(2), 1.5, match="q is a share"),
                Bad(DTypeError, index(1), 0.5, match="float32"),
                Bad(LampionError, ones(2), 0.5, interpolation="cubic", match="no such interpolation")],
        points=[At([1.0, NAN], 0.0, value=NAN)]),
    Row("nanquantile", lambda x, q, **o: lp.nanquantile(x, q, **o), samples=with_one_nan, **ONLY_FLOATS,
        reference=lambda x, q, dim, keepdim=False: np.nanquantile(x, q, axis=dim, keepdims=keepdim)),
]  # fmt: skip

# -- norms -----------------------------------------------------------------------------------------------


def norm(x, p=2, dim=None, keepdim=False):
    if dim is None:
        return np.linalg.norm(x.ravel(), p)
    return np.linalg.norm(x, p, dim, keepdims=keepdim)


def renorm(x, p, dim, most):
    rest = tuple(a for a in range(x.ndim) if a != dim)
    lengths = np.sum(np.abs(x) ** p, rest, keepdims=True) ** (1 / p)
    return x * np.where(lengths > most, most / (lengths + 1e-7), 1)


def all_distances(x, y, p):
    return np.sum(np.abs(x[..., :, None, :] - y[..., None, :, :]) ** p, -1) ** (1 / p)


NORMS = [
    Row("norm", lp.norm, norm, **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(3, 4)), call(real(d)(3, 4), 3, dim=1), call(real(d)(5), INF),
                           call(real(d)(2, 3), 1, dim=0, keepdim=True)],
        errors=[Bad(LampionError, ones(2), "what", match=["no such norm", "'nuc'"])],
        points=[At([0.0, 0.0], value=0.0, grad=[0.0, 0.0])]),
    Row("norm: nuclear", lambda x: lp.norm(x, "nuc"), lambda x: np.linalg.norm(x, "nuc"), **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(3, 2))], errors=[Bad(ShapeError, ones(2), match="that of a matrix")]),
    Row("dist", lp.dist, lambda x, y, p=2: norm(x - y, p), **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(3, 4), real(d)(4)), call(real(d)(3), real(d)(3), 1)]),
    Row("renorm", lp.renorm, renorm, **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(3, 4), 2, 0, 2.0), call(real(d)(3, 4), 1, 1, 3.0)],
        errors=[Bad(LampionError, ones(3), 2, 0, 1.0, match="at least two dimensions")]),
    Row("cdist", lp.cdist, all_distances, **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(3, 2), real(d)(4, 2), 2), call(real(d)(2, 2, 3), real(d)(2, 3), 3)],
        errors=[Bad(ShapeError, ones(2, 3), ones(2, 2), match="rows of one length")]),
    Row("pdist", lp.pdist, lambda x: all_distances(x, x, 2)[np.triu_indices(len(x), 1)], **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(4, 3))], errors=[Bad(ShapeError, ones(2), match="a matrix")]),
]  # fmt: skip

# -- counting --------------------------------------------------------------------------------------------


def repeated(draw):
    return np.array([1, 0, 1, 1, 0], draw.dtype.numpy)


def runs(x):
    starts = np.flatnonzero(np.concatenate([[True], x[1:] != x[:-1]]))
    return x[starts], np.diff(np.append(starts, len(x)))


def grid(x):
    counts, edges = np.histogramdd(x, [2, 3])
    return tuple(part.astype(x.dtype) for part in (counts, *edges))


COUNTING = [
    Row("unique", lambda x: lp.unique(x, return_inverse=True, return_counts=True),
        lambda x: np.unique(x, return_inverse=True, return_counts=True), orders=0, not_compiled=UNKNOWN,
        samples=lambda d: [call(repeated(d)), call(d(3, 4)), call(d(0))]),
    Row("unique: slices", lambda x: lp.unique(x, dim=1, return_inverse=True), orders=0, not_compiled=UNKNOWN,
        reference=lambda x: np.unique(x, axis=1, return_inverse=True),
        samples=lambda d: [call(np.stack([repeated(d), repeated(d)]))],
        errors=[Bad(IndexRangeError, np.float32(1), match="does not exist")]),
    Row("unique_consecutive", lambda x: lp.unique_consecutive(x, return_counts=True), runs, orders=0,
        samples=lambda d: [call(repeated(d))], not_compiled=UNKNOWN),
    Row("isin", lp.isin, lambda x, y, invert=False: np.isin(x, y, invert=invert), orders=0,
        samples=lambda d: [call(repeated(d), np.array([1], d.dtype.numpy)),
                           call(d(3, 2), repeated(d), invert=True)]),
    Row("bincount", lambda x, *w, **o: lp.bincount(x, *w, **o), np.bincount, orders=0, not_compiled=UNKNOWN,
        result=lp.int64, dtypes=(lp.uint8, lp.int32, lp.int64),
        samples=lambda d: [call(np.abs(d(6))), call(np.abs(d(3)), minlength=9)],
        errors=[Bad(LampionError, index(-1), match="a number is negative"),
                Bad(ShapeError, index(1), ones(2), match="a weight for every number")]),
    Row("histc", lp.histc,
        lambda x, bins, low, high: np.histogram(x, bins, (low, high))[0].astype(x.dtype),
        samples=lambda d: [call(real(d)(20), 4, -1.0, 1.0)], orders=0, **ONLY_FLOATS,
        errors=[Bad(LampionError, ones(2), 0, match="at least one bin"),
                Bad(LampionError, ones(2), 2, 1, 0, match="exchanged")]),
    Row("histogram", lambda x, bins, **o: lp.histogram(x, bins, **o), orders=0, **ONLY_FLOATS,
        reference=lambda x, bins, **o: tuple(
            part.astype(x.dtype) for part in np.histogram(x, bins, weights=o.pop("weight", None), **o)),
        samples=lambda d: [call(real(d)(20), 4), call(real(d)(20), 5, range=(-1.0, 1.0), density=True),
                           call(real(d)(9), np.array([-1, 0, 1.5], real(d)().dtype), weight=real(d)(9))],
        errors=[Bad(DTypeError, index(1), 2, match="expected float32"),
                Bad(LampionError, ones(2), 2, range=(2.0, 1.0), match="not one of finite numbers")]),
    Row("histogramdd", lambda x: (lp.histogramdd(x, [2, 3]).hist, *lp.histogramdd(x, [2, 3]).bin_edges),
        reference=grid, orders=0, **ONLY_FLOATS,
        samples=lambda d: [call(real(d)(9, 2))]),
]  # fmt: skip

ROWS = [*SUMS, *EXTREMES, *SPREAD, *MIDDLE, *NORMS, *COUNTING]
ELSEWHERE = {
    "tests/test_samplers.py": {
        "bernoulli", "bernoulli_", "binomial", "cauchy_", "exponential_", "geometric_", "log_normal_",
        "multinomial", "normal", "poisson", "randint_like", "random_", "seed",
    },
}  # fmt: skip
