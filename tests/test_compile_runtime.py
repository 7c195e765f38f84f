"""Around compiled calls: errors in the middle, threads, memory, copies, what is logged and explained."""

import copy
import gc
import pickle
import sys
import threading
import tracemalloc
import warnings
import weakref

import numpy as np
import pytest
from twins import Table, X, Y, check, error_of, net, randn, state, training_step

import lampion as lp
from lampion import nn
from lampion.errors import GradientError, IndexRangeError, OverwrittenError, ShapeError
from lampion.mode import mode
from lampion.nn import functional as F

table = Table()


def describe(error):
    """An exception, with nothing that differs from run to run."""
    return type(error).__name__, str(error)


# -- errors ------------------------------------------------------------------------------------------------


@table
def a_label_out_of_range(compile, note):
    model = net(nn.Dropout(0.3))
    optimizer = lp.optim.Adam(model.parameters(), lr=0.01)
    train = training_step(model, optimizer)
    step = compile(train)
    step(X, Y)
    kept = lp.get_rng_state()
    for bad in (3, -1, 2**40):
        before = copy.deepcopy([p.detach() for p in model.parameters()])
        counters = optimizer.state_dict()
        labels = Y.clone()
        labels[4] = bad
        note(*describe(error_of(step, X, labels)))
        unchanged = all((p.detach() == q).all() for p, q in zip(model.parameters(), before, strict=True))
        note(unchanged, counters, optimizer.state_dict())
        lp.set_rng_state(kept)  # eager has drawn its mask before it found the label
        model.zero_grad()
        note(step(X, Y), state(model, optimizer))
        kept = lp.get_rng_state()


@table
def nothing_is_written_before_all_labels_are_checked(compile, note):
    weight, rows = lp.ones(3, 4, requires_grad=True), randn(5, 4)
    buffer = lp.zeros(3, 4)

    @compile
    def step(x, i):
        with lp.no_grad():
            buffer.add_(x)
            scaled = weight * x
            picked = rows.index_select(0, i)
            weight.mul_(0.5)
            x.add_(1)
        return scaled.sum() + picked.sum()

    note(step(lp.ones(3, 4), lp.tensor([0, 4])))
    x = lp.ones(3, 4)
    error = error_of(step, x, lp.tensor([0, 5]))
    assert isinstance(error, IndexRangeError)
    note(describe(error), weight)
    if compile.really:  # eager has changed the buffer by now; a plan changes all or nothing
        assert (buffer == 1).all() and (x == 1).all()
    buffer.fill_(1.0)
    note(step(lp.ones(3, 4), lp.tensor([1, 2])), buffer.tolist())


@table
def scatter_out_of_range(compile, note):
    step = compile(lambda x, i: lp.zeros(4).scatter_add(0, i, x))
    note(step(lp.ones(3), lp.tensor([0, 3, 3])))
    for bad in (4, -2):
        note(*describe(error_of(step, lp.ones(3), lp.tensor([0, bad, 1]))))
    note(step(lp.ones(3), lp.tensor([1, 1, 1])))


def test_errors_while_recording_leave_everything_as_it_was():
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    step = lp.compile(training_step(model, optimizer))

    @lp.compile
    def stumble(x, y, how):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        with lp.no_grad():
            model[0].weight.mul_(2)
        if how == "twice":
            loss.backward()
        elif how == "overwritten":
            hidden = model[0].weight * 2
            square = (hidden * hidden).sum()
            with lp.no_grad():
                hidden.add_(1)
            square.backward()
        elif how == "shape":
            return model(x) @ model(x)
        raise ZeroDivisionError(how)

    step(X, Y)
    before = _all(model, optimizer)
    expected = {
        "twice": GradientError,
        "overwritten": OverwrittenError,
        "shape": ShapeError,
        "": ZeroDivisionError,
    }
    for how, kind in [*expected.items(), *expected.items()]:
        with pytest.raises(kind):
            stumble(X, Y, how)
        assert _all(model, optimizer) == before
        assert mode.trace is None and lp.is_grad_enabled()
        assert sys.gettrace() is None and sys.getprofile() is None and gc.isenabled()
    with pytest.raises(ShapeError):
        step(X[:, :2], Y)
    assert _all(model, optimizer) == before
    step(X, Y)
    assert _all(model, optimizer) != before


def _all(model, optimizer):
    parts = [*model.parameters(), *(p.grad for p in model.parameters())]
    seen = [t if t is None else (t.tolist(), t._version[0], t.requires_grad) for t in parts]
    return seen, str(optimizer.state)


def test_errors_are_those_of_eager():
    def messages(step):
        calls = [
            lambda: step(lp.ones(2, 3), lp.ones(3)), lambda: step(lp.ones(2, 3), lp.ones(4, 2)),
            lambda: step(lp.ones(2), 3), lambda: step(lp.ones(2)),
        ]  # fmt: skip
        return [describe(error_of(call)) for call in calls]

    def product(x, y):
        return (x @ y.T).reshape(2, 2, 2)

    assert messages(lp.compile(product)) == messages(product)


def test_interrupted_recording_is_undone():
    weight = lp.ones(3, requires_grad=True)

    @lp.compile
    def step(x):
        (weight * x).sum().backward()
        if ring:
            raise KeyboardInterrupt

    ring = True
    with pytest.raises(KeyboardInterrupt):
        step(lp.ones(3))
    assert weight.grad is None and mode.trace is None and sys.gettrace() is None
    ring = False
    step(lp.ones(3))
    assert weight.grad.tolist() == [1, 1, 1]


