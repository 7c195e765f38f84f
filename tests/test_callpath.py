"""The short way through a call: it is taken, it gives way when something changes, and it is written again."""

import copy
import logging
import pickle
import threading

import numpy as np
import pytest
from twins import X, Y, net, patched, randn, state, training_step

import lampion as lp
from lampion import nn
from lampion.compiler import bind, callpath, function
from lampion.compiler.callpath import MISSED

A = randn(4, seed=2)


def plan_of(compiled):
    (plans,) = compiled.plans.values()
    (plan,) = plans
    return plan


def test_it_is_taken_from_the_third_call_on(monkeypatch):
    model = net()
    step = lp.compile(training_step(model, lp.optim.Adam(model.parameters())))
    step(X, Y)
    assert plan_of(step).direct is None  # many functions are called once
    step(X, Y)
    assert plan_of(step).direct is not None
    monkeypatch.setattr(bind.BoundPlan, "run", lambda *_: pytest.fail("the long way was taken"))
    step(X, Y)
    assert plan_of(step).calls == 3


def test_both_ways_leave_the_same():
    stories = []
    for shorten_after in (1, 10**9):
        with patched(bind, "SHORTEN_AFTER", shorten_after):
            lp.manual_seed(0)
            model = net(nn.BatchNorm1d(5), nn.Dropout(0.5))
            opt = lp.optim.AdamW(model.parameters(), amsgrad=True)
            step = lp.compile(training_step(model, opt))
            losses = [step(X, Y) for _ in range(4)]
            assert (plan_of(step).direct is None) is (shorten_after > 1)
            stories.append([losses, state(model, opt), lp.get_rng_state()])
    assert str(stories[0]) == str(stories[1])


def called(step, *args, **kwargs):
    """What the short way of the plan that was used last says to these arguments."""
    return step._direct(args, kwargs)


def test_what_it_looks_at_in_the_arguments():
    step = lp.compile(lambda x, k=1, *rest, **options: x * k)
    for _ in range(2):
        step(A, 2, [1, (None, "a")], mode={"b": 1.5})
    other = [1, (None, "a")]
    assert called(step, A + 1, 2, other, mode={"b": 1.5}) is not MISSED
    for args, kwargs in (
        ((A, 3, other), {"mode": {"b": 1.5}}),
        ((A, 2.0, other), {"mode": {"b": 1.5}}),
        ((A, True, other), {"mode": {"b": 1.5}}),
        ((A, 2, [1, (None, "b")]), {"mode": {"b": 1.5}}),
        ((A, 2, [1, [None, "a"]]), {"mode": {"b": 1.5}}),
        ((A, 2, [1, (None, "a"), 2]), {"mode": {"b": 1.5}}),
        ((A, 2, other), {"mode": {"b": -1.5}}),
        ((A, 2, other), {"mode": {"c": 1.5}}),
        ((A, 2, other), {}),
        ((A, 2), {"mode": {"b": 1.5}}),
        ((A[:3], 2, other), {"mode": {"b": 1.5}}),
        ((A.double(), 2, other), {"mode": {"b": 1.5}}),
        ((A.int(), 2, other), {"mode": {"b": 1.5}}),  # with the same strides
        ((lp.zeros(8)[::2], 2, other), {"mode": {"b": 1.5}}),
        ((nn.Parameter(A), 2, other), {"mode": {"b": 1.5}}),
        ((A.clone().requires_grad_(), 2, other), {"mode": {"b": 1.5}}),
        ((np.ones(4), 2, other), {"mode": {"b": 1.5}}),
        ((2, A, other), {"mode": {"b": 1.5}}),
    ):
        assert called(step, *args, **kwargs) is MISSED


def test_which_arguments_are_one_tensor():
    step = lp.compile(lambda a, b, c: a + b * c)
    for _ in range(2):
        step(A, A + 1, A + 2)
    assert called(step, A, A + 1, A + 5) is not MISSED
    for tensors in ((A, A, A + 1), (A, A + 1, A), (A + 1, A, A)):
        assert called(step, *tensors) is MISSED
        for _ in range(2):
            step(*tensors)
        assert called(step, *tensors) is not MISSED
    assert step.traces == 4


