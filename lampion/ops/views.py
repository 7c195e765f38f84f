"""Views made of the primitives of `movement.py`: the dimensions renamed, and parts taken.

All results share memory with their input, as in PyTorch: what is written to one is seen in the other.
"""

from __future__ import annotations

import math

from lampion import dtype as dtypes
from lampion.errors import IndexRangeError, ShapeError
from lampion.mode import mode
from lampion.ops.define import METHODS, movement, operation
from lampion.ops.movement import (
    broadcast_to,
    complete_shape,
    permute,
    reshape,
    slice_,
    windows,
)  # fmt: skip
from lampion.ops.shapes import broadcast_shapes, flatten_sizes, normalize_dim
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor


def _method(function):
    """A method of Tensor that is no function of its own, as in PyTorch."""
    METHODS[function.__name__] = function
    return function


# -- the dimensions in another order -------------------------------------------------------------------


@operation
def transpose(input, dim0, dim1):
    """Two dimensions exchanged."""
    x = as_tensor(input)
    dims = list(range(x.ndim))
    a, b = normalize_dim("transpose", dim0, x.ndim), normalize_dim("transpose", dim1, x.ndim)
    if x.ndim:
        dims[a], dims[b] = dims[b], dims[a]
    return apply(permute.primitive, x, dims=tuple(dims))


@operation
def swapaxes(input, axis0, axis1):
    """Two dimensions exchanged: `transpose` under NumPy's name."""
    return transpose(input, axis0, axis1)


@operation
def swapdims(input, dim0, dim1):
    """Two dimensions exchanged: `transpose` under another name."""
    return transpose(input, dim0, dim1)


@operation
def movedim(input, source, destination):
    """The dimensions `source` moved to the places `destination`; the others keep their order.

    >>> import lampion
    >>> lampion.zeros(2, 3, 4).movedim(0, -1).shape
    (3, 4, 2)
    """
    x = as_tensor(input)
    places = []
    for name, dims in (("source", source), ("destination", destination)):
        dims = dims if isinstance(dims, tuple | list) else (dims,)
        places.append([normalize_dim("movedim", d, x.ndim) for d in dims])
        if len(set(places[-1])) < len(places[-1]):
            raise ShapeError("movedim", f"{name} names a dimension twice", got=str(tuple(dims)))
    if len(places[0]) != len(places[1]):
        raise ShapeError("movedim", "source and destination have different lengths",
                         got=f"{source} and {destination}")  # fmt: skip
    moved = dict(zip(places[1], places[0], strict=True))
    rest = iter(d for d in range(x.ndim) if d not in places[0])
    dims = [moved[d] if d in moved else next(rest) for d in range(x.ndim)]
    return apply(permute.primitive, x, dims=tuple(dims))


@operation
def moveaxis(input, source, destination):
    """The dimensions `source` moved to the places `destination`: `movedim` under NumPy's name."""
    return movedim(input, source, destination)


@operation
def t(input):
    """A matrix transposed; tensors of fewer dimensions as they are."""
    x = as_tensor(input)
    if x.ndim > 2:
        raise ShapeError("t", "expected at most two dimensions", got=str(tuple(x.shape)),
                         fix="use x.mT, x.transpose(...) or x.permute(...)")  # fmt: skip
    return full_transpose(x)


def matrix_transpose(x):
    """The last two dimensions exchanged (``x.mT``)."""
    if x.ndim < 2:
        raise ShapeError("mT", "a matrix has at least two dimensions", got=str(tuple(x.shape)))
    n = x.ndim
    return apply(permute.primitive, x, dims=(1, 0) if n == 2 else (*range(n - 2), n - 1, n - 2))


def full_transpose(x):
    """All dimensions in reverse order (``x.T``)."""
    return apply(permute.primitive, x, dims=tuple(range(x.ndim))[::-1])


@operation
def adjoint(input):
    """The last two dimensions exchanged, and complex numbers conjugated (``x.mH``)."""
    from lampion.ops.complex_numbers import matrix_adjoint

    return matrix_adjoint(as_tensor(input))


# -- other shapes --------------------------------------------------------------------------------------


@operation
def squeeze(input, dim=None):
    """Without the dimensions of size 1 (all of them, or those named)."""
    x = as_tensor(input)
    named = range(x.ndim) if dim is None else dim if isinstance(dim, tuple | list) else (dim,)
    drop = [normalize_dim("squeeze", d, x.ndim) for d in named]
    if len(set(drop)) < len(drop):
        raise ShapeError("squeeze", "a dimension is named twice", got=f"dim={dim}")
    return reshape(x, tuple(n for axis, n in enumerate(x.shape) if n != 1 or axis not in drop))


@operation
def unsqueeze(input, dim):
    """With a new dimension of size 1 at `dim`."""
    x = as_tensor(input)
    shape = x._array.shape
    axis = normalize_dim("unsqueeze", dim, len(shape) + 1)
    return apply(reshape.primitive, x, shape=(*shape[:axis], 1, *shape[axis:]))


