"""Emits `Repeat`: a native loop around calls of other kernels.

One thread runs it from end to end, so that nobody waits for anybody within a round: this is for rounds of a
few microseconds, which is what a meeting of threads takes too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import llvmlite.ir as ir

from lampion.compiler.codegen.builder import I64, POINTER, IRValue
from lampion.compiler.kernel_ir import Kernel, Repeat, Round


def chunks(kernel: Repeat) -> int:
    """One: a round needs the one before."""
    return 1 if kernel.length else 0


def emit(
    module: ir.Module,
    name: str,
    kernel: Repeat,
    functions: Mapping[Kernel, ir.Function],
    count: Callable[[Kernel], int],
    can_fail: Callable[[Kernel], bool],
) -> None:
    """Add the loop's function to the module.

    Args:
        functions: those of the kernels inside, which are there already.
        count: the number of chunks of a kernel.
        can_fail: whether a kernel's status has to be looked at.
    """
    signature = ir.FunctionType(I64, [POINTER] * len(kernel.operands) + [I64, I64])
    function = ir.Function(module, signature, name)
    function.attributes.add("nounwind")
    *operands, lo, hi = function.args
    entry, loop, done = (function.append_basic_block(part) for part in ("entry", "round", "done"))
    b = ir.IRBuilder(entry)
    b.cbranch(b.icmp_signed("<", lo, hi), loop, done)
    b.position_at_end(loop)
    t = b.phi(I64, "t")
    t.add_incoming(I64(0), entry)
    for number, call in enumerate(kernel.calls):
        chunks_inside = count(call.kernel)
        if not chunks_inside:
            continue
        status = b.call(functions[call.kernel], [*pointers(b, call, operands, t), I64(0), I64(chunks_inside)])
        if can_fail(call.kernel):
            with b.if_then(b.icmp_signed("!=", status, I64(0)), likely=False):
                b.ret(failure(b, kernel, number, t, status))
    after = b.add(t, I64(1))
    t.add_incoming(after, b.block)
    b.cbranch(b.icmp_signed("<", after, I64(kernel.length)), loop, done)
    b.position_at_end(done)
    b.ret(I64(0))


def inside(kernel: Kernel) -> Iterator[Kernel]:
    """A kernel, and where it is a loop all those in it."""
    yield kernel
    if isinstance(kernel, Repeat):
        for call in kernel.calls:
            yield from inside(call.kernel)


def pointers(b: ir.IRBuilder, call: Round, operands: list[IRValue], t: IRValue) -> list[IRValue]:
    """Where a call's operands are in round t."""
    found = []
    for spot in call.spots:
        offset = b.add(I64(spot.offset), b.mul(t, I64(spot.step))) if spot.step else I64(spot.offset)
        found.append(b.gep(operands[spot.operand], [offset], inbounds=True, source_etype=ir.IntType(8)))
    return found


def failure(b: ir.IRBuilder, kernel: Repeat, number: int, t: IRValue, status: IRValue) -> Any:
    """The loop's status, from that of a call in a round: see `failed`."""
    calls = len(kernel.calls)
    where = b.add(b.mul(t, I64(calls)), I64(number))
    return b.add(b.add(b.mul(b.sub(status, I64(1)), I64(kernel.length * calls)), where), I64(1))


def failed(kernel: Repeat, position: int) -> tuple[int, int, int]:
    """What failed, from the position that a loop's status gives: (round, number of the call, position)."""
    position, where = divmod(position, kernel.length * len(kernel.calls))
    t, number = divmod(where, len(kernel.calls))
    return t, number, position
