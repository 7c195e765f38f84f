"""Arithmetic beyond + - * /: sizes and signs, bounds, mixtures, and what goes on in the bits of a float."""

from __future__ import annotations

import builtins

import numpy as np

from lampion import dtype as dtypes
from lampion.backend import clip
from lampion.errors import DTypeError, LampionError
from lampion.ops.complex_numbers import complex
from lampion.ops.define import cast_to, elementwise, operation, promote, refuse_bools
from lampion.ops.elementwise import (
    add,
    clone,
    div,
    ge,
    gt,
    le,
    lt,
    mul,
    neg,
    pow,
    sub,
    where,
)  # fmt: skip
from lampion.ops.logic import isnan, isneginf, isposinf, logical_and, logical_or, refuse_floats
from lampion.ops.rounding import flat
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor

# -- sizes and signs -----------------------------------------------------------------------------------


@elementwise(complexes=False)
class sign:
    """1, 0 or -1, as x is above, at or below 0. 0 for NaN, as in PyTorch."""

    def forward(xp, x):
        if x.dtype.kind == "b":
            return xp.logical_or(x, x)
        return xp.greater(x, 0).astype(x.dtype) - xp.less(x, 0).astype(x.dtype)

    def vjp(g): return flat(g)


@elementwise(saves="inputs", bools=False)
class abs:
    """The size of x: x without its sign; for a complex number its distance from 0."""

    analytic = False
    def infer(x): return x.shape, dtypes.of(x.dtype).to_real().numpy
    def forward(xp, x): return xp.absolute(x)
    def vjp(g, x): return g * sgn(x)


@elementwise(saves="inputs", public=False)
class complex_sign:
    """x / |x|, and 0 for 0."""

    analytic = False
    native = False
    def forward(xp, x): return xp.sign(x)

    def vjp(g, x):
        size, unit = abs(x), sgn(x)
        slope = (g - unit * (g * unit.conj()).real) / where(size == 0, 1.0, size)
        return where(size == 0, 0.0, slope)


@operation(inplace=True)
def sgn(input):
    """The direction of x: `sign` for real numbers, x / abs(x) for complex ones, and 0 for 0."""
    input = as_tensor(input)
    return complex_sign(input) if input.dtype.is_complex else sign(input)


@operation
def positive(input):
    """x itself; booleans are refused, as by `neg`."""
    refuse_bools("positive", input)
    return input


@elementwise(output="bool", complexes=False)
class signbit:
    """Whether x has a minus sign: -0.0 has one too."""

    def forward(xp, x):
        if x.dtype.kind == "f":
            return xp.signbit(x)
        return xp.less(x, 0)


@elementwise(saves=(0, 1), inputs="float", complexes=False)
class copysign:
    """The size of x with the sign of y."""

    def forward(xp, x, y): return xp.copysign(x, y)

    def vjp(g, x, y):
        return lambda: g * sign(x) * copysign(1.0, y), lambda: flat(g)


@operation(inplace=True)
def square(input):
    """x * x."""
    return pow(input, 2)


@elementwise(saves="output", inputs="float")
class reciprocal:
    """1 / x."""

    def forward(xp, x): return xp.reciprocal(x)
    def vjp(g, y): return neg(g * (y * y))


@elementwise(saves="output", inputs="float")
class rsqrt:
    """1 / sqrt(x)."""

    def forward(xp, x): return xp.reciprocal(xp.sqrt(x))
    def vjp(g, y): return g * (y * y * y) * -0.5


@operation(method=False)
def rsub(input, other, *, alpha=1):
    """y - alpha * x."""
    return sub(other, input, alpha=alpha)


# -- bounds --------------------------------------------------------------------------------------------


@elementwise(saves="inputs", complexes=False)
class clamp_min:
    """`input`, but `min` where it is below that. The gradient goes to what is taken; to the input if they
    are equal.
    """

    def extend(plain):
        def clamp_min(input, min): return plain(input, min)
        return clamp_min

    def forward(xp, x, y): return xp.maximum(x, y)
    def vjp(g, x, y): return lambda: where(ge(x, y), g, 0.0), lambda: where(lt(x, y), g, 0.0)


@elementwise(saves="inputs", complexes=False)
class clamp_max:
    """`input`, but `max` where it is above that. The gradient goes to what is taken; to the input if they
    are equal.
    """

    def extend(plain):
        def clamp_max(input, max): return plain(input, max)
        return clamp_max

    def forward(xp, x, y): return xp.minimum(x, y)
    def vjp(g, x, y): return lambda: where(le(x, y), g, 0.0), lambda: where(gt(x, y), g, 0.0)


