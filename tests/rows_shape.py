"""Rows of the operations that move, join and split: `ops/views.py` and its neighbours."""

import itertools

import numpy as np

import lampion as lp
from lampion.errors import DTypeError, IndexRangeError, ShapeError
from lampion.ops.arranging import pad_to
from lampion.testing.rows import FLOATS, Bad, Row, call


def ones(*shape):
    return np.ones(shape, np.float32)


def method(name):
    return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)


def cube(d):
    return d(2, 3, 4)


NO_DIM = Bad(IndexRangeError, ones(2, 3), 2, match=["dimension 2 does not exist", "-2 to 1"])

# -- views ---------------------------------------------------------------------------------------------


def unfolded(x, dim, size, step):
    if not x.ndim:
        return x.reshape(1)[:size]
    return (
        np.moveaxis(np.lib.stride_tricks.sliding_window_view(x, size, dim), dim, 0)[::step].swapaxes(0, dim)
        if dim in (0,)
        else np.lib.stride_tricks.sliding_window_view(x, size, dim)[:, ::step]
    )


def strided(x, size, stride, offset=0):
    places = np.full(size, offset)
    for axis, (n, step) in enumerate(zip(size, stride, strict=True)):
        places = places + (np.arange(n) * step).reshape((-1,) + (1,) * (len(size) - axis - 1))
    return x.reshape(-1)[places]


def summed_to(x, *shape):
    extra = x.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(a + extra for a, n in enumerate(shape) if n == 1)
    return x.sum(axes, keepdims=True).reshape(shape)


def replaced(x, place, source):
    out = x.copy()
    out[place] = source
    return out


def diagonal_replaced(x, source, offset=0, dim1=0, dim2=1):
    out = np.moveaxis(x.copy(), (dim1, dim2), (0, 1))
    n = source.shape[-1]
    i = np.arange(n)
    out[i + max(0, -offset), i + max(0, offset)] = np.moveaxis(source, -1, 0)
    return np.moveaxis(out, (0, 1), (dim1, dim2))


