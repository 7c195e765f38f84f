"""Whole plans as machine code: their order, their barriers, what happens when a kernel fails."""

import random
import re
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import Elementwise, function, targets
from plan_harness import Built, copy, gather, matmul, operand, scatter_add

from lampion import dtype as dtypes
from lampion.compiler import cache, runtime
from lampion.compiler import kernel_ir as ir
from lampion.compiler.codegen import order
from lampion.compiler.codegen import plan as plans
from lampion.compiler.codegen.builder import ir as llvm_ir
from lampion.compiler.codegen.compiled import Failure, Sharing
from lampion.compiler.codegen.loader import Library
from lampion.compiler.codegen.plan import compile_plan
from lampion.compiler.codegen.target import Target

LEVELS = [pytest.param(target, id=target.name) for target in targets("sse2", "avx2", "host")]
F4 = dtypes.float32


def same_for_all(built, results, target=None):
    """Run with several numbers of threads and serially; the results must be the same bits."""
    first, before = None, [x.copy() for x in results]
    for threads, serial in ((1, False), (2, False), (3, False), (8, False), (1, True)):
        for array, start in zip(results, before, strict=True):
            array[...] = start
        assert built.compiled(target, serial)(threads) is None
        first = first or [x.copy() for x in results]
        for actual, expected in zip(results, first, strict=True):
            np.testing.assert_array_equal(actual, expected)
    return first


# Gather and ScatterAdd -----------------------------------------------------------------------------------


def rows(index, width):
    return np.broadcast_to(index[:, None], (len(index), width))


GATHERS = {
    "rows": lambda rng: (rng.standard_normal((50, 33)).astype("f4"), rows(rng.integers(0, 50, 700), 33), 0),
    "labels": lambda rng: (rng.standard_normal((300, 10)).astype("f4"), rng.integers(0, 10, (300, 1)), 1),
    "columns": lambda rng: (rng.standard_normal((7, 40)).T, rng.integers(0, 7, (40, 5)).astype("i4"), 1),
    "middle": lambda rng: (rng.integers(0, 99, (4, 6, 8)), rng.integers(0, 6, (3, 9, 8)), 1),
    "line": lambda rng: (rng.standard_normal(100) > 0, rng.integers(0, 100, 20000), 0),
    "wide": lambda rng: (rng.standard_normal((5, 9000)), rows(rng.integers(0, 5, 3), 9000), 0),
    "nothing": lambda rng: (np.ones((5, 3)), np.zeros((0, 3), "i8"), 0),
}


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize("name", GATHERS)
def test_gather(target, name):
    source, index, axis = GATHERS[name](np.random.default_rng(0))
    out = np.zeros(index.shape, source.dtype)
    same_for_all(Built().call(gather(source, index, out, axis), source, index, out), [out], target)
    part = source[tuple(slice(None) if d == axis else slice(n) for d, n in enumerate(index.shape))]
    np.testing.assert_array_equal(out, np.take_along_axis(part, index.astype("i8"), axis))


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize("name", GATHERS)
def test_scatter_add(target, name):
    out, index, axis = GATHERS[name](np.random.default_rng(1))
    rng = np.random.default_rng(2)
    source = (rng.standard_normal(index.shape) * 3).astype(out.dtype)
    expected = out.copy()
    if index.size:
        places = list(np.ogrid[tuple(slice(n) for n in index.shape)])
        places[axis] = index
        np.add.at(expected, tuple(places), source)  # in the order of the points: the same roundings
    same_for_all(Built().call(scatter_add(out, index, source, axis), out, index, source), [out], target)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("bad", [-1, 50, 2**40, -(2**62)])
def test_an_index_out_of_range_is_reported_and_reads_nothing(bad):
    rng = np.random.default_rng(3)
    source, index = rng.standard_normal((50, 33)).astype("f4"), rng.integers(0, 50, 700)
    out = np.zeros((700, 33), "f4")
    index[[600, 350, 20]] = bad
    for kernel, arrays in (
        (gather(source, rows(index, 33), out, 0), (source, rows(index, 33), out)),
        (scatter_add(source, rows(index, 33), out, 0), (source, rows(index, 33), out)),
    ):
        run = Built().call(kernel, *arrays).compiled()
        assert {run(threads) for threads in (1, 2, 3, 8)} == {Failure(0, 20 * 33)}


def test_the_lowest_position_is_reported_where_chunks_lie_across_the_order():
    """The last axis is divided here, and the chunks that come later fail at earlier rows."""
    index = np.zeros((3, 30000), "i8")
    index[2, 5], index[0, 29000] = 9, 9
    source, out = np.ones((4, 30000), "f4"), np.zeros((3, 30000), "f4")
    run = Built().call(gather(source, index, out, 0), source, index, out).compiled()
    assert {run(threads) for threads in (1, 2, 3, 8)} == {Failure(0, 29000)}


