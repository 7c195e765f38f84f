"""What goes wrong with capture elsewhere: each of these is right, or runs eagerly with one warning.

In every scenario something that the function depends on changes after its first call, or the function has
an effect that a recorded step cannot have. (tests/test_capture_footguns.py asks the same of capture alone.)
"""

import collections

import numpy as np
import pytest
from twins import Table, X, Y, check, error_of, net, patched, randn, state, training_step

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


# -- values that change ------------------------------------------------------------------------------------


@table
def an_attribute(compile, note):
    holder = Holder()
    step = compile(lambda x: x * holder.k + holder.shared + holder.twice)
    note(step(A))
    holder.k = 3.0
    note(step(A))
    with patched(Holder, "shared", 5.0):
        note(step(A))
    holder.shared = 7.0
    note(step(A))
    note(step(A))


@table
def a_global(compile, note):
    global FACTOR
    step = compile(lambda x: x * FACTOR)
    note(step(A))
    FACTOR = 3.0
    try:
        note(step(A))
    finally:
        FACTOR = 2.0
    note(step(A))


@table
def a_closure(compile, note):
    factor = 2.0
    step = compile(lambda x: x * factor)
    note(step(A))
    factor = 3.0
    note(step(A))
    factor = 3
    note(step(A))


@table
def default_arguments(compile, note):
    def step(x, k=2.0, *, shift=1.0):
        return x * k + shift

    compiled = compile(step)
    note(compiled(A))
    step.__defaults__ = (3.0,)
    note(compiled(A))
    step.__kwdefaults__ = {"shift": 5.0}
    note(compiled(A))


@table
def a_mutable_default(compile, note):
    def step(x, ks=[2.0]):  # noqa: B006
        return x * ks[0]

    compiled = compile(step)
    note(compiled(A))
    step.__defaults__[0][0] = 3.0
    note(compiled(A))


@table
def containers(compile, note):
    table, names, numbers = {"k": 2.0, 1: [1.0]}, ["k"], {2.0}
    step = compile(lambda x: x * table[names[0]] + table[1][0] + len(numbers) + len(table))
    note(step(A))
    table["k"] = 3.0
    note(step(A))
    table["other"] = 4.0
    note(step(A))
    names[0] = "other"
    note(step(A))
    table[1].insert(0, 9.0)
    numbers.add(3.0)
    note(step(A))


@table
def nested_settings(compile, note):
    step = compile(lambda x: x * SETTINGS["scale"] + len(SETTINGS["deep"]["names"]))
    note(step(A))
    SETTINGS["deep"]["names"].append("c")
    note(step(A))
    SETTINGS["deep"]["names"].pop()
    SETTINGS["scale"] = 5.0
    note(step(A))
    SETTINGS["scale"] = 2.0


@table
def code_that_is_patched(compile, note):
    holder = Holder()
    step = compile(lambda x: F.relu(holder.scale(x)))
    note(step(A))
    with patched(F, "relu", lambda x: x * 100):
        note(step(A))
    note(step(A))
    with patched(Holder, "scale", lambda self, x: x - 1):
        note(step(A))
    holder.scale = lambda x: x + 5
    note(step(A))


@table
def code_that_is_replaced_inside_a_function(compile, note):
    def helper(x):
        return x * 2

    step = compile(lambda x: helper(x))
    note(step(A))
    helper.__code__ = (lambda x: x * 3).__code__
    note(step(A))


@table
def attributes_of_tensors(compile, note):
    weight = randn(4, seed=5)
    weight.rate = 2.0
    step = compile(lambda x: x * weight.rate + x.rate)
    x, y = A.clone(), A.clone()
    x.rate, y.rate = 1.0, 2.0
    note(step(x), step(y))
    weight.rate, x.rate = 3.0, 4.0
    note(step(x), step(y))


@table
def what_is_known_of_tensors_outside(compile, note):
    weight = randn(4, seed=5)
    holder = [weight]

    @compile
    def step(x):
        k = 2 if holder[0].requires_grad else 3
        k = k * 5 if weight.grad is None else k * 7
        return x * k + weight.shape[0] + len(weight) + weight.ndim + (weight.dtype == lp.float64)

    def grow():
        weight.data = randn(2, 3)

    for change in (
        lambda: weight.requires_grad_(),
        lambda: setattr(weight, "grad", lp.ones(4)),
        lambda: setattr(weight, "grad", None),
        lambda: weight.requires_grad_(False),
        grow,
        lambda: setattr(weight, "data", weight.double()),
    ):
        note(step(A))
        change()
        note(step(A))


