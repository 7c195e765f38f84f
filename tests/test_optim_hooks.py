"""What surrounds an optimizer's step: names, hooks, copies, optimizers of one's own, complex parameters."""

import copy
import pickle

import numpy as np
import pytest

import lampion as lp
from lampion.errors import LampionError, OptionError
from lampion.testing import assert_close


def parameter(*values):
    p = lp.tensor([1.0, *values], requires_grad=True)
    p.grad = lp.ones(len(values) + 1)
    return p


def test_parameters_with_names():
    model = lp.nn.Linear(2, 1)
    opt = lp.optim.Adam(model.named_parameters())
    assert opt.param_groups[0]["param_names"] == ["weight", "bias"]
    assert opt.param_groups[0]["params"] == list(model.parameters())
    saved = opt.state_dict()
    assert saved["param_groups"][0]["param_names"] == ["weight", "bias"]
    other = lp.optim.Adam([{"params": list(lp.nn.Linear(2, 1).named_parameters())}])
    saved["param_groups"][0]["param_names"] = ["a", "b"]
    other.load_state_dict(saved)
    assert other.param_groups[0]["param_names"] == ["a", "b"]
    opt.add_param_group({"params": [("extra", parameter())]})
    assert [g["param_names"] for g in opt.param_groups] == [["weight", "bias"], ["extra"]]


def test_hooks_around_a_step():
    p = parameter()
    opt = lp.optim.SGD([p], lr=0.5)
    calls = []
    first = opt.register_step_pre_hook(lambda o, args, kwargs: calls.append(("pre", o is opt, p.item())))
    last = opt.register_step_post_hook(lambda o, args, kwargs: calls.append(("post", o is opt, p.item())))
    opt.step()
    assert calls == [("pre", True, 1.0), ("post", True, 0.5)]
    first.remove(), first.remove(), last.remove()
    opt.step()
    assert len(calls) == 2

    def another(_, args, kwargs):
        assert args[0] is opt
        return (opt, lambda: "from the hook"), {}

    with opt.register_step_pre_hook(another):
        assert opt.step() == "from the hook"
    assert opt.step(closure=lambda: 3.0) == 3.0
    opt.register_step_pre_hook(lambda *_: 1)
    with pytest.raises(LampionError, match="None or a tuple"):
        opt.step()


def test_hooks_around_saving_and_loading():
    opt = lp.optim.SGD([parameter()], lr=0.5, momentum=0.9)
    calls = []
    opt.register_state_dict_pre_hook(lambda o: calls.append("second"))
    opt.register_state_dict_pre_hook(lambda o: calls.append("first"), prepend=True)
    opt.register_state_dict_post_hook(lambda o, state: {**state, "extra": 1})
    saved = opt.state_dict()
    assert calls == ["first", "second"] and saved["extra"] == 1

    def faster(_, state):
        assert state is not saved
        return {**state, "param_groups": [{**g, "lr": 7.0} for g in state["param_groups"]]}

    opt.register_load_state_dict_pre_hook(faster)
    opt.register_load_state_dict_post_hook(lambda o: calls.append(o.param_groups[0]["lr"]))
    opt.load_state_dict(saved)
    assert calls[-1] == 7.0 and saved["param_groups"][0]["lr"] == 0.5


@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam", "LBFGS"])
def test_copies_and_pickles_go_on_by_themselves(name):
    p = lp.tensor([1.0, -2.0], requires_grad=True)
    opt = getattr(lp.optim, name)([p], lr=0.1, **({"momentum": 0.9} if name == "SGD" else {}))
    opt.register_step_pre_hook(lambda *_: None)  # is not copied

    def steps(p, opt):
        def closure():
            opt.zero_grad()
            loss = ((p - 3) ** 4).sum()
            loss.backward()
            return loss

        for _ in range(2):
            opt.step(closure)
        return p.tolist()

    steps(p, opt)
    twins = copy.deepcopy((p, opt)), pickle.loads(pickle.dumps((p, opt)))
    expected = steps(p, opt)
    for q, twin in twins:
        assert twin.param_groups[0]["params"][0] is q is not p
        assert steps(q, twin) == expected


