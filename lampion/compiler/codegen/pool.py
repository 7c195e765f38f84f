"""The native half of the thread pool: how threads wait, wake, run a plan together, and part.

This is the one piece of LLVM IR that is written by hand, because it is the same for every plan. Each
function is a few lines of what C would say. All waiting goes through `wait`: a short spin (the other
thread is a moment away), then a while of giving the core to whoever wants it (the other thread may need
this very core), then sleep. All news goes through `wake`. Nobody who waits is ever missed: a sleeper
counts itself in `parked` before it looks at the word for the last time, and the other side changes the
word before it looks at `parked`, both in one total order (seq_cst).

Layout, in bytes; each word that is written while others read it has a cache line (64) of its own:

    event   0 parked (how many sleep)   64 mutex   128 condition variable
    sync    0 arrivals   64 status   128 &wait   136 &wake   144 &event   152 &now: what a plan is handed
    pool    0 lease   64 done   128 job: plan, table, arena, threads   160 home   168 spare   176 size
            192 sync   384 event of idle workers   576 event of the running plan
            768 the cores that the process may use (a bit each)
            896 mailboxes, 64 each: how many jobs were posted, and at 8 the worker's number in the system
"""

from __future__ import annotations

import sys

from lampion.compiler.codegen.builder import optimize
from lampion.compiler.codegen.target import Target

OK = -1  # the status of a plan in which nothing failed
BUSY = -2  # another plan has the pool

# Offsets that plan.py shares.
SYNC_BYTES = 192
ARRIVALS, STATUS, WAIT, WAKE, EVENT, NOW = 0, 64, 128, 136, 144, 152

# Offsets that runtime.py fills in: `spare` says that there is a core for each thread; `home` is the core
# that workers keep off, none to begin with.
HOME, SPARE, SIZE, CORES, MAILBOXES, MAILBOX = 160, 168, 176, 768, 896, 64
CORES_BYTES = MAILBOXES - CORES


def pool_bytes(threads: int) -> int:
    return MAILBOXES + MAILBOX * threads


# A short spin first. Then the waiting thread offers its core at every look. Where nobody takes it, it goes on
# for a while, since waking up costs 15 to 100 us. Where somebody does (an offer takes longer), that is likely
# a thread of this very plan: to sleep at once helps it, and lets the system wake us on a core that is free.
_SPINS = 64
_SWITCH = 1_000  # ns
_PATIENCE = 200_000  # ns

