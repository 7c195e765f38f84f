"""``x[i, :, j]`` with index tensors, read and written: gathers and scatters with several picks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation, Value
from lampion.compiler.lowering.body import Record
from lampion.compiler.lowering.plan import Lowering
from lampion.compiler.lowering.registry import lowers
from lampion.compiler.schedule import Layout
from lampion.ops.advanced_indexing import index_


@lowers("index")
def lower_index(lowering: Lowering, main: Equation) -> None:
    x, *indices = main.inputs
    record = Record(lowering)
    far, picks = _picked(lowering, record, lowering.layout(x), main.output.shape, indices, main.params)
    source = record.window(far, x.dtype)
    out = record.window(lowering.layouts[main.output].reshape(far.shape), x.dtype, written=True)
    lowering.call(record, ir.Gather(source, picks[0].window, out, -1, tuple(record.operands), picks), "index")


@lowers("index_put")
def lower_index_put(lowering: Lowering, main: Equation) -> None:
    base, value, *indices = main.inputs
    out = lowering.layouts[main.output]
    if not _lies_there(lowering, base, out):
        lowering.copy(base, out, "index_put: base")
    shape, _ = index_.primitive.infer(base, *indices, dims=main.params["dims"])
    values = lowering.layout(value).broadcast(shape)
    record = Record(lowering)
    far, picks = _picked(lowering, record, out, shape, indices, main.params)
    source = record.window(values.reshape(far.shape), value.dtype)
    target = record.window(far, base.dtype, written=True)
    lowering.call(
        record,
        ir.ScatterAdd(
            target, picks[0].window, source, -1, tuple(record.operands), picks, main.params["accumulate"]
        ),
        "index_put",
    )


def _lies_there(lowering: Lowering, base: Any, out: Layout) -> bool:
    """Whether the memory that is written to holds the base already: see `in_place`."""
    place = lowering.places.get(base)
    return place is not None and place is lowering.places.get(out.root)


def _picked(
    lowering: Lowering,
    record: Record,
    x: Layout,
    shape: tuple[int, ...],
    indices: Sequence[Value],
    params: dict[str, Any],
) -> tuple[Layout, tuple[ir.Pick, ...]]:
    """The side that indices lead to, as seen from the points of ``x[..., i, ..., j]``; and the indices.

    The points have the shape of that, with a dimension of size 1 where the indices have none.
    """
    dims, wraps = params["dims"], params.get("wraps", True)
    rank = len(shape) - (len(x.shape) - len(dims))  # of the indices
    at = dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0
    points = shape if rank else (*shape[:at], 1, *shape[at:])
    rank = rank or 1
    rest = [stride for axis, stride in enumerate(x.strides) if axis not in dims]
    far = Layout(x.root, points, (*rest[:at], *(0,) * rank, *rest[at:]), x.offset)
    picks = []
    for dim, value in zip(dims, indices, strict=True):
        own = lowering.layout(value).broadcast(points[at : at + rank])
        strides = (*(0,) * at, *own.strides, *(0,) * (len(points) - at - rank))
        window = record.window(Layout(own.root, points, strides, own.offset), value.dtype)
        picks.append(ir.Pick(window, x.shape[dim], x.strides[dim], dim, wraps))
    return far, tuple(picks)
