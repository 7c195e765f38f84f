"""An element for every index, along one dimension: gather, and the scatters that write or add there."""

from __future__ import annotations

import functools
import math

from lampion import dtype as dtypes
from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError
from lampion.ops.creation import full, zeros
from lampion.ops.define import cast_to, kernel, operation
from lampion.ops.elementwise import div, eq, mul, sub, where
from lampion.ops.movement import broadcast_to, put, reshape, slice_
from lampion.ops.shapes import normalize_dim
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor


def check_index(name, index, size, dim):
    """Refuse indices outside [0, size); the native kernels report them to here too."""
    # As unsigned integers the negative ones are the largest: one pass finds both kinds of error.
    if index.size and index.view(index.dtype.str.replace("i", "u")).max() >= size:
        raise out_of_range(name, int(index[(index < 0) | (index >= size)].flat[0]), size, dim)


def out_of_range(name, bad, size, dim):
    """The error about one index; the same from eager and from compiled code."""
    return IndexRangeError(
        name, f"index {bad} is out of range", expected=f"0 to {size - 1} along dim {dim}", got=str(bad),
        fix="check the labels or token ids, and the size of the table",
    )  # fmt: skip


@kernel(saves=(1,), method=True)
class gather:
    """``out[i][j] = x[index[i][j]][j]`` for dim 0, and so on: an element of x for every index."""

    def infer(x, index, dim): return index.shape, x.dtype

    def forward(xp, x, index, dim):
        check_index("gather", index, x.shape[dim], dim)
        return x.take(_places(xp, x.shape, index, dim))

    def vjp(g, x, index, dim):
        return lambda shape: scatter_add(zeros(shape, dtype=g.dtype), dim, index, g), None

    def call(input, dim, index, *, sparse_grad=False):
        """An element of x for every index, along `dim`; the result has the index's shape.

        ``out[i][j] = x[index[i][j]][j]`` for dim 0, ``x[i][index[i][j]]`` for dim 1.
        """
        input, index = as_tensor(input), as_tensor(index)
        if not index.numel() and index.ndim != input.ndim:  # PyTorch takes an empty index of any shape
            return reshape(slice_(reshape(input, -1), ((0, 0, 1),)), index.shape)
        input, dim, index, shape = _prepared("gather", input, dim, index)
        return _restored(apply(gather.primitive, input, index, dim=dim), shape)


@kernel(public=False, saves=(1,))
class scatter_add_:
    """`x` with each element of `source` added at the place that its index names along `dim`."""

    def infer(x, index, source, dim): return x.shape, x.dtype

    def forward(xp, x, index, source, dim):
        check_index("scatter_add", index, x.shape[dim], dim)
        out = x.copy()
        source = source[tuple(slice(n) for n in index.shape)]
        places = _places(xp, x.shape, index, dim)
        xp.add.at(out.reshape(-1), places.reshape(-1), source.reshape(-1))  # for rows NumPy has a fast loop
        return out

    def vjp(g, x, index, source, dim):
        return g, None, lambda shape: _pad_to(gather(g, dim, index), shape)

    def call(x, dim, index, source): return apply(scatter_add_.primitive, x, index, source, dim=dim)


@kernel(public=False, saves=(1,))
class scatter_:
    """`x` with each element of `source` put at the place that its index names along `dim`."""

    def infer(x, index, source, dim): return x.shape, x.dtype

    def forward(xp, x, index, source, dim):
        check_index("scatter", index, x.shape[dim], dim)
        out = x.copy()
        out.reshape(-1)[_places(xp, x.shape, index, dim)] = source[tuple(slice(n) for n in index.shape)]
        return out

    def vjp(g, x, index, source, dim):
        return (
            lambda: scatter_(g, dim, index, _numbers(0, index, g.dtype)), None,
            lambda shape: _pad_to(gather(g, dim, index), shape),
        )  # fmt: skip

    def call(x, dim, index, source): return apply(scatter_.primitive, x, index, source, dim=dim)


#: How `scatter_reduce` combines two numbers, and what the first of an element's is combined with.
_COMBINE = {"prod": "multiply", "amax": "maximum", "amin": "minimum"}


@kernel(public=False, saves="both")
class scatter_combine:
    """`x` with each element of `source` multiplied into (or: the greatest, the least of it and) the place
    that its index names along `dim`.
    """

    def infer(x, index, source, dim, how): return x.shape, x.dtype

    def forward(xp, x, index, source, dim, how):
        check_index("scatter_reduce", index, x.shape[dim], dim)
        out = x.copy()
        source = source[tuple(slice(n) for n in index.shape)]
        places = _places(xp, x.shape, index, dim)
        getattr(xp, _COMBINE[how]).at(out.reshape(-1), places.reshape(-1), source.reshape(-1))
        return out

    def vjp(g, x, index, source, y, dim, how):
        shape = source.shape
        source = _corner(source, index.shape)
        for_x, for_source = (_slopes_of_product if how == "prod" else _slopes_of_extreme)(
            g, x, index, source, y, dim
        )
        return for_x, None, _pad_to(for_source, shape)

    def call(x, dim, index, source, how):
        return apply(scatter_combine.primitive, x, index, source, dim=dim, how=how)


