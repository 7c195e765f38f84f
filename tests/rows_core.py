"""One row for every public operation; `test_op_table.py` expands each into its checks.

To add an operation, add its row. For an elementwise one this is enough:

    Row("expm1", lp.expm1, np.expm1, domain=(-2, 2)),

`lampion/testing/rows.py` says what else a row can hold.
"""

from __future__ import annotations

import numpy as np

import lampion as lp
from lampion.errors import DTypeError, IndexRangeError, ShapeError
from lampion.testing import At, Bad, Row, call
from lampion.testing.rows import FLOATS, NUMBERS

INF, NAN = float("inf"), float("nan")


def ones(*shape):
    return np.ones(shape, np.float32)


def index(*numbers):
    return np.array(numbers, np.int64)


def signed(draw, *numbers):
    """These numbers, in the integer type that is being checked."""
    return np.array(numbers, draw.dtype.numpy if draw.dtype.kind == "i" else np.int64)


UNLIKE = Bad(ShapeError, ones(2, 3), ones(4), match=["do not broadcast", "(2, 3) and (4,)"])
NO_NUMBER = Bad(DTypeError, ones(2), "a", match=["not a number", "str: 'a'", "lampion.tensor"])
NO_BOOL = Bad(DTypeError, np.array([True]), np.array([True]), match=["boolean tensor", "x.long()"])

# -- elementwise -------------------------------------------------------------------------------------

