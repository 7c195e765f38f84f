"""From groups to a plan. `plan` finds places in memory; the other files hold the rules by which groups and
equations become kernel records, each registered in `registry`.
"""

from __future__ import annotations

from collections.abc import Sequence

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Graph, Value
from lampion.compiler.lowering import (  # they register rules
    along,
    attention,
    convolution,
    groups,
    indexing,
    kernels,
    loops,
    pooling,
    registry,
    rows,
    sorting,
)
from lampion.compiler.lowering.plan import Lowering

#: The primitives of kind "kernel" that have a kernel.
KERNELS = frozenset(registry.KERNELS) | registry.ELSEWHERE


def lower(graph: Graph, strides: dict[Value, tuple[int, ...]], targets: Sequence[Value | None]) -> ir.Plan:
    """Turn a graph into a plan.

    Args:
        strides: of each input and constant, in elements.
        targets: for each output, the input whose memory it is written to, or None for memory of its own.

    The plan's external pointers are the inputs, then the constants, then the outputs without a target.
    """
    return Lowering(graph, strides, targets).plan()


__all__ = ["KERNELS", "lower"]
