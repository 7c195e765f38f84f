"""A whole plan as one native function, which every thread of the pool runs at the same time.

    void plan(ptr table, ptr arena, i64 thread, i64 threads, ptr sync)

Each kernel call has a fixed number of chunks; a thread runs its share of them. Threads meet at a barrier
only before a call that touches what another thread wrote, or overwrites what another thread read, since
the last one. A kernel that fails leaves (call, position) in `sync`; the least is kept, and all threads
leave together at the next barrier. There is always one between a call that can fail and a later one that
writes outside the arena: after an error, parameters are as they were.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import llvmlite.ir as ir

from lampion.compiler import cache, runtime
from lampion.compiler.codegen import cost, gather, map, matmul, random, reduce
from lampion.compiler.codegen.builder import I64, POINTER, emit_object, optimize
from lampion.compiler.codegen.loader import Library
from lampion.compiler.codegen.pool import ARRIVALS, EVENT, NOW, OK, STATUS, SYNC_BYTES, WAIT, WAKE
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import (
    Call,
    Compute,
    Gather,
    Kernel,
    Map,
    Matmul,
    Place,
    Plan,
    RandomBits,
    Reduce,
    ScatterAdd,
)

_MODULES: dict[type, ModuleType] = {
    Map: map,
    Reduce: reduce,
    Matmul: matmul,
    Gather: gather,
    ScatterAdd: gather,
    RandomBits: random,
}

# Below this, waking other threads costs more than they save (ns on one core).
SERIAL = 50_000.0
# A kernel below this is left to one thread of a plan that has several: a barrier costs about 0.2 us.
SMALL = 1_500.0

_POSITION_BITS = 40


class Failure(NamedTuple):
    """Which kernel call failed, and the flat position of the element that it failed at."""

    call: int
    position: int


class CompiledPlan:
    """A plan as machine code.

    Attributes:
        code: the object code, as the cache keeps it.
        serial: whether it is so small that it always runs on the calling thread alone.
        labels: what each call came from.
    """

    def __init__(self, plan: Plan, target: Target, code: bytes, serial: bool) -> None:
        self.plan = plan
        self.target = target
        self.code = code
        self.serial = serial
        self.labels = tuple(call.label for call in plan.calls)
        self._library = Library(code, target)
        self._solo = _solo_function(self._library)
        self._entry = 0 if serial else self._library.address("plan")

    def run(self, table: int, arena: int, threads: int | None = None) -> Failure | None:
        """Run the plan: None, or what failed.

        Args:
            table: the address of an array of `plan.externals` pointers.
            arena: the address of `plan.arena_bytes` bytes, 64-aligned, that no other run is using.
            threads: how many threads (`get_num_threads()`, unless given). The results are the same bits.
        """
        if self.serial:
            status = self._solo(table, arena)
        else:
            status = self._shared(table, arena, runtime.get_num_threads() if threads is None else threads)
        return None if status == OK else _failure(status)

    def _shared(self, table: int, arena: int, threads: int) -> int:
        if threads > 1:
            status = runtime.launch(self._entry, table, arena, threads)
            if status != runtime.BUSY:
                return status
        return int(self._solo(table, arena))

    def profile(self, table: int, arena: int, threads: int | None = None) -> list[float]:
        """Run the plan once, with a barrier after every call: the nanoseconds that each call took."""
        if self.serial:
            threads = 1
        elif threads is None:
            threads = runtime.get_num_threads()
        marks = (ctypes.c_int64 * (len(self.plan.calls) + 1))()
        # The timed code finds the place for its clock readings behind the last external pointer.
        pointers = (ctypes.c_void_p * (self.plan.externals + 1))()
        ctypes.memmove(pointers, table, 8 * self.plan.externals)
        pointers[self.plan.externals] = ctypes.addressof(marks)
        entry, table = self._timed.address("plan"), ctypes.addressof(pointers)
        while runtime.launch(entry, table, arena, threads) == runtime.BUSY:
            time.sleep(0.001)
        return [float(b - a) for a, b in itertools.pairwise(marks)]

    @functools.cached_property
    def _timed(self) -> Library:
        """The same plan with clock readings in between."""
        emitter = _Emitter(self.plan, self.target, self.serial, timed=True)
        return Library(_compile(emitter.emit(), self.target), self.target)

    @functools.cached_property
    def ir(self) -> str:
        """The optimized LLVM IR."""
        return str(optimize(_Emitter(self.plan, self.target, self.serial).emit(), self.target))

    @functools.cached_property
    def assembly(self) -> str:
        """The machine code, as text."""
        machine = self.target.machine()
        module = optimize(_Emitter(self.plan, self.target, self.serial).emit(), self.target, machine)
        return str(machine.emit_assembly(module))


def compile_plan(plan: Plan, target: Target | None = None, serial: bool | None = None) -> CompiledPlan:
    """Machine code for a plan, from the cache where it is there.

    Args:
        target: the processor; the one that this runs on, unless given.
        serial: whether to run on the calling thread alone; where not given, small plans do.
    """
    target = target or Target.host()
    if serial is None:
        serial = sum(cost.nanoseconds(call.kernel, target) for call in plan.calls) < SERIAL
    emitter = _Emitter(plan, target, serial)
    module = None
    if _is_ours(plan):
        name = cache.key("plan", plan_text(plan), target.key, str(serial))
    else:  # a primitive from elsewhere: its name does not say what its code does, but what it emits does
        module = emitter.emit()
        name = cache.key("module", str(module), target.key)
    code = cache.load(name)
    if code is None:
        code = _compile(module or emitter.emit(), target)
        cache.store(name, code)
    return CompiledPlan(plan, target, code, serial)


def _compile(module: ir.Module, target: Target) -> bytes:
    machine = target.machine()
    return emit_object(optimize(module, target, machine), machine)


def plan_text(plan: Plan) -> str:
    """All that the code of a plan depends on (labels are not in it); each kernel is written once."""
    numbers: dict[Kernel, int] = {}
    calls = [(numbers.setdefault(call.kernel, len(numbers)), call.places) for call in plan.calls]
    return "\n".join([*(repr(kernel) for kernel in numbers), repr(calls), str(plan.externals)])


def _is_ours(plan: Plan) -> bool:
    """Whether every primitive in the plan is defined in Lampion (whose sources are in the cache's key)."""
    for kernel in {call.kernel for call in plan.calls}:
        primitives = [reduction.primitive for reduction in getattr(kernel, "reductions", ())]
        for values in (getattr(kernel, "body", ()), getattr(kernel, "epilogue", ())):
            primitives += [value.primitive for value in values if isinstance(value, Compute)]
        for primitive in primitives:
            rules = [getattr(primitive, rule, None) for rule in ("forward", "lower", "combine", "identity")]
            if any(not rule.__module__.startswith("lampion.") for rule in rules if rule is not None):
                return False
    return True


def _solo_function(library: Library) -> Any:
    signature = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
    return signature(library.address("solo"))


def _failure(status: int) -> Failure:
    return Failure(status >> _POSITION_BITS, status & ((1 << _POSITION_BITS) - 1))


def can_fail(kernel: Kernel) -> bool:
    """Whether the kernel can come upon an index out of range."""
    return isinstance(kernel, Gather | ScatterAdd)


# What happens before a call: nothing; a barrier; or a barrier at which all leave if something failed.


@dataclass
class _Touch:
    """A call's use of a range of bytes since the last barrier."""

    space: int  # -1 the arena, else the number of the external
    start: int
    stop: int
    written: bool
    shared: bool  # by several threads, or by thread 0 alone

    def conflicts(self, other: _Touch) -> bool:
        return (
            (self.written or other.written)
            and (self.shared or other.shared)
            and self.space == other.space
            and self.start < other.stop
            and other.start < self.stop
        )


def _touches(call: Call, shared: bool) -> list[_Touch]:
    touches = []
    for operand, place in zip(call.kernel.operands, call.places, strict=True):
        space, start = (-1, place.index) if place.arena else (place.index, 0)
        touches.append(_Touch(space, start, start + place.nbytes, operand.written, shared))
    return touches


def _writes_outside(call: Call) -> bool:
    pairs = zip(call.kernel.operands, call.places, strict=True)
    return any(operand.written and not place.arena for operand, place in pairs)


class _Emitter:
    """The LLVM module of one plan: its kernels, `plan` (unless serial) and `solo`."""

    def __init__(self, plan: Plan, target: Target, serial: bool, timed: bool = False) -> None:
        self.plan = plan
        self.target = target
        self.serial = serial
        self.timed = timed
        self.module = ir.Module("plan")
        self.kernels: dict[Kernel, ir.Function] = {}

    def emit(self) -> ir.Module:
        for call in self.plan.calls:
            if call.kernel not in self.kernels:
                self.kernels[call.kernel] = self._kernel(call.kernel)
        self._barrier = None if self.serial else self._emit_barrier()
        signature = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64, I64, POINTER])
        function = ir.Function(self.module, signature, "plan")
        if self.serial and not self.timed:
            function.linkage = "internal"
        function.attributes.add("nounwind")
        function.attributes.add("noinline")
        self._emit_plan(function)
        self._emit_solo(function)
        return self.module

    def _kernel(self, kernel: Kernel) -> ir.Function:
        name = f"{type(kernel).__name__.lower()}_{len(self.kernels)}"
        _MODULES[type(kernel)].emit(self.module, name, kernel, self.target)
        function = self.module.get_global(name)
        function.linkage = "internal"
        function.attributes.add("noinline")  # one kernel, one symbol: for profilers and for readers
        return function

    def _emit_plan(self, function: ir.Function) -> None:
        _, _, _, threads, sync = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        leave = function.append_basic_block("leave")
        since: list[_Touch] = []  # what was touched since the last barrier
        doubtful = False  # whether a call since the last check can have failed
        barriers = 0
        self._mark(b, function, 0)
        for number, call in enumerate(self.plan.calls):
            chunks = _MODULES[type(call.kernel)].chunks(call.kernel)
            if chunks == 0:
                self._mark(b, function, number + 1)
                continue
            shared = chunks > 1 and cost.nanoseconds(call.kernel, self.target) >= SMALL
            touches = _touches(call, shared)
            meet = any(new.conflicts(old) for new in touches for old in since)
            if meet or self.timed or (doubtful and _writes_outside(call)):
                barriers += 1
                since = []
                self._meet(b, sync, threads, barriers)
                if doubtful:
                    self._check(b, sync, number, leave)
                    doubtful = False
            since += touches
            doubtful = doubtful or can_fail(call.kernel)
            self._call(b, call, number, chunks, shared, function)
            if self.timed:
                barriers += 1
                self._meet(b, sync, threads, barriers)
            self._mark(b, function, number + 1)
        b.branch(leave)
        b.position_at_end(leave)
        b.ret_void()

    def _call(
        self, b: ir.IRBuilder, call: Call, number: int, chunks: int, shared: bool, function: ir.Function
    ) -> None:
        """Run this thread's share of the chunks."""
        table, arena, thread, threads, sync = function.args

        def share(n: Any) -> Any:
            return b.udiv(b.mul(n, I64(chunks)), threads)

        after = None
        if self.serial:
            lo, hi = I64(0), I64(chunks)
        elif shared:
            lo, hi = share(thread), share(b.add(thread, I64(1)))
        else:
            lo, hi = I64(0), I64(chunks)
            mine, after = function.append_basic_block("first"), function.append_basic_block("after")
            b.cbranch(b.icmp_unsigned("==", thread, I64(0)), mine, after)
            b.position_at_end(mine)
        pointers = [_pointer(b, place, table, arena) for place in call.places]
        status = b.call(self.kernels[call.kernel], [*pointers, lo, hi])
        if can_fail(call.kernel):
            with b.if_then(b.icmp_signed("!=", status, I64(0)), likely=False):
                where = b.add(status, I64((number << _POSITION_BITS) - 1))
                b.atomic_rmw("umin", _at(b, sync, STATUS), where, "seq_cst")
        if after is not None:
            b.branch(after)
            b.position_at_end(after)

    def _meet(self, b: ir.IRBuilder, sync: Any, threads: Any, barriers: int) -> None:
        if self._barrier is not None:
            b.call(self._barrier, [sync, threads, b.mul(threads, I64(barriers))])

    def _check(self, b: ir.IRBuilder, sync: Any, number: int, leave: ir.Block) -> None:
        """Leave if a call before this one failed. All threads decide the same: what others, already past
        the barrier, may write meanwhile is about later calls, and compares as such.
        """
        status = b.load_atomic(_at(b, sync, STATUS), "monotonic", 8, typ=I64)
        onward = b.append_basic_block("onward")
        b.cbranch(b.icmp_unsigned("<", status, I64(number << _POSITION_BITS)), leave, onward)
        b.position_at_end(onward)

    def _mark(self, b: ir.IRBuilder, function: ir.Function, number: int) -> None:
        """In the timed variant: thread 0 notes the time."""
        if self.timed:
            table, _, thread, _, sync = function.args
            with b.if_then(b.icmp_unsigned("==", thread, I64(0))):
                marks = b.load(_at(b, table, 8 * self.plan.externals), typ=POINTER, align=8)
                b.store(_call_at(b, sync, NOW, returns=I64), _at(b, marks, 8 * number), align=8)

    def _emit_barrier(self) -> ir.Function:
        """Count this thread in; the last one wakes the others, who wait for the count."""
        signature = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64])
        function = ir.Function(self.module, signature, "barrier")
        function.linkage = "internal"
        function.attributes.add("noinline")
        sync, threads, goal = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        arrivals = _at(b, sync, ARRIVALS)
        arrived = b.add(b.atomic_rmw("add", arrivals, I64(1), "seq_cst"), I64(1))
        event = b.load(_at(b, sync, EVENT), typ=POINTER, align=8)
        with b.if_else(b.icmp_unsigned("==", arrived, goal)) as (last, early):
            with last, b.if_then(b.icmp_unsigned("!=", threads, I64(1))):  # alone, there is no event
                _call_at(b, sync, WAKE, event)
            with early:
                _call_at(b, sync, WAIT, event, arrivals, goal)
        b.ret_void()
        return function

    def _emit_solo(self, plan: ir.Function) -> None:
        """i64 solo(ptr table, ptr arena): the plan on this thread alone; its status."""
        function = ir.Function(self.module, ir.FunctionType(I64, [POINTER, POINTER]), "solo")
        function.attributes.add("nounwind")
        table, arena = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        block = b.alloca(ir.ArrayType(I64, SYNC_BYTES // 8))
        block.align = 64
        sync = b.inttoptr(b.ptrtoint(block, I64), POINTER)  # llvmlite types what alloca returns
        b.store(I64(0), _at(b, sync, ARRIVALS), align=8)
        b.store(I64(OK), _at(b, sync, STATUS), align=8)
        b.store(ir.Constant(POINTER, None), _at(b, sync, EVENT), align=8)
        b.call(plan, [table, arena, I64(0), I64(1), sync])
        b.ret(b.load(_at(b, sync, STATUS), typ=I64, align=8))


def _at(b: ir.IRBuilder, base: Any, offset: int) -> Any:
    return b.gep(base, [I64(offset)], inbounds=True, source_etype=ir.IntType(8))


def _pointer(b: ir.IRBuilder, place: Place, table: Any, arena: Any) -> Any:
    if place.arena:
        return _at(b, arena, place.index)
    return b.load(_at(b, table, 8 * place.index), typ=POINTER, align=8)


class _Callee:
    """A function known by its address: what llvmlite wants of the callee of a call."""

    def __init__(self, address: Any, signature: ir.FunctionType) -> None:
        self.get_reference = address.get_reference
        self.function_type = signature


def _call_at(b: ir.IRBuilder, sync: Any, offset: int, *args: Any, returns: Any = None) -> Any:
    """Call the function whose address is in `sync`: so plans name no function of the runtime."""
    signature = ir.FunctionType(returns or ir.VoidType(), [arg.type for arg in args])
    return b.call(_Callee(b.load(_at(b, sync, offset), typ=POINTER, align=8), signature), list(args))
