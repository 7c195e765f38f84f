"""A whole plan as one native function, which every thread of the pool runs at the same time.

    void plan(ptr table, ptr arena, i64 thread, i64 threads, ptr sync)

Each kernel call has a fixed number of chunks, which the threads share out (see `pool`). A thread waits for
earlier calls to be complete only before a call that reads what they write, or overwrites what they use (see
`order`). A kernel that fails leaves (call, position) in `sync`; the least is kept. There is always a look at
it between a call that can fail and a later one that writes outside the arena, and all threads leave there
together: after an error, parameters are as they were.

    i64 solo(ptr table, ptr arena)

is the same plan for one thread alone, without any of this; it returns the status.
"""

from __future__ import annotations

import bisect
import dataclasses
from types import ModuleType
from typing import Any

import llvmlite.ir as ir

from lampion.compiler import cache
from lampion.compiler.codegen import (
    attention,
    attention_slopes,
    convolution,
    convolution_weight,
    cost,
    gather,
    map,
    matmul,
    order,
    pooling,
    random,
    reduce,
    repeat,
    rows,
    segments,
    sort,
    walk,
    winograd_filters,
)
from lampion.compiler.codegen.builder import I64, POINTER, emit_object, optimize
from lampion.compiler.codegen.compiled import Claims, Code, CompiledPlan, Sharing, status_of
from lampion.compiler.codegen.pool import CLAIM, CLAIMS, EVENT, NOW, OK, STATUS, WAIT, WAKE
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import (
    Attention,
    AttentionSlopes,
    Compute,
    Convolution,
    ConvolutionWeight,
    Gather,
    Kernel,
    Map,
    Matmul,
    Place,
    Plan,
    Pool,
    RandomBits,
    Reduce,
    Repeat,
    Rows,
    ScatterAdd,
    Segments,
    Sort,
    Walk,
    WinogradFilters,
)
from lampion.compiler.resident import drop_cycles, give_back

_MODULES: dict[type, ModuleType] = {
    Map: map,
    Segments: segments,
    Reduce: reduce,
    Rows: rows,
    Matmul: matmul,
    Convolution: convolution,
    WinogradFilters: winograd_filters,
    ConvolutionWeight: convolution_weight,
    Pool: pooling,
    Gather: gather,
    ScatterAdd: gather,
    RandomBits: random,
    Walk: walk,
    Sort: sort,
    Attention: attention,
    AttentionSlopes: attention_slopes,
    Repeat: repeat,
}

# Below this, waking other threads costs more than they save (ns on one core).
BRIEF = 50_000.0
# Below this they do not help even if they are awake.
SERIAL = 12_000.0
# A kernel below this is left to one thread of a plan that has several: to share it takes about 0.3 us.
SMALL = 1_500.0
# A round of a loop below this is left to one thread: to meet in each round takes longer than it saves.
ROUND = 6_000.0


def compile_plan(
    plan: Plan, target: Target | None = None, serial: bool | None = None, cached: bool = True
) -> CompiledPlan:
    """Machine code for a plan, from the cache where it is there.

    Args:
        target: the processor; the one that this runs on, unless given.
        serial: whether to run on the calling thread alone; where not given, small plans do, always or mostly
            (`Sharing`).
        cached: False where the caller has asked the cache, and will store the code.
    """
    target = target or Target.host()
    sharing = Sharing.NEVER if serial else Sharing.ALWAYS
    if serial is None:
        guess = sum(cost.nanoseconds(call.kernel, target) for call in plan.calls)
        sharing = Sharing(bisect.bisect((SERIAL, BRIEF), guess))
        serial = sharing is Sharing.NEVER
    emitter = _Emitter(plan, target, serial)
    claims, text, name, code = emitter.claims, "", "", None
    if cached:
        if _is_ours(plan):
            name = cache.key("plan", plan_text(plan), target.key, str(serial))
        else:  # a primitive from elsewhere: its name does not say what its code does, what it emits does
            text = emitter.text()
            name = cache.key("module", text, target.key)
        code = cache.load(name)
    if code is None:
        text = text or emitter.text()
        del emitter  # llvmlite's objects are far larger than their text: they go before LLVM's come
        drop_cycles()
        code = compile_module(text, target)
        give_back()  # before the code is loaded, which stays
        if cached:
            cache.store(name, code)
    return CompiledPlan(Code(code, sharing, claims), target, lambda: plan)