class Signs(lp.optim.Optimizer):
    """An optimizer with a step of its own, as in PyTorch's tutorials."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @lp.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    state["count"] = state.get("count", 0) + 1
                    p.add_(p.grad.sign() * -group["lr"])


def test_a_step_of_ones_own():
    p = parameter(2.0)
    opt = Signs([p], lr=0.5)
    calls = []
    opt.register_step_post_hook(lambda *_: calls.append(1))
    scheduler = lp.optim.lr_scheduler.StepLR(opt, 1)
    opt.step(), scheduler.step(), opt.step()
    assert_close(p.detach(), [0.45, 1.45])
    assert opt.state[p]["count"] == 2 and calls == [1, 1]
    assert opt.state_dict()["state"][0]["count"] == 2


class Rule(lp.optim.Optimizer):
    """An update rule of one's own."""

    scalar_names = ("lr",)

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    def init_state(self, p, group):
        return {"sum": lp.zeros_like(p)}

    def scalars(self, group, step, *numbers):
        return (group["lr"] / step,)

    def update(self, p, g, state, h, group):
        state["sum"] = state["sum"] + g
        return p - state["sum"] * h["lr"]


def test_a_rule_of_ones_own():
    p = parameter()
    opt = Rule([p], lr=0.5)
    opt.step(), opt.step()
    assert_close(p.detach(), [1.0 - 0.5 - 0.25 * 2])


def test_a_momentum_that_comes_later_begins_with_the_gradient():
    p, q = parameter(), parameter()
    opt = lp.optim.SGD([p], lr=0.1)
    opt.step()
    opt.param_groups[0].update(momentum=0.9, dampening=0.5)
    opt.step(), opt.step()
    with lp.no_grad():
        q.sub_(0.1)
    new = lp.optim.SGD([q], lr=0.1, momentum=0.9, dampening=0.5)
    new.step(), new.step()
    assert_close(p.detach(), q.detach(), rtol=1e-6)


@pytest.mark.parametrize("name", ["SGD", "Adam", "Adamax", "Adagrad", "RMSprop", "Rprop", "NAdam", "LBFGS"])
def test_a_complex_number_is_two_real_ones(name):
    rng = np.random.default_rng(0)
    start, goal = (rng.standard_normal((3, 2)) for _ in range(2))
    real = lp.tensor(start, requires_grad=True)
    whole = lp.tensor(start[:, 0] + 1j * start[:, 1], requires_grad=True)
    for p, target in ((real, lp.tensor(goal)), (whole, lp.tensor(goal[:, 0] + 1j * goal[:, 1]))):
        opt = getattr(lp.optim, name)([p], lr=0.1)
        for _ in range(4):

            def closure(p=p, target=target, opt=opt):
                opt.zero_grad()
                loss = (p - target).abs().pow(2).sum()
                loss.backward()
                return loss

            opt.step(closure)
    found = whole.detach().numpy()
    assert_close(np.stack([found.real, found.imag], -1), real.detach(), rtol=1e-10)


@pytest.mark.parametrize("dtype", [lp.float16, lp.bfloat16])
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Rprop", "Adafactor"])
def test_parameters_of_16_bits_are_rounded_once(name, dtype):
    """Adam's eps of 1e-8 is 0 in float16: computed there, a gradient of 0 would make nan."""
    start = np.random.default_rng(0).standard_normal((3, 4))
    half = lp.tensor(start, dtype=dtype).requires_grad_()
    full = half.detach().float().requires_grad_()
    optimizers = [getattr(lp.optim, name)([p], lr=0.1) for p in (half, full)]
    for number in range(3):
        gradient = lp.tensor(np.full((3, 4), number % 2), dtype=dtype)
        half.grad, full.grad = gradient, gradient.float()
        for optimizer in optimizers:
            optimizer.step()
    assert half.dtype is dtype
    assert_close(half.detach().float(), full.detach(), rtol=0.02, atol=0.02)


def test_only_one_group_and_a_closure_for_lbfgs():
    with pytest.raises(OptionError, match="parameter groups"):
        lp.optim.LBFGS([{"params": parameter()}, {"params": parameter()}])
    with pytest.raises(OptionError, match="needs a closure"):
        lp.optim.LBFGS([parameter()]).step()
    with pytest.raises(OptionError, match="only 'strong_wolfe'"):
        lp.optim.LBFGS([parameter()], line_search_fn="bisection")


def test_lbfgs_finds_the_bottom_of_rosenbrocks_valley():
    w = lp.tensor([-1.2, 1.0], dtype=lp.float64, requires_grad=True)
    opt = lp.optim.LBFGS([w], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
        loss.backward()
        return loss

    opt.step(closure)
    assert_close(w.detach(), [1.0, 1.0], rtol=1e-4)
    assert opt.state[w]["func_evals"] < 75