ELEMENTWISE = [
    Row("add", lp.add, np.add, errors=[UNLIKE, NO_NUMBER,
        Bad(DTypeError, np.uint8([1]), 300, match=["add: the number 300 does not fit", "0 to 255"])]),
    Row("sub", lp.sub, np.subtract, dtypes=NUMBERS, errors=[UNLIKE, NO_NUMBER, NO_BOOL]),
    Row("mul", lp.mul, np.multiply, errors=[UNLIKE, NO_NUMBER], points=[At(0.0, INF, value=NAN)]),
    Row("div", lp.div, np.true_divide, domain=((-2, 2), (0.5, 2)), errors=[UNLIKE, NO_NUMBER],
        points=[At(1.0, 0.0, value=INF), At(0.0, 0.0, value=NAN)]),
    Row("neg", lp.neg, np.negative, dtypes=NUMBERS,
        errors=[Bad(DTypeError, np.array([True]), match="boolean tensor")]),
    Row("pow", lp.pow, np.power, domain=((0.3, 2), (-2, 2)), integers=(0, 3), dtypes=NUMBERS,
        errors=[UNLIKE, NO_NUMBER, Bad(DTypeError, index(2), -1, match=["negative power", "x.float()"])],
        points=[At(0.0, 2.0, value=0.0, grad=(0.0, 0.0)), At(0.0, 0.0, value=1.0, grad=(0.0, 0.0)),
                At(0.0, 0.5, value=0.0, grad=(INF, 0.0)), At(-2.0, 3.0, value=-8.0, grad=(12.0, NAN))]),
    Row("pow: negative integers", lp.pow, lambda x, y: (x.astype("f8") ** y).astype(x.dtype), orders=0,
        dtypes=(lp.int32, lp.int64), samples=lambda d: [call(signed(d, 1, -1, 2), signed(d, -1, -3, -1))]),
    Row("exp", lp.exp, np.exp, points=[At(-INF, value=0.0, grad=0.0), At(INF, value=INF, grad=INF)]),
    Row("expm1", lp.expm1, np.expm1),
    Row("log", lp.log, np.log, domain=(0.1, 3), points=[At(0.0, value=-INF, grad=INF), At(-1.0, value=NAN)]),
    Row("sqrt", lp.sqrt, np.sqrt, domain=(0.1, 3),
        points=[At(0.0, value=0.0, grad=INF), At(-1.0, value=NAN)]),
    Row("tanh", lp.tanh, np.tanh, points=[At(INF, value=1.0, grad=0.0), At(-INF, value=-1.0, grad=0.0)]),
    Row("sigmoid", lp.sigmoid, lambda x: 1 / (1 + np.exp(-1.0 * x)),
        points=[At(INF, value=1.0, grad=0.0), At(-INF, value=0.0, grad=0.0), At(-1e3, value=0.0, grad=0.0)]),
    Row("sin", lp.sin, np.sin, points=[At(INF, value=NAN)]),
    Row("cos", lp.cos, np.cos, points=[At(INF, value=NAN)]),
    Row("relu", lp.relu, lambda x: np.maximum(x, x.dtype.type(0)), avoid=(0.0,), dtypes=NUMBERS,
        points=[At(0.0, value=0.0, grad=0.0), At(NAN, value=NAN), At(-INF, value=0.0, grad=0.0)],
        errors=[Bad(DTypeError, np.array([True]), match="boolean tensor")]),
    Row("maximum", lp.maximum, np.maximum, errors=[UNLIKE, NO_NUMBER],
        points=[At(1.0, 1.0, value=1.0, grad=(0.5, 0.5)), At(NAN, 1.0, value=NAN), At(1.0, NAN, value=NAN)]),
    Row("minimum", lp.minimum, np.minimum, errors=[UNLIKE, NO_NUMBER],
        points=[At(1.0, 1.0, value=1.0, grad=(0.5, 0.5)), At(NAN, 1.0, value=NAN), At(1.0, NAN, value=NAN)]),
    Row("eq", lp.eq, np.equal, orders=0, errors=[UNLIKE, NO_NUMBER]),
    Row("ne", lp.ne, np.not_equal, orders=0, errors=[UNLIKE, NO_NUMBER]),
    Row("lt", lp.lt, np.less, orders=0, errors=[UNLIKE, NO_NUMBER]),
    Row("le", lp.le, np.less_equal, orders=0, errors=[UNLIKE, NO_NUMBER]),
    Row("gt", lp.gt, np.greater, orders=0, errors=[UNLIKE, NO_NUMBER]),
    Row("ge", lp.ge, np.greater_equal, orders=0, errors=[UNLIKE, NO_NUMBER]),
    Row("cast", lambda x: lp.cast(x, lp.float64), lambda x: x.astype(np.float64), result=lp.float64),
    Row("cast: to int32", lambda x: lp.cast(x, lp.int32), lambda x: x.astype("i4"), result=lp.int32, orders=0,
        samples=lambda d: [call(d(3, 4)), call(d()), call(d(0, 3))]),
    Row("cast: to bool", lambda x: lp.cast(x, lp.bool), lambda x: x.astype(bool), orders=0),
    Row("clone", lp.clone, np.copy),
    Row("full", lambda x: lp.full(x.shape, 3, x.dtype), lambda x: np.full(x.shape, 3, x.dtype), orders=0),
    Row("full_like", lambda x: lp.full_like(x, 3), lambda x: np.full_like(x, 3), orders=0),
    Row("zeros_like", lp.zeros_like, np.zeros_like, orders=0),
    Row("ones_like", lp.ones_like, np.ones_like, orders=0),
]  # fmt: skip


def where_samples(draw):
    some = np.array([[True, False, True], [False, False, True]])
    yield call(some, draw(2, 3), draw(2, 3))
    yield call(some[0], draw(2, 1), draw(3))
    yield call(np.array(True), draw(), draw())
    yield call(some[:, :0], draw(2, 0), draw(1, 1))


CHOICE = [
    Row("where", lp.where, np.where, samples=where_samples,
        errors=[Bad(DTypeError, ones(2), ones(2), ones(2), match=["must be boolean", "x != 0"]),
                Bad(ShapeError, np.array([True, False]), ones(3), ones(1), match="where: the shapes")]),
    Row("where: numbers", lambda c, x: lp.where(c, x, 0.5), lambda c, x: np.where(c, x, 0.5),
        samples=lambda d: [call(np.array([True, False]), d(2))]),
]  # fmt: skip