def test_one_warning_however_often_it_is_called():
    step = lp.compile(lambda x: x.sum().item())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [step(lp.ones(n)) for n in (1, 2, 3)] == [1, 2, 3]
    assert len(caught) == 1 and "test_compile_runtime.py" in str(caught[0].message)
    assert caught[0].filename == __file__  # stacklevel: the call, not Lampion's own line
    assert "runs eagerly" in str(step.explain()) and step.explain().fallbacks == 1


# -- threads -------------------------------------------------------------------------------------------------


@pytest.fixture
def threads():
    before = lp.get_num_threads()
    yield lp.set_num_threads
    lp.set_num_threads(before)


def _train(width=256, rows=64):
    lp.manual_seed(1)
    model = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(2 * width, 10))
    optimizer = lp.optim.Adam(model.parameters(), lr=0.001)
    step = lp.compile(training_step(model, optimizer))
    x, y = randn(rows, width, seed=3), lp.tensor(np.arange(rows) % 10)
    losses = [step(x, y).item() for _ in range(3)]
    kept = [p.detach().numpy().tobytes() for p in model.parameters()]
    return losses, kept, [p.grad.numpy().tobytes() for p in model.parameters()]


def test_the_number_of_threads_changes_no_bit(threads):
    results = []
    for count in (1, 2, 3, 8):
        threads(count)
        results.append(_train())
    assert all(result == results[0] for result in results[1:])


def test_python_threads_call_at_once(threads):
    threads(2)
    weight = randn(64, 64)
    shared = lp.compile(lambda x: (x @ weight).tanh().sum(0))
    inputs = [randn(32, 64, seed=n) for n in range(4)]
    expected = [shared(x).tolist() for x in inputs]
    failures = []

    def work(number):
        try:
            own = lp.compile(lambda x: (x @ weight).tanh().sum(0) * number)
            for turn in range(20):
                x = inputs[(number + turn) % 4]
                if shared(x).tolist() != expected[(number + turn) % 4]:
                    failures.append(f"shared, {number}, {turn}")
                if not (own(x) == shared(x) * number).all():
                    failures.append(f"own, {number}, {turn}")
        except BaseException as error:
            failures.append(repr(error))

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_python_threads_train_models_of_their_own(threads):
    threads(2)
    alone = [_train_small(seed) for seed in range(3)]
    together = [None] * 3

    def work(seed):
        together[seed] = _train_small(seed)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert together == alone


def _train_small(seed):
    model = net()
    with lp.no_grad():
        for number, p in enumerate(model.parameters()):
            p.copy_(randn(*p.shape, seed=seed + number))
    step = lp.compile(training_step(model, lp.optim.Adam(model.parameters(), lr=0.01)))
    return [step(X, Y).item() for _ in range(5)], [p.tolist() for p in model.parameters()]


# -- memory ------------------------------------------------------------------------------------------


def test_memory_stays_flat():
    model = net(nn.Dropout(0.1))
    optimizer = lp.optim.Adam(model.parameters(), lr=0.001)
    step = lp.compile(training_step(model, optimizer))
    for _ in range(10):
        step(X, Y)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(200):
            step(X, Y)
        gc.collect()
        before, objects = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
        for _ in range(2000):
            step(X, Y)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 4000 and len(gc.get_objects()) - objects < 50


def test_the_result_keeps_nothing_alive():
    model = net()
    step = lp.compile(training_step(model, lp.optim.SGD(model.parameters(), lr=0.1)))
    step(X, Y)
    loss = step(X, Y)
    big = randn(6, 4)
    gone = weakref.ref(big)
    other = step(big, Y)
    del big
    assert gone() is None  # nor does the plan
    step(X, Y)
    big = randn(6, 4)
    gone = weakref.ref(big._array)
    step(big, Y)
    del big
    assert gone() is None
    assert loss.grad_fn.next_functions == () and loss.grad_fn.saved is None and other.grad_fn.saved is None
    assert not gc.get_referents(loss._array)


def test_plans_of_few_shapes_are_kept():
    step = lp.compile(lambda x: x * 2)
    for rows in range(1, 40):
        assert step(lp.ones(rows)).tolist() == [2.0] * rows
    assert sum(map(len, step.plans.values())) <= 16
    traces = step.traces
    step(lp.ones(39))
    assert step.traces == traces
    assert step(lp.ones(1)).tolist() == [2.0]


# -- copies ------------------------------------------------------------------------------------------


def test_models_and_optimizers_are_copied_and_pickled():
    model = net()
    optimizer = lp.optim.Adam(model.parameters(), lr=0.01)
    step = lp.compile(training_step(model, optimizer))
    step(X, Y)
    both = copy.deepcopy((model, optimizer))
    assert [p.tolist() for p in both[0].parameters()] == [p.tolist() for p in model.parameters()]
    assert both[1].param_groups[0]["params"][0] is next(iter(both[0].parameters()))
    values = pickle.loads(pickle.dumps({k: v.numpy() for k, v in model.state_dict().items()}))
    assert all((values[k] == v.numpy()).all() for k, v in model.state_dict().items())
    kept = [p.tolist() for p in both[0].parameters()]
    step(X, Y)
    assert [p.tolist() for p in both[0].parameters()] == kept


def test_functions_keep_their_name_and_doc():
    @lp.compile
    def step(x):
        """Double it."""
        return x * 2

    assert (step.__name__, step.__doc__) == ("step", "Double it.")
    assert "step" in repr(step) and "not called yet" in str(step.explain())
    step(lp.ones(2))
    assert step.explain().callouts == 0 and step.explain().fallbacks == 0


@pytest.mark.parametrize("scenario", table.params())
def test_error(scenario):
    check(scenario)
