"""Operations made of others that have a gradient of their own, each with what earned it that.

And those functions of each element that only `nn.functional` needs.

Measured on the step of a 2-10-3 network with a batch of 30, eager (`benchmarks/results`): every node of
the tape costs about 4 us there and back, the arithmetic next to nothing.
"""

from __future__ import annotations

from math import prod

from numpy import ndarray

from lampion import dtype as dtypes
from lampion.errors import DTypeError
from lampion.mode import mode
from lampion.ops.arithmetic import clamp_min, rsqrt
from lampion.ops.creation import full
from lampion.ops.define import cast_to, composite, elementwise, widened
from lampion.ops.elementwise import add, cast, clone, div, exp, log, mul, ne, neg, sigmoid, sub, where
from lampion.ops.exponentials import log1p
from lampion.ops.matrix import matmul
from lampion.ops.reduce import amax, mean, sum
from lampion.ops.scatter import gather, scatter_add
from lampion.ops.shapes import normalize_dim
from lampion.ops.views import matrix_transpose
from lampion.tensor import as_tensor


def add_to_own(y, bias):
    """y + bias, for a y that nobody else holds, and has no use for.

    Arrays are added in place: a second one of this size would cost more than the sum. The door does not
    see that; where it is watched, `debug.watch` puts `add` here.
    """
    product, more = y._array, bias._array
    if type(product) is not ndarray or type(more) is not ndarray or more.shape != product.shape[1:]:
        return add(y, bias)
    product += more
    return y


@composite(saves="inputs", public=False)
class affine:
    """x @ weight.T + bias for a matrix x: one node instead of three."""

    def forward(x, weight, bias):
        return add_to_own(matmul(x, matrix_transpose(weight)), bias)

    def vjp(g, x, weight, bias):
        return lambda: matmul(g, weight), lambda: matmul(matrix_transpose(g), x), lambda: sum(g, 0)


@composite(saves="output", method=True)
class softmax:
    """e**x / sum(e**x) along a dimension, without overflow: one node instead of four."""

    def forward(x, dim):
        powers = exp(sub(x, amax(x, dim, True)))
        return div(powers, sum(powers, dim, True))

    def vjp(g, y, dim): return mul(y, sub(g, sum(mul(g, y), dim, True)))

    def call(x, dim, dtype=None):
        """e**x / sum(e**x) along a dimension, without overflow; `dtype` converts x first."""
        x = _scores("softmax", x, dtype)
        axis = normalize_dim("softmax", dim, x.ndim or 1)
        if not x.ndim:
            return x - x + 1.0  # the one probability is 1
        return cast_to(_softmax(widened(x), dim=axis), x.dtype) if x.numel() else clone(x)


@composite(saves="output", method=True)
class log_softmax:
    """log(e**x / sum(e**x)) along a dimension, without overflow: one node instead of six."""

    def forward(x, dim):
        shifted = sub(x, amax(x, dim, True))
        return sub(shifted, log(sum(exp(shifted), dim, True)))

    def vjp(g, y, dim): return sub(g, mul(exp(y), sum(g, dim, True)))

    def call(x, dim, dtype=None):
        """log(e**x / sum(e**x)) along a dimension, without overflow; `dtype` converts x first."""
        x = _scores("log_softmax", x, dtype)
        axis = normalize_dim("log_softmax", dim, x.ndim or 1)
        if not x.ndim:
            return sub(x, x)  # the one probability is 1
        return cast_to(_log_softmax(widened(x), dim=axis), x.dtype) if x.numel() else clone(x)


def _scores(name, x, dtype):
    x = as_tensor(x)
    if dtype is not None:
        x = cast_to(x, dtypes.of(dtype))
    if not x.dtype.is_floating_point:
        raise DTypeError(name, "expected floats", got=str(x.dtype), fix="convert it: x.float()")
    return x


_softmax = softmax.primitive.composed
_log_softmax = log_softmax.primitive.composed


@elementwise(saves="inputs", public=False)
class softplus:
    """log(1 + e**x), without overflow. (NumPy's logaddexp says the same, an element at a time.)"""

    def forward(xp, x): return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))
    def vjp(g, x): return g * sigmoid(x)


@composite(saves=(1,), public=False)
class mean_nll:
    """Minus the mean of the log-probabilities that the labels pick along `dim`, over those labels that are
    not `ignore`: one node instead of eight. The labels have size 1 along `dim`.
    """

    def forward(log_p, labels, dim, ignore):
        counts = ne(labels, ignore)
        index = where(counts, labels, 0)
        total = sum(cast(counts, log_p.dtype))
        picked = where(counts, gather(log_p, dim, index), 0.0)
        return neg(div(sum(picked), total)), counts, index, total

    def vjp(g, log_p, labels, counts, index, total, dim, ignore):
        def for_log_p(shape):
            step = where(counts, neg(div(g, total)), 0.0)
            return scatter_add(full(shape, 0, g.dtype), dim, index, step)

        return for_log_p, None


@composite(saves=(1,), public=False)
class scaled_gradient:
    """x; its gradient is scaled by a factor."""

    def forward(x, factor): return clone(x)
    def vjp(g, x, factor): return lambda: g * factor, None


@elementwise(saves="inputs", public=False)
class binary_entropy:
    """-(t log x + (1 - t) log(1 - x)), with logarithms held above -100 and slopes below 1e12."""

    def forward(xp, x, t):
        low = xp.maximum(xp.log1p(-x), -100)
        return (t - 1) * low - t * xp.maximum(xp.log(x), -100)

    def vjp(g, x, t):
        return (
            lambda: g * (x - t) / clamp_min((1 - x) * x, 1e-12),
            lambda: g * (clamp_min(log1p(-x), -100.0) - clamp_min(log(x), -100.0)),
        )


@composite(public=False)
class centred:
    """x minus its mean over the axes: one node instead of three (layer norm: 0.23 to 0.15 ms at 16 x 32)."""

    def forward(x, axes): return sub(x, mean(x, axes, True))
    def vjp(g, axes): return sub(g, mean(g, axes, True))


@composite(saves="inputs", public=False)
class mean_square:
    """The mean of x**2 over the axes, which stay with size 1: one node instead of three."""

    def forward(x, axes): return mean(mul(x, x), axes, True)

    def vjp(g, x, axes):
        count = 1
        for axis in axes:
            count *= x.shape[axis]
        return mul(mul(g, 2.0 / max(count, 1)), x)


@composite(saves=(0, 1, 3, 4), public=False)
class batch_normalised:
    """(x - middle) * scale * gain + shift, where mean and 1 / sqrt(var + eps) of x over the axes are given.

    They come without a gradient: it is in this one, which takes two sums, those of the gradients of gain and
    shift, and one pass over x. The gradients of mean and variance took twice as many.
    """

    def forward(x, gain, shift, middle, scale, axes, eps):
        return add(mul(mul(sub(x, middle), scale), gain), shift)

    def vjp(g, x, gain, shift, middle, scale, axes, eps):
        if mode.grad:  # derivatives of higher order: now it matters that the statistics depend on x
            middle = mean(x, axes, True)
            scale = rsqrt(add(mean_square(sub(x, middle), axes=axes), eps))
        normal = mul(sub(x, middle), scale)
        total, along = sum(g, axes, True), sum(mul(g, normal), axes, True)

        def for_x():
            share = 1.0 / max(1, prod(x.shape[axis] for axis in axes))
            away = add(mul(total, share), mul(normal, mul(along, share)))
            return mul(mul(scale, gain), sub(g, away))

        return for_x, along, total, None, None
