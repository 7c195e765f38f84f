"""Truth and bits: and, or, xor, not, shifts, and what kind of number an element is."""

from __future__ import annotations

from lampion import dtype as dtypes
from lampion.errors import DTypeError
from lampion.ops.creation import full
from lampion.ops.define import elementwise, operation, promote, refuse_bools
from lampion.ops.elementwise import eq
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor

# -- truth: of any type, where 0 is false and everything else is true, NaN too ---------------------------


@elementwise(output="bool")
class logical_and:
    """Whether both x and y are true, that is, not 0."""

    def forward(xp, x, y): return xp.logical_and(x, y)


@elementwise(output="bool")
class logical_or:
    """Whether x or y is true, that is, not 0."""

    def forward(xp, x, y): return xp.logical_or(x, y)


@elementwise(output="bool")
class logical_xor:
    """Whether just one of x and y is true, that is, not 0."""

    def forward(xp, x, y): return xp.logical_xor(x, y)


@elementwise(output="bool")
class logical_not:
    """Whether x is 0."""

    def forward(xp, x): return xp.logical_not(x)


# -- bits: of integers, and of booleans as single bits ---------------------------------------------------


def _on_bits(rules, kinds="bui"):
    """An operation of the bits of two numbers of one integer type, or of two booleans."""
    name = rules.__name__

    def call(input, other):
        input, other = promote(name, input, other)
        if (input if isinstance(input, Tensor) else other).dtype.kind not in kinds:
            refuse_bools(name, input, other)
            refuse_floats(name, input, other)
        return apply(function.primitive, input, other)

    rules.call = call
    function = elementwise(rules)
    return function


def refuse_floats(name, *inputs):
    """An error where an argument is not an integer or boolean tensor, or such a number."""
    for x in inputs:
        dtype = x.dtype if isinstance(x, Tensor) else dtypes.of(type(x))
        if dtype.kind not in "bui":
            raise DTypeError(name, "only integers and booleans have bits", expected="integers or booleans",
                             got=str(dtype), fix="convert it: x.long()")  # fmt: skip


@_on_bits
class bitwise_and:
    """The bits that both x and y have."""

    def forward(xp, x, y): return xp.bitwise_and(x, y)


@_on_bits
class bitwise_or:
    """The bits that x or y has."""

    def forward(xp, x, y): return xp.bitwise_or(x, y)


@_on_bits
class bitwise_xor:
    """The bits that just one of x and y has."""

    def forward(xp, x, y): return xp.bitwise_xor(x, y)


@elementwise
class bitwise_not:
    """All bits turned over: -x - 1 for signed integers, "not x" for booleans."""

    def forward(xp, x): return xp.invert(x)

    def call(input):
        """All bits turned over: -x - 1 for signed integers, "not x" for booleans."""
        input = as_tensor(input)
        refuse_floats("bitwise_not", input)
        return apply(bitwise_not.primitive, input)


def _on_places(rules):
    """The same, of integers only."""
    return _on_bits(rules, "ui")


@_on_places
class bitwise_left_shift:
    """The bits of x moved up by y places: x * 2**y. 0 where y is negative or as large as x is wide."""

    def forward(xp, x, y): return xp.left_shift(x, y)


@_on_places
class bitwise_right_shift:
    """The bits of x moved down by y places: x / 2**y rounded down. Where y is negative or as large as x is
    wide, all bits are the sign: 0 or -1.
    """

    def forward(xp, x, y): return xp.right_shift(x, y)


# -- kinds of numbers ------------------------------------------------------------------------------------


@elementwise(output="bool")
class isnan:
    """Whether x is not a number."""

    def forward(xp, x): return xp.isnan(x)


@elementwise(output="bool")
class isinf:
    """Whether x is infinite, of either sign."""

    def forward(xp, x): return xp.isinf(x)


@elementwise(output="bool")
class isfinite:
    """Whether x is neither infinite nor NaN."""

    def forward(xp, x): return xp.isfinite(x)


@operation
def isposinf(input):
    """Whether x is +infinity."""
    return _is(input, float("inf"))


@operation
def isneginf(input):
    """Whether x is -infinity."""
    return _is(input, -float("inf"))


def _is(x, number):
    x = as_tensor(x)
    if x.dtype.is_floating_point:
        return eq(x, number)
    if x.dtype.is_complex:
        raise DTypeError("isposinf, isneginf", "complex numbers have no order", fix="ask x.real or x.imag")
    return full(x.shape, False, dtypes.bool_)


@operation
def isreal(input):
    """Whether x has no imaginary part."""
    input = as_tensor(input)
    return eq(input.imag, 0) if input.dtype.is_complex else full(input.shape, True, dtypes.bool_)
