"""The thread pool: any number of threads, several plans at once, forks, Ctrl-C, the end of the program."""

import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite no plan runs as machine code")

from plan_harness import Built, matmul

from lampion.compiler import runtime

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(autouse=True)
def as_many_threads_as_before():
    before = runtime.get_num_threads()
    yield
    runtime.set_num_threads(before)


def product(n=64, seed=0, calls=20):
    """A plan of some dependent products, and the arrays in which it keeps its results."""
    rng = np.random.default_rng(seed)
    w, x = (rng.standard_normal((n, n)).astype("f4") for _ in range(2))
    y = np.zeros_like(x)
    built = Built()
    for _ in range(calls // 2):
        built.call(matmul(x, w, y), x, w, y).call(matmul(x, w, y), y, w, x)
    return built.compiled(), x, y


def script(body, timeout=60, **environment):
    """Run a program of its own, with `product` at hand; its output, after it ended well."""
    start = f"import sys; sys.path[:0] = [{HERE!r}, {os.path.dirname(HERE)!r}]\nfrom test_runtime import *\n"
    return subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(body)],
        capture_output=True, text=True, timeout=timeout, env={**os.environ, **environment},
    )  # fmt: skip


def printed(*args, **options):
    done = script(*args, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# The number of threads ------------------------------------------------------------------------------------


def test_the_number_of_threads_can_be_set():
    for n in (1, 3, 2):
        runtime.set_num_threads(n)
        assert runtime.get_num_threads() == n


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True])
def test_a_wrong_number_is_refused(wrong):
    with pytest.raises(ValueError, match=r"set_num_threads: expected a whole number from 1 on"):
        runtime.set_num_threads(wrong)


def test_the_environment_sets_the_number():
    ask = "print(runtime.get_num_threads())"
    assert printed(ask, LAMPION_NUM_THREADS="5") == "5"
    assert printed(ask, LAMPION_NUM_THREADS="") == str(runtime.usable_cores())
    assert "LAMPION_NUM_THREADS: expected a whole number" in script(ask, LAMPION_NUM_THREADS="many").stderr


def test_usable_cores_are_those_of_the_process():
    assert 1 <= runtime.usable_cores() <= os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        one = min(os.sched_getaffinity(0))
        assert printed(f"os.sched_setaffinity(0, {{{one}}}); print(runtime.usable_cores())") == "1"


@pytest.mark.parametrize(
    "triple, platform",
    [
        ("x86_64-pc-windows-msvc-elf", "win32"),
        ("arm64-apple-darwin", "darwin"),
        ("aarch64-unknown-linux-gnu", "linux"),
    ],
)
def test_the_pool_can_be_emitted_for_other_systems(triple, platform):
    """It cannot run here, but it must compile, and call nothing that is not on the list."""
    import llvmlite.binding as llvm

    from lampion.compiler.codegen.pool import POOL_SYMBOLS, pool_ir
    from lampion.compiler.codegen.symbols import undefined_symbols

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly(pool_ir(triple, platform))
    module.verify()
    machine = llvm.Target.from_triple(triple).create_target_machine(reloc="pic", codemodel="small")
    assert undefined_symbols(machine.emit_object(module)) <= POOL_SYMBOLS


# Running --------------------------------------------------------------------------------------------------


def test_pools_of_all_sizes_one_after_the_other():
    run, x, _ = product(calls=4)
    start, first = x.copy(), None
    for n in (2, 8, 1, 3, 2, 16):
        runtime.set_num_threads(n)
        for _ in range(3):
            x[...] = start
            assert run() is None
            first = x.copy() if first is None else first
            np.testing.assert_array_equal(x, first)
    for threads in (1, 3, 8):  # fewer and more than the pool has
        x[...] = start
        assert run(threads) is None
        np.testing.assert_array_equal(x, first)


def test_workers_that_sleep_are_woken():
    run, x, _ = product(calls=4)
    start = x.copy()
    run(3)
    expected = x.copy()
    for pause in (0, 0.0005, 0.002, 0.05):
        for _ in range(5):
            x[...] = start
            time.sleep(pause)
            assert run(3) is None
            np.testing.assert_array_equal(x, expected)


def test_plans_of_several_threads_at_once():
    """One gets the pool, the others run alone: the same bits, and nobody waits for ever."""
    plans = [product(seed=seed) for seed in range(4)]
    expected = []
    for run, x, _ in plans:
        start = x.copy()
        run(1)
        expected.append((start, x.copy()))
    wrong = []

    def work(number):
        run, x, _ = plans[number]
        start, result = expected[number]
        for _ in range(50):
            x[...] = start
            if run(2) is not None or not np.array_equal(x, result):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for n in (3, 2, 4, 2):  # and the pool is replaced under their feet
        runtime.set_num_threads(n)
        time.sleep(0.005)
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert not wrong


