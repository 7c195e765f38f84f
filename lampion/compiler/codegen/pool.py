"""The native half of the thread pool: how threads wait, wake, share out work, run a plan together, and part.

This is the one piece of LLVM IR that is written by hand, because it is the same for every plan. Each
function is a few lines of what C would say.

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

from lampion.compiler.codegen.builder import optimize
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
  %spare.at = getelementptr i8, ptr %event, i64 8
  %spare = load i64, ptr %spare.at, align 8
  %roomy = icmp ne i64 %spare, 0
  br i1 %roomy, label %keep, label %yield
keep:
  %turn = phi i64 [ 0, %start ], [ %turn.next, %keep.on ], [ 0, %clock ]
  %seen.4 = load atomic i64, ptr %word acquire, align 8
  %there.4 = icmp sge i64 %seen.4, %goal
  br i1 %there.4, label %done, label %keep.on
keep.on:
  call void @{pause}({pause_value})
  %turn.next = add i64 %turn, 1
  %again = icmp slt i64 %turn.next, {spins}
  br i1 %again, label %keep, label %clock
clock:
  %time = call i64 @now()
  %soon = icmp slt i64 %time, %limit
  br i1 %soon, label %keep, label %park
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

; Some chunks of a call that nobody has taken: first * 2**32 + last, or 0. `words` is where the first thread's
; word for the call is, and `row` the bytes from one thread's to the next's.
define i64 @claim(ptr %words, i64 %row, i64 %thread, i64 %threads, i64 %chunks) nounwind {{
entry:
  br label %look
look:
  %k = phi i64 [ 0, %entry ], [ %k.next, %none.here ]
  %more = icmp ult i64 %k, %threads
  br i1 %more, label %whose, label %nothing
whose:
  %sum = add i64 %thread, %k
  %owner = urem i64 %sum, %threads
  %before = mul i64 %owner, %chunks
  %upto = add i64 %before, %chunks
  %first = udiv i64 %before, %threads
  %last = udiv i64 %upto, %threads
  %size = sub i64 %last, %first
  %away = mul i64 %owner, %row
  %word = getelementptr i8, ptr %words, i64 %away
  %own = icmp eq i64 %k, 0
  br label %try
try:
  %taken = load atomic i64, ptr %word monotonic, align 8
  %front = and i64 %taken, 4294967295
  %back = lshr i64 %taken, 32
  %rest.1 = sub i64 %size, %front
  %rest = sub i64 %rest.1, %back
  %some = icmp sgt i64 %rest, 0
  br i1 %some, label %take, label %none.here
take:
  %quarter = lshr i64 %rest, 2
  %most = sub i64 %rest, %quarter
  %half.up = add i64 %rest, 1
  %half = lshr i64 %half.up, 1
  %count = select i1 %own, i64 %most, i64 %half
  %high = shl i64 %count, 32
  %mark = select i1 %own, i64 %count, i64 %high
  %marked = add i64 %taken, %mark
  %swap = cmpxchg ptr %word, i64 %taken, i64 %marked monotonic monotonic
  %mine = extractvalue {{ i64, i1 }} %swap, 1
  br i1 %mine, label %got, label %try
got:
  %from.own = add i64 %first, %front
  %to.other = sub i64 %last, %back
  %from.other = sub i64 %to.other, %count
  %from = select i1 %own, i64 %from.own, i64 %from.other
  %to = add i64 %from, %count
  %upper = shl i64 %from, 32
  %both = or i64 %upper, %to
  ret i64 %both
none.here:
  %k.next = add i64 %k, 1
  br label %look
nothing:
  ret i64 0
}}

define void @prepare(ptr %pool) nounwind {{
entry:
  %idle = getelementptr i8, ptr %pool, i64 448
  %running = getelementptr i8, ptr %pool, i64 640
  call void @prepare_event(ptr %idle)
  call void @prepare_event(ptr %running)
  %joined.at = getelementptr i8, ptr %pool, i64 64
  store i64 {closed}, ptr %joined.at, align 8
  %wait.at = getelementptr i8, ptr %pool, i64 384
  %wake.at = getelementptr i8, ptr %pool, i64 392
  %event.at = getelementptr i8, ptr %pool, i64 400
  %now.at = getelementptr i8, ptr %pool, i64 408
  %claim.at = getelementptr i8, ptr %pool, i64 416
  store ptr @wait, ptr %wait.at, align 8
  store ptr @wake, ptr %wake.at, align 8
  store ptr %running, ptr %event.at, align 8
  store ptr @now, ptr %now.at, align 8
  store ptr @claim, ptr %claim.at, align 8
  ret void
}}

define internal void @prepare_event(ptr %event) nounwind {{
entry:
  %mutex = getelementptr i8, ptr %event, i64 64
  %condition = getelementptr i8, ptr %event, i64 128
  {prepare}
  ret void
}}

; The life of a worker: wait for the mailbox to count up, join the job unless it is closed, leave it again;
; go home when told to.
define void @worker(ptr %pool, i64 %thread) nounwind {{
entry:
  %idle = getelementptr i8, ptr %pool, i64 448
  %running = getelementptr i8, ptr %pool, i64 640
  %joined.at = getelementptr i8, ptr %pool, i64 64
  %left.at = getelementptr i8, ptr %pool, i64 128
  %away = mul i64 %thread, 64
  %boxes = getelementptr i8, ptr %pool, i64 960
  %mailbox = getelementptr i8, ptr %boxes, i64 %away
  br label %next
next:
  %seen = phi i64 [ 0, %entry ], [ %mail, %join ], [ %mail, %work ]
  %goal = add i64 %seen, 1
  call void @wait(ptr %idle, ptr %mailbox, i64 %goal)
  %mail = load atomic i64, ptr %mailbox acquire, align 8
  %stop = icmp sge i64 %mail, {stop}
  br i1 %stop, label %home, label %join
join:
  %joined = load atomic i64, ptr %joined.at seq_cst, align 8
  %closed = icmp slt i64 %joined, 0
  br i1 %closed, label %next, label %enter
enter:
  %joined.next = add i64 %joined, 1
  %try = cmpxchg ptr %joined.at, i64 %joined, i64 %joined.next seq_cst seq_cst
  %in = extractvalue {{ i64, i1 }} %try, 1
  br i1 %in, label %work, label %join
work:
  call void @run(ptr %pool, i64 %thread)
  %left = atomicrmw add ptr %left.at, i64 1 seq_cst
  call void @wake(ptr %running)
  br label %next
home:
  ret void
}}

define internal void @run(ptr %pool, i64 %thread) nounwind {{
entry:
  %plan.at = getelementptr i8, ptr %pool, i64 192
  %table.at = getelementptr i8, ptr %pool, i64 200
  %arena.at = getelementptr i8, ptr %pool, i64 208
  %threads.at = getelementptr i8, ptr %pool, i64 216
  %sync = getelementptr i8, ptr %pool, i64 256
  %plan = load ptr, ptr %plan.at, align 8
  %table = load ptr, ptr %table.at, align 8
  %arena = load ptr, ptr %arena.at, align 8
  %threads = load i64, ptr %threads.at, align 8
  call void %plan(ptr %table, ptr %arena, i64 %thread, i64 %threads, ptr %sync)
  ret void
}}

; Take the pool, run the plan on it together with the first `threads - 1` workers, and give it back.
define i64 @launch(
  ptr %pool, ptr %plan, ptr %table, ptr %arena, i64 %threads, ptr %claims, i64 %bytes
) nounwind {{
entry:
  %try = cmpxchg ptr %pool, i64 0, i64 1 seq_cst seq_cst
  %mine = extractvalue {{ i64, i1 }} %try, 1
  br i1 %mine, label %open, label %refuse
refuse:
  ret i64 {busy}
open:
  %idle = getelementptr i8, ptr %pool, i64 448
  %running = getelementptr i8, ptr %pool, i64 640
  %joined.at = getelementptr i8, ptr %pool, i64 64
  %left.at = getelementptr i8, ptr %pool, i64 128
  %plan.at = getelementptr i8, ptr %pool, i64 192
  %table.at = getelementptr i8, ptr %pool, i64 200
  %arena.at = getelementptr i8, ptr %pool, i64 208
  %threads.at = getelementptr i8, ptr %pool, i64 216
  %claims.at = getelementptr i8, ptr %pool, i64 256
  %status.at = getelementptr i8, ptr %pool, i64 320
  %boxes = getelementptr i8, ptr %pool, i64 960
  store ptr %plan, ptr %plan.at, align 8
  store ptr %table, ptr %table.at, align 8
  store ptr %arena, ptr %arena.at, align 8
  store i64 %threads, ptr %threads.at, align 8
  store ptr %claims, ptr %claims.at, align 8
  store i64 {ok}, ptr %status.at, align 8
  store i64 0, ptr %left.at, align 8
  call void @llvm.memset.p0.i64(ptr %claims, i8 0, i64 %bytes, i1 false)
  store atomic i64 0, ptr %joined.at seq_cst, align 8
  {settle}
  br label %post
post:
  %i = phi i64 [ 1, %open ], [ %i.next, %post.on ]
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
  call void @run(ptr %pool, i64 0)
  %joined = atomicrmw or ptr %joined.at, i64 {closed} seq_cst
  call void @wait(ptr %running, ptr %left.at, i64 %joined)
  %status = load atomic i64, ptr %status.at acquire, align 8
  store atomic i64 0, ptr %pool release, align 8
  ret i64 %status
}}

; Take the pool for good and send the workers home: 1, or 0 where a plan is running.
define i64 @stop(ptr %pool, i64 %threads) nounwind {{
entry:
  %try = cmpxchg ptr %pool, i64 0, i64 1 seq_cst seq_cst
  %mine = extractvalue {{ i64, i1 }} %try, 1
  %boxes = getelementptr i8, ptr %pool, i64 960
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
  store atomic i64 {stop}, ptr %mailbox seq_cst, align 8
  %i.next = add i64 %i, 1
  br label %post
go:
  %idle = getelementptr i8, ptr %pool, i64 448
  call void @wake(ptr %idle)
  ret i64 1
}}

declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
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
  %home.at = getelementptr i8, ptr %pool, i64 224
  %spare.at = getelementptr i8, ptr %pool, i64 232
  %size.at = getelementptr i8, ptr %pool, i64 240
  %cores = getelementptr i8, ptr %pool, i64 832
  %boxes = getelementptr i8, ptr %pool, i64 960
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
    "memcpy", "memset", "clock_gettime", "sched_yield", "sched_getcpu", "sched_setaffinity",
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
        spins=_SPINS, switch=_SWITCH, patience=_PATIENCE, closed=-(2**63), stop=2**62, **system,
    )  # fmt: skip


def pool_code(target: Target) -> bytes:
    """Object code with `prepare`, `worker`, `launch` and `stop`."""
    machine = target.machine()
    code: bytes = machine.emit_object(optimize(pool_ir(machine.triple), target, machine))
    return code
