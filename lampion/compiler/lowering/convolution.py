"""Convolutions: windows with the channels last, filters laid out as the kernel reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from lampion.compiler import kernel_ir as ir
from lampion.compiler.codegen.convolution_blocks import PANEL, channel_block
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
    filters = packed(lowering, w, lowering.layout(w), main.params["groups"])
    record = Record(lowering)
    windows = channels_last(record.window(lowering.layout(x), x.dtype)), record.window(filters, w.dtype)
    epilogue = Body(lowering, record, main.output.shape)
    epilogue.result(main.output)
    for equation in group.epilogue:
        epilogue.add(equation)
    stores = epilogue.stores(lowering.schedule.stored(group))
    params = main.params
    lowering.call(record, ir.Convolution(
        *windows, main.output.shape[1], main.output.shape[2:], params["stride"],
        tuple(before for before, _ in params["padding"]),
        params["dilation"], params["groups"], main.output.dtype, tuple(record.operands),
        turned(epilogue.values), turned(stores),
    ), label(group))  # fmt: skip


def packed(lowering: Lowering, w: Value, layout: Layout, groups: int) -> Layout:
    """The filters (O, C, *taps) as the kernel reads them (see `ir.Convolution`), in memory of their own."""
    outputs, channels, *taps = layout.shape
    block = channel_block(channels, math.prod(taps), w.dtype.itemsize)
    each = outputs // groups
    panels = -(-each // PANEL)
    shape = (groups * panels, channels // block, *taps, block, PANEL)
    copy = Value(-1, shape, w.dtype)
    to = Layout(copy, shape, contiguous_strides(shape, 1))
    by_panel, by_block, *by_taps, by_channel, _ = to.strides
    by_output, by_input, *from_taps = layout.strides
    # Whole panels of all groups, then what is left of each group.
    for first, count, width in ((0, each // PANEL, PANEL), (each // PANEL * PANEL, 1, each % PANEL)):
        if not count or not width:
            continue
        part = (groups, count, width, channels // block, block, *taps)
        source = Value(-1, part, w.dtype)
        lowering.layouts[source] = Layout(
            layout.root, part,
            (each * by_output, PANEL * by_output, by_output, block * by_input, by_input, *from_taps),
            layout.offset + first * by_output,
        )  # fmt: skip
        strides = (panels * by_panel, by_panel, 1, by_block, by_channel, *by_taps)
        target = Layout(copy, part, strides, first // PANEL * by_panel)
        lowering.copy(source, target, "filters, as they are read")
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
