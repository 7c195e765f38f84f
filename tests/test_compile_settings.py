"""Plain values that a compiled function sets outside: options of optimizers, attributes of objects."""

import math

import pytest
from twins import Table, X, Y, check, error_of, net, randn, state, training_step

import lampion as lp
from lampion import nn
from lampion.nn import functional as F

table = Table()
A = randn(4, seed=2)


# -- options of optimizers --------------------------------------------------------------------------------


@table(traces=2)
def a_learning_rate_for_an_optimizer(compile, note):
    model = net()
    opt = lp.optim.AdamW(model.parameters(), lr=1.0)
    train = training_step(model, opt)

    @compile
    def step(x, y, lr):
        for group in opt.param_groups:
            group["lr"] = lr
        return train(x, y)

    for k in range(4):
        note(step(X, Y, 0.1 / (k + 1)), state(model, opt))
    opt.param_groups[0]["lr"] = 7.0  # is overwritten
    note(step(X, Y, 0.25), state(model, opt))


@table
def a_schedule_by_hand(compile, note):
    model = net()
    groups = [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[2].parameters()}]
    opt = lp.optim.SGD(groups, lr=0.1)
    train = training_step(model, opt)

    @compile
    def step(x, y, k):
        opt.param_groups[0]["lr"] = 0.1 * math.cos(k)
        loss = train(x, y)
        opt.param_groups[1]["lr"] = 0.2 / (k + 1)  # for the next step
        return loss

    for k in (0, 1, 2, 1, 0):
        note(step(X, Y, k), state(model, opt))


@table(eager=True)
def an_option_between_two_steps(compile, note):
    model = net()
    opt = lp.optim.SGD(model.parameters(), lr=0.5)

    @compile
    def step(x, y):
        opt.zero_grad()
        F.cross_entropy(model(x), y).backward()
        opt.step()
        opt.param_groups[0]["lr"] = 0.125
        opt.step()  # HERE

    step(X, Y), step(X, Y)
    note(state(model, opt))


@table
def an_option_that_is_read_back(compile, note):
    opt = lp.optim.SGD([randn(4, requires_grad=True)], lr=0.5)

    @compile
    def step(x, k):
        group = opt.param_groups[0]
        group["lr"] = 0.25 * k
        return x * group["lr"] + len(group) + group.get("momentum", 1.0)

    note(step(A, 1), step(A, 2), step(A, 1))
    opt.param_groups[0]["momentum"] = 0.5
    note(step(A, 1))


@table
def an_option_read_is_noticed(compile, note):
    opt = lp.optim.SGD([randn(4, requires_grad=True)], lr=0.5)
    step = compile(lambda x: x * opt.param_groups[0]["lr"])
    note(step(A))
    opt.param_groups[0]["lr"] = 0.25
    note(step(A))
    every = compile(lambda x: x * sum(v for v in opt.param_groups[0].values() if isinstance(v, float)))
    note(every(A))
    opt.param_groups[0]["lr"] = 0.125
    note(every(A))
    opt.param_groups[0]["new"] = 0.125
    note(every(A))


@table(eager=True)
def an_option_that_the_update_branches_on(compile, note):
    model = net()
    opt = lp.optim.Adam(model.parameters(), lr=0.1)
    train = training_step(model, opt)

    @compile
    def step(x, y):
        opt.param_groups[0]["eps"] = 1e-3  # HERE
        return train(x, y)

    note(step(X, Y), step(X, Y), state(model, opt))


# -- attributes that are set to plain values ------------------------------------------------------------


@table
def values_kept_in_attributes(compile, note):
    class Layer(nn.Module):
        def forward(self, x, k):
            self.shape, self.name, self.k = tuple(x.shape), f"layer {k}", k
            y = x * self.k
            self.k = k + 1
            return y * self.k

    layer = Layer()
    step = compile(layer)
    for k in (1, 2, 1):
        note(step(A, k), layer.shape, layer.name, layer.k)
    layer.k = 7
    note(step(A, 1), layer.k)


@table(traces=1)
def modes_switched_and_put_back(compile, note):
    model = net(nn.Dropout(0.5))

    @compile
    def step(x):
        model.eval()
        with lp.no_grad():
            y = model(x)
        model.train()
        return y, model(x).detach()

    for _ in range(3):
        note(*step(X), model.training)


@table(traces=2)  # the first of them does not count: it runs eagerly
def a_flag_for_the_first_call(compile, note):
    class Lazy:
        ready, k = False, 1.0

    lazy = Lazy()

    @compile
    def step(x):
        if not lazy.ready:
            lazy.k = 5.0
            lazy.ready = True
        return x * lazy.k

    for _ in range(3):
        note(step(A), lazy.ready, lazy.k)


@table
def a_setter_of_their_own(compile, note):
    class Doubling:
        def __setattr__(self, name, value):
            object.__setattr__(self, name, value * 2)

    thing = Doubling()

    @compile
    def step(x):
        thing.k = 3
        return x * thing.k

    note(step(A), thing.k), note(step(A), thing.k)
    Doubling.__setattr__ = object.__setattr__
    note(step(A), thing.k)


@table
def an_error_after_a_value_was_kept(compile, note):
    class Thing:
        n = 0

    thing, numbers = Thing(), lp.arange(4.0)

    @compile
    def step(i):
        thing.n = 5
        return numbers[i] * 2

    note(step(lp.tensor([1])), thing.n)
    thing.n = 6
    error = error_of(step, lp.tensor([9]))
    note(type(error).__name__)
    assert thing.n in (5, 6)  # eager has set it by then; compiled leaves nothing done
    note(step(lp.tensor([2])), thing.n)


@pytest.mark.parametrize("scenario", table.params())
def test_call(scenario):
    check(scenario)


# -- an optimizer of one's own ----------------------------------------------------------------------------


class Momentum(lp.optim.Optimizer):
    """As PyTorch's documentation has it: state is made in the first step."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @lp.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                entry = self.state[p]
                if len(entry) == 0:
                    entry["velocity"] = lp.zeros_like(p)
                entry["velocity"].mul_(0.9).add_(p.grad)
                p.add_(entry["velocity"], alpha=-group["lr"])


def test_an_optimizer_that_makes_its_state_in_its_first_step():
    stories = []
    for compile in (lambda fn: fn, lp.compile):
        lp.manual_seed(0)
        model = net()
        opt = Momentum(model.parameters(), 0.1)
        step = compile(training_step(model, opt))
        stories.append([step(X, Y) for _ in range(4)] + list(model.parameters()))
    for a, b in zip(*stories, strict=True):
        lp.testing.assert_close(b, a)
    assert step.refused is None and step.traces == 2 and len(step.plans) == 1


def test_an_optimizer_that_makes_new_state_in_each_step_runs_eagerly():
    class Endless(Momentum):
        @lp.no_grad()
        def step(self):
            self.state[lp.zeros(1)] = {}

    model = net()
    opt = Endless(model.parameters(), 0.1)
    step = lp.compile(lambda: opt.step())
    with pytest.warns(RuntimeWarning, match="an optimizer makes its state"):
        for n in range(6):
            step()
            assert len(opt.state) == n + 1
