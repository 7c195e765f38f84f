"""Rows of the operations that pick and write by index: `ops/indexing.py` and its neighbours."""

import numpy as np

import lampion as lp
from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError
from lampion.testing.rows import NUMBERS, SWEEP, Bad, Row, call


def ones(*shape):
    return np.ones(shape, np.float32)


def index(*numbers):
    return np.array(numbers, np.int64)


# -- x[key] and x[key] = value -------------------------------------------------------------------------

A, B = index(2, 0, 2), index([0], [-1])
GETS = {
    "two tensors": (index(1, 0), index(-1, 2)),
    "tensors that broadcast": (B, index(1, 2, 3)),
    "a column of them": (slice(None), A),
    "behind a slice": (slice(1, 3), index(-1)),
    "with an integer": (1, A),
    "with None": (None, A, None),
    "behind ...": (..., A),
    "apart": (index(0, 1), None, index(1, 1)),
    "a list": [2, 0],
    "a list in a tuple": (slice(None), [0, -1, 0]),
    "a list of none": ([],),
}


def with_indices(key, function):
    """A function of x and the arrays of a key, which are arguments when it is compiled."""
    arrays = [k for k in key if isinstance(k, np.ndarray)] if isinstance(key, tuple) else []

    def call_with(x, *rest):
        given = iter(rest)
        whole = tuple(next(given) if isinstance(k, np.ndarray) else k for k in key) if arrays else key
        return function(x, whole, *given)

    return call_with, arrays


def get_row(name, key):
    op, arrays = with_indices(key, lambda x, key: x[key])
    return Row(f"__getitem__: {name}", op, op, samples=lambda d: [call(d(3, 4), *arrays)])


def set_to(x, key, value):
    if isinstance(x, np.ndarray):
        out = x.copy()
    else:
        # Not x.clone(), which may lie in memory in another order: tracing then refuses to write to its views.
        out = lp.zeros(*x.shape, dtype=x.dtype).copy_(x)
    out[key] = value
    return out


SETS = {
    "two tensors": ((index(1, 0), index(-1, 2)), (2,)),
    "tensors that broadcast": ((B, index(1, 2, 3)), (3,)),
    "a column": ((slice(None), index(2, 0)), (3, 2)),
    "one number": ((slice(1, 3), index(-1, 0)), ()),
    "an integer and a tensor": ((1, index(0, 3)), (2,)),
    "a list": ([2, 0], (2, 4)),
    "rows in a new dimension": ((None, index(1)), (1, 1, 4)),
}


def set_row(name, key, shape):
    op, arrays = with_indices(key, set_to)
    return Row(f"__setitem__: {name}", op, op, samples=lambda d: [call(d(3, 4), *arrays, d(*shape))])


MASK = np.array([[True, False, True, False], [False] * 4, [False, True, True, True]])
UNKNOWN = "how many elements a mask picks depends on its values"
ITEMS = [
    *(get_row(name, key) for name, key in GETS.items()),
    *(set_row(name, key, shape) for name, (key, shape) in SETS.items()),
    Row("__getitem__: errors", lambda x, key: x[key], lambda x, key: x[key],
        samples=lambda d: [call(d(3), index(1))],
        errors=[Bad(IndexRangeError, ones(3, 2), index(0, -4), match=["index -4 is out of range",
        "-3 to 2 along dim 0"]),
                Bad(IndexRangeError, ones(3, 2), ones(1), match=["integers or booleans", "index.long()"]),
                Bad(IndexRangeError, ones(3, 2), np.array([True, False]), match=["shape of a mask",
                "(3,) from dim 0"])]),
    Row("__getitem__: two tensors, errors", lambda x, i, j: x[i, j], lambda x, i, j: x[i, j],
        samples=lambda d: [call(d(3, 2), index(1), index(1))],
        errors=[Bad(IndexRangeError, ones(3, 2), index(0, 1), index(1, 2), match=["index 2 is out of range",
        "along dim 1"]),
                Bad(ShapeError, ones(3, 2), index(0, 1), index(1, 2, 1), match="do not broadcast")]),
    Row("__getitem__: a mask", lambda x, mask: x[mask], lambda x, mask: x[mask], not_compiled=UNKNOWN,
        samples=lambda d: [call(d(3, 4), MASK), call(d(3, 4), MASK[:, 0]), call(d(3, 4, 2), MASK)]),
    Row("__getitem__: masks among others", lambda x, mask: x[1:, mask, None],
        lambda x, mask: x[1:, mask, None],
        not_compiled=UNKNOWN, samples=lambda d: [call(d(3, 4), MASK[0]), call(d(2, 3, 4), MASK)]),
    Row("__setitem__: a number where a mask is true", lambda x, mask: set_to(x, mask, 2),
        lambda x, mask: set_to(x, mask, 2),
        samples=lambda d: [call(d(3, 4), MASK), call(d(3, 4), MASK[:, 0]), call(d(3, 4, 2), MASK)]),
    Row("__setitem__: a row where a mask is true", set_to, set_to,
        samples=lambda d: [call(d(3, 4), MASK[:, 0], d(4)), call(d(3, 4), MASK, d()), call(d(3, 4, 2), MASK,
        d(1))]),
    Row("__setitem__: a part for each true element", set_to, set_to, not_compiled=UNKNOWN,
        samples=lambda d: [call(d(3, 4), MASK[:, 2], d(2, 4)), call(d(3, 4), MASK, d(5))]),
]  # fmt: skip

