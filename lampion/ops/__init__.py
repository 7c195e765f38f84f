"""Operations. Each primitive is defined once, in the file of its family; composites are plain functions.

Read `define.py` for what the decorators make of a definition, `elementwise.py` for the simplest ones.
"""

from lampion.ops.composite import log_softmax
from lampion.ops.creation import arange, empty, full, full_like, ones, ones_like, zeros, zeros_like
from lampion.ops.elementwise import (
    add, cast, clone, cos, div, eq, exp, expm1, ge, gt, le, log, lt, maximum, minimum, mul, ne, neg, pow,
    relu, sigmoid, sin, sqrt, sub, tanh, where,
)  # fmt: skip
from lampion.ops.indexing import cat, gather, index_select, narrow, scatter_add, stack
from lampion.ops.matrix import matmul
from lampion.ops.movement import broadcast_to, flatten, flip, permute, reshape, squeeze, transpose, unsqueeze
from lampion.ops.random import (
    Generator, default_generator, get_rng_state, initial_seed, manual_seed, rand, rand_like, randint, randn,
    randn_like, randperm, set_rng_state,
)  # fmt: skip
from lampion.ops.reduce import amax, amin, argmax, max, mean, sum

__all__ = [
    "Generator", "add", "amax", "amin", "arange", "argmax", "broadcast_to", "cast", "cat", "clone", "cos",
    "default_generator", "div", "empty", "eq", "exp", "expm1", "flatten", "flip", "full", "full_like",
    "gather", "ge", "get_rng_state", "gt", "index_select", "initial_seed", "le", "log", "log_softmax",
    "lt", "manual_seed", "matmul", "max", "maximum", "mean", "minimum", "mul", "narrow", "ne", "neg",
    "ones", "ones_like", "permute", "pow", "rand", "rand_like", "randint", "randn", "randn_like",
    "randperm", "relu", "reshape", "scatter_add", "set_rng_state", "sigmoid", "sin", "sqrt", "squeeze",
    "stack", "sub", "sum", "tanh", "transpose", "unsqueeze", "where", "zeros", "zeros_like",
]  # fmt: skip

from lampion.ops import methods  # hangs them on Tensor
from lampion.ops.define import OPERATIONS

# The lists above are for readers; type checkers read the stub beside this file, written by scripts/stubs.py.
# A new operation is public as soon as it is defined.
globals().update(OPERATIONS)
__all__ += [name for name in OPERATIONS if name not in __all__]
