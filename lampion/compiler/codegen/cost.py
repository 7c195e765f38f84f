"""A rough guess of how long a kernel takes on one core, good to a factor of two or three.

It only decides what is too small to share: whether a plan runs on one thread, and which of its kernels
do. The results are the same bits either way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lampion.compiler.codegen.prices import price
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import (
    Attention,
    AttentionSlopes,
    Compute,
    Convolution,
    ConvolutionWeight,
    Gather,
    Kernel,
    Load,
    Map,
    Matmul,
    Pool,
    RandomBits,
    Reduce,
    Repeat,
    Rows,
    ScatterAdd,
    Segments,
    Sort,
    Store,
    Value,
    Walk,
    Window,
    WinogradFilters,
)
from lampion.dtype import DType, float32

_GIGAHERTZ = 3.0
_CALL = 20.0  # ns that any kernel takes


def nanoseconds(kernel: Kernel, target: Target) -> float:
    """The guess for one kernel."""
    return _CALL + _cycles(kernel, target) / _GIGAHERTZ


def _cycles(kernel: Kernel, target: Target) -> float:
    if isinstance(kernel, Map):
        return math.prod(kernel.shape) * _point(kernel.body, kernel.stores, target)
    if isinstance(kernel, Segments):
        points = sum(kernel.lengths) * _point(kernel.map.body, kernel.map.stores, target)
        return points + 30.0 * len(kernel.lengths)
    if isinstance(kernel, Reduce):
        combined = [_per_lane(reduction.dtype, target) for reduction in kernel.reductions]
        inside = math.prod(kernel.shape) * (_point(kernel.body, (), target) + sum(combined))
        return inside + math.prod(kernel.kept) * (_point(kernel.epilogue, kernel.stores, target) + 4)
    if isinstance(kernel, Rows):
        combined = [_per_lane(reduction.dtype, target) for reduction in kernel.reductions]
        inside = math.prod(kernel.shape) * (_point(kernel.points, kernel.stores, target) + sum(combined))
        once = _point(kernel.rows, kernel.row_stores, target) + 20 * len(kernel.reductions)
        return inside + math.prod(kernel.kept) * once
    if isinstance(kernel, Matmul):
        products = math.prod(kernel.shape) * kernel.a.shape[-1]
        outside = math.prod(kernel.shape) * _point(kernel.epilogue, kernel.stores, target)
        if kernel.dtype.kind != "f":  # one after the other
            return 1.5 * products + outside
        reading = (kernel.a.size + kernel.b.size) * 2 * _per_lane(kernel.dtype, target)
        step = _per_lane(kernel.dtype, target) * (0.5 if target.fma else 1.0)
        return products * step + reading + outside
    if isinstance(kernel, Convolution):
        products = math.prod(kernel.shape) * math.prod(kernel.taps) * kernel.x.shape[-1] // kernel.groups
        if kernel.transformed is not None:
            products = products * 4 // 9
        outside = math.prod(kernel.shape) * _point(kernel.epilogue, kernel.stores, target)
        return products * _per_lane(kernel.dtype, target) + outside + kernel.x.size
    if isinstance(kernel, WinogradFilters):
        return 4 * kernel.out.size * _per_lane(kernel.dtype, target)
    if isinstance(kernel, ConvolutionWeight):
        products = math.prod(kernel.y.shape) * math.prod(kernel.taps) * kernel.x.shape[-1] // kernel.groups
        if kernel.transformed:
            products = products * 4 // 9
        return products * _per_lane(kernel.dtype, target) + kernel.x.size
    if isinstance(kernel, Pool):
        looked_at = math.prod(kernel.shape) * math.prod(kernel.taps)
        return looked_at * (6 if kernel.spreads else 3) / target.lanes(float32) + kernel.x.size
    if isinstance(kernel, Gather):
        return 2.0 * kernel.out.size
    if isinstance(kernel, ScatterAdd):
        return 3.0 * kernel.source.size
    if isinstance(kernel, Attention | AttentionSlopes):
        pairs = math.prod(kernel.shape) * (0.5 if kernel.causal else 1.0)
        sizes = kernel.q.shape[-1] + kernel.v.shape[-1]
        products = sizes if isinstance(kernel, Attention) else 3 * sizes - kernel.v.shape[-1]
        return pairs * (products + 20) * _per_lane(kernel.operands[kernel.q.operand].dtype, target)
    if isinstance(kernel, RandomBits):
        return 40.0 * kernel.size / (2 * target.lanes(float32))
    if isinstance(kernel, Walk):
        return math.prod(kernel.shape) * (_point(kernel.body, kernel.stores, target) + 1.0)
    if isinstance(kernel, Sort):
        length = kernel.source.shape[kernel.axis]
        passes = {"rank": 5.0 + length / 8, "select": 4.0, "radix": 12.0 * _sorted_bytes(kernel)}
        return kernel.source.size * passes[kernel.method]
    if isinstance(kernel, Repeat):
        return kernel.length * _GIGAHERTZ * sum(nanoseconds(call.kernel, target) for call in kernel.calls)
    raise TypeError(f"not a kernel: {kernel!r}")


def _sorted_bytes(kernel: Sort) -> int:
    return kernel.operands[kernel.source.operand].dtype.itemsize


def _point(body: Sequence[Value], stores: Sequence[Store], target: Target) -> float:
    """Cycles for one point of a loop nest."""
    cycles = 0.0
    for value in body:
        if isinstance(value, Load):
            cycles += _access(value.window, value.dtype, target)
        elif isinstance(value, Compute):
            cycles += price(value.primitive.name) * _per_lane(value.dtype, target)
    for store in stores:
        cycles += 2 * _access(store.window, body[store.value].dtype, target)
    return cycles


def _access(window: Window, dtype: DType, target: Target) -> float:
    if not window.shape or window.strides[-1] == 0:
        return 0.0
    return 2 * _per_lane(dtype, target) if window.strides[-1] == 1 else 2.0


def _per_lane(dtype: DType, target: Target) -> float:
    return 1.0 / target.lanes(dtype)
