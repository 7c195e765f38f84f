"""Optimizers against their equations, in plain NumPy; groups, options, state. (PyTorch: tests/parity.)"""

import math

import numpy as np
import pytest

import lampion
from lampion.errors import LampionError
from lampion.optim import SGD, Adam

START = np.array([1.0, -2.0, 0.5])
GRADIENTS = np.random.default_rng(0).standard_normal((6, 3))


def run(optimizer_class, **options):
    """The parameter after each step, with the fixed gradients above."""
    p = lampion.tensor(START, dtype=lampion.float64, requires_grad=True)
    optimizer = optimizer_class([p], **options)
    path = []
    for gradient in GRADIENTS:
        p.grad = lampion.tensor(gradient, dtype=lampion.float64)
        optimizer.step()
        path.append(p.tolist())
    return np.array(path)


def sgd(lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False):
    p, v, path = START.copy(), None, []
    for g in GRADIENTS:
        g = (-g if maximize else g) + weight_decay * p
        if momentum:
            v = g if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        p = p - lr * g
        path.append(p)
    return np.array(path)


def adam(lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, maximize=False):
    p, m, v, path = START.copy(), 0.0, 0.0, []
    for t, g in enumerate(GRADIENTS, 1):
        g = (-g if maximize else g) + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        path.append(p)
    return np.array(path)


CASES = [
    (SGD, sgd, {"lr": 0.1}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    (Adam, adam, {"lr": 0.01}),
    (Adam, adam, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    (Adam, adam, {"lr": 0.01, "maximize": True}),
]


@pytest.mark.parametrize(("kind", "equation", "options"), CASES)
def test_the_equations(kind, equation, options):
    np.testing.assert_allclose(run(kind, **options), equation(**options), rtol=1e-12)


class NoCorrection(Adam):
    """A planted bug: Adam without bias correction."""

    def scalars(self, group, step, *numbers):
        return group["lr"], 1.0, *super().scalars(group, step)[2:]


class LateMomentum(SGD):
    """A planted bug: the first gradient is dampened too."""

    def scalars(self, group, step, *numbers):
        lr, momentum, _, decay = super().scalars(group, step)
        return lr, momentum, 1.0 - group["dampening"], decay


@pytest.mark.parametrize(
    ("kind", "equation", "options"),
    [(NoCorrection, adam, {"lr": 0.01}), (LateMomentum, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3})],
)
def test_a_planted_bug_is_seen(kind, equation, options):
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(run(kind, **options), equation(**options), rtol=1e-12)


def test_only_parameters_with_a_gradient_are_updated():
    a, b = (lampion.ones(1, requires_grad=True) for _ in range(2))
    optimizer = Adam([a, b], lr=0.5)
    a.sum().backward()
    optimizer.step()
    assert a.item() < 1.0 and b.item() == 1.0 and b not in optimizer.state
    b.sum().backward()
    optimizer.step()  # b's first step, a's second: each with its own bias correction
    np.testing.assert_allclose([a.item(), b.item()], [0.0, 0.5], atol=1e-6)


def test_groups_have_options_of_their_own():
    a, b = (lampion.ones(1, requires_grad=True) for _ in range(2))
    optimizer = SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    (a + b).sum().backward()
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item()], [0.9, 0.5], rtol=1e-6)
    optimizer.param_groups[0]["lr"] = 0.3
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item()], [0.6, 0.0], rtol=1e-6, atol=1e-7)
    c = lampion.ones(1, requires_grad=True)
    optimizer.add_param_group({"params": [c], "momentum": 0.9})
    assert [g["lr"] for g in optimizer.param_groups] == [0.3, 0.5, 0.1]
    assert repr(optimizer).startswith("SGD (\nParameter Group 0\n    dampening: 0\n    differentiable")