def squeeze_dim(x, dim):
    """Without the dimension `dim`, whose size is 1."""
    dim = normalize_dim("squeeze", dim, x.ndim)
    return reshape(x, (*x.shape[:dim], *x.shape[dim + 1 :]))


@operation
def flatten(input, start_dim=0, end_dim=-1):
    """The dimensions from `start_dim` to `end_dim` as one."""
    x = as_tensor(input)
    if not x.ndim:
        return reshape(x, 1)
    first, last = normalize_dim("flatten", start_dim, x.ndim), normalize_dim("flatten", end_dim, x.ndim)
    if first > last:
        raise ShapeError("flatten", "start_dim comes after end_dim", got=f"{start_dim}, {end_dim}")
    return reshape(x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


@operation
def unflatten(input, dim, sizes):
    """One dimension as several, whose sizes multiply to its own; one of them may be -1."""
    x, sizes = as_tensor(input), flatten_sizes((sizes,))
    dim = normalize_dim("unflatten", dim, x.ndim)
    if not sizes:
        raise ShapeError("unflatten", "expected at least one size", got="()")
    sizes = complete_shape("unflatten", sizes, x.shape[dim : dim + 1])
    return reshape(x, (*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


@operation
def ravel(input):
    """All elements as one row."""
    return reshape(as_tensor(input), -1)


@_method
def expand(self, *sizes, size=None):
    """The elements repeated along dimensions of size 1; -1 keeps a size."""
    return broadcast_to(self, *sizes, size=size)


@_method
def expand_as(self, other):
    """The elements repeated to fill the shape of another tensor."""
    return broadcast_to(self, other.shape)


@_method
def reshape_as(self, other):
    """The same elements in the shape of another tensor."""
    return reshape(self, other.shape)


@_method
def view_as(self, other):
    """The same memory in the shape of another tensor."""
    return view(self, other.shape)


@_method
def view(self, *shape, dtype=None, size=None):
    """The same memory in another shape, or read as another type: ``x.view(3, 4)``, ``x.view(lampion.int32)``.

    Where the elements do not lie so that they can be seen in that shape, an error: `reshape` would copy.
    """
    shape = shape if size is None else (size,)
    if dtype is None and len(shape) == 1 and isinstance(shape[0], dtypes.DType):
        (dtype,) = shape
    if dtype is not None:
        return _view_of_type(self, dtypes.of(dtype))
    out = reshape(self, *shape)
    if out is not self and out._base is None:
        raise ShapeError("view", "the elements do not lie in memory so that they can be seen in that shape",
                         got=f"{tuple(self.shape)} as {tuple(out.shape)}, not contiguous",
                         fix="use reshape(), which copies where it must, or contiguous() first")  # fmt: skip
    return out


@movement(public=False)
class reinterpret:
    """The same bytes as elements of another type."""

    def forward(xp, x, dtype): return x.view(dtype.numpy)

    def infer(x, dtype):
        if x.dtype.itemsize == dtype.itemsize:
            return x.shape, dtype.numpy
        return (*x.shape[:-1], x.shape[-1] * x.dtype.itemsize // dtype.itemsize), dtype.numpy

    def call(x, dtype): return apply(reinterpret.primitive, x, dtype=dtype)


def _view_of_type(x, dtype):
    if dtype is x.dtype:
        return x
    if mode.trace is not None:
        mode.trace.refuse("reads the bytes of a tensor as another type", "do that outside")
    old, new = x.dtype.itemsize, dtype.itemsize
    if old != new and (not x.ndim or x.shape[-1] * old % new or (x.numel() and x._array.strides[-1] != old)):
        raise ShapeError(
            "view", f"the last dimension cannot be read as {dtype}",
            expected=f"contiguous elements along it, that fill a multiple of {new} bytes",
            got=f"shape {tuple(x.shape)} of {x.dtype}", fix="contiguous() first, or convert: x.to(dtype)",
        )  # fmt: skip
    return reinterpret(x, dtype)


@operation(method=False)
def broadcast_tensors(*tensors) -> tuple[Tensor, ...]:
    """All tensors stretched to the shape that they have together."""
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = tensors[0]
    tensors = [as_tensor(x) for x in tensors]
    shape = broadcast_shapes("broadcast_tensors", [x.shape for x in tensors])
    return tuple(broadcast_to(x, shape) for x in tensors)


@operation(method=False)
def broadcast_shapes_(*shapes) -> tuple[int, ...]:
    """The shape that all of these broadcast to.

    >>> import lampion
    >>> lampion.broadcast_shapes((3, 1), (4,), 1)
    (3, 4)
    """
    shapes = [(n,) if isinstance(n, int) else tuple(map(int, n)) for n in shapes]
    for shape in shapes:
        if min(shape, default=0) < 0:
            raise ShapeError("broadcast_shapes", "a size is negative", got=str(shape))
    return broadcast_shapes("broadcast_shapes", shapes)


def _at_least(name, ndim, with_dims):
    def function(*tensors):
        if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
            tensors = tuple(tensors[0])
        out = tuple(with_dims(as_tensor(x)) for x in tensors)
        return out[0] if len(out) == 1 else out

    function.__name__, function.__module__ = name, __name__
    function.__doc__ = f"The tensor, or each of several, with at least {ndim} dimension{'s' * (ndim > 1)}."
    return operation(function, method=False)


atleast_1d = _at_least("atleast_1d", 1, lambda x: x if x.ndim else reshape(x, 1))
atleast_2d = _at_least("atleast_2d", 2, lambda x: x if x.ndim > 1 else reshape(x, 1, -1))
atleast_3d = _at_least(
    "atleast_3d", 3,
    lambda x: x if x.ndim > 2 else reshape(x, *x.shape, 1) if x.ndim == 2 else reshape(x, 1, x.numel(), 1),
)  # fmt: skip


@_method
def sum_to_size(self, *sizes, size=None):
    """The sum over what broadcasting the given shape to this one repeats: the reverse of `expand`."""
    from lampion.ops.reduce import sum

    size = flatten_sizes(sizes if size is None else (size,))
    offset = self.ndim - len(size)
    if offset < 0 or any(n not in (1, m) for n, m in zip(size, self.shape[offset:], strict=True)):
        raise ShapeError("sum_to_size", "that shape does not broadcast to the tensor's",
                         expected=f"what broadcasts to {tuple(self.shape)}", got=str(size))  # fmt: skip
    dims = [d for d, n in enumerate(self.shape) if d < offset or size[d - offset] != n]
    return reshape(sum(self, dims), size) if dims or not size else self


# -- parts ---------------------------------------------------------------------------------------------


@operation
def narrow(input, dim, start, length: int):
    """The part of x from `start` on, `length` long, along `dim`. A view.

    Args:
        start: a number, or a 0-d integer tensor; negative ones count from the end.
    """
    x = as_tensor(input)
    if not x.ndim:
        raise IndexRangeError("narrow", "a 0-d tensor has no dimension to take a part of")
    dim, start = normalize_dim("narrow", dim, x.ndim), int(start)
    size = x.shape[dim]
    first = start + size if -size <= start < 0 else start
    if first < 0 or length < 0 or first + length > size:
        raise IndexRangeError("narrow", "the part reaches outside the tensor",
                              expected=f"0 <= start <= start + length <= {size}",
                              got=f"start {start}, length {length}")  # fmt: skip
    return along(x, dim, (first, first + length, 1))


def along(x, dim, bound):
    """x with a slice (start, stop, step), or one index, taken along `dim`. A view."""
    whole = tuple((0, n, 1) for n in x._array.shape[:dim])
    return apply(slice_.primitive, x, bounds=(*whole, bound))


def index_along(name, x, dim, index):
    """A dimension and an index along it, checked and counted from zero."""
    if not x.ndim:
        raise IndexRangeError(name, "a 0-d tensor has no dimension to index along")
    dim, index = normalize_dim(name, dim, x.ndim), int(index)
    size = x.shape[dim]
    if not -size <= index < size:
        raise IndexRangeError(name, f"index {index} is out of range for dimension {dim}",
                              expected=f"{-size} to {size - 1}", got=str(index))  # fmt: skip
    return dim, index + size if index < 0 else index


@operation
def select(input, dim, index):
    """The part of x at one index along `dim`, without that dimension. A view."""
    x = as_tensor(input)
    return along(x, *index_along("select", x, dim, index))


def slice_along(name, x, dim, start, end, step):
    """A dimension and the slice ``start:end:step`` along it, as Python cuts it off."""
    if not x.ndim:
        raise IndexRangeError(name, "a 0-d tensor has no dimension to take a part of")
    if step < 1:
        raise IndexRangeError(name, "the step of a slice must be positive", got=f"step {step}")
    dim = normalize_dim(name, dim, x.ndim)
    first, stop, step = slice(start, end, step).indices(x.shape[dim])
    return dim, (first, max(first, stop), step)


@operation
def unbind(input, dim: int = 0) -> tuple[Tensor, ...]:
    """The parts of x at every index along `dim`, without that dimension. Views."""
    x = as_tensor(input)
    if not x.ndim:
        raise IndexRangeError("unbind", "a 0-d tensor has no dimension to take apart")
    dim = normalize_dim("unbind", dim, x.ndim)
    return tuple(along(x, dim, n) for n in range(x.shape[dim]))


@_method
def unfold(self, dimension, size, step):
    """All windows of `size` elements along a dimension, `step` apart, with the window as the last dimension.

    A view; where windows overlap it cannot be written to.

    >>> import lampion
    >>> lampion.arange(5).unfold(0, 3, 2)
    tensor([[0, 1, 2],
            [2, 3, 4]])
    """
    dim = normalize_dim("unfold", dimension, self.ndim)
    have = self.shape[dim] if self.ndim else 1
    if not 0 <= size <= have:
        raise ShapeError("unfold", "the window is larger than the dimension",
                         expected=f"a size of 0 to {have}", got=str(size))  # fmt: skip
    if step < 1:
        raise ShapeError("unfold", "the step must be positive", got=str(step))
    if not self.ndim:
        return reshape(self, 1) if size else apply(slice_.primitive, reshape(self, 1), bounds=((0, 0, 1),))
    return windows(self, dim, size, step)
