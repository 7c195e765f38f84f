"""Small parameters joined end to end, so that NumPy is called once for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion import backend
from lampion.tensor import Tensor

#: Elements up to which parameters are updated together: there, NumPy's cost of a call is what counts.
_SMALL = 4096


def bundles(params: list[Tensor]) -> list[list[Tensor]]:
    """The parameters, small ones of one type together."""
    bundles: list[list[Tensor]] = []
    small: dict[Any, list[Tensor]] = {}
    for p in params:
        array = p._array
        if array.size > _SMALL:
            bundles.append([p])
        else:
            small.setdefault((type(array), array.dtype), []).append(p)
    return bundles + list(small.values())


def join(tensors: list[Any]) -> Any:
    """One array with all their elements; the array itself, where there is one tensor.

    Complex numbers are optimised as two real ones each, numbers of 16 bits as float32, rounded at the end.
    """
    first = tensors[0]._array
    if tensors[0].dtype.is_half:
        return np.concatenate([t._array.reshape(-1) for t in tensors]).astype(np.float32)
    if first.dtype.kind == "c":
        joined = np.concatenate([t._array.reshape(-1) for t in tensors])
        return joined.view(joined.real.dtype)
    if len(tensors) == 1:
        return first
    xp = backend.namespace(tensors[0]._array)
    return xp.concatenate([t._array.reshape(-1) for t in tensors])


def split(array: Any, tensors: list[Any], writer: str | None) -> None:
    """Write the elements of a joined array back to where they belong."""
    start = 0
    if tensors[0]._array.dtype.kind == "c":
        array = array.view(tensors[0]._array.dtype)
    for t in tensors:
        target = t._array
        if len(tensors) == 1:
            target[...] = array.reshape(target.shape).astype(target.dtype, copy=False)
        else:
            stop = start + target.size
            target[...] = array[start:stop].reshape(target.shape).astype(target.dtype, copy=False)
            start = stop
        t._version[0] += 1
        t._version[1] = writer
