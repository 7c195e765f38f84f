"""Define-by-run differentiation: the tape, the walk back along it, and what users call.

Read `tape.py` (what is written down when an operation runs), then `walk.py` (how it is read backwards).
"""

from lampion.autograd import graph
from lampion.autograd.function import Function
from lampion.autograd.tape import Node, record
from lampion.autograd.walk import backward, grad
from lampion.mode import (
    enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, set_grad_enabled,
)  # fmt: skip

__all__ = [
    "Function", "Node", "backward", "enable_grad", "grad", "graph", "inference_mode", "is_grad_enabled",
    "is_inference_mode_enabled", "no_grad", "record", "set_grad_enabled",
]  # fmt: skip
