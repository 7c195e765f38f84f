"""Numerical calculus along a dimension: differences, slopes, and areas under points."""

from __future__ import annotations

from lampion import dtype as dtypes
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.ops.creation import full
from lampion.ops.cumulative import cumsum
from lampion.ops.define import OPERATIONS, operation
from lampion.ops.elementwise import add, div, mul, sub
from lampion.ops.joining import cat
from lampion.ops.logic import logical_xor
from lampion.ops.movement import reshape
from lampion.ops.reduce import sum
from lampion.ops.shapes import normalize_dim, normalize_dims
from lampion.ops.views import along
from lampion.tensor import Tensor, as_tensor


def _pair(x, dim):
    """Along `dim`: all but the first, and all but the last."""
    n = x.shape[dim]
    return along(x, dim, (min(1, n), n, 1)), along(x, dim, (0, max(n - 1, 0), 1))


@operation
def diff(input, n: int = 1, dim: int = -1, prepend=None, append=None):
    """Each element minus the one before it along a dimension, `n` times over.

    Args:
        prepend, append: elements put before and behind first.

    >>> import lampion
    >>> lampion.diff(lampion.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    x = as_tensor(input)
    if not x.ndim:
        raise ShapeError("diff", "expected at least one dimension", got="()")
    if n < 0:
        raise LampionError("diff", "the order is negative", expected="n >= 0", got=str(n))
    dim = normalize_dim("diff", dim, x.ndim)
    if n == 0:
        return x.clone()
    parts = [as_tensor(part) for part in (prepend, x, append) if part is not None]
    x = cat(parts, dim) if len(parts) > 1 else x
    for _ in range(min(n, x.shape[dim])):
        later, earlier = _pair(x, dim)
        x = logical_xor(later, earlier) if x.dtype is dtypes.bool_ else sub(later, earlier)
    return x.clone() if x is input else x


def _trapezoids(name, y, x, dx, dim):
    """Twice the area of each trapezoid, the factor that is left to multiply with, and the dimension."""
    y = as_tensor(y)
    for values in (y, x):
        if isinstance(values, Tensor) and values.dtype is dtypes.bool_:
            raise DTypeError(name, "booleans have no area", got=str(values.dtype), fix="x.long()")
    if x is not None and dx is not None:
        raise LampionError(name, "x and dx exclude each other", expected="one of them")
    if not y.ndim:
        raise ShapeError(name, "expected at least one dimension", got="()")
    dim = normalize_dim(name, dim, y.ndim)
    later, earlier = _pair(y, dim)
    heights = add(later, earlier)
    if x is None:
        return heights, (1.0 if dx is None else float(dx)) / 2, dim
    x = as_tensor(x)
    n = y.shape[dim]
    if x.ndim == 1:
        if x.shape[0] != n:
            raise ShapeError(name, "there must be one x for every y", expected=f"{n}", got=f"{x.shape[0]}")
        x = reshape(x, [n if a == dim else 1 for a in range(y.ndim)])
    elif x.ndim < y.ndim:
        x = reshape(x, (1,) * (y.ndim - x.ndim) + tuple(x.shape))
    return mul(heights, sub(*_pair(x, dim + max(x.ndim - y.ndim, 0)))), 0.5, dim


@operation(method=False)
def trapezoid(y, x=None, *, dx=None, dim: int = -1):
    """The area under the points along a dimension, by trapezoids.

    Args:
        x: where the points lie; without it they are `dx` (1) apart.

    >>> import lampion
    >>> lampion.trapezoid(lampion.tensor([1.0, 2.0, 3.0]))
    tensor(4.)
    """
    areas, factor, axis = _trapezoids("trapezoid", y, x, dx, dim)
    if not y.shape[axis]:
        return full([n for a, n in enumerate(y.shape) if a != axis], 0, y.dtype)
    return mul(sum(areas, axis), factor)


@operation(method=False)
def cumulative_trapezoid(y, x=None, *, dx=None, dim: int = -1):
    """The area under the points up to each of them but the first: the running sum of the trapezoids."""
    areas, factor, axis = _trapezoids("cumulative_trapezoid", y, x, dx, dim)
    return cumsum(mul(areas, factor), axis)


OPERATIONS["trapz"] = trapezoid


@operation(method=False)
def gradient(
    input, *, spacing=1, dim: int | tuple[int, ...] | None = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """The slopes of a function that is given by its values on a grid, one tensor for each dimension.

    Inside, the slope of the parabola through a point and both neighbours; at the ends, of the line
    through two points (`edge_order` 1) or of the parabola through three (2).

    Args:
        spacing: the distance of neighbours, or one for each dimension; or a tensor of positions for each.
        dim: the dimensions; all by default.

    >>> import lampion
    >>> lampion.gradient(lampion.tensor([1.0, 4.0, 9.0, 16.0]))
    (tensor([3., 4., 6., 7.]),)
    """
    x = as_tensor(input)
    if edge_order not in (1, 2):
        raise LampionError("gradient", "there is no such edge_order", expected="1 or 2", got=str(edge_order))
    dims = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    dims = [normalize_dim("gradient", d, x.ndim) for d in dims]
    normalize_dims("gradient", tuple(dims), x.ndim)
    if isinstance(spacing, Tensor) and spacing.ndim:
        spacing = [spacing]
    spacing = 1 if spacing is None else spacing
    spacings = list(spacing) if isinstance(spacing, list | tuple) else [spacing] * len(dims)
    if len(spacings) != len(dims):
        raise LampionError("gradient", "expected one spacing for every dimension", expected=str(len(dims)),
                           got=str(len(spacings)))  # fmt: skip
    for d in dims:
        if x.shape[d] <= edge_order:
            raise ShapeError("gradient", "there are too few points along a dimension",
                             expected=f"at least {edge_order + 1}", got=f"{x.shape[d]}")  # fmt: skip
    return tuple(_slopes(x, d, h, edge_order) for d, h in zip(dims, spacings, strict=True))


def _slopes(x, dim, spacing, edge_order):
    n = x.shape[dim]

    def values(start, count=None):
        return along(x, dim, (start, start + (1 if count is None else count), 1))

    if isinstance(spacing, Tensor) and spacing.ndim:
        if tuple(spacing.shape) != (n,):
            raise ShapeError("gradient", "expected one position for every point", expected=f"({n},)",
                             got=str(tuple(spacing.shape)))  # fmt: skip
        steps = reshape(diff(spacing), [n - 1 if a == dim else 1 for a in range(x.ndim)])
    else:
        steps = None

    def step(start, count=1):
        return spacing if steps is None else along(steps, dim, (start, start + count, 1))

    def line(i):
        return div(sub(values(i + 1), values(i)), step(i))

    def parabola(i, at):
        """The slope at point i + at (0 or 2) of the parabola through points i, i + 1, i + 2."""
        first, second = line(i), line(i + 1)
        h, k = step(i), step(i + 1)
        bend = div(sub(second, first), add(h, k) if steps is not None else h * 2)
        return sub(first, mul(bend, h)) if at == 0 else add(second, mul(bend, k))

    edges = (line(0), line(n - 2)) if edge_order == 1 else (parabola(0, 0), parabola(n - 3, 2))
    if n == 2:
        return cat(edges, dim)
    rises = sub(values(1, n - 1), values(0, n - 1))
    if steps is None:
        inner = div(sub(values(2, n - 2), values(0, n - 2)), spacing * 2)
    else:
        rates = div(rises, steps)
        h, k = step(0, n - 2), step(1, n - 2)
        before, after = along(rates, dim, (0, n - 2, 1)), along(rates, dim, (1, n - 1, 1))
        inner = div(add(mul(before, k), mul(after, h)), add(h, k))
    return cat([edges[0], inner, edges[1]], dim)
