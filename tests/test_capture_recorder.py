"""Capture: arguments, the core, exceptions, the hooks, and the guards themselves."""

from __future__ import annotations

import contextlib
import gc
import math
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import capture_core as core
import numpy as np
import pytest
from capture_core import Tensor, no_grad
from capture_harness import Module, World, capture, guarded, recorder, refused, true_stacks

from lampion.compiler.capture import CaptureError, Guards, Recorder, default_trusted, trusted
from lampion.compiler.capture.guards import Note
from lampion.compiler.capture.opcodes import HANDLERS
from lampion.compiler.capture.policy import made_in_python, same

X = Tensor(2, 3)
SCALE = 2.0


@pytest.fixture(autouse=True)
def compared() -> Iterator[Any]:
    with true_stacks() as count:
        yield count


class Config:
    width = 1

    def __init__(self) -> None:
        self.width = 3

    def run(self, x: Any) -> Any:
        return x * self.width


# ---- arguments and the core -----------------------------------------------------------------------------


def test_arguments_are_the_callers_affair_but_not_what_hangs_on_them() -> None:
    def step(batch: dict[str, Any], options: Config) -> Any:
        return batch["items"][0] * options.width

    batch, options = {"items": [1, 2]}, Config()
    guards = guarded(step, batch, options)
    batch["items"][0] = 5
    assert guards.check() is None
    options.width = 4
    assert "`width` of Config changed from 3 to 4" in str(guards.check())


@pytest.mark.parametrize("change", [lambda s: s.add(9), lambda s: s.discard(1)])
def test_an_argument_that_is_no_tree_is_guarded_by_its_contents(change: Any) -> None:
    options = {1, 2}
    guards = guarded(lambda x, options: x * (1 in options), X, options)
    change(options)
    assert "an argument, a set," in str(guards.check())


@pytest.mark.parametrize(
    ("code", "args"),
    [
        ("lambda x, batch: batch.append(1)", ([1],)),
        ("lambda x, batch: batch['a'].append(1)", ({"a": [1]},)),
        ("lambda x, batch: batch.update(a=1)", ({"a": 1},)),
        ("lambda x, array: array + 1", (np.ones(3),)),
        ("lambda x, array: x if array.shape[0] == 3 and array[0] > 0 else None", (np.ones(3),)),
        ("lambda x, array: x * float(array)", (np.ones(1),)),
        ("lambda x, arrays: x * sum(arrays)", ([np.ones(1)],)),
        ("lambda x, numbers: next(numbers)", (iter([1]),)),
    ],
)
def test_arguments_are_not_changed_and_arrays_not_looked_into(code: str, args: tuple[Any, ...]) -> None:
    refused(World().function(code)(X), X, *args, line=None)


def test_shape_of_an_array_argument_may_be_read() -> None:
    result, _ = capture(lambda x, a: x.shape[0] * a.shape[0] + a.ndim, X, np.ones(3))
    assert result == 7


def test_attributes_of_tensors_are_reported_not_guarded() -> None:
    reads = []
    with recorder(on_own_read=lambda obj, name: reads.append((obj, name))) as rec:
        rec.run(lambda x: (x.shape, x.grad, x.relu()), X)
    assert reads == [(X, "shape"), (X, "grad")]
    X.grad = Tensor(1)
    assert rec.guards.check() is None
    X.grad = None


def test_a_read_is_guarded_once() -> None:
    def loop(x: Any) -> Any:
        for _ in range(10):
            x = x * SCALE
        return x

    assert len(guarded(loop, X)) < 8


def test_core_calls_back_into_user_code() -> None:
    offset = [1.0]

    def inner(x: Any, k: float = 2.0) -> Any:
        return x * k * SCALE + offset[0]

    guards = guarded(lambda x: core.apply(inner, x), X)
    offset[0] = 2.0
    assert "`offset`[0] changed from 1.0 to 2.0" in str(guards.check())
    offset[0] = 1.0
    inner.__defaults__ = (3.0,)
    assert "function" in str(guards.check())


def test_closures_that_look_alike_are_all_guarded() -> None:
    old: list[Any] = []  # closures of earlier calls that are still alive

    def step(x: Any, k: float) -> Any:
        inner = [lambda v: v * k]
        old.extend(inner) if not old else None
        return core.apply(inner[0], x)

    step(X, SCALE)
    assert len(guarded(step, X, SCALE)) > 0


def test_trusted_functions_run_unwatched() -> None:
    log: list[Any] = []

    @trusted
    def quiet(x: Any) -> Any:
        log.append(x)
        return x

    result, _ = capture(lambda x: quiet(x), X)
    assert result is X
    assert log == [X]


# ---- refusals and exceptions -------------------------------------------------------------------------------


