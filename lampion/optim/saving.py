"""How the state of an optimizer is saved and taken back."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion.tensor import Tensor, wrap


def position(key: Any) -> int:
    return key if isinstance(key, int) else 1 << 62


def copied(value: Any) -> Any:
    """A copy of saved state that later steps do not reach."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


def taken(value: Any, dtype: Any) -> Any:
    """A copy of state to be loaded, in Lampion's tensors, and of the parameter's type."""
    if isinstance(value, Tensor):
        value = value._array
    if isinstance(value, list):
        return [taken(item, dtype) for item in value]
    if hasattr(value, "__array__") and not isinstance(value, np.generic):
        return wrap(np.array(np.asarray(value), dtype=dtype))
    return value
