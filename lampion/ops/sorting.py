"""Sorting, and searching in what is sorted.

`order` is the one that sorts: it gives the permutation, and everything else takes elements by it, which
is where gradients come from.
"""

from __future__ import annotations

from lampion import dtype as dtypes
from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError
from lampion.ops.creation import zeros
from lampion.ops.define import apply_wide, cast_to, kernel, operation, promote, refuse_complex
from lampion.ops.movement import reshape
from lampion.ops.reduce import found_at
from lampion.ops.results import Found
from lampion.ops.scatter import gather
from lampion.ops.shapes import normalize_dim
from lampion.ops.views import along
from lampion.tensor import Tensor, as_tensor


@kernel(public=False)
class order:
    """The indices that sort x along `dim`, equal elements in the order in which they are.

    A NaN counts as larger than all numbers: it is last, and the first if the order is descending.
    """

    def infer(x, dim, descending): return x.shape, dtypes.int64.numpy

    def forward(xp, x, dim, descending):
        if not descending:
            return xp.argsort(x, axis=dim, kind="stable")
        # Reversed twice: descending, but equal elements still in their order.
        backwards = xp.flip(xp.argsort(xp.flip(x, dim), axis=dim, kind="stable"), dim)
        return x.shape[dim] - 1 - backwards

    def call(x, dim, descending):
        refuse_complex("sort", x)
        return apply_wide(order.primitive, x, dim=dim, descending=descending)


@kernel(public=False)
class leading:
    """The indices of the `count` largest (or smallest) elements along `dim`, in order, by way of `order`."""

    def infer(x, dim, count, largest):
        return tuple(count if a == dim else n for a, n in enumerate(x.shape)), dtypes.int64.numpy

    def forward(xp, x, dim, count, largest):
        n = x.shape[dim]
        sort = order.primitive.forward
        if count * 4 > n or not x.size or not count:
            return xp.take(sort(xp, x, dim, largest), xp.arange(count), axis=dim)
        # Which they are takes no sorting of all: those beyond the last one, and the first of its equals.
        x = xp.moveaxis(x, dim, -1)
        nan = x != x
        at = n - count if largest else count - 1
        last = xp.partition(x, at, axis=-1)[..., at : at + 1]
        beyond = (x > last) | (nan & (last == last)) if largest else (x < last) | (~nan & (last != last))
        equal = (x == last) | (nan & (last != last))
        left = count - xp.count_nonzero(beyond, axis=-1, keepdims=True)
        if (xp.count_nonzero(equal, axis=-1, keepdims=True) > left).any():
            equal &= xp.cumsum(equal, axis=-1) <= left
        chosen = beyond | equal
        places = (xp.flatnonzero(chosen) % n).reshape(*x.shape[:-1], count)
        ordered = sort(xp, xp.take_along_axis(x, places, -1), x.ndim - 1, largest)
        return xp.moveaxis(xp.take_along_axis(places, ordered, -1), -1, dim)

    def call(x, dim, count, largest):
        refuse_complex("topk", x)
        return apply_wide(leading.primitive, x, dim=dim, count=count, largest=largest)


@operation
def argsort(input, dim: int = -1, descending: bool = False, stable: bool = False):
    """The indices that sort a tensor along a dimension. Always stable: equal elements keep their order."""
    x = as_tensor(input)
    dim = normalize_dim("argsort", dim, x.ndim)
    return order(x, dim, bool(descending)) if x.ndim else zeros(dtype=dtypes.int64)


@operation
def sort(input, dim: int = -1, descending: bool = False, stable: bool = False) -> Found:
    """The elements in order along a dimension, and where each was. NaN counts as the largest.

    Always stable: equal elements keep their order.

    >>> import lampion
    >>> values, indices = lampion.sort(lampion.tensor([3, 1, 2]))
    >>> values, indices
    (tensor([1, 2, 3]), tensor([1, 2, 0]))
    """
    x = as_tensor(input)
    indices = argsort(x, dim, descending)
    return Found(gather(x, dim, indices) if x.ndim else x.clone(), indices)


@operation
def msort(input):
    """The elements in order along the first dimension."""
    return sort(input, 0).values


