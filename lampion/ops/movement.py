"""Operations that only rename indices: their results are views of the same memory.

The primitives stand here, with `put` (writing through a chain of them) and `unview` (adding back through
one), which between them are the gradients of all views. What is made of them is in `views.py`.
"""

from __future__ import annotations

import math

import numpy as np

from lampion.errors import InplaceError, LampionError, ShapeError
from lampion.mode import mode
from lampion.ops.creation import full
from lampion.ops.define import kernel, movement, operation
from lampion.ops.shapes import broadcast_shapes, flatten_sizes, normalize_dim, normalize_dims
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor


@movement
class reshape:
    """The same elements, in the same order, in another shape. One size may be -1."""

    def forward(xp, x, shape): return xp.reshape(x, shape)
    def vjp(g, old, shape): return reshape(g, old)

    def call(input, *sizes, shape=None):
        """The same elements, in the same order, in another shape. One size may be -1."""
        if not isinstance(input, Tensor):
            input = as_tensor(input)
        shape, old = flatten_sizes(sizes if shape is None else (shape,)), input._array.shape
        if shape == old:
            return input
        if -1 in shape or math.prod(shape) != math.prod(old) or min(shape, default=0) < 0:
            shape = complete_shape("reshape", shape, old)
        return apply(reshape.primitive, input, shape=shape)


