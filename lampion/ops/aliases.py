"""The second names that PyTorch has for some operations: the same functions."""

from __future__ import annotations

from lampion.ops.define import METHODS, OPERATIONS

#: second name: first name
ALIASES = {
    "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "negative": "neg",
    "absolute": "abs", "fix": "trunc", "clip": "clamp",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne",
}  # fmt: skip

for _second, _first in ALIASES.items():
    OPERATIONS[_second] = OPERATIONS[_first]
    METHODS[_second] = METHODS[_first]
    METHODS[f"{_second}_"] = METHODS[f"{_first}_"]
