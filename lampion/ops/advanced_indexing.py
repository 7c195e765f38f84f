"""Picking and writing by tensors of indices: what is behind ``x[i, j]``, `index_select`, `index_add`...

`index` is ``x[:, i, :, j]`` for index tensors i, j along some dimensions; `index_put` is its transpose. The
other functions of this file are these two, for one dimension.
"""

from __future__ import annotations

import math

from lampion import backend
from lampion import dtype as dtypes
from lampion.autograd.sparse import SparseGradient
from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError, unwritable
from lampion.mode import known, mode
from lampion.ops.creation import full, zeros
from lampion.ops.define import cast_to, composite, kernel, operation
from lampion.ops.elementwise import mul, where
from lampion.ops.movement import broadcast_to, reshape
from lampion.ops.scatter import reduction_rule
from lampion.ops.shapes import broadcast_shapes, normalize_dim
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor

#: Beside x (and the value), only indices are saved: as many as there may be.
_INDICES = tuple(range(1, 66))


@kernel(public=False, saves=_INDICES)
class index_:
    """``x[:, i, :, j]``: the elements that the index tensors name along `dims`.

    The indices broadcast to one shape. Its dimensions stand where the indexed ones stood if these are
    neighbours, and in front of all others if not. Negative indices count from the end, if it `wraps`.
    """

    def infer(x, *indices, dims, wraps=True): return _index_shape(x, indices, dims), x.dtype

    def forward(xp, x, *indices, dims, wraps=True):
        if not wraps:
            refuse_negative("index", x, indices, dims)
        try:
            if len(dims) == 1:
                return xp.take(x, indices[0], axis=dims[0])
            return xp.ascontiguousarray(x[_key(x, indices, dims)])
        except IndexError:
            _index_shape(x, indices, dims)  # do they fit each other at all?
            refuse_out_of_range("index", x, indices, dims, wraps)
            raise

    def vjp(g, *saved, dims, wraps=True):
        def for_x(shape):
            return index_put_(zeros(shape, dtype=g.dtype), g, *saved[1:], dims=dims, accumulate=True)

        return for_x, *[None] * len(dims)

    def call(x, *indices, **params): return apply(index_.primitive, x, *indices, **params)


@kernel(public=False, saves=_INDICES[1:])
class index_put_:
    """`x` with `value` put, or added, at the elements that the index tensors name along `dims`.

    `value` broadcasts to the shape that `index` would give.
    """

    def infer(x, value, *indices, dims, accumulate, wraps=True): return x.shape, x.dtype

    def forward(xp, x, value, *indices, dims, accumulate, wraps=True):
        if not wraps:
            refuse_negative("index_put", x, indices, dims)
        out = x.copy()
        write(xp, out, value, indices, dims, accumulate, wraps)
        return out

    def vjp(g, *saved, dims, accumulate, wraps=True):
        indices = saved[2:]

        def for_x():
            if accumulate:
                return g
            return index_put_(g, full((), 0, g.dtype), *indices, dims=dims, accumulate=False)

        return for_x, lambda: index_(g, *indices, dims=dims), *[None] * len(dims)

    def call(x, value, *indices, **params): return apply(index_put_.primitive, x, value, *indices, **params)


def write(xp, out, value, indices, dims, accumulate, wraps=True):
    """Put or add `value` into an array."""
    key = _key(out, indices, dims)
    try:
        if accumulate and len(dims) == 1 and indices[0].ndim == 1 and out.flags.c_contiguous:
            _add_slices(xp, out, value, indices[0], dims[0])
        elif accumulate:
            xp.add.at(out, key, value)
        else:
            out[key] = value
    except IndexError:
        _index_shape(out, indices, dims)
        refuse_out_of_range("index_put", out, indices, dims, wraps)
        raise


def _add_slices(xp, out, value, at, dim):
    """Add slices, in the order of their indices, to those of a contiguous array.

    Element by element: NumPy has a fast loop for one index into one row only: 700 rows of
    100 numbers take 0.09 ms this way, and 0.5 ms the other.
    """
    n, inner = out.shape[dim], math.prod(out.shape[dim + 1 :])
    outer = math.prod(out.shape[:dim])
    if at.size * inner * outer > _MANY:  # the list of places would need more memory than the slices
        xp.add.at(out, (slice(None),) * dim + (at,), value)
        return
    if at.size and (at.min() < -n or at.max() >= n):
        raise IndexError
    rows = xp.arange(outer)[:, None] * n + xp.where(at < 0, at + n, at)
    places = rows.reshape(outer, at.size, 1) * inner + xp.arange(inner)
    value = xp.broadcast_to(value, (*out.shape[:dim], at.size, *out.shape[dim + 1 :]))
    xp.add.at(out.reshape(-1), places.reshape(-1), value.reshape(-1))


