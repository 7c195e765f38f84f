"""Rounding, and the divisions that round: towards zero, down, to the nearest number.

Rounding is flat between its steps: its gradient is 0, as in PyTorch. Integers divided by zero give 0, in
machine code too (PyTorch raises; a tensor would have to be looked through first).
"""

from __future__ import annotations

from lampion.errors import DTypeError
from lampion.ops.creation import full
from lampion.ops.define import elementwise, operation
from lampion.ops.elementwise import div, mul, neg, sub
from lampion.tensor import as_tensor


def flat(g):
    """The gradient of a function that is constant almost everywhere."""
    return full((), 0, g.dtype)


@elementwise(bools=False, complexes=False)
class floor:
    """The largest whole number that is not above x."""

    def forward(xp, x): return xp.floor(x) if x.dtype.kind == "f" else +x
    def vjp(g): return flat(g)


@elementwise(bools=False, complexes=False)
class ceil:
    """The smallest whole number that is not below x."""

    def forward(xp, x): return xp.ceil(x) if x.dtype.kind == "f" else +x
    def vjp(g): return flat(g)


@elementwise(bools=False, complexes=False)
class trunc:
    """x without the digits behind the point: rounded towards 0."""

    def forward(xp, x): return xp.trunc(x) if x.dtype.kind == "f" else +x
    def vjp(g): return flat(g)


@elementwise(public=False, bools=False, complexes=False)
class rint:
    """The nearest whole number; of two that are equally near, the even one."""

    def forward(xp, x): return xp.rint(x) if x.dtype.kind == "f" else +x
    def vjp(g): return flat(g)


@operation(inplace=True)
def round(input, *, decimals: int = 0):
    """x rounded to so many decimals; halves go to the even neighbour.

    With `decimals` below 0, to tens, hundreds... The result is that of scaling, rounding and scaling back,
    so that its last digit may be off where x * 10**decimals is not exact (as in PyTorch).

    >>> import lampion
    >>> lampion.round(lampion.tensor([0.5, 1.5, -2.7]))
    tensor([ 0.,  2., -3.])
    >>> lampion.round(lampion.tensor([3.14159, 2.71828]), decimals=2)
    tensor([3.1400, 2.7200])
    """
    input = as_tensor(input)
    if not decimals:
        return rint(input)
    if not input.dtype.is_floating_point:
        raise DTypeError("round", "only floats have decimals", expected="a floating tensor",
                         got=str(input.dtype), fix="leave decimals out, or convert: x.float()")  # fmt: skip
    scale = 10.0 ** (decimals if decimals > 0 else -decimals)
    return div(rint(mul(input, scale)), scale) if decimals > 0 else mul(rint(div(input, scale)), scale)


@operation(inplace=True)
def frac(input):
    """What `trunc` takes away: the digits behind the point, with the sign of x."""
    input = as_tensor(input)
    if not input.dtype.is_floating_point:
        raise DTypeError("frac", "only floats have digits behind the point", got=str(input.dtype))
    return sub(input, trunc(input))


# -- division ----------------------------------------------------------------------------------------


@elementwise(bools=False, complexes=False)
class floor_divide:
    """x / y rounded down, in the type of the arguments. 0 where an integer is divided by 0."""

    def forward(xp, x, y): return xp.floor_divide(x, y)
    def vjp(g): return lambda: flat(g), lambda: flat(g)


@elementwise(public=False, bools=False, complexes=False)
class trunc_divide:
    """x / y rounded towards 0, in the type of the arguments. 0 where an integer is divided by 0."""

    def forward(xp, x, y):
        if (x if hasattr(x, "dtype") else y).dtype.kind == "f":
            return xp.trunc(xp.true_divide(x, y))
        return xp.floor_divide(x - xp.fmod(x, y), y)

    def vjp(g): return lambda: flat(g), lambda: flat(g)


@elementwise(saves="inputs", bools=False, complexes=False)
class remainder:
    """x - floor(x / y) * y: what the division leaves, with the sign of y. 0 for integers divided by 0."""

    def forward(xp, x, y): return xp.remainder(x, y)
    def vjp(g, x, y): return g, lambda: neg(g * floor_divide(x, y))


@elementwise(saves="inputs", bools=False, complexes=False)
class fmod:
    """x - trunc(x / y) * y: what the division leaves, with the sign of x. 0 for integers divided by 0."""

    def forward(xp, x, y): return xp.fmod(x, y)
    def vjp(g, x, y): return g, lambda: neg(g * trunc_divide(x, y))