# -- reductions --------------------------------------------------------------------------------------


def reductions(draw, empty=True):
    yield call(draw(3, 4))
    yield call(draw(3, 4), dim=0)
    yield call(draw(3, 4), dim=-1, keepdim=True)
    yield call(draw(2, 3, 4), dim=(0, 2))
    yield call(draw(2, 3, 4), dim=(-1, 1), keepdim=True)
    yield call(draw(5, 1), dim=1)
    yield call(draw())
    yield call(draw(), dim=0)
    yield call(draw(0, 3), dim=1)
    if empty:
        yield call(draw(0, 3), dim=0)
        yield call(draw(2, 0))


def reduced(function):
    """NumPy's reduction with PyTorch's names; 0-d arrays may name dimension 0."""

    def reference(x, dim=None, keepdim=False):
        return function(x, axis=dim if x.ndim else None, keepdims=keepdim)

    return reference


def mean(x, axis=None, keepdims=False):
    total = np.sum(x, axis=axis, keepdims=keepdims)
    return total / np.float64(x.size // max(total.size, 1))


def argmaxima(draw):
    yield call(draw(3, 4))
    yield call(draw(3, 4), keepdim=True)
    yield call(draw(3, 4), dim=0)
    yield call(draw(2, 3, 4), dim=-2, keepdim=True)
    yield call(draw(), dim=0)
    yield call(draw())
    yield call(np.array([[1, 3, 3], [2, 2, 0]], draw.dtype.numpy), dim=1)  # the first of equals


NO_DIM = Bad(IndexRangeError, ones(2, 3), 2, match=["dimension 2 does not exist", "-2 to 1"])
TWICE = Bad(ShapeError, ones(2, 3), (0, -2), match="named twice")
NO_INTEGER = Bad(IndexRangeError, ones(2), 0.5, match="must be an integer")

REDUCTIONS = [
    Row("sum", lp.sum, reduced(np.sum), samples=reductions, errors=[NO_DIM, TWICE, NO_INTEGER]),
    Row("mean", lp.mean, reduced(mean), samples=lambda d: reductions(d, empty=False), errors=[NO_DIM, TWICE],
        points=[At([], value=NAN)]),
    Row("amax", lp.amax, reduced(np.max), samples=lambda d: reductions(d, empty=False),
        errors=[NO_DIM, Bad(ShapeError, ones(0, 3), 0, match=["empty dimension", "shape (0, 3)"])],
        points=[At([1.0, 1.0, 0.0], value=1.0, grad=[0.5, 0.5, 0.0]), At([1.0, NAN], value=NAN)]),
    Row("amin", lp.amin, reduced(np.min), samples=lambda d: reductions(d, empty=False),
        errors=[NO_DIM, Bad(ShapeError, ones(0, 3), 0, match=["empty dimension", "shape (0, 3)"])],
        points=[At([1.0, 1.0, 2.0], value=1.0, grad=[0.5, 0.5, 0.0]), At([1.0, NAN], value=NAN)]),
    Row("argmax", lp.argmax, reduced(np.argmax), samples=argmaxima, orders=0,
        errors=[NO_DIM, Bad(ShapeError, ones(0), match="empty dimension")],
        points=[At([1.0, NAN, 2.0, NAN], value=1)]),
    Row("max", lp.max, np.max, samples=lambda d: [call(d(3, 4)), call(d())],
        points=[At([2.0, 2.0, 0.0], value=2.0, grad=[0.5, 0.5, 0.0])]),
    Row("max: along a dimension", lp.max, lambda x, dim, keepdim=False: (
            np.max(x, dim, keepdims=keepdim), np.argmax(x, dim, keepdims=keepdim)), errors=[NO_DIM],
        samples=lambda d: [call(d(3, 4), 0), call(d(2, 3, 4), -1, keepdim=True), call(d(2, 1, 3), 1)]),
    Row("max: of two", lp.max, np.maximum, samples=lambda d: [call(d(3, 4), d(4)), call(d(), d())]),
    Row("any", lp.Tensor.any, reduced(np.any), samples=lambda d: reductions(d, empty=False), orders=0),
    Row("all", lp.Tensor.all, reduced(np.all), samples=lambda d: reductions(d, empty=False), orders=0),
]  # fmt: skip

# -- movements ---------------------------------------------------------------------------------------


def matrices(draw):
    return [call(draw(3, 4)), call(draw(1, 1)), call(draw(0, 2))]


COUNT = Bad(ShapeError, ones(2, 3), 4, 2, match=["number of elements would change", "is 6", "(4, 2)"])
KEYS = {
    "an integer": 1, "a negative integer": -1, "a column": (slice(None), 2), "a slice": slice(1, 3),
    "a step": (slice(None, None, 2), slice(0, -1)), "nothing": slice(2, 1), "None and ...": (None, ..., 0),
    "everything": ..., "a pair": (1, -2), "beyond the end": slice(1, 100),
    "backwards": (slice(None, None, -1), slice(-1, 0, -2)), "backwards, nothing": slice(0, 2, -1),
}  # fmt: skip

MOVEMENTS = [
    Row("reshape", lp.reshape, lambda x, *shape: x.reshape(*shape),
        samples=lambda d: [call(d(3, 4), 2, 6), call(d(3, 4), (4, -1)), call(d(3, 4), -1), call(d(), 1, 1),
                           call(d(1, 1), ()), call(d(0, 3), 3, 0), call(d(2, 3, 2), 6, 2)],
        errors=[COUNT, Bad(ShapeError, ones(6), -1, -1, match="at most one size"),
                Bad(ShapeError, ones(6), 4, -1, match="product is 6")]),
    Row("view", lambda x: x.contiguous().view(2, -1), lambda x: x.reshape(2, -1),
        samples=lambda d: [call(d(3, 4))]),
    Row("flip", lp.flip, lambda x, *dims: np.flip(x, dims),
        samples=lambda d: [call(d(3, 4), 0), call(d(2, 3), 0, 1), call(d(2, 0, 3), -1, 0)],
        errors=[Bad(IndexRangeError, ones(2, 3), 2, match="flip: dimension 2 does not exist")]),
    Row("permute", lp.permute, lambda x, *dims: x.transpose(*dims),
        samples=lambda d: [call(d(2, 3, 4), 2, 0, 1), call(d(2, 3, 4), (-1, 0, 1)), call(d(3, 4), 0, 1),
                           call(d()), call(d(0, 2), 1, 0)],
        errors=[Bad(ShapeError, ones(2, 3), 0, 0, match=["named once", "0 to 1"]),
                Bad(IndexRangeError, ones(2, 3), 0, 2, match="dimension 2 does not exist")]),
    Row("transpose", lp.transpose, np.swapaxes,
        samples=lambda d: [call(d(2, 3, 4), 0, 2), call(d(2, 3, 4), -1, 1), call(d(3, 3), 1, 1)],
        errors=[Bad(IndexRangeError, ones(2, 3), 0, 5, match="dimension 5 does not exist")]),
    Row("t", lp.Tensor.t, np.transpose, samples=matrices),
    Row("T", lambda x: x.T, np.transpose, samples=matrices),
    Row("mT", lambda x: x.mT, lambda x: np.swapaxes(x, -1, -2),
        samples=lambda d: [*matrices(d), call(d(2, 3, 4))],
        errors=[Bad(ShapeError, ones(2), match="at least two dimensions")]),
    Row("broadcast_to", lp.broadcast_to, lambda x, *shape: np.broadcast_to(x, shape),
        samples=lambda d: [call(d(3, 1), 2, 3, 4), call(d(), 2, 2), call(d(3), 3), call(d(1, 3), 0, 3)],
        errors=[Bad(ShapeError, ones(3), 4, match="broadcast_to"),
                Bad(ShapeError, ones(2, 3), 3, match=["cannot be stretched", "(2, 3) to (3,)"])]),
    Row("expand", lambda x: x.expand(2, -1, 4), lambda x: np.broadcast_to(x, (2, x.shape[0], 4)),
        samples=lambda d: [call(d(3, 1))], errors=[Bad(ShapeError, ones(3, 2), match="broadcast")]),
    Row("squeeze", lp.squeeze, lambda x, dim=None: x if dim is not None and len(x) > 1 else x.squeeze(dim),
        samples=lambda d: [call(d(1, 3, 1)), call(d(1, 3, 1), 0), call(d(1, 3, 1), -1),
                           call(d(2, 3), 0), call(d())], errors=[NO_DIM]),
    Row("unsqueeze", lp.unsqueeze, np.expand_dims,
        samples=lambda d: [call(d(2, 3), 0), call(d(2, 3), -1), call(d(), 0), call(d(0, 2), 1)],
        errors=[Bad(IndexRangeError, ones(2), 3, match="dimension 3 does not exist")]),
    Row("flatten", lp.flatten, lambda x, first=0, last=-1: x.reshape(
            x.shape[:first] + (-1,) + (x.shape[last:][1:] if last % max(x.ndim, 1) else ())),
        samples=lambda d: [call(d(2, 3, 4)), call(d(2, 3, 4), 1), call(d(2, 3, 4), 0, 1), call(d())],
        errors=[Bad(ShapeError, ones(2, 3), 1, 0, match="start_dim comes after end_dim")]),
    Row("narrow", lp.narrow, lambda x, dim, start, n: np.take(x, range(start, start + n), dim),
        samples=lambda d: [call(d(3, 4), 1, 1, 2), call(d(3, 4), 0, 0, 3), call(d(3, 4), -1, 2, 0)],
        errors=[Bad(IndexRangeError, ones(3, 4), 1, 3, 2, match=["reaches outside", "<= 4"])]),
    Row("contiguous", lambda x: x.T.contiguous(), lambda x: np.ascontiguousarray(x.T), samples=matrices),
    *(Row(f"__getitem__: {name}", lambda x, key=key: x[key], lambda x, key=key: x[key],
          samples=lambda d: [call(d(3, 4))]) for name, key in KEYS.items()),
    Row("__getitem__: an index tensor", lambda x, at: x[at], lambda x, at: x[at],
        samples=lambda d: [call(d(3, 4), index(2, 0, 2)), call(d(4), index(-1, -4)),
                           call(d(3, 2), index([1], [2])), call(d(3, 2), index())],
        errors=[Bad(IndexRangeError, ones(3), index(3), match=["index 3 is out of range", "-3 to 2"]),
                Bad(IndexRangeError, ones(3), 3, match=["out of range for dimension 0", "-3 to 2"]),
                Bad(IndexRangeError, ones(3), (0, 0), match="more indices than dimensions"),
                Bad(IndexRangeError, ones(3), slice(None, None, 0), match="may not be zero"),
                Bad(IndexRangeError, ones(3), "a", match="an index is an integer")]),
]  # fmt: skip

# -- joining, picking, adding at places --------------------------------------------------------------


def gathered(x, dim, at):
    if not at.ndim:
        return x[at]
    part = tuple(slice(None) if a == dim % x.ndim else slice(n) for a, n in enumerate(at.shape))
    return np.take_along_axis(x[part], at, dim)


def scattered(x, dim, at, source):
    out = x.copy()
    for place in np.ndindex(at.shape):
        target = list(place)
        target[dim] = at[place]
        out[tuple(target)] += source[place]
    return out


GRID = index([2, 0, 1], [1, 1, 0])

JOINING = [
    Row("gather", lp.gather, gathered,
        samples=lambda d: [call(d(2, 3), 1, GRID), call(d(3, 3), 0, GRID), call(d(4, 5), -1, GRID),
                           call(d(4), 0, index(3, 3, 0)), call(d(4), 0, index()),
                           call(d(3, 3), 0, GRID.astype("i4"))],
        errors=[Bad(IndexRangeError, ones(2, 3), 1, index([3]), match=["index 3 is out of range", "0 to 2"]),
                Bad(IndexRangeError, ones(2, 3), 1, index([-1]), match="index -1 is out of range"),
                Bad(DTypeError, ones(2, 3), 1, ones(1, 1), match=["integer tensor", "index.long()"]),
                Bad(ShapeError, ones(2, 3), 1, index(0), match="different numbers of dimensions"),
                Bad(ShapeError, ones(1, 3), 1, GRID, match="larger than x")]),
    Row("scatter_add", lp.scatter_add, scattered,
        samples=lambda d: [call(d(2, 3), 1, GRID, d(2, 3)), call(d(3, 4), 0, GRID, d(2, 4)),
                           call(d(4), -1, index(1, 1, 1), d(3)), call(d(4), 0, index(), d(0))],
        errors=[Bad(IndexRangeError, ones(2, 3), 1, index([3]), ones(1, 1), match="scatter_add: index 3 is"),
                Bad(ShapeError, ones(2, 3), 1, GRID, ones(1, 3), match="src is smaller"),
                Bad(DTypeError, ones(2, 3), 1, GRID, np.ones((2, 3)), match="must have one type")]),
    Row("index_select", lp.index_select, lambda x, dim, at: np.take(x, at, dim),
        samples=lambda d: [call(d(3, 4), 0, index(2, 0, 2)), call(d(3, 4), -1, index(1)),
                           call(d(3), 0, index())],
        errors=[Bad(ShapeError, ones(3), 0, index([0]), match="must be 1-dimensional"),
                Bad(IndexRangeError, ones(3), 0, index(3), match="index 3 is out of range")]),
    Row("cat", lp.cat, lambda xs, dim=0: np.concatenate(xs, dim),
        samples=lambda d: [call([d(2, 3), d(1, 3)]), call([d(2, 3), d(2, 1), d(2, 2)], dim=-1),
                           call([d(4)]), call((d(2, 0), d(2, 2)), 1)],
        errors=[Bad(ShapeError, [], match="nothing to join"),
                Bad(ShapeError, [ones(2, 3), ones(2, 4)], match=["a dimension other than dim", "(2, 4)"]),
                Bad(ShapeError, [ones(2), ones(2, 1)], match="differ"),
                Bad(ShapeError, [np.float32(1)], match=["0-d", "stack"])]),
    Row("stack", lp.stack, lambda xs, dim=0: np.stack(xs, dim),
        samples=lambda d: [call([d(2), d(2)]), call([d(), d(), d()]), call([d(2, 3), d(2, 3)], -1)],
        errors=[Bad(ShapeError, [ones(2), ones(3)], match=["shapes differ", "(2,), (3,)"])]),
]  # fmt: skip

# -- matrices ----------------------------------------------------------------------------------------


def products(draw):
    for left, right in (((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((5, 2, 3), (3, 4)),
                        ((2, 1, 2, 3), (5, 3, 4)), ((3,), (2, 3, 2)), ((2, 0), (0, 3)), ((0, 3), (3, 2)),
                        ((1, 1), (1, 1)), ((17, 33), (33, 9))):  # fmt: skip
        yield call(draw(*left), draw(*right))


MATRICES = [
    Row("matmul", lp.matmul, np.matmul, samples=products, dtypes=NUMBERS,
        ulps=64,  # 33 terms are added, in any order
        errors=[Bad(ShapeError, ones(2, 3), ones(4, 5),
                    match=["matmul: the inner sizes differ", "(2, 3) @ (4, 5): 3 and 4", "x.T"]),
                Bad(ShapeError, ones(2, 2, 3), ones(4, 3, 2), match=["not broadcast", "(2,) and (4,)"]),
                Bad(ShapeError, ones(2, 3), np.float32(1), match=["at least one dimension", "use *"])]),
]  # fmt: skip

# -- in place: on a clone, so that the call is a function of its arguments -----------------------------


def written(method, *more):
    """The tensor that is left after an in-place method has run on a clone."""

    def function(x, *args):
        target = x.clone()
        assert getattr(target, method)(*args, *more) is target
        return target

    return function


def set_corner(x, value):
    # Not x.clone(): of a transposed x that is transposed too, and tracing refuses to write into views of
    # what it does not know the layout of.
    target = lp.zeros(*x.shape, dtype=x.dtype).copy_(x)
    target[1:, :2] = value
    return target


def set_corner_numpy(x, value):
    target = x.copy()
    target[1:, :2] = value
    return target


def pairs(d):
    return [call(d(3, 4), d(3, 4)), call(d(3, 4), d(4)), call(d(), d()), call(d(0, 2), d(2))]


TOO_LARGE = Bad(ShapeError, ones(3), ones(2, 3), match=["does not fit", "(3,)", "(2, 3)"])

IN_PLACE = [
    Row("add_", written("add_"), np.add, samples=pairs, errors=[TOO_LARGE]),
    Row("sub_", written("sub_"), np.subtract, samples=pairs, dtypes=NUMBERS, errors=[TOO_LARGE]),
    Row("mul_", written("mul_"), np.multiply, samples=pairs, errors=[TOO_LARGE]),
    Row("div_", written("div_"), np.true_divide, samples=pairs, domain=((-2, 2), (0.5, 2)), dtypes=FLOATS,
        errors=[Bad(DTypeError, index(1), index(2), match="float32 cannot be written into lampion.int64")]),
    Row("exp_", written("exp_"), np.exp, samples=lambda d: [call(d(3, 4))], dtypes=FLOATS),
    Row("relu_", written("relu_"), lambda x: np.maximum(x, x.dtype.type(0)), avoid=(0.0,), dtypes=NUMBERS,
        samples=lambda d: [call(d(3, 4))]),
    Row("copy_", written("copy_"), lambda x, y: np.broadcast_arrays(x, y)[1], samples=pairs,
        errors=[TOO_LARGE]),
    Row("fill_", written("fill_", 3), lambda x: np.full_like(x, 3), samples=lambda d: [call(d(3, 4))]),
    Row("fill", lp.fill, lambda x, y: np.full_like(x, y),
        samples=lambda d: [call(d(3, 4), d()), call(d(), d())],
        errors=[Bad(ShapeError, ones(2), ones(2), match="filled with one number")]),
    Row("zero_", written("zero_"), np.zeros_like, samples=lambda d: [call(d(3, 4))]),
    Row("__setitem__", set_corner, set_corner_numpy,
        samples=lambda d: [call(d(3, 4), d(2, 2)), call(d(3, 4), d(2)), call(d(3, 4), d())],
        errors=[Bad(ShapeError, ones(3, 4), ones(3), match="do not broadcast")]),
]  # fmt: skip

# -- composites with a gradient of their own -----------------------------------------------------------


def log_softmax(x, dim):
    shifted = x - x.max(dim, keepdims=True) if x.ndim else x - x
    return shifted - np.log(np.exp(shifted).sum(dim if x.ndim else None, keepdims=True))


def scores(d):
    return [call(d(3, 4), 1), call(d(3, 4), 0), call(d(2, 3, 4), -2), call(d(5), 0), call(d(0, 3), 1)]


COMPOSITES = [
    Row("log_softmax", lp.log_softmax, log_softmax, samples=scores, dtypes=FLOATS, points=[
            At([0.0, 0.0], 0, value=[-np.log(2)] * 2), At([1e4, 0.0], 0, value=[0.0, -1e4])],
        errors=[NO_DIM, Bad(DTypeError, index(1, 2), 0, match=["expected floats", "x.float()"])]),
]  # fmt: skip

# -- complex numbers: their values and slopes are compared in tests/test_complex.py ----------------------

EAGER = "complex numbers are computed by NumPy"


def complex_of(x):
    return lp.complex(x, 3 * x)


def some(d):
    return [call(d(3, 4)), call(d()), call(d(0, 2))]


COMPLEX = [
    Row("complex", lambda x, y: lp.view_as_real(lp.complex(x, y)), not_compiled=EAGER, dtypes=FLOATS,
        reference=lambda x, y: np.stack(np.broadcast_arrays(x, y), -1), samples=pairs,
        errors=[Bad(DTypeError, ones(2), np.ones(2), match=["floats of one type", "and lampion.float64"])]),
    Row("polar", lambda x, y: lp.view_as_real(lp.polar(x, y)), not_compiled=EAGER, dtypes=FLOATS,
        samples=pairs, reference=lambda x, y: np.stack([x * np.cos(y), x * np.sin(y)], -1),
        errors=[Bad(DTypeError, index(1), index(1), match="floats of one type")]),
    Row("real", lambda x: lp.real(complex_of(x)), np.copy, samples=some, dtypes=FLOATS, not_compiled=EAGER),
    Row("imag", lambda x: lp.imag(complex_of(x)), lambda x: x * 3, samples=some, dtypes=FLOATS,
        not_compiled=EAGER),
    Row("conj", lambda x: lp.imag(lp.conj(complex_of(x))), lambda x: x * -3, samples=some, dtypes=FLOATS,
        not_compiled=EAGER),
    Row("conj: of real numbers", lp.conj, np.copy, samples=some),
    Row("conj_physical", lp.conj_physical, np.copy, samples=some),
    Row("resolve_conj", lp.resolve_conj, np.copy, samples=some),
    Row("resolve_neg", lp.resolve_neg, np.copy, samples=some),
    Row("view_as_real", lambda x: lp.view_as_real(complex_of(x)), lambda x: np.stack([x, x * 3], -1),
        samples=some, dtypes=FLOATS, not_compiled=EAGER),
    Row("view_as_complex", lambda x: lp.real(lp.view_as_complex(x)), lambda x: x[..., 0].copy(),
        samples=lambda d: [call(d(3, 2)), call(d(2))], dtypes=FLOATS, not_compiled=EAGER,
        errors=[Bad(ShapeError, ones(3), match=["must hold pairs", "(3,)"]),
                Bad(DTypeError, index(1, 2), match="float32 or float64")]),
    Row("H", lambda x: x.H, np.transpose, samples=matrices,
        errors=[Bad(ShapeError, ones(1, 2, 3), match="x.mH")]),
    Row("mH", lambda x: x.mH, lambda x: np.swapaxes(x, -1, -2), samples=matrices),
]  # fmt: skip

ELSEWHERE = {
    "tests/test_dtypes.py": {"is_conj", "is_neg"},
    "tests/test_tensor_surface.py: conversions under another name, questions, tensors out of nothing": {
        "__imatmul__", "__rdiv__", "bfloat16", "byte", "cdouble", "cfloat", "char", "cpu", "cuda",
        "empty_like", "empty_permuted", "empty_strided", "eye", "half", "is_complex", "is_floating_point",
        "is_nonzero", "is_same_size", "is_signed", "is_tensor", "linspace", "logspace", "new_empty",
        "new_empty_strided", "new_full", "new_ones", "new_tensor", "new_zeros", "numel", "result_type",
        "scalar_tensor", "short", "type", "type_as",
    },
}  # fmt: skip

ROWS = [*ELEMENTWISE, *CHOICE, *REDUCTIONS, *MOVEMENTS, *JOINING, *MATRICES, *IN_PLACE, *COMPOSITES, *COMPLEX]
