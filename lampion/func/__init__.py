"""Functions of functions: derivatives in both directions, and batches; nested in any order.

Read `levels.py` (how a transform reads operations), `batching.py` and `forward.py` (what it makes of each
kind of primitive), then `transforms.py`.
"""

from lampion.func.loops import scan
from lampion.func.mapping import vmap
from lampion.func.modules import functional_call, stack_module_state
from lampion.func.transforms import (
    grad,
    grad_and_value,
    hessian,
    hvp,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
)  # fmt: skip

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "hvp", "jacfwd", "jacrev", "jvp", "linearize",
    "scan", "stack_module_state", "vjp", "vmap",
]  # fmt: skip