#: Elements up to which `_add_slices` lists all places: 32 MB of them.
_MANY = 1 << 22


def _key(x, indices, dims):
    """What NumPy is to be asked for. Its rule for where the new dimensions stand is the same."""
    key = [slice(None)] * (dims[-1] + 1)
    for dim, at in zip(dims, indices, strict=True):
        key[dim] = at
    return tuple(key)


def refuse_out_of_range(name, x, indices, dims, wraps=True):
    """The error about an index that is none, if there is one."""
    for dim, at in zip(dims, indices, strict=True):
        size = x.shape[dim]
        bad = at[(at < -size) | (at >= size)]
        if bad.size:
            raise wrong_index(name, int(bad.flat[0]), size, dim, wraps)


def refuse_negative(name, x, indices, dims):
    """The error about a negative index, if there is one."""
    for dim, at in zip(dims, indices, strict=True):
        if at.size and at.min() < 0:
            raise wrong_index(name, int(at[at < 0].flat[0]), x.shape[dim], dim, wraps=False)


def wrong_index(name, bad, size, dim, wraps=True):
    """The error about one index; the same from eager and from compiled code."""
    return IndexRangeError(
        name, f"index {bad} is out of range", got=str(bad), fix="check the labels, and the size of the table",
        expected=f"{-size * wraps} to {size - 1} along dim {dim}" if size else f"none: dim {dim} is empty",
    )  # fmt: skip


def _index_shape(x, indices, dims):
    shape = broadcast_shapes("index", [at.shape for at in indices])
    rest = [n for axis, n in enumerate(x.shape) if axis not in dims]
    at = dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0
    return (*rest[:at], *shape, *rest[at:])


def check_indices(name, x, indices, dims):
    """Index tensors of the right types that broadcast to one shape."""
    for at in indices:
        if at.dtype not in (dtypes.int64, dtypes.int32):
            raise IndexRangeError(name, "an index tensor holds integers or booleans",
                                  expected="lampion.int64, int32 or bool", got=str(at.dtype),
                                  fix="convert it: index.long()")  # fmt: skip
    if len(indices) > 1:
        broadcast_shapes(name, [at.shape for at in indices])


def places_of(name, mask):
    """Where a mask is true, as one index tensor for each of its dimensions. Depends on the data."""
    array = known(mask, f"{name}: how many elements a mask picks depends on its values",
                  "use lampion.where, or x[mask] = number")  # fmt: skip
    from lampion.tensor import wrap

    return [wrap(at) for at in array.nonzero()]


def expand_masks(name, x, keyed):
    """Pairs (dim, index tensor) with masks taken apart; a mask covers as many dimensions as it has."""
    found = []
    for dim, at in keyed:
        if at.dtype.kind != "b" and at.dtype is not dtypes.uint8:
            found.append((dim, at))
            continue
        covered = x.shape[dim : dim + at.ndim]
        if at.shape != covered:
            raise IndexRangeError(name, "the shape of a mask is that of the dimensions that it covers",
                                  expected=f"{tuple(covered)} from dim {dim} on",
                                  got=f"a mask of shape {tuple(at.shape)}")  # fmt: skip
        found += [(dim + n, part) for n, part in enumerate(places_of(name, at))]
    check_indices(name, x, [at for _, at in found], [dim for dim, _ in found])
    return found


@operation(inplace=True)
def index_put(input, indices, values, accumulate: bool = False):
    """`input` with `values` put, or added, at ``input[indices]``.

    Args:
        indices: a tuple of index tensors (or masks, or None for a whole dimension), as in ``input[i, j]``.
        values: broadcasts to the shape of ``input[indices]``.
        accumulate: add instead of replacing; an element that is named several times is added to each time.

    >>> import lampion
    >>> x = lampion.zeros(3)
    >>> x.index_put((lampion.tensor([0, 0, 2]),), lampion.ones(3), accumulate=True)
    tensor([2., 0., 1.])
    """
    x, values = as_tensor(input), as_tensor(values)
    if values.dtype is not x.dtype:
        raise DTypeError("index_put", "input and values must have one type",
                         got=f"{x.dtype} and {values.dtype}")  # fmt: skip
    keyed, dim = [], 0
    for at in indices:
        if at is None:
            dim += 1
            continue
        at = as_tensor(at)
        keyed.append((dim, at))
        dim += max(1, at.ndim) if at.dtype.kind == "b" or at.dtype is dtypes.uint8 else 1
    if dim > x.ndim:
        raise IndexRangeError("index_put", "there are more indices than dimensions",
                              got=f"{dim} for shape {tuple(x.shape)}")  # fmt: skip
    pairs = expand_masks("index_put", x, keyed)
    if not pairs:
        raise LampionError("index_put", "there are no indices", got=repr(indices))
    dims, tensors = tuple(dim for dim, _ in pairs), [at for _, at in pairs]
    check_values("index_put", x, values, tensors, dims)
    return index_put_(x, values, *tensors, dims=dims, accumulate=bool(accumulate))


