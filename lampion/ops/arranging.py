"""Copies with the elements in other places: repeated, rolled, turned, padded; triangles and diagonals."""

from __future__ import annotations

import numpy as np

from lampion import dtype as dtypes
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.mode import known, mode
from lampion.ops.advanced_indexing import pick
from lampion.ops.creation import full, zeros
from lampion.ops.define import METHODS, operation
from lampion.ops.elementwise import where
from lampion.ops.joining import cat
from lampion.ops.movement import broadcast_to, diagonal, different_dims, flip, put, reshape, slice_
from lampion.ops.reduce import sum
from lampion.ops.shapes import flatten_sizes, normalize_dim
from lampion.ops.views import along, expand, transpose
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor, check_device, wrap


def constant(values, dtype=dtypes.int64):
    """A tensor of numbers that are the same at every call, also while tracing."""
    array = np.asarray(values, dtype.numpy)
    return wrap(array) if mode.trace is None else wrap(mode.trace.constant(array))


# -- repeated ------------------------------------------------------------------------------------------


def repeat(self, *times, repeats=None):
    """The tensor laid out that many times along each dimension, as a copy.

    >>> import lampion
    >>> lampion.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    repeats = flatten_sizes(times if repeats is None else (repeats,))
    if len(repeats) < self.ndim or min(repeats, default=0) < 0:
        raise ShapeError("repeat", "expected a number of repetitions for every dimension",
                         expected=f"at least {self.ndim} numbers", got=str(repeats))  # fmt: skip
    shape = (1,) * (len(repeats) - self.ndim) + tuple(self.shape)
    spread = [size for n in shape for size in (1, n)]
    stretched = [size for n, times in zip(shape, repeats, strict=True) for size in (times, n)]
    out = expand(reshape(self, spread), stretched)
    out = reshape(out, [n * times for n, times in zip(shape, repeats, strict=True)])
    return out.clone() if out._base is not None or out is self else out


METHODS["repeat"] = repeat


@operation
def tile(input, *times, dims=None):
    """The tensor laid out that many times along each dimension; the last ones, where fewer are named."""
    x, dims = as_tensor(input), flatten_sizes(times if dims is None else (dims,))
    return repeat(x, (1,) * (x.ndim - len(dims)) + dims)


@operation
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Each element (or each slice along `dim`) that many times, one after the other.

    Args:
        repeats: a number, or a tensor of one for each slice. Without it, `input` holds the numbers, and the
            result says which element is repeated where.

    >>> import lampion
    >>> lampion.tensor([1, 2]).repeat_interleave(lampion.tensor([3, 1]))
    tensor([1, 1, 1, 2])
    """
    x = as_tensor(input)
    if repeats is None:
        return pick(constant(np.arange(x.shape[0])), 0, _interleaved(x, x.shape[0], output_size))
    x, dim = (reshape(x, -1), 0) if dim is None else (x, normalize_dim("repeat_interleave", dim, x.ndim))
    x = x if x.ndim else reshape(x, 1)
    if isinstance(repeats, list | tuple):
        repeats = constant(repeats)
    if isinstance(repeats, Tensor):
        if repeats.numel() == 1 and mode.trace is None:
            repeats = int(repeats.item())
        else:
            return pick(x, dim, _interleaved(repeats, x.shape[dim], output_size))
    if repeats < 0:
        raise ShapeError("repeat_interleave", "the number of repetitions is negative", got=str(repeats))
    shape = tuple(x.shape)
    x = reshape(x, (*shape[: dim + 1], 1, *shape[dim + 1 :]))
    x = broadcast_to(x, (*shape[: dim + 1], repeats, *shape[dim + 1 :]))
    return reshape(x, (*shape[:dim], shape[dim] * repeats, *shape[dim + 1 :])).clone()


def _interleaved(repeats, size, output_size):
    """Which slice stands where, as an index tensor."""
    array = known(repeats, "repeat_interleave: how often an element is repeated depends on a tensor's values",
                  "repeat by a number, or outside")  # fmt: skip
    if repeats.ndim > 1 or repeats.dtype not in (dtypes.int64, dtypes.int32):
        raise DTypeError("repeat_interleave", "repeats is a number or a 1-d integer tensor",
                         got=f"{repeats.dtype}, shape {tuple(repeats.shape)}")  # fmt: skip
    times = array if repeats.ndim else np.broadcast_to(array, (size,))
    times = np.broadcast_to(times, (size,)) if times.size == 1 else times
    if times.size != size or (times < 0).any():
        raise ShapeError("repeat_interleave", "expected one number, not negative, for every slice",
                         expected=f"{size} numbers", got=str(times.tolist())[:80])  # fmt: skip
    index = np.repeat(np.arange(size), times)
    if output_size is not None and output_size != index.size:
        raise ShapeError("repeat_interleave", "output_size is not the sum of the repetitions",
                         expected=str(index.size), got=str(output_size))  # fmt: skip
    return wrap(index)