# -- along a dimension ---------------------------------------------------------------------------------


def indexed(dim, at, ndim):
    return (slice(None),) * (dim % max(ndim, 1)) + (at,)


def index_added(x, dim, at, source, alpha=1):
    out = x.copy()
    np.add.at(out, indexed(dim, at, x.ndim), x.dtype.type(alpha) * source)
    return out


def index_copied(x, dim, at, source):
    out = x.copy()
    out[indexed(dim, at, x.ndim)] = source
    return out


def index_reduced(x, dim, at, source, reduce, include_self=True):
    place = (1,) * (dim % x.ndim) + (-1,) + (1,) * (x.ndim - dim % x.ndim - 1)
    return scatter_reduced(
        x, dim, np.broadcast_to(at.reshape(place) % x.shape[dim], source.shape), source, reduce, include_self
    )


def index_put(x, indices, values, accumulate=False):
    out = x.copy()
    if accumulate:
        np.add.at(out, tuple(indices), values)
    else:
        out[tuple(indices)] = values
    return out


def put(x, at, source, accumulate=False):
    return index_put(x.reshape(-1), (at,), source, accumulate).reshape(x.shape)


OUT = ["index 3 is out of range"]
ALONG = [
    Row("index_put", lp.index_put, index_put,
        samples=lambda d: [call(d(3, 4), (A, index(0, 1, 2)), d(3)), call(d(3, 4), (A,), d(3, 4),
        accumulate=True),
                           call(d(3, 4), (A,), d(), accumulate=True)],
        errors=[Bad(DTypeError, ones(3), (A,), np.ones(3), match="must have one type"),
                Bad(ShapeError, ones(3), (A,), ones(2), match="do not broadcast"),
                Bad(IndexRangeError, ones(3), (index(3),), ones(1), match=OUT),
                Bad(IndexRangeError, ones(3), (A, A), ones(3), match="more indices than dimensions")]),
    Row("index_put: by a mask", lp.index_put, index_put, not_compiled=UNKNOWN,
        samples=lambda d: [call(d(3, 4), (MASK,), d(5)), call(d(3, 4), (MASK[:, 0],), d(4))]),
    Row("index_add", lp.index_add, index_added,
        samples=lambda d: [call(d(3, 4), 0, A, d(3, 4)), call(d(3, 4), -1, index(1, 1), d(3, 2), alpha=2),
        call(d(3), 0, index(), d(0))],
        errors=[Bad(ShapeError, ones(3), 0, A, ones(2), match=["one slice for every index", "(3,)"]),
                Bad(IndexRangeError, ones(3), 0, index(3), ones(1), match=OUT),
                Bad(DTypeError, ones(3), 0, ones(1), ones(1), match="index.long()")]),
    Row("index_copy", lp.index_copy, index_copied,
        samples=lambda d: [call(d(3, 4), 0, index(2, 0), d(2, 4)), call(d(3, 4), 1, index(3), d(3, 1))],
        errors=[Bad(IndexRangeError, ones(3), 0, index(-1), ones(1), match=["index -1 is out of range"])]),
    Row("index_fill", lp.index_fill, index_copied,
        samples=lambda d: [call(d(3, 4), 0, index(2, 2), 3), call(d(3, 4), -1, index(0, -1), 1), call(d(3,
        4), 1, index(1), d())],
        errors=[Bad(ShapeError, ones(3), 0, A, ones(2), match="one number"), Bad(IndexRangeError, ones(3),
        0, index(3), 1, match=OUT)]),
    *(Row(f"index_reduce: {how}" if how != "prod" else "index_reduce", lp.index_reduce, index_reduced,
        dtypes=NUMBERS if how == "mean" else SWEEP,
          samples=lambda d, how=how: [call(d(3, 4), 0, A, d(3, 4), how), call(d(3, 4), -1, index(1, -1),
          d(3, 2), how, include_self=False)])
      for how in ("prod", "amax", "amin", "mean")),
    Row("take", lp.take, lambda x, at: x.reshape(-1)[at],
        samples=lambda d: [call(d(2, 3), index([0, -1], [5, 2])), call(d(2, 3), np.array(4)), call(d(2),
        index())],
        errors=[Bad(IndexRangeError, ones(3), index(3), match=OUT)]),
    Row("put", lp.put, put, samples=lambda d: [call(d(2, 3), index(0, -1), d(2)), call(d(2, 3), index([1],
        [1]), d(2, 1), accumulate=True)],
        errors=[Bad(ShapeError, ones(3), A, ones(2), match="one element for every index")]),
    Row("take_along_dim", lp.take_along_dim,
        lambda x, at, dim=None: np.take_along_axis(x, at,
        dim) if dim is not None else x.reshape(-1)[at.reshape(-1)],
        samples=lambda d: [call(d(3, 4), index([0, -1]), dim=1), call(d(3, 4), index([0, 1, -2, 0]), dim=0),
        call(d(2, 3), index(5, 0, -1))],
        errors=[Bad(ShapeError, ones(3), index([0]), dim=0, match="different numbers of dimensions"),
                Bad(IndexRangeError, ones(3), index(-4), dim=0, match="index -4 is out of range")]),
]  # fmt: skip

