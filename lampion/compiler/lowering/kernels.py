"""Equations that become kernels by themselves: one function for each primitive that has machine code.

What has none is called out: NumPy computes it between the native parts of a plan.
"""

from __future__ import annotations

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation, Value
from lampion.compiler.lowering.assembly import places
from lampion.compiler.lowering.body import Record
from lampion.compiler.lowering.plan import Lowering
from lampion.compiler.lowering.registry import kernel_of, lowers
from lampion.compiler.schedule import Layout, has_machine_code, window_of
from lampion.compiler.strides import contiguous_strides


def lower_kernel(lowering: Lowering, main: Equation) -> None:
    rule = kernel_of(main)
    if rule is None or not (has_machine_code(main) or main.primitive.kind == "movement"):
        call_out(lowering, main)
    else:
        rule(lowering, main)


def call_out(lowering: Lowering, main: Equation) -> None:
    """A call of the primitive's own `forward`, with NumPy arrays over the plan's memory."""
    record = Record(lowering)
    inputs = [record.window(lowering.layout(x), x.dtype) if isinstance(x, Value) else x for x in main.inputs]
    out = record.window(lowering.layouts[main.output], main.output.dtype, written=True)
    name, forward = main.primitive.name, main.primitive.forward
    kernel = ir.CallOut(name, forward, tuple(inputs), main.params, out, tuple(record.operands))
    lowering.call(record, kernel, name)


@lowers("reshape", safe=True)
def lower_reshape(lowering: Lowering, main: Equation) -> None:
    # Read the source in its own shape, and store it through the new shape's strides, which are plain:
    # so in the source's shape they are plain too. (Of images whose channels come last, the sizes' are.)
    out = lowering.layouts[main.output]
    source = main.inputs[0]
    strides = contiguous_strides(source.shape, 1)
    if out.strides != contiguous_strides(out.shape, 1):
        strides = (*out.strides[:2], *contiguous_strides(source.shape[2:], out.shape[1]))
    lowering.copy(source, Layout(out.root, source.shape, strides), "reshape")


@lowers("put", safe=True)
def lower_put(lowering: Lowering, main: Equation) -> None:
    base, value = main.inputs
    out = inner = lowering.layouts[main.output]
    for primitive, params in main.params["chain"]:
        moved = window_of(primitive, params, inner, main.output.dtype)
        if moved is None:  # a reshape on the way would have to copy
            call_out(lowering, main)
            return
        inner = moved
    lowering.copy(base, out, "put: base")
    lowering.copy(value, inner, "put: part")


@lowers("cat", safe=True)
def lower_cat(lowering: Lowering, main: Equation) -> None:
    for part, place in zip(main.inputs, places(lowering, main), strict=True):
        if lowering.layouts.get(part) != place:  # else it was written there
            lowering.copy(part, place, "cat")


@lowers("gather")
def lower_gather(lowering: Lowering, main: Equation) -> None:
    x, index = main.inputs
    record = Record(lowering)
    source = record.window(lowering.layout(x), x.dtype)
    indices = record.window(lowering.layout(index), index.dtype)
    out = record.window(lowering.layouts[main.output], x.dtype, written=True)
    lowering.call(
        record, ir.Gather(source, indices, out, main.params["dim"], tuple(record.operands)), "gather"
    )


@lowers("scatter", "scatter_add")
def lower_scatter(lowering: Lowering, main: Equation) -> None:
    base, index, source = main.inputs
    name = main.primitive.name
    lowering.copy(base, lowering.layouts[main.output], f"{name}: base")
    record = Record(lowering)
    out = record.window(lowering.layouts[main.output], main.output.dtype, written=True)
    indices = record.window(lowering.layout(index), index.dtype)
    # Only the part of the source that the index covers is added.
    part = lowering.layout(source)
    values = record.window(Layout(part.root, index.shape, part.strides, part.offset), source.dtype)
    adds = name == "scatter_add"
    lowering.call(
        record,
        ir.ScatterAdd(out, indices, values, main.params["dim"], tuple(record.operands), adds=adds),
        name,
    )


@lowers("positions", safe=True)
def lower_positions(lowering: Lowering, main: Equation) -> None:
    out, record = main.output, Record(lowering)
    store = ir.Store(record.window(lowering.layouts[out], out.dtype, written=True), 0)
    kernel = ir.Map(out.shape, tuple(record.operands), (ir.Position(out.dtype),), (store,))
    lowering.call(record, kernel, "positions")


@lowers("random_bits", safe=True)
def lower_random_bits(lowering: Lowering, main: Equation) -> None:
    (state,) = main.inputs
    record = Record(lowering)
    record.window(lowering.layout(state), state.dtype)
    record.window(lowering.layouts[main.output], main.output.dtype, written=True)
    params = main.params
    lowering.call(
        record, ir.RandomBits(params["size"], params["delta"], tuple(record.operands)), "random_bits"
    )
