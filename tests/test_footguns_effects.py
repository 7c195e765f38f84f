"""Effects that a recorded step cannot have: the function runs as it is, and a warning names the line."""

import collections
import contextlib
import copy
import functools
import random
import threading
import time
import types

import numpy as np
import pytest
from twins import Table, X, Y, check, net, randn, state

import lampion as lp
from lampion import nn
from lampion.nn import functional as F

table = Table()
A, B = randn(4, seed=2), randn(4, seed=3)
FACTOR = 2.0
SETTINGS = {"scale": 2.0, "deep": {"names": ["a", "b"]}}


class Holder:
    """Something with attributes."""

    shared = 2.0

    def __init__(self):
        self.k = 2.0
        self.items = [1.0, 2.0]
        self.seen = 0

    @property
    def twice(self):
        return self.k * 2

    def scale(self, x):
        return x * self.k


# -- effects: the function runs as it is -------------------------------------------------------------


def effect(function=None, **options):
    """A scenario of one function that has to run eagerly: it is called three times."""
    if function is None:
        return lambda function: effect(function, **options)

    def scenario(compile, note):
        box = types.SimpleNamespace(
            items=[], table={}, count=0, numbers=iter(range(100)), names=set(), array=np.arange(4.0), k=1.0,
            generator=(n for n in range(100)), queue=collections.deque(), lock=threading.Lock(),
        )  # fmt: skip
        step = compile(functools.partial(function, box)) if options.get("partial") else compile(function)
        np.random.seed(0)
        random.seed(0)
        for seed in range(3):
            note(step(box, randn(4, seed=seed)))
            note(box.items, box.table, box.count, sorted(box.names), list(box.queue))
            note(box.array.tolist(), box.k)
            box.array += 1
            box.k += 1
            lp.set_grad_enabled(True)

    scenario.__name__ = function.__name__
    scenario.__wrapped__ = function  # inspect shows this one's lines
    table(scenario, eager=True)
    return function


@effect
def counts(box, x):
    box.count += 1  # HERE
    return x * 2


@effect
def appends(box, x):
    box.items.append(x.shape[0])  # HERE
    return x * 2


@effect
def adds_to_a_list(box, x):
    box.items += [1]  # HERE
    return x * 2


@effect
def stores_in_a_dict(box, x):
    box.table["last"] = x.shape[0]  # HERE
    return x * 2


@effect
def stores_a_tensor(box, x):
    box.last = x * 2  # HERE
    return box.last


@effect
def adds_to_a_set(box, x):
    box.names.add(str(x.ndim))  # HERE
    return x * 2


@effect
def deletes(box, x):
    box.extra = 1
    del box.extra  # HERE
    return x * 2


@effect
def appends_left(box, x):
    box.queue.appendleft(1)  # HERE
    return x * 2


@effect
def takes_from_an_iterator(box, x):
    return x * next(box.numbers)  # HERE


@effect
def takes_from_a_generator(box, x):
    for n in box.generator:  # HERE
        return x * n
    return None


@effect
def reads_a_number(box, x):
    return x * x.sum().item()  # HERE


@effect
def branches_on_data(box, x):
    if x.sum() > 1:  # HERE
        return x * 2
    return x * 3


@effect
def asserts_on_data(box, x):
    assert (x < 100).all()  # HERE
    return x * 2


@effect
def converts_to_float(box, x):
    return x * float(x.sum())  # HERE


@effect
def formats(box, x):
    return f"{x.sum()}"  # HERE


@effect
def compares_for_sorting(box, x):
    return max(x[0], x[1]) * 2  # HERE


@effect
def iterates_into_a_list(box, x):
    return [v * 2 for v in x.tolist()]  # HERE


@effect
def uses_numpy_inside(box, x):
    return lp.from_numpy(np.sin(x.numpy())) * 2  # HERE


@effect
def reads_a_numpy_array(box, x):
    return x * lp.tensor(box.array).float()  # HERE


@effect
def writes_a_numpy_array(box, x):
    box.array[0] = 5  # HERE
    return x * 2


@effect
def draws_from_numpy(box, x):
    return x * np.random.rand()  # HERE


@effect
def draws_from_random(box, x):
    return x * random.random()  # HERE


@effect
def prints(box, x):
    print(end="")  # HERE
    return x * 2


@effect
def looks_at_the_clock(box, x):
    return x * (time.time() > 0)  # HERE


@effect
def seeds(box, x):
    lp.manual_seed(3)  # HERE
    return x + lp.rand(4)


@effect
def reads_the_random_state(box, x):
    return lp.get_rng_state(), x + lp.rand(4)  # HERE


@effect
def makes_a_generator(box, x):
    return x + lp.rand(4, generator=lp.Generator().manual_seed(1))  # HERE


@effect
def finds_different_elements(box, x):
    return lp.unique(x)  # HERE


@effect
def counts_numbers(box, x):
    return x.sum(), lp.bincount(x.long().abs().reshape(-1))  # HERE


