"""Reading and writing parts of a tensor: ``x[...]``, gather, scatter_add, cat."""

from __future__ import annotations

import functools
import itertools
import operator

from lampion import dtype as dtypes
from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError
from lampion.ops.creation import zeros
from lampion.ops.define import cast_to, kernel, operation
from lampion.ops.elementwise import where
from lampion.ops.movement import broadcast_to, put, reshape, slice_
from lampion.ops.shapes import normalize_dim
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor


def check_index(name, index, size, dim):
    """Refuse indices outside [0, size); the native kernels report them to here too."""
    # As unsigned integers the negative ones are the largest: one pass finds both kinds of error.
    if index.size and index.view(index.dtype.str.replace("i", "u")).max() >= size:
        raise out_of_range(name, int(index[(index < 0) | (index >= size)].flat[0]), size, dim)


def out_of_range(name, bad, size, dim):
    """The error about one index; the same from eager and from compiled code."""
    return IndexRangeError(
        name, f"index {bad} is out of range", expected=f"0 to {size - 1} along dim {dim}", got=str(bad),
        fix="check the labels or token ids, and the size of the table",
    )  # fmt: skip


@kernel(saves=(1,), method=True)
class gather:
    """``out[i][j] = x[index[i][j]][j]`` for dim 0, and so on: an element of x for every index."""

    def infer(x, index, dim): return index.shape, x.dtype

    def forward(xp, x, index, dim):
        check_index("gather", index, x.shape[dim], dim)
        if x.shape != index.shape:  # only the part of x that the index covers, along the other dimensions
            x = x[tuple(slice(None) if a == dim else slice(n) for a, n in enumerate(index.shape))]
        return x[_places(xp, index, dim)]

    def vjp(g, x, index, dim):
        return lambda shape: scatter_add(zeros(shape, dtype=g.dtype), dim, index, g), None

    def call(x, dim, index):
        """An element of x for every index, along `dim`; the result has the index's shape."""
        x, dim = _check("gather", x, dim, index, index.shape)
        return apply(gather.primitive, x, index, dim=dim)


@kernel(saves=(1,), method=True)
class scatter_add:
    """`x` with each element of `source` added at the place that its index names along `dim`."""

    def infer(x, index, source, dim): return x.shape, x.dtype

    def forward(xp, x, index, source, dim):
        check_index("scatter_add", index, x.shape[dim], dim)
        out = x.copy()
        xp.add.at(out, _places(xp, index, dim), source[tuple(slice(n) for n in index.shape)])
        return out

    def vjp(g, x, index, source, dim):
        return g, None, lambda shape: _pad_to(gather(g, dim, index), shape)

    def call(x, dim, index, source):
        """`x` with each element of `source` added at the place that its index names along `dim`."""
        source = as_tensor(source)
        if source.dtype is not x.dtype:
            raise DTypeError("scatter_add", "x and source must have one type",
                             got=f"{x.dtype} and {source.dtype}")  # fmt: skip
        if any(n < m for n, m in zip(source.shape, index.shape, strict=False)):
            raise ShapeError("scatter_add", "source is smaller than index",
                             got=f"source {tuple(source.shape)}, index {tuple(index.shape)}")  # fmt: skip
        x, dim = _check("scatter_add", x, dim, index, source.shape)
        return apply(scatter_add.primitive, x, index, source, dim=dim)


def _places(xp, index, dim):
    """What NumPy's indexing needs to pick `index` along `dim`, and each element's own place elsewhere."""
    n = index.ndim

    def own(axis):
        return xp.arange(index.shape[axis]).reshape((1,) * axis + (-1,) + (1,) * (n - axis - 1))

    return tuple(index if axis == dim else own(axis) for axis in range(n))


def _pad_to(x, shape):
    """`x` in the corner of zeros of the given shape."""
    if x.shape == shape:
        return x
    bounds = tuple((0, n, 1) for n in x.shape)
    return put(zeros(shape, dtype=x.dtype), x, ((slice_.primitive, {"bounds": bounds}),))


