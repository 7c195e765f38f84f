"""Every scheduler beside PyTorch's: rates and momenta over some sixty epochs, state, and messages."""

import math
import warnings

import numpy as np
import pytest

import lampion as lp

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

EPOCHS = 60


def plain(name, *args, **kwargs):
    return lambda lib, opt: getattr(lib.optim.lr_scheduler, name)(opt, *args, **kwargs)


def chained(lib, opt):
    s = lib.optim.lr_scheduler
    return s.ChainedScheduler([s.ConstantLR(opt, 0.1, 20), s.ExponentialLR(opt, 0.9), s.StepLR(opt, 7)])


def sequential(lib, opt):
    s = lib.optim.lr_scheduler
    parts = [s.LinearLR(opt, 0.1, total_iters=5), s.CosineAnnealingLR(opt, 10), s.ExponentialLR(opt, 0.95)]
    return s.SequentialLR(opt, parts, milestones=[6, 30])


def nested(lib, opt):
    s = lib.optim.lr_scheduler
    first = s.ChainedScheduler([s.ConstantLR(opt, 0.5, 3), s.PolynomialLR(opt, 20, 2.0)])
    return s.SequentialLR(opt, [first, s.CosineAnnealingWarmRestarts(opt, 5)], [25])


def on_cosine(lib, opt):
    s = lib.optim.lr_scheduler
    s.StepLR(opt, 3)  # made and never stepped; its first step counts
    return s.ChainedScheduler([s.CosineAnnealingLR(opt, 7, 0.01), s.MultiplicativeLR(opt, lambda e: 0.99)])