def test_an_error_says_what_where_and_what_to_do() -> None:
    error = refused(World().function("plain.k = 2"), X)
    assert str(error).startswith("attribute `k` of Plain is set (row.py:2); only Tensors")
    assert (error.reason, error.filename, error.lineno) == ("attribute `k` of Plain is set", "row.py", 2)


def test_an_error_in_a_library_names_the_users_line() -> None:
    error = refused(World().function("y = x\nz = random.randint(1, 2)"), X, line=3)
    assert "in Random.rand" in error.reason


CATCHING = [
    ("try:\n    LOG.append(1)\nexcept Exception:\n    pass", 3),
    ("try:\n    LOG.append(1)\nexcept:\n    pass", 3),
    ("try:\n    LOG.append(1)\nexcept ValueError:\n    LOG.append(2)\nfinally:\n    y = x", 3),
    ("with core.no_grad(), managed(1.0):\n    with core.no_grad():\n        LOG.append(1)", 4),
    ("with core.no_grad():\n    try:\n        LOG.append(1)\n    finally:\n        core.relu(x)", 4),
    ("try:\n    {}['a']\nexcept KeyError:\n    LOG.append(1)", 4),
    ("try:\n    raise ValueError\nexcept (TypeError, ValueError) as error:\n    LOG.append(1)", 4),
    ("try:\n    int('a')\nexcept ValueError:\n    LOG.append(1)", 4),
    ("with contextlib.suppress(KeyError):\n    {}['a']\nLOG.append(1)", 2),
    ("def inner():\n    try:\n        int('a')\n    except ValueError:\n        LOG.append(1)\ninner()", 5),
    ("for i in [1]:\n    try:\n        int('a')\n    except ValueError:\n        break\nLOG.append(1)", 5),
]


@pytest.mark.parametrize(("code", "line"), CATCHING, ids=range(len(CATCHING)))
def test_what_is_caught_ends_the_capture_and_what_is_open_is_closed(code: str, line: int) -> None:
    world = World()
    error = refused(world.function(code), X, line=line)
    assert world.space["LOG"] == []
    assert no_grad.entered == 0
    assert ("list.append" in error.reason) != ("an exception is caught" in error.reason)


class Boom(Exception):
    pass


def explodes(x: Any) -> Any:
    with no_grad():
        for _ in [1]:
            try:
                raise Boom("a")
            finally:
                x = core.relu(x)


def explodes_below(x: Any) -> Any:
    with contextlib.nullcontext():
        return [v for v in map(lambda i: explodes(x), [1])]


def asks_value(x: Any) -> Any:
    with no_grad():
        return x if x.sum() > 0 else None


def finds_nothing(x: Any) -> Any:
    return {"a": x}["b"]


@pytest.mark.parametrize(
    ("fn", "kind"),
    [
        (explodes, Boom), (explodes_below, Boom), (asks_value, core.Refused), (float, core.Refused),
        (finds_nothing, KeyError), (lambda x: x.no_such, AttributeError), (lambda x: no_such, NameError),  # noqa: F821
        (lambda x: next(iter([])), StopIteration), (lambda x: 1 / 0, ZeroDivisionError),
        (lambda x: [][1], IndexError), (lambda x: math.sqrt(-1), ValueError),
    ],
)  # fmt: skip
def test_exceptions_pass_unchanged_and_the_hooks_are_put_back(fn: Any, kind: type[Exception]) -> None:
    def hook(frame: Any, event: str, arg: Any) -> Any:
        return None

    previous = sys.gettrace(), sys.getprofile()
    sys.settrace(hook)
    sys.setprofile(hook)
    try:
        with pytest.raises(kind) as caught, recorder() as rec:
            rec.run(lambda x: fn(x), X)
        assert (sys.gettrace(), sys.getprofile()) == (hook, hook)
    finally:
        sys.settrace(previous[0])
        sys.setprofile(previous[1])
    assert type(caught.value) is kind
    assert no_grad.entered == 0


def test_the_hooks_are_put_back_after_success() -> None:
    events: list[str] = []

    def hook(frame: Any, event: str, arg: Any) -> Any:
        events.append(frame.f_code.co_name)
        return None

    previous = sys.gettrace()
    sys.settrace(hook)
    try:
        capture(asks_nothing, X)
        assert sys.gettrace() is hook
        explain_nothing(X)
    finally:
        sys.settrace(previous)
    assert "explain_nothing" in events
    assert "asks_nothing" not in events


def asks_nothing(x: Any) -> Any:
    return x


def explain_nothing(x: Any) -> Any:
    return x


def test_a_read_that_the_core_changes_is_noticed() -> None:
    state = {"k": 1}

    @trusted
    def change() -> None:
        state["k"] += 1

    said = r"changes what it reads: .*\['k'\] changed from 1 to 2"
    with pytest.raises(CaptureError, match=said), recorder() as rec:
        rec.run(lambda x: (state["k"], change()), X)


