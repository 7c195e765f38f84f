"""What occurs in a tensor, and how often: different elements, membership, histograms.

How many different elements there are, their values decide: such results have no shape before they are
computed, so `unique` and `bincount` are not captured, and run eagerly around compiled parts.
"""

from __future__ import annotations

import math

from lampion import backend
from lampion import dtype as dtypes
from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError
from lampion.mode import known, mode
from lampion.ops.creation import arange, full
from lampion.ops.define import apply_wide, kernel, operation, promote, refuse_complex
from lampion.ops.elementwise import add, div, eq, mul, sub, where
from lampion.ops.movement import reshape
from lampion.ops.reduce import amax, amin, sum
from lampion.ops.results import Histogram, HistogramDD
from lampion.ops.shapes import normalize_dim
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor, wrap

_range = range  # histograms have an argument of that name

# -- different elements ----------------------------------------------------------------------------------


def _array(name, x):
    """The contents of a tensor; in a trace there are none."""
    array = known(x, f"{name}: the size of its result depends on a tensor's values", "do that outside")
    refuse_complex(name, x)
    return backend.namespace(array), array


def _runs(xp, rows):
    """The first of each run of equal rows, the number of the run that each row is in, the lengths of runs."""
    n = len(rows)
    starts = xp.ones(n, bool)
    starts[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    first = xp.flatnonzero(starts)
    return first, xp.cumsum(starts) - 1, xp.diff(xp.append(first, n))


def _rows(xp, x, dim):
    """A row for each slice along `dim`; without `dim`, for each element."""
    if dim is None:
        return x.reshape(-1, 1)
    return xp.moveaxis(x, dim, 0).reshape(x.shape[dim], math.prod(x.shape) // max(x.shape[dim], 1))


def _distinct(name, x, dim, ordered, return_inverse, return_counts):
    x = as_tensor(x)
    xp, array = _array(name, x)
    if dim is not None:
        dim = normalize_dim(name, dim, x.ndim)
        if not x.ndim:
            raise IndexRangeError(name, "a 0-d tensor has no slices", got=f"dim {dim}", fix="leave out dim")
        if not x.numel() and x.shape[dim]:
            raise ShapeError(name, "slices without elements cannot be told apart", got=str(tuple(x.shape)))
    rows = _rows(xp, array, dim)
    order = xp.lexsort(rows.T[::-1]) if ordered and rows.size else xp.arange(len(rows))
    first, runs, counts = _runs(xp, rows[order])
    kept = order[first]
    found = [array.reshape(-1)[kept] if dim is None else xp.take(array, kept, axis=dim)]
    if return_inverse:
        inverse = xp.empty(len(rows), xp.int64)
        inverse[order] = runs
        found.append(inverse.reshape(x.shape) if dim is None else inverse)
    if return_counts:
        found.append(counts.astype(xp.int64))
    found = tuple(wrap(part) for part in found)
    return found if len(found) > 1 else found[0]


@operation
def unique(
    input, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
):  # fmt: skip
    """The different elements in ascending order; with `dim`, the different slices along it.

    Every NaN differs from every other. Not differentiable.

    Args:
        sorted: ignored: they always are.
        return_inverse: also where each element of the input stands in the result.
        return_counts: also how often each occurs.

    >>> import lampion
    >>> lampion.unique(lampion.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    return _distinct("unique", input, dim, True, return_inverse, return_counts)


@operation
def unique_consecutive(
    input, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
):
    """The first element of each run of equal ones: see `unique`.

    >>> import lampion
    >>> lampion.unique_consecutive(lampion.tensor([3, 3, 1, 3]))
    tensor([3, 1, 3])
    """
    return _distinct("unique_consecutive", input, dim, False, return_inverse, return_counts)


@kernel(public=False)
class is_member:
    """Whether each element of x is among those of `members`."""

    def infer(x, members): return x.shape, dtypes.bool_.numpy
    def forward(xp, x, members): return xp.isin(x, members)
    def call(x, members): return apply_wide(is_member.primitive, x, members)


@operation(method=False)
def isin(elements, test_elements, *, assume_unique: bool = False, invert: bool = False):
    """Whether each element is among the test elements; with `invert`, whether it is not.

    >>> import lampion
    >>> lampion.isin(lampion.tensor([1, 2, 3]), lampion.tensor([3, 1]))
    tensor([ True, False,  True])
    """
    x, members = promote("isin", as_tensor(elements), as_tensor(test_elements))
    found = is_member(x, members)
    return eq(found, False) if invert else found


# -- histograms --------------------------------------------------------------------------------------------


@operation
def bincount(input, weights: Tensor | None = None, minlength: int = 0):
    """How often each of the numbers 0, 1, 2... up to the largest occurs, or the sum of its weights.

    Args:
        input: integers, none negative, in one dimension.
        weights: one for each of them.
        minlength: zeros are put behind, up to this length.

    >>> import lampion
    >>> lampion.bincount(lampion.tensor([0, 2, 2]), minlength=4)
    tensor([1, 0, 2, 0])
    """
    x = as_tensor(input)
    if x.ndim != 1 or x.dtype.kind not in "iu":
        raise DTypeError("bincount", "expected a row of integers", got=f"{x.dtype}, {tuple(x.shape)}")
    xp, array = _array("bincount", x)
    if array.size and array.min() < 0:
        raise LampionError("bincount", "a number is negative", expected="0 or more", got=str(array.min()))
    if weights is not None and weights.shape != x.shape:
        raise ShapeError("bincount", "there must be a weight for every number", expected=str(tuple(x.shape)),
                         got=str(tuple(weights.shape)))  # fmt: skip
    if minlength < 0:
        raise LampionError("bincount", "minlength is negative", expected="0 or more", got=str(minlength))
    of = None if weights is None else weights._array
    counts = xp.bincount(array.astype(xp.int64), of, minlength)
    return wrap(counts.astype(xp.float32) if of is not None and of.dtype == xp.float32 else counts)


@kernel(public=False)
class counts_in_bins:
    """How many elements lie in each of `bins` bins of one width, from `low` to `high` (in the last)."""

    def infer(x, low, high, bins): return (bins,), x.dtype

    def forward(xp, x, low, high, bins):
        inside = x.reshape(-1)
        inside = inside[(inside >= low) & (inside <= high)]
        places = ((inside - low) / (high - low) * bins).astype(xp.int64)
        return xp.bincount(xp.minimum(places, bins - 1), minlength=bins).astype(x.dtype)

    def call(x, low, high, bins): return apply_wide(counts_in_bins.primitive, x, low, high, bins=bins)


@operation
def histc(input, bins: int = 100, min: float = 0, max: float = 0):
    """How many elements lie in each of `bins` bins of one width, from `min` to `max`.

    The bounds are the smallest and the largest element if both are the same. What lies outside of them is
    not counted, nor is NaN.

    >>> import lampion
    >>> lampion.histc(lampion.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    x = as_tensor(input)
    refuse_complex("histc", x)
    if bins < 1:
        raise LampionError("histc", "expected at least one bin", got=str(bins))
    if min > max:
        raise LampionError("histc", "the bounds are exchanged", expected="min <= max", got=f"{min} and {max}")
    low, high = _bounds("histc", x, (min, max) if min != max else None)
    return counts_in_bins(x, low, high, bins)


def _bounds(name, x, given):
    """The outer edges, as 0-d tensors: as given, or those of the elements; never the same."""
    if given is None and x.numel():
        low, high = amin(x), amax(x)
        found = (0, 0) if mode.trace is not None else (low.item(), high.item())
        if not all(map(math.isfinite, found)):
            raise LampionError(name, "the range of the elements is not finite", got=f"{found}")
    else:
        low, high = given or (0, 1)
        if not (math.isfinite(low) and math.isfinite(high)) or low > high:
            raise LampionError(name, "the range is not one of finite numbers", got=f"{low} to {high}")
        low, high = full((), low, x.dtype), full((), high, x.dtype)
    apart = where(eq(low, high), 0.5 if x.dtype.is_floating_point else 1, 0)
    return sub(low, apart), add(high, apart)


@kernel(public=False)
class counts_in_boxes:
    """The sum of the weights of those points (rows) that lie in each box between edges, of one row for each
    dimension. The last edge belongs to the last box.
    """

    def infer(points, weights, *edges): return tuple(row.size - 1 for row in edges), weights.dtype

    def forward(xp, points, weights, *edges):
        shape = tuple(row.size - 1 for row in edges)
        inside = xp.ones(len(points), bool)
        place = xp.zeros(len(points), xp.int64)
        for column, row, size in zip(points.T, edges, shape, strict=True):
            inside &= (column >= row[0]) & (column <= row[-1])
            place = place * size + xp.minimum(xp.searchsorted(row, column, "right") - 1, size - 1)
        counts = xp.bincount(place[inside], weights[inside], math.prod(shape))
        return counts.astype(weights.dtype).reshape(shape)

    def call(points, weights, *edges): return apply(counts_in_boxes.primitive, points, weights, *edges)


def _histogram(name, points, bins, range, weight, density):
    if points.dtype not in (dtypes.float32, dtypes.float64):
        raise DTypeError(name, "expected float32 or float64", got=str(points.dtype), fix="x.float()")
    dims = points.shape[-1]
    points = reshape(points.detach(), math.prod(points.shape[:-1]), dims)
    if len(bins) != dims or (range is not None and len(range) != 2 * dims):
        raise ShapeError(name, "expected bins, and two bounds if any, for every dimension",
                         expected=str(dims), got=f"{len(bins)} bins, range {range}")  # fmt: skip
    edges = []
    for d, bin_ in enumerate(bins):
        if isinstance(bin_, Tensor):
            edges.append(bin_.detach())
            continue
        if bin_ < 1:
            raise LampionError(name, "expected at least one bin", got=str(bin_))
        low, high = _bounds(name, points[:, d], None if range is None else tuple(range[2 * d : 2 * d + 2]))
        steps = div(arange(bin_ + 1, dtype=points.dtype), float(bin_))
        edges.append(add(mul(low, sub(1.0, steps)), mul(high, steps)))
    if weight is None:
        weight = full((points.shape[0],), 1, points.dtype)
    counts = counts_in_boxes(points, reshape(weight.detach(), -1), *edges)
    if density:
        counts = div(counts, sum(counts))
        for d, row in enumerate(edges):
            counts = div(counts, reshape(row[1:] - row[:-1], [-1 if a == d else 1 for a in _range(dims)]))
    return counts, edges


@operation
def histogram(
    input, bins: int | Tensor, *, range: tuple[float, float] | None = None,
    weight: Tensor | None = None, density: bool = False,
) -> Histogram:  # fmt: skip
    """How many elements lie in each bin, and the edges of the bins: ``.hist`` and ``.bin_edges``.

    Args:
        bins: how many of one width, or a tensor of ascending edges.
        range: the outer edges; the smallest and the largest element by default.
        weight: what each element counts, in the shape of the input.
        density: instead of counts, the density of the distribution, whose area is 1.

    >>> import lampion
    >>> lampion.histogram(lampion.tensor([1.0, 2.0, 1.0]), bins=4, range=(0.0, 3.0)).hist
    tensor([0., 2., 1., 0.])
    """
    x = as_tensor(input)
    counts, edges = _histogram("histogram", reshape(x, -1, 1), [bins], range, weight, density)
    return Histogram(counts, edges[0])


@operation(method=False)
def histogramdd(
    input, bins, range: list[float] | None = None, weight: Tensor | None = None, density: bool = False
) -> HistogramDD:
    """How many points lie in each box of a grid, and the edges along each dimension.

    Args:
        input: points, the last dimension of which holds the coordinates.
        bins: a number of bins, or one for each dimension, or a tensor of edges for each.
        range: the lowest and the highest edge of each dimension, one after the other.
    """
    x = as_tensor(input)
    if x.ndim < 2:
        raise ShapeError("histogramdd", "expected points in rows", got=str(tuple(x.shape)))
    bins = [bins] * x.shape[-1] if isinstance(bins, int) else list(bins)
    counts, edges = _histogram("histogramdd", x, bins, range, weight, density)
    return HistogramDD(counts, tuple(edges))