_IR = """
declare void @{pause}({pause_type})
declare i32 @{giveway}()
{system}

; Return once *word >= goal.
define void @wait(ptr %event, ptr %word, i64 %goal) nounwind {{
entry:
  br label %spin
spin:
  %spins = phi i64 [ 0, %entry ], [ %spins.next, %spin.on ]
  %seen.1 = load atomic i64, ptr %word acquire, align 8
  %there.1 = icmp sge i64 %seen.1, %goal
  br i1 %there.1, label %done, label %spin.on
spin.on:
  call void @{pause}({pause_value})
  %spins.next = add i64 %spins, 1
  %patient = icmp slt i64 %spins.next, {spins}
  br i1 %patient, label %spin, label %start
start:
  %began = call i64 @now()
  %limit = add i64 %began, {patience}
  br label %yield
yield:
  %before = phi i64 [ %began, %start ], [ %after, %yield.on ]
  %slow = phi i64 [ 0, %start ], [ %slow.next, %yield.on ]
  %ignored = call i32 @{giveway}()
  %seen.2 = load atomic i64, ptr %word acquire, align 8
  %there.2 = icmp sge i64 %seen.2, %goal
  br i1 %there.2, label %done, label %yield.on
yield.on:
  %after = call i64 @now()
  %took = sub i64 %after, %before
  %switched = icmp sgt i64 %took, {switch}
  %one = zext i1 %switched to i64
  %slow.next = add i64 %slow, %one
  %alone = icmp slt i64 %slow.next, 2
  %early = icmp slt i64 %after, %limit
  %hopeful = and i1 %alone, %early
  br i1 %hopeful, label %yield, label %park
park:
  %mutex = getelementptr i8, ptr %event, i64 64
  %condition = getelementptr i8, ptr %event, i64 128
  {lock}
  %parked.1 = atomicrmw add ptr %event, i64 1 seq_cst
  br label %look
look:
  %seen.3 = load atomic i64, ptr %word seq_cst, align 8
  %there.3 = icmp sge i64 %seen.3, %goal
  br i1 %there.3, label %leave, label %sleep
sleep:
  {sleep}
  br label %look
leave:
  %parked.2 = atomicrmw sub ptr %event, i64 1 seq_cst
  {unlock}
  br label %done
done:
  ret void
}}

; Nanoseconds since some moment.
define i64 @now() nounwind {{
entry:
  %time = alloca [2 x i64], align 8
  {clock}
  ret i64 %nanoseconds
}}

; Let those who sleep look at their words again.
define void @wake(ptr %event) nounwind {{
entry:
  %parked = load atomic i64, ptr %event seq_cst, align 8
  %anybody = icmp ne i64 %parked, 0
  br i1 %anybody, label %call, label %done
call:
  %mutex = getelementptr i8, ptr %event, i64 64
  %condition = getelementptr i8, ptr %event, i64 128
  ; Whoever counts as parked now either sleeps, or holds the mutex and will look at the word again.
  {lock}
  {unlock}
  {rouse}
  br label %done
done:
  ret void
}}

define void @prepare(ptr %pool) nounwind {{
entry:
  %idle = getelementptr i8, ptr %pool, i64 384
  %running = getelementptr i8, ptr %pool, i64 576
  call void @prepare_event(ptr %idle)
  call void @prepare_event(ptr %running)
  %wait.at = getelementptr i8, ptr %pool, i64 320
  %wake.at = getelementptr i8, ptr %pool, i64 328
  %event.at = getelementptr i8, ptr %pool, i64 336
  %now.at = getelementptr i8, ptr %pool, i64 344
  store ptr @now, ptr %now.at, align 8
  store ptr @wait, ptr %wait.at, align 8
  store ptr @wake, ptr %wake.at, align 8
  store ptr %running, ptr %event.at, align 8
  ret void
}}

define internal void @prepare_event(ptr %event) nounwind {{
entry:
  %mutex = getelementptr i8, ptr %event, i64 64
  %condition = getelementptr i8, ptr %event, i64 128
  {prepare}
  ret void
}}

; The life of a worker: wait for the mailbox to count up, run the job, report; leave when told to.
define void @worker(ptr %pool, i64 %thread) nounwind {{
entry:
  %idle = getelementptr i8, ptr %pool, i64 384
  %running = getelementptr i8, ptr %pool, i64 576
  %done.at = getelementptr i8, ptr %pool, i64 64
  %job = getelementptr i8, ptr %pool, i64 128
  %sync = getelementptr i8, ptr %pool, i64 192
  %away = mul i64 %thread, 64
  %boxes = getelementptr i8, ptr %pool, i64 896
  %mailbox = getelementptr i8, ptr %boxes, i64 %away
  br label %next
next:
  %seen = phi i64 [ 0, %entry ], [ %goal, %work ]
  %goal = add i64 %seen, 1
  call void @wait(ptr %idle, ptr %mailbox, i64 %goal)
  %mail = load atomic i64, ptr %mailbox acquire, align 8
  %stop = icmp ne i64 %mail, %goal
  br i1 %stop, label %leave, label %work
work:
  call void @run(ptr %job, i64 %thread, ptr %sync)
  %reported = atomicrmw add ptr %done.at, i64 1 seq_cst
  call void @wake(ptr %running)
  br label %next
leave:
  ret void
}}

define internal void @run(ptr %job, i64 %thread, ptr %sync) nounwind {{
entry:
  %table.at = getelementptr i8, ptr %job, i64 8
  %arena.at = getelementptr i8, ptr %job, i64 16
  %threads.at = getelementptr i8, ptr %job, i64 24
  %plan = load ptr, ptr %job, align 8
  %table = load ptr, ptr %table.at, align 8
  %arena = load ptr, ptr %arena.at, align 8
  %threads = load i64, ptr %threads.at, align 8
  call void %plan(ptr %table, ptr %arena, i64 %thread, i64 %threads, ptr %sync)
  ret void
}}

; Take the pool, run the plan on it together with the first `threads - 1` workers, and give it back.
define i64 @launch(ptr %pool, ptr %plan, ptr %table, ptr %arena, i64 %threads) nounwind {{
entry:
  %try = cmpxchg ptr %pool, i64 0, i64 1 seq_cst seq_cst
  %mine = extractvalue {{ i64, i1 }} %try, 1
  br i1 %mine, label %release, label %refuse
refuse:
  ret i64 {busy}
release:
  %idle = getelementptr i8, ptr %pool, i64 384
  %running = getelementptr i8, ptr %pool, i64 576
  %done.at = getelementptr i8, ptr %pool, i64 64
  %job = getelementptr i8, ptr %pool, i64 128
  %sync = getelementptr i8, ptr %pool, i64 192
  %status.at = getelementptr i8, ptr %pool, i64 256
  %table.at = getelementptr i8, ptr %pool, i64 136
  %arena.at = getelementptr i8, ptr %pool, i64 144
  %threads.at = getelementptr i8, ptr %pool, i64 152
  %boxes = getelementptr i8, ptr %pool, i64 896
  store ptr %plan, ptr %job, align 8
  store ptr %table, ptr %table.at, align 8
  store ptr %arena, ptr %arena.at, align 8
  store i64 %threads, ptr %threads.at, align 8
  store atomic i64 0, ptr %done.at monotonic, align 8
  store atomic i64 0, ptr %sync monotonic, align 8
  store atomic i64 {ok}, ptr %status.at monotonic, align 8
  {settle}
  br label %post
post:
  %i = phi i64 [ 1, %release ], [ %i.next, %post.on ]
  %more = icmp slt i64 %i, %threads
  br i1 %more, label %post.on, label %go
post.on:
  %away = mul i64 %i, 64
  %mailbox = getelementptr i8, ptr %boxes, i64 %away
  %posted = atomicrmw add ptr %mailbox, i64 1 seq_cst
  %i.next = add i64 %i, 1
  br label %post
go:
  call void @wake(ptr %idle)
  call void @run(ptr %job, i64 0, ptr %sync)
  %others = sub i64 %threads, 1
  call void @wait(ptr %running, ptr %done.at, i64 %others)
  %status = load atomic i64, ptr %status.at acquire, align 8
  store atomic i64 0, ptr %pool release, align 8
  ret i64 %status
}}

; Take the pool for good and send the workers home: 1, or 0 where a plan is running.
define i64 @stop(ptr %pool, i64 %threads) nounwind {{
entry:
  %try = cmpxchg ptr %pool, i64 0, i64 1 seq_cst seq_cst
  %mine = extractvalue {{ i64, i1 }} %try, 1
  %boxes = getelementptr i8, ptr %pool, i64 896
  br i1 %mine, label %post, label %refuse
refuse:
  ret i64 0
post:
  %i = phi i64 [ 1, %entry ], [ %i.next, %post.on ]
  %more = icmp slt i64 %i, %threads
  br i1 %more, label %post.on, label %go
post.on:
  %away = mul i64 %i, 64
  %mailbox = getelementptr i8, ptr %boxes, i64 %away
  store atomic i64 4611686018427387904, ptr %mailbox seq_cst, align 8
  %i.next = add i64 %i, 1
  br label %post
go:
  %idle = getelementptr i8, ptr %pool, i64 384
  call void @wake(ptr %idle)
  ret i64 1
}}
"""