def test_it_is_written_again_when_what_it_is_bound_to_moves():
    model = net()
    step = lp.compile(training_step(model, lp.optim.SGD(model.parameters(), lr=0.1)))
    for _ in range(2):
        step(X, Y)
    for _ in range(20):  # not each time: where that goes on, the long way is cheaper
        model[0].weight.data = model[0].weight.data.clone()
        step(X, Y)
    assert step.traces == 1 and plan_of(step).direct is None and plan_of(step).writings == bind.MAX_WRITINGS
    eager = net()
    eager.load_state_dict(model.state_dict())
    other = training_step(eager, lp.optim.SGD(eager.parameters(), lr=0.1))
    lp.testing.assert_close(step(X, Y), other(X, Y))


def test_what_is_written_to_must_not_overlap_an_argument():
    w = lp.zeros(8)

    @lp.compile
    def step(x):
        w.add_(1)
        return x * 2

    for _ in range(2):
        step(lp.ones(8))
    direct = step._direct
    assert direct((lp.ones(8),), {}) is not MISSED
    for alias in (w, lp.from_numpy(w.numpy())):
        assert direct((alias,), {}) is MISSED
        assert step(alias).tolist() == (w * 2).tolist()


def test_what_is_written_to_must_not_overlap_a_part_of_an_argument():
    w = lp.arange(8.0)
    step = lp.compile(lambda x: (w.add_(1), x * 2)[1])
    for _ in range(2):
        step(lp.ones(4))
    assert called(step, lp.ones(4)) is not MISSED
    for part in (w.numpy()[:4], w.numpy()[-4:]):
        alias = lp.from_numpy(part)
        assert called(step, alias) is MISSED
        assert step(alias).tolist() == (alias * 2).tolist()


def test_an_error_in_a_kernel_changes_nothing():
    table, count = randn(5, 3, requires_grad=True), lp.zeros(())

    @lp.compile
    def step(index):
        count.add_(1)
        loss = table[index].sum()
        table.grad = None
        loss.backward()
        return loss

    good, bad = lp.tensor([0, 4, 2]), lp.tensor([0, 5, 2])
    for _ in range(3):
        step(good)
    assert step._direct is not None
    grad = table.grad
    with pytest.raises(IndexError):
        step(bad)
    assert count.item() == 3 and table.grad is grad
    step(good)
    assert count.item() == 4


def test_values_that_are_equal_and_not_the_same_are_no_miss():
    class Settings:
        def __init__(self):
            self.k, self.names = 2.0, ["a", "b"]

    settings = Settings()
    step = lp.compile(lambda x: x * settings.k + len(settings.names[0]))
    for _ in range(2):
        step(A)
    settings.k = float("2.0")
    settings.names[0] = "".join(["", "a"])
    assert called(step, A) is not MISSED


def test_the_code_can_be_read():
    step = lp.compile(lambda x: x * 2)
    for _ in range(2):
        step(A)
    assert step._direct.__doc__.startswith("def call(args, kwargs):\n    try:\n        if not (\n")
    assert callpath.__doc__ is not None and "def call(args, kwargs):" in callpath.__doc__


# -- the cache of plans, and what is said about it ---------------------------------------------------------


def test_the_plan_that_was_not_used_for_longest_goes(caplog):
    caplog.set_level(logging.INFO, "lampion.compile")
    step = lp.compile(lambda x: x * 2)
    with patched(function, "MAX_PLANS", 3):
        for n in (1, 2, 3):
            step(lp.ones(n))
        step(lp.ones(1))  # so 2 is the oldest
        step(lp.ones(4))
        assert sum(map(len, step.plans.values())) == 3 and step.traces == 4
        for n in (1, 3, 4):
            step(lp.ones(n))
        assert step.traces == 4
        step(lp.ones(2))
        assert step.traces == 5 and sum(map(len, step.plans.values())) == 3
    assert "more than 3 specialisations" in caplog.text


REASONS = [
    (lambda x: {"x": x[:3]}, "shape of `x` changed from (4,) to (3,)"),
    (lambda x: {"x": x.double()}, "dtype of `x` changed from float32 to float64"),
    (lambda x: {"x": lp.zeros(4, 2)[:, 0]}, "strides of `x` changed from (4,) to (8,)"),
    (lambda x: {"x": x.clone().requires_grad_()}, "requires_grad of `x` changed from False to True"),
    (lambda x: {"k": 3}, "`k` changed from 2 to 3"),
    (lambda x: {"k": 2.5}, "`k` changed from 2 to 2.5"),
    (lambda x: {"k": x}, "`k` was replaced by something else"),
    (lambda x: {"options": {"a": [1, "y"]}}, "`options['a'][1]` changed from 'x' to 'y'"),
    (lambda x: {"options": {"b": [1, "x"]}}, "nested in another way"),
]


