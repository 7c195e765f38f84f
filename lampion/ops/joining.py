"""Tensors joined into one: cat, stack, and what is named after directions."""

from __future__ import annotations

import functools
import itertools

from lampion import dtype as dtypes
from lampion.errors import ShapeError
from lampion.ops.creation import zeros
from lampion.ops.define import OPERATIONS, cast_to, kernel, operation
from lampion.ops.movement import broadcast_to, put, reshape, slice_
from lampion.ops.shapes import normalize_dim
from lampion.ops.views import along, atleast_1d, atleast_2d, atleast_3d, unsqueeze
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor


@kernel(saves="shapes")
class cat:
    """Tensors joined along a dimension."""

    def infer(*arrays, dim):
        first = arrays[0].shape
        return (*first[:dim], sum(x.shape[dim] for x in arrays), *first[dim + 1 :]), arrays[0].dtype

    def forward(xp, *arrays, dim): return xp.concatenate(arrays, axis=dim)

    def vjp(g, shapes, dim):
        """Each input's gradient is its part of g."""
        ends = list(itertools.accumulate(shape[dim] for shape in shapes))

        def part(start, stop): return lambda: along(g, dim, (start, stop, 1))

        return tuple(part(end - shape[dim], end) for shape, end in zip(shapes, ends, strict=True))

    def call(tensors, dim=0):
        """Tensors joined along a dimension.

        All other dimensions must be equal. (An empty tensor of one dimension joins with anything.)

        >>> import lampion
        >>> lampion.cat([lampion.ones(2, 1), lampion.zeros(2, 2)], dim=1)
        tensor([[1., 0., 0.],
                [1., 0., 0.]])
        """
        tensors = [x if isinstance(x, Tensor) else as_tensor(x) for x in tensors]
        if not tensors:
            raise ShapeError("cat", "there is nothing to join", got="an empty list")
        kinds = {(x._array.dtype, len(x._array.shape), x._array.shape[1:]) for x in tensors}
        if dim == 0 and len(kinds) == 1 and tensors[0]._array.shape:
            return apply(cat.primitive, *tensors, dim=0)  # nothing to convert: a common case
        if not all(x.ndim for x in tensors):
            raise ShapeError("cat", "0-d tensors cannot be joined", fix="use lampion.stack")
        dtype = common_dtype(tensors)
        parts = [x for x in tensors if x.shape != (0,)] or tensors[:1]
        first = parts[0]
        dim = normalize_dim("cat", dim, first.ndim)
        for x in parts[1:]:
            if x.ndim != first.ndim or any(
                a != dim and n != m for a, (n, m) in enumerate(zip(x.shape, first.shape, strict=True))
            ):
                raise ShapeError("cat", "the shapes differ in a dimension other than dim",
                                 expected=f"dim {dim} alone to differ",
                                 got=", ".join(str(tuple(x.shape)) for x in tensors))  # fmt: skip
        if first.ndim == 1:
            parts = tensors  # also the empty ones, whose gradients are empty
        return apply(cat.primitive, *(cast_to(x, dtype) for x in parts), dim=dim)


def common_dtype(tensors):
    """The type that tensors of several types are brought to: 0-d ones count less."""
    with_dims = [x.dtype for x in tensors if x.ndim]
    dtype = functools.reduce(dtypes.promote, with_dims) if with_dims else None
    alone = [x.dtype for x in tensors if not x.ndim]
    if not alone:
        return dtype
    number = functools.reduce(dtypes.promote, alone)
    return number if dtype is None else dtypes.combine(dtype, number)


OPERATIONS["concat"] = OPERATIONS["concatenate"] = cat


@operation(method=False)
def stack(tensors, dim=0):
    """Tensors of one shape joined along a new dimension.

    >>> import lampion
    >>> lampion.stack([lampion.zeros(2), lampion.ones(2)])
    tensor([[0., 0.],
            [1., 1.]])
    """
    tensors = [as_tensor(x) for x in tensors]
    if not tensors:
        raise ShapeError("stack", "there is nothing to join", got="an empty list")
    if len({x.shape for x in tensors}) > 1:
        raise ShapeError("stack", "the shapes differ", got=", ".join(str(tuple(x.shape)) for x in tensors))
    dim = normalize_dim("stack", dim, tensors[0].ndim + 1)
    return cat([unsqueeze(x, dim) for x in tensors], dim)


def _listed(name, tensors):
    tensors = [as_tensor(x) for x in tensors]
    if not tensors:
        raise ShapeError(name, "there is nothing to join", got="an empty list")
    return tensors


