"""Emits `Repeat`: a native loop around calls of other kernels.

    i64 name(ptr operand0, ptr operand1, ..., i64 lo, i64 hi)

runs it from end to end on one thread. Where rounds are long enough for threads to meet in them, there is a
second function beside it, which all threads of a plan run together:

    void name_together(ptr operand0, ..., ptr sync, ptr done, ptr words, i64 thread, i64 threads)

`done` has a word for each call of each round, how much of it is complete, and `words` those through which a
thread's share of it is claimed (see `pool`). Each call waits for the one before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ir

from lampion.compiler.codegen.builder import I64, POINTER, IRValue
from lampion.compiler.kernel_ir import Gather, Kernel, Repeat, Round, Rows, ScatterAdd


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
    """The loop's status, from that of a call in a round: earlier rounds have lesser ones."""
    where = b.add(b.mul(t, I64(len(kernel.calls))), I64(number))
    return b.add(b.mul(where, I64(_positions(kernel))), status)


def failed(kernel: Repeat, position: int) -> tuple[int, int, int]:
    """What failed, from the position that a loop's status gives: (round, number of the call, position)."""
    where, position = divmod(position, _positions(kernel))
    t, number = divmod(where, len(kernel.calls))
    return t, number, position


def _positions(kernel: Repeat) -> int:
    """More than the status of any call in a round can be."""
    return max(_statuses(call.kernel) for call in kernel.calls)


def _statuses(kernel: Kernel) -> int:
    """How many statuses a kernel has at most: 0, and 1 + each position at which it can fail."""
    if isinstance(kernel, Repeat):
        return kernel.length * len(kernel.calls) * _positions(kernel) + 1
    if isinstance(kernel, Gather):
        return kernel.out.size + 1
    if isinstance(kernel, ScatterAdd):
        return kernel.source.size + 1
    if isinstance(kernel, Rows):
        return math.prod(kernel.kept) + 1
    return 1


@dataclass(frozen=True)
class Together:
    """How threads share a loop's rounds.

    Attributes:
        chunks: of each call.
        shared: whether all threads take part in a call; else thread 0 makes it.
    """

    chunks: tuple[int, ...]
    shared: tuple[bool, ...]

    @property
    def goals(self) -> list[int]:
        """What each call's word counts to."""
        return [chunks if shared else 1 for chunks, shared in zip(self.chunks, self.shared, strict=True)]


@dataclass(frozen=True)
class Runtime:
    """What a plan has for its threads: functions that wait for a word, report to it, and claim chunks."""

    wait: Callable[..., Any]
    report: Callable[..., Any]
    claim: Callable[..., Any]
    note: Callable[..., Any]  # a failure


def emit_together(
    module: ir.Module,
    name: str,
    kernel: Repeat,
    functions: Mapping[Kernel, ir.Function],
    together: Together,
    can_fail: Callable[[Kernel], bool],
    runtime: Runtime,
) -> ir.Function:
    """Add the function that all threads run."""
    signature = ir.FunctionType(ir.VoidType(), [POINTER] * (len(kernel.operands) + 3) + [I64, I64])
    function = ir.Function(module, signature, name)
    function.attributes.add("nounwind")
    function.linkage = "internal"
    *operands, sync, done, words, thread, threads = function.args
    entry, loop, end = (function.append_basic_block(part) for part in ("entry", "round", "end"))
    b = ir.IRBuilder(entry)
    first = b.icmp_unsigned("==", thread, I64(0))
    b.branch(loop)
    b.position_at_end(loop)
    t = b.phi(I64, "t")
    t.add_incoming(I64(0), entry)
    count, shares, goals = len(kernel.calls), sum(together.shared), together.goals

    def word(number: int) -> Any:
        """That of a call in this round; -1 is the last one of the round before."""
        place = b.add(b.mul(t, I64(count)), I64(number))
        return b.gep(done, [place], inbounds=True, source_etype=I64)

    def run(number: int, lo: Any, hi: Any) -> None:
        call = kernel.calls[number]
        status = b.call(functions[call.kernel], [*pointers(b, call, operands, t), lo, hi])
        if can_fail(call.kernel):
            with b.if_then(b.icmp_signed("!=", status, I64(0)), likely=False):
                runtime.note(b, sync, failure(b, kernel, number, t, status))
        runtime.report(b, sync, word(number), b.sub(hi, lo) if together.shared[number] else I64(1),
                       I64(goals[number]))  # fmt: skip

    def wait(number: int) -> None:
        before = number - 1
        if number:
            runtime.wait(b, sync, word(before), I64(goals[before]))
        else:
            with b.if_then(b.icmp_signed(">", t, I64(0))):
                runtime.wait(b, sync, word(-1), I64(goals[-1]))

    for number in range(count):
        if not together.shared[number]:
            with b.if_then(first):
                wait(number)
                run(number, I64(0), I64(together.chunks[number]))
            continue
        wait(number)
        place = b.add(b.mul(t, I64(shares)), I64(sum(together.shared[:number])))
        own = b.gep(words, [place], inbounds=True, source_etype=I64)
        more, some, none = (b.append_basic_block(part) for part in ("more", "some", "none"))
        b.branch(more)
        b.position_at_end(more)
        taken = runtime.claim(b, sync, own, thread, threads, I64(together.chunks[number]))
        b.cbranch(b.icmp_unsigned("==", taken, I64(0)), none, some)
        b.position_at_end(some)
        run(number, b.lshr(taken, I64(32)), b.and_(taken, I64(0xFFFFFFFF)))
        b.branch(more)
        b.position_at_end(none)
    after = b.add(t, I64(1))
    t.add_incoming(after, b.block)
    b.cbranch(b.icmp_signed("<", after, I64(kernel.length)), loop, end)
    b.position_at_end(end)
    with b.if_then(first):
        last = b.gep(done, [I64(kernel.length * count - 1)], inbounds=True, source_etype=I64)
        runtime.wait(b, sync, last, I64(goals[-1]))
    b.ret_void()
    return function
