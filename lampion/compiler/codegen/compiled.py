"""A plan as machine code, ready to run: made by `plan`, or of what the cache kept.

Running needs neither the plan nor the code generator; only what explains the code (times, IR, assembly) asks
for them. So a process that finds all its code in the cache imports none of it.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from lampion.compiler import runtime
from lampion.compiler.codegen.loader import Library

if TYPE_CHECKING:
    from lampion.compiler.codegen.target import Target
    from lampion.compiler.kernel_ir import Plan

_POSITION_BITS = 40


class Failure(NamedTuple):
    """Which kernel call failed, and the flat position of the element that it failed at."""

    call: int
    position: int


class Claims(NamedTuple):
    """The layout of the words through which threads share out a plan's work (see `pool`).

    Attributes:
        calls, shared: how many kernel calls there are, and how many of them all threads take part in.
    """

    calls: int
    shared: int

    @property
    def start(self) -> int:
        """Where they begin: after a word for each call, how much of it is done; and one for the start of the
        timed variant.
        """
        return -(-8 * (self.calls + 1) // 64) * 64

    @property
    def row(self) -> int:
        """The bytes of one thread's words."""
        return -(-8 * self.shared // 64) * 64


class Sharing(enum.IntEnum):
    """When a plan's work is shared out: the smaller a plan, the less it is worth to wake other threads."""

    NEVER = 0  # it always runs on the calling thread alone
    STEADY = 1  # where plans follow one upon the other, and the other threads are still awake
    ALWAYS = 2


class Code(NamedTuple):
    """All that it takes to run a plan, as the cache keeps it.

    Attributes:
        object: the object code.
        sharing: when threads share out the work.
        claims: and how.
    """

    object: bytes
    sharing: Sharing
    claims: Claims


class _Memory:
    """Some bytes at a multiple of 64."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._buffer = ctypes.create_string_buffer(nbytes + 64)
        self.address = (ctypes.addressof(self._buffer) + 63) & -64


class CompiledPlan:
    """A plan as machine code.

    Args:
        code: the code.
        target: the processor that it is for.
        plan: gives the plan that it was made of, when somebody asks.
    """

    def __init__(self, code: Code, target: Target, plan: Callable[[], Plan]) -> None:
        self.code = code
        self.target = target
        self.serial = code.sharing is Sharing.NEVER
        self._brief = code.sharing is Sharing.STEADY
        self._make_plan = plan
        self._library = Library(code.object, target)
        self._solo = solo_function(self._library)
        self._entry = 0 if self.serial else self._library.address("plan")
        self._start, self._row = code.claims.start, code.claims.row
        self._claims = _Memory(0)

    @functools.cached_property
    def plan(self) -> Plan:
        """The plan."""
        return self._make_plan()

    @property
    def labels(self) -> tuple[str, ...]:
        """What each call came from."""
        return tuple(call.label for call in self.plan.calls)

    def run(self, table: int, arena: int, threads: int | None = None) -> Failure | None:
        """Run the plan: None, or what failed.

        Args:
            table: the address of an array of `plan.externals` pointers.
            arena: the address of `plan.arena_bytes` bytes, 64-aligned, that no other run is using.
            threads: how many threads (`get_num_threads()`, unless given). The results are the same bits.
        """
        if self.serial or (threads is None and self._brief and not runtime.is_steady()):
            status = self._solo(table, arena)
        else:
            status = self._shared(table, arena, runtime.get_num_threads() if threads is None else threads)
        return None if status == runtime.OK else _failure(status)

    def _shared(self, table: int, arena: int, threads: int) -> int:
        if threads > 1:
            status = self._launch(self._entry, table, arena, threads)
            if status != runtime.BUSY:
                return status
        return int(self._solo(table, arena))

    def _launch(self, entry: int, table: int, arena: int, threads: int) -> int:
        nbytes, claims = self._start + self._row * threads, self._claims
        if claims.nbytes < nbytes:
            claims = self._claims = _Memory(nbytes)
        return runtime.launch(entry, table, arena, threads, claims.address, nbytes)

    def profile(self, table: int, arena: int, threads: int | None = None) -> list[float]:
        """Run the plan once, one call after the other: the nanoseconds that each call took."""
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
        while self._launch(entry, table, arena, threads) == runtime.BUSY:
            time.sleep(0.001)
        return [float(b - a) for a, b in itertools.pairwise(marks)]

    @functools.cached_property
    def _timed(self) -> Library:
        """The same plan with clock readings in between."""
        from lampion.compiler.codegen.plan import compile_module

        return Library(compile_module(self._module(timed=True), self.target), self.target)

    def _module(self, timed: bool = False) -> Any:
        from lampion.compiler.codegen.plan import emit

        return emit(self.plan, self.target, self.serial, timed)

    @functools.cached_property
    def ir(self) -> str:
        """The LLVM IR, as the code generator reads it."""
        from lampion.compiler.codegen.builder import optimize

        return str(optimize(self._module(), self.target))

    @functools.cached_property
    def assembly(self) -> str:
        """The machine code, as text."""
        from lampion.compiler.codegen.builder import optimize

        machine = self.target.machine()
        return str(machine.emit_assembly(optimize(self._module(), self.target, machine)))


def solo_function(library: Library) -> Any:
    """The function that runs a plan on one thread."""
    signature = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
    return signature(library.address("solo"))


def status_of(call: int, past: int) -> int:
    """What is added to a kernel's status (1 + position) to make it the plan's."""
    return (call << _POSITION_BITS) - past


def _failure(status: int) -> Failure:
    return Failure(status >> _POSITION_BITS, status & ((1 << _POSITION_BITS) - 1))
