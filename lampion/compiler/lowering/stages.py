"""Reductions to few results in two stages, so that there is work for every thread.

The loss over a batch, the norm of a gradient, a bias' gradient: each thread would have to add to the same few
numbers. Instead, one of the reduced axes is cut into blocks, by the shape alone; the first stage reduces each
block, into scratch memory, and the second what they came to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from lampion.compiler import kernel_ir as ir
from lampion.compiler.lowering.plan import Lowering

_LARGE = 1 << 16  # points: below, one thread is about as quick
_ITEMS = 8  # what one stage can share out by itself, from here on
_COLUMNS = 128  # kept columns that are one item of work
_MOST = 64  # blocks
_AS_A_RULE = 32

_Change = Callable[[ir.Window], ir.Window]


def call_reduce(lowering: Lowering, kernel: ir.Reduce, places: Sequence[ir.Place], label: str) -> None:
    """Add the call of a reduction, or those of its stages."""
    axis = _axis_to_cut(kernel)
    if axis is None:
        lowering.calls.append(ir.Call(kernel, tuple(places), label))
        return
    size = kernel.shape[axis]
    blocks = _blocks(size)
    length, rest = divmod(size, blocks)
    rows = blocks + (rest > 0)
    scratch = [
        lowering.arena.take(rows * math.prod(kernel.kept) * r.dtype.itemsize) for r in kernel.reductions
    ]
    stages = [(_cut(kernel, axis, 0, blocks, length), 0)]
    if rest:
        stages.append((_cut(kernel, axis, blocks * length, 1, rest), blocks))
    for stage, row in stages:
        first = _first_stage(stage, row)
        lowering.calls.append(_call(first, [*places, *scratch], f"{label}: blocks"))
    lowering.calls.append(_call(_second_stage(kernel, rows), [*places, *scratch], label))


def _axis_to_cut(kernel: ir.Reduce) -> int | None:
    """The reduced axis to cut into blocks; None if the work can be shared out as it is."""
    loads = [value.window for value in kernel.body if isinstance(value, ir.Load)]
    if math.prod(kernel.shape) < _LARGE or not loads:
        return None
    if not all(isinstance(value, ir.Load | ir.Literal | ir.Compute) for value in kernel.body):
        return None

    def step(axis: int) -> int:  # along memory
        return sum(abs(window.strides[axis]) for window in loads)

    axes = sorted((axis for axis, n in enumerate(kernel.shape) if n > 1), key=step)
    items = math.prod(kernel.kept)
    if axes[0] not in kernel.axes:
        columns = kernel.shape[axes[0]]
        items = items // columns * -(-columns // _COLUMNS)
    if items >= _ITEMS:
        return None
    reduced = [axis for axis in reversed(axes) if axis in kernel.axes]
    return next((axis for axis in reduced if kernel.shape[axis] >= _ITEMS), None)


def _blocks(size: int) -> int:
    """How many blocks: as many as divide the axis, or some, and a rest."""
    if size <= _AS_A_RULE:
        return size
    return next((n for n in range(_MOST, _ITEMS - 1, -1) if size % n == 0), _AS_A_RULE)


def _cut(kernel: ir.Reduce, axis: int, start: int, blocks: int, length: int) -> ir.Reduce:
    """The body over `blocks` blocks of `length` points of an axis, as an axis in front."""

    def change(window: ir.Window) -> ir.Window:
        stride = window.strides[axis]
        inner = (*window.shape[:axis], length, *window.shape[axis + 1 :])
        return ir.Window(
            window.operand,
            (blocks, *inner),
            (stride * length, *window.strides),
            window.offset + stride * start,
        )

    shape = (blocks, *kernel.shape[:axis], length, *kernel.shape[axis + 1 :])
    axes = tuple(reduced + 1 for reduced in kernel.axes)
    return replace(kernel, shape=shape, axes=axes, body=_moved(kernel.body, change))


def _first_stage(stage: ir.Reduce, row: int) -> ir.Reduce:
    """Reduce the blocks of a stage, to scratch memory from that row on."""
    epilogue = tuple(ir.Result(n, r.dtype) for n, r in enumerate(stage.reductions))
    stores = tuple(
        ir.Store(_scratch(stage, n, stage.kept, row * math.prod(stage.kept[1:])), n)
        for n in range(len(stage.reductions))
    )
    return replace(stage, operands=_with_scratch(stage, True), epilogue=epilogue, stores=stores)


def _second_stage(kernel: ir.Reduce, rows: int) -> ir.Reduce:
    """Reduce what the blocks came to, and go on as the kernel does."""
    shape = (rows, *kernel.kept)
    body = tuple(ir.Load(_scratch(kernel, n, shape), r.dtype) for n, r in enumerate(kernel.reductions))
    reductions = tuple(replace(r, value=n) for n, r in enumerate(kernel.reductions))
    return replace(
        kernel,
        shape=shape,
        axes=(0,),
        operands=_with_scratch(kernel, False),
        body=body,
        reductions=reductions,
    )


def _scratch(kernel: ir.Reduce, number: int, shape: tuple[int, ...], offset: int = 0) -> ir.Window:
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    # Behind the kernel's own operands.
    return ir.Window(len(kernel.operands) + number, shape, tuple(strides), offset)


def _with_scratch(kernel: ir.Reduce, written: bool) -> tuple[ir.Operand, ...]:
    return (*kernel.operands, *(ir.Operand(r.dtype, written) for r in kernel.reductions))


def _call(kernel: ir.Reduce, places: Sequence[ir.Place], label: str) -> ir.Call:
    """The call of a stage, with only those operands that it uses."""
    used = sorted({window.operand for window in _windows(kernel)})
    written = {store.window.operand for store in kernel.stores}

    def change(window: ir.Window) -> ir.Window:
        return replace(window, operand=used.index(window.operand))

    stage = replace(
        kernel,
        operands=tuple(ir.Operand(kernel.operands[n].dtype, n in written) for n in used),
        body=_moved(kernel.body, change),
        epilogue=_moved(kernel.epilogue, change),
        stores=tuple(replace(store, window=change(store.window)) for store in kernel.stores),
    )
    return ir.Call(stage, tuple(places[n] for n in used), label)


def _windows(kernel: ir.Reduce) -> list[ir.Window]:
    parts = (*kernel.body, *kernel.epilogue, *kernel.stores)
    return [thing.window for thing in parts if isinstance(thing, ir.Load | ir.Store)]


def _moved(values: Sequence[ir.Value], change: _Change) -> tuple[ir.Value, ...]:
    return tuple(
        replace(value, window=change(value.window)) if isinstance(value, ir.Load) else value
        for value in values
    )
