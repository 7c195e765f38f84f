"""Every optimizer in a compiled step: the parameters of the eager step, recorded once."""

import warnings

import numpy as np
import pytest

import lampion as lp
from lampion.testing import assert_close

CASES = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.1, "maximize": True}),
    ("Adamax", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.1}),
    ("Adadelta", {"eps": 0.01}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.1, "betas": (0.9, 0.95)}),
    ("Rprop", {"lr": 0.1}),
    ("ASGD", {"lr": 0.1, "t0": 2, "lambd": 0.1}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1}),
    ("Muon", {"lr": 0.1}),
]
JOINED = [case for case in CASES if getattr(lp.optim, case[0]).elementwise]
IDS = [name for name, _ in CASES]
rng = np.random.default_rng(0)
X, W, V = (rng.standard_normal(shape).astype(np.float32) for shape in [(6, 4), (4, 3), (3,)])


def problem(name, options, dtype=lp.float32):
    """Parameters, an optimizer, and a step of training that goes towards and past a minimum."""
    params = [lp.tensor(a, dtype=dtype).requires_grad_() for a in (W, V)]
    optimizer = getattr(lp.optim, name)([p for p in params if name != "Muon" or p.ndim == 2], **options)

    def step(x):
        for p in params:  # Muon has not all of them
            p.grad = None
        loss = ((x @ params[0] + params[1]).tanh() ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    return params, optimizer, step


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_a_compiled_step_is_the_eager_one(name, options):
    here, there = (problem(name, options, lp.float64) for _ in range(2))
    compiled = lp.compile(there[2])
    for number in range(8):
        for _, optimizer, _ in (here, there):
            optimizer.param_groups[0]["lr"] *= 0.9  # an input of the plan, not a constant in it
        x = lp.tensor(X + number, dtype=lp.float64)
        # Sums of a few terms in another order, whose difference grows with the steps.
        assert_close(compiled(x), here[2](x), rtol=1e-10, atol=1e-12, label=f"loss {number}")
        assert_close(there[0], here[0], rtol=1e-10, atol=1e-12, label=f"step {number}")
    assert compiled.traces == 1 and not compiled.refused
    saved, expected = (part[1].state_dict()["state"] for part in (there, here))
    assert_close(saved, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), JOINED, ids=[name for name, _ in JOINED])
def test_large_parameters_take_the_same_steps(name, options):
    """From some size on the eager update is machine code as well: the same numbers as by NumPy."""
    values = rng.standard_normal(40_000).astype(np.float32)
    gradients = rng.standard_normal((6, 40_000)).astype(np.float32)
    large, small = lp.tensor(values).requires_grad_(), lp.tensor(values[:100]).requires_grad_()
    optimizers = [getattr(lp.optim, name)([p], **options) for p in (large, small)]
    for g in gradients:
        large.grad, small.grad = lp.tensor(g), lp.tensor(g[:100])
        for optimizer in optimizers:
            optimizer.step()
    assert "_compiled" in vars(optimizers[0]) and "_compiled" not in vars(optimizers[1])
    assert_close(large.detach()[:100], small.detach(), rtol=2e-6, atol=1e-7)


def test_what_a_compiled_step_cannot_hold_runs_eagerly_with_a_warning():
    def hooked():
        params, optimizer, step = problem("SGD", {})
        optimizer.register_step_pre_hook(lambda *_: None)
        return params, step

    def tensor_option():
        params, _, step = problem("SGD", {"nesterov": lp.tensor(True), "momentum": 0.9})
        return params, step

    def deciding():
        params, optimizer, _ = problem("LBFGS", {"max_iter": 3})

        def step(x):
            def closure():
                optimizer.zero_grad()
                loss = ((x @ params[0] + params[1]) ** 2).sum()
                loss.backward()
                return loss

            return optimizer.step(closure)

        return params, step

    for make in (hooked, tensor_option, deciding):
        params, step = make()
        expected, eager = make()
        compiled = lp.compile(step)
        with pytest.warns(RuntimeWarning, match="steps an optimizer|runs L-BFGS"):
            compiled(lp.tensor(X))
        compiled(lp.tensor(X))
        for _ in range(2):
            eager(lp.tensor(X))
        assert_close(params, expected)


def test_a_hook_registered_later_is_called():
    _, optimizer, step = problem("SGD", {})
    compiled = lp.compile(step)
    compiled(lp.tensor(X))
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled(lp.tensor(X))
    assert calls == [1]


def test_a_learning_rate_in_a_tensor_is_read_at_each_step():
    lr = lp.tensor(0.1)
    params, _, step = problem("SGD", {"lr": lr})
    expected, optimizer, eager = problem("SGD", {"lr": 0.1})
    compiled = lp.compile(step)
    for _ in range(3):
        compiled(lp.tensor(X)), eager(lp.tensor(X))
        lr.mul_(0.5)
        optimizer.param_groups[0]["lr"] *= 0.5
    assert_close(params, expected, rtol=1e-5, atol=1e-7)
    assert compiled.traces == 1


def test_a_closure_in_a_compiled_step():
    results = []
    for wrap in (lambda f: f, lp.compile):
        params, optimizer, _ = problem("SGD", {"lr": 0.1, "momentum": 0.9})

        def step(x, params=params, optimizer=optimizer):
            def closure():
                optimizer.zero_grad()
                loss = ((x @ params[0] + params[1]) ** 2).mean()
                loss.backward()
                return loss

            return optimizer.step(closure)

        train = wrap(step)
        losses = [train(lp.tensor(X)).item() for _ in range(4)]
        results.append((params, losses))
    assert_close(results[0], results[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "options"),
    [("SGD", {"momentum": 0.9}), ("Adam", {}), ("NAdam", {}), ("RAdam", {}), ("ASGD", {}),
     ("Adagrad", {"lr_decay": 0.1}), ("Adafactor", {})],
)  # fmt: skip
def test_two_steps_in_one_call(name, options):
    """The second one has the bias corrections and rates of the second step."""

    def trained(compiled):
        lp.manual_seed(0)
        model = lp.nn.Linear(3, 2)
        optimizer = getattr(lp.optim, name)(model.parameters(), lr=0.1, **options)

        def step(x):
            for _ in range(2):
                optimizer.zero_grad()
                model(x).pow(2).sum().backward()
                optimizer.step()

        step = lp.compile(step) if compiled else step
        x = lp.randn(4, 3)
        for _ in range(3):
            step(x)
        assert not compiled or (step.explain().fallbacks == 0 and step.traces == 1)
        return [p.detach().numpy() for p in model.parameters()], optimizer.state_dict()["state"][0]

    (eager, state), (compiled, after) = trained(False), trained(True)
    assert state.get("step") == after.get("step")
    for a, b in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # six steps, each with sums in another order


def test_parameters_stepped_unequally_often_run_eagerly():
    first, second = (lp.nn.Parameter(lp.ones(2)) for _ in range(2))
    optimizer = lp.optim.Adam([first, second], lr=0.1)

    def step():
        optimizer.zero_grad()
        first.sum().backward()
        optimizer.step()
        (first + second).sum().backward()
        optimizer.step()

    compiled = lp.compile(step)
    with pytest.warns(RuntimeWarning, match="some parameters of a group more often than others"):
        compiled()
    assert optimizer.state[first]["step"] == 2 and optimizer.state[second]["step"] == 1
