"""Copies in which a view is replaced, and tensors that become views of what they were."""

from __future__ import annotations

import math

from lampion.errors import DTypeError, GradientError, LampionError, ShapeError
from lampion.mode import mode
from lampion.ops.arranging import constant
from lampion.ops.creation import zeros
from lampion.ops.define import METHODS, operation
from lampion.ops.movement import as_strided, diagonal, different_dims, put, reshape, slice_
from lampion.ops.shapes import flatten_sizes
from lampion.ops.views import index_along, slice_along, squeeze, swapaxes, swapdims, t, transpose, unsqueeze
from lampion.tensor import as_tensor, wrap

# -- a view replaced -----------------------------------------------------------------------------------


def _replaced(name, x, source, step):
    """A copy of x in which one view is replaced by `source`, which has the view's shape."""
    x, source = as_tensor(x), as_tensor(source)
    if source.dtype is not x.dtype:
        raise DTypeError(name, "input and src must have one type", got=f"{x.dtype} and {source.dtype}")
    primitive, params = step
    shape, _ = primitive.infer(x._array, **params)
    if tuple(shape) != tuple(source.shape):
        raise ShapeError(name, "src must have the shape of what it replaces",
                         expected=str(tuple(shape)), got=str(tuple(source.shape)))  # fmt: skip
    return put(x, source, (step,))


@operation
def select_scatter(input, src, dim, index):
    """A copy of x in which the part at one index along `dim` is replaced by `src`."""
    x = as_tensor(input)
    dim, index = index_along("select_scatter", x, dim, index)
    bounds = (*((0, n, 1) for n in x.shape[:dim]), index)
    return _replaced("select_scatter", x, src, (slice_.primitive, {"bounds": bounds}))


@operation
def slice_scatter(input, src, dim=0, start=None, end=None, step=1):
    """A copy of x in which the slice ``start:end:step`` along `dim` is replaced by `src`."""
    x = as_tensor(input)
    dim, bound = slice_along("slice_scatter", x, dim, start, end, step)
    bounds = (*((0, n, 1) for n in x.shape[:dim]), bound)
    return _replaced("slice_scatter", x, src, (slice_.primitive, {"bounds": bounds}))


@operation
def diagonal_scatter(input, src, offset=0, dim1=0, dim2=1):
    """A copy of x in which a diagonal is replaced by `src`."""
    x = as_tensor(input)
    dim1, dim2 = different_dims("diagonal_scatter", x, dim1, dim2)
    step = (diagonal.primitive, {"offset": int(offset), "dim1": dim1, "dim2": dim2})
    return _replaced("diagonal_scatter", x, src, step)


@operation
def as_strided_scatter(input, src, size, stride, storage_offset=None):
    """A copy of x in which the elements that `as_strided` names are replaced by `src`."""
    out = as_tensor(input)
    out = reshape(reshape(out, -1).clone(), out.shape)  # the elements in order, whatever the input's layout
    place = as_strided(out, size, stride, storage_offset)
    if tuple(as_tensor(src).shape) != tuple(place.shape):
        raise ShapeError("as_strided_scatter", "src must have the shape of what it replaces",
                         expected=str(tuple(place.shape)), got=str(tuple(src.shape)))  # fmt: skip
    place.copy_(src)
    return out


# -- in place ------------------------------------------------------------------------------------------


def _inindex_along(name, function):
    def method(self, *args, **kwargs):
        become(self, name, lambda x: function(x, *args, **kwargs))
        return self

    method.__name__ = method.__qualname__ = name
    method.__module__ = __name__
    method.__doc__ = f"`{name[:-1]}`, of this tensor itself: its shape changes, its memory does not."
    METHODS[name] = method