@operation(method=False)
def hstack(tensors):
    """Tensors joined side by side: along dimension 1, or 0 where that is the only one."""
    tensors = [atleast_1d(x) for x in _listed("hstack", tensors)]
    return cat(tensors, 0 if tensors[0].ndim == 1 else 1)


@operation(method=False)
def vstack(tensors):
    """Tensors joined one below the other: rows, along dimension 0."""
    return cat([atleast_2d(x) for x in _listed("vstack", tensors)], 0)


OPERATIONS["row_stack"] = vstack


@operation(method=False)
def dstack(tensors):
    """Tensors joined one behind the other: along dimension 2."""
    return cat([atleast_3d(x) for x in _listed("dstack", tensors)], 2)


@operation(method=False)
def column_stack(tensors):
    """Tensors joined side by side; those of at most one dimension become columns."""
    tensors = [reshape(x, x.numel(), 1) if x.ndim < 2 else x for x in _listed("column_stack", tensors)]
    return cat(tensors, 1)


@operation(method=False)
def block_diag(*tensors):
    """A matrix with the given ones along its diagonal, and zeros elsewhere.

    >>> import lampion
    >>> lampion.block_diag(lampion.ones(1, 2), lampion.tensor([[2.0]]))
    tensor([[1., 1., 0.],
            [0., 0., 2.]])
    """
    blocks = [atleast_2d(as_tensor(x)) for x in tensors] or [zeros(1, 0)]
    if any(x.ndim != 2 for x in blocks):
        raise ShapeError("block_diag", "the tensors are matrices, rows or numbers",
                         got=", ".join(str(tuple(x.shape)) for x in tensors))  # fmt: skip
    dtype = common_dtype([as_tensor(x) for x in tensors]) if tensors else blocks[0].dtype
    rows, columns = (sum(x.shape[dim] for x in blocks) for dim in (0, 1))
    out, top, left = zeros(rows, columns, dtype=dtype), 0, 0
    for block in blocks:
        down, right = top + block.shape[0], left + block.shape[1]
        bounds = ((top, down, 1), (left, right, 1))
        out = put(out, cast_to(block, dtype), ((slice_.primitive, {"bounds": bounds}),))
        top, left = down, right
    return out


@operation(method=False)
def meshgrid(*tensors, indexing=None) -> tuple[Tensor, ...]:
    """The coordinates of a grid: for each 1-d tensor, its numbers at every point. Views.

    Args:
        indexing: "ij" (the default): the first tensor runs along the rows; "xy": along the columns.

    >>> import lampion
    >>> rows, columns = lampion.meshgrid(lampion.arange(2), lampion.arange(3), indexing="ij")
    >>> rows
    tensor([[0, 0, 0],
            [1, 1, 1]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = tensors[0]
    tensors = [as_tensor(x) for x in tensors]
    if indexing not in (None, "ij", "xy"):
        raise ShapeError("meshgrid", 'indexing is "ij" or "xy"', got=repr(indexing))
    if not tensors or any(x.ndim > 1 for x in tensors):
        raise ShapeError("meshgrid", "expected 1-d tensors",
                         got=", ".join(str(tuple(x.shape)) for x in tensors))  # fmt: skip
    sizes = [x.numel() for x in tensors]
    order = list(range(len(tensors)))
    if indexing == "xy" and len(order) > 1:
        order[:2] = [1, 0]
    shape = tuple(sizes[n] for n in order)
    grids = []
    for number, x in enumerate(tensors):
        own = [1] * len(tensors)
        own[order.index(number)] = x.numel()
        grids.append(broadcast_to(reshape(x, own), shape))
    return tuple(grids)


@operation(method=False)
def cartesian_prod(*tensors):
    """All ways to choose one number of each 1-d tensor, as rows."""
    if len(tensors) == 1:
        return as_tensor(tensors[0])
    return stack([reshape(grid, -1) for grid in meshgrid(*tensors, indexing="ij")], 1)


@operation
def combinations(input, r: int = 2, with_replacement: bool = False):
    """All ways to choose `r` elements of a 1-d tensor, in order, as rows.

    >>> import lampion
    >>> lampion.combinations(lampion.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    from lampion.ops.advanced_indexing import pick
    from lampion.ops.arranging import constant

    x = as_tensor(input)
    if x.ndim != 1:
        raise ShapeError("combinations", "expected a 1-d tensor", got=str(tuple(x.shape)))
    if r < 0:
        raise ShapeError("combinations", "the number of elements may not be negative", got=str(r))
    if r == 0:
        return zeros(0, dtype=x.dtype)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(x.shape[0]), r))
    return reshape(pick(x, 0, constant([place for row in rows for place in row])), (len(rows), r))
