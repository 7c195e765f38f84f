"""Compiled functions whose results still need gradients: modules, arguments, results of all kinds.

What a backward pass may ask of them is in test_compile_gradients.py.
"""

import numpy as np
import pytest
from twins import Table, X, Y, check, error_of, net, randn, state

import lampion as lp
from lampion import nn
from lampion.autograd import grad
from lampion.nn import functional as F

table = Table()


def train(model, forward, note, steps=3, inputs=X):
    """The usual loop, with the loss and the optimizer outside of what is compiled."""
    optimizer = lp.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        loss = F.cross_entropy(forward(inputs), Y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        note(loss.detach(), state(model, optimizer))


# -- modules -------------------------------------------------------------------------------------------


@table(traces=1)
def a_classifier(compile, note):
    model = net()
    train(model, compile(model), note)


@table(traces=2)
def training_and_evaluation(compile, note):
    model = net(nn.BatchNorm1d(5), nn.Dropout(0.4))
    forward = compile(model)
    for _ in range(2):
        train(model, forward, note, steps=2)
        forward.eval()
        note(forward(X))
        forward(X).sum().backward()
        note(state(model))
        forward.train()


@table
def no_grad_and_grad(compile, note):
    model = net()
    forward = compile(model)
    for _ in range(2):
        with lp.no_grad():
            note(forward(X))
        note(forward(X))
        with lp.inference_mode():
            note(forward(X).is_inference())


@table
def shared_weights(compile, note):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(7, 4)
            self.out = nn.Linear(4, 7, bias=False)
            self.out.weight = self.words.weight

        def forward(self, x):
            return self.out(self.words(x).tanh())

    model = Tied()
    forward = compile(model)
    for _ in range(3):
        F.cross_entropy(forward(Y), Y).backward()
    note(state(model))


@table
def frozen_parameters(compile, note):
    model = net()
    forward = compile(model)
    for freeze in (False, True, False):
        model[0].weight.requires_grad_(not freeze)
        model.zero_grad()
        forward(X).square().mean().backward()
        note(state(model))
    model.requires_grad_(False)
    note(forward(X))


@table
def a_part_of_a_network(compile, note):
    head, body = nn.Linear(4, 4), net()
    forward = compile(body)
    for _ in range(2):
        forward(head(X)).square().sum().backward()
        note(state(head), state(body))
        forward(head(X)[:, [1, 0, 2, 3]].exp()).square().sum().backward()
        note(state(head), state(body))


@table
def two_networks_in_a_row(compile, note):
    first, second = nn.Linear(4, 4), net()
    one, other = compile(first), compile(second)
    train(nn.Sequential(first, second), lambda x: other(one(x)), note)


# -- functions: arguments and results ------------------------------------------------------------------


@table
def arguments_that_are_leaves(compile, note):
    product = compile(lambda a, b: (a @ b).tanh())
    a, b = randn(3, 4, requires_grad=True), randn(4, 5, seed=1, requires_grad=True)
    for _ in range(3):
        product(a, b).sum().backward()
        note(a.grad, b.grad)
    product(a, b.detach()).sum().backward()
    product(a.detach(), b).sum().backward()
    note(a.grad, b.grad, product(a.detach(), b.detach()))


@table
def arguments_that_are_computed(compile, note):
    square = compile(lambda x, y: (x * x * y).sum())
    leaf = randn(4, requires_grad=True)
    for scale in (2.0, 3.0):
        square(leaf * scale, leaf).backward()
        x = leaf * scale
        square(x[1:], x[:3]).backward(retain_graph=True)
        square(leaf[1:], leaf[:3]).backward()
        square(x, x).backward()
        note(leaf.grad)


@table
def an_argument_is_a_captured_tensor(compile, note):
    weight = randn(4, requires_grad=True)
    scaled = compile(lambda x: x * weight * x)
    for x in (weight, randn(4, seed=3), weight):
        scaled(x).sum().backward()
        note(weight.grad)


@table
def several_results(compile, note):
    @compile
    def parts(x):
        y = x.exp()
        return y, y.argmax(), [x.sin().sum(), y > 1], {"k": y.detach(), "x": x}

    x = randn(4, requires_grad=True)
    for number in range(4):
        result = parts(x)
        losses = [result[0].sum(), result[2][0], result[0].sum() * result[2][0], result[3]["x"].sum()]
        losses[number].backward()
        note(result, x.grad)


@table
def views_of_arguments_and_results(compile, note):
    @compile
    def views(x):
        y = x * 3
        return x[0], x.T, y, y[1], y.reshape(-1)[2:], y.detach()[0], x.detach()

    leaf = randn(3, 3, requires_grad=True)
    for x in (leaf, leaf * 1.0):
        results = views(x)
        note(results, [r._base is not None for r in results])
        sum(r.square().sum() * (i + 1) for i, r in enumerate(results) if r.requires_grad).backward()
        note(leaf.grad)


@table
def a_view_alone(compile, note):
    last = compile(lambda x: (x * x)[:, -1])
    x = randn(3, 4, requires_grad=True)
    for _ in range(2):
        y = last(x)
        y.sum().backward()
        note(y, x.grad)


@table
def results_changed_in_place_afterwards(compile, note):
    double = compile(lambda x: (x * 2, x.sin()))
    x = randn(4, requires_grad=True)
    for _ in range(2):
        a, b = double(x)
        a.mul_(a.detach() + 1)
        b[0] = 5.0
        (a.sum() + b.sum()).backward()
        note(a, b, x.grad)


@table
def changed_in_place_inside(compile, note):
    @compile
    def relu(x):
        y = x * 2
        y.clamp_(min=0)
        y[0] += x[1]
        return y

    x = randn(4, requires_grad=True)
    for _ in range(2):
        y = relu(x)
        (y * y).sum().backward()
        note(y, x.grad)


@table
def nothing_to_compute_in_the_backward(compile, note):
    shift, copy = compile(lambda x: x + 1.0), compile(lambda x: (x.clone(), x.reshape(2, 2)))
    x = randn(4, requires_grad=True)
    (shift(x) * 3).sum().backward()
    sum(y.sum() for y in copy(x)).backward()
    note(x.grad)


@table(rounded=True)  # eager has a node for each round, and adds up in another order
def loops(compile, note):
    weight = randn(3, 3, requires_grad=True)

    def cell(h, x):
        h = (x + h @ weight).tanh()
        return h, h.exp()

    def inner(total, x):
        return lp.func.scan(lambda h, w: (h * w.sin(), h.sum()), total, x)

    run = compile(lambda h, xs: lp.func.scan(cell, h, xs))
    twice = compile(lambda h, xs: lp.func.scan(inner, h, xs))
    h, xs = randn(2, 3, requires_grad=True), randn(5, 2, 3, seed=1, requires_grad=True)
    for _ in range(2):
        last, ys = run(h, xs)
        (last.sum() + ys.square().sum()).backward()
        note(weight.grad, h.grad, xs.grad)
        note(grad(run(h, xs)[0].sum(), h), grad(run(h, xs)[1].sum(), (weight, xs)))
        slopes = grad(run(h, xs)[1].sum(), (weight, h), create_graph=True)
        note(slopes, grad(slopes[0].square().sum() + slopes[1].sum(), (weight, h, xs)))
        last, sums = twice(h[0], xs)
        (last.sum() + sums.square().sum()).backward()
        note(h.grad, xs.grad)


@table
def what_is_detached_inside(compile, note):
    weight = randn(4, requires_grad=True)

    @compile
    def straight_through(x):
        with lp.no_grad():
            scale = weight.abs().max()
        return (x / scale).round().detach() - x.detach() + x * weight

    x = randn(4, seed=2, requires_grad=True)
    for _ in range(2):
        straight_through(x).square().sum().backward()
        note(x.grad, weight.grad)


@table
def a_gradient_inside_and_one_outside(compile, note):
    weight = randn(4, requires_grad=True)

    @compile
    def energy_and_force(x):
        energy = (weight * x.sin()).sum()
        (force,) = grad(energy, x, create_graph=True)
        return energy, force

    for _ in range(2):
        x = randn(4, seed=2, requires_grad=True)
        energy, force = energy_and_force(x)
        (energy + force.square().sum()).backward()
        note(energy, force, x.grad, weight.grad)


@table
def a_loss_used_up_and_one_kept(compile, note):
    weight = randn(4, requires_grad=True)

    @compile
    def step(x):
        loss = (weight * x).square().sum()
        loss.backward()
        return loss, (weight * 3).sum()

    for _ in range(2):
        weight.grad = None
        loss, other = step(X[0])
        other.backward()
        note(loss, other, weight.grad, type(error_of(loss.backward)).__name__)


@table
def indices_and_picks(compile, note):
    words = randn(7, 3, requires_grad=True)

    @compile
    def look(index):
        return words[index], F.embedding(index, words), words.gather(1, index.reshape(-1, 1) % 3)

    for index in (Y, lp.tensor([6, 6, 0])):
        words.grad = None
        sum(r.square().sum() for r in look(index)).backward()
        note(words.grad)
    note(type(error_of(look, lp.tensor([1, 2, 9]))).__name__)
    index = lp.tensor([1, 2, 3])
    result = look(index)
    index[0] = 5
    note(type(error_of(result[0].sum().backward)).__name__)


@table(rounded=True)  # NumPy's sums depend on how the incoming gradients lie in memory
def reductions_and_norms(compile, note):
    x = randn(3, 4, requires_grad=True)
    scale = randn(4, seed=1, requires_grad=True)
    for name in ("softmax", "log_softmax"):
        run = compile(lambda x: getattr(F, name)(x * scale, -1))  # noqa: B023
        (run(x) * randn(3, 4, seed=5)).sum().backward()
        note(x.grad, scale.grad)
    run = compile(lambda x: F.layer_norm(x, (4,), scale).logsumexp(0) + x.amax(1).mean() + x.std(0))
    run(x).square().sum().backward()
    note(x.grad, scale.grad)


@table
def double_precision_and_complex_numbers(compile, note):
    run = compile(lambda z: (z * z.conj()).real.sqrt() + z.imag.exp())
    z = lp.tensor([1 + 2j, 0.5 - 1j], requires_grad=True)
    run(z).sum().backward()
    note(lp.view_as_real(z.grad))
    run = compile(lambda x: x.exp().log1p())
    x = lp.tensor(np.linspace(-1, 1, 4), requires_grad=True)
    run(x).sum().backward()
    note(x.grad)


@pytest.mark.parametrize("scenario", table.params())
def test_call(scenario):
    check(scenario)