def emit(plan: Plan, target: Target, serial: bool, timed: bool = False) -> ir.Module:
    """The LLVM module of a plan; `timed`: with clock readings between its calls."""
    return _Emitter(plan, target, serial, timed).emit()


def compile_module(module: ir.Module | str, target: Target) -> bytes:
    """Object code of a module, or of its text."""
    machine = target.machine()
    return emit_object(optimize(module, target, machine), machine)


def plan_text(plan: Plan) -> str:
    """All that the code of a plan depends on (labels are not in it); each kernel is written once."""
    numbers: dict[Kernel, int] = {}
    calls = [(numbers.setdefault(call.kernel, len(numbers)), call.places) for call in plan.calls]
    return "\n".join([*(repr(kernel) for kernel in numbers), repr(calls), str(plan.externals)])


def _is_ours(plan: Plan) -> bool:
    """Whether every primitive in the plan is defined in Lampion (whose sources are in the cache's key)."""
    for kernel in {inside for call in plan.calls for inside in repeat.inside(call.kernel)}:
        primitives = [reduction.primitive for reduction in getattr(kernel, "reductions", ())]
        for values in (getattr(kernel, part, ()) for part in ("body", "epilogue", "points", "rows")):
            primitives += [value.primitive for value in values if isinstance(value, Compute)]
        for primitive in primitives:
            rules = [getattr(primitive, rule, None) for rule in ("forward", "lower", "combine", "identity")]
            if any(not rule.__module__.startswith("lampion.") for rule in rules if rule is not None):
                return False
    return True


def _chunks(kernel: Kernel) -> int:
    count: int = _MODULES[type(kernel)].chunks(kernel)
    return count


def _together(kernel: Repeat, target: Target) -> repeat.Together | None:
    """How threads share the rounds of a loop; None where these are too short, or there is a loop inside."""
    if any(isinstance(call.kernel, Repeat) for call in kernel.calls):
        return None
    costs = [cost.nanoseconds(call.kernel, target) for call in kernel.calls]
    chunks = tuple(_chunks(call.kernel) for call in kernel.calls)
    if sum(costs) < ROUND or not all(chunks):
        return None
    shared = tuple(count > 1 and price >= SMALL for count, price in zip(chunks, costs, strict=True))
    return repeat.Together(chunks, shared) if any(shared) else None