# ---- the recorder itself -----------------------------------------------------------------------------------


def test_a_recorder_runs_one_function_at_a_time() -> None:
    trust = (*default_trusted(), core.__file__)
    with Recorder(trusted=trust) as rec, pytest.raises(CaptureError, match="already running"):
        rec.run(lambda x: core.apply(rec.run, asks_nothing, x), X)


def test_other_threads_go_on_unwatched() -> None:
    stop, log = threading.Event(), [0]

    def work() -> None:
        while not stop.is_set():
            log[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            capture(asks_nothing, X)
    finally:
        stop.set()
        thread.join()
    assert log[0] > 0


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr("lampion.compiler.capture.opcodes._decoded", {})
    return monkeypatch


def test_a_mistake_of_captures_own_is_a_refusal(undecoded: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> Any:
        raise KeyError("inside")

    undecoded.setitem(HANDLERS, "BINARY_OP", broken)
    with pytest.raises(CaptureError, match="capture failed: KeyError"):
        capture(lambda x: x + 1, X)


def test_an_unknown_instruction_is_a_refusal(undecoded: pytest.MonkeyPatch) -> None:
    undecoded.delitem(HANDLERS, "BINARY_OP")
    with pytest.raises(CaptureError, match="the instruction BINARY_OP cannot be followed"):
        capture(lambda x: x + 1, X)


def test_losing_track_is_a_refusal(undecoded: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture_harness.compare", lambda m: None)  # what a user's run does without
    undecoded.setitem(HANDLERS, "BINARY_OP", lambda m, ins, taken: (1234,))
    with pytest.raises(CaptureError, match="lost track of the program at STORE_FAST"):
        capture(lambda x: [y := SCALE + 1, y], X)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(enabled: bool) -> None:
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        capture(asks_nothing, X)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_nothing_is_kept_alive() -> None:
    class Big(Tensor):
        pass

    with recorder() as rec:
        alive = weakref.ref(rec.run(lambda: Big(1)))
    gc.collect()
    assert alive() is None


def test_deep_call_chains() -> None:
    def recursion(x: Any, depth: int) -> Any:
        return x if depth == 0 else recursion(x, depth - 1) + depth

    result, _ = capture(recursion, X, 150)
    assert isinstance(result, Tensor)


# ---- guards ------------------------------------------------------------------------------------------------

CONFIG, OTHER = Config(), Config()


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1, 1, True), (1, True, False), (1, 1.0, False), (0.0, -0.0, False), (math.nan, float("nan"), True),
        (math.nan, 1.0, False), (1j, complex(0, 1), True), (complex(0.0, 1), complex(-0.0, 1), False),
        ("a", "a" * 1, True), (b"a", b"b", False), ((1, (2.0,)), (1, (2.0,)), True), ((1,), (1.0,), False),
        ((1,), (1, 2), False), (slice(1, 2), slice(1, 2), True), (range(0), range(1, 1), False),
        (None, 0, False), (np.float32(1), np.float32(1), True), (np.float32(1), np.float64(1), False),
        (np.int64(1), 1, False), (np.float32("nan"), np.float32("nan"), True), ([1], [1], False),
        (np.dtype("f4"), np.dtype("float32"), True), (CONFIG.run, CONFIG.run, True), (..., ..., True),
        (CONFIG.run, OTHER.run, False), (2**70, 2**70, True), (frozenset({1}), frozenset({1}), True),
        ((X,), (X,), True), ((X,), (Tensor(),), False),
    ],
)  # fmt: skip
def test_same(a: Any, b: Any, equal: bool) -> None:
    assert same(a, b) is equal
    assert same(b, a) is equal


def test_guards_can_be_listed() -> None:
    guards = guarded(lambda x: x * SCALE, X)
    assert any("global `SCALE`" in line and __file__ in line for line in guards.explain())


def test_classes_made_in_python_are_told_from_those_of_c() -> None:
    assert all(map(made_in_python, (Config, Module, Boom, type("T", (), {}))))
    assert not any(map(made_in_python, (list, np.ndarray, threading.local, types.SimpleNamespace)))


def test_a_check_costs_little() -> None:
    guards = Guards()
    spaces = [{f"k{i}": float(i) for i in range(10)} for _ in range(100)]
    for space in spaces:
        for key, value in space.items():
            guards.entry(space.get, space, key, value, Note(key, "file", 1))
    assert len(guards) == 1000
    best = min(_timed(guards.check) for _ in range(20))
    assert best / len(guards) < 2e-6  # about 4e-8 on an idle machine


def _timed(fn: Callable[[], Any]) -> float:
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start