def _check(name, x, dim, index, like):
    x = as_tensor(x)
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise DTypeError(name, "the index must be an integer tensor", expected="lampion.int64",
                         got=str(index.dtype), fix="convert it: index.long()")  # fmt: skip
    if not x.ndim == index.ndim == len(like):
        raise ShapeError(name, "x and index have different numbers of dimensions",
                         got=f"x {tuple(x.shape)}, index {tuple(index.shape)}")  # fmt: skip
    dim = normalize_dim(name, dim, x.ndim)
    if not x.ndim:
        raise ShapeError(name, "a 0-d tensor has no dimension to index along", got="x of shape ()",
                         fix="reshape it to (1,)")  # fmt: skip
    if any(a != dim and n > m for a, (n, m) in enumerate(zip(index.shape, x.shape, strict=True))):
        raise ShapeError(name, "the index is larger than x in a dimension other than dim",
                         got=f"x {tuple(x.shape)}, index {tuple(index.shape)}, dim {dim}")  # fmt: skip
    return x, dim


@operation
def index_select(x, dim, index):
    """The slices of x that a 1-d index names, along `dim`."""
    x = as_tensor(x)
    dim = normalize_dim("index_select", dim, x.ndim)
    if not x.ndim:
        return reshape(index_select(reshape(x, 1), 0, index), ())
    if index.ndim != 1:
        raise ShapeError("index_select", "the index must be 1-dimensional", got=str(tuple(index.shape)))
    shape = [1] * x.ndim
    shape[dim] = index.shape[0]
    full_shape = (*x.shape[:dim], index.shape[0], *x.shape[dim + 1 :])
    return gather(x, dim, broadcast_to(reshape(index, shape), full_shape))


@kernel(saves="shapes")
class cat:
    """Tensors joined along a dimension."""

    def infer(*arrays, dim):
        first = arrays[0].shape
        return (*first[:dim], _total(arrays, dim), *first[dim + 1 :]), arrays[0].dtype

    def forward(xp, *arrays, dim): return xp.concatenate(arrays, axis=dim)

    def vjp(g, shapes, dim):
        """Each input's gradient is its part of g."""
        ends = list(itertools.accumulate(shape[dim] for shape in shapes))
        return tuple(
            functools.partial(narrow, g, dim, end - shape[dim], shape[dim])
            for shape, end in zip(shapes, ends, strict=True)
        )

    def call(tensors, dim=0):
        """Tensors joined along a dimension."""
        tensors = [as_tensor(x) for x in tensors]
        if not tensors:
            raise ShapeError("cat", "there is nothing to join", got="an empty list")
        if not all(x.ndim for x in tensors):
            raise ShapeError("cat", "0-d tensors cannot be joined", fix="use lampion.stack")
        dim = normalize_dim("cat", dim, tensors[0].ndim)
        for x in tensors[1:]:
            if x.ndim != tensors[0].ndim or any(
                a != dim and n != m for a, (n, m) in enumerate(zip(x.shape, tensors[0].shape, strict=True))
            ):
                raise ShapeError("cat", "the shapes differ in a dimension other than dim",
                                 expected=f"dim {dim} alone to differ",
                                 got=", ".join(str(tuple(x.shape)) for x in tensors))  # fmt: skip
        dtype = tensors[0].dtype
        for x in tensors[1:]:
            dtype = dtypes.promote(dtype, x.dtype)
        return apply(cat.primitive, *(cast_to(x, dtype) for x in tensors), dim=dim)


def _total(arrays, dim):
    return sum(x.shape[dim] for x in arrays)