@table
def views_of_data_that_is_replaced(compile, note):
    weight = randn(4, seed=5)
    first = weight[:2]
    step = compile(lambda x: (x * weight, x[:2] * first))
    note(step(A))
    weight.add_(1)
    note(step(A))


@table(eager=True)
def views_of_data_that_was_replaced(compile, note):
    weight = randn(4, seed=5)
    first = weight[:2]
    weight.data = randn(4, seed=6)

    @compile
    def step(x):
        return x * weight, x[:2] * first  # HERE

    note(step(A))
    first.add_(1)
    note(step(A), weight)


@table
def an_optimizer_is_changed(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model[0].parameters(), lr=0.1, momentum=0.5)
    step = compile(training_step(model, optimizer))
    group = optimizer.param_groups[0]
    for change in (
        lambda: group.update(weight_decay=0.1),
        lambda: group.update(momentum=0.9),
        lambda: optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.01}),
        lambda: optimizer.param_groups.__setitem__(0, {**optimizer.param_groups[0], "lr": 0.5}),
        lambda: optimizer.param_groups[1]["params"].pop(),
        lambda: optimizer.state.clear(),
        lambda: optimizer.state[model[0].weight].update(momentum_buffer=lp.ones(5, 4)),
    ):
        step(X, Y)
        change()
        model.zero_grad()
        note(step(X, Y), state(model), [g["lr"] for g in optimizer.param_groups])


@table
def the_betas_of_adam(compile, note):
    model = net()
    optimizer = lp.optim.Adam(model.parameters(), lr=0.01)
    step = compile(training_step(model, optimizer))
    for betas in ((0.9, 0.999), (0.5, 0.9), (0.9, 0.999)):
        optimizer.param_groups[0]["betas"] = betas
        note(step(X, Y), step(X, Y), state(model, optimizer))


@table
def an_optimizer_of_their_own(compile, note):
    class Mine(lp.optim.SGD):
        k = 1.0

        def update(self, p, g, state, h, group):
            return p - g * (h["lr"] * self.k)

    model = net()
    optimizer = Mine(model.parameters(), lr=0.1)
    step = compile(training_step(model, optimizer))
    note(step(X, Y), state(model))
    optimizer.k = 3.0
    note(step(X, Y), state(model))
    del optimizer.k
    Mine.k = 0.5
    note(step(X, Y), state(model))
    with patched(Mine, "update", lambda self, p, g, state, h, group: p + g):
        note(step(X, Y), state(model))
    optimizer.step = lambda: None
    note(step(X, Y), state(model))


@table
def zero_grad_alone(compile, note):
    p, q = randn(4, requires_grad=True), randn(4, seed=1, requires_grad=True)
    optimizer = lp.optim.SGD([p], lr=0.1)

    @compile
    def step(x):
        optimizer.zero_grad()
        (x * p * q).sum().backward()

    for number in range(4):
        step(A)
        note(p.grad, q.grad)
        if number == 1:
            optimizer.add_param_group({"params": [q]})


@table
def a_submodule_is_replaced(compile, note):
    model = net()
    step = compile(lambda x: model(x).detach())
    note(step(X))
    model[1] = nn.ReLU()
    note(step(X))
    model[2] = nn.Linear(5, 2)
    note(step(X))
    model.forward = lambda x: x * 2
    note(step(X))


@table
def a_frozen_flag_of_a_module(compile, note):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 2)
            self.double, self.layers = False, [nn.Linear(2, 2)]

        def forward(self, x):
            for layer in (self.inner, *self.layers):
                x = layer(x)
            return (x * 2 if self.double else x).detach()

    model = Net()
    step = compile(lambda x: model(x))
    note(step(X))
    model.double = True
    note(step(X))
    model.layers.append(nn.Linear(2, 3))
    note(step(X))


# -- gradients that are not what they were -----------------------------------------------------------