# -- scatters ------------------------------------------------------------------------------------------


def scatter_reduced(x, dim, at, source, reduce, include_self=True):
    found = {}
    for place in np.ndindex(at.shape):
        target = list(place)
        target[dim % x.ndim] = at[place]
        found.setdefault(tuple(target), []).append(source[place])
    out = x.copy()
    for target, values in found.items():
        values = np.array([x[target]] * include_self + values)
        rule = {"sum": np.sum, "prod": np.prod, "amax": np.max, "amin": np.min, "mean": np.sum}[reduce]
        total = rule(values)
        if reduce == "mean":
            total = total / len(values) if values.dtype.kind == "f" else total // len(values)
        out[target] = total
    return out


def scattered(x, dim, at, src, reduce=None):
    if not isinstance(src, np.ndarray) or not src.ndim:
        src = np.full(at.shape, src, x.dtype)
    if reduce:
        return scatter_reduced(x, dim, at, src, {"add": "sum", "multiply": "prod"}[reduce])
    out = x.copy()
    for place in np.ndindex(at.shape):
        target = list(place)
        target[dim % x.ndim] = at[place]
        out[tuple(target)] = src[place]
    return out


GRID, ONCE = index([2, 0, 1], [1, 1, 0]), index([2, 0, 1], [1, 2, 0])
FALL = "src is smaller than index"
SCATTERS = [
    Row("gather: of one number", lp.gather, lambda x, dim, at: np.broadcast_to(x, at.shape),
        samples=lambda d: [call(d(), 0, np.array(0)), call(d(), -1, index(0, 0))]),
    Row("scatter", lp.scatter, scattered,
        samples=lambda d: [call(d(2, 3), 1, ONCE, d(2, 3)), call(d(3, 4), 0, GRID[:1], d(2, 4)), call(d(3),
        0, index(1), 2),
                           call(d(2, 3), 1, GRID, 1, reduce="add"), call(d(2, 3), -1, GRID, d(2, 3),
                           reduce="multiply")],
        errors=[Bad(IndexRangeError, ones(2, 3), 1, index([3]), ones(1, 1), match="scatter: index 3 is"),
                Bad(ShapeError, ones(2, 3), 1, GRID, ones(1, 3), match=FALL),
                Bad(LampionError, ones(3), 0, index(1), 2, reduce="max", match='"add" or "multiply"'),
                Bad(LampionError, ones(3), 0, index(1), match="either src or value")]),
    *(Row(f"scatter_reduce: {how}" if how != "sum" else "scatter_reduce", lp.scatter_reduce,
        scatter_reduced, dtypes=NUMBERS if how == "mean" else SWEEP,
          samples=lambda d, how=how: [call(d(2, 3), 1, GRID, d(2, 3), how), call(d(3, 4), 0, GRID, d(2, 4),
          how, include_self=False)],
          errors=[Bad(LampionError, ones(3), 0, index(1), ones(1), "median", match=["no such reduction",
          "'median'"])])
      for how in ("sum", "prod", "amax", "amin", "mean")),
]  # fmt: skip