def _slopes_of_extreme(g, x, index, source, y, dim):
    """All the numbers that are equal to the greatest share its gradient."""
    mine, theirs = eq(x, y), eq(source, gather(y, dim, index))
    count = scatter_add_(cast_to(mine, g.dtype), dim, index, cast_to(theirs, g.dtype))
    share = div(g, count)
    return where(mine, share, 0.0), where(theirs, gather(share, dim, index), 0.0)


def _slopes_of_product(g, x, index, source, y, dim):
    """The product of the others, without dividing by a factor that is zero.

    That is the product of all that are not zero, divided by the factor if it is not zero, times the *sum* of
    the other zeros: if there is one other zero, their product is their sum, as a function too, so that the
    second derivative is right. (That of three zeros and more would take the third.)
    """
    zero_x, zero_source = eq(x, 0), eq(source, 0)
    count = scatter_add_(cast_to(zero_x, g.dtype), dim, index, cast_to(zero_source, g.dtype))
    zeros_of = scatter_add_(where(zero_x, x, 0.0), dim, index, where(zero_source, source, 0.0))
    whole = scatter_combine(where(zero_x, 1.0, x), dim, index, where(zero_source, 1.0, source), "prod")

    def others(factor, is_zero, count, zeros_of, whole):
        left = div(whole, where(is_zero, 1.0, factor))
        more = sub(count, cast_to(is_zero, count.dtype))
        product = where(eq(more, 1), sub(zeros_of, where(is_zero, factor, 0.0)), 0.0)
        return mul(left, where(eq(more, 0), 1.0, product))

    there = (gather(part, dim, index) for part in (count, zeros_of, whole))
    for_x, for_source = others(x, zero_x, count, zeros_of, whole), others(source, zero_source, *there)
    return mul(g, for_x), mul(gather(g, dim, index), for_source)


@operation(inplace=True)
def scatter_add(input, dim, index, src):
    """`input` with each element of `src` added at the place that its index names along `dim`.

    ``out[index[i][j]][j] += src[i][j]`` for dim 0; an element may be added to several times.
    """
    return _scattered("scatter_add", scatter_add_, input, dim, index, src)


@operation(inplace=True)
def scatter(input, dim, index, src=None, *, value=None, reduce=None):
    """`input` with each element of `src`, or one number, put at the place that its index names along `dim`.

    ``out[index[i][j]][j] = src[i][j]`` for dim 0. Of several elements for one place, one stays: which is
    not defined.

    Args:
        src: a tensor no smaller than `index`, or a number.
        value: the number, by its name.
        reduce: "add" or "multiply", to combine instead of replacing.
    """
    if (src is None) == (value is None):
        raise LampionError("scatter", "expected either src or value",
                           got="both" if value is not None else "none")  # fmt: skip
    src = value if src is None else src
    if reduce not in (None, "add", "multiply"):
        raise LampionError("scatter", 'reduce is "add" or "multiply"', got=repr(reduce))
    if not isinstance(src, Tensor):
        src = _numbers(src, as_tensor(index), as_tensor(input).dtype)
    multiply = functools.partial(scatter_combine, how="prod")
    rule = {None: scatter_, "add": scatter_add_, "multiply": multiply}[reduce]
    return _scattered("scatter", rule, input, dim, index, src)


@operation(inplace=True)
def scatter_reduce(input, dim, index, src, reduce, *, include_self: bool = True):
    """`input` with the elements of `src` combined into the places that their indices name along `dim`.

    Args:
        reduce: "sum", "prod", "mean", "amax" or "amin".
        include_self: whether an element of `input` counts among those that are combined in its place.

    >>> import lampion
    >>> x, at = lampion.tensor([1.0, 2.0]), lampion.tensor([0, 0, 1])
    >>> x.scatter_reduce(0, at, lampion.tensor([3.0, 4.0, 5.0]), "amax", include_self=False)
    tensor([4., 5.])
    """
    return _scattered("scatter_reduce", reduction_rule("scatter_reduce", reduce, include_self),
                      input, dim, index, src)  # fmt: skip