def test_a_busy_pool_is_reported_and_not_waited_for():
    run, _, _ = product(calls=2)
    run(2)
    pool = runtime._pool
    lease = np.frombuffer((runtime.ctypes.c_int64 * 1).from_address(pool.address), np.int64)
    lease[0] = 1  # as while another plan runs
    try:
        assert run.compiled._launch(run.compiled._entry, 0, 0, 2) == runtime.BUSY
        assert run(2) is None  # alone
    finally:
        lease[0] = 0


def test_more_threads_than_cores_work_at_a_sane_speed():
    run, _, _ = product(n=40, calls=100)
    for threads in (8, 16):
        run(threads)
        start = time.perf_counter()
        for _ in range(5):
            run(threads)
        # 500 barriers. It is 10 us each on an idle machine; slices of the system's scheduler would be 3 ms.
        assert time.perf_counter() - start < 0.75


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that can pin threads")
def test_two_threads_on_one_core_work_at_a_sane_speed():
    took = printed("""
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        run, _, _ = product(n=40, calls=100)
        run(2)
        times = []
        for _ in range(7):
            start = time.perf_counter()
            run(2)
            times.append(time.perf_counter() - start)
        print(sorted(times)[3])
    """)
    assert float(took) < 0.1  # 100 barriers, less than a millisecond each; 4 us on an idle machine


def test_threads_that_cannot_start_are_an_error_and_leave_nothing_behind(monkeypatch):
    runtime.set_num_threads(1)
    run, x, _ = product(calls=2)
    start = x.copy()
    run(1)
    expected, before, begin = x.copy(), threading.active_count(), threading.Thread.start

    def fail_at_the_third(thread):
        if thread.name == "lampion-3":
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_at_the_third)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run(5)
    assert threading.active_count() <= before
    monkeypatch.undo()
    x[...] = start
    assert run(5) is None
    np.testing.assert_array_equal(x, expected)


# Ends and interruptions -----------------------------------------------------------------------------------


def test_the_program_ends_cleanly():
    """Asleep, spinning or never started: workers do not keep the program, and do not crash it."""
    assert printed("run, *_ = product(); run(4); time.sleep(0.01); print('done')") == "done"
    assert printed("run, *_ = product(); run(4); print('done')") == "done"
    assert printed("print('done')") == "done"
    assert (
        printed("""
        run, *_ = product()
        def forever():
            while True:
                run(2)
        threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.05)
        print('done')
    """)
        == "done"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_pool_of_its_own():
    assert (
        printed("""
        import warnings
        warnings.simplefilter("ignore")  # newer Pythons warn of any fork beside threads
        run, x, _ = product(calls=4)
        start = x.copy()
        run(3)
        expected = x.copy()

        def check():
            for threads in (3, 1, 2):
                x[...] = start
                assert run(threads) is None
                assert np.array_equal(x, expected)

        child = os.fork()
        if child == 0:
            check()
            runtime.set_num_threads(4)
            check()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        check()
        print("done")
    """)
        == "done"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_in_the_middle_of_a_plan():
    """The child of one thread must not wait for workers, or for a lock, that only the parent has."""
    assert (
        printed("""
        import warnings
        warnings.simplefilter("ignore")
        busy, *_ = product(n=200, seed=1)
        run, x, _ = product(calls=4)
        stop = False

        def keep_busy():
            while not stop:
                busy(2)

        thread = threading.Thread(target=keep_busy)
        thread.start()
        for _ in range(5):
            child = os.fork()
            if child == 0:
                for _ in range(3):
                    assert run(2) is None
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop = True
        thread.join()
        print("done")
    """)
        == "done"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_strands_nobody():
    assert (
        printed("""
        import signal
        run, x, _ = product(n=100, calls=10)
        start = x.copy()
        run(3)
        expected = x.copy()
        for delay in range(20):
            def interrupt():
                time.sleep(0.0003 * delay)
                os.kill(os.getpid(), signal.SIGINT)
            thread = threading.Thread(target=interrupt)
            try:
                thread.start()
                while True:
                    run(3)
            except KeyboardInterrupt:
                pass
            thread.join()
            x[...] = start
            assert run(3) is None
            assert np.array_equal(x, expected)
            status = run.compiled._launch(run.compiled._entry, run.address, run.arena, 3)
            assert status == runtime.OK  # the pool was given back
        print("done")
    """)
        == "done"
    )
