"""Operations that only rename indices: their results are views of the same memory."""

from __future__ import annotations

import math

from lampion.errors import ShapeError
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

    def call(x, *shape):
        """The same elements, in the same order, in another shape. One size may be -1."""
        if not isinstance(x, Tensor):
            x = as_tensor(x)
        shape, old = flatten_sizes(shape), x._array.shape
        if shape == old:
            return x
        if -1 in shape or math.prod(shape) != math.prod(old) or min(shape, default=0) < 0:
            shape = _complete("reshape", x, shape)
        return apply(reshape.primitive, x, shape=shape)


def _complete(name, x, shape):
    """The shape with its -1 filled in; an error where the number of elements would change."""
    count = x.numel()
    if shape.count(-1) > 1 or any(n < -1 for n in shape):
        raise ShapeError(name, "at most one size may be -1", got=str(shape))
    if -1 in shape:
        known = math.prod(n for n in shape if n != -1)
        if known and count % known == 0:
            shape = tuple(count // known if n == -1 else n for n in shape)
    if -1 in shape or math.prod(shape) != count:
        raise ShapeError(name, "the number of elements would change",
                         expected=f"sizes whose product is {count} (the shape is {tuple(x.shape)})",
                         got=str(shape))  # fmt: skip
    return shape


@movement
class permute:
    """The dimensions in another order."""

    def forward(xp, x, dims): return xp.transpose(x, dims)
    def vjp(g, old, dims):
        inverse = (1, 0) if dims == (1, 0) else tuple(sorted(range(len(dims)), key=dims.__getitem__))
        return apply(permute.primitive, g, dims=inverse)

    def call(x, *dims):
        """The dimensions in another order: ``x.permute(2, 0, 1)``."""
        x = as_tensor(x)
        dims = tuple(normalize_dim("permute", d, x.ndim) for d in flatten_sizes(dims))
        if sorted(dims) != list(range(x.ndim)):
            raise ShapeError("permute", "every dimension must be named once",
                             expected=f"the numbers 0 to {x.ndim - 1}", got=str(dims))  # fmt: skip
        return apply(permute.primitive, x, dims=dims)


@movement
class broadcast_to:
    """The elements repeated along new dimensions, and along those of size 1, without copying."""

    def forward(xp, x, shape): return xp.broadcast_to(x, shape)
    def vjp(g, old, shape): return g  # the engine sums over what was stretched

    def call(x, *shape):
        """The elements repeated to fill a larger shape, without copying."""
        x = as_tensor(x)
        shape = flatten_sizes(shape)
        offset = len(shape) - x.ndim
        shape = tuple(x.shape[i - offset] if n == -1 and i >= offset else n for i, n in enumerate(shape))
        if offset < 0 or broadcast_shapes("broadcast_to", [x.shape, shape]) != shape:
            raise ShapeError("broadcast_to", "the shape cannot be stretched to that one",
                             got=f"{tuple(x.shape)} to {shape}")  # fmt: skip
        return apply(broadcast_to.primitive, x, shape=shape)


@movement
class flip:
    """The elements in reverse order along the given dimensions, as a copy."""

    def forward(xp, x, dims): return xp.flip(x, dims)
    def vjp(g, old, dims): return flip(g, dims)

    def call(x, *sizes, dims=None):
        """The elements in reverse order along the given dimensions, as a copy."""
        x, dims = as_tensor(x), flatten_sizes(sizes if dims is None else (dims,))
        dims = normalize_dims("flip", dims, x.ndim) if dims else ()
        return apply(flip.primitive, x, dims=dims).clone()


@movement(public=False)
class slice_:
    """Part of each dimension: (start, stop, step) for every one of them."""

    def forward(xp, x, bounds): return x[tuple(slice(*b) for b in bounds)]
    def vjp(g, old, bounds): return put(full(old, 0, g.dtype), g, ((slice_.primitive, {"bounds": bounds}),))
    def call(x, bounds): return apply(slice_.primitive, x, bounds=tuple(bounds))


@kernel(public=False)
class put:
    """`base` with the part that a chain of movements leads to replaced by `value`.

    The functional form of writing through a view, and the gradient of taking one.
    """

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
        places = xp.arange(base.size).reshape(base.shape)
        for primitive, params in chain:
            places = primitive.forward(xp, places, **params)
        flat = out.reshape(-1)
        flat[places] = value
        return flat.reshape(base.shape)

    def vjp(g, chain):
        return lambda: put(g, full((), 0, g.dtype), chain), lambda: follow(g, chain)

    def call(base, value, chain): return apply(put.primitive, base, value, chain=chain)


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
def transpose(x, dim0, dim1):
    """Two dimensions exchanged."""
    x = as_tensor(x)
    dims = list(range(x.ndim))
    a, b = normalize_dim("transpose", dim0, x.ndim), normalize_dim("transpose", dim1, x.ndim)
    if x.ndim:
        dims[a], dims[b] = dims[b], dims[a]
    return permute(x, dims)


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
def squeeze(x, dim=None):
    """Without the dimensions of size 1 (all of them, or those named)."""
    x = as_tensor(x)
    named = range(x.ndim) if dim is None else dim if isinstance(dim, tuple | list) else (dim,)
    drop = {normalize_dim("squeeze", d, x.ndim) for d in named}
    return reshape(x, [n for axis, n in enumerate(x.shape) if n != 1 or axis not in drop])


@operation
def unsqueeze(x, dim):
    """With a new dimension of size 1 at `dim`."""
    x = as_tensor(x)
    shape = x._array.shape
    axis = normalize_dim("unsqueeze", dim, len(shape) + 1)
    return apply(reshape.primitive, x, shape=(*shape[:axis], 1, *shape[axis:]))


@operation
def flatten(x, start_dim=0, end_dim=-1):
    """The dimensions from `start_dim` to `end_dim` as one."""
    x = as_tensor(x)
    if not x.ndim:
        return reshape(x, 1)
    first, last = normalize_dim("flatten", start_dim, x.ndim), normalize_dim("flatten", end_dim, x.ndim)
    if first > last:
        raise ShapeError("flatten", "start_dim comes after end_dim", got=f"{start_dim}, {end_dim}")
    return reshape(x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def expand(x, *sizes):
    """The elements repeated along dimensions of size 1; -1 keeps a size."""
    return broadcast_to(x, *sizes)
