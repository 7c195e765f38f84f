"""Functions of each element by itself.

One argument: Lampion's own functions, under the standard's names. Two: the same after the standard's
promotion, in which an array of no dimensions counts like any other (in Lampion's operators, as in
PyTorch's, it counts less).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lampion.array_api._rules import Tensor, number_type, op, pair

_UNARY = {
    "abs": "abs", "acos": "acos", "acosh": "acosh", "asin": "asin", "asinh": "asinh", "atan": "atan",
    "atanh": "atanh", "bitwise_invert": "bitwise_not", "ceil": "ceil", "conj": "conj", "cos": "cos",
    "cosh": "cosh", "exp": "exp", "expm1": "expm1", "floor": "floor", "imag": "imag", "isfinite": "isfinite",
    "isinf": "isinf", "isnan": "isnan", "log": "log", "log10": "log10", "log1p": "log1p", "log2": "log2",
    "logical_not": "logical_not", "negative": "neg", "positive": "positive", "real": "real",
    "reciprocal": "reciprocal", "signbit": "signbit", "sin": "sin",
    "sinh": "sinh", "sqrt": "sqrt", "square": "square", "tan": "tan", "tanh": "tanh", "trunc": "trunc",
}  # fmt: skip

_BINARY = {
    "add": "add", "atan2": "atan2", "bitwise_and": "bitwise_and", "bitwise_left_shift": "bitwise_left_shift",
    "bitwise_or": "bitwise_or", "bitwise_right_shift": "bitwise_right_shift", "bitwise_xor": "bitwise_xor",
    "copysign": "copysign", "divide": "div", "equal": "eq", "greater": "gt", "greater_equal": "ge",
    "hypot": "hypot", "less": "lt", "less_equal": "le", "logaddexp": "logaddexp",
    "logical_and": "logical_and", "logical_or": "logical_or", "logical_xor": "logical_xor",
    "maximum": "maximum", "minimum": "minimum", "multiply": "mul", "nextafter": "nextafter",
    "not_equal": "ne", "pow": "pow", "subtract": "sub",
}  # fmt: skip

__all__ = sorted([*_UNARY, *_BINARY, "clip", "floor_divide", "remainder", "round", "sign"])


def _unary(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
    def function(x: Tensor, /) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: expected an array, got {type(x).__name__}")
        out: Tensor = operation(x)
        return out

    return _named(function, name, operation)


def _binary(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
    def function(x1: Tensor | complex, x2: Tensor | complex, /) -> Tensor:
        out: Tensor = operation(*pair(name, x1, x2))
        return out

    return _named(function, name, operation)


def _named(function: Callable[..., Any], name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = operation.__doc__
    return function


for _name, _source in _UNARY.items():
    globals()[_name] = _unary(_name, op[_source])
for _name, _source in _BINARY.items():
    globals()[_name] = _binary(_name, op[_source])


def round(x: Tensor, /) -> Tensor:
    """The nearest whole number; of two that are as near, the even one. Of a complex number: of each part."""
    if x.dtype.is_complex:
        return op["complex"](round(x.real), round(x.imag))  # type: ignore[no-any-return]  # a Tensor
    return op["round"](x)  # type: ignore[no-any-return]  # the same


def sign(x: Tensor, /) -> Tensor:
    """-1, 0 or 1, and NaN of a NaN; of a complex number, the one of absolute value 1 in its direction."""
    out: Tensor = op["sgn"](x)
    return op["where"](x == x, out, x) if x.dtype.is_floating_point else out


def clip(x: Tensor, /, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    """Each element no less than `min` and no more than `max`. The type of `x` stays."""
    out = x
    for bound, keep in ((min, op["maximum"]), (max, op["minimum"])):
        if bound is None:
            continue
        if isinstance(bound, Tensor):
            limit = bound.to(x.dtype)
        else:
            number_type("clip", bound, x.dtype)
            limit = op["full"]((), bound, x.dtype)
        out = keep(out, limit)
    return out.clone() if out is x else out


def floor_divide(x1: Tensor | float, x2: Tensor | float, /) -> Tensor:
    """The largest whole number that is not larger than x1 / x2."""
    x1, x2 = pair("floor_divide", x1, x2)
    out: Tensor = op["floor_divide"](x1, x2)
    if out.dtype.is_floating_point:
        # An infinite dividend stays infinite, by a divisor that is neither infinite nor 0.
        out = op["where"](op["isinf"](x1) & op["isfinite"](x2), x1 / x2, out)
    return out


def remainder(x1: Tensor | float, x2: Tensor | float, /) -> Tensor:
    """What floor division leaves; it has the sign of x2."""
    out: Tensor = op["remainder"](*pair("remainder", x1, x2))
    return out
