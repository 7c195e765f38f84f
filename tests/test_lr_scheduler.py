"""Schedulers: equations, compiled steps, warnings, errors. (Beside PyTorch: tests/parity.)"""

import copy
import math
import pickle
import warnings

import numpy as np
import pytest

import lampion as lp
from lampion.errors import OptionError
from lampion.optim import lr_scheduler as s

BASE = 0.5


def optimizer(**options):
    return lp.optim.SGD([lp.ones(2, requires_grad=True)], lr=BASE, **options)


# The formulas of the docstrings, as functions of the epoch.
EQUATIONS = {
    "StepLR": (lambda o: s.StepLR(o, 3, 0.5), lambda e: BASE * 0.5 ** (e // 3)),
    "MultiStepLR": (
        lambda o: s.MultiStepLR(o, [2, 5], 0.5), lambda e: BASE * 0.5 ** ((e >= 2) + (e >= 5)),
    ),
    "ConstantLR": (lambda o: s.ConstantLR(o, 0.1, 4), lambda e: BASE * (0.1 if e < 4 else 1.0)),
    "LinearLR": (
        lambda o: s.LinearLR(o, 0.2, 0.8, 5), lambda e: BASE * (0.2 + 0.6 * min(e, 5) / 5),
    ),
    "ExponentialLR": (lambda o: s.ExponentialLR(o, 0.7), lambda e: BASE * 0.7**e),
    "PolynomialLR": (
        lambda o: s.PolynomialLR(o, 6, 2.0), lambda e: BASE * (1 - min(e, 6) / 6) ** 2,
    ),
    "LambdaLR": (lambda o: s.LambdaLR(o, lambda e: 1 / (1 + e)), lambda e: BASE / (1 + e)),
    "CosineAnnealingLR": (
        lambda o: s.CosineAnnealingLR(o, 4, 0.1),
        lambda e: 0.1 + (BASE - 0.1) * (1 + math.cos(math.pi * e / 4)) / 2,
    ),
    "CosineAnnealingWarmRestarts": (
        lambda o: s.CosineAnnealingWarmRestarts(o, 3),
        lambda e: BASE * (1 + math.cos(math.pi * (e % 3) / 3)) / 2,
    ),
    "CyclicLR": (
        lambda o: s.CyclicLR(o, 0.1, 0.9, 4, cycle_momentum=False),
        lambda e: 0.1 + 0.8 * (1 - abs(e % 8 / 4 - 1)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EQUATIONS)
def test_the_equations(name):
    make, equation = EQUATIONS[name]
    opt = optimizer()
    scheduler = make(opt)
    for epoch in range(13):
        np.testing.assert_allclose(opt.param_groups[0]["lr"], equation(epoch), rtol=1e-12, atol=1e-15)
        assert scheduler.get_last_lr() == [opt.param_groups[0]["lr"]]
        opt.step(), scheduler.step()


def training(kind, options, make):
    """A parameter, a step of training and a scheduler."""
    w = lp.tensor([1.0, -2.0, 3.0], dtype=lp.float64, requires_grad=True)
    opt = kind([w], **options)
    scheduler = make(opt)

    def step(x):
        opt.zero_grad()
        loss = ((w - x) ** 2).sum()
        loss.backward()
        opt.step()
        return loss

    return w, step, scheduler


COMPILED = {
    "cosine": (lp.optim.SGD, {"lr": 0.1}, lambda o: s.CosineAnnealingLR(o, 6)),
    "one cycle": (lp.optim.SGD, {"lr": 0.1, "momentum": 0.9}, lambda o: s.OneCycleLR(o, 0.2, 15)),
    "betas": (lp.optim.Adam, {"lr": 0.1}, lambda o: s.CyclicLR(o, 0.01, 0.2, 5)),
    "decay": (lp.optim.AdamW, {"lr": 0.1}, lambda o: s.LinearLR(o)),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPILED)
def test_a_compiled_step_follows_without_being_recorded_again(case):
    (w, step, scheduler), (expected, eager, other) = (training(*COMPILED[case]) for _ in range(2))
    compiled = lp.compile(step)
    for number in range(12):
        x = lp.tensor([0.0, 1.0, number / 4], dtype=lp.float64)
        compiled(x), eager(x)
        scheduler.step(), other.step()
        lp.testing.assert_close(w, expected, rtol=1e-12, atol=1e-12, label=f"step {number}")
    assert compiled.traces == 1 and not compiled.refused


@pytest.mark.parametrize("name", list(COMPILED))
def test_a_scheduler_inside_of_a_compiled_step(name):
    (w, step, scheduler), (expected, eager, other) = (training(*COMPILED[name]) for _ in range(2))

    @lp.compile
    def both(x):
        loss = step(x)
        scheduler.step()
        return loss

    x = lp.zeros(3, dtype=lp.float64)
    for _ in range(4):
        both(x), eager(x), other.step()
        lp.testing.assert_close(w, expected)
        assert scheduler.last_epoch == other.last_epoch
        assert scheduler.get_last_lr() == other.get_last_lr()
    assert both.refused is None and both.traces == 1


def test_what_a_scheduler_changes_is_not_read_before_it_is_changed():
    def training(compile):
        w = lp.ones(2, requires_grad=True)
        opt = lp.optim.SGD([w], lr=1.0)
        scheduler = s.ExponentialLR(opt, 0.5)

        @compile
        def step(x):
            opt.zero_grad()
            (w * x).sum().backward()
            opt.step()
            scheduler.step()
            return x * scheduler.get_last_lr()[0]

        return step

    x = lp.ones(2)
    compiled, eager = training(lp.compile), training(lambda f: f)
    with pytest.warns(RuntimeWarning, match="`_last_lr` of ExponentialLR is read in a function that steps"):
        assert compiled(x).tolist() == eager(x).tolist()
    assert compiled(x).tolist() == eager(x).tolist()


def test_a_learning_rate_read_in_a_compiled_function_is_noticed_when_it_changes():
    opt = optimizer()
    scheduler = s.ExponentialLR(opt, 0.5)
    scaled = lp.compile(lambda x: x * scheduler.get_last_lr()[0])
    for _ in range(3):
        assert scaled(lp.ones(1)).item() == scheduler.get_last_lr()[0]
        opt.step(), scheduler.step()


def test_a_step_after_its_scheduler_and_a_plateau_run_eagerly():
    for late in (True, False):
        w = lp.ones(2, requires_grad=True)
        opt = lp.optim.SGD([w], lr=1.0)
        scheduler = s.ExponentialLR(opt, 0.5) if late else s.ReduceLROnPlateau(opt)

        @lp.compile
        def step(x, opt=opt, scheduler=scheduler, late=late, w=w):
            (w * x).sum().backward()
            opt.step()
            scheduler.step() if late else scheduler.step(x.sum())
            if late:
                opt.step()

        with pytest.warns(RuntimeWarning, match="after its learning-rate" if late else "steps a learning-r"):
            step(lp.ones(2))
        assert opt.param_groups[0]["lr"] == (0.5 if late else 1.0)


def test_the_wrong_order_warns_once():
    opt = optimizer()
    scheduler = s.StepLR(opt, 2)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`") as caught:
        scheduler.step(), scheduler.step()
    assert len(caught) == 1 and caught[0].filename == __file__
    opt = optimizer()
    scheduler = s.StepLR(opt, 2)
    opt.step = lambda: None
    with pytest.warns(UserWarning, match="has been overridden"):
        scheduler.step()
    opt = optimizer()
    opt.step()
    s.StepLR(opt, 2)
    opt.step()
    s.StepLR(opt, 2).step()  # the second scheduler of one that has stepped since the first


def test_get_lr_is_for_step_alone():
    scheduler = s.StepLR(optimizer(), 2)
    with pytest.warns(UserWarning, match="use `get_last_lr"):
        scheduler.get_lr()
    scheduler.optimizer.step()
    with pytest.warns(UserWarning, match="epoch parameter"):
        scheduler.step(4)
    assert scheduler.get_last_lr() == [BASE * 0.1**2]


def test_groups_that_come_later_and_changes_by_hand():
    opt = optimizer()
    scheduler = s.ExponentialLR(opt, 0.5)
    opt.step(), scheduler.step()
    opt.add_param_group({"params": lp.ones(1, requires_grad=True), "lr": 8.0})
    opt.param_groups[0]["lr"] = 4.0
    scheduler.step()
    assert scheduler.get_last_lr() == [2.0, 4.0]


def test_copies_and_pickles_go_on():
    opt = optimizer(momentum=0.9)
    scheduler = s.OneCycleLR(opt, 0.9, 10)
    opt.step(), scheduler.step()
    for other in (copy.deepcopy((opt, scheduler)), pickle.loads(pickle.dumps((opt, scheduler)))):
        assert other[1].optimizer is other[0] is not opt
        other[0].step(), other[1].step()
        assert other[0].param_groups[0]["lr"] != opt.param_groups[0]["lr"]
        assert other[1].last_epoch == 2 and scheduler.last_epoch == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: s.StepLR(None, 2), "NoneType is not an Optimizer"),
        (lambda o: s.StepLR(o, 2, last_epoch=3), "param 'initial_lr' is not specified"),
        (lambda o: s.LambdaLR(o, [abs, abs]), "Expected 1 lr_lambdas, but got 2"),
        (lambda o: s.MultiplicativeLR(o, 0.5), "lr_lambda should be a function"),
        (lambda o: s.ConstantLR(o, 1.5), "factor expected to be between 0 and 1"),
        (lambda o: s.LinearLR(o, 0.0), "Starting multiplicative factor"),
        (lambda o: s.LinearLR(o, 0.5, 1.5), "Ending multiplicative factor"),
        (lambda o: s.CosineAnnealingWarmRestarts(o, 0), "positive integer T_0"),
        (lambda o: s.CosineAnnealingWarmRestarts(o, 2, 0), "integer T_mult >= 1"),
        (lambda o: s.CosineAnnealingWarmRestarts(o, 2).step(-1), "non-negative epoch"),
        (lambda o: s.CyclicLR(o, [0.1, 0.2], 1.0), "base_lr must have the same length"),
        (lambda o: s.CyclicLR(o, 0.1, 1.0, mode="square"), "mode is invalid and scale_fn is None"),
        (lambda o: s.OneCycleLR(o, 0.1), "total_steps OR"),
        (lambda o: s.OneCycleLR(o, 0.1, -1), "positive integer total_steps"),
        (lambda o: s.OneCycleLR(o, 0.1, 10, pct_start=2.0), "between 0 and 1 pct_start"),
        (lambda o: s.OneCycleLR(o, 0.1, 10, anneal_strategy="x"), "'cos' or 'linear'"),
        (
            lambda o: s.CyclicLR(lp.optim.Adagrad(o.param_groups[0]["params"]), 0.1, 1.0),
            "must support momentum",
        ),
        (lambda o: s.ReduceLROnPlateau(o, factor=1.0), "Factor should be < 1.0"),
        (lambda o: s.ReduceLROnPlateau(o, "least"), "mode least is unknown"),
        (lambda o: s.ReduceLROnPlateau(o, min_lr=[0.1, 0.2]), "expected 1 min_lrs"),
        (lambda o: s.ChainedScheduler([]), "at least one scheduler"),
        (lambda o: s.ChainedScheduler([s.ReduceLROnPlateau(o)]), "does not support `ReduceLROnPlateau`"),
        (lambda o: s.ChainedScheduler([s.StepLR(o, 1), s.StepLR(optimizer(), 1)]), "the same optimizer"),
        (lambda o: s.SequentialLR(o, [s.StepLR(o, 1)], [3]), "one more than the number of milestone"),
        (lambda o: lp.optim.swa_utils.SWALR(o, 0.1, -1), "anneal_epochs must be"),
        (lambda o: lp.optim.swa_utils.SWALR(o, 0.1, anneal_strategy="x"), "'cos' or 'linear'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(OptionError, match=message):
        make(optimizer(momentum=0.5))


def test_one_cycle_ends():
    opt = optimizer(momentum=0.9)
    scheduler = s.OneCycleLR(opt, 0.9, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            scheduler.step()
        with pytest.raises(OptionError, match="Tried to step 4 times"):
            scheduler.step()