class Falling:
    """A function with something to remember."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, epoch):
        return self.rate**epoch


SCHEDULERS = {
    "LambdaLR": plain("LambdaLR", lambda e: 0.95**e),
    "LambdaLR of two": plain("LambdaLR", [lambda e: 1 / (1 + e), Falling(0.9)]),
    "MultiplicativeLR": plain("MultiplicativeLR", [lambda e: 0.95, lambda e: 1 - 1 / (e + 2)]),
    "StepLR": plain("StepLR", 7, gamma=0.3),
    "MultiStepLR": plain("MultiStepLR", [3, 10, 10, 40], gamma=0.5),
    "ConstantLR": plain("ConstantLR", 0.3, total_iters=11),
    "LinearLR": plain("LinearLR"),
    "LinearLR down": plain("LinearLR", 1.0, 0.2, 33),
    "ExponentialLR": plain("ExponentialLR", 0.93),
    "PolynomialLR": plain("PolynomialLR", 40, 2.5),
    "CosineAnnealingLR": plain("CosineAnnealingLR", 13, 0.001),
    "CosineAnnealingWarmRestarts": plain("CosineAnnealingWarmRestarts", 7),
    "CosineAnnealingWarmRestarts longer": plain("CosineAnnealingWarmRestarts", 4, T_mult=2, eta_min=0.01),
    "CyclicLR": plain("CyclicLR", 0.1, 0.7, step_size_up=5, step_size_down=9),
    "CyclicLR triangular2": plain("CyclicLR", [0.1, 0.2], [0.7, 0.3], step_size_up=6, mode="triangular2"),
    "CyclicLR exp_range": plain("CyclicLR", 0.1, 0.7, 8, mode="exp_range", gamma=0.97, cycle_momentum=False),
    "CyclicLR own": plain("CyclicLR", 0.1, 0.7, 4, scale_fn=Falling(0.8), scale_mode="iterations"),
    "OneCycleLR": plain("OneCycleLR", 0.8, total_steps=EPOCHS + 5),
    "OneCycleLR linear": plain("OneCycleLR", [0.8, 0.1], epochs=10, steps_per_epoch=8, pct_start=0.4,
                               anneal_strategy="linear", div_factor=5.0, final_div_factor=10.0),
    "OneCycleLR in three": plain("OneCycleLR", 0.8, total_steps=70, three_phase=True, cycle_momentum=False),
    "SWALR": lambda lib, opt: lib.optim.swa_utils.SWALR(opt, 0.01, anneal_epochs=20),
    "SWALR linear": lambda lib, opt: lib.optim.swa_utils.SWALR(opt, [0.9, 0.01], 15, "linear"),
    "SWALR at once": lambda lib, opt: lib.optim.swa_utils.SWALR(opt, 0.01, anneal_epochs=0),
    "ChainedScheduler": chained,
    "SequentialLR": sequential,
    "nested": nested,
    "on top": on_cosine,
}  # fmt: skip


#: Those that can be sent to a named epoch, and some that change Tensors.
NAMED = [
    "StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR", "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts longer", "LambdaLR",
]  # fmt: skip
IN_TENSORS = [
    "StepLR", "LinearLR", "CosineAnnealingLR", "CyclicLR", "OneCycleLR", "SWALR", "ChainedScheduler",
    "SequentialLR",
]  # fmt: skip


def optimizer(lib, name="SGD", **options):
    params = [lib.ones(2, requires_grad=True) for _ in range(2)]
    if name == "SGD":
        options = {"momentum": 0.85, **options}
    groups = [{"params": [params[0]]}, {"params": [params[1]], "lr": 0.05}]
    return getattr(lib.optim, name)(groups, lr=0.5, **options)


def options_of(opt):
    return [(float(g["lr"]), g.get("momentum"), g.get("betas")) for g in opt.param_groups]


def flat(thing):
    if isinstance(thing, list | tuple):
        return [x for part in thing for x in flat(part)]
    return [] if thing is None else [float(thing)]


def history(lib, make, name="SGD", epochs=EPOCHS, switch=None):
    """Rates and momenta in each epoch."""
    opt = optimizer(lib, name)
    scheduler = make(lib, opt)
    rows = [flat(options_of(opt))]
    for epoch in range(epochs):
        if switch is not None and epoch == epochs // 2:
            opt, scheduler = switch(opt, scheduler)
        opt.step()
        scheduler.step()
        rows.append([*flat(options_of(opt)), *flat(scheduler.get_last_lr())])
    return rows


def assert_same(ours, theirs):
    for epoch, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        # The same steps in the same order: to the last bit, or nearly.
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-18, err_msg=f"epoch {epoch}")


# The parts of a combined scheduler step when they are made and may then warn: in PyTorch, too.
WARNS = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")


@WARNS
@pytest.mark.parametrize("case", SCHEDULERS)
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_sixty_epochs(case, name):
    assert_same(history(lp, SCHEDULERS[case], name), history(torch, SCHEDULERS[case], name))


@WARNS
@pytest.mark.parametrize("case", SCHEDULERS)
def test_training_goes_on_from_saved_state(case):
    make = SCHEDULERS[case]

    def switch(opt, scheduler):
        """Start again, with the saved state."""
        new = optimizer(lp)
        again = make(lp, new)
        new.load_state_dict(opt.state_dict())
        again.load_state_dict(scheduler.state_dict())
        return new, again

    assert_same(history(lp, make, switch=switch), history(torch, make))


@WARNS
@pytest.mark.parametrize("case", SCHEDULERS)
def test_what_is_saved_has_pytorchs_names(case):
    ours, theirs = (SCHEDULERS[case](lib, optimizer(lib)).state_dict() for lib in (lp, torch))
    assert set(ours) == set(theirs)


@WARNS
@pytest.mark.parametrize("case", [c for c in SCHEDULERS if not {"own", "two"} & set(c.split())])
def test_pytorchs_saved_state_is_taken_over(case):
    make = SCHEDULERS[case]
    theirs = optimizer(torch)
    scheduler = make(torch, theirs)
    rows, part = history(torch, make), EPOCHS // 2
    for _ in range(part):
        theirs.step()
        scheduler.step()
    ours = optimizer(lp)
    again = make(lp, ours)
    ours.load_state_dict(theirs.state_dict())
    again.load_state_dict(scheduler.state_dict())
    for epoch in range(part, EPOCHS):
        ours.step()
        again.step()
        now = flat(options_of(ours))
        np.testing.assert_allclose(now, rows[epoch + 1][: len(now)], rtol=1e-14)


PLATEAUS = [
    {},
    {"mode": "max", "patience": 2, "factor": 0.5},
    {"threshold_mode": "abs", "threshold": 0.2, "patience": 1, "cooldown": 3},
    {"mode": "max", "threshold_mode": "abs", "threshold": 0.2, "patience": 1, "min_lr": [0.1, 0.01]},
    {"patience": 0, "factor": 0.9, "min_lr": 0.02, "eps": 1e-3},
]


@pytest.mark.parametrize("options", PLATEAUS)
def test_reduce_on_plateau(options):
    losses = np.random.default_rng(0).standard_normal(EPOCHS) + np.exp(-np.arange(EPOCHS) / 10)
    rows = []
    for lib in (lp, torch):
        opt = optimizer(lib)
        scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(opt, **options)
        rates = []
        for loss in losses:
            opt.step()
            scheduler.step(lib.tensor(loss))
            rates.append([*scheduler.get_last_lr(), scheduler.best, scheduler.num_bad_epochs])
        rows.append(rates)
        saved = scheduler.state_dict()
    assert_same(*rows)
    assert len(np.unique(np.array(rows[0])[:, 0])) > 1
    ours = lp.optim.lr_scheduler.ReduceLROnPlateau(optimizer(lp), **options)
    assert set(ours.state_dict()) == set(saved)


@pytest.mark.parametrize("case", NAMED)
def test_a_named_epoch(case):
    rows = []
    for lib in (lp, torch):
        opt = optimizer(lib)
        scheduler = SCHEDULERS[case](lib, opt)
        opt.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rates = []
            for epoch in (1, 5, 20, 3, 0):
                scheduler.step(epoch)
                rates.append(scheduler.get_last_lr())
        rows.append(rates)
    assert_same(*rows)


def test_a_fraction_of_an_epoch():
    rows = []
    for lib in (lp, torch):
        opt = optimizer(lib)
        scheduler = lib.optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, 3, 2)
        opt.step()
        rates = []
        for batch in range(80):
            scheduler.step(batch / 8)
            rates.append([*scheduler.get_last_lr(), scheduler.T_cur, scheduler.T_i, scheduler.last_epoch])
        rows.append(rates)
    assert_same(*rows)


@pytest.mark.parametrize("case", IN_TENSORS)
def test_a_learning_rate_in_a_tensor(case):
    rows = []
    for lib in (lp, torch):
        lr = lib.tensor(0.5)
        opt = lib.optim.SGD([lib.ones(2, requires_grad=True)], lr=lr, momentum=0.9)
        opt.add_param_group({"params": [lib.ones(2, requires_grad=True)], "lr": lib.tensor(0.1)})
        scheduler = SCHEDULERS[case](lib, opt)
        rates = []
        for _ in range(20):
            opt.step()
            scheduler.step()
            rates.append([float(x) for x in scheduler.get_last_lr()])
        assert opt.param_groups[0]["lr"] is lr
        rows.append(rates)
    for a, b in zip(*rows, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)  # float32, step after step


@pytest.mark.parametrize("case", ["StepLR", "LinearLR", "ExponentialLR", "CosineAnnealingLR", "CyclicLR"])
def test_resuming_with_last_epoch(case):
    arguments = {
        "StepLR": (3,), "LinearLR": (0.1, 1.0, 9), "ExponentialLR": (0.9,), "CosineAnnealingLR": (9,),
        "CyclicLR": (0.1, 0.4, 5),
    }[case]  # fmt: skip
    rows = []
    for lib in (lp, torch):
        opt = optimizer(lib)
        for group in opt.param_groups:
            group["initial_lr"] = group["max_momentum"] = 0.9
            group["base_momentum"] = 0.5
        scheduler = getattr(lib.optim.lr_scheduler, case)(opt, *arguments, last_epoch=4)
        rates = [scheduler.get_last_lr()]
        for _ in range(5):
            opt.step()
            scheduler.step()
            rates.append(scheduler.get_last_lr())
        rows.append(rates)
    assert_same(*rows)


def test_a_planted_bug_is_seen():
    class Late(lp.optim.lr_scheduler.ExponentialLR):
        def get_lr(self):
            return self._present() if self.last_epoch < 2 else super().get_lr()

    theirs = history(torch, SCHEDULERS["ExponentialLR"])
    with pytest.raises(AssertionError, match="epoch 1"):
        assert_same(history(lp, lambda lib, opt: Late(opt, 0.93)), theirs)
    assert math.isclose(theirs[1][0], 0.5 * 0.93)
