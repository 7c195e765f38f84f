"""Convolutions and their gradients: windows with the channels last, filters as the kernel reads them.

The gradient of the input is a convolution too: of the output's gradient, with the filters turned round. Where
the stride is more than 1, each place of the input meets some of the taps only, the same ones for all places
that are a multiple of the stride apart: so it is several convolutions, whose results alternate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from lampion.compiler import kernel_ir as ir
from lampion.compiler.codegen import convolution_depthwise, convolution_few, convolution_weight, winograd
from lampion.compiler.codegen.convolution_blocks import PANEL, Geometry, channel_block, three
from lampion.compiler.graph import Equation, Value
from lampion.compiler.lowering.body import Body, Record
from lampion.compiler.lowering.groups import label
from lampion.compiler.lowering.kernels import call_out
from lampion.compiler.lowering.plan import Lowering
from lampion.compiler.lowering.registry import lowers, lowers_group
from lampion.compiler.schedule import Group, Layout
from lampion.compiler.strides import contiguous_strides
from lampion.dtype import DType, float32, float64
from lampion.ops.reduce import sum as sum_

T = TypeVar("T", ir.Value, ir.Store)

FEW = 4  # channels that a kernel may gather one by one


@lowers_group("convolution")
def lower_convolution(lowering: Lowering, group: Group) -> None:
    """A convolution, or the gradient of the input of one with stride 1, with what becomes of its results."""
    main = group.main
    assert main is not None
    x, w = main.inputs
    view = _View.of(lowering.layout(w), main.params["groups"])
    padding = tuple(before for before, _ in main.params["padding"])
    stride, dilation = main.params["stride"], main.params["dilation"]
    if main.primitive.name == "convolution_input":
        taps = main.inputs[1].shape[2:]
        view = view.turned([(0, 1, n) for n in taps])
        padding = tuple(d * (n - 1) - p for d, n, p in zip(dilation, taps, padding, strict=True))
    seen = adjacent_channels(lowering, x, _few(main))
    is_transformed = winograd.pays(_geometry(x, main.output, view.shape, stride, padding, dilation))
    filters = packed(lowering, w, view, is_transformed)
    transformed = transform(lowering, filters, w.dtype, main.output.shape[1]) if is_transformed else None
    record = Record(lowering)
    windows = channels_last(record.window(seen, x.dtype)), record.window(filters, w.dtype)
    others = () if transformed is None else (record.window(transformed, w.dtype),)
    epilogue = Body(lowering, record, main.output.shape)
    epilogue.result(main.output)
    for equation in group.epilogue:
        epilogue.add(equation)
    stores = epilogue.stores(lowering.schedule.stored(group))
    lowering.call(record, ir.Convolution(
        *windows, main.output.shape[1], main.output.shape[2:], stride, padding, dilation,
        main.params["groups"], main.output.dtype, tuple(record.operands),
        turned(epilogue.values), turned(stores), *others,
    ), label(group) + _way(is_transformed))  # fmt: skip


def _geometry(
    x: Value, out: Value, filters: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int],
) -> Geometry:  # fmt: skip
    """The sizes of a convolution; filters are (groups, outputs of a group, channels of a group, *taps)."""
    groups, outputs, channels, *taps = filters
    return Geometry(
        x.shape[0], channels, outputs, groups, three(x.shape[2:], 1), three(out.shape[2:], 1), three(taps, 1),
        three(stride, 1), three(padding, 0), three(dilation, 1), x.dtype.itemsize,
    )  # fmt: skip


def _way(is_transformed: bool) -> str:
    """For labels."""
    return " (Winograd)" if is_transformed else ""


def transform(lowering: Lowering, filters: Layout, dtype: DType, outputs: int) -> Layout:
    """Packed filters, transformed for Winograd's way to convolve (see `ir.WinogradFilters`)."""
    panels, _, _, _, channels, width = filters.shape
    shape = (panels, 4, 4, channels, width)
    to = _in_new_memory(shape, contiguous_strides(shape, 1), dtype)
    record = Record(lowering)
    windows = record.window(filters, dtype), record.window(to, dtype, written=True)
    kernel = ir.WinogradFilters(*windows, outputs, dtype, tuple(record.operands))
    lowering.call(record, kernel, "filters, transformed")
    return to


