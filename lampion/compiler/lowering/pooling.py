"""Pooling: windows with the channels last."""

from __future__ import annotations

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation
from lampion.compiler.lowering.body import Record
from lampion.compiler.lowering.convolution import adjacent_channels, channels_last
from lampion.compiler.lowering.kernels import call_out
from lampion.compiler.lowering.plan import Lowering
from lampion.compiler.lowering.registry import lowers
from lampion.dtype import float32, float64, int64

_TYPES = (float32, float64, int64)


@lowers("pool_pick", "pool_spread", safe=True)
def lower_pool(lowering: Lowering, main: Equation) -> None:
    if any(value.dtype not in _TYPES for value in main.values):
        call_out(lowering, main)
        return
    spreads = main.primitive.name == "pool_spread"
    first, x = main.inputs
    record = Record(lowering)
    seen = channels_last(record.window(adjacent_channels(lowering, x), x.dtype))
    other = channels_last(record.window(adjacent_channels(lowering, first), first.dtype))
    out = lowering.layouts[main.output]
    made = channels_last(record.window(out, main.output.dtype, written=True))
    params = main.params
    z, y = (made, other) if spreads else (other, made)
    lowering.call(record, ir.Pool(
        seen, z, y, params["taps"], params["stride"], tuple(before for before, _ in params["padding"]),
        params["dilation"], spreads, tuple(record.operands),
    ), main.primitive.name)  # fmt: skip