# On a machine whose caches the system knows nothing about (some virtual ones), it wakes a worker on the very
# core that calls for it, and leaves it there for milliseconds. So workers are told to keep off the core that
# a plan is launched from, each time when that is another one.
_SETTLE = """
declare i32 @sched_getcpu()
declare i32 @sched_setaffinity(i32, i64, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal void @settle(ptr %pool) nounwind {
entry:
  %others = alloca [128 x i8], align 8
  %home.at = getelementptr i8, ptr %pool, i64 160
  %spare.at = getelementptr i8, ptr %pool, i64 168
  %size.at = getelementptr i8, ptr %pool, i64 176
  %cores = getelementptr i8, ptr %pool, i64 768
  %boxes = getelementptr i8, ptr %pool, i64 896
  %spare = load i64, ptr %spare.at, align 8
  %enough = icmp ne i64 %spare, 0
  br i1 %enough, label %look, label %done
look:
  %core.32 = call i32 @sched_getcpu()
  %core = zext i32 %core.32 to i64
  %home = load i64, ptr %home.at, align 8
  %moved = icmp ne i64 %core, %home
  %known = icmp ult i64 %core, 1024
  %act = and i1 %moved, %known
  br i1 %act, label %move, label %done
move:
  store i64 %core, ptr %home.at, align 8
  call void @llvm.memcpy.p0.p0.i64(ptr %others, ptr %cores, i64 128, i1 false)
  %word = lshr i64 %core, 6
  %bit = and i64 %core, 63
  %mask = shl i64 1, %bit
  %rest = xor i64 %mask, -1
  %word.at = getelementptr i64, ptr %others, i64 %word
  %before = load i64, ptr %word.at, align 8
  %after = and i64 %before, %rest
  store i64 %after, ptr %word.at, align 8
  %size = load i64, ptr %size.at, align 8
  br label %next
next:
  %i = phi i64 [ 1, %move ], [ %i.next, %tell ]
  %more = icmp slt i64 %i, %size
  br i1 %more, label %tell, label %done
tell:
  %away = mul i64 %i, 64
  %mailbox = getelementptr i8, ptr %boxes, i64 %away
  %number.at = getelementptr i8, ptr %mailbox, i64 8
  %number = load i32, ptr %number.at, align 4
  %told = call i32 @sched_setaffinity(i32 %number, i64 128, ptr %others)
  %i.next = add i64 %i, 1
  br label %next
done:
  ret void
}
"""

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
    "memcpy", "clock_gettime", "sched_yield", "sched_getcpu", "sched_setaffinity",
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
    return (_SETTLE if linux else "") + _IR.format(
        pause=pause, pause_type=kind, pause_value=value, ok=OK, busy=BUSY,
        spins=_SPINS, switch=_SWITCH, patience=_PATIENCE, **system,
    )  # fmt: skip


def pool_code(target: Target) -> bytes:
    """Object code with `prepare`, `worker`, `launch` and `stop`."""
    machine = target.machine()
    code: bytes = machine.emit_object(optimize(pool_ir(machine.triple), target, machine))
    return code
