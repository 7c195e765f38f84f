"""Sorting: the order of all elements of a row, or of the leading ones."""

from __future__ import annotations

from dataclasses import replace

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation
from lampion.compiler.lowering.body import Record
from lampion.compiler.lowering.kernels import call_out
from lampion.compiler.lowering.plan import Lowering
from lampion.compiler.lowering.registry import lowers
from lampion.dtype import uint8


@lowers("order", safe=True)
def lower_order(lowering: Lowering, main: Equation) -> None:
    _sort(lowering, main, main.params["descending"])


@lowers("leading", safe=True)
def lower_leading(lowering: Lowering, main: Equation) -> None:
    _sort(lowering, main, main.params["largest"])


def _sort(lowering: Lowering, main: Equation, descending: bool) -> None:
    (x,) = main.inputs
    if x.shape[main.params["dim"]] >= 1 << 31:  # machine code numbers the elements of a row in 32 bits
        call_out(lowering, main)
        return
    record = Record(lowering)
    source = record.window(lowering.layout(x), x.dtype)
    out = record.window(lowering.layouts[main.output], main.output.dtype, written=True)
    kernel = ir.Sort(source, out, main.params["dim"], bool(descending), tuple(record.operands))
    if kernel.scratch_bytes:
        record.places.append(lowering.arena.take(kernel.chunks * kernel.scratch_bytes))
        kernel = replace(kernel, operands=(*record.operands, ir.Operand(uint8, True)))
    lowering.call(record, kernel, main.primitive.name)