class _Emitter:
    """The LLVM module of one plan: its kernels, `plan` (unless serial, or timed) and `solo`."""

    def __init__(self, plan: Plan, target: Target, serial: bool, timed: bool = False) -> None:
        self.plan = plan
        self.target = target
        self.serial = serial
        self.timed = timed
        self.module = ir.Module("plan")
        self.kernels: dict[Kernel, ir.Function] = {}
        self.chunks = [_chunks(call.kernel) for call in plan.calls]
        self.shared = [
            count > 1 and cost.nanoseconds(call.kernel, target) >= SMALL
            for call, count in zip(plan.calls, self.chunks, strict=True)
        ]  # the other calls are too small to be worth it
        # Loops that all threads run together, with where their words begin: behind those of all calls.
        self.together: dict[int, tuple[repeat.Together, int, int]] = {}
        loops = {n: call.kernel for n, call in enumerate(plan.calls) if isinstance(call.kernel, Repeat)}
        ways = {number: how for number, loop in loops.items() if (how := _together(loop, target)) is not None}
        for number in ways:
            self.shared[number] = True
        words, claimed = len(plan.calls) + 1, sum(self.shared)
        for number, how in ways.items():
            self.together[number] = how, words, claimed
            words += loops[number].length * len(loops[number].calls)
            claimed += loops[number].length * sum(how.shared)
        self.claims = Claims(words - 1, claimed)

    def emit(self) -> ir.Module:
        for call in self.plan.calls:
            self._add(call.kernel)
        if self.timed or not self.serial:
            self._emit_plan()
        if not self.timed:
            self._emit_solo()
        return self.module

    def text(self) -> str:
        """The module as LLVM reads it."""
        return str(self.emit())

    def _add(self, kernel: Kernel) -> None:
        if kernel not in self.kernels:
            self.kernels[kernel] = self._kernel(kernel)

    def _kernel(self, kernel: Kernel) -> ir.Function:
        if isinstance(kernel, Segments):
            for other, code in self.kernels.items():
                if isinstance(other, Segments) and other.map == kernel.map:
                    return code
        if isinstance(kernel, Repeat):
            for inside in kernel.calls:
                self._add(inside.kernel)
        name = f"{type(kernel).__name__.lower()}_{len(self.kernels)}"
        if isinstance(kernel, Repeat):
            repeat.emit(self.module, name, kernel, self.kernels, _chunks, order.can_fail)
        else:
            _MODULES[type(kernel)].emit(self.module, name, kernel, self.target)
        function = self.module.get_global(name)
        function.linkage = "internal"
        function.attributes.add("noinline")  # one kernel, one symbol: for profilers and for readers
        return function

    def _function(self, name: str, returns: Any, *args: Any, internal: bool = False) -> ir.Function:
        function = ir.Function(self.module, ir.FunctionType(returns, list(args)), name)
        function.attributes.add("nounwind")
        if internal:
            function.linkage = "internal"
            function.attributes.add("noinline")
        return function

    def _emit_solo(self) -> None:
        function = self._function("solo", I64, POINTER, POINTER)
        table, arena = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        for number, (call, chunks) in enumerate(zip(self.plan.calls, self.chunks, strict=True)):
            if chunks:
                pointers = self._pointers(b, number, table, arena)
                status = b.call(self.kernels[call.kernel], [*pointers, I64(0), I64(chunks)])
                if order.can_fail(call.kernel):
                    with b.if_then(b.icmp_signed("!=", status, I64(0)), likely=False):
                        b.ret(_where(b, number, status))
        b.ret(I64(OK))

    def _emit_plan(self) -> None:
        function = self._function("plan", ir.VoidType(), POINTER, POINTER, I64, I64, POINTER)
        self.table, self.arena, self.thread, self.threads, self.sync = function.args
        self.b = b = ir.IRBuilder(function.append_basic_block("entry"))
        self.leave = function.append_basic_block("leave")
        self.claims_at = b.load(_at(b, self.sync, CLAIMS), typ=POINTER, align=8)
        self.first = b.icmp_unsigned("==", self.thread, I64(0))
        self.wait, self.report = self._emit_wait(), self._emit_report()
        if self.timed:  # nobody begins before the clock is read
            self._mark(0)
            with b.if_then(self.first):
                self._report(len(self.plan.calls), I64(1))
            self._wait_for(len(self.plan.calls))
        steps = self._steps()
        for number in range(len(self.plan.calls)):
            if number in steps:
                self._call(number, steps[number])
            if self.timed:
                self._mark(number + 1)
        b.branch(self.leave)
        b.position_at_end(self.leave)
        b.ret_void()

    def _steps(self) -> dict[int, order.Step]:
        """What happens before each call that has any work at all."""
        present = [number for number, chunks in enumerate(self.chunks) if chunks]
        found = order.steps([self.plan.calls[n] for n in present], [self.shared[n] for n in present])
        return {
            number: dataclasses.replace(step, waits=tuple(present[n] for n in step.waits))
            for number, step in zip(present, found, strict=True)
        }

    def _call(self, number: int, step: order.Step) -> None:
        b, after = self.b, self.b.append_basic_block(f"after.{number}")
        if step.all_wait:
            self._before(number, step, after)
        if number in self.together:
            self._run_together(number)
        elif self.shared[number]:
            self._share(number)
        else:
            with b.if_then(self.first):
                if not step.all_wait:
                    self._before(number, step, after)
                self._run(number, I64(0), I64(self.chunks[number]))
                self._report(number, I64(1))
        b.branch(after)
        b.position_at_end(after)
        if self.timed:
            self._wait_for(number)

    def _before(self, number: int, step: order.Step, after: ir.Block) -> None:
        """Wait for what the call needs; leave if something failed. A thread that comes late, when the
        call is complete, goes straight on.
        """
        b = self.b
        if step.waits:
            done = b.load_atomic(self._done(number), "acquire", 8, typ=I64)
            late, early = b.append_basic_block("late"), b.append_basic_block("early")
            b.cbranch(b.icmp_signed(">=", done, I64(self._goal(number))), late, early)
            b.position_at_end(late)
            b.branch(after)
            b.position_at_end(early)
        for earlier in step.waits:
            self._wait_for(earlier)
        if step.check:
            # All decide the same: what may be written here meanwhile is about later calls, and compares
            # as such.
            status = b.load_atomic(_at(b, self.sync, STATUS), "monotonic", 8, typ=I64)
            onward = b.append_basic_block("onward")
            b.cbranch(b.icmp_unsigned("<", status, I64(status_of(number, 0))), self.leave, onward)
            b.position_at_end(onward)

    def _share(self, number: int) -> None:
        """Take chunks as long as there are any."""
        b, shared = self.b, sum(self.shared[:number])
        words = _at(b, self.claims_at, self.claims.start + 8 * shared)
        more, some, none = (b.append_basic_block(name) for name in ("more", "some", "none"))
        b.branch(more)
        b.position_at_end(more)
        chunks = I64(self.chunks[number])
        taken = _call_at(
            b, self.sync, CLAIM, words, I64(self.claims.row), self.thread, self.threads, chunks, returns=I64
        )
        b.cbranch(b.icmp_unsigned("==", taken, I64(0)), none, some)
        b.position_at_end(some)
        lo, hi = b.lshr(taken, I64(32)), b.and_(taken, I64(0xFFFFFFFF))
        self._run(number, lo, hi)
        self._report(number, b.sub(hi, lo))
        b.branch(more)
        b.position_at_end(none)

    def _run_together(self, number: int) -> None:
        """Let all threads run the rounds of a loop; thread 0 reports its end."""
        b, kernel = self.b, self.plan.calls[number].kernel
        assert isinstance(kernel, Repeat)
        how, words, claimed = self.together[number]

        def claim(b: Any, sync: Any, words: Any, *rest: Any) -> Any:
            return _call_at(b, sync, CLAIM, words, I64(self.claims.row), *rest, returns=I64)

        def note(b: Any, sync: Any, status: Any) -> None:
            b.atomic_rmw("umin", _at(b, sync, STATUS), _where(b, number, status), "seq_cst")

        runtime = repeat.Runtime(
            lambda b, *args: b.call(self.wait, args), lambda b, *args: b.call(self.report, args), claim, note
        )
        name = f"{self.kernels[kernel].name}_together_{number}"
        function = repeat.emit_together(self.module, name, kernel, self.kernels, how, order.can_fail, runtime)
        pointers = self._pointers(b, number, self.table, self.arena)
        done, own = _at(b, self.claims_at, 8 * words), _at(b, self.claims_at, self.claims.start + 8 * claimed)
        b.call(function, [*pointers, self.sync, done, own, self.thread, self.threads])
        with b.if_then(self.first):
            self._report(number, I64(1))

    def _run(self, number: int, lo: Any, hi: Any) -> None:
        """Some chunks of a call. The least (call, position) of all that failed is kept."""
        b, call = self.b, self.plan.calls[number]
        pointers = self._pointers(b, number, self.table, self.arena)
        status = b.call(self.kernels[call.kernel], [*pointers, lo, hi])
        if order.can_fail(call.kernel):
            with b.if_then(b.icmp_signed("!=", status, I64(0)), likely=False):
                b.atomic_rmw("umin", _at(b, self.sync, STATUS), _where(b, number, status), "seq_cst")

    def _pointers(self, b: ir.IRBuilder, number: int, table: Any, arena: Any) -> list[Any]:
        """What a call hands to its kernel: where its operands are."""
        call = self.plan.calls[number]
        if not isinstance(call.kernel, Segments):
            return [_pointer(b, place, table, arena) for place in call.places]
        listing = segments.listing(self.module, f"listing_{number}", call.kernel, call.places)
        return [listing, table, arena]

    def _goal(self, number: int) -> int:
        """What a call's word counts to."""
        return self.chunks[number] if number < len(self.chunks) and self.shared[number] else 1

    def _done(self, number: int) -> Any:
        return _at(self.b, self.claims_at, 8 * number)

    def _wait_for(self, number: int) -> None:
        self.b.call(self.wait, [self.sync, self._done(number), I64(self._goal(number))])

    def _report(self, number: int, count: Any) -> None:
        self.b.call(self.report, [self.sync, self._done(number), count, I64(self._goal(number))])

    def _emit_wait(self) -> ir.Function:
        """Return once *word >= goal; mostly that is so already."""
        function = self._function("wait_for", ir.VoidType(), POINTER, POINTER, I64, internal=True)
        sync, word, goal = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        done = b.load_atomic(word, "acquire", 8, typ=I64)
        with b.if_then(b.icmp_signed("<", done, goal)):
            _call_at(b, sync, WAIT, b.load(_at(b, sync, EVENT), typ=POINTER, align=8), word, goal)
        b.ret_void()
        return function

    def _emit_report(self) -> ir.Function:
        """Add to *word, and wake whoever waits for the goal if this reaches it."""
        function = self._function("report", ir.VoidType(), POINTER, POINTER, I64, I64, internal=True)
        sync, word, count, goal = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        done = b.add(b.atomic_rmw("add", word, count, "seq_cst"), count)
        with b.if_then(b.icmp_signed(">=", done, goal)):
            _call_at(b, sync, WAKE, b.load(_at(b, sync, EVENT), typ=POINTER, align=8))
        b.ret_void()
        return function

    def _mark(self, number: int) -> None:
        """In the timed variant: thread 0 notes the time."""
        b = self.b
        with b.if_then(self.first):
            marks = b.load(_at(b, self.table, 8 * self.plan.externals), typ=POINTER, align=8)
            b.store(_call_at(b, self.sync, NOW, returns=I64), _at(b, marks, 8 * number), align=8)


