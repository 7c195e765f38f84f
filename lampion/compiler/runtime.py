"""The threads that run plans: a pool of workers asleep in native code.

A plan is one native function, which N threads run together. `launch` takes the whole pool, or reports
that another plan has it (that plan then runs on the calling thread alone: the bits are the same), and it
returns when all threads are done. All of that happens inside one native call, so Ctrl-C cannot part the
threads half-way: Python raises KeyboardInterrupt when the call is over.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from lampion.compiler.codegen import pool as native_pool
from lampion.compiler.codegen.pool import BUSY, OK
from lampion.compiler.resident import drop_compiler
from lampion.forks import wait_for

__all__ = ["BUSY", "OK", "get_num_threads", "launch", "set_num_threads"]

# Kernels keep their packing buffers (up to a megabyte) on the stack; where threads have small
# stacks (musl: 128 KiB), Python's own choice would not do.
_STACK = 4 << 20

_guard = threading.Lock()  # held to create, replace or drop the pool; never while a plan runs
_pool: _Pool | None = None
_closed = False
_threads: int | None = None

_STEADY = 100_000  # ns: for twice as long, workers look out for the next plan before they sleep
_last_brief = -_STEADY  # when a brief plan was last run


def get_num_threads() -> int:
    """How many threads compiled functions use.

    Unless set, it is the environment variable LAMPION_NUM_THREADS, else the number of cores that this
    process may use.
    """
    global _threads
    if _threads is None:
        _threads = _from_environment() or usable_cores()
    return _threads


def set_num_threads(n: int) -> None:
    """Set how many threads compiled functions use. The results do not depend on it, to the last bit."""
    global _threads
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"set_num_threads: expected a whole number from 1 on, got {n!r}")
    _threads = n
    pool = _pool
    if pool is not None and pool.size != n:
        with _guard:
            _drop()


def is_steady() -> bool:
    """Whether brief plans follow one right upon the other, with a core for each thread.

    Then the workers still look out for work, and share a plan for which they would not be worth waking.
    """
    global _last_brief
    now = time.perf_counter_ns()
    before, _last_brief = _last_brief, now
    pool = _pool
    return now - before < _STEADY and (pool is None or pool.spare)


def launch(entry: int, table: int, arena: int, threads: int, claims: int, nbytes: int) -> int:
    """Run a plan's function on `threads` threads, this one included.

    `claims` is the address of `nbytes` bytes through which they share out the work. The result is the
    plan's status (`OK`, or what failed), or `BUSY` where another plan has the pool, and nothing was run.
    """
    pool = _pool
    if pool is None or pool.size < threads:
        with _guard:
            if _closed:  # the interpreter is ending, and would not let new threads start
                return BUSY
            if _pool is None or _pool.size < threads:
                _drop()
                _start(max(threads, get_num_threads()))
            pool = _pool
        assert pool is not None
    status: int = pool.launch(pool.address, entry, table, arena, threads, claims, nbytes)
    return status


class _Pool:
    """`size - 1` workers, and the memory through which they are told what to do."""

    def __init__(self, size: int) -> None:
        self.size = size
        native = _native()
        memory = ctypes.create_string_buffer(native_pool.pool_bytes(size) + 63)
        self.address = (ctypes.addressof(memory) + 63) & -64
        self.launch = native.launch
        # Held on to until the workers have left, whatever becomes of this object when the interpreter ends.
        self._memory = ctypes.py_object(memory)
        ctypes.pythonapi.Py_IncRef(self._memory)
        native.prepare(self.address)
        self.workers: list[threading.Thread] = []
        before = threading.stack_size(_STACK)
        try:
            for number in range(1, size):
                self.workers.append(self._worker(native.worker, number))
        except BaseException:  # too many threads for this system, or Ctrl-C
            self.stop()
            raise
        finally:
            threading.stack_size(before)
        self._describe()

    def _describe(self) -> None:
        """Tell the native half where threads may run. (See `settle` there.)"""

        def write(offset: int, number: int) -> None:
            ctypes.c_int64.from_address(self.address + offset).value = number

        write(native_pool.HOME, -1)
        write(native_pool.SIZE, self.size)
        known = hasattr(os, "sched_getaffinity")
        cores = os.sched_getaffinity(0) if known else set(range(os.cpu_count() or 1))
        #: Whether there is a core for each thread.
        self.spare = self.size <= len(cores)
        if known:
            bits = sum(1 << core for core in cores).to_bytes(max(1, -(-max(cores) // 8) + 1), "little")
            if len(bits) <= native_pool.CORES_BYTES:
                ctypes.memmove(self.address + native_pool.CORES, bits, len(bits))
                for number, worker in enumerate(self.workers, 1):
                    offset = native_pool.MAILBOXES + native_pool.MAILBOX * number + 8
                    write(offset, worker.native_id or 0)
                write(native_pool.SPARE, int(self.spare))
        for offset in native_pool.EVENTS_SPARE:
            write(offset, int(self.spare))

    def _worker(self, life: Callable[..., Any], number: int) -> threading.Thread:
        # Daemons, so that the interpreter does not wait for them before it calls `_drop`.
        thread = threading.Thread(
            target=life, args=(self.address, number), name=f"lampion-{number}", daemon=True
        )
        thread.start()
        return thread

    def stop(self) -> None:
        """Send the workers home, once the plan that may be running is over."""
        while not _native().stop(self.address, self.size):
            time.sleep(0.0002)
        for worker in self.workers:
            worker.join()
        ctypes.pythonapi.Py_DecRef(self._memory)


class _Native:
    """The functions of `codegen.pool`."""

    def __init__(self) -> None:
        from lampion.compiler.codegen.loader import Library
        from lampion.compiler.codegen.target import Target

        target = Target.host()
        library = Library(native_pool.pool_code(target), target, native_pool.POOL_SYMBOLS)
        pointer, i64 = ctypes.c_void_p, ctypes.c_int64

        def function(name: str, returns: Any, *args: Any) -> Any:
            return ctypes.CFUNCTYPE(returns, *args)(library.address(name))

        self.prepare = function("prepare", None, pointer)
        self.worker = function("worker", None, pointer, i64)
        self.launch = function("launch", i64, *[pointer] * 4, i64, pointer, i64)
        self.stop = function("stop", i64, pointer, i64)
        library.keep_forever()  # a daemon thread may stand in it when the interpreter ends
        drop_compiler()


@functools.cache
def _native() -> _Native:
    return _Native()


def _start(size: int) -> None:
    global _pool
    _pool = _Pool(size)


def _drop() -> None:
    global _pool
    pool, _pool = _pool, None
    if pool is not None:
        pool.stop()


def _at_exit() -> None:
    global _closed
    with _guard:
        _closed = True
        _drop()


def _in_child() -> None:
    """After a fork only the calling thread lives on: the workers, and whoever held the lock, do not."""
    global _guard, _pool
    _guard = threading.Lock()
    _pool = None


# llvmlite lets one thread in at a time. A fork while another one is inside would leave that lock locked for
# ever in the child, so a fork waits for it. (llvmlite has no public name for the lock.)
_llvm_lock: Any = None


def _hold_llvm() -> None:
    global _llvm_lock
    ffi = sys.modules.get("llvmlite.binding.ffi")
    _llvm_lock = getattr(getattr(getattr(ffi, "lib", None), "_lock", None), "_lock", None)
    if _llvm_lock is not None:
        _llvm_lock.acquire()


def _release_llvm() -> None:
    if _llvm_lock is not None:
        _llvm_lock.release()


atexit.register(_at_exit)
wait_for(_hold_llvm, _release_llvm)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _from_environment() -> int | None:
    text = os.environ.get("LAMPION_NUM_THREADS", "").strip()
    if not text:
        return None
    if not text.isdigit() or int(text) == 0:
        raise ValueError(f"LAMPION_NUM_THREADS: expected a whole number from 1 on, got {text!r}")
    return int(text)


def usable_cores() -> int:
    """How many processor cores this process may keep busy: hyper-threads of one core count once (they
    share the arithmetic units), and a container's quota is respected.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cpus = os.sched_getaffinity(0)
    cores = {_read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or cpu for cpu in cpus}
    quota = _read("/sys/fs/cgroup/cpu.max").split()  # "max 100000", or microseconds in each 100000
    if len(quota) == 2 and quota[0].isdigit():
        return max(1, min(len(cores), int(quota[0]) // int(quota[1])))
    return len(cores)


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
