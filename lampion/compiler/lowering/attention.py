"""Attention and its gradients: one kernel each, a head at a time."""

from __future__ import annotations

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation, Value
from lampion.compiler.lowering.body import Record
from lampion.compiler.lowering.plan import Lowering
from lampion.compiler.lowering.registry import lowers
from lampion.compiler.schedule import Layout
from lampion.compiler.strides import contiguous_strides
from lampion.ops.attention import side_by_side


@lowers("attention", safe=True)
def lower_attention(lowering: Lowering, main: Equation) -> None:
    record = Record(lowering)
    q, k, v = (record.window(_rows(lowering, x), x.dtype) for x in main.inputs)
    out = record.window(_heads_first(lowering.layouts[main.output]), main.output.dtype, written=True)
    params = main.params
    kernel = ir.Attention(q, k, v, out, params["causal"], params["scale"], tuple(record.operands))
    lowering.call(record, kernel, "attention")


@lowers("attention_slopes", safe=True)
def lower_attention_slopes(lowering: Lowering, main: Equation) -> None:
    record = Record(lowering)
    g, q, k, v = main.inputs
    found = [record.window(_heads_first(_rows(lowering, g)), g.dtype)]
    found += [record.window(_rows(lowering, x), x.dtype) for x in (q, k, v)]
    out, start = lowering.layouts[main.output], 0
    *batch, heads, _, _ = q.shape
    beside = side_by_side(q, v)
    for x in (q, k, v):
        # (batch, length, heads, size): the parts beside each other at each position, or one behind the other.
        length, size = x.shape[-2:]
        step = (3 if beside else 1) * heads * size
        part = Layout(
            out.root, (*batch, length, heads, size), (*out.strides[:-1], step, size, 1), out.offset + start
        )
        found.append(record.window(_heads_first(part), x.dtype, written=True))
        start += heads * size if beside else length * heads * size
    params = main.params
    windows = dict(zip(("g", "q", "k", "v", "dq", "dk", "dv"), found, strict=True))
    kernel = ir.AttentionSlopes(
        **windows, causal=params["causal"], scale=params["scale"], operands=tuple(record.operands)
    )
    lowering.call(record, kernel, "attention_slopes")


def _rows(lowering: Lowering, x: Value) -> Layout:
    """Where a value can be read with its last dimension in order; copied there, if it cannot."""
    layout = lowering.layout(x)
    if layout.strides[-1] == 1 or x.shape[-1] == 1:
        return layout
    copy = Value(-1, x.shape, x.dtype)
    to = Layout(copy, x.shape, contiguous_strides(x.shape, 1))
    lowering.copy(x, to, "attention: in order")
    return to


def _heads_first(layout: Layout) -> Layout:
    """(..., length, heads, size) as (..., heads, length, size)."""
    *batch, a, b, c = layout.shape
    *over, x, y, z = layout.strides
    return Layout(layout.root, (*batch, b, a, c), (*over, y, x, z), layout.offset)
