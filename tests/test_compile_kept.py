"""What a compiled forward keeps for its backward: how much, for how long; which plans are made; threads."""

import gc
import threading

import numpy as np
from twins import net, randn

import lampion as lp
from lampion import nn
from lampion.autograd import grad
from lampion.nn import functional as F


def derivatives(compiled):
    """All backward plans that were made."""
    plans = [plan for plans in compiled.plans.values() for plan in plans]
    found = []
    tapes = [plan.binding.recording.tape for plan in plans if plan.binding.recording is not None]
    while tapes:
        for derivative in tapes.pop().derivatives.values():
            found.append(derivative)
            if derivative.after is not None:
                tapes.append(derivative.after)
    return [d for d in found if d.plan is not None]


def test_numerical_gradients():
    run = lp.compile(lambda x, w: F.softmax(x @ w, -1).log().sum(0) * x.sum())
    x = lp.tensor(np.random.default_rng(0).standard_normal((3, 4)), requires_grad=True)
    w = lp.tensor(np.random.default_rng(1).standard_normal((4, 2)), requires_grad=True)
    assert lp.autograd.gradcheck(run, (x, w))
    assert lp.autograd.gradgradcheck(run, (x, w))
    assert len(derivatives(run)) >= 2 and run.refused is None


def test_only_what_is_asked_for_is_computed():
    a, b = randn(8, 8, requires_grad=True), randn(8, 8, seed=1, requires_grad=True)
    run = lp.compile(lambda: (a @ b).sum())
    grad(run(), a)
    (one,) = derivatives(run)
    run().backward()
    assert sorted(sum(e.primitive.name == "matmul" for e in d.graph) for d in derivatives(run)) == [1, 2]
    assert one in derivatives(run)


def test_a_chain_is_computed_again_rather_than_kept():
    """Of six elementwise operations only what they start from is kept; of a dropout, a byte an element."""
    w = randn(64, 64, requires_grad=True)
    run = lp.compile(lambda x: F.gelu(x @ w).sin().exp().tanh() * 2)
    run(randn(8, 64)).sum().backward()
    (plan,) = [plan for plans in run.plans.values() for plan in plans]
    kept = plan.binding.recording.tape.kept
    assert sorted(v.nbytes for v in kept) == [8 * 64 * 4] * 2  # x, which is there anyway, and x @ w

    run = lp.compile(lambda x: F.dropout(x @ w, 0.5))
    run(randn(8, 64)).sum().backward()
    (plan,) = [plan for plans in run.plans.values() for plan in plans]
    assert sorted(v.nbytes for v in plan.binding.recording.tape.kept) == [8 * 64, 8 * 64 * 4]


def test_nothing_is_left_behind():
    """Nodes, kept values and their like go without the garbage collector."""
    model = net(nn.Dropout(0.1))
    forward = lp.compile(model)

    def step(order):
        x = randn(6, 4, requires_grad=True)
        y = forward(x)
        if order == 1:
            y.sum().backward()
        else:
            (g,) = grad(y.sum(), x, create_graph=True)
            g.square().sum().backward()
        model.zero_grad()

    for order in (1, 2):
        step(order)
        step(order)
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(50):
            step(1)
            step(2)
        assert len(gc.get_objects()) - before < 50  # one object a step would be 100
    finally:
        gc.enable()


def test_kept_values_go_with_the_backward_pass():
    w = randn(4, requires_grad=True)
    y = lp.compile(lambda x: (x * w).tanh())(randn(4))
    call = y.grad_fn.call
    assert call.kept
    y.sum().backward()
    assert all(value is None for value in call.kept)


def test_what_another_result_needs_stays():
    v, w = randn(64, requires_grad=True), randn(64, seed=1, requires_grad=True)
    a, b = lp.compile(lambda x: ((x * v).exp().sum(), (x * w).tanh().sum()))(randn(64, seed=2))
    call = a.grad_fn.next_functions[0][0].call
    assert sum(value is not None for value in call.kept) == 3  # x, and what exp and tanh gave
    a.backward()
    assert sum(value is not None for value in call.kept) == 2
    b.backward()
    assert not any(value is not None for value in call.kept)


def test_explanations_tell_of_gradients():
    w = randn(8, 8, requires_grad=True)
    run = lp.compile(lambda x: (x @ w).tanh())
    x = randn(4, 8, requires_grad=True)
    (slope,) = grad(run(x).sum(), x, create_graph=True)
    slope.square().sum().backward()
    text = str(run.explain())
    assert "gradient for 1 of 2 inputs of plan 0:" in text and "gradient of order 2 of plan 0:" in text
    assert run.explain().callouts == 0


def test_threads():
    """Several threads go forward and backward through one compiled module."""
    w = randn(16, 16, requires_grad=True)
    run = lp.compile(lambda x: (x @ w).tanh().sum(1))
    inputs = [randn(4, 16, seed=seed) for seed in range(6)]
    expected = [grad(run.function(x).sum(), w)[0].numpy() for x in inputs]
    found = [None] * len(inputs)

    def work(number):
        for _ in range(5):
            found[number] = grad(run(inputs[number]).sum(), w)[0].numpy()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-6)  # sums of 4 products of order 1 in float32
