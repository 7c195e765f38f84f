"""Compiled training steps leave every object of the user's as eager steps do."""

import pytest
from twins import Table, X, Y, check, net, randn, state, training_step

import lampion as lp
from lampion.nn import functional as F

table = Table()


# -- optimizers ------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda p: lp.optim.SGD(p, lr=0.1),
    "momentum": lambda p: lp.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "nesterov": lambda p: lp.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, maximize=True),
    "adam": lambda p: lp.optim.Adam(p, lr=0.01),
    "adam with decay": lambda p: lp.optim.Adam(p, lr=0.01, betas=(0.5, 0.8), eps=1e-3, weight_decay=0.1),
}


def _optimizer(make):
    def scenario(compile, note):
        model = net()
        optimizer = make(model.parameters())
        step = compile(training_step(model, optimizer))
        for number in range(5):
            note(step(X, Y), state(model, optimizer))
            optimizer.param_groups[0]["lr"] *= 0.5 + 0.1 * number  # as a scheduler does

    return scenario


for _name, _make in OPTIMIZERS.items():
    _scenario = _optimizer(_make)
    _scenario.__name__ = _name
    table(_scenario, traces=1)


@table(traces=1)
def groups_with_options_of_their_own(compile, note):
    model = net()
    optimizer = lp.optim.SGD([
        {"params": model[0].parameters(), "lr": 0.5},
        {"params": model[2].parameters(), "momentum": 0.9},
    ], lr=0.1)  # fmt: skip
    step = compile(training_step(model, optimizer))
    for _ in range(3):
        note(step(X, Y), state(model, optimizer))


@table
def two_optimizers_share_a_model(compile, note):
    model = net()
    first, second = lp.optim.SGD(model.parameters(), lr=0.1), lp.optim.Adam(model.parameters(), lr=0.01)

    @compile
    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        first.zero_grad()
        loss.backward()
        first.step()
        second.step()
        return loss

    for _ in range(3):
        note(step(X, Y), state(model, first, second))


@table
def two_functions_share_a_model(compile, note):
    model = net()
    optimizer = lp.optim.Adam(model.parameters(), lr=0.01)
    step = compile(training_step(model, optimizer))

    @compile
    def evaluate(x):
        with lp.no_grad():
            return model(x).argmax(1), model(x)

    for _ in range(3):
        note(step(X, Y), evaluate(X), state(model, optimizer))
    with lp.no_grad():
        model[0].weight.mul_(0.5)
    note(evaluate(X), step(X, Y), evaluate(X))


@table
def eager_and_compiled_steps_take_turns(compile, note):
    model = net()
    optimizer = lp.optim.Adam(model.parameters(), lr=0.01)
    plain = training_step(model, optimizer)
    step = compile(plain)
    for number in range(6):
        note((step if number % 2 else plain)(X, Y), state(model, optimizer))


@table
def an_optimizer_whose_parameters_are_of_different_age(compile, note):
    model = net()
    optimizer = lp.optim.Adam(model[0].parameters(), lr=0.01)
    step = compile(training_step(model, optimizer))
    step(X, Y)
    optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.05})
    model.zero_grad()
    for _ in range(3):
        note(step(X, Y), state(model, optimizer))


@table
def closures(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)

    @compile
    def step(x, y):
        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        return optimizer.step(closure)

    for _ in range(3):
        note(step(X, Y), state(model, optimizer))