def test_small_index_types():
    source, out = np.arange(200.0), np.zeros(3)
    for dtype, values in (("u1", [0, 199, 128]), ("i1", [0, 127, 5]), ("u4", [1, 2, 3])):
        index = np.array(values, dtype)
        assert Built().call(gather(source, index, out, 0), source, index, out).compiled()() is None
        np.testing.assert_array_equal(out, source[index.astype(int)])
    negative = np.array([0, -1, 1], "i1")
    run = Built().call(gather(source, negative, out, 0), source, negative, out).compiled()
    assert run() == Failure(0, 1)


# Random bits ----------------------------------------------------------------------------------------------


def philox(counter, key):
    """Philox4x32-10 of one block, in Python's integers: (four words, two words) -> four words."""
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [p1 >> 32 ^ c[1] ^ k0, p1 & 0xFFFFFFFF, p0 >> 32 ^ c[3] ^ k1, p0 & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def test_philox_gives_the_published_answers():
    """The known-answer vectors of the authors' own library, Random123."""
    f, pi = 0xFFFFFFFF, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([f] * 4, [f] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    assert philox(pi, [0xA4093822, 0x299F31D0]) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize("size", [0, 1, 4, 31, 64, 10007])
def test_random_bits(target, size):
    seed, offset, delta = 0x0123456789ABCDEF, 2**32 - 3, 2**33 + 5  # the counter's upper half is used
    state, bits = np.array([seed, offset], "u8"), np.zeros(size, "u4")
    kernel = ir.RandomBits(size, delta, (operand(state), operand(bits, True)))
    same_for_all(Built().call(kernel, state, bits), [bits], target)
    for i in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
        counter = (offset + delta + i // 4) % 2**64
        words = philox([counter & 0xFFFFFFFF, counter >> 32, 0, 0], [seed & 0xFFFFFFFF, seed >> 32])
        assert bits[i] == words[i % 4]


# Order and barriers ---------------------------------------------------------------------------------------


def chain(rng, steps=12):
    """Each product needs the one before; arrays are used again, so that reads must come before writes."""
    a, b, w = (rng.standard_normal((90, 90)).astype("f4") for _ in range(3))
    built = Built()
    for step in range(steps):
        source, out = (a, b) if step % 2 == 0 else (b, a)
        built.call(matmul(source, w, out), source, w, out)
        built.call(
            copy(out, source, (ir.Literal(0.1, F4), ir.Compute(function("multiply"), (0, 1), F4))),
            out,
            source,
        )
    return built, a, b, w


def test_a_chain_of_dependent_kernels():
    built, a, b, w = chain(np.random.default_rng(4))
    x, y = a.astype("f8"), b.astype("f8")
    for step in range(12):
        source, out = (x, y) if step % 2 == 0 else (y, x)
        out[...] = source @ w
        source[...] = out * np.float32(0.1)
    results = same_for_all(built, [a, b])
    for actual, expected in zip(results, (x, y), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def waits(built, shared=True):
    """For each call, the calls that are waited for."""
    everything = [shared] * len(built.calls) if isinstance(shared, bool) else shared
    return [step.waits for step in order.steps(built.calls, everything)]


def test_calls_wait_only_for_what_they_depend_on():
    x, y, z, w = (np.zeros((3, 3), "f4") for _ in range(4))
    assert waits(Built().call(copy(x, y), x, y).call(copy(z, w), z, w)) == [(), ()]
    assert waits(Built().call(copy(x, y), x, y).call(copy(x, z), x, z)) == [(), ()]  # reads of the same
    assert waits(Built().call(copy(x, y), x, y).call(copy(y, z), y, z)) == [(), (0,)]  # write, then read
    assert waits(Built().call(copy(x, y), x, y).call(copy(z, x), z, x)) == [(), (0,)]  # read, then write
    assert waits(Built().call(copy(x, y), x, y).call(copy(z, y), z, y)) == [(), (0,)]  # write, then write
    chain = (
        Built().call(copy(x, y), x, y).call(copy(y, z), y, z).call(copy(z, w), z, w).call(copy(w, y), w, y)
    )
    assert waits(chain) == [(), (0,), (1,), (2,)]  # the last needs 0, 1 and 2; 2 implies the others
    assert waits(chain, shared=False) == [(), (), (), ()]  # thread 0 runs them one after the other
    assert waits(chain, [False, False, True, True]) == [(), (), (1,), (2,)]
    assert waits(chain, [True, True, False, False]) == [(), (0,), (1,), ()]


def test_parts_of_the_arena_are_told_apart():
    x, y = np.zeros((300, 300), "f4"), np.zeros((300, 300), "f4")
    size = x.nbytes
    first, second, middle = (ir.Place(True, start, size) for start in (0, size, size // 2))
    assert waits(Built().call(copy(x, y), x, first).call(copy(x, y), second, y)) == [(), ()]
    assert waits(Built().call(copy(x, y), x, first).call(copy(x, y), middle, y)) == [(), (0,)]


def test_any_order_of_threads_respects_every_dependency():
    """Random plans, run by imaginary threads that take turns at random: when a call begins, all earlier calls
    whose data it touches are complete; and nobody waits for ever."""
    rng = random.Random(0)
    array = np.zeros((2, 2), "f4")
    for _ in range(300):
        calls, shared = [], []
        for _ in range(rng.randrange(2, 12)):
            source, out = rng.sample(range(4), 2)
            places = tuple(ir.Place(n > 1, 16 * n if n > 1 else n, 16) for n in (source, out))
            calls.append(ir.Call(copy(array, array), places))
            shared.append(rng.random() < 0.5)
        written = [o.written for o in calls[0].kernel.operands]
        touched = [list(zip(call.places, written, strict=True)) for call in calls]
        needs = [
            [n for n in range(m) if any(p == q and (v or w) for p, v in touched[n] for q, w in touched[m])]
            for m in range(len(calls))
        ]
        plan = order.steps(calls, shared)
        taken, done = [0] * len(calls), [0] * len(calls)
        goal = [3 if s else 1 for s in shared]
        at, holds = [0, 0, 0], [None, None, None]  # each thread's next call; the call it has a chunk of
        while min(at) < len(calls):
            moved = False
            for thread in rng.sample(range(3), 3):
                call = at[thread]
                if holds[thread] is not None:
                    if rng.random() < 0.5:
                        done[holds[thread]] += 1
                        holds[thread], moved = None, True
                elif call < len(calls):
                    step, late = plan[call], plan[call].waits and done[call] >= goal[call]
                    mine = shared[call] or thread == 0
                    if not late and (step.all_wait or mine) and any(done[n] < goal[n] for n in step.waits):
                        continue
                    if not late and mine and taken[call] < goal[call]:
                        assert all(done[n] >= goal[n] for n in needs[call])
                        taken[call] += 1
                        holds[thread] = call
                    else:
                        at[thread] += 1
                    moved = True
            assert moved or any(h is not None for h in holds)


def test_small_kernels_stay_on_one_thread():
    x, y, z = (np.zeros(10, "f4") for _ in range(3))
    big, out = np.zeros((300, 300), "f4"), np.zeros((300, 300), "f4")
    built = Built().call(copy(x, y), x, y).call(matmul(big, big, out), big, big, out).call(copy(y, z), y, z)
    assert plans._Emitter(built.plan(), Target.host(), serial=False).shared == [False, True, False]


def test_a_call_without_work_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(plans, "SMALL", 0.0)
    rng = np.random.default_rng(8)
    x = rng.standard_normal((300, 300)).astype("f4")
    out, nothing = np.zeros((300, 300), "f4"), np.zeros((0, 3), "f4")
    place = ir.Place(True, 0, x.nbytes)
    empty = ir.Call(
        copy(nothing, nothing), (place, place)
    )  # touches the arena by its place, but has no points
    built = Built().call(copy(x, out), x, place)
    built.calls.append(empty)
    built.call(copy(out, out), place, out)
    run = built.compiled(arena_bytes=x.nbytes)
    for threads in (1, 2, 3):
        out[...] = 0
        assert run(threads) is None
        np.testing.assert_array_equal(out, x)
    assert len(run.profile(2)) == 3


# Failure --------------------------------------------------------------------------------------------------


def failing(bad, parameter):
    """index -> picked (arena) -> parameter (external); and another write of the arena in between."""
    index, table, picked = np.zeros(5000, "i8"), np.ones(10, "f4"), np.zeros(5000, "f4")
    index[bad] = 10
    place, other = ir.Place(True, 0, picked.nbytes), ir.Place(True, picked.nbytes, picked.nbytes)
    built = Built().call(gather(table, index, picked, 0), table, index, place)
    built.call(copy(picked, picked), parameter, other)
    built.call(copy(picked, picked), other, parameter)
    return built.compiled(arena_bytes=2 * picked.nbytes)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_after_a_failure_nothing_outside_is_written(threads):
    parameter = np.full(5000, 7.0, "f4")
    before = parameter.copy()
    assert failing([4321, 77], parameter)(threads) == Failure(0, 77)
    np.testing.assert_array_equal(parameter, before)


def test_a_parameter_that_does_not_depend_on_the_failure_is_not_written_either():
    index, table, picked = np.array([3, 99]), np.ones(10, "f4"), np.zeros(2, "f4")
    source, parameter = np.ones((200, 300), "f4"), np.zeros((200, 300), "f4")
    built = Built().call(gather(table, index, picked, 0), table, index, ir.Place(True, 0, 8))
    built.call(copy(source, parameter), source, parameter)
    for serial in (False, True):
        for threads in (1, 2, 3):
            assert built.compiled(serial=serial, arena_bytes=64)(threads) == Failure(0, 1)
            assert not parameter.any()


def test_the_first_failing_call_is_reported():
    good, bad, table, out = np.array([1]), np.array([0, 5]), np.ones(4, "f4"), np.zeros(2, "f4")
    places = [ir.Place(True, 64 * i, 8) for i in range(3)]
    built = Built().call(gather(table, good, out[:1], 0), table, good, places[0])
    built.call(gather(table, bad, out, 0), table, bad, places[1])
    built.call(gather(table, bad, out, 0), table, bad, places[2])
    for threads in (1, 2, 3):
        assert built.compiled(arena_bytes=256)(threads) == Failure(1, 1)


def test_a_plan_runs_again_after_a_failure():
    index, table, out = np.array([0, 9]), np.arange(4, dtype="f4"), np.zeros(2, "f4")
    run = Built().call(gather(table, index, out, 0), table, index, out).compiled()
    assert run(2) == Failure(0, 1)
    index[1] = 3
    assert run(2) is None
    np.testing.assert_array_equal(out, [0, 3])


# What a compiled plan tells -------------------------------------------------------------------------------


def test_equal_kernels_are_emitted_once():
    x, y, z = (np.zeros((30, 30), "f4") for _ in range(3))
    built = Built().call(matmul(x, y, z), x, y, z).call(matmul(x, y, z), y, x, z).call(copy(x, y), x, y)
    compiled = built.compiled().compiled
    assert re.findall(r"define internal .*@(\w+)\(", compiled.ir) == [
        "matmul_0", "map_1", "wait_for", "report",
    ]  # fmt: skip
    assert "matmul_0" in compiled.assembly
    assert compiled.labels == ("", "", "")


def test_small_plans_are_serial():
    x, y = np.zeros(10, "f4"), np.zeros(10, "f4")
    assert compile_plan(Built().call(copy(x, y), x, y).plan()).serial
    big = np.zeros((500, 500), "f4")
    large = compile_plan(Built().call(matmul(big, big, big.copy()), big, big, big.copy()).plan())
    assert not large.serial
    assert large.code.sharing is Sharing.ALWAYS


def test_brief_plans_are_shared_only_while_they_follow_one_upon_the_other(monkeypatch):
    row, weights = np.ones((1, 256), "f4"), np.ones((256, 1024), "f4")
    result = np.zeros((1, 1024), "f4")
    run = Built().call(matmul(row, weights, result), row, weights, result).compiled(serial=None)
    assert run.compiled.code.sharing is Sharing.STEADY
    shared, now = [], 10**12
    monkeypatch.setattr(runtime, "launch", lambda *args: shared.append(args[3]) or runtime.BUSY)
    monkeypatch.setattr(runtime, "get_num_threads", lambda: 2)
    monkeypatch.setattr(runtime, "_pool", None)
    monkeypatch.setattr(runtime, "_last_brief", 0)
    monkeypatch.setattr(runtime, "time", SimpleNamespace(perf_counter_ns=lambda: now))
    for pause, expected in ((10**9, 0), (10_000, 1), (90_000, 2), (10**6, 2), (50_000, 3)):
        now += pause
        result[:] = 0
        assert run() is None
        assert len(shared) == expected
        assert (result == 256).all()
    monkeypatch.setattr(runtime, "_pool", SimpleNamespace(spare=False))  # threads share cores
    now += 10_000
    assert run() is None
    assert len(shared) == 3
    assert run(5) is None  # who asks for a number of threads gets it
    assert shared == [2, 2, 2, 5]


@pytest.mark.parametrize("serial", [False, True])
def test_profile_gives_the_time_of_each_call(serial):
    rng = np.random.default_rng(5)
    big, small = (rng.standard_normal((n, n)).astype("f4") for n in (300, 20))
    big_out, small_out = np.zeros((300, 300), "f4"), np.zeros((20, 20), "f4")
    built = Built().call(matmul(big, big, big_out), big, big, big_out)
    run = built.call(matmul(small, small, small_out), small, small, small_out).compiled(serial=serial)
    times = [run.profile(2) for _ in range(5)]
    large, little = (min(column) for column in zip(*times, strict=True))
    assert large > 10 * little > 0
    assert 50_000 < large < 500_000_000  # 54 MFLOP in nanoseconds, on any machine
    np.testing.assert_allclose(big_out, big @ big, atol=1e-3)


def test_other_processors_can_be_emitted_for():
    """Arm has no machine code that runs here, but a plan must compile for it."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()

    class Arm(Target):
        def machine(self):
            triple = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
            return triple.create_target_machine(features=self.features, opt=3, reloc="pic", codemodel="small")

    arm = Arm("arm", "", "+neon", 16, 32, True)
    x, y, z = (np.zeros((30, 30), "f4") for _ in range(3))
    index, state, bits = rows(np.zeros(30, "i8"), 30), np.zeros(2, "u8"), np.zeros(9, "u4")
    built = Built().call(matmul(x, y, z), x, y, z).call(gather(x, index, z, 0), x, index, z)
    built.call(scatter_add(z, index, x, 0), z, index, x)
    built.call(ir.RandomBits(9, 0, (operand(state), operand(bits, True))), state, bits)
    machine = arm.machine()
    for timed in (False, True):
        module = plans._Emitter(built.plan(), arm, serial=False, timed=timed).emit()
        assembly = machine.emit_assembly(plans.optimize(module, arm, machine))
        assert "fmla" in assembly


# The cache ------------------------------------------------------------------------------------------------


def test_a_second_compilation_reads_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LAMPION_CACHE_DIR", str(tmp_path / "kernels"))
    x, y, z = (np.random.default_rng(6).standard_normal((20, 20)).astype("f4") for _ in range(3))
    built = Built().call(matmul(x, y, z), x, y, z, label="first")
    first = built.compiled()
    monkeypatch.setattr(plans._Emitter, "emit", lambda self: pytest.fail("compiled again"))
    built.calls[0] = ir.Call(built.calls[0].kernel, built.calls[0].places, "renamed")
    second = built.compiled()  # labels are not a part of the code
    assert second.compiled.code == first.compiled.code
    assert second(2) is None
    np.testing.assert_allclose(z, x @ y, atol=1e-4)


def test_what_the_code_depends_on_changes_the_key(monkeypatch, tmp_path):
    monkeypatch.setenv("LAMPION_CACHE_DIR", str(tmp_path / "kernels"))
    x, y = np.arange(20, dtype="f4"), np.zeros(20, "f4")

    def scaled(number):
        values = (ir.Literal(number, F4), ir.Compute(function("multiply"), (0, 1), F4))
        return copy(x, y, values)

    for number in (2.0, 3.0):
        assert Built().call(scaled(number), x, y).compiled()() is None
        np.testing.assert_array_equal(y, x * number)
    for target in targets("sse2", "host"):
        Built().call(scaled(2.0), x, y).compiled(target)
    assert len(list((tmp_path / "kernels").glob("*.o"))) == 3


def test_a_primitive_from_elsewhere_is_known_by_what_it_emits(monkeypatch, tmp_path):
    """Two functions of one name: the second must not be answered with the code of the first."""
    monkeypatch.setenv("LAMPION_CACHE_DIR", str(tmp_path / "kernels"))
    x, y = np.arange(20, dtype="f4"), np.zeros(20, "f4")
    for forward, expected in ((lambda xp, x: x + x, x + x), (lambda xp, x: x * x, x * x)):
        kernel = copy(x, y, (ir.Compute(Elementwise(forward, "mine"), (0,), F4),))
        assert Built().call(kernel, x, y).compiled()() is None
        np.testing.assert_array_equal(y, expected)


def test_a_function_that_is_not_allowed_is_refused(monkeypatch):
    module = llvm_ir.Module("plan")
    i64 = llvm_ir.IntType(64)
    outside = llvm_ir.Function(module, llvm_ir.FunctionType(i64, []), "getpid")
    solo = llvm_ir.Function(module, llvm_ir.FunctionType(i64, []), "solo")
    builder = llvm_ir.IRBuilder(solo.append_basic_block())
    builder.ret(builder.call(outside, []))
    code = plans.compile_module(module, Target.host())
    for allowed, message in (((), "not allowed: getpid"), (("getpid",), None)):
        if message:
            with pytest.raises(RuntimeError, match=message):
                Library(code, Target.host(), allowed)
        else:
            assert Library(code, Target.host(), allowed).address("solo")
    assert "getpid" not in cache.sources()