VIEWS = [
    Row("swapaxes", lp.swapaxes, np.swapaxes, samples=lambda d: [call(cube(d), 0, -1)]),
    Row("swapdims", lp.swapdims, np.swapaxes, samples=lambda d: [call(cube(d), 1, 2)]),
    Row("movedim", lp.movedim, np.moveaxis,
        samples=lambda d: [call(cube(d), 0, -1), call(cube(d), (0, 1), (-1, 0)), call(d(), (), ())],
        errors=[Bad(ShapeError, ones(2, 3), (0, 1), 0, match="different lengths"),
                Bad(ShapeError, ones(2, 3), (0, 0), (0, 1), match="source names a dimension twice")]),
    Row("moveaxis", lp.moveaxis, np.moveaxis, samples=lambda d: [call(cube(d), 2, 0)]),
    Row("adjoint", lp.adjoint, lambda x: np.swapaxes(x, -1, -2), samples=lambda d: [call(cube(d))],
        errors=[Bad(ShapeError, ones(2), match="at least two dimensions")]),
    Row("t: of a row", lp.t, lambda x: x, samples=lambda d: [call(d(3)), call(d())],
        errors=[Bad(ShapeError, ones(1, 2, 3), match=["at most two", "x.mT"])]),
    Row("squeeze: several", lp.squeeze, lambda x, dim: x.squeeze(tuple(a for a in dim if x.shape[a] == 1)),
        samples=lambda d: [call(d(1, 3, 1), (0, 1)), call(d(1, 3, 1), (0, -1))],
        errors=[Bad(ShapeError, ones(1, 1), (0, -2), match="named twice")]),
    Row("unflatten", lp.unflatten, lambda x, dim, sizes: x.reshape(
            (*x.shape[: dim % x.ndim], *sizes, *x.shape[dim % x.ndim + 1 :])),
        samples=lambda d: [call(d(2, 6), 1, (2, 3)), call(d(2, 6), -1, (3, -1)), call(d(4, 3), 0, (2, 2))],
        errors=[Bad(ShapeError, ones(2, 6), 1, (4, -1), match="product is 6"),
                Bad(ShapeError, ones(2, 6), 1, (), match="at least one size")]),
    Row("ravel", lp.ravel, np.ravel, samples=lambda d: [call(d(2, 3)), call(d())]),
    Row("expand_as", method("expand_as"), lambda x, y: np.broadcast_to(x, y.shape),
        samples=lambda d: [call(d(3, 1), np.zeros((2, 3, 4)))]),
    Row("reshape_as", method("reshape_as"), lambda x, y: x.reshape(y.shape),
        samples=lambda d: [call(d(3, 4), np.zeros((2, 6)))]),
    Row("view_as", lambda x, y: x.contiguous().view_as(y), lambda x, y: x.reshape(y.shape),
        samples=lambda d: [call(d(3, 4), np.zeros((2, 6)))]),
    Row("broadcast_tensors", lp.broadcast_tensors, lambda *xs: tuple(np.broadcast_arrays(*xs)),
        samples=lambda d: [call(d(3, 1), d(4)), call(d())],
        errors=[Bad(ShapeError, ones(2), ones(3), match="do not broadcast")]),
    Row("atleast_1d", lp.atleast_1d, np.atleast_1d, samples=lambda d: [call(d()), call(d(2), d())]),
    Row("atleast_2d", lp.atleast_2d, np.atleast_2d, samples=lambda d: [call(d()), call(d(3)), call(d(2, 3))]),
    Row("atleast_3d", lp.atleast_3d, np.atleast_3d, samples=lambda d: [call(d()), call(d(3)), call(d(2, 3))]),
    Row("sum_to_size", method("sum_to_size"), summed_to,
        samples=lambda d: [call(cube(d), 3, 1), call(cube(d), 1, 1, 4), call(cube(d), 4)],
        errors=[Bad(ShapeError, ones(2, 3), 2, match=["does not broadcast", "(2,)"])]),
    Row("select", lp.select, lambda x, dim, at: np.take(x, at, dim),
        samples=lambda d: [call(cube(d), 1, 2), call(cube(d), -1, -4)],
        errors=[Bad(IndexRangeError, ones(2, 3), 1, 3, match=["index 3 is out of range", "-3 to 2"]),
                Bad(IndexRangeError, np.float32(1), 0, 0, match="0-d tensor")]),
    Row("unbind", lp.unbind, lambda x, dim=0: tuple(np.moveaxis(x, dim, 0)),
        samples=lambda d: [call(d(3, 2)), call(cube(d), -1)],
        errors=[Bad(IndexRangeError, np.float32(1), match="0-d tensor")]),
    Row("unfold", method("unfold"), unfolded,
        samples=lambda d: [call(d(5), 0, 3, 1), call(d(2, 7), 1, 2, 3), call(d(6, 2), 0, 2, 2), call(d(), 0,
        1, 1)],
        errors=[Bad(ShapeError, ones(3), 0, 4, 1, match=["larger than the dimension", "0 to 3"]),
                Bad(ShapeError, ones(3), 0, 2, 0, match="step must be positive")]),
    Row("as_strided", lambda x, *where: lp.as_strided(x.reshape(-1).clone(), *where), strided,
        samples=lambda d: [call(d(12), (3, 3), (1, 2)), call(d(12), (2, 2), (5, 1), 3), call(d(4), (), ())],
        errors=[Bad(ShapeError, ones(4), (3,), (2,), match=["outside of the tensor's memory", "0 to 3"]),
                Bad(ShapeError, ones(4), (3,), (1, 2), match="different lengths")]),
    Row("diagonal", lp.diagonal, np.diagonal,
        samples=lambda d: [call(d(3, 4)), call(d(3, 4), 2), call(d(4, 3), -1), call(cube(d), 1, 0, 2),
                           call(d(3, 3), 5), call(cube(d), 0, -1, 1)],
        errors=[Bad(ShapeError, ones(2, 2), 0, 1, -1, match="must differ"),
                Bad(ShapeError, ones(2), match="at least two")]),
    Row("select_scatter", lp.select_scatter, lambda x, y, dim, at: replaced(
            x, (slice(None),) * (dim % x.ndim) + (at,), y),
        samples=lambda d: [call(cube(d), d(2, 4), 1, -1), call(d(3), d(), 0, 1)],
        errors=[Bad(ShapeError, ones(2, 3), ones(3), 1, 0, match=["shape of what it replaces", "(2,)"])]),
    Row("slice_scatter", lp.slice_scatter, lambda x, y, dim=0, start=None, end=None, step=1: replaced(
            x, (slice(None),) * dim + (slice(start, end, step),), y),
        samples=lambda d: [call(d(4, 3), d(2, 3), 0, 1, 3), call(d(4, 5), d(4, 2), 1, start=-4, step=2),
                           call(d(3), d(3))],
        errors=[Bad(ShapeError, ones(3), ones(2), match=["shape of what it replaces", "(3,)"]),
                Bad(DTypeError, ones(3), np.ones(3), match="must have one type")]),
    Row("diagonal_scatter", lp.diagonal_scatter, diagonal_replaced,
        samples=lambda d: [call(d(3, 4), d(3)), call(d(3, 4), d(2), -1), call(cube(d), d(3, 2), 1, 0, 2)]),
    Row("as_strided_scatter", lp.as_strided_scatter, lambda x, y, size, stride, offset=0: strided_written(
            x, y, size, stride, offset),
        samples=lambda d: [call(d(3, 4), d(2, 2), (2, 2), (5, 1), 1), call(d(4), d(), (), ())],
        errors=[Bad(ShapeError, ones(4), ones(3), (2,), (1,), match="shape of what it replaces")]),
]  # fmt: skip


