"""Tensors from data: numbers, lists, arrays, buffers. `lampion.tensor` and what belongs to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion import dtype as dtypes
from lampion.contents import Device
from lampion.errors import DTypeError, LampionError
from lampion.mode import mode
from lampion.tensor import Tensor, wrap


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
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
        if mode.trace is not None and mode.trace.compiles and not _is_numbers(data):
            mode.trace.refuse(
                "turns an array into a Tensor", "pass it as an argument, or make it a Tensor before"
            )
        array = _array_of(data, dtype)
        result = wrap(array if mode.trace is None else mode.trace.constant(array))
    return result.requires_grad_() if requires_grad else result


def _is_numbers(data: Any) -> bool:
    """Numbers of Python, nested in lists and tuples: what they are is known to whoever records this."""
    if isinstance(data, list | tuple):
        return all(map(_is_numbers, data))
    return isinstance(data, bool | int | float | complex | range)


def _array_of(data: Any, dtype: Any) -> Any:
    """A new array of the data, in the type that PyTorch gives it."""
    if isinstance(data, list | tuple):
        data = _without_tensors(data)
    try:
        array = np.array(data)
    except ValueError:
        array = np.array(None)
    target = None if dtype is None else dtypes.of(dtype)
    if target is not None and _is_plain(data):
        return _of_type(data, array, target)
    if array.dtype == object:
        raise LampionError("tensor", "the data is not a rectangular block of numbers", got=repr(data)[:80])
    if target is not None:
        real = array.dtype.kind == "c" and not target.is_complex
        return (array.real if real else array).astype(target.numpy)
    if _is_plain(data) and (array.dtype.kind in "fc" or not array.size):
        default = dtypes.get_default_dtype()
        return array.astype((default.to_complex() if array.dtype.kind == "c" else default).numpy)
    return array.astype(dtypes.of(array.dtype).numpy, copy=False)


def _of_type(data: Any, array: Any, target: dtypes.DType) -> Any:
    """Python's numbers in a given type, into which they must fit; those below 0 count back from 2**bits."""
    problem = ""
    if array.dtype.kind == "c" and not target.is_complex:
        problem = f"a complex number is not a number of {target}"
    elif target.kind in "iu" and array.size and array.dtype.kind in "biuf":
        low, high = (int(n) if np.isfinite(n) else None for n in (array.min(), array.max()))
        below = -target.max if target.kind == "u" and target is not dtypes.uint64 else target.min
        if low is None or high is None or low < below or (high > target.max and array.dtype.kind != "f"):
            problem = f"a number does not fit into {target}"
        elif low < 0 and target.kind == "u":
            return array.astype(np.int64).astype(target.numpy)
    if not problem:
        try:
            return np.array(data, target.numpy)
        except OverflowError:
            problem = f"a number does not fit into {target}"
        except (TypeError, ValueError):
            problem = "the data is not a rectangular block of numbers"
    raise DTypeError("tensor", problem, got=repr(data)[:80])


def _without_tensors(data: Any) -> Any:
    """Nested lists with arrays in the place of tensors."""
    if isinstance(data, Tensor):
        return data.detach().numpy()
    if isinstance(data, list | tuple) and any(isinstance(item, Tensor | list | tuple) for item in data):
        return [_without_tensors(item) for item in data]
    return data


