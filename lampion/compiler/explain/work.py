"""What a kernel has to do at least: operations on numbers, and bytes to and from memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

from lampion.compiler import kernel_ir as ir

#: Not counted: they compute nothing.
_FREE = frozenset({"cast", "clone", "second", "where"})


def products(kernel: ir.Kernel) -> int:
    """Floating-point operations of the matrix products in it (as if convolutions were done directly)."""
    if isinstance(kernel, ir.Matmul):
        return 2 * math.prod(kernel.shape) * kernel.a.shape[-1]
    if isinstance(kernel, ir.Convolution):
        return 2 * math.prod(kernel.shape) * math.prod(kernel.taps) * kernel.x.shape[-1] // kernel.groups
    if isinstance(kernel, ir.ConvolutionWeight):
        return 2 * math.prod(kernel.y.shape) * math.prod(kernel.taps) * kernel.x.shape[-1] // kernel.groups
    if isinstance(kernel, ir.Attention | ir.AttentionSlopes):
        size, width = kernel.q.shape[-1], kernel.v.shape[-1]
        each = size + width if isinstance(kernel, ir.Attention) else 3 * size + 2 * width
        return 2 * _pairs(kernel) * each
    if isinstance(kernel, ir.Repeat):
        return kernel.length * sum(products(call.kernel) for call in kernel.calls)
    return 0


def operations(kernel: ir.Kernel) -> int:
    """All operations on numbers; each counts one, an exponential as much as a sum."""
    if isinstance(kernel, ir.Map):
        return math.prod(kernel.shape) * _count(kernel.body)
    if isinstance(kernel, ir.Segments):
        return sum(kernel.lengths) * _count(kernel.map.body)
    if isinstance(kernel, ir.Reduce):
        inside = math.prod(kernel.shape) * (_count(kernel.body) + len(kernel.reductions))
        return inside + math.prod(kernel.kept) * _count(kernel.epilogue)
    if isinstance(kernel, ir.Rows):
        inside = math.prod(kernel.shape) * (_count(kernel.points) + len(kernel.reductions))
        return inside + math.prod(kernel.kept) * _count(kernel.rows)
    if isinstance(kernel, ir.Matmul | ir.Convolution):
        return products(kernel) + math.prod(kernel.shape) * _count(kernel.epilogue)
    if isinstance(kernel, ir.ConvolutionWeight):
        return products(kernel)
    if isinstance(kernel, ir.WinogradFilters):
        return 7 * 5 * kernel.out.shape[3] * kernel.outputs  # 5 for each of three columns and four rows
    if isinstance(kernel, ir.Attention):
        return products(kernel) + 4 * _pairs(kernel)  # scaled, the largest taken off, exponential, total
    if isinstance(kernel, ir.AttentionSlopes):
        return products(kernel) + 10 * _pairs(kernel)
    if isinstance(kernel, ir.Repeat):
        return kernel.length * sum(operations(call.kernel) for call in kernel.calls)
    if isinstance(kernel, ir.ScatterAdd):
        return kernel.source.size if kernel.adds else 0
    return 0


def moved(call: ir.Call) -> int:
    """Bytes read and written if each element that a kernel needs is moved once: what no cache can spare."""
    return _moved(call.kernel, [place.nbytes for place in call.places])


def _moved(kernel: ir.Kernel, limits: Sequence[int]) -> int:
    if isinstance(kernel, ir.Repeat):
        # What goes from round to round may stay in a cache: the buffers of the whole are counted once.
        return sum(limits)
    if isinstance(kernel, ir.Segments):
        streams = [window.operand for window, _ in set(_windows(kernel.map)) if any(window.strides)]
        return sum(kernel.lengths) * sum(kernel.map.operands[n].dtype.itemsize for n in streams)
    total = 0
    for window, writes in set(_windows(kernel)):
        dtype = kernel.operands[window.operand].dtype
        size = math.prod(n for n, stride in zip(window.shape, window.strides, strict=True) if stride)
        if isinstance(kernel, ir.Gather) and not writes:
            size = min(size, kernel.out.size)  # of the source only what is picked
        total += min(size * dtype.itemsize, limits[window.operand]) if limits else size * dtype.itemsize
    return total


def _windows(thing: Any) -> Iterator[tuple[ir.Window, bool]]:
    """All windows of a kernel, and whether it writes through them."""
    if isinstance(thing, ir.Store):
        yield thing.window, True
    elif isinstance(thing, ir.Load):
        yield thing.window, False
    elif isinstance(thing, tuple):
        for part in thing:
            yield from _windows(part)
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, ir.Operand):
        for field in dataclasses.fields(thing):
            value = getattr(thing, field.name)
            if isinstance(value, ir.Window):
                yield value, field.name in _WRITTEN
            else:
                yield from _windows(value)


#: The windows by these names are written through.
_WRITTEN = frozenset({"out", "dq", "dk", "dv"})


def _pairs(kernel: ir.Attention | ir.AttentionSlopes) -> int:
    """Pairs of a query and a key that it sees."""
    queries, keys = kernel.q.shape[-2], kernel.k.shape[-2]
    seen = queries * (queries + 1) // 2 if kernel.causal else queries * keys
    return math.prod(kernel.q.shape[:-2]) * seen


def _count(body: Sequence[ir.Value]) -> int:
    return sum(isinstance(value, ir.Compute) and value.primitive.name not in _FREE for value in body)
