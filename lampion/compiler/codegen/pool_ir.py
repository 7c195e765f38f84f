"""The functions of `pool`, as LLVM IR; what differs from system to system stands in braces.

See `pool` for what they do, and for the layout of the memory that they work on.
"""

FUNCTIONS = """
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
SETTLE = """
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
