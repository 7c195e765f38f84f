"""Every optimizer step by step beside PyTorch's, from the same start, on the same gradients."""

import numpy as np
import pytest

import lampion

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
from both import TYPES  # noqa: E402

STEPS = 12
SHAPES = [(4, 3), (3,), ()]

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-5}),
    ("Adam", {"lr": 0.03, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {"lr": 0.03, "amsgrad": True}),
    ("Adam", {"lr": 0.03, "weight_decay": 0.1, "decoupled_weight_decay": True, "fused": True}),
    ("AdamW", {"lr": 0.03}),
    ("AdamW", {"lr": 0.03, "weight_decay": 0.2, "amsgrad": True, "maximize": True, "foreach": True}),
    ("Adamax", {"lr": 0.1}),
    ("Adamax", {"lr": 0.1, "betas": (0.5, 0.6), "eps": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.3, "weight_decay": 0.1}),
    ("Adagrad", {"eps": 0.01, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.5, "eps": 0.01, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.5, "eps": 0.01, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9, "maximize": True}),
    ("RMSprop", {"alpha": 0.9, "momentum": 0.5, "centered": True}),
    ("NAdam", {"lr": 0.1}),
    ("NAdam", {"lr": 0.1, "momentum_decay": 0.1, "betas": (0.5, 0.9), "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {"lr": 0.1}),
    ("RAdam", {"lr": 0.1, "betas": (0.9, 0.9), "eps": 0.01, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("Rprop", {"lr": 0.1}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.05, 0.2), "maximize": True}),
    ("ASGD", {"lr": 0.1, "t0": 3}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "weight_decay": 0.1, "maximize": True}),
]
IDS = [f"{name}-{'-'.join(map(str, options)) or 'defaults'}" for name, options in CASES]


def paths(ours, theirs, dtype, halfway=None):
    """All parameters after each step, with both optimizers."""
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    gradients = [[rng.standard_normal(shape).astype(dtype) for shape in SHAPES] for _ in range(STEPS)]
    a = [lampion.tensor(x).requires_grad_() for x in start]
    b = [torch.tensor(x, requires_grad=True) for x in start]
    ours, theirs = ours(a), theirs(b)
    results = []
    for number, step in enumerate(gradients):
        for p, q, g in zip(a, b, step, strict=True):
            # A parameter without a gradient sits out: its step count falls behind.
            p.grad = None if number == 2 and p.ndim == 1 else lampion.tensor(g)
            q.grad = None if number == 2 and p.ndim == 1 else torch.tensor(g)
        if halfway is not None and number == STEPS // 2:
            ours = halfway(ours, theirs, a)
        ours.param_groups[0]["lr"] *= 0.9
        theirs.param_groups[0]["lr"] *= 0.9
        ours.step()
        theirs.step()
        results.append(([p.detach().numpy().copy() for p in a], [q.detach().numpy().copy() for q in b]))
    return results


def assert_equal_paths(results, rtol):
    for step, (a, b) in enumerate(results):
        for p, q in zip(a, b, strict=True):
            np.testing.assert_allclose(p, q, rtol=rtol, atol=rtol, err_msg=f"step {step}")


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-13), (np.float32, 2e-6)])
@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_step_by_step(name, options, dtype, rtol):
    results = paths(
        lambda ps: getattr(lampion.optim, name)(ps, **options),
        lambda ps: getattr(torch.optim, name)(ps, **options), dtype,
    )  # fmt: skip
    assert_equal_paths(results, rtol)


def test_a_planted_bug_is_seen():
    class Late(lampion.optim.Adam):
        """Corrects for one step too many."""

        def scalars(self, group, step, *numbers):
            return super().scalars(group, step + 1)

    results = paths(Late, torch.optim.Adam, np.float32)
    with pytest.raises(AssertionError, match="step 0"):
        assert_equal_paths(results, 2e-6)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_pytorchs_state_is_taken_over(name, options):
    def switch(ours, theirs, params):
        ours = getattr(lampion.optim, name)(params, lr=5.0)
        ours.load_state_dict(theirs.state_dict())
        return ours

    results = paths(
        lambda ps: getattr(lampion.optim, name)(ps, **options),
        lambda ps: getattr(torch.optim, name)(ps, **options), np.float64, switch,
    )  # fmt: skip
    assert_equal_paths(results, 1e-13)


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_state_dicts_have_one_layout(name, options):
    a, b = lampion.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    ours, theirs = getattr(lampion.optim, name)([a], **options), getattr(torch.optim, name)([b], **options)
    a.grad, b.grad = lampion.ones(2), torch.ones(2)
    ours.step(), theirs.step()
    x, y = ours.state_dict(), theirs.state_dict()
    assert x.keys() == y.keys() and x["state"].keys() == y["state"].keys()
    assert x["param_groups"] == y["param_groups"]
    for position, entry in y["state"].items():
        assert {k: (v.shape, TYPES[v.dtype]) for k, v in entry.items()} == {
            k: (v.shape, v.dtype) for k, v in x["state"][position].items()
        }
    assert repr(ours) == repr(theirs)