def become(x, name, function):
    """Let x see its memory as the view that `function` makes of it does."""
    if mode.trace is not None and hasattr(x._array, "flags"):  # an array: the tensor is from outside
        mode.trace.refuse(f"{name} changes the shape of a tensor in place", f"use {name[:-1]} instead")
    if mode.grad and x.requires_grad:
        x._check_inplace(name, x._follows)
    # What x was lives on without a name: the owner of the memory that x becomes a view of.
    before = wrap(x._array)
    before._nameless = _is_nameless(x._base)
    state = x.__dict__
    before.__dict__.update({key: state[key] for key in _STATE if key in state})
    view = function(before)
    if view is before:
        return
    for key in _STATE:
        state.pop(key, None)
    state.update({key: view.__dict__[key] for key in _STATE if key in view.__dict__})


#: What says where a tensor's elements are, and how it came about.
_STATE = (
    "_array", "_version", "_node", "_requires_grad", "_base", "_chain", "_follows", "_path", "_seen", "_weak",
)  # fmt: skip

for _name, _function in (
    ("squeeze_", squeeze), ("unsqueeze_", unsqueeze), ("transpose_", transpose), ("t_", t),
    ("swapaxes_", swapaxes), ("swapdims_", swapdims), ("as_strided_", as_strided),
):  # fmt: skip
    _inindex_along(_name, _function)


def _is_nameless(base):
    """Whether nothing but what it became, and views of that, refers to the tensor that owns the memory."""
    return base is None or base.__dict__.get("_nameless", False)


def resize_(self, *sizes, memory_format=None):
    """Give this tensor another size; its first elements, in memory, stay. New ones are zeros.

    Where the new size is larger, the tensor gets memory of its own: views made before keep the old one. So a
    view cannot become larger, and a tensor that requires a gradient cannot be resized at all.

    >>> import lampion
    >>> lampion.arange(4).resize_(3, 2)
    tensor([[0, 1],
            [2, 3],
            [0, 0]])
    """
    sizes = flatten_sizes(sizes)
    if mode.trace is not None:
        mode.trace.refuse("resizes a tensor", "make a new one")
    if self.requires_grad:
        raise GradientError("resize_", "a tensor that requires a gradient cannot be resized")
    if min(sizes, default=0) < 0:
        raise ShapeError("resize_", "a size is negative", got=str(sizes))
    count = math.prod(sizes)
    if count <= self.numel() and self.is_contiguous():
        become(self, "resize_", lambda x: reshape(reshape(x, -1)[:count], sizes))
        return self
    if not _is_nameless(self._base):
        raise LampionError("resize_", "a view cannot become larger", got=f"{tuple(self.shape)} to {sizes}",
                           fix="clone() it first")  # fmt: skip
    flat, more = self._array.reshape(-1), zeros(count, dtype=self.dtype)._array
    more[: flat.size] = flat[:count]
    for key in _STATE:
        self.__dict__.pop(key, None)
    self._array, self._version = more.reshape(sizes), [0, None]
    return self


def resize_as_(self, other, *, memory_format=None):
    """Give this tensor the size of another one: see `resize_`."""
    return resize_(self, other.shape)


def fill_diagonal_(self, fill_value, wrap: bool = False):
    """Fill the main diagonal with one number.

    Args:
        wrap: in a matrix with more rows than columns, start again at the left, one row below the end.

    >>> import lampion
    >>> lampion.zeros(2, 3).fill_diagonal_(5)
    tensor([[5., 0., 0.],
            [0., 5., 0.]])
    """
    if self.ndim < 2 or (self.ndim > 2 and len(set(self.shape)) > 1):
        raise ShapeError("fill_diagonal_", "expected a matrix, or more dimensions of one size",
                         got=str(tuple(self.shape)))  # fmt: skip
    if self.ndim > 2:
        self[(constant(range(self.shape[0])),) * self.ndim] = fill_value
        return self
    rows, columns = self.shape
    for start in range(0, rows if wrap and columns else 1, columns + 1):
        diagonal(self[start:]).fill_(fill_value)
    return self


METHODS.update({"fill_diagonal_": fill_diagonal_, "resize_": resize_, "resize_as_": resize_as_})
