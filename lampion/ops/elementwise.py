"""Operations on each element by itself: arithmetic, functions, comparisons, choice.

The same `forward` serves NumPy, CuPy and the code generator, which calls it with `xp` = an emitter of
machine instructions: so it uses operators and functions of the array library, and nothing else.
"""

from __future__ import annotations

import math

import numpy as np

from lampion import dtype as dtypes
from lampion.backend import clip
from lampion.errors import DTypeError, LampionError
from lampion.ops.creation import full
from lampion.ops.define import apply_wide, cast_to, elementwise, promote, refuse_bools
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor

ONE = 1  # how `alpha` is left out, mostly

# -- arithmetic --------------------------------------------------------------------------------------


@elementwise
class add:
    """x + y; with `alpha`, x + alpha * y."""

    def extend(plain):
        def add(input, other, *, alpha=1): return plain(input, other if alpha is ONE else times(other, alpha))
        return add

    def forward(xp, x, y): return xp.add(x, y)
    def vjp(g): return g, g


@elementwise(bools=False)
class sub:
    """x - y; with `alpha`, x - alpha * y."""

    def extend(plain):
        def sub(input, other, *, alpha=1): return plain(input, other if alpha is ONE else times(other, alpha))
        return sub

    def forward(xp, x, y): return xp.subtract(x, y)
    def vjp(g): return g, lambda: neg(g)


@elementwise(saves="others")
class mul:
    """x * y."""

    def forward(xp, x, y): return xp.multiply(x, y)
    def vjp(g, x, y): return lambda: g * y, lambda: g * x


@elementwise(saves="inputs", inputs="float")
class div:
    """x / y; integers are divided as floats.

    Args:
        rounding_mode: "trunc" or "floor" round the quotient, in the type of the arguments; None does not.
    """

    def extend(plain):
        def div(input, other, *, rounding_mode=None):
            if rounding_mode is None:
                return plain(input, other)
            return rounded_quotient(input, other, rounding_mode)

        return div

    def forward(xp, x, y): return xp.true_divide(x, y)
    def vjp(g, x, y): return lambda: g / y, lambda: neg(g * x) / (y * y)


@elementwise(bools=False)
class neg:
    """-x."""

    def forward(xp, x): return xp.negative(x)
    def vjp(g): return neg(g)


@elementwise(saves="both", bools=False)
class pow:
    """x to the power y. Integers to a negative power are 0, but for 1 and -1."""

    def forward(xp, x, y):
        if getattr(x, "dtype", y.dtype if hasattr(y, "dtype") else x).kind != "i" or not hasattr(y, "dtype"):
            return xp.power(x, y)
        inverse = xp.where(xp.equal(x, 1), 1, xp.where(xp.equal(x, -1), 1 - 2 * (y & 1), 0))
        return xp.where(xp.less(y, 0), inverse, xp.power(x, xp.maximum(y, 0))).astype(y.dtype)

    def vjp(g, x, y, out):
        # At y = 0 the slope in x is 0, even where x**-1 is infinite; at x = 0 < y the logarithm is
        # infinite, but the power wins and the slope in y is 0.
        return (
            lambda: where(y == 0, 0.0, g * y * pow(x, y - 1)) if isinstance(y, Tensor) else _slope(g, x, y),
            lambda: g * where(_both_zero_slope(x, y), 0.0, out * log(x)),
        )

    def call(input, exponent):
        """x to the power y; exponents 0.5, 2 and 3 are a square root and products."""
        if isinstance(exponent, int | float) and isinstance(input, Tensor) and input._array.dtype.kind != "b":
            if exponent == 0.5:
                return sqrt(input)
            if exponent == 2:
                return mul(input, input)
            if exponent == 3:
                return mul(mul(input, input), input)
        input, exponent = refuse_bools("pow", *promote("pow", input, exponent))
        kind = (input if isinstance(input, Tensor) else exponent).dtype.kind
        if kind in "bui" and isinstance(exponent, int) and exponent < 0:
            raise DTypeError("pow", "an integer to a negative power is not an integer",
                             got=f"exponent {exponent}", fix="convert first: x.float()")  # fmt: skip
        return apply_wide(pow.primitive, input, exponent)


def _slope(g, x, exponent):
    return g * 0.0 if exponent == 0 else g * (exponent * pow(x, exponent - 1))


