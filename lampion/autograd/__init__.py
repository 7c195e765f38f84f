"""Define-by-run differentiation: the tape, the walk back along it, and what users call.

Read `tape.py` (what is written down when an operation runs), then `walk.py` (how it is read backwards).
`function.py` has operations with gradients of the user's own, `graph.py` what can be done to the tape;
`functional.py`, `forward_ad.py` and `checking.py` are PyTorch's names for what `lampion.func` computes.
"""

import importlib as _importlib
import typing as _typing

from lampion.autograd import graph
from lampion.autograd.function import Function
from lampion.autograd.sparse import SparseGradient
from lampion.autograd.tape import Node, record, record_plain
from lampion.autograd.walk import backward, grad
from lampion.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)  # fmt: skip

# Imported when first asked for: they need the operations, which need the tape.
_LAZY = {
    "detect_anomaly": "lampion.debug.anomaly",
    "forward_ad": "lampion.autograd.forward_ad",
    "functional": "lampion.autograd.functional",
    "gradcheck": "lampion.autograd.checking",
    "gradgradcheck": "lampion.autograd.checking",
    "is_anomaly_check_nan_enabled": "lampion.debug.anomaly",
    "is_anomaly_enabled": "lampion.debug.anomaly",
    "set_detect_anomaly": "lampion.debug.anomaly",
}
if _typing.TYPE_CHECKING:
    from lampion.autograd import forward_ad, functional
    from lampion.autograd.checking import gradcheck, gradgradcheck
    from lampion.debug.anomaly import (
        detect_anomaly,
        is_anomaly_check_nan_enabled,
        is_anomaly_enabled,
        set_detect_anomaly,
    )  # fmt: skip

__all__ = [
    "Function", "Node", "SparseGradient", "backward", "detect_anomaly", "enable_grad", "forward_ad",
    "functional", "grad", "gradcheck", "gradgradcheck", "graph", "inference_mode",
    "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "is_grad_enabled", "is_inference_mode_enabled",
    "no_grad", "record", "record_plain", "set_detect_anomaly", "set_grad_enabled",
]  # fmt: skip


if not _typing.TYPE_CHECKING:  # which would believe that the module has every attribute

    def __getattr__(name: str) -> _typing.Any:
        home = _LAZY.get(name)
        if home is None:
            raise AttributeError(f"module 'lampion.autograd' has no attribute {name!r}")
        module = _importlib.import_module(home)
        value = module if home == f"lampion.autograd.{name}" else getattr(module, name)
        globals()[name] = value
        return value
