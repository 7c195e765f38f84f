"""Truth of arrays, differences, and picking by index."""

from __future__ import annotations

from lampion.array_api._rules import Tensor, axes_of, common, op
from lampion.errors import ShapeError
from lampion.ops.shapes import broadcast_shapes

__all__ = ["all", "any", "diff", "take", "take_along_axis"]

_Axis = int | tuple[int, ...] | None


def any(x: Tensor, /, *, axis: _Axis = None, keepdims: bool = False) -> Tensor:
    """Whether any element is true (not 0) along the axes (default: all)."""
    axes = axes_of("any", axis, x.ndim)
    if not axes:
        return x != 0
    out: Tensor = op["sum"](x != 0, axes, keepdims)
    return out != 0


def all(x: Tensor, /, *, axis: _Axis = None, keepdims: bool = False) -> Tensor:
    """Whether all elements are true (not 0) along the axes (default: all)."""
    return any(x == 0, axis=axis, keepdims=keepdims).logical_not()


def diff(
    x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """The n-th differences of neighbours along an axis."""
    if n < 0:
        raise ValueError(f"diff: the order is negative: n={n}")
    (place,) = axes_of("diff", axis, x.ndim)
    parts = common([part for part in (prepend, x, append) if part is not None])
    out: Tensor = op["cat"](parts, place) if len(parts) > 1 else x
    for _ in range(n):
        size = out.shape[place]
        if not size:
            break
        later, sooner = out.narrow(place, 1, size - 1), out.narrow(place, 0, size - 1)
        out = later != sooner if out.dtype.kind == "b" else later - sooner
    return out


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """The slices at these indices (in one dimension) along an axis."""
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"take: of an array of {x.ndim} dimensions, an axis must be named")
        axis = 0
    (place,) = axes_of("take", axis, x.ndim)
    if indices.ndim != 1:
        raise ShapeError("take", "the indices are an array of one dimension", got=str(indices.shape))
    size = x.shape[place]
    index = indices.long()
    out: Tensor = op["index_select"](x, place, op["where"](index < 0, index + size, index))
    return out


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """Along an axis, the elements at indices that are given for each place apart."""
    (place,) = axes_of("take_along_axis", axis, x.ndim)
    if indices.ndim != x.ndim:
        raise ShapeError("take_along_axis", "the indices have another number of dimensions",
                         got=f"{indices.shape} for {x.shape}")  # fmt: skip
    others = [tuple(1 if a == place else n for a, n in enumerate(one.shape)) for one in (x, indices)]
    shape = list(broadcast_shapes("take_along_axis", others))
    size = x.shape[place]
    shape[place] = size
    source = op["broadcast_to"](x, shape)
    shape[place] = indices.shape[place]
    index = op["broadcast_to"](indices.long(), shape)
    out: Tensor = op["gather"](source, place, op["where"](index < 0, index + size, index))
    return out