@table
def step_without_any_gradient(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    step = compile(lambda x: (optimizer.step(), model(x).detach())[1])
    note(step(X), state(model, optimizer))
    F.cross_entropy(model(X), Y).backward()
    note(step(X), state(model, optimizer))
    optimizer.zero_grad()
    note(step(X), state(model, optimizer))


# -- gradients -------------------------------------------------------------------------------------------


@table
def gradients_accumulate(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    add = compile(lambda x, y: (F.cross_entropy(model(x), y) / 2).backward())
    update = compile(lambda: (optimizer.step(), optimizer.zero_grad())[0])
    for _ in range(2):
        for part in (slice(0, 3), slice(3, 6)):
            note(add(X[part], Y[part]), state(model))
        note(update(), state(model, optimizer))


@table
def gradients_accumulate_inside(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)

    @compile
    def step(x, y):
        optimizer.zero_grad()
        for i in range(3):
            F.cross_entropy(model(x[2 * i : 2 * i + 2]), y[2 * i : 2 * i + 2]).backward()
        optimizer.step()

    for _ in range(3):
        note(step(X, Y), state(model, optimizer))


@table
def gradients_are_never_cleared(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)

    @compile
    def step(x, y):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    for _ in range(4):
        note(step(X, Y), state(model, optimizer))


@table
def gradients_become_zeros(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)

    @compile
    def step(x, y):
        optimizer.zero_grad(set_to_none=False)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    for _ in range(3):
        note(step(X, Y), state(model, optimizer))
    held = model[0].weight.grad
    note(step(X, Y), held)
    note(held is model[0].weight.grad)


@table
def gradients_are_cleared_after_the_step(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)

    @compile
    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        model.zero_grad()
        return loss

    for _ in range(3):
        note(step(X, Y), state(model, optimizer))


@table
def gradients_come_and_go_between_calls(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)

    @compile
    def step(x, y):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    for number in range(6):
        note(step(X, Y), state(model, optimizer))
        if number == 1:
            optimizer.zero_grad()
        if number == 2:
            model[0].weight.grad = None
        if number == 3:
            model[2].bias.grad = lp.ones(3)
        if number == 4:
            model[2].bias.grad.mul_(2.0)


@table
def no_gradient_is_a_view_of_the_plan(compile, note):
    model = net()
    step = compile(training_step(model, lp.optim.SGD(model.parameters(), lr=0.1)))
    step(X, Y)
    kept = [p.grad for p in model.parameters()]
    step(X * 2, Y)
    note(kept)


@table
def backward_several_times(compile, note):
    model = net()

    @compile
    def step(x, y):
        model.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward(retain_graph=True)
        loss.backward()
        return loss

    for _ in range(2):
        note(step(X, Y), state(model))


@table
def gradients_of_a_vector(compile, note):
    model = net()

    @compile
    def step(x, weight):
        model.zero_grad()
        model(x).backward(weight)

    for seed in range(2):
        note(step(X, randn(6, 3, seed=seed)), state(model))


@table
def retained_gradients(compile, note):
    model = net()

    @compile
    def step(x, y):
        model.zero_grad()
        hidden = model[0](x)
        hidden.retain_grad()
        F.cross_entropy(model[2](hidden.tanh()), y).backward()
        return hidden.grad

    for _ in range(2):
        note(step(X, Y), state(model))


@table
def autograd_grad(compile, note):
    model = net()
    parameters = list(model.parameters())

    @compile
    def slopes(x, y):
        return lp.autograd.grad(F.cross_entropy(model(x), y), parameters)

    note(slopes(X, Y), slopes(X * 2, Y), state(model))


@table
def gradient_penalty(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)

    @compile
    def step(x, y):
        x = x.detach().clone().requires_grad_()
        loss = F.cross_entropy(model(x), y)
        (slope,) = lp.autograd.grad(loss, x, create_graph=True)
        total = loss + 0.1 * (slope * slope).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        return total, slope.detach()

    for _ in range(3):
        note(step(X, Y), state(model, optimizer))


@table
def gradient_of_an_argument(compile, note):
    model = net()

    @compile
    def attack(x, y):
        (slope,) = lp.autograd.grad(F.cross_entropy(model(x), y), x)
        return x.detach() + 0.1 * slope

    note(attack(X.detach().clone().requires_grad_(), Y), state(model))
    note(attack(X.detach().clone().requires_grad_(), Y))


@table
def gradient_left_in_an_argument(compile, note):
    backward = compile(lambda x: (x * x).sum().backward())
    for seed in range(3):
        x = randn(3, seed=seed, requires_grad=True)
        note(backward(x), x, x.grad)


@pytest.mark.parametrize("scenario", table.params())
def test_training(scenario):
    check(scenario)
