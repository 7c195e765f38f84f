"""Forks while another thread is inside of the library: the child must not wait for that thread."""

import os
import subprocess
import sys
import textwrap
import threading

import pytest

import lampion
from lampion import forks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# One thread loops, the other forks; a child that hangs is ended by its alarm, which is its exit status then.
_PROGRAM = """
import os, signal, threading, warnings
import lampion

warnings.simplefilter("ignore")  # newer Pythons warn of any fork beside threads
{setup}
expected = act()
rounds, stop = 0, False

def loop():
    global rounds
    while not stop:
        act()
        rounds += 1

thread = threading.Thread(target=loop)
thread.start()
statuses = []
for _ in range(8):
    before = rounds
    while rounds < before + 2:
        pass
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if act() == expected else 1)
    statuses.append(os.waitpid(child, 0)[1])
stop = True
thread.join()
print(statuses)
"""

_SETUPS = {
    "compiled": """
x = lampion.randn(256, 256)
double = lampion.compile(lambda x: (x @ x).sum())
act = lambda: double(x).item()
""",
    "backward of compiled": """
x = lampion.randn(64, 64).requires_grad_()
double = lampion.compile(lambda x: (x @ x).sum())

def act():
    (grad,) = lampion.autograd.grad(double(x), x)
    return grad.sum().item()
""",
    "compiling": """
x = lampion.randn(8)

def act():
    n = 3
    return lampion.compile(lambda x: (x * n).sum())(x).item()
""",
    "eager convolution": """
from lampion import primitive
primitive.HEAVY = 1
x, w = lampion.randn(4, 8, 32, 32), lampion.randn(8, 8, 3, 3)
act = lambda: lampion.nn.functional.conv2d(x, w).sum().item()
""",
}


@pytest.mark.parametrize("what", _SETUPS)
def test_a_child_goes_on_where_another_thread_was_inside(what):
    pytest.importorskip("llvmlite", reason="without llvmlite there are no plans")
    program = _PROGRAM.format(setup=textwrap.dedent(_SETUPS[what]))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100,
        env={**os.environ, "PYTHONPATH": ROOT, "LAMPION_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([0] * 8)


def test_a_held_lock_is_a_new_one_in_the_child():
    pytest.importorskip("llvmlite", reason="without llvmlite there are no plans")
    double = lampion.compile(lambda x: x + x)
    x = lampion.ones(2)
    for _ in range(4):  # by now by the short way
        double(x)
    (plan,) = (plan for plans in double.plans.values() for plan in plans)
    held = plan.lock
    with held:  # as if another thread, which the child does not have, had it
        forks._before()
        forks._in_child()
        assert plan.lock is not held
        assert double(x).tolist() == [2.0, 2.0]


def test_a_fork_waits_for_what_must_not_be_seen_half_way():
    """The child of a fork in the middle of a trace would keep what is exchanged for the time of a trace."""
    from lampion.compiler import function

    held, go, order = threading.Event(), threading.Event(), []

    def inside():
        with function._tracing:
            held.set()
            go.wait(20)
            order.append("out")

    thread = threading.Thread(target=inside)
    thread.start()
    held.wait(20)
    threading.Timer(0.05, go.set).start()
    child = os.fork()
    if child == 0:
        os._exit(0)
    order.append("forked")
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert order == ["out", "forked"]