def check_values(name, x, values, tensors, dims):
    """An error where the values do not broadcast to what they are to be written to."""
    if not values.ndim:
        return
    shape = _index_shape(x, tensors, dims)
    if broadcast_shapes(name, [values.shape, shape]) != shape:
        raise ShapeError(name, "the values do not fit into the elements that they are to be written to",
                         expected=f"what broadcasts to {shape}", got=str(tuple(values.shape)))  # fmt: skip


# -- along one dimension -------------------------------------------------------------------------------


def _along(name, input, dim, at):
    """x (at least 1-d), dim, and a 1-d index, checked."""
    x, at = as_tensor(input), as_tensor(at)
    dim = normalize_dim(name, dim, x.ndim)
    if at.ndim > 1:
        raise ShapeError(name, "the index must be 1-dimensional", got=str(tuple(at.shape)))
    if at.dtype not in (dtypes.int64, dtypes.int32):
        raise DTypeError(name, "the index must be an integer tensor", expected="lampion.int64",
                         got=str(at.dtype), fix="convert it: index.long()")  # fmt: skip
    return x if x.ndim else reshape(x, 1), dim, at if at.ndim else reshape(at, 1)


@operation
def index_select(input, dim, index):
    """The slices of x that a 1-d index names, along `dim`."""
    x, dim, at = _along("index_select", input, dim, index)
    picked = index_(x, at, dims=(dim,), wraps=False)
    return picked if as_tensor(input).ndim else reshape(picked, ())


@composite(saves=(1,), public=False)
class used_rows:
    """The rows of a table that an index names; its gradient holds only those rows, unless it is to have a
    gradient itself.
    """

    def forward(table, index): return index_select(table, 0, index)

    def vjp(g, table, index):
        def for_table(shape):
            if mode.grad or (mode.trace is not None and not mode.trace.compiles):
                return index_add(zeros(shape, dtype=g.dtype), 0, index, g)
            return SparseGradient(index, g, shape)

        return for_table, None


def write_rows(x, index, rows, accumulate=False, dim=0):
    """Put, or add, rows into a tensor in place, unrecorded, and touch no others: a step of an optimizer."""
    if mode.trace is not None:
        params = {"dims": (dim,), "accumulate": accumulate, "wraps": False}
        x._overwrite(index_put_(x, rows, index, **params), None)
        return
    if not x._array.flags.writeable:
        raise unwritable(x.shape)
    refuse_negative("index_put", x._array, [index._array], (dim,))
    write(backend.namespace(x._array), x._array, rows._array, [index._array], (dim,), accumulate)
    x._version[0] += 1


def pick(x, dim, at):
    """``x[:, at]`` for an index tensor along one dimension."""
    return index_(x, at, dims=(dim,))


def _with_slices(name, input, dim, at, source, write):
    """What `write` makes of x and the slices in `source`, one for every index."""
    x, dim, at = _along(name, input, dim, at)
    source = as_tensor(source)
    if source.dtype is not x.dtype:
        raise DTypeError(name, "input and source must have one type",
                         got=f"{x.dtype} and {source.dtype}")  # fmt: skip
    shape = (*x.shape[:dim], at.shape[0], *x.shape[dim + 1 :])
    if source.shape != shape and not (source.numel() == 1 and shape == (1,)):
        raise ShapeError(name, "source holds one slice for every index",
                         expected=str(shape), got=str(tuple(source.shape)))  # fmt: skip
    out = write(x, dim, at, reshape(source, shape))
    return out if out.shape == as_tensor(input).shape else reshape(out, ())


@operation(inplace=True)
def index_add(input, dim, index, source, *, alpha=1):
    """`input` with each slice of `source`, times `alpha`, added to that which its index names along `dim`."""

    def write(x, dim, at, source):
        if x.dtype.kind == "u":
            factor = alpha % (x.dtype.max + 1)  # -1 times 3 is 253 in 8 bits, as everywhere
        else:
            factor = alpha
        scaled = source if alpha == 1 else cast_to(mul(source, factor), x.dtype)
        return index_put_(x, scaled, at, dims=(dim,), accumulate=True, wraps=False)

    return _with_slices("index_add", input, dim, index, source, write)


@operation(inplace=True)
def index_copy(input, dim, index, source):
    """`input` with the slices that a 1-d index names along `dim` replaced by those of `source`."""

    def write(x, dim, at, source):
        return index_put_(x, source, at, dims=(dim,), accumulate=False, wraps=False)

    return _with_slices("index_copy", input, dim, index, source, write)


