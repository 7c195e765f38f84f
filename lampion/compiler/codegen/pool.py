"""The native half of the thread pool: how threads wait, wake, share out work, run a plan together, and part.

This is the one piece of LLVM IR that is written by hand (in `pool_ir`), because it is the same for every
plan. Each function is a few lines of what C would say.

All waiting goes through `wait`, all news through `wake`. Nobody who waits is ever missed: a sleeper counts
itself in `parked` before it looks at the word for the last time, and the other side changes the word before
it looks at `parked`, both in one total order (seq_cst).

The chunks of a call are shared out by `claim`. Each thread has an equal share, and takes from its front,
most of what is left at a time; a thread that is through with its own takes from the back of others'. So a
thread that comes late, or runs on a slow core, or is held up by another program, holds nobody up, but for
what it has in hand. Nor does a plan wait for workers to wake up: they join it while it runs, or not at all.

Layout, in bytes; words that one thread writes while another reads them have cache lines (64) of their own:

    event   0 parked (how many sleep)   8 whether there is a core for each thread   64 mutex   128 condition
    sync    what a plan is handed: 0 claims   64 status   128 &wait &wake &event &now &claim, 8 each
    claims  0 for each call, how much of it is done; then for each thread, and each call that is shared, how
            much of the thread's share was taken: from the front (lower half), and from the back (upper half)
    pool    0 lease   64 joined (below 0: closed)   128 left   192 job: plan, table, arena, threads
            224 home   232 spare   240 size   256 sync   448 event of idle workers   640 event of the plan
            832 the cores that the process may use (a bit each)
            960 mailboxes, 64 each: how many jobs were posted, and at 8 the worker's number in the system
"""

from __future__ import annotations

import sys

from lampion.compiler import cache
from lampion.compiler.codegen.pool_ir import FUNCTIONS, SETTLE
from lampion.compiler.codegen.target import Target

OK = -1  # the status of a plan in which nothing failed
BUSY = -2  # another plan has the pool

# Offsets that plan.py shares.
CLAIMS, STATUS, WAIT, WAKE, EVENT, NOW, CLAIM = 0, 64, 128, 136, 144, 152, 160

# Offsets that runtime.py fills in. `spare` says that there is a core for each thread, and the events know it
# too; `home` is the core that workers keep off, none to begin with.
HOME, SPARE, SIZE, CORES, MAILBOXES, MAILBOX = 224, 232, 240, 832, 960, 64
EVENTS_SPARE = (456, 648)
CORES_BYTES = MAILBOXES - CORES


def pool_bytes(threads: int) -> int:
    return MAILBOXES + MAILBOX * threads


# Whoever waits spins for a while, since waking up costs 15 to 100 us. But where threads have to share cores,
# the spin is short, and then they offer their core at every look: the other thread may need this very one.
# If somebody takes it (an offer takes longer then), to sleep at once is the greatest help. Where each thread
# has a core, nothing is offered: it would be taken by other programs, for a slice of milliseconds.
_SPINS = 64
_SWITCH = 1_000  # ns
_PATIENCE = 200_000  # ns

_POSIX = {
    "giveway": "sched_yield",
    "system": """declare i32 @clock_gettime(i32, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)""",
    "clock": """%read = call i32 @clock_gettime(i32 {monotonic}, ptr %time)
  %fraction.at = getelementptr i8, ptr %time, i64 8
  %seconds = load i64, ptr %time, align 8
  %fraction = load i64, ptr %fraction.at, align 8
  %whole = mul i64 %seconds, 1000000000
  %nanoseconds = add i64 %whole, %fraction""",
    "prepare": """%p = call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  %q = call i32 @pthread_cond_init(ptr %condition, ptr null)""",
    "lock": "%locked = call i32 @pthread_mutex_lock(ptr %mutex)",
    "unlock": "%unlocked = call i32 @pthread_mutex_unlock(ptr %mutex)",
    "sleep": "%slept = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)",
    "rouse": "%roused = call i32 @pthread_cond_broadcast(ptr %condition)",
}

_WINDOWS = {
    "giveway": "SwitchToThread",
    "system": """declare i32 @QueryPerformanceCounter(ptr)
declare void @AcquireSRWLockExclusive(ptr)
declare void @ReleaseSRWLockExclusive(ptr)
declare i32 @SleepConditionVariableSRW(ptr, ptr, i32, i32)
declare void @WakeAllConditionVariable(ptr)""",
    # Windows counts in units of 100 ns, on every machine since Windows 8.
    "clock": """%read = call i32 @QueryPerformanceCounter(ptr %time)
  %ticks = load i64, ptr %time, align 8
  %nanoseconds = mul i64 %ticks, 100""",
    "prepare": "; all zeros is how both begin",
    "lock": "call void @AcquireSRWLockExclusive(ptr %mutex)",
    "unlock": "call void @ReleaseSRWLockExclusive(ptr %mutex)",
    "sleep": "%slept = call i32 @SleepConditionVariableSRW(ptr %condition, ptr %mutex, i32 -1, i32 0)",
    "rouse": "call void @WakeAllConditionVariable(ptr %condition)",
}

# What the pool may call, beyond what kernels may.
POOL_SYMBOLS = frozenset({
    "memcpy", "memset", "bzero", "clock_gettime", "sched_yield", "sched_getcpu", "sched_setaffinity",
    "pthread_mutex_init", "pthread_mutex_lock", "pthread_mutex_unlock",
    "pthread_cond_init", "pthread_cond_wait", "pthread_cond_broadcast",
    "QueryPerformanceCounter", "SwitchToThread", "AcquireSRWLockExclusive", "ReleaseSRWLockExclusive",
    "SleepConditionVariableSRW", "WakeAllConditionVariable",
})  # fmt: skip


def pool_ir(triple: str, platform: str = sys.platform) -> str:
    """The module's LLVM IR, for that kind of machine and that operating system."""
    pause, kind, value = ("llvm.donothing", "", "")
    if triple.startswith(("x86_64", "amd64", "i386", "i686")):
        pause = "llvm.x86.sse2.pause"
    elif triple.startswith(("aarch64", "arm64")):
        pause, kind, value = "llvm.aarch64.hint", "i32", "i32 1"  # 1: yield
    system = dict(_WINDOWS if platform == "win32" else _POSIX)
    system["clock"] = system["clock"].format(monotonic=6 if platform == "darwin" else 1)
    linux = platform == "linux"
    system["settle"] = "call void @settle(ptr %pool)" if linux else "; the system places threads well"
    return (SETTLE if linux else "") + FUNCTIONS.format(
        pause=pause, pause_type=kind, pause_value=value, ok=OK, busy=BUSY,
        spins=_SPINS, switch=_SWITCH, patience=_PATIENCE, closed=-(2**63), stop=2**62, **system,
    )  # fmt: skip


def pool_code(target: Target) -> bytes:
    """Object code with `prepare`, `worker`, `launch` and `stop`, from the cache where it is there."""
    name = cache.key("pool", target.key, sys.platform)
    code = cache.load(name)
    if code is None:
        from lampion.compiler.codegen.builder import optimize  # with all of llvmlite's builder

        machine = target.machine()
        code = machine.emit_object(optimize(pool_ir(machine.triple), target, machine))
        cache.store(name, code)
    return code