@operation
def topk(input, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Found:
    """The `k` largest (or smallest) elements along a dimension, and where they are. In order.

    >>> import lampion
    >>> lampion.topk(lampion.tensor([3, 1, 2]), 2).values
    tensor([3, 2])
    """
    x = as_tensor(input)
    dim = normalize_dim("topk", dim, x.ndim)
    n = x.shape[dim] if x.ndim else 1
    if not 0 <= k <= n:
        raise IndexRangeError("topk", "there are not as many elements", expected=f"0 to {n}", got=f"k={k}")
    if not x.ndim:
        none = Found(reshape(x, 1)[:0], zeros(0, dtype=dtypes.int64))
        return found_at(x, 0, argsort(x), True) if k else none
    indices = leading(x, dim, k, bool(largest))
    return Found(gather(x, dim, indices), indices)


@operation
def kthvalue(input, k: int, dim: int = -1, keepdim: bool = False) -> Found:
    """The `k`-th smallest element along a dimension, counted from 1, and where it is.

    >>> import lampion
    >>> lampion.kthvalue(lampion.tensor([3, 1, 2]), 2)
    Found(values=tensor(2), indices=tensor(2))
    """
    x = as_tensor(input)
    dim = normalize_dim("kthvalue", dim, x.ndim)
    n = x.shape[dim] if x.ndim else 1
    if not 1 <= k <= n:
        raise IndexRangeError("kthvalue", "there is no such element", expected=f"1 to {n}", got=str(k))
    indices = along(order(x, dim, False), dim, (k - 1, k, 1)).clone() if x.ndim else argsort(x)
    return found_at(x, dim, indices, keepdim)


# -- searching -------------------------------------------------------------------------------------------


@kernel(public=False)
class places_among:
    """For each of `values`, how many elements of its row of `boundaries` are smaller (or: not larger)."""

    def infer(boundaries, values, right): return values.shape, dtypes.int64.numpy

    def forward(xp, boundaries, values, right):
        side = "right" if right else "left"
        if boundaries.ndim == 1:
            return xp.searchsorted(boundaries, values, side)
        out = xp.empty(values.shape, xp.int64)
        for row in xp.ndindex(values.shape[:-1]):
            out[row] = xp.searchsorted(boundaries[row], values[row], side)
        return out

    def call(boundaries, values, right):
        boundaries, values = promote("searchsorted", boundaries, values)
        return apply_wide(places_among.primitive, boundaries, values, right=right)


@operation(method=False)
def searchsorted(
    sorted_sequence, input, *, out_int32: bool = False, right: bool = False,
    side: str | None = None, sorter: Tensor | None = None,
):  # fmt: skip
    """Where elements would have to be put into a sorted sequence, so that it stays sorted.

    Args:
        sorted_sequence: in ascending order along the last dimension; one row, or one for each row of `input`.
        right, side: behind equal elements ("right"), instead of before them ("left").
        sorter: the order in which `sorted_sequence`, then unsorted, is ascending.
        out_int32: the result as int32 instead of int64.

    >>> import lampion
    >>> lampion.searchsorted(lampion.tensor([1, 3, 5]), lampion.tensor([0, 3, 9]))
    tensor([0, 1, 3])
    """
    sequence, x = as_tensor(sorted_sequence), as_tensor(input)
    if side not in (None, "left", "right") or (side == "left" and right):
        raise LampionError("searchsorted", "side is unknown, or contradicts right", expected="left or right",
                           got=f"side={side!r}, right={right}")  # fmt: skip
    if not sequence.ndim or (sequence.ndim > 1 and sequence.shape[:-1] != x.shape[:-1]):
        raise ShapeError("searchsorted", "expected one row, or one for every row that is searched for",
                         got=f"{tuple(sequence.shape)}, {tuple(x.shape)}")  # fmt: skip
    if sorter is not None:
        if sorter.shape != sequence.shape or sorter.dtype is not dtypes.int64:
            raise DTypeError("searchsorted", "the sorter is an int64 tensor in the shape of the sequence",
                             got=f"{sorter.dtype}, {tuple(sorter.shape)}")  # fmt: skip
        sequence = gather(sequence, -1, sorter)
    found = places_among(sequence, x, bool(right) or side == "right")
    return cast_to(found, dtypes.int32) if out_int32 else found


@operation(method=False)
def bucketize(input, boundaries, *, out_int32: bool = False, right: bool = False):
    """The number of the bucket, between ascending boundaries, that each element lies in.

    >>> import lampion
    >>> lampion.bucketize(lampion.tensor([0, 3, 9]), lampion.tensor([1, 3, 5]))
    tensor([0, 1, 3])
    """
    boundaries = as_tensor(boundaries)
    if boundaries.ndim != 1:
        raise ShapeError("bucketize", "expected one row of boundaries", got=str(tuple(boundaries.shape)))
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)
