"""Operations. Each primitive is defined once, in the file of its family; composites are plain functions.

Read `define.py` for what the decorators make of a definition, `elementwise.py` for the simplest ones.

What a decorator publishes is public at once: `lampion.NAME`, and mostly `Tensor.NAME` too. Type checkers
read the stub beside this file, which `scripts/stubs.py` writes.
"""

from lampion.ops import complex_numbers, composite, creation, elementwise, indexing, matrix, movement
from lampion.ops import random, reduce
from lampion.ops import arithmetic, comparison, error_functions, exponentials, gamma, logic, rounding
from lampion.ops import trigonometry
from lampion.ops import advanced_indexing, arranging, joining, masking, scatter, splitting, view_writes, views
from lampion.ops import counting, cumulative, differences, distances, samplers, sorting, statistics
from lampion.ops import aliases
from lampion.ops import conversions, queries
from lampion.ops import einsum as _einsum, linear_algebra, products, spectrograms
from lampion.ops import methods  # hangs on Tensor what the others publish: the last to be imported
from lampion.ops.define import OPERATIONS
from lampion.ops.random import (
    Generator, default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state,
)  # fmt: skip

globals().update(OPERATIONS)
__all__ = [  # strings all of them
    "Generator", "default_generator", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state",
    *OPERATIONS,
]  # fmt: skip