def complete_shape(name, shape, old):
    """The shape with its -1 filled in; an error where the number of elements would change."""
    count = math.prod(old)
    if shape.count(-1) > 1 or any(n < -1 for n in shape):
        raise ShapeError(name, "at most one size may be -1", got=str(shape))
    if -1 in shape:
        known = math.prod(n for n in shape if n != -1)
        if known and count % known == 0:
            shape = tuple(count // known if n == -1 else n for n in shape)
    if -1 in shape or math.prod(shape) != count:
        raise ShapeError(name, "the number of elements would change",
                         expected=f"sizes whose product is {count} (the shape is {tuple(old)})",
                         got=str(shape))  # fmt: skip
    return shape


@movement
class permute:
    """The dimensions in another order."""

    def forward(xp, x, dims): return xp.transpose(x, dims)
    def vjp(g, old, dims):
        inverse = (1, 0) if dims == (1, 0) else tuple(sorted(range(len(dims)), key=dims.__getitem__))
        return apply(permute.primitive, g, dims=inverse)

    def call(input, *order, dims=None):
        """The dimensions in another order: ``x.permute(2, 0, 1)``."""
        input, dims = as_tensor(input), flatten_sizes(order if dims is None else (dims,))
        dims = tuple(normalize_dim("permute", d, input.ndim) for d in dims)
        if sorted(dims) != list(range(input.ndim)):
            raise ShapeError("permute", "every dimension must be named once",
                             expected=f"the numbers 0 to {input.ndim - 1}", got=str(dims))  # fmt: skip
        return apply(permute.primitive, input, dims=dims)


@movement
class broadcast_to:
    """The elements repeated along new dimensions, and along those of size 1, without copying."""

    def forward(xp, x, shape): return xp.broadcast_to(x, shape)
    def vjp(g, old, shape): return g  # the engine sums over what was stretched

    def call(input, *sizes, size=None):
        """The elements repeated to fill a larger shape, without copying."""
        input = as_tensor(input)
        size, old = flatten_sizes(sizes if size is None else (size,)), input.shape
        offset = len(size) - len(old)
        size = tuple(old[i - offset] if n == -1 and i >= offset else n for i, n in enumerate(size))
        if offset < 0 or min(size, default=0) < 0 or broadcast_shapes("broadcast_to", [old, size]) != size:
            raise ShapeError("broadcast_to", "the shape cannot be stretched to that one",
                             got=f"{tuple(old)} to {size}")  # fmt: skip
        if math.prod(size) == math.prod(old) and all(size[offset:]):
            return reshape(input, size)  # no two elements share a place: such a view can be written to
        return apply(broadcast_to.primitive, input, shape=size)


@movement
class flip:
    """The elements in reverse order along the given dimensions, as a copy."""

    def forward(xp, x, dims): return xp.flip(x, dims)
    def vjp(g, old, dims): return apply(flip.primitive, g, dims=dims)

    def call(input, *sizes, dims=None):
        """The elements in reverse order along the given dimensions, as a copy."""
        input, dims = as_tensor(input), flatten_sizes(sizes if dims is None else (dims,))
        dims = normalize_dims("flip", dims, input.ndim) if dims else ()
        return apply(flip.primitive, input, dims=dims).clone()


@movement(public=False)
class slice_:
    """Part of each dimension: (start, stop, step), or one index, or None for a new dimension of size 1.

    Dimensions that are not mentioned are kept whole.
    """

    def forward(xp, x, bounds):
        return x[(*[slice(*b) if type(b) is tuple else b for b in bounds], ...)]

    def vjp(g, old, bounds): return put(full(old, 0, g.dtype), g, ((slice_.primitive, {"bounds": bounds}),))
    def call(x, bounds): return apply(slice_.primitive, x, bounds=tuple(bounds))


@movement
class diagonal:
    """The elements whose indices along two dimensions differ by `offset`, as the last dimension. A view."""

    def forward(xp, x, offset, dim1, dim2):
        square = xp.moveaxis(x, (dim1, dim2), (-2, -1))
        square = square[..., max(0, -offset):, max(0, offset):]
        n = min(square.shape[-2:])
        return xp.einsum("...ii->...i", square[..., :n, :n])

    def vjp(g, old, **params): return put(full(old, 0, g.dtype), g, ((diagonal.primitive, params),))

    def call(input, offset=0, dim1=0, dim2=1):
        """The elements whose indices along `dim1` and `dim2` differ by `offset`, as the last dimension.

        A view: writing to it writes to the input.

        >>> import lampion
        >>> lampion.arange(6).reshape(2, 3).diagonal(1)
        tensor([1, 5])
        """
        input = as_tensor(input)
        dim1, dim2 = different_dims("diagonal", input, dim1, dim2)
        return apply(diagonal.primitive, input, offset=int(offset), dim1=dim1, dim2=dim2)


def different_dims(name, x, dim1, dim2):
    """Two dimensions of x, normalized; an error where they are the same one."""
    if x.ndim < 2:
        raise ShapeError(name, "expected at least two dimensions", got=f"shape {tuple(x.shape)}")
    first, second = normalize_dim(name, dim1, x.ndim), normalize_dim(name, dim2, x.ndim)
    if first == second:
        raise ShapeError(name, "the two dimensions must differ", got=f"dimensions {dim1} and {dim2}")
    return first, second


@movement(public=False)
class windows:
    """All windows of `size` elements along `dim`, `step` apart, with the window as the last dimension."""

    def forward(xp, x, dim, size, step):
        count = (x.shape[dim] - size) // step + 1
        shape = (*x.shape[:dim], count, *x.shape[dim + 1 :], size)
        strides = (*x.strides[:dim], x.strides[dim] * step, *x.strides[dim + 1 :], x.strides[dim])
        apart = step >= size or count < 2  # then no element is in two windows
        return _strided(xp, x, shape, strides, x.flags.writeable and apart)

    def vjp(g, old, **params): return unview(g, old, ((windows.primitive, params),))

    def call(x, dim, size, step):
        """All windows of `size` elements along `dim`, `step` apart, with the window as the last dimension."""
        return apply(windows.primitive, x, dim=dim, size=size, step=step)


def _strided(xp, x, shape, strides, writeable):
    """A view of any strides that stay inside. (The switch belongs to NumPy's function alone.)"""
    if xp is not np:
        return xp.lib.stride_tricks.as_strided(x, shape, strides)
    return xp.lib.stride_tricks.as_strided(x, shape, strides, writeable=writeable)


@movement(public=False)
class strided:
    """The elements at ``start + i * stride[0] + j * stride[1]...``, counted in elements from the first of x.

    `layout` says how x lies in memory, in elements. Where an array of the same shape lies in another way
    (the copy that `put` makes), its elements are first laid out so.
    """

    def forward(xp, x, size, stride, start, layout):
        item, (low, high) = x.dtype.itemsize, reach(x.shape, layout)
        own = tuple(item * s for s in layout)
        if not x.size:
            memory = x.reshape(-1)
        elif all(a == b or n == 1 for a, b, n in zip(x.strides, own, x.shape, strict=True)):
            lowest = x[tuple(slice(None, None, -1) if s < 0 else slice(None) for s in layout)]
            memory = _strided(xp, lowest, (high - low,), (item,), x.flags.writeable)
        else:
            memory = xp.zeros(high - low, x.dtype)
            _strided(xp, memory[-low:], x.shape, own, True)[...] = x
        free = x.flags.writeable and not overlaps(size, stride)
        return _strided(xp, memory[max(0, start - low) :], size, tuple(item * s for s in stride), free)

    def vjp(g, old, **params): return unview(g, old, ((strided.primitive, params),))

    def call(x, size, stride, start, layout):
        """The elements at ``start + i * stride[0] + ...``, counted in elements from the first of x."""
        return apply(strided.primitive, x, size=size, stride=stride, start=start, layout=layout)


def reach(shape, strides):
    """Where an array's first and last place in memory are, the last not included, from its element 0.

    >>> reach((2, 3), (3, 1)), reach((3,), (-2,))
    ((0, 6), (-4, 1))
    """
    ends = [s * (n - 1) for n, s in zip(shape, strides, strict=True)]
    return sum(min(0, end) for end in ends), sum(max(0, end) for end in ends) + 1


def overlaps(shape, strides):
    """Whether two elements may share a place. (Some arrays of which none do count as such.)

    >>> overlaps((2, 3), (3, 1)), overlaps((2, 3), (1, 1))
    (False, True)
    """
    filled = 1
    for stride, n in sorted((abs(s), n) for n, s in zip(shape, strides, strict=True) if n > 1):
        if stride < filled:
            return 0 not in shape
        filled += stride * (n - 1)
    return False


@kernel(public=False)
class put:
    """`base` with the part that a chain of movements leads to replaced by `value`.

    The functional form of writing through a view, and the gradient of taking one.
    """

    analytic = False  # its rules hold for gradients as they are: writing moves numbers, and no more
    def infer(base, value, chain): return base.shape, base.dtype

    def forward(xp, base, value, chain):
        out = base.copy()
        view = out
        for primitive, params in chain:
            view = primitive.forward(xp, view, **params)
        if view.base is not None and xp.may_share_memory(view, out):
            view[...] = value
            return out
        # `out` lies in memory in another way than what was written through, and a reshape on the way had to
        # copy. So find the places by following the chain with their numbers.
        out.reshape(-1)[_places(xp, base.shape, chain)] = value
        return out

    def vjp(g, chain):
        return lambda: put(g, full((), 0, g.dtype.to_real()), chain), lambda: follow(g, chain)

    def call(base, value, chain): return apply(put.primitive, base, value, chain=chain)


def _places(xp, shape, chain):
    """The number of each element that a chain of movements leads to."""
    places = xp.arange(math.prod(shape)).reshape(shape)
    for primitive, params in chain:
        places = primitive.forward(xp, places, **params)
    return places


@kernel(public=False)
class unview:
    """Zeros, to which each element of `x` is added at the place that a chain of movements takes it from.

    The gradient of views in which an element may appear several times.
    """

    def infer(x, shape, chain): return shape, x.dtype

    def forward(xp, x, shape, chain):
        out = xp.zeros(shape, x.dtype)
        xp.add.at(out.reshape(-1), _places(xp, shape, chain), x)
        return out

    def vjp(g, shape, chain): return follow(g, chain)
    def call(x, shape, chain): return apply(unview.primitive, x, shape=tuple(shape), chain=chain)


def follow(x, chain):
    """Take the view that a chain of movements leads to."""
    for primitive, params in chain:
        x = apply(primitive, x, **params)
    return x


def note_put(base, value, chain):
    """After a write through a view: note on the tape that `base` now comes from `put`.

    The memory has been written already, so nothing is computed.
    """
    from lampion.autograd.tape import record

    record(base, put.primitive, (base, value), [], {"chain": chain})
    if mode.trace is None:
        base._version[1] = base._node.where


@operation
def as_strided(input, size, stride, storage_offset=None):
    """A view of the elements at ``storage_offset + i * stride[0] + j * stride[1] + ...`` in the memory.

    Strides count elements, and are those of the memory that `input` looks into, whatever its own are.

    Args:
        storage_offset: where to start in the tensor that owns the memory; where `input` starts, unless given.

    >>> import lampion
    >>> lampion.arange(5).as_strided((3, 3), (1, 1))
    tensor([[0, 1, 2],
            [1, 2, 3],
            [2, 3, 4]])
    """
    x, size, stride = as_tensor(input), flatten_sizes((size,)), flatten_sizes((stride,))
    if len(size) != len(stride):
        raise ShapeError("as_strided", "size and stride have different lengths", got=f"{size} and {stride}")
    if min(size, default=0) < 0 or min(stride, default=0) < 0:
        raise ShapeError("as_strided", "sizes and strides may not be negative", got=f"{size}, {stride}")
    start, source = 0, x
    owner = x._base
    if owner is not None and (x._follows is owner or not x.requires_grad):
        source = owner if x.requires_grad or not owner.requires_grad else owner.detach()
        start = _offset_in(x, owner)
    if storage_offset is not None:
        start = int(storage_offset)
    layout = _layout(source)
    low, high = reach(source.shape, layout)
    if math.prod(size) and (not source.numel() or start < low or start + reach(size, stride)[1] > high):
        raise ShapeError(
            "as_strided", "the elements asked for lie outside of the tensor's memory",
            expected=f"places {low} to {high - 1}",
            got=f"size {size}, stride {stride}, start {start}: up to {start + reach(size, stride)[1] - 1}",
        )  # fmt: skip
    if source is x and x.requires_grad and overlaps(x.shape, layout) and mode.grad:
        raise LampionError("as_strided", "the gradient of an expanded tensor's memory is not defined",
                           got=f"strides {layout}", fix="clone() the tensor before")  # fmt: skip
    return strided(source, size, stride, start, layout)


def _layout(x):
    """The strides of a tensor, in elements."""
    array = x._array if mode.trace is None else mode.trace.read(x)
    if array.strides is None:
        mode.trace.refuse("asks how a tensor lies in memory", "clone() it before")
    return tuple(s // array.dtype.itemsize for s in array.strides)


def _offset_in(x, owner):
    """How many elements after the owner's first one x starts."""
    if mode.trace is not None:
        return _traced_offset(x, owner)
    first, own = (a._array.__array_interface__["data"][0] for a in (x, owner))
    return (first - own) // x._array.dtype.itemsize


def _traced_offset(x, owner):
    """The same while tracing, where there are no addresses: by following the movements."""
    from lampion.compiler.strides import move

    array = mode.trace.read(owner)
    shape, strides, dtype, start = array.shape, array.strides, array.dtype, 0
    for primitive, params in x._chain:
        moved = None
        if strides is not None:
            shape, strides, moved, dtype = move(primitive, params, shape, strides, dtype)
        if moved is None:
            mode.trace.refuse("asks where a view lies in memory", "clone() it before")
        start += moved
    return start // array.dtype.itemsize


def check_same_memory(operation, tensor):
    """Refuse views whose base has been given another shape in place since they were made."""
    if tensor._chain:
        raise InplaceError(operation, "the tensor that this is a view of was given another shape in place",
                           fix="make the view anew")  # fmt: skip