@table
def a_gradient_put_by_hand(compile, note):
    p = lp.ones(4, requires_grad=True)
    optimizer = lp.optim.SGD([p], lr=0.1)
    step = compile(lambda: optimizer.step())
    for seed in range(3):
        p.grad = randn(4, seed=seed)
        note(step(), p, p.grad)
    p.grad = lp.from_numpy(randn(8, seed=3).numpy()[::2])
    note(step(), p, p.grad)
    p.grad = None
    note(step(), p, p.grad)


@table
def two_parameters_come_to_share_a_gradient(compile, note):
    p, q = lp.ones(4, requires_grad=True), randn(4, requires_grad=True)

    @compile
    def step(x):
        (x * p * q).sum().backward()

    p.grad, q.grad = lp.zeros(4), lp.zeros(4)
    for number in range(4):
        step(A)
        note(p.grad, q.grad)
        if number == 1:
            p.grad = q.grad = lp.zeros(4)
        if number == 2:
            flat = lp.zeros(8)
            p.grad, q.grad = flat[:4], flat[2:6]


@table(eager=True)
def two_parameters_share_a_gradient(compile, note):
    p, q = lp.ones(4, requires_grad=True), randn(4, requires_grad=True)

    @compile
    def step(x):
        (x * p * q).sum().backward()  # HERE

    p.grad = q.grad = lp.zeros(4)
    for _ in range(2):
        step(A)
        note(p.grad, q.grad)
    p.grad, q.grad = lp.zeros(4), lp.zeros(4)
    step(A)
    note(p.grad, q.grad)


@table(eager=True)
def a_gradient_known_by_another_name(compile, note):
    p, held = lp.ones(4, requires_grad=True), lp.zeros(4)
    p.grad = held

    @compile  # HERE
    def step(x):
        (x * p).sum().backward()
        return held * 1

    note(step(A), p.grad)
    p.grad = lp.ones(4)
    note(step(A), p.grad, held)


@table
def a_gradient_is_read_only(compile, note):
    p = lp.ones(4, requires_grad=True)
    step = compile(lambda x: (x * p).sum().backward())
    p.grad = lp.zeros(4)
    note(step(A), p.grad)
    array = np.zeros(4, "f4")
    array.flags.writeable = False
    p.grad = lp.from_numpy(array)
    for _ in range(2):
        note(type(error_of(step, A)).__name__, p.grad)


# -- programs that look hard and are not -------------------------------------------------------------


@table
def recursion_generators_and_comprehensions(compile, note):
    def power(x, n):
        return x if n == 1 else x * power(x, n - 1)

    def parts(x):
        for i in range(3):
            yield x[i]

    @compile
    def step(x):
        total = lp.stack([part * k for k, part in enumerate(parts(x), 1)]).sum()
        pieces = [part + 1 for part in parts(x)]
        for a, b in zip(pieces, pieces[1:], strict=False):  # noqa: RUF007
            total = total + a * b
        return power(x, 3), total, {name: x * len(name) for name in ("a", "bb")}

    note(step(A), step(B))


@table
def objects_made_inside(compile, note):
    @compile
    def step(x):
        holder = Holder()
        holder.k += x.shape[0]
        holder.items.append(3.0)
        holder.last = holder.scale(x)
        table = collections.OrderedDict()
        for i, item in enumerate(holder.items):
            table[i] = item * 2
        return holder.last, table[0] + table[2], len(table)

    note(step(A), step(B))


@table
def a_compiled_function_of_somebody_else(compile, note):
    box = [2.0]
    inner = compile(lambda x: x * box[0])

    class Model:
        def run(self, x):
            return inner(x) + 1

    model = Model()
    step = compile(lambda x: model.run(x))
    note(step(A))
    box[0] = 3.0
    note(step(A), inner(A))
    model.run = lambda x: x - 1
    note(step(A))


@table(eager=True)
def a_view_made_with_gradients_on(compile, note):
    weight = randn(4, requires_grad=True)
    first = weight[:2]
    optimizer = lp.optim.SGD([weight], lr=0.1)

    @compile
    def step(x):
        optimizer.zero_grad()
        (first * x[:2]).sum().backward()  # HERE
        optimizer.step()

    for _ in range(3):
        note(step(A), weight, weight.grad, first)


@pytest.mark.parametrize("scenario", table.params())
def test_footgun(scenario):
    check(scenario)