# -- masks ---------------------------------------------------------------------------------------------


def masked_scattered(x, mask, source):
    x, mask = np.broadcast_arrays(x, mask)
    out = x.copy()
    out[mask] = source.reshape(-1)[: mask.sum()]
    return out


def some_zeros(d):
    x = d(3, 4)
    x[MASK] = 0
    return x


def first_places(x, size, fill_value=-1):
    out = np.full((size, x.ndim), fill_value, np.int64)
    found = np.argwhere(x)[:size]
    out[: len(found)] = found
    return out


MASKS = [
    Row("masked_fill", lp.masked_fill,
        lambda x, mask, value: np.where(mask, np.asarray(value).astype(x.dtype), x),
        samples=lambda d: [call(d(3, 4), MASK, 2), call(d(4), MASK, 1), call(d(3, 4), MASK[:, :1], d())],
        errors=[Bad(DTypeError, ones(3), index(1, 0, 1), 2, match="a mask holds booleans"),
                Bad(ShapeError, ones(3), np.array([True]), ones(3), match="one number")]),
    Row("masked_select", lp.masked_select,
        lambda x, mask: np.broadcast_to(x, np.broadcast_shapes(x.shape, mask.shape))[
            np.broadcast_to(mask, np.broadcast_shapes(x.shape, mask.shape))],
        samples=lambda d: [call(d(3, 4), MASK), call(d(4), MASK), call(d(3, 4), MASK[:, :1])],
        not_compiled=UNKNOWN),
    Row("masked_scatter", lp.masked_scatter, masked_scattered, not_compiled=UNKNOWN,
        samples=lambda d: [call(d(3, 4), MASK, d(2, 3)), call(d(3, 4), MASK[:1], d(3, 2))],
        errors=[Bad(ShapeError, ones(3), np.array([True] * 3), ones(2), match=["fewer elements",
        "at least 3"])]),
    Row("nonzero", lp.nonzero, lambda x: np.argwhere(x), samples=lambda d: [call(some_zeros(d)), call(d())],
        orders=0, not_compiled=UNKNOWN),
    Row("nonzero: as a tuple", lambda x: lp.nonzero(x, as_tuple=True), lambda x: np.nonzero(np.atleast_1d(x)),
        samples=lambda d: [call(some_zeros(d)), call(d())], orders=0, not_compiled=UNKNOWN),
    Row("argwhere", lp.argwhere, np.argwhere, samples=lambda d: [call(some_zeros(d))], orders=0,
        not_compiled=UNKNOWN),
    Row("where: as a method", lambda x, mask, y: x.where(mask, y), lambda x, mask, y: np.where(mask, x, y),
        samples=lambda d: [call(d(3, 4), MASK, d(4))]),
    Row("where: of a condition", lp.where, lambda x: np.nonzero(x),
        samples=lambda d: [call(some_zeros(d) != 0)], orders=0, not_compiled=UNKNOWN),
    Row("nonzero_static", lp.nonzero_static, first_places, orders=0,
        samples=lambda d: [call(some_zeros(d), size=3), call(some_zeros(d), size=9, fill_value=7)],
        errors=[Bad(ShapeError, ones(2), size=-1, match="negative")]),
    Row("unravel_index", lambda at, shape: lp.unravel_index(at.long().abs(), shape),
        lambda at, shape: np.unravel_index(np.abs(at).astype(int), shape),
        samples=lambda d: [call(d(3), (2, 3)), call(d(2, 2), (5,))], orders=0),
]  # fmt: skip

ROWS = [*ITEMS, *ALONG, *SCATTERS, *MASKS]