# -- turned and rolled ---------------------------------------------------------------------------------


@operation
def fliplr(input):
    """The columns in reverse order, as a copy."""
    x = as_tensor(input)
    if x.ndim < 2:
        raise ShapeError("fliplr", "expected at least two dimensions", got=str(tuple(x.shape)))
    return flip(x, 1)


@operation
def flipud(input):
    """The rows in reverse order, as a copy."""
    x = as_tensor(input)
    if not x.ndim:
        raise ShapeError("flipud", "expected at least one dimension", got="()")
    return flip(x, 0)


@operation
def rot90(input, k: int = 1, dims=(0, 1)):
    """The plane of two dimensions turned by 90 degrees, `k` times, from the first towards the second."""
    x = as_tensor(input)
    if len(dims) != 2:
        raise ShapeError("rot90", "expected two dimensions", got=str(tuple(dims)))
    first, second = different_dims("rot90", x, *dims)
    turns = k % 4
    if turns == 0:
        return x.clone()
    if turns == 2:
        return flip(x, first, second)
    if turns == 1:
        return transpose(flip(x, second), first, second).clone()
    return flip(transpose(x, first, second), second)


@operation
def roll(input, shifts, dims=None):
    """The elements moved on by `shifts` along `dims`; what falls off at the end comes in at the beginning.

    Without `dims` the tensor is rolled as one row.

    >>> import lampion
    >>> lampion.arange(5).roll(2)
    tensor([3, 4, 0, 1, 2])
    """
    x = as_tensor(input)
    shifts = tuple(shifts) if isinstance(shifts, tuple | list) else (shifts,)
    if dims is None or dims == () or dims == []:
        if len(shifts) != 1:
            raise ShapeError("roll", "several shifts need as many dims", got=str(shifts))
        return reshape(roll(reshape(x, -1), shifts, 0), x.shape)
    dims = tuple(dims) if isinstance(dims, tuple | list) else (dims,)
    if len(dims) != len(shifts):
        raise ShapeError("roll", "shifts and dims have different lengths", got=f"{shifts} and {dims}")
    out = x
    for shift, dim in zip(shifts, dims, strict=True):
        dim = normalize_dim("roll", dim, x.ndim)
        n = x.shape[dim] if x.ndim else 1
        first = -int(shift) % n if n else 0
        if first:
            out = cat([along(out, dim, (first, n, 1)), along(out, dim, (0, first, 1))], dim)
    return out.clone() if out is x else out


# -- triangles and diagonals ---------------------------------------------------------------------------


def _triangle(name, x, k, lower):
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(name, "expected at least two dimensions", got=str(tuple(x.shape)))
    rows, columns = x.shape[-2:]
    below = np.arange(columns) - np.arange(rows)[:, None]
    keep = constant(below <= k if lower else below >= k, dtypes.bool_)
    return where(keep, x, full((), 0, x.dtype))


@operation(inplace=True)
def tril(input, diagonal: int = 0):
    """The lower triangle of matrices, up to and with a diagonal; zeros above it."""
    return _triangle("tril", input, diagonal, True)


@operation(inplace=True)
def triu(input, diagonal: int = 0):
    """The upper triangle of matrices, from a diagonal on; zeros below it."""
    return _triangle("triu", input, diagonal, False)


@operation(method=False)
def tril_indices(row: int, col: int, offset: int = 0, dtype=None, device=None):
    """The row and column indices of a lower triangle, as two rows."""
    check_device("tril_indices", device)
    return constant(np.stack(np.tril_indices(row, offset, col)), dtypes.of(dtype or dtypes.int64))


@operation(method=False)
def triu_indices(row: int, col: int, offset: int = 0, dtype=None, device=None):
    """The row and column indices of an upper triangle, as two rows."""
    check_device("triu_indices", device)
    return constant(np.stack(np.triu_indices(row, offset, col)), dtypes.of(dtype or dtypes.int64))


@operation
def diag(input, diagonal: int = 0):
    """A diagonal of a matrix; of a row, the matrix that has it as diagonal."""
    x = as_tensor(input)
    if x.ndim not in (1, 2):
        raise ShapeError("diag", "expected one or two dimensions", got=str(tuple(x.shape)))
    return diag_embed(x, diagonal) if x.ndim == 1 else _diagonal(x, diagonal).clone()


_diagonal = diagonal


@operation
def diag_embed(input, offset: int = 0, dim1: int = -2, dim2: int = -1):
    """Matrices that have the last dimension of x as a diagonal, and zeros elsewhere.

    >>> import lampion
    >>> lampion.diag_embed(lampion.tensor([1, 2]), offset=1)
    tensor([[0, 1, 0],
            [0, 0, 2],
            [0, 0, 0]])
    """
    x = as_tensor(input)
    if not x.ndim:
        raise ShapeError("diag_embed", "expected at least one dimension", got="()")
    size, ndim = x.shape[-1] + abs(offset), x.ndim + 1
    dim1, dim2 = normalize_dim("diag_embed", dim1, ndim), normalize_dim("diag_embed", dim2, ndim)
    if dim1 == dim2:
        raise ShapeError("diag_embed", "the two dimensions must differ", got=str((dim1, dim2)))
    shape = list(x.shape[:-1])
    for dim in sorted((dim1, dim2)):
        shape.insert(dim, size)
    step = (diagonal.primitive, {"offset": int(offset), "dim1": dim1, "dim2": dim2})
    return put(zeros(shape, dtype=x.dtype), x, (step,))