@pytest.mark.parametrize(("change", "words"), REASONS, ids=[words for _, words in REASONS])
def test_the_log_names_the_argument_that_changed(change, words, caplog):
    caplog.set_level(logging.INFO, "lampion.compile")
    step = lp.compile(lambda x, k, options: x * k)
    given = {"x": A.clone(), "k": 2, "options": {"a": [1, "x"]}}
    step(*given.values())
    step(*{**given, **change(A)}.values())
    assert step.traces == 2 and words in caplog.text


def test_the_log_names_what_was_read_and_where(caplog):
    caplog.set_level(logging.INFO, "lampion.compile")
    scale = 2.0

    def multiply(x):
        return x * scale

    step = lp.compile(multiply)
    step(A)
    scale = 3.0
    step(A)
    line = multiply.__code__.co_firstlineno + 1
    assert f"closure variable `scale` changed from 2.0 to 3.0 ({__file__}:{line})" in caplog.text
    lp.set_default_dtype(lp.float64)
    try:
        step(A)
    finally:
        lp.set_default_dtype(lp.float32)
    assert "the default dtype changed from lampion.float32 to lampion.float64" in caplog.text


# -- threads, copies, recursion ---------------------------------------------------------------------------


def test_threads_that_call_one_function_record_it_once_for_each_shape():
    w = randn(3, requires_grad=True)
    step = lp.compile(lambda x: (x * w).sum() * x)
    wrong = []

    def work(seed):
        with lp.no_grad():
            for i in range(40):
                x = lp.full(((i + seed) % 4 + 1, 3), float(seed + i))
                if not np.allclose(step(x).numpy(), ((x * w).sum() * x).numpy(), 1e-5):
                    wrong.append((seed, i))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and step.refused is None and step.traces == 4


def test_a_thread_may_run_eagerly_while_another_records():
    w, inside, done = randn(4), threading.Event(), threading.Event()
    seen = []

    def slow(x):
        return x * w + 1

    def look(*_):
        inside.set()
        assert done.wait(20)
        return original(*_)

    original = function.Finisher.finish
    step = lp.compile(slow)
    recording = threading.Thread(target=lambda: seen.append(step(A)))
    with patched(function.Finisher, "finish", look):
        recording.start()
        assert inside.wait(20)
        expected = A * w + 1  # while the other thread is in the middle of its recording
        done.set()
        recording.join()
    assert seen[0].tolist() == expected.tolist()


def doubled(x):
    return x * 2


named = lp.compile(doubled)


@lp.compile
def decorated(x):
    return x * 3


def test_copies_record_anew():
    for compiled, factor in ((named, 2), (decorated, 3)):
        for _ in range(3):
            compiled(A)
        for duplicate in (copy.copy(compiled), copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
            assert duplicate(A).tolist() == (A * factor).tolist()
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    assert copy.copy(lp.compile(doubled)).plans == {}


def test_recursion_and_nesting():
    @lp.compile
    def power(x, n):
        return x if n == 0 else x * power(x, n - 1)

    for n in (3, 3, 3, 2, 3):
        lp.testing.assert_close(power(A, n), A ** (n + 1))
    assert power.traces == 2


def test_a_value_that_is_another_at_each_call_ends_in_eager_runs():
    class Model:
        temperature = 1.0

    model = Model()
    step = lp.compile(lambda x: x / model.temperature)
    with patched(function, "MAX_TOPIC", 3), pytest.warns(RuntimeWarning, match="because of one value"):
        for k in range(1, 6):
            model.temperature = float(k)
            assert step(A).tolist() == (A / k).tolist()
    assert step.traces == 4


def test_many_shapes_are_no_reason_to_give_up():
    step = lp.compile(lambda x: x * 2)
    with patched(function, "MAX_TOPIC", 3):
        for n in range(1, 7):
            assert step(lp.ones(n)).tolist() == [2.0] * n
    assert step.refused is None and step.traces == 6