def reduction_rule(name, reduce, include_self):
    """The function (x, dim, index, source) that combines as asked."""
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise LampionError(name, "there is no such reduction", expected="sum, prod, mean, amax or amin",
                           got=repr(reduce))  # fmt: skip

    def rule(x, dim, index, source):
        start = x
        if not include_self:  # what takes part in nothing stays as it is
            neutral = {"sum": 0, "mean": 0, "prod": 1, "amax": x.dtype.min, "amin": x.dtype.max}[reduce]
            start = scatter_(x, dim, index, _numbers(neutral, index, x.dtype))
        if reduce in _COMBINE:
            return scatter_combine(start, dim, index, source, reduce)
        total = scatter_add_(start, dim, index, source)
        if reduce == "sum":
            return total
        ones = _numbers(1, index, x.dtype)
        before = full(x.shape, 1, x.dtype)
        if not include_self:
            before = scatter_(before, dim, index, _numbers(0, index, x.dtype))
        count = scatter_add_(before, dim, index, ones)
        return div(total, count) if x.dtype.is_inexact else floor_div(total, count)

    return rule


def floor_div(x, y):
    """Whole numbers divided and rounded down."""
    from lampion.ops import OPERATIONS

    return OPERATIONS["floor_divide"](x, y)


def _scattered(name, rule, x, dim, index, source):
    x, source = as_tensor(x), as_tensor(source)
    if source.dtype is not x.dtype:
        raise DTypeError(name, "input and src must have one type",
                         got=f"{x.dtype} and {source.dtype}")  # fmt: skip
    like = source
    x, dim, index, shape = _prepared(name, x, dim, index, covers=False)
    source = reshape(source, 1) if not source.ndim else source
    if (source.ndim != index.ndim and index.numel()) or any(
        n < m for n, m in zip(source.shape, index.shape, strict=False)
    ):
        raise ShapeError(name, "src is smaller than index, or has other dimensions",
                         got=f"src {tuple(like.shape)}, index {tuple(index.shape)}")  # fmt: skip
    if not index.numel():
        return x.clone() if x.shape == shape else reshape(x.clone(), shape)
    return _restored(rule(x, dim, index, source), shape)


def _prepared(name, x, dim, index, covers=True):
    """x and index checked, at least 1-d, and the shape that the result is to have.

    `covers` says whether that is the shape of the index rather than of x.
    """
    x, index = as_tensor(x), as_tensor(index)
    dim = normalize_dim(name, dim, x.ndim)
    if index.dtype not in (dtypes.int64, dtypes.int32) and index.numel():
        raise DTypeError(name, "the index must be an integer tensor", expected="lampion.int64",
                         got=str(index.dtype), fix="convert it: index.long()")  # fmt: skip
    shape = index.shape if covers else x.shape
    if not index.numel():
        # PyTorch takes an empty index of any number of dimensions, and of any type.
        index = cast_to(index, dtypes.int64)
        return (x if x.ndim else reshape(x, 1)), dim, index, shape
    x = x if x.ndim else reshape(x, 1)
    index = index if index.ndim else reshape(index, 1)
    if x.ndim != index.ndim:
        raise ShapeError(name, "x and index have different numbers of dimensions",
                         got=f"x {tuple(x.shape)}, index {tuple(index.shape)}")  # fmt: skip
    if any(a != dim and n > m for a, (n, m) in enumerate(zip(index.shape, x.shape, strict=True))):
        raise ShapeError(name, "the index is larger than x in a dimension other than dim",
                         got=f"x {tuple(x.shape)}, index {tuple(index.shape)}, dim {dim}")  # fmt: skip
    return x, dim, index, shape


def _restored(x, shape):
    return x if x.shape == shape else reshape(x, shape)


def _numbers(number, index, dtype):
    """One number for every index."""
    return broadcast_to(full((), number, dtype), index.shape)


def _places(xp, shape, index, dim):
    """Where the elements that `index` picks along `dim` stand, counted through a tensor of that shape."""
    places = xp.multiply(index, math.prod(shape[dim + 1 :]), dtype=xp.int64)
    for axis, n in enumerate(index.shape):
        if axis != dim and n > 1:  # each element's own place elsewhere
            own = xp.arange(n)
            if axis < len(shape) - 1:
                own *= math.prod(shape[axis + 1 :])
            places += own.reshape((n,) + (1,) * (index.ndim - axis - 1))
    return places


def _corner(x, shape):
    """The corner of x that has the given shape."""
    return x if x.shape == shape else slice_(x, tuple((0, n, 1) for n in shape))


def _pad_to(x, shape):
    """`x` in the corner of zeros of the given shape."""
    if x.shape == shape:
        return x
    bounds = tuple((0, n, 1) for n in x.shape)
    return put(zeros(shape, dtype=x.dtype), x, ((slice_.primitive, {"bounds": bounds}),))