def _both_zero_slope(x, y):
    if not isinstance(x, Tensor):
        x = as_tensor(complex(x) if isinstance(x, complex) else float(x))
    return where(x == 0, as_tensor(y).real >= 0, False)


def times(y, alpha):
    """alpha * y, for the `alpha` of add and sub: in the type of y, where integers wrap around."""
    if not isinstance(alpha, Tensor) and alpha == 1:  # one that stands for a number of each call may not be 1
        return y
    if isinstance(y, Tensor):
        kind = y.dtype.kind
        if kind == "b" and not isinstance(alpha, bool):
            raise DTypeError("add, sub", "the alpha of boolean tensors must be a boolean", got=repr(alpha))
        if isinstance(alpha, float) and kind in "bui":
            raise DTypeError("add, sub", "the alpha of integer tensors must be an integer", got=repr(alpha))
        if kind == "u" and isinstance(alpha, int):
            alpha %= 2 ** (8 * y.dtype.itemsize)
    return mul(y, alpha)


def rounded_quotient(x, y, rounding_mode):
    from lampion.ops.rounding import floor_divide, trunc_divide

    if rounding_mode not in ("floor", "trunc"):
        raise LampionError("div", "there is no such rounding_mode", expected="None, 'trunc' or 'floor'",
                           got=repr(rounding_mode))  # fmt: skip
    return (floor_divide if rounding_mode == "floor" else trunc_divide)(x, y)


# -- functions ---------------------------------------------------------------------------------------


@elementwise(saves="output", inputs="float")
class exp:
    """e to the power x."""

    def forward(xp, x): return xp.exp(x)
    def vjp(g, y): return g * y


@elementwise(saves="output", inputs="float")
class expm1:
    """e**x - 1, accurate near 0 too."""

    def forward(xp, x): return xp.expm1(x)
    def vjp(g, y): return g * (y + 1)


@elementwise(saves="inputs", inputs="float")
class log:
    """The natural logarithm of x."""

    def forward(xp, x): return xp.log(x)
    def vjp(g, x): return g / x


@elementwise(saves="output", inputs="float")
class sqrt:
    """The square root of x."""

    def forward(xp, x): return xp.sqrt(x)
    def vjp(g, y): return g / (y * 2)


@elementwise(saves="output", inputs="float")
class tanh:
    """The hyperbolic tangent of x."""

    def forward(xp, x): return xp.tanh(x)
    def vjp(g, y): return g * (1 - y * y)


@elementwise(saves="output", inputs="float")
class sigmoid:
    """1 / (1 + e**-x)."""

    def forward(xp, x): return 1 / (1 + xp.exp(-x))
    def vjp(g, y): return g * y * (1 - y)


@elementwise(saves="inputs", inputs="float")
class sin:
    """The sine of x, in radians."""

    def forward(xp, x): return xp.sin(x)
    def vjp(g, x): return g * cos(x)


@elementwise(saves="inputs", inputs="float")
class cos:
    """The cosine of x, in radians."""

    def forward(xp, x): return xp.cos(x)
    def vjp(g, x): return neg(g * sin(x))


@elementwise(saves="output", bools=False, complexes=False)
class relu:
    """max(x, 0). The slope at 0 is 0, as in PyTorch."""

    def forward(xp, x):
        return clip(x, 0, math.inf) if xp is np and x.dtype.char in "fd" else xp.maximum(x, 0)

    def vjp(g, y): return where(y > 0, g, 0.0)


@elementwise(saves="inputs", complexes=False)
class maximum:
    """The larger of x and y. Where they are equal, each gets half of the gradient."""

    def forward(xp, x, y): return xp.maximum(x, y)
    def vjp(g, x, y): return lambda: g * _share(x, y), lambda: g * _share(y, x)


@elementwise(saves="inputs", complexes=False)
class minimum:
    """The smaller of x and y. Where they are equal, each gets half of the gradient."""

    def forward(xp, x, y): return xp.minimum(x, y)
    def vjp(g, x, y): return lambda: g * _share(y, x), lambda: g * _share(x, y)


def _share(x, y):
    """1 where x > y, 1/2 where they are equal, 0 where x < y, in the type of the tensor among them."""
    dtype = (x if isinstance(x, Tensor) else y).dtype
    return (cast_to(gt(x, y), dtype) + cast_to(ge(x, y), dtype)) * 0.5