@operation
def narrow(x, dim, start: int, length: int):
    """The part of x from `start` on, `length` long, along `dim`. A view."""
    dim = normalize_dim("narrow", dim, x.ndim)
    if start < 0 or length < 0 or start + length > x.shape[dim]:
        raise IndexRangeError("narrow", "the part reaches outside the tensor",
                              expected=f"0 <= start <= start + length <= {x.shape[dim]}",
                              got=f"start {start}, length {length}")  # fmt: skip
    return slice_(x, [(start, start + length, 1) if a == dim else (0, n, 1) for a, n in enumerate(x.shape)])


@operation(method=False)
def stack(tensors, dim=0):
    """Tensors of one shape joined along a new dimension."""
    tensors = [as_tensor(x) for x in tensors]
    if len({x.shape for x in tensors}) > 1:
        raise ShapeError("stack", "the shapes differ", got=", ".join(str(tuple(x.shape)) for x in tensors))
    return cat([x.unsqueeze(dim) for x in tensors], dim)


def squeeze_dim(x, dim):
    """Without the dimension `dim`, whose size is 1."""
    dim = normalize_dim("squeeze", dim, x.ndim)
    return reshape(x, (*x.shape[:dim], *x.shape[dim + 1 :]))


def getitem(x, key):
    """``x[key]``: integers, slices, ``...`` and None give views; an integer tensor picks rows."""
    if isinstance(key, list):
        key = as_tensor(key)
    if isinstance(key, Tensor) and key.dtype.kind in "iu" and key.ndim:
        if not x.ndim:
            raise IndexRangeError("index", "a 0-d tensor has no rows to pick")
        key = cast_to(key, dtypes.int64)
        picked = index_select(x, 0, reshape(where(key < 0, key + x.shape[0], key), -1))
        return reshape(picked, (*key.shape, *x.shape[1:]))
    bounds, shape = _parse(x, key)
    return reshape(slice_(x, bounds), shape)


def setitem(x, key, value: Tensor | float) -> None:
    """``x[key] = value``, in place."""
    if isinstance(key, list) or (isinstance(key, Tensor) and key.ndim):
        raise LampionError(
            "setitem", "rows picked by a tensor or a list cannot be written to yet",
            got=f"x[{type(key).__name__}] = ...",
            fix="use slices, lampion.where with a mask, or scatter_add",
        )  # fmt: skip
    getitem(x, key).copy_(value)


def _parse(x, key):
    """The (start, stop, step) of every dimension, and the shape after integers and None did their work."""
    keys = list(key) if isinstance(key, tuple) else [key]
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > x.ndim:
        raise IndexRangeError("index", "there are more indices than dimensions",
                              got=f"{used} for shape {tuple(x.shape)}")  # fmt: skip
    if sum(k is Ellipsis for k in keys) > 1:
        raise IndexRangeError("index", "... may appear only once")
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    keys[at : at + 1] = [slice(None)] * (x.ndim - used)
    bounds, shape, axis = [], [], 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        size = x.shape[axis]
        if isinstance(k, slice):
            start, stop, step = k.indices(size)
            if step < 1:
                raise IndexRangeError("index", "the step of a slice must be positive", got=f"step {step}")
            stop = max(start, stop)
            shape.append(len(range(start, stop, step)))
        else:
            start = _position(k, axis, size)
            stop, step = start + 1, 1
        bounds.append((start, stop, step))
        axis += 1
    return tuple(bounds), tuple(shape)


def _position(k, axis, size):
    if isinstance(k, bool) or (isinstance(k, Tensor) and (k.ndim or k.dtype.kind == "b")):
        raise LampionError("index", "boolean masks and several index tensors are not supported",
                           fix="use lampion.where, gather or index_select")  # fmt: skip
    try:
        position = operator.index(k)
    except TypeError:
        raise IndexRangeError("index", "an index is an integer, a slice, ..., None or an integer tensor",
                              got=type(k).__name__) from None  # fmt: skip
    if not -size <= position < size:
        raise IndexRangeError("index", f"index {position} is out of range for dimension {axis}",
                              expected=f"{-size} to {size - 1}", got=str(position))  # fmt: skip
    return position + size if position < 0 else position