def test_zero_grad_and_closure():
    w = lampion.ones(1, requires_grad=True)
    optimizer = SGD([w], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1.0 and math.isclose(w.item(), 0.8, rel_tol=1e-6)
    gradient = w.grad
    optimizer.zero_grad(set_to_none=False)
    assert w.grad is gradient and gradient.item() == 0.0
    optimizer.zero_grad()
    assert w.grad is None


def test_a_step_counts_as_a_write():
    w = lampion.ones(1, requires_grad=True)
    loss = (w * w).sum()
    w.grad = lampion.ones(1)
    SGD([w], lr=0.1).step()
    with pytest.raises(lampion.errors.OverwrittenError, match=r"SGD.step\(\)"):
        loss.backward()


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_state_dict_resumes_to_the_same_bits(kind):
    options = {"lr": 0.05, **({"momentum": 0.9} if kind is SGD else {})}

    def steps(p, optimizer, gradients):
        for gradient in gradients:
            p.grad = lampion.tensor(gradient, dtype=lampion.float32)
            optimizer.step()

    whole = lampion.tensor(START.tolist(), requires_grad=True)
    steps(whole, kind([whole], **options), GRADIENTS)
    first = lampion.tensor(START.tolist(), requires_grad=True)
    before = kind([first], **options)
    steps(first, before, GRADIENTS[:3])
    saved = before.state_dict()
    second = first.detach().clone().requires_grad_()
    after = kind([second], lr=9.0)
    after.load_state_dict(saved)
    steps(first, before, GRADIENTS[3:])  # must not reach what was saved
    steps(second, after, GRADIENTS[3:])
    assert second.tolist() == whole.tolist() == first.tolist()
    with pytest.raises(LampionError, match="the parameter groups differ"):
        kind([{"params": [second]}, {"params": [first]}], **options).load_state_dict(saved)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda w: SGD([], lr=0.1), "(?s)SGD: optimizer got an empty parameter list.*an empty list"),
        (lambda w: SGD(w, lr=0.1), "a single Tensor"),
        (lambda w: SGD({w}, lr=0.1).add_param_group({"params": {w}}), "ordered collections"),
        (lambda w: SGD([w * 2], lr=0.1), "must be a leaf"),
        (lambda w: SGD([1.0], lr=0.1), "(?s)can only optimize Tensors.*got: float"),
        (lambda w: Adam([w, w]), "duplicate parameters"),
        (lambda w: Adam([{"params": w}, {"params": w}]), "more than one parameter group"),
        (lambda w: Adam([("w", w), lampion.ones(1)]), "Some param names are missing"),
        (lambda w: Adam([("w", w)]).add_param_group({"params": lampion.ones(1)}), "group without names"),
        (lambda w: Adam([w]).add_param_group([lampion.ones(1)]), "param_group must be a dict"),
        (lambda w: SGD([w], lr=-1.0), "(?s)Invalid learning rate: -1.0.*expected: lr >= 0"),
        (lambda w: SGD([w], lr=float("nan")), "Invalid learning rate: nan"),
        (lambda w: SGD([w], lr=lampion.ones(2)), "Tensor lr must be 1-element"),
        (lambda w: SGD([{"params": w, "momentum": -1}], lr=0.1), "Invalid momentum value: -1"),
        (lambda w: SGD([w], lr=0.1, nesterov=True), "Nesterov momentum requires"),
        (lambda w: Adam([w], betas=(1.0, 0.9)), "(?s)Invalid beta parameter at index 0: 1.0.*0 <= beta < 1"),
        (lambda w: Adam([w], betas=(0.9, lampion.tensor(0.9))), "both floats or both Tensors"),
        (lambda w: Adam([w], differentiable=True), "differentiable=True is not available"),
        (lambda w: Adam([w], fused=True, foreach=True), "cannot be `True` together"),
        (lambda w: lampion.optim.Rprop([w], etas=(1.0, 0.5)), "Invalid eta values: 1.0, 0.5"),
        (lambda w: lampion.optim.RMSprop([w], alpha=-1.0), "Invalid alpha value: -1.0"),
        (lambda w: lampion.optim.Adadelta([w], rho=1.1), "Invalid rho value: 1.1"),
    ],
)
def test_errors(make, message):
    with pytest.raises(LampionError, match=message):
        make(lampion.ones(1, requires_grad=True))
