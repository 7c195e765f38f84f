"""Tensors from data: numbers, lists, arrays. `lampion.tensor` and what belongs to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion import dtype as dtypes
from lampion.errors import DTypeError, LampionError
from lampion.mode import mode
from lampion.tensor import Tensor, wrap


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of `data`: numbers, nested lists, arrays or tensors.

    Python floats become the default dtype (float32), integers int64, as in PyTorch.

    >>> import lampion
    >>> lampion.tensor([[1, 2], [3, 4]]).dtype
    lampion.int64
    """
    check_device("tensor", device)
    if isinstance(data, Tensor):
        result = data.detach().clone()
        if dtype is not None:
            result = result.to(dtypes.of(dtype))
    else:
        if mode.trace is not None and not isinstance(data, bool | int | float):
            mode.trace.refuse(
                "turns an array into a Tensor", "pass it as an argument, or make it a Tensor before"
            )
        array = _array_of(data, dtype)
        result = wrap(array if mode.trace is None else mode.trace.constant(array))
    return result.requires_grad_() if requires_grad else result


def _array_of(data: Any, dtype: Any) -> Any:
    if isinstance(data, list | tuple) and any(isinstance(item, Tensor) for item in data):
        data = [item.tolist() if isinstance(item, Tensor) else item for item in data]
    try:
        array = np.array(data)
    except ValueError:
        array = np.array(None)
    if array.dtype == object:
        raise LampionError("tensor", "the data is not a rectangular block of numbers", got=repr(data)[:80])
    if dtype is not None:
        return array.astype(dtypes.of(dtype).numpy)
    plain = not hasattr(data, "dtype")
    if plain and array.dtype.kind in "fc":
        default = dtypes.get_default_dtype()
        return array.astype((default if array.dtype.kind == "f" else default.to_complex()).numpy)
    if plain and not array.size and array.dtype == np.float64:
        return array.astype(dtypes.get_default_dtype().numpy)
    return array.astype(dtypes.of(array.dtype).numpy, copy=False)


def as_tensor(data: Any, dtype: Any = None) -> Tensor:
    """`data` as a Tensor, sharing memory where it can (Tensors and arrays of the right type)."""
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtypes.of(dtype))
    if isinstance(data, np.ndarray) and dtype is None and mode.trace is None:
        return from_numpy(data)
    return tensor(data, dtype)


def from_numpy(array: Any) -> Tensor:
    """A Tensor that shares the memory of a NumPy array."""
    if not isinstance(array, np.ndarray):
        raise DTypeError("from_numpy", "not a NumPy array", got=type(array).__name__,
                         fix="use lampion.tensor(...) for lists and numbers")  # fmt: skip
    if mode.trace is not None:
        mode.trace.refuse(
            "turns a NumPy array into a Tensor", "pass it as an argument, or make it a Tensor before"
        )
    dtypes.of(array.dtype)  # a clear error for types that Lampion does not have
    # A plain view: a matrix would keep rules of its own, and reshaping the user's array in place
    # (a.shape = ...) must not reshape the tensor.
    return wrap(array.view(np.ndarray))


def ones_like(x: Tensor) -> Tensor:
    """A tensor of ones with the shape and dtype of `x`."""
    from lampion.ops import full

    return full(x.shape, 1, dtype=x.dtype)


def check_device(name: str, device: Any) -> None:
    """Refuse devices that are not there (None and "cpu" are)."""
    if device is not None and str(device) != "cpu":
        raise LampionError(
            name, f"there is no device {str(device)!r} yet", expected='"cpu"', got=repr(device)
        )
