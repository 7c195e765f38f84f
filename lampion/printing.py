"""How a tensor prints: PyTorch's layout, as far as the types that Lampion has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lampion import dtype as dtypes


def format_tensor(tensor: Any) -> str:
    """``tensor([[1., 2.], [3., 4.]], requires_grad=True)``."""
    array = tensor._array
    name = type(tensor).__name__
    head = "tensor(" if name == "Tensor" else f"{name}("
    notes = []
    if not isinstance(array, np.ndarray):
        body = f"<traced: shape {tuple(tensor.shape)}>"
    else:
        style = _float_style(array)
        body = np.array2string(
            array, separator=", ", prefix=head, precision=4, suppress_small=False, threshold=1000,
            formatter=None if style is None else {"float_kind": style}, floatmode="maxprec",
        )  # fmt: skip
    if not array.size if isinstance(array, np.ndarray) else False:
        body = "[]"
        if array.ndim != 1:
            notes.append(f"size={tuple(array.shape)}")
    dtype = tensor.dtype
    if dtype not in (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool_):
        notes.append(f"dtype={dtype}")
    if tensor.grad_fn is not None:
        notes.append(f"grad_fn=<{tensor.grad_fn.name}>")
    elif tensor.requires_grad:
        notes.append("requires_grad=True")
    return head + ", ".join([body, *notes]) + ")"


def _float_style(array: Any) -> Callable[[Any], str] | None:
    """Whole-valued floats print as ``2.``; others with four digits, as PyTorch does."""
    if array.dtype.kind != "f" or not array.size:
        return None
    finite = array[np.isfinite(array)]
    if finite.size and np.all(finite == np.round(finite)) and np.abs(finite).max() < 1e8:
        width = max((len(f"{x:.0f}.") for x in finite.ravel()[:1000]), default=1)
        return lambda x: (f"{x:.0f}." if np.isfinite(x) else str(x)).rjust(width)
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    smallest = float(np.abs(finite[finite != 0]).min()) if np.any(finite) else 1.0
    if largest >= 1e8 or smallest < 1e-4 or largest / smallest > 1e5:
        return lambda x: f"{x:.4e}"
    width = max((len(f"{x:.4f}") for x in finite.ravel()[:1000]), default=1)
    return lambda x: (f"{x:.4f}" if np.isfinite(x) else str(x)).rjust(width)
