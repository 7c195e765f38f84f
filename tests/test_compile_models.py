"""Models in compiled training: shared, frozen, replaced and converted parameters, buffers, own updates."""

import copy

import pytest
from twins import Table, X, Y, check, error_of, net, randn, state, training_step

import lampion as lp
from lampion import nn
from lampion.nn import functional as F

table = Table()


# -- what is trained --------------------------------------------------------------------------------------


@table
def tied_weights(compile, note):
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    step = compile(training_step(model, optimizer))
    for _ in range(3):
        note(step(X, Y), state(model, optimizer))
    model[2].weight = nn.Parameter(lp.ones(4, 4))
    note(step(X, Y), state(model, optimizer), model[2].weight.grad)


@table
def views_of_a_parameter(compile, note):
    weight = randn(6, 4, requires_grad=True)
    optimizer = lp.optim.SGD([weight], lr=0.1)

    @compile
    def step(x):
        upper, lower = weight[:3], weight[3:]
        loss = ((x @ upper.T).tanh() @ lower).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, upper.detach() * 2

    for _ in range(3):
        note(step(X), weight, weight.grad)


@table
def a_detached_view_made_before(compile, note):
    weight = randn(6, 4, requires_grad=True)
    half = weight.detach()[:3]
    optimizer = lp.optim.SGD([weight], lr=0.1)

    @compile
    def step(x):
        loss = ((x @ weight.T) * half.sum()).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, half * 1

    for _ in range(3):
        note(step(X), weight, weight.grad, half)


@table
def parameters_made_of_tensors(compile, note):
    source = randn(4, 3)
    weight = nn.Parameter(source)  # shares its memory
    optimizer = lp.optim.SGD([weight], lr=0.1)

    @compile
    def step(x):
        loss = (x @ weight).tanh().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for number in range(5):
        note(step(X), weight, weight.grad, source)
        if number == 2:
            weight.data = randn(4, 3, seed=5)
        if number == 3:
            weight.requires_grad_(False)
            note(type(error_of(step, X)).__name__)
            weight.requires_grad_(True)


@table
def layers_are_frozen_and_thawed(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = compile(training_step(model, optimizer))
    for number in range(6):
        model[0].requires_grad_(number % 3 != 1)
        model[2].bias.requires_grad_(number != 4)
        note(step(X, Y), state(model, optimizer))


@table
def training_and_evaluation(compile, note):
    model = net(nn.Dropout(0.4))
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    step = compile(training_step(model, optimizer))
    for number in range(5):
        model.train(number % 2 == 0)
        note(step(X, Y), state(model, optimizer), lp.get_rng_state())


class Normalised(nn.Module):
    """A layer with running statistics."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", lp.zeros(4))
        self.register_buffer("batches", lp.tensor(0))

    def forward(self, x):
        if self.training:
            with lp.no_grad():
                self.mean.mul_(0.9).add_(0.1 * x.mean(0))
                self.batches.add_(1)
        return x - self.mean


@table
def buffers_change_in_place(compile, note):
    model = nn.Sequential(Normalised(), nn.Linear(4, 3))
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    step = compile(training_step(model, optimizer))
    for number in range(5):
        model.train(number != 3)
        note(step(X, Y), state(model, optimizer))


@table
def sgd_by_hand(compile, note):
    model = net()

    @compile
    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        with lp.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
                p.grad.zero_()
        return loss

    for _ in range(4):
        note(step(X, Y), state(model))


@table
def sgd_by_hand_through_data(compile, note):
    weight = randn(4, 3, requires_grad=True)

    @compile
    def step(x):
        weight.grad = None
        loss = (x @ weight).tanh().sum()
        loss.backward()
        weight.data.sub_(0.1 * weight.grad)
        return loss

    for _ in range(3):
        note(step(X), weight, weight.grad)


@table
def momentum_by_hand(compile, note):
    weight = randn(4, 3, requires_grad=True)
    velocity = lp.zeros(4, 3)

    @compile
    def step(x, rate):
        (slope,) = lp.autograd.grad((x @ weight).tanh().sum(), weight)
        with lp.no_grad():
            velocity.mul_(0.9).add_(slope)
            weight.sub_(rate * velocity)

    for rate in (0.1, 0.1, 0.05):
        note(step(X, rate), weight, velocity, weight.grad)


# -- between calls ------------------------------------------------------------------------------------------


@table
def states_are_loaded(compile, note):
    model = net()
    optimizer = lp.optim.Adam(model.parameters(), lr=0.01)
    step = compile(training_step(model, optimizer))
    step(X, Y)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    for _ in range(3):
        step(X, Y)
    model.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    for _ in range(2):
        note(step(X, Y), state(model, optimizer))
    optimizer.load_state_dict(saved[1])
    note(step(X, Y), state(model, optimizer))


@table
def the_model_becomes_float64(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    step = compile(training_step(model, optimizer))
    for dtype in (lp.float32, lp.float64, lp.float32, lp.float64):
        model.to(dtype)
        optimizer.zero_grad()
        note(step(X.to(dtype), Y), state(model, optimizer))


@table
def shapes_of_the_batch(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    step = compile(training_step(model, optimizer))
    for rows in (4, 4, 2, 4, 1, 2):  # the last batch of an epoch is smaller
        note(step(X[:rows], Y[:rows]), state(model, optimizer))


@table
def the_model_is_copied(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    step = compile(training_step(model, optimizer))
    step(X, Y)
    other = copy.deepcopy(model)
    note(step(X, Y), state(model, optimizer), state(other))
    step = compile(training_step(other, lp.optim.SGD(other.parameters(), lr=0.1)))
    note(step(X, Y), state(model), state(other))


@table
def a_parameter_is_replaced(compile, note):
    model = net()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    step = compile(training_step(model, optimizer))
    step(X, Y)
    model[0].weight = nn.Parameter(randn(5, 4, seed=3))
    note(step(X, Y), state(model, optimizer))
    model[0].bias.data = lp.ones(5)
    note(step(X, Y), state(model, optimizer))
    model[0] = nn.Linear(4, 5, bias=False)
    note(step(X, Y), state(model, optimizer))


@pytest.mark.parametrize("scenario", table.params())
def test_model(scenario):
    check(scenario)