def strided_written(x, y, size, stride, offset):
    out = x.reshape(-1).copy()
    out[strided(np.arange(out.size), size, stride, offset)] = y
    return out.reshape(x.shape)


# -- split ---------------------------------------------------------------------------------------------


def split(x, size, dim=0):
    if isinstance(size, list | tuple):
        return tuple(np.split(x, np.cumsum(size)[:-1], dim))
    return tuple(np.split(x, range(size, x.shape[dim], size), dim))


def tensor_split(x, where, dim=0):
    return tuple(np.array_split(x, where, dim))


SPLITS = [
    Row("split", lp.split, split,
        samples=lambda d: [call(d(5, 2), 2), call(cube(d), 3, 1), call(cube(d), [1, 0, 3], -1)],
        errors=[Bad(ShapeError, ones(3), 0, match="must be positive"),
                Bad(ShapeError, ones(3), [1, 1], match=["add up to 3", "[1, 1]"]),
                Bad(IndexRangeError, np.float32(1), 1, match="0-d tensor")]),
    Row("split_with_sizes", lp.split_with_sizes, split,
        samples=lambda d: [call(d(5), [2, 3]), call(d(2, 3), [1, 2], 1)]),
    Row("chunk", lp.chunk, lambda x, n, dim=0: split(x, -(-x.shape[dim] // n), dim) if x.size else (x,) * n,
        samples=lambda d: [call(d(7), 3), call(d(2, 5), 4, 1), call(d(0, 2), 2)],
        errors=[Bad(ShapeError, ones(3), 0, match="at least one chunk")]),
    Row("tensor_split", lp.tensor_split, tensor_split,
        samples=lambda d: [call(d(7), 3), call(d(2, 5), (1, 4), 1), call(d(4), (3, 1)), call(d(4), [9])],
        errors=[Bad(ShapeError, ones(3), 0, match="at least one part")]),
    Row("hsplit", lp.hsplit, lambda x, n: tensor_split(x, n, 1 if x.ndim > 1 else 0),
        samples=lambda d: [call(d(4), 2), call(d(2, 6), (1, 2))],
        errors=[Bad(ShapeError, ones(3), 2, match=["equal parts", "3 into 2"])]),
    Row("vsplit", lp.vsplit, tensor_split, samples=lambda d: [call(d(4, 3), 2)],
        errors=[Bad(ShapeError, ones(3), 3, match="at least 2 dimensions")]),
    Row("dsplit", lp.dsplit, lambda x, n: tensor_split(x, n, 2), samples=lambda d: [call(d(1, 2, 4), 2)]),
    Row("unsafe_split", lp.unsafe_split, split, samples=lambda d: [call(d(5), 2)]),
    Row("unsafe_split_with_sizes", lp.unsafe_split_with_sizes, split, samples=lambda d: [call(d(5), [2, 3])]),
    Row("unsafe_chunk", lp.unsafe_chunk, lambda x, n: split(x, -(-len(x) // n)),
        samples=lambda d: [call(d(5), 2)]),
]  # fmt: skip

COPIES = [
    Row("alias_copy", lp.alias_copy, np.copy, samples=lambda d: [call(d(3))]),
    Row("as_strided_copy", lambda x, *where: lp.as_strided_copy(x.reshape(-1).clone(), *where), strided,
        samples=lambda d: [call(d(6), (2, 2), (3, 1))]),
    Row("view_as_real_copy", lambda x: lp.view_as_real_copy(lp.complex(x, x * 2)),
        lambda x: np.stack([x, x * 2], -1), samples=lambda d: [call(d(3))], dtypes=FLOATS,
        not_compiled="complex numbers"),
    Row("view_as_complex_copy", lambda x: lp.real(lp.view_as_complex_copy(x)), lambda x: x[..., 0],
        samples=lambda d: [call(d(3, 2))], dtypes=FLOATS, not_compiled="complex numbers"),
    Row("detach_copy", lp.detach_copy, np.copy, samples=lambda d: [call(d(3))], orders=0),
    Row("diagonal_copy", lp.diagonal_copy, np.diagonal, samples=lambda d: [call(d(3, 4), 1)]),
    Row("expand_copy", lp.expand_copy, np.broadcast_to, samples=lambda d: [call(d(3), (2, 3))]),
    Row("narrow_copy", lp.narrow_copy, lambda x, dim, a, n: np.take(x, range(a, a + n), dim),
        samples=lambda d: [call(d(3, 4), 1, 1, 2)]),
    Row("permute_copy", lp.permute_copy, np.transpose, samples=lambda d: [call(cube(d), (2, 0, 1))]),
    Row("select_copy", lp.select_copy, lambda x, dim, at: np.take(x, at, dim),
        samples=lambda d: [call(d(3, 4), 1, 2)]),
    Row("slice_copy", lp.slice_copy, lambda x, dim=0, start=None, end=None, step=1: x[
            (slice(None),) * dim + (slice(start, end, step),)],
        samples=lambda d: [call(d(3, 4), 1, 1, 3), call(d(5), start=-4, step=2), call(d(4), 0, 2, 9)],
        errors=[Bad(IndexRangeError, ones(3), 0, 0, 1, -1, match="step of a slice must be positive")]),
    Row("split_copy", lp.split_copy, split, samples=lambda d: [call(d(5), 2)]),
    Row("split_with_sizes_copy", lp.split_with_sizes_copy, split, samples=lambda d: [call(d(5), [2, 3])]),
    Row("squeeze_copy", lp.squeeze_copy, np.squeeze, samples=lambda d: [call(d(1, 3, 1))]),
    Row("t_copy", lp.t_copy, np.transpose, samples=lambda d: [call(d(2, 3))]),
    Row("transpose_copy", lp.transpose_copy, np.swapaxes, samples=lambda d: [call(d(2, 3), 0, 1)]),
    Row("unbind_copy", lp.unbind_copy, lambda x: tuple(x), samples=lambda d: [call(d(2, 3))]),
    Row("unfold_copy", lp.unfold_copy, unfolded, samples=lambda d: [call(d(5), 0, 3, 1)]),
    Row("unsqueeze_copy", lp.unsqueeze_copy, np.expand_dims, samples=lambda d: [call(d(2, 3), 1)]),
    Row("view_copy", lambda x, *s: lp.view_copy(x.contiguous(), *s), np.reshape,
        samples=lambda d: [call(d(2, 3), (3, 2))]),
]  # fmt: skip

# -- joined --------------------------------------------------------------------------------------------


def block_diag(*xs):
    xs = [np.atleast_2d(x) for x in xs]
    out = np.zeros((sum(len(x) for x in xs), sum(x.shape[1] for x in xs)), xs[0].dtype)
    row = column = 0
    for x in xs:
        out[row : row + len(x), column : column + x.shape[1]] = x
        row, column = row + len(x), column + x.shape[1]
    return out


def combinations(x, r=2, with_replacement=False):
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    return np.array(list(choose(x, r)), x.dtype).reshape(-1, r)


JOINED = [
    Row("cat: of empty rows and several types", lp.cat,
        lambda xs, dim=0: np.concatenate([x for x in xs if x.shape != (0,)], dim),
        samples=lambda d: [call([d(0), d(2, 3), d(1, 3)]), call([d(2, 2), d(0)], 1), call([d(3), d(0)])]),
    Row("concat", lp.concat, lambda xs, dim=0: np.concatenate(xs, dim),
        samples=lambda d: [call([d(2), d(3)])]),
    Row("concatenate", lp.concatenate, lambda xs, dim=0: np.concatenate(xs, dim),
        samples=lambda d: [call([d(2, 1), d(2, 2)], 1)]),
    Row("hstack", lp.hstack, np.hstack,
        samples=lambda d: [call([d(2), d(3)]), call([d(2, 1), d(2, 2)]), call([d(), d()])],
        errors=[Bad(ShapeError, [], match="nothing to join")]),
    Row("vstack", lp.vstack, np.vstack, samples=lambda d: [call([d(3), d(3)]), call([d(2, 3), d(3)])]),
    Row("row_stack", lp.row_stack, np.vstack, samples=lambda d: [call([d(3), d(3)])]),
    Row("dstack", lp.dstack, np.dstack, samples=lambda d: [call([d(3), d(3)]), call([d(2, 3), d(2, 3)])]),
    Row("column_stack", lp.column_stack, np.column_stack, samples=lambda d: [call([d(3), d(3, 2)])]),
    Row("block_diag", lp.block_diag, block_diag, samples=lambda d: [call(d(2, 3), d(1, 1), d(2)), call(d())],
        errors=[Bad(ShapeError, ones(1, 1, 1), match="matrices, rows or numbers")]),
    Row("meshgrid", lp.meshgrid, lambda *xs, indexing="ij": tuple(np.meshgrid(*xs, indexing=indexing)),
        samples=lambda d: [call(d(2), d(3)), call(d(2), d(3), d(4), indexing="xy"), call(d(2),
        indexing="xy")],
        errors=[Bad(ShapeError, ones(2, 2), match="1-d"), Bad(ShapeError, ones(2), indexing="a",
        match='"ij" or "xy"')]),
    Row("cartesian_prod", lp.cartesian_prod,
        lambda *xs: np.array(list(itertools.product(*xs)), xs[0].dtype) if len(xs) > 1 else xs[0],
        samples=lambda d: [call(d(2), d(3)), call(d(2))]),
    Row("combinations", lp.combinations, combinations,
        samples=lambda d: [call(d(4)), call(d(3), 2, with_replacement=True), call(d(3), 4), call(d(4), 3)],
        errors=[Bad(ShapeError, ones(2, 2), match="1-d")]),
]  # fmt: skip

# -- arranged ------------------------------------------------------------------------------------------


def embedded(x, offset=0, dim1=-2, dim2=-1):
    n = x.shape[-1] + abs(offset)
    out = np.zeros((*x.shape[:-1], n, n), x.dtype)
    i = np.arange(x.shape[-1])
    out[..., i + max(0, -offset), i + max(0, offset)] = x
    return np.moveaxis(out, (-2, -1), (dim1, dim2))


def padded(x, pad, mode="constant", value=0):
    widths = [(0, 0)] * (x.ndim - len(pad) // 2) + [(pad[n], pad[n + 1]) for n in range(0, len(pad), 2)][::-1]
    more = [(max(0, a), max(0, b)) for a, b in widths]
    less = tuple(slice(max(0, -a), n + min(0, b)) for (a, b), n in zip(widths, x.shape, strict=True))
    names = {"replicate": "edge", "circular": "wrap"}
    if mode == "constant":
        return np.pad(x[less], more, constant_values=x.dtype.type(value))
    return np.pad(x[less], more, names.get(mode, mode))


ARRANGED = [
    Row("repeat", method("repeat"), np.tile,
        samples=lambda d: [call(d(2, 3), (2, 1)), call(d(2), (2, 3)), call(d(2), (0,)), call(d(2), (1,))],
        errors=[Bad(ShapeError, ones(2, 3), 2, match="at least 2 numbers")]),
    Row("tile", lp.tile, lambda x, *n: np.tile(x, n), samples=lambda d: [call(d(2, 3), 2), call(d(3), 2, 2)]),
    Row("repeat_interleave", lp.repeat_interleave, lambda x, n, dim=None: np.repeat(x, n, dim),
        samples=lambda d: [call(d(2, 3), 2), call(d(2, 3), 3, 1), call(d(2), 0)],
        errors=[Bad(ShapeError, ones(2), -1, match="negative")]),
    Row("repeat_interleave: by a tensor", lp.repeat_interleave, lambda x, n, dim=None: np.repeat(x, n, dim),
        samples=lambda d: [call(d(2, 3), np.array([2, 0]), 0), call(d(3), np.array([1, 0, 3]))],
        errors=[Bad(ShapeError, ones(2), np.array([1, 2, 3]), match="2 numbers")],
        not_compiled="how often each is repeated depends on a tensor's values"),
    Row("fliplr", lp.fliplr, np.fliplr, samples=lambda d: [call(d(2, 3))],
        errors=[Bad(ShapeError, ones(2), match="at least two")]),
    Row("flipud", lp.flipud, np.flipud, samples=lambda d: [call(d(2, 3)), call(d(3))]),
    Row("rot90", lp.rot90, lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims),
        samples=lambda d: [call(d(2, 3)), call(d(2, 3), 2), call(d(2, 3), -1), call(cube(d), 1, (2, 0)),
        call(d(2, 3), 4)],
        errors=[Bad(ShapeError, ones(2, 2), 1, (0, 0), match="must differ")]),
    Row("roll", lp.roll, np.roll, samples=lambda d: [
            call(d(5), 2), call(d(2, 3), -1), call(d(2, 3), (1, 2), (0, 1)), call(d(2, 3), 7, 1), call(d(0,
            3), 1, 0), call(d(), 3)],
        errors=[Bad(ShapeError, ones(2), (1, 2), 0, match="different lengths")]),
    Row("tril", lp.tril, lambda x, k=0: np.tril(x, k),
        samples=lambda d: [call(d(3, 4)), call(d(2, 3, 3), 1), call(d(3, 3), -1)],
        errors=[Bad(ShapeError, ones(2), match="at least two")]),
    Row("triu", lp.triu, lambda x, k=0: np.triu(x, k),
        samples=lambda d: [call(d(3, 4)), call(d(2, 3, 3), 1), call(d(3, 3), -1)]),
    Row("diag", lp.diag, np.diag, samples=lambda d: [call(d(3)), call(d(3), 1), call(d(3, 4), -1)],
        errors=[Bad(ShapeError, ones(1, 1, 1), match="one or two")]),
    Row("diag_embed", lp.diag_embed, embedded,
        samples=lambda d: [call(d(2, 3)), call(d(3), 1), call(d(2, 3), -1, 0, 2)],
        errors=[Bad(ShapeError, np.float32(1), match="at least one")]),
    Row("diagflat", lp.diagflat, np.diagflat, samples=lambda d: [call(d(2, 2)), call(d(), 1)]),
    Row("trace", lp.trace, np.trace, samples=lambda d: [call(d(3, 4)), call(d(2, 2))],
        errors=[Bad(ShapeError, ones(2), match="matrix")]),
    Row("constant_pad_nd", lp.constant_pad_nd, lambda x, pad, value=0: padded(x, pad, "constant", value),
        samples=lambda d: [call(d(2, 3), (1, 2)), call(d(2, 3), (0, 1, 2, 0), 1), call(d(4, 5), (-1, 2, 1,
        -2)), call(d(2), ())],
        errors=[Bad(ShapeError, ones(2), (1,), match="two numbers"), Bad(ShapeError, ones(2), (-2, -1),
        match="cut off")]),
    *(Row(f"constant_pad_nd: {mode}", lambda x, pad, mode=mode: pad_to(x, pad, mode),
        lambda x, pad, mode=mode: padded(x, pad, mode),
          samples=lambda d: [call(d(2, 4), (2, 1)), call(d(3, 4), (1, 2, 1, 0))])
      for mode in ("reflect", "replicate", "circular")),
]  # fmt: skip

ROWS = [*VIEWS, *SPLITS, *COPIES, *JOINED, *ARRANGED]
ELSEWHERE = {
    "tests/test_views.py: in place, and what takes no tensor": {
        "as_strided_", "broadcast_shapes", "fill_diagonal_", "resize_", "resize_as_", "squeeze_", "swapaxes_",
        "swapdims_", "t_", "transpose_", "tril_indices", "triu_indices", "unsqueeze_",
    },
}  # fmt: skip