def _where(b: ir.IRBuilder, call: int, status: Any) -> Any:
    """A kernel's status (1 + position) as the plan's."""
    return b.add(status, I64(status_of(call, 1)))


def _at(b: ir.IRBuilder, base: Any, offset: int) -> Any:
    return b.gep(base, [I64(offset)], inbounds=True, source_etype=ir.IntType(8))


def _pointer(b: ir.IRBuilder, place: Place, table: Any, arena: Any) -> Any:
    if place.arena:
        return _at(b, arena, place.index)
    pointer = b.load(_at(b, table, 8 * place.index), typ=POINTER, align=8)
    return _at(b, pointer, place.start) if place.start else pointer


class _Callee:
    """A function known by its address: what llvmlite wants of the callee of a call."""

    def __init__(self, address: Any, signature: ir.FunctionType) -> None:
        self.get_reference = address.get_reference
        self.function_type = signature


def _call_at(b: ir.IRBuilder, sync: Any, offset: int, *args: Any, returns: Any = None) -> Any:
    """Call the function whose address is in `sync`: so plans name no function of the runtime."""
    signature = ir.FunctionType(returns or ir.VoidType(), [arg.type for arg in args])
    return b.call(_Callee(b.load(_at(b, sync, offset), typ=POINTER, align=8), signature), list(args))
