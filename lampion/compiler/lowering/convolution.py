"""Convolutions: windows with the channels last, filters laid out as the kernel reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Value
from lampion.compiler.lowering.body import Body, Record
from lampion.compiler.lowering.groups import label
from lampion.compiler.lowering.plan import Lowering
from lampion.compiler.lowering.registry import lowers_group
from lampion.compiler.schedule import Group, Layout
from lampion.compiler.strides import contiguous_strides

T = TypeVar("T", ir.Value, ir.Store)


@lowers_group("convolution")
def lower_convolution(lowering: Lowering, group: Group) -> None:
    main = group.main
    assert main is not None
    x, w = main.inputs
    filters = packed(lowering, w, lowering.layout(w))
    record = Record(lowering)
    windows = channels_last(record.window(lowering.layout(x), x.dtype)), record.window(filters, w.dtype)
    epilogue = Body(lowering, record, main.output.shape)
    epilogue.result(main.output)
    for equation in group.epilogue:
        epilogue.add(equation)
    stores = epilogue.stores(lowering.schedule.stored(group))
    params = main.params
    lowering.call(record, ir.Convolution(
        *windows, main.output.shape[2:], params["stride"], tuple(before for before, _ in params["padding"]),
        params["dilation"], params["groups"], main.output.dtype, tuple(record.operands),
        turned(epilogue.values), turned(stores),
    ), label(group))  # fmt: skip


def packed(lowering: Lowering, w: Value, layout: Layout) -> Layout:
    """The filters (O, C, *taps) as (*taps, C, O), one number behind the other: in memory of their own."""
    outputs, channels, *taps = layout.shape
    shape = (*taps, channels, outputs)
    copy, source = Value(-1, shape, w.dtype), Value(-1, layout.shape, w.dtype)
    to = Layout(copy, shape, contiguous_strides(shape, 1))
    lowering.layouts[source] = layout
    strides = (to.strides[-1], to.strides[-2], *to.strides[:-2])
    lowering.copy(source, Layout(copy, layout.shape, strides), "filters, as they are read")
    return to


def channels_last(window: ir.Window) -> ir.Window:
    """A window of (N, C, *sizes) as (N, *sizes, C)."""
    (n, c, *sizes), (by_n, by_c, *steps) = window.shape, window.strides
    return replace(window, shape=(n, *sizes, c), strides=(by_n, *steps, by_c))


def turned(things: Sequence[T]) -> tuple[T, ...]:
    """Values or stores of a loop nest over (N, C, *sizes) as of one over (N, *sizes, C)."""
    return tuple(
        replace(thing, window=channels_last(thing.window)) if isinstance(thing, ir.Load | ir.Store) else thing
        for thing in things
    )