# -- comparisons: booleans, without a gradient -------------------------------------------------------


@elementwise(output="bool")
class eq:
    """x == y."""

    def forward(xp, x, y): return xp.equal(x, y)


@elementwise(output="bool")
class ne:
    """x != y."""

    def forward(xp, x, y): return xp.not_equal(x, y)


@elementwise(output="bool", complexes=False)
class lt:
    """x < y."""

    def forward(xp, x, y): return xp.less(x, y)


@elementwise(output="bool", complexes=False)
class le:
    """x <= y."""

    def forward(xp, x, y): return xp.less_equal(x, y)


@elementwise(output="bool", complexes=False)
class gt:
    """x > y."""

    def forward(xp, x, y): return xp.greater(x, y)


@elementwise(output="bool", complexes=False)
class ge:
    """x >= y."""

    def forward(xp, x, y): return xp.greater_equal(x, y)


# -- choice, conversion, bits ------------------------------------------------------------------------


@elementwise(saves=(0,), method=False)
class where:
    """x where the condition holds, y elsewhere."""

    def forward(xp, condition, x, y): return xp.where(condition, x, y)

    def vjp(g, condition, x, y):
        return None, lambda: where(condition, g, 0.0), lambda: where(condition, 0.0, g)

    def call(condition, input: Tensor | float | None = None, other: Tensor | float | None = None):
        """`input` where the condition holds, `other` elsewhere; without these, where it holds, as indices.

        >>> import lampion
        >>> x = lampion.tensor([3.0, -1.0])
        >>> lampion.where(x > 0, x, 0.0)
        tensor([3., 0.])
        >>> lampion.where(x > 0)
        (tensor([0]),)
        """
        x, y = input, other
        if x is None and y is None:
            from lampion.ops.masking import nonzero

            return nonzero(condition, as_tuple=True)
        if x is None or y is None:
            raise LampionError("where", "expected both values or none", got="one of them")
        if not isinstance(condition, Tensor):
            condition = as_tensor(condition)
        if condition._array.dtype.kind != "b":
            raise DTypeError("where", "the condition must be boolean", expected="lampion.bool",
                             got=str(condition.dtype), fix="compare: where(x != 0, ...)")  # fmt: skip
        if isinstance(x, Tensor) and type(y) is float and x._array.dtype.char in "fd":
            return apply(where.primitive, condition, x, y)
        x, y = promote("where", x, y)
        return apply_wide(where.primitive, condition, x, y)


@elementwise(inplace=False)
class cast:
    """x converted to another type; the gradient is converted back."""

    def infer(x, dtype, source): return x.shape, dtype.numpy

    def forward(xp, x, dtype, source):
        if source.is_complex and not dtype.is_complex:
            x = xp.not_equal(x, 0) if dtype is dtypes.bool_ else x.real
        return x.astype(dtype.numpy)

    def vjp(g, dtype, source): return cast_to(g, source)

    def call(x, dtype):
        """x converted to another type. Of a complex number, a real type keeps the real part."""
        x = as_tensor(x)
        return apply(cast.primitive, x, dtype=dtypes.of(dtype), source=x.dtype)


@elementwise(inplace=False)
class clone:
    """A copy of x with its own memory; gradients pass through it."""

    def forward(xp, x): return x.astype(x.dtype)
    def vjp(g): return g

    def call(x, *, memory_format=None):
        """A copy of x with its own memory, laid out as x is unless a memory format is given."""
        if not isinstance(x, Tensor):
            x = as_tensor(x)
        if memory_format is not None:
            from lampion.ops.conversions import arranged

            moved = arranged(x, memory_format)
            return moved if moved is not x else apply(clone.primitive, x)
        return apply(clone.primitive, x)


@elementwise(public=False)
class second:
    """y, in the shape of x: what is left of x after ``x.copy_(y)``."""

    def forward(xp, x, y): return xp.where(True, y, x)
    def lower(k, x, y): return y
    def vjp(g): return lambda: full((), 0, g.dtype), lambda: g


@elementwise(public=False)
class shift_right:
    """The bits of an unsigned integer, moved to the right."""

    def forward(xp, x, y): return xp.right_shift(x, y)