@lowers("convolution_input", safe=True)
def lower_convolution_input(lowering: Lowering, main: Equation) -> None:
    """The gradient of the input, one part for each remainder that places leave when divided by the stride."""
    params = main.params
    if not _is_plain_float(main):
        call_out(lowering, main)
        return
    phases = [
        [_phase(start, n, size, s, before, d) for start in range(min(s, size))]
        for n, size, s, (before, _), d in zip(
            main.inputs[1].shape[2:], params["sizes"], params["stride"], params["padding"],
            params["dilation"], strict=True,
        )
    ]  # fmt: skip
    for parts in itertools.product(*phases):
        _lower_phase(lowering, main, parts)


def _few(main: Equation) -> int:
    """How many channels the kernel may gather one by one; those of small groups fill the lanes."""
    return FEW if main.params["groups"] == 1 else 1


def _is_plain_float(main: Equation) -> bool:
    """Whether it is of float32 or float64, which the kernels are for."""
    return main.output.dtype in (float32, float64)


@dataclass
class _Phase:
    """Of one dimension: the places start, start + step... of the input, and the taps that they meet."""

    start: int
    step: int
    count: int  # of places
    taps: tuple[int, int, int]  # first, step, how many
    padding: int  # of the convolution that this is
    dilation: int


def _phase(start: int, taps: int, size: int, stride: int, padding: int, dilation: int) -> _Phase:
    """Place j meets tap r from output i, where stride * i + dilation * r = j + padding."""
    count = -(-(size - start) // stride)
    met = [r for r in range(taps) if (start + padding - dilation * r) % stride == 0]
    if not met:
        return _Phase(start, stride, count, (0, 1, 0), 0, 1)
    step = stride // math.gcd(stride, dilation)
    # From one of these taps to the next, the output is so much earlier.
    earlier = dilation * step // stride
    base = (start + padding - dilation * met[0]) // stride
    return _Phase(start, stride, count, (met[0], step, len(met)), earlier * (len(met) - 1) - base, earlier)


def _lower_phase(lowering: Lowering, main: Equation, parts: Sequence[_Phase]) -> None:
    y, w = main.inputs
    slopes = adjacent_channels(lowering, y, _few(main))
    whole = lowering.layouts[main.output]
    n, c, *_ = whole.shape
    out = Layout(
        whole.root, (n, c, *(part.count for part in parts)),
        (*whole.strides[:2], *(part.step * s for part, s in zip(parts, whole.strides[2:], strict=True))),
        whole.offset + sum(part.start * s for part, s in zip(parts, whole.strides[2:], strict=True)),
    )  # fmt: skip
    record = Record(lowering)
    if any(part.taps[2] == 0 for part in parts):  # places that no filter looks at
        window = record.window(out, main.output.dtype, written=True)
        zero = ir.Literal(0.0, main.output.dtype)
        kernel = ir.Map(out.shape, tuple(record.operands), (zero,), (ir.Store(window, 0),))
        lowering.call(record, kernel, "convolution_input: zeros")
        return
    view = _View.of(lowering.layout(w), main.params["groups"]).turned([part.taps for part in parts])
    filters = packed(lowering, w, view)
    windows = channels_last(record.window(slopes, y.dtype)), record.window(filters, w.dtype)
    store = ir.Store(channels_last(record.window(out, main.output.dtype, written=True)), 0)
    lowering.call(record, ir.Convolution(
        *windows, c, out.shape[2:], (1,) * len(parts), tuple(part.padding for part in parts),
        tuple(part.dilation for part in parts), main.params["groups"], main.output.dtype,
        tuple(record.operands), (ir.Result(0, main.output.dtype),), (store,),
    ), "convolution_input")  # fmt: skip


@lowers("convolution_weight", safe=True)
def lower_convolution_weight(lowering: Lowering, main: Equation) -> None:
    """The gradient of the filters: sums over blocks of images, which are then added up."""
    if not _is_plain_float(main):
        call_out(lowering, main)
        return
    y, x = main.inputs
    params, out = main.params, lowering.layouts[main.output]
    outputs, channels, *taps = main.output.shape
    padding = tuple(before for before, _ in params["padding"])
    groups = params["groups"]
    geometry = _geometry(
        x, y, (groups, outputs // groups, channels, *taps), params["stride"], padding, params["dilation"]
    )
    is_transformed = winograd.pays(geometry)
    images = -(-max(1, x.shape[0]) // convolution_weight.image_blocks(geometry))
    blocks = max(1, -(-x.shape[0] // images))  # one of no images, too: zeros
    # Each output's numbers are to lie together, but kernels write outputs side by side (or channels, where
    # there are few outputs): first they do so with everything else in order, which is then turned as a whole.
    has_few = convolution_weight.has_few(geometry)
    if has_few:
        shape = (blocks, *taps, outputs, channels)
        *by_taps, by_output, by_channel = order = contiguous_strides(shape[1:], 1)
    else:
        shape = (blocks, *taps, channels, outputs)
        *by_taps, by_channel, by_output = order = _order(main.output.shape)
    summed = _in_new_memory(shape[1:], order, x.dtype)
    sums = summed if blocks == 1 else _in_new_memory(shape, contiguous_strides(shape, 1), x.dtype)
    slopes, seen = adjacent_channels(lowering, y), adjacent_channels(lowering, x, _few(main))
    record = Record(lowering)
    slopes_, seen_ = (channels_last(record.window(layout, x.dtype)) for layout in (slopes, seen))
    to = replace(sums, shape=shape, strides=(0, *summed.strides)) if blocks == 1 else sums
    window = record.window(to, x.dtype, written=True)
    if has_few:
        *steps, by_rows, by_columns = window.strides
        window = replace(
            window, shape=(blocks, *taps, channels, outputs), strides=(*steps, by_columns, by_rows)
        )
    lowering.call(record, ir.ConvolutionWeight(
        seen_, slopes_, window, images, params["stride"], padding, params["dilation"], params["groups"],
        x.dtype, tuple(record.operands), is_transformed,
    ), "convolution_weight" + _way(is_transformed))  # fmt: skip
    if blocks > 1:
        _add_up(lowering, sums, summed, x)
    value = Value(-1, main.output.shape, x.dtype)
    lowering.layouts[value] = Layout(
        summed.root, value.shape, (by_output, by_channel, *by_taps), summed.offset
    )
    lowering.copy(value, out, "convolution_weight: each output's together")


def _in_new_memory(shape: tuple[int, ...], strides: tuple[int, ...], dtype: DType) -> Layout:
    return Layout(Value(-1, shape, dtype), shape, strides)


def _add_up(lowering: Lowering, sums: Layout, out: Layout, like: Value) -> None:
    """The sum over the blocks."""
    dtype = like.dtype
    record = Record(lowering)
    load = ir.Load(record.window(sums, dtype), dtype)
    store = ir.Store(record.window(out, dtype, written=True), 0)
    kernel = ir.Reduce(
        sums.shape, (0,), tuple(record.operands), (load,), (ir.Reduction(sum_.primitive, 0, dtype),),
        (ir.Result(0, dtype),), (store,),
    )  # fmt: skip
    lowering.call(record, kernel, "convolution_weight: blocks of images")


def adjacent_channels(lowering: Lowering, y: Value, few: int = 1) -> Layout:
    """Where y can be read with its channels adjacent (unless they are few); copied there, if it cannot be."""
    layout = lowering.layout(y)
    n, c, *sizes = y.shape
    if layout.strides[1] == 1 or c <= few:
        return layout
    if y not in lowering.channels_last:
        copy = Value(-1, (n, *sizes, c), y.dtype)
        by_n, *steps, by_c = contiguous_strides((n, *sizes, c), 1)
        to = lowering.channels_last[y] = Layout(copy, y.shape, (by_n, by_c, *steps))
        lowering.copy(y, to, "channels last")
    return lowering.channels_last[y]


def _order(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of (*taps, C, O) that lies in memory as (C, *taps, O)."""
    outputs, channels, *taps = shape
    by_channel, *by_taps, by_output = contiguous_strides((channels, *taps, outputs), 1)
    return (*by_taps, by_channel, by_output)


@dataclass
class _View:
    """Filters in memory, as (groups, outputs of a group, channels of a group, *taps)."""

    root: Value
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, layout: Layout, groups: int) -> _View:
        outputs, channels, *taps = layout.shape
        each = outputs // groups
        strides = (each * layout.strides[0], *layout.strides)
        return cls(layout.root, (groups, each, channels, *taps), strides, layout.offset)

    def turned(self, taps: Sequence[tuple[int, int, int]]) -> _View:
        """Outputs for channels, and these taps (first, step, count) from the last to the first."""
        groups, outputs, channels, *_ = self.shape
        by_group, by_output, by_channel, *steps = self.strides
        last = sum((first + step * (n - 1)) * s for (first, step, n), s in zip(taps, steps, strict=True))
        back = tuple(-step * s for (_, step, _), s in zip(taps, steps, strict=True))
        return _View(
            self.root, (groups, channels, outputs, *(n for _, _, n in taps)),
            (by_group, by_channel, by_output, *back), self.offset + last,
        )  # fmt: skip


def packed(lowering: Lowering, w: Value, view: _View, whole: bool = False) -> Layout:
    """The filters as the kernel reads them (see `ir.Convolution`), in memory of their own.

    Args:
        whole: all channels are to be one block.
    """
    groups, outputs, channels, *taps = view.shape
    if groups > 1 and outputs == channels and channels in convolution_depthwise.SIZES:
        return _packed_groups(lowering, w, view)
    block = channels if whole else channel_block(channels, math.prod(taps), w.dtype.itemsize)
    if convolution_few.suits(outputs, block, taps, w.dtype.itemsize):
        return _packed_few(lowering, w, view, block)
    panels = -(-outputs // PANEL)
    shape = (groups * panels, channels // block, *taps, block, PANEL)
    copy = Value(-1, shape, w.dtype)
    to = Layout(copy, shape, contiguous_strides(shape, 1))
    by_panel, by_block, *by_taps, by_channel, _ = to.strides
    from_group, from_output, from_channel, *from_taps = view.strides
    # Whole panels of all groups, then what is left of each group.
    for first, count, width in ((0, outputs // PANEL, PANEL), (outputs // PANEL * PANEL, 1, outputs % PANEL)):
        if not count or not width:
            continue
        part = (groups, count, width, channels // block, block, *taps)
        source = Value(-1, part, w.dtype)
        lowering.layouts[source] = Layout(
            view.root, part,
            (from_group, PANEL * from_output, from_output, block * from_channel, from_channel, *from_taps),
            view.offset + first * from_output,
        )  # fmt: skip
        strides = (panels * by_panel, by_panel, 1, by_block, by_channel, *by_taps)
        target = Layout(copy, part, strides, first // PANEL * by_panel)
        lowering.copy(source, target, "filters, as they are read")
    return to


def _packed_few(lowering: Lowering, w: Value, view: _View, block: int) -> Layout:
    """The same for few outputs: of each tap and output, the channels of a block adjacent."""
    groups, outputs, channels, *taps = view.shape
    from_group, from_output, from_channel, *from_taps = view.strides
    part = (groups, outputs, channels // block, block, *taps)
    source, copy = (Value(-1, part, w.dtype) for _ in range(2))
    steps = (from_group, from_output, block * from_channel, from_channel, *from_taps)
    lowering.layouts[source] = Layout(view.root, part, steps, view.offset)
    by_group, by_block, *by_taps, by_output, _ = contiguous_strides(
        (groups, channels // block, *taps, outputs, block), 1
    )
    to = Layout(copy, part, (by_group, by_output, by_block, 1, *by_taps))
    lowering.copy(source, to, "filters, as they are read")
    shape = (groups, channels // block, *taps, block, outputs)
    return Layout(copy, shape, (by_group, by_block, *by_taps, 1, by_output))


def _packed_groups(lowering: Lowering, w: Value, view: _View) -> Layout:
    """The same for small groups: tap by tap, channel of a group by channel, all outputs adjacent."""
    groups, outputs, channels, *taps = view.shape
    source, copy = (Value(-1, view.shape, w.dtype) for _ in range(2))
    lowering.layouts[source] = Layout(view.root, view.shape, view.strides, view.offset)
    shape = (1, 1, *taps, channels, groups * outputs)
    _, _, *by_taps, by_channel, _ = strides = contiguous_strides(shape, 1)
    to = Layout(copy, view.shape, (outputs, 1, by_channel, *by_taps))
    lowering.copy(source, to, "filters, as they are read")
    return Layout(copy, shape, strides)


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