@operation
def diagflat(input, offset: int = 0):
    """The matrix that has all elements of x, as one row, as a diagonal."""
    return diag_embed(reshape(as_tensor(input), -1), offset)


@operation
def trace(input):
    """The sum of the diagonal of a matrix."""
    x = as_tensor(input)
    if x.ndim != 2:
        raise ShapeError("trace", "expected a matrix", got=str(tuple(x.shape)))
    return sum(_diagonal(x))


# -- padded --------------------------------------------------------------------------------------------


def pad_to(input, pad, mode="constant", value=None):
    """`input` with more elements before and after it along the last dimensions.

    What stands behind `nn.functional.pad`.

    Args:
        pad: (before, after) of the last dimension, then of the one before it, and so on. Negative numbers
            cut elements off.
        mode: "constant" fills with `value` (0), "reflect" mirrors at the outermost elements, "replicate"
            repeats them, "circular" goes on at the other end.
    """
    x, pad = as_tensor(input), tuple(int(n) for n in pad)
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ShapeError("pad", "expected two numbers for each of the last dimensions",
                         expected=f"an even number, up to {2 * x.ndim}", got=str(pad))  # fmt: skip
    sides = [(x.ndim - 1 - n, pad[2 * n], pad[2 * n + 1]) for n in range(len(pad) // 2)]
    if mode == "constant":
        return _pad_constant(x, sides, 0 if value is None else value)
    if value is not None and value != 0:
        raise LampionError("pad", f"mode {mode!r} takes no value", got=str(value))
    if mode not in ("reflect", "replicate", "circular"):
        raise LampionError("pad", "there is no such mode", got=repr(mode),
                           expected="constant, reflect, replicate or circular")  # fmt: skip
    for dim, before, after in sides:
        x = _pad_along(x, dim, before, after, mode)
    return x


def _pad_constant(x, sides, value):
    shape, inner, outer = list(x.shape), [(0, n, 1) for n in x.shape], [(0, n, 1) for n in x.shape]
    for dim, before, after in sides:
        n = x.shape[dim]
        shape[dim] = n + before + after
        if shape[dim] < 0:
            raise ShapeError("pad", "more is cut off than there is", got=f"{before}, {after} of {n}")
        # Cutting off more than the dimension holds at one side leaves nothing of it.
        start, stop = min(max(0, -before), n), max(n + min(0, after), 0)
        inner[dim] = (start, max(start, stop), 1)
        place = max(0, before)
        outer[dim] = (place, place + max(0, stop - start), 1)
    part = x if all(b == (0, n, 1) for b, n in zip(inner, x.shape, strict=True)) else slice_(x, inner)
    step = (slice_.primitive, {"bounds": tuple(outer)})
    return put(full(shape, value, x.dtype), part, (step,))


def _pad_along(x, dim, before, after, mode):
    n = x.shape[dim]
    limit = {"reflect": n - 1, "circular": n}.get(mode, max(before, after) if n else 0)
    if max(before, after) > limit:
        raise ShapeError("pad", f"mode {mode!r} cannot add that many elements to a dimension of {n}",
                         expected=f"at most {limit}", got=f"{before} and {after}")  # fmt: skip
    start, stop = max(0, -before), n + min(0, after)
    if start > stop:
        raise ShapeError("pad", "more is cut off than there is", got=f"{before}, {after} of {n}")
    parts = [along(x, dim, (start, stop, 1))]
    if before > 0:
        parts.insert(0, _beyond(x, dim, before, n, mode, True))
    if after > 0:
        parts.append(_beyond(x, dim, after, n, mode, False))
    return cat(parts, dim)


def _beyond(x, dim, count, n, mode, before):
    """The elements that come before the first, or after the last."""
    if mode == "circular":
        return along(x, dim, (n - count, n, 1) if before else (0, count, 1))
    if mode == "reflect":
        part = along(x, dim, (1, count + 1, 1) if before else (n - 1 - count, n - 1, 1))
        return apply(flip.primitive, part, dims=(dim,))
    edge = along(x, dim, (0, 1, 1) if before else (n - 1, n, 1))
    return broadcast_to(edge, (*x.shape[:dim], count, *x.shape[dim + 1 :]))


@operation(method=False)
def constant_pad_nd(input, pad, value=0):
    """`input` with more elements, all equal, before and after it along the last dimensions."""
    return pad_to(input, pad, "constant", value)