@effect
def sets_the_default_dtype(box, x):
    lp.set_default_dtype(lp.float64)  # HERE
    y = x.long() / 2
    lp.set_default_dtype(lp.float32)
    return y


@effect  # HERE
def switches_gradients_off(box, x):
    y = x * 2
    lp.set_grad_enabled(box.count == 1)
    return y


@effect
def catches_exceptions(box, x):
    try:
        return x * box.table["missing"]
    except KeyError:  # HERE
        return x * 2


@effect
def starts_a_thread(box, x):
    thread = threading.Thread(target=box.items.append, args=(1,))  # HERE
    thread.start()
    thread.join()
    return x * 2


@effect
def takes_a_lock(box, x):
    with box.lock:  # HERE
        return x * 2


@effect
def cleans_up_after_giving_up(box, x):
    try:
        return x.sum().item()  # HERE
    finally:
        box.items.append(1)


@effect
def leaves_a_block_after_giving_up(box, x):
    @contextlib.contextmanager
    def block():
        box.names.add(1)  # HERE
        try:
            yield
        finally:
            box.items.append(1)

    with block():
        return x.sum().item()


@effect
def has_a_destructor(box, x):
    class Noisy:
        def __del__(self):
            box.items.append(1)

    noisy = Noisy()  # HERE
    del noisy
    return x * 2


@effect
def copies_deeply(box, x):
    return copy.deepcopy(x) * 2  # HERE


@effect
def changes_an_argument_list(box, x):
    values = [x]

    def add(items):
        items.append(x * 2)

    add(values)
    box.items.extend([len(values)])  # HERE
    return values


@effect
def sets_a_module_attribute(box, x):
    if not hasattr(box, "layer"):
        box.layer = nn.Linear(4, 2)  # HERE
    box.layer.hidden = 1
    return x * 2


@effect
def makes_an_optimizer(box, x):
    weight = lp.ones(4, requires_grad=True)
    optimizer = lp.optim.Adam([weight], lr=0.1)  # HERE
    (weight * x).sum().backward()
    optimizer.step()
    return weight.detach()


@effect
def memoises(box, x):
    return x * _cached(4)  # HERE


@functools.lru_cache
def _cached(n):
    return n + 1


@table(eager=True)
def a_list_argument_grows(compile, note):
    @compile
    def step(items):
        items.append(items[0] * 2)  # HERE
        return items[-1] * 1

    items = [A]
    note(step(items), step(items), items)


@table(eager=True)
def a_dict_argument_is_filled(compile, note):
    @compile
    def step(batch):
        batch["y"] = batch["x"] * 2  # HERE
        return batch["y"] * 1

    batch = {"x": A}
    note(step(batch), step(batch), batch)


@table(eager=True)
def the_state_of_an_optimizer_is_read(compile, note):
    model = net()
    optimizer = lp.optim.Adam(model.parameters(), lr=0.01)

    @compile
    def step(x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        return optimizer.state_dict()["state"][0]["step"] * 1  # HERE

    for _ in range(3):
        note(step(X, Y))


@table(eager=True)
def the_learning_rate_is_set_inside(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)

    @compile
    def step(x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.5  # HERE

    for _ in range(3):
        note(step(X, Y), state(model, optimizer))


@table()
def a_loss_that_is_still_wanted(compile, note):
    model = net()

    @compile
    def loss_of(x, y):
        return F.cross_entropy(model(x), y)

    for _ in range(2):
        loss = loss_of(X, Y)
        loss.backward()
        note(loss, state(model))


@table()
def data_is_written_inside(compile, note):
    weight = randn(4, requires_grad=True)

    @compile
    def step(x):
        weight.grad = None
        (weight * x).sum().backward()
        weight.data -= 0.1 * weight.grad

    for _ in range(3):
        note(step(A), weight, weight.grad)


@table(eager=True)
def data_is_replaced_inside(compile, note):
    weight = randn(4, requires_grad=True)

    @compile
    def step(x):
        weight.grad = None
        (weight * x).sum().backward()
        weight.data = weight.data - 0.1 * weight.grad  # HERE

    for _ in range(3):
        note(step(A), weight, weight.grad)


@table(eager=True)
def an_accumulator_takes_a_graph(compile, note):
    weight, total = randn(4, requires_grad=True), lp.tensor(0.0)

    @compile
    def step(x):
        total.add_((weight * x).sum())  # HERE

    step(A)
    step(B)
    total.backward()
    note(total, weight.grad)


@table(eager=True)
def a_leaf_made_inside_is_returned(compile, note):
    @compile  # HERE
    def step(x):
        weight = lp.ones(4, requires_grad=True)
        (weight * x).sum().backward()
        return weight

    for x in (A, B):
        weight = step(x)
        note(weight, weight.grad)


@table(eager=True)
def a_list_from_outside_is_returned(compile, note):
    kept = [1.0, 2.0]

    @compile  # HERE
    def step(x):
        return x * 2, kept

    result = step(A)[1]
    result.append(3.0)
    note(step(A), step(A)[1] is kept)


@pytest.mark.parametrize("scenario", table.params())
def test_effect(scenario):
    check(scenario)
