"""Emits `WinogradFilters`: filters of 3x3 as the 4x4 numbers that tiles are multiplied with: `winograd.py`.

A chunk is a few channels of a panel of outputs.
"""

from __future__ import annotations

from typing import Any

from lampion.compiler.codegen import winograd
from lampion.compiler.codegen.builder import KernelBuilder
from lampion.compiler.codegen.convolution_blocks import PANEL
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import WinogradFilters

_CHANNELS = 16  # of a chunk


def chunks(kernel: WinogradFilters, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    return kernel.out.shape[0] * -(-kernel.out.shape[3] // _CHANNELS)


def emit(module: Any, name: str, kernel: WinogradFilters, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    panels, *_, channels, _ = kernel.out.shape
    with k.loop(k.lo, k.hi) as chunk:
        panel, part = k.unravel(chunk.index, (panels, -(-channels // _CHANNELS)))
        first = k.affine(0, (part, _CHANNELS))
        last = k.smaller(k.affine(_CHANNELS, (first, 1)), channels)
        width = k.smaller(k.affine(kernel.outputs, (panel, -PANEL)), PANEL)  # outputs of this panel
        with k.loop(first, last) as channel, k.loop(0, width, target.lanes(kernel.dtype)) as output:
            _transform(k, kernel, (panel, channel.index, output.index))
    k.finish()


def _transform(k: KernelBuilder, kernel: WinogradFilters, place: tuple[Any, Any, Any]) -> None:
    """The filters of a channel for a register's width of outputs."""
    lanes, steps = k.target.lanes(kernel.dtype), winograd.Algebra(k, kernel.dtype)
    (by_panel, _, *by_tap, by_channel, by_output), to = kernel.w.strides, kernel.out.strides
    source = k.affine(kernel.w.offset, *zip(place, (by_panel, by_channel, by_output), strict=True))
    target = k.affine(kernel.out.offset, *zip(place, (to[0], to[3], to[4]), strict=True))
    taps = [
        [
            k.load(
                k.at(kernel.w.operand, k.affine(y * by_tap[0] + x * by_tap[1], (source, 1))),
                kernel.dtype,
                lanes,
            )
            for x in range(3)
        ]
        for y in range(3)
    ]
    for y, row in enumerate(winograd.both(steps.filters, taps)):
        for x, value in enumerate(row):
            at = k.affine(y * to[1] + x * to[2], (target, 1))
            k.store(value, k.at(kernel.out.operand, at), kernel.dtype)
