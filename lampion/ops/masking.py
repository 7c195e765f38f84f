"""Masks: where they are true, what they pick, what is written there.

How many elements a mask picks depends on its values: such functions cannot be compiled, and say so.
"""

from __future__ import annotations

import math

from lampion import dtype as dtypes
from lampion.errors import DTypeError, IndexRangeError, ShapeError
from lampion.ops.advanced_indexing import index_, index_put_, one_number, places_of
from lampion.ops.creation import full
from lampion.ops.define import METHODS, kernel, operation
from lampion.ops.elementwise import where as choose
from lampion.ops.movement import broadcast_to, reshape
from lampion.ops.shapes import broadcast_shapes
from lampion.ops.splitting import unbind
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor


def _mask(name, mask):
    mask = as_tensor(mask)
    if mask.dtype is not dtypes.bool_:
        raise DTypeError(name, "a mask holds booleans", got=str(mask.dtype),
                         fix="compare: x > 0, or mask.bool()")  # fmt: skip
    return mask


@operation(inplace=True)
def masked_fill(input, mask, value):
    """`input` with one number wherever the mask is true; the two broadcast."""
    x, mask = as_tensor(input), _mask("masked_fill", mask)
    return choose(mask, one_number("masked_fill", value, x.dtype), x)


@operation
def masked_select(input, mask):
    """The elements for which the mask is true, as one row; the two broadcast.

    >>> import lampion
    >>> lampion.tensor([3, 1, 2]).masked_select(lampion.tensor([True, False, True]))
    tensor([3, 2])
    """
    x, mask = as_tensor(input), _mask("masked_select", mask)
    shape = broadcast_shapes("masked_select", [x.shape, mask.shape])
    x, mask = reshape(broadcast_to(x, shape), -1), reshape(broadcast_to(mask, shape), -1)
    return index_(x, *places_of("masked_select", mask), dims=(0,))


@operation(inplace=True)
def masked_scatter(input, mask, source):
    """`input` with the elements of `source`, one after the other, wherever the mask is true."""
    x, mask, source = as_tensor(input), _mask("masked_scatter", mask), as_tensor(source)
    if source.dtype is not x.dtype:
        raise DTypeError("masked_scatter", "input and source must have one type",
                         got=f"{x.dtype} and {source.dtype}")  # fmt: skip
    shape = broadcast_shapes("masked_scatter", [x.shape, mask.shape])
    x, mask = reshape(broadcast_to(x, shape), -1), reshape(broadcast_to(mask, shape), -1)
    (places,) = places_of("masked_scatter", mask)
    if source.numel() < places.numel():
        raise ShapeError("masked_scatter", "source has fewer elements than the mask is true",
                         expected=f"at least {places.numel()}", got=str(source.numel()))  # fmt: skip
    source = reshape(source, -1)[: places.numel()]
    return reshape(index_put_(x, source, places, dims=(0,), accumulate=False), shape)


@operation
def nonzero(input, *, as_tuple: bool = False):
    """The indices of the elements that are not zero: a row for each, or a tensor for each dimension.

    >>> import lampion
    >>> lampion.tensor([[1, 0], [0, 2]]).nonzero()
    tensor([[0, 0],
            [1, 1]])
    """
    from lampion.ops.joining import stack

    x = as_tensor(input)
    if as_tuple:
        return tuple(places_of("nonzero", x if x.ndim else reshape(x, 1)))
    if x.ndim:
        return stack(places_of("nonzero", x), 1)
    (places,) = places_of("nonzero", reshape(x, 1))
    return full((places.numel(), 0), 0, dtypes.int64)


@operation
def argwhere(input):
    """The indices of the elements that are not zero, a row for each: `nonzero` under NumPy's name."""
    return nonzero(input)


@operation
def nonzero_static(input, *, size: int, fill_value: int = -1):
    """The indices of the first `size` elements that are not zero; rows of `fill_value` where there are fewer.

    The result's shape does not depend on the values, so this can be compiled.
    """
    if size < 0:
        raise ShapeError("nonzero_static", "the size is negative", got=str(size))
    return apply(first_nonzero.primitive, as_tensor(input), size=int(size), fill_value=int(fill_value))


@kernel(public=False)
class first_nonzero:
    """The indices of the first so many elements that are not zero, filled up."""

    def infer(x, size, fill_value): return (size, len(x.shape)), dtypes.int64.numpy

    def forward(xp, x, size, fill_value):
        out = xp.full((size, x.ndim), fill_value, xp.int64)
        found = xp.argwhere(x)[:size]
        out[: len(found)] = found
        return out

    def call(x, size, fill_value): return apply(first_nonzero.primitive, x, size=size, fill_value=fill_value)


@operation(method=False)
def unravel_index(indices, shape) -> tuple[Tensor, ...]:
    """The indices along each dimension of `shape` of elements that are counted in one row.

    >>> import lampion
    >>> lampion.unravel_index(lampion.tensor([5, 2]), (2, 3))
    (tensor([1, 0]), tensor([2, 2]))
    """
    at = as_tensor(indices)
    if at.dtype.kind not in "iu":
        raise DTypeError("unravel_index", "the index must be an integer tensor", got=str(at.dtype))
    shape = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    if min(shape, default=0) < 0:
        raise ShapeError("unravel_index", "a size is negative", got=str(shape))
    return unbind(apply(coordinates.primitive, at, shape=shape)) if shape else ()


@kernel(public=False)
class coordinates:
    """The indices along each dimension of `shape` of elements that are counted in one row, stacked."""

    def infer(x, shape): return (len(shape), *x.shape), dtypes.int64.numpy

    def forward(xp, x, shape):
        count = math.prod(shape)
        bad = x[(x < 0) | (x >= count)]
        if bad.size:
            raise IndexRangeError("unravel_index", f"index {int(bad.flat[0])} is out of range",
                                  expected=f"0 to {count - 1} for shape {shape}")  # fmt: skip
        return xp.stack(xp.unravel_index(x, shape)).astype(xp.int64)

    def call(x, shape): return apply(coordinates.primitive, x, shape=shape)


def where_method(self, condition, other):
    """This tensor where the condition holds, `other` elsewhere: ``lampion.where(condition, x, other)``."""
    return choose(condition, self, other)


METHODS["where"] = where_method
