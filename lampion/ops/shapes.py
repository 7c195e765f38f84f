"""Arithmetic on shapes, and the errors about them. No tensors here."""

from __future__ import annotations

import operator

from lampion.errors import IndexRangeError, ShapeError


def broadcast_shapes(name, shapes):
    """The shape that all of these broadcast to.

    >>> broadcast_shapes("add", [(3, 1), (4,)])
    (3, 4)
    """
    rank = max((len(shape) for shape in shapes), default=0)
    out = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in shapes if len(shape) >= -axis}
        if len(sizes) > 1:
            sizes.discard(1)
        if len(sizes) > 1:
            raise ShapeError(
                name, f"the shapes do not broadcast: they differ in dimension {axis}",
                expected="equal sizes, or 1, in every dimension counted from the right",
                got=" and ".join(str(tuple(shape)) for shape in shapes),
                fix="reshape or unsqueeze one of them so that the dimensions line up",
            )  # fmt: skip
        out.append(sizes.pop())
    return tuple(out)


def normalize_dim(name, dim, ndim):
    """A dimension as 0 <= dim < ndim; negative ones count from the end."""
    try:
        dim = operator.index(dim)
    except TypeError:
        raise IndexRangeError(name, "a dimension must be an integer", got=repr(dim)) from None
    limit = ndim or 1  # PyTorch lets a 0-d tensor have dimension 0 and -1
    if not -limit <= dim < limit:
        raise IndexRangeError(name, f"dimension {dim} does not exist", expected=f"-{limit} to {limit - 1}",
                              got=f"a tensor of {ndim} dimensions")  # fmt: skip
    return dim + limit if dim < 0 else dim


def normalize_dims(name, dim, ndim):
    """None (all), a dimension or several, as a sorted tuple."""
    if type(dim) is int and 0 <= dim < ndim:
        return (dim,)
    if dim is None or (isinstance(dim, tuple | list) and not dim):
        return tuple(range(ndim))
    dims = dim if isinstance(dim, tuple | list) else (dim,)
    axes = tuple(sorted(normalize_dim(name, d, ndim) for d in dims))
    if len(set(axes)) < len(axes):
        raise ShapeError(name, "a dimension is named twice", got=f"dim={tuple(dims)}")
    return axes if ndim else ()


def reduced_shape(shape, axis, keepdims):
    """The shape that is left when `axis` is reduced."""
    if keepdims:
        return tuple(1 if a in axis else n for a, n in enumerate(shape))
    return tuple(n for a, n in enumerate(shape) if a not in axis)


def flatten_sizes(sizes):
    """``f(2, 3)`` and ``f((2, 3))`` alike, as a tuple."""
    if len(sizes) == 1 and type(sizes[0]) is not int and isinstance(sizes[0], tuple | list):
        sizes = sizes[0]
    return tuple(map(operator.index, sizes))