def _is_plain(data: Any) -> bool:
    """Whether the numbers are Python's, which have no width of their own: judged by the first of them."""
    while isinstance(data, list | tuple | range) and len(data):
        data = data[0]
    return not hasattr(data, "dtype") and not isinstance(data, memoryview | bytes | bytearray)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a Tensor, sharing memory where it can (Tensors and arrays of the right type)."""
    check_device("as_tensor", device)
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtypes.of(dtype))
    if isinstance(data, np.ndarray) and mode.trace is None:
        result = from_numpy(data)
        return result if dtype is None else result.to(dtypes.of(dtype))
    return tensor(data, dtype=dtype)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """`obj` as a Tensor: arrays, anything with ``__dlpack__`` or a buffer, numbers and nested lists.

    Args:
        copy: True always copies, False raises where it would have to, None copies where it must.
    """
    check_device("asarray", device)
    if isinstance(obj, Tensor):
        result = obj
    elif isinstance(obj, np.ndarray) and mode.trace is None:
        result = from_numpy(obj)
    elif copy is not True and mode.trace is None and hasattr(obj, "__dlpack__"):
        result = from_dlpack(obj)
    elif copy is not True and isinstance(obj, bytearray | memoryview):
        result = from_numpy(np.asarray(obj)) if isinstance(obj, memoryview) else frombuffer(obj, dtype=dtype)
    else:
        if copy is False:
            raise ValueError(f"asarray: a {type(obj).__name__} has no memory to share; copy=False needs some")
        result = tensor(obj, dtype=dtype)
        copy = None
    target = result.dtype if dtype is None else dtypes.of(dtype)
    if copy is False and target is not result.dtype:
        raise ValueError(f"asarray: {result.dtype} as {target} cannot be had without a copy")
    if target is not result.dtype:
        result = result.to(target)
    elif copy:
        result = result.clone()
    if requires_grad and not result.requires_grad:
        result = result.detach().requires_grad_()
    return result


def from_numpy(array: Any) -> Tensor:
    """A Tensor that shares the memory of a NumPy array."""
    if not isinstance(array, np.ndarray):
        raise DTypeError("from_numpy", "not a NumPy array", got=type(array).__name__,
                         fix="use lampion.tensor(...) for lists and numbers")  # fmt: skip
    if mode.trace is not None and mode.trace.compiles:
        mode.trace.refuse(
            "turns a NumPy array into a Tensor", "pass it as an argument, or make it a Tensor before"
        )
    dtypes.of(array.dtype)  # a clear error for types that Lampion does not have
    # A plain view: a matrix would keep rules of its own, and reshaping the user's array in place
    # (a.shape = ...) must not reshape the tensor.
    return wrap(array.view(np.ndarray))


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A Tensor that shares the memory of another library's array, by the DLPack protocol.

    >>> import lampion, numpy
    >>> lampion.from_dlpack(numpy.arange(3))
    tensor([0, 1, 2])
    """
    check_device("from_dlpack", device)
    if not hasattr(ext_tensor, "__dlpack__"):
        raise LampionError("from_dlpack", "the object does not speak DLPack", got=type(ext_tensor).__name__,
                           expected="an array with __dlpack__", fix="use lampion.asarray(...)")  # fmt: skip
    return from_numpy(np.from_dlpack(ext_tensor, copy=copy))


def frombuffer(
    buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A 1-dimensional Tensor over the memory of a buffer: bytes, a bytearray, an array.array.

    Args:
        dtype: what the bytes mean (in this machine's byte order).
        count: how many elements; -1 for all that fit.
        offset: how many bytes to skip at the beginning.
    """
    size = memoryview(buffer).nbytes
    width = dtypes.of(dtype).itemsize
    if count == 0 or not 0 <= offset < size or (count < 0 and (size - offset) % width):
        raise ValueError(
            f"frombuffer: no elements of {width} bytes at offset {offset} of {size} bytes (count={count})"
        )
    result = from_numpy(np.frombuffer(buffer, dtypes.of(dtype).numpy, count, offset))
    return result.requires_grad_() if requires_grad else result


def ones_like(x: Tensor) -> Tensor:
    """A tensor of ones with the shape and dtype of `x`."""
    from lampion.ops import full

    return full(x.shape, 1, dtype=x.dtype)


def check_device(name: str, device: Any) -> None:
    """Refuse devices that are not there (None and "cpu" are)."""
    if device is not None and Device(str(device)).type != "cpu":
        raise LampionError(
            name, f"there is no device {str(device)!r} yet", expected='"cpu"', got=repr(device)
        )
