"""Heavy operations of eager code: each runs as a plan of one primitive.

What is a matrix product NumPy's library does well; for a convolution it has nothing, and copying each number
as often as a filter has taps costs more than the arithmetic. So convolutions, pooling and their gradients are
compiled where they are, for each shape once, and kept on disk as all plans are. Whether one is worth it says
the shape alone (`primitive.HEAVY`), so a run gets the same bits each time.

Results lie in memory as NumPy's do. All plans share their scratch memory, and run one at a time.

LAMPION_EAGER_PLANS=0 turns this off, which is better where every call has a new shape, as with pictures of
any size: compiling one takes a tenth of a second. Without llvmlite it is off.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from lampion.compiler.address import address
from lampion.compiler.engine import Native, make_engine
from lampion.compiler.graph import Graph
from lampion.compiler.switches import is_on
from lampion.primitive import Primitive

_MOST = 512  # plans in memory
_TYPES = (np.dtype(np.float32), np.dtype(np.float64))

_lock = threading.RLock()
_plans: dict[tuple[Any, ...], _Plan | None] = {}  # in the order of their last use
_scratch = np.empty(0, np.uint8)


def _in_child() -> None:
    """After a fork: another thread may have held the lock, and is not there to let go."""
    global _lock, _scratch
    _lock, _scratch = threading.RLock(), np.empty(0, np.uint8)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def on() -> bool:
    """Whether eager code may compile: single operations, as here, and the larger pieces of `pieces`."""
    return is_on("LAMPION_EAGER_PLANS") and has_llvm()


@functools.cache
def has_llvm() -> bool:
    """Whether there is something to compile with."""
    return importlib.util.find_spec("llvmlite") is not None


def run(primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
    """The result, or None where machine code cannot be had: then `forward` is to compute it."""
    if not _suits(arrays):
        return None
    key = _key(primitive, arrays, params)
    with _lock:
        if key in _plans:
            plan = _plans.pop(key)
        else:
            plan = _make(primitive, arrays, params)
            if len(_plans) >= _MOST:
                del _plans[next(iter(_plans))]
        _plans[key] = plan
        return None if plan is None else plan.run(arrays)


def is_new(primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> bool:
    """Whether `run` would have to compile first."""
    return _suits(arrays) and _key(primitive, arrays, params) not in _plans


def _suits(arrays: Sequence[Any]) -> bool:
    return all(array.dtype in _TYPES and array.flags.aligned for array in arrays) and on()


def _key(primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> tuple[Any, ...]:
    return (primitive, *((a.shape, a.strides, a.dtype) for a in arrays), *sorted(params.items()))


class _Plan:
    """Machine code for one primitive and arrays of these shapes and strides."""

    def __init__(self, engine: Native, shape: tuple[int, ...], dtype: Any) -> None:
        self.engine, self.shape, self.dtype = engine, shape, dtype
        self.arena_bytes = engine.memory.nbytes
        engine.memory = np.empty(0, np.uint8)  # all share one

    def run(self, arrays: Sequence[Any]) -> Any:
        out = np.empty(self.shape, self.dtype)
        places = [*map(address, arrays), address(out)]
        table = (ctypes.c_void_p * len(places))(*places)
        failure = self.engine.parts.run(table, ctypes.addressof(table), _arena(self.arena_bytes))
        assert failure is None, "these kernels cannot fail"
        return out


def _arena(nbytes: int) -> int:
    """The address of so much scratch memory."""
    global _scratch
    if _scratch.nbytes < nbytes:
        _scratch = np.empty(nbytes, np.uint8)
    return (address(_scratch) + 63) & ~63


def _make(primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> _Plan | None:
    graph = Graph()
    inputs = [graph.input(array.shape, array.dtype) for array in arrays]
    shape, dtype = primitive.infer(*arrays, **params)
    graph.outputs = [graph.add(primitive, inputs, params, shape, dtype)]
    engine = make_engine(graph, list(arrays), [None])
    return _Plan(engine, tuple(shape), dtype) if isinstance(engine, Native) else None