@elementwise(saves="inputs", public=False, complexes=False)
class between:
    """x held between two numbers, of which the first is not larger: one operation instead of two."""

    def forward(xp, x, low, high):
        return clip(x, low, high) if xp is np else xp.minimum(xp.maximum(x, low), high)

    def vjp(g, x, low, high): return where(logical_and(ge(x, low), le(x, high)), g, 0.0)
    def call(x, low, high): return apply(between.primitive, x, low=low, high=high)


@operation(inplace=True)
def clamp(input, min=None, max=None):
    """`input` between two bounds, which may be numbers or tensors; where ``min > max`` it is `max`.

    >>> import lampion
    >>> lampion.clamp(lampion.tensor([-2.0, 0.5, 3.0]), min=-1, max=1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min is None and max is None:
        raise LampionError("clamp", "there is no bound", expected="min, max or both")
    refuse_bools("clamp", input)
    plain = isinstance(input, Tensor) and input._array.dtype.char in "fd"
    if plain and type(min) in (int, float) and type(max) in (int, float) and min <= max:
        return between(input, float(min), float(max))
    if min is not None:
        input = clamp_min(input, min)
    return input if max is None else clamp_max(input, max)


@elementwise(saves="inputs", complexes=False)
class fmax:
    """The larger of x and y, and that which is a number where the other is NaN."""

    def forward(xp, x, y): return xp.fmax(x, y)

    def vjp(g, x, y):
        # PyTorch's: the whole gradient goes to x where they are equal, or y is NaN.
        first = _first(ge, x, y)
        return lambda: where(first, g, 0.0), lambda: where(first, 0.0, g)


@elementwise(saves="inputs", complexes=False)
class fmin:
    """The smaller of x and y, and that which is a number where the other is NaN."""

    def forward(xp, x, y): return xp.fmin(x, y)

    def vjp(g, x, y):
        first = _first(le, x, y)
        return lambda: where(first, g, 0.0), lambda: where(first, 0.0, g)


def _first(compare, x, y):
    """Where x is better than y, or as good, or y is not a number."""
    better = compare(x, y)
    return logical_or(better, isnan(y)) if isinstance(y, Tensor) else better


@operation(inplace=True)
def nan_to_num(input, nan=0.0, posinf=None, neginf=None):
    """x with other numbers in the place of NaN and of the infinities.

    Args:
        nan: instead of NaN.
        posinf, neginf: instead of the infinities; the largest and the smallest number of the type, if None.

    >>> import lampion
    >>> lampion.nan_to_num(lampion.tensor([1.0, float("nan"), float("inf")]), posinf=9)
    tensor([1., 0., 9.])
    """
    input = as_tensor(input)
    if input.dtype.is_complex:
        real, imag = (nan_to_num(part, nan, posinf, neginf) for part in (input.real, input.imag))
        return complex(real, imag)
    if not input.dtype.is_floating_point:
        return clone(input)
    largest = float(dtypes.finfo(input.dtype).max)
    out = where(isnan(input), float(nan or 0.0), input)
    out = where(isposinf(input), largest if posinf is None else float(posinf), out)
    return where(isneginf(input), -largest if neginf is None else float(neginf), out)


# -- mixtures ------------------------------------------------------------------------------------------


@operation(inplace=True)
def lerp(input, end, weight):
    """x + weight * (end - x): from x, where the weight is 0, to `end`, where it is 1.

    From the nearer end, so that both are reached exactly.
    """
    input, end = as_tensor(input), as_tensor(end)
    if input.dtype is not end.dtype or not input.dtype.is_inexact:
        raise DTypeError("lerp", "both ends must be of one floating type",
                         got=f"{input.dtype} and {end.dtype}", fix="convert one of them")  # fmt: skip
    difference = sub(end, input)
    if not isinstance(weight, Tensor):
        near = builtins.abs(weight) < 0.5
        return add(input, mul(difference, weight)) if near else sub(end, mul(difference, 1 - weight))
    near = lt(abs(weight), 0.5)
    return where(near, add(input, mul(difference, weight)), sub(end, mul(difference, sub(1, weight))))


@operation(inplace=True)
def addcmul(input, tensor1: Tensor, tensor2: Tensor, *, value=1):
    """x + value * tensor1 * tensor2."""
    refuse_bools("addcmul", input)
    product = mul(tensor1, tensor2)
    return add(input, product if value == 1 else mul(product, value))


@operation(inplace=True)
def addcdiv(input, tensor1: Tensor, tensor2: Tensor, *, value=1):
    """x + value * tensor1 / tensor2. The type must be a floating one."""
    for y in (tensor1, tensor2):
        if not y.dtype.is_inexact:
            raise DTypeError("addcdiv", "integers are not divided", got=str(y.dtype), fix="x.float()")
    quotient = div(tensor1, tensor2)
    return add(input, quotient if value == 1 else mul(quotient, value))


# -- integers ------------------------------------------------------------------------------------------


def _of_integers(rules):
    """An operation of two integers, done by NumPy: a loop of divisions for every element."""
    name = rules.__name__
    rules.native = False

    def call(input, other):
        input, other = refuse_bools(name, *promote(name, input, other))
        refuse_floats(name, input, other)
        return apply(function.primitive, input, other)

    rules.call = call
    function = elementwise(rules)
    return function


@_of_integers
class gcd:
    """The greatest common divisor of two integers; gcd(x, 0) is abs(x)."""

    def forward(xp, x, y): return xp.gcd(x, y)


@_of_integers
class lcm:
    """The least common multiple of two integers; lcm(x, 0) is 0."""

    def forward(xp, x, y): return xp.lcm(x, y)


# -- the parts of a float --------------------------------------------------------------------------------


@elementwise(inputs="float", complexes=False)
class nextafter:
    """The float next to x in the direction of y; x itself where they are equal."""

    native = False
    def forward(xp, x, y): return xp.nextafter(x, y)
    def vjp(g): return g, lambda: flat(g)


@operation(inplace=True)
def ldexp(input, other):
    """x * 2**other."""
    return mul(input, pow(2.0, other))


@elementwise(public=False)
class exponent:
    """The whole number e, as int32, with x = m * 2**e and 0.5 <= abs(m) < 1. 0 for zeros, infinities, NaN."""

    native = False
    def infer(x): return x.shape, dtypes.int32.numpy
    def forward(xp, x): return xp.where(xp.isfinite(x), xp.frexp(x)[1], 0).astype("int32")


@elementwise(saves="inputs", public=False)
class mantissa:
    """The number m with x = m * 2**e and 0.5 <= abs(m) < 1; zeros, infinities and NaN as they are."""

    native = False
    def forward(xp, x): return xp.frexp(x)[0]
    def vjp(g, x): return ldexp(g, neg(exponent(x)))


@operation
def frexp(input) -> tuple[Tensor, Tensor]:
    """The mantissa and the exponent of x: ``x = mantissa * 2**exponent`` with 0.5 <= abs(mantissa) < 1.

    The exponent is int32. The gradient of the mantissa is 2**-exponent.

    >>> import lampion
    >>> lampion.frexp(lampion.tensor([6.0, 0.25]))
    (tensor([0.7500, 0.5000]), tensor([ 3, -1], dtype=lampion.int32))
    """
    input = as_tensor(input)
    if not input.dtype.is_floating_point:
        raise DTypeError("frexp", "only floats have a mantissa", got=str(input.dtype), fix="x.float()")
    return mantissa(input), exponent(input)


@elementwise(complexes=False)
class heaviside:
    """0 where the input is below 0, 1 where it is above, and `values` where it is 0. Not differentiable."""

    def extend(plain):
        def heaviside(input, values): return plain(input, values)
        return heaviside

    def forward(xp, x, y):
        dtype = (x if hasattr(x, "dtype") else y).dtype
        return xp.where(xp.equal(x, 0), y, xp.greater(x, 0)).astype(dtype)


@operation(inplace=True)
def float_power(input, exponent):
    """x ** exponent, computed in float64 (complex128 for complex numbers).

    >>> import lampion
    >>> lampion.float_power(lampion.tensor([1, 2, 3]), -2)
    tensor([1.0000, 0.2500, 0.1111], dtype=lampion.float64)
    """
    both = (input, exponent)
    kinds = [v.dtype if isinstance(v, Tensor) else dtypes.of(type(v)) for v in both]
    is_complex = any(kind.is_complex for kind in kinds)
    target = dtypes.complex128 if is_complex else dtypes.float64
    input, exponent = (cast_to(v, target) if isinstance(v, Tensor) else v for v in both)
    return pow(input, exponent)