@operation(inplace=True)
def index_fill(input, dim, index, value):
    """`input` with the slices that a 1-d index names along `dim` filled with one number."""
    x, dim, at = _along("index_fill", input, dim, index)
    n = x.shape[dim]
    nothing, true = full((n,), False, dtypes.bool_), full((), True, dtypes.bool_)
    named = index_put_(nothing, true, at, dims=(0,), accumulate=False)
    named = reshape(named, n, *[1] * (x.ndim - dim - 1))
    # Not by `index_put`: a slice that is named twice is filled once, and has its gradient once.
    out = where(named, one_number("index_fill", value, x.dtype), x)
    return out if as_tensor(input).ndim else reshape(out, ())


def one_number(name, value, dtype):
    """A number, or a tensor that holds one, as a 0-d tensor of the given type."""
    if not isinstance(value, Tensor):
        return full((), value, dtype)
    if value.ndim:
        raise ShapeError(name, "the value is one number", expected="a number or a 0-d tensor",
                         got=f"shape {tuple(value.shape)}")  # fmt: skip
    return cast_to(value, dtype)


@operation(inplace=True)
def index_reduce(input, dim, index, source, reduce, *, include_self: bool = True):
    """`input` with the slices of `source` combined into those that a 1-d index names along `dim`.

    Args:
        reduce: "prod", "mean", "amax" or "amin".
        include_self: whether a slice of `input` counts among those that are combined in its place.
    """
    rule = reduction_rule("index_reduce", reduce, include_self)

    def write(x, dim, at, source):
        if not at.numel():
            return x.clone()
        size = x.shape[dim]
        everywhere = [1] * x.ndim
        everywhere[dim] = at.shape[0]
        at = broadcast_to(reshape(where(at < 0, at + size, at), everywhere), source.shape)
        return rule(x, dim, at, source)

    return _with_slices("index_reduce", input, dim, index, source, write)


@operation
def take(input, index):
    """The elements that an index names in x, read as one row."""
    return pick(reshape(as_tensor(input), -1), 0, _whole_number_index("take", index))


@operation(inplace=True)
def put_(input, index, source, accumulate: bool = False):
    """`input`, seen as one row, with the elements of `source` put, or added, at the places of an index."""
    x, source, at = as_tensor(input), as_tensor(source), _whole_number_index("put", index)
    if source.dtype is not x.dtype:
        raise DTypeError("put", "input and source must have one type",
                         got=f"{x.dtype} and {source.dtype}")  # fmt: skip
    if source.numel() != at.numel():
        raise ShapeError("put", "source holds one element for every index",
                         expected=str(at.numel()), got=str(source.numel()))  # fmt: skip
    row, source, at = reshape(x, -1), reshape(source, -1), reshape(at, -1)
    out = index_put_(row, source, at, dims=(0,), accumulate=bool(accumulate))
    return reshape(out, x.shape)


def _whole_number_index(name, at):
    at = as_tensor(at)
    if at.dtype not in (dtypes.int64, dtypes.int32):
        raise DTypeError(name, "the index must be an integer tensor", expected="lampion.int64",
                         got=str(at.dtype), fix="convert it: index.long()")  # fmt: skip
    return at


@operation
def take_along_dim(input, indices, dim=None):
    """An element of x for every index along `dim`; the other dimensions broadcast. Without `dim`: of one row.

    >>> import lampion
    >>> x = lampion.tensor([[3, 1], [4, 9]])
    >>> x.take_along_dim(lampion.tensor([[1], [0]]), dim=1)
    tensor([[1],
            [4]])
    """
    from lampion.ops.scatter import gather

    x, at = as_tensor(input), _whole_number_index("take_along_dim", indices)
    if dim is None:
        return gather(reshape(x, -1), 0, _counted_from_zero(reshape(at, -1), x.numel()))
    dim = normalize_dim("take_along_dim", dim, x.ndim)
    if x.ndim != at.ndim:
        raise ShapeError("take_along_dim", "x and indices have different numbers of dimensions",
                         got=f"x {tuple(x.shape)}, indices {tuple(at.shape)}")  # fmt: skip
    if not x.ndim:
        return gather(x, 0, at)

    def without(shape): return tuple(1 if axis == dim else n for axis, n in enumerate(shape))

    common = broadcast_shapes("take_along_dim", [without(x.shape), without(at.shape)])
    at = _counted_from_zero(at, x.shape[dim])
    x, at = (broadcast_to(t, *common[:dim], t.shape[dim], *common[dim + 1 :]) for t in (x, at))
    return gather(x, dim, at)


def _counted_from_zero(at, size):
    """Negative indices count from the end; those beyond the beginning stay what they are, an error."""
    return where(at < 0, where(at < -size, at, at + size), at)
