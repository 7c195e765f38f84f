"""Averaged models: the rules by hand, and beside PyTorch's where it is installed."""

import copy

import numpy as np
import pytest

import lampion as lp
from lampion.errors import OptionError
from lampion.optim import swa_utils
from lampion.testing import assert_close


def model(lib=lp):
    return lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.BatchNorm1d(4), lib.nn.Linear(4, 2))


RULES = {
    "default": {},
    "ema": {"avg_fn": swa_utils.get_ema_avg_fn(0.9)},
    "ema of lists": {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.9)},
    "swa": {"avg_fn": swa_utils.get_swa_avg_fn()},
    "swa of lists": {"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()},
    "own": {"avg_fn": lambda averaged, current, n: 0.5 * averaged + 0.5 * current + n},
}


def averaged(values, rule):
    """The rules in plain NumPy."""
    average = values[0]
    for n, value in enumerate(values[1:], 1):
        if rule.startswith("ema"):
            average = 0.9 * average + 0.1 * value
        elif rule == "own":
            average = 0.5 * average + 0.5 * value + n
        else:
            average = (n * average + value) / (n + 1)
    return average


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_the_rules(rule, use_buffers):
    net = model()
    average = swa_utils.AveragedModel(net, use_buffers=use_buffers, **RULES[rule])
    rng = np.random.default_rng(0)
    seen, means = [], []
    for number in range(4):
        with lp.no_grad():
            for p in net.parameters():
                p.copy_(lp.tensor(rng.standard_normal(p.shape)))
            net[1].running_mean.fill_(float(number**2))
        seen.append([p.detach().numpy().copy() for p in net.parameters()])
        means.append(float(number**2))
        average.update_parameters(net)
    assert average.n_averaged.item() == 4
    for values, p in zip(zip(*seen, strict=True), average.module.parameters(), strict=True):
        assert_close(p.detach(), np.float32(averaged(values, rule)), rtol=1e-5, atol=1e-6)
    expected = averaged(means, rule) if use_buffers else means[-1]
    assert_close(average.module[1].running_mean, np.full(4, expected, np.float32), rtol=1e-5)
    assert average.module[0].weight.requires_grad
    again = copy.deepcopy(average)
    again.load_state_dict(average.state_dict())
    x = lp.ones(2, 3)
    assert_close(again.eval()(x), average.eval()(x))


def test_integers_are_averaged_too():
    a = lp.tensor([2, 4])
    swa_utils.get_ema_multi_avg_fn(0.5)([a], [lp.tensor([4, 9])], 1)
    assert a.tolist() == [3, 6]


def test_update_bn_takes_the_statistics_of_all_batches():
    net = model()
    rng = np.random.default_rng(0)
    batches = [lp.tensor(rng.standard_normal((5, 3)), dtype=lp.float32) for _ in range(3)]
    net.eval()
    net(batches[0])
    swa_utils.update_bn([(x, "label") for x in batches], net)
    hidden = [net[0](x).detach().numpy() for x in batches]
    assert_close(net[1].running_mean, np.mean([h.mean(0) for h in hidden], 0), rtol=1e-5, atol=1e-6)
    assert_close(net[1].running_var, np.mean([h.var(0, ddof=1) for h in hidden], 0), rtol=1e-5, atol=1e-6)
    assert net[1].momentum == 0.1 and not net.training
    swa_utils.update_bn(batches, lp.nn.Linear(3, 1))  # nothing to do


def test_errors():
    with pytest.raises(OptionError, match=r"Invalid decay value 1\.5"):
        swa_utils.get_ema_avg_fn(1.5)
    with pytest.raises(OptionError, match="Only one of"):
        swa_utils.AveragedModel(model(), avg_fn=max, multi_avg_fn=max)


@pytest.mark.parametrize("rule", ["avg_fn", "multi_avg_fn", "ema_fn", "multi_ema_fn", "buffers"])
def test_an_average_within_a_compiled_step(rule):
    rules = {
        "avg_fn": lambda: {"avg_fn": swa_utils.get_swa_avg_fn()}, "multi_avg_fn": dict,
        "ema_fn": lambda: {"avg_fn": swa_utils.get_ema_avg_fn(0.8)},
        "multi_ema_fn": lambda: {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.8)},
        "buffers": lambda: {"use_buffers": True},
    }  # fmt: skip
    results = []
    for compile in (lambda f: f, lp.compile):
        lp.manual_seed(0)
        net = lp.nn.Sequential(lp.nn.Linear(2, 3), lp.nn.BatchNorm1d(3))
        average = swa_utils.AveragedModel(net, **rules[rule]())

        @compile
        def step(x, net=net, average=average):
            with lp.no_grad():
                net[0].weight.add_(0.25)
                net(x)
            average.update_parameters(net)

        for number in range(4):
            step(lp.tensor([[1.0, number], [3.0, 4.0]]))
        results.append(list(average.state_dict().items()))
    assert step.refused is None and step.traces == 1
    for (name, a), (_, b) in zip(*results, strict=True):
        lp.testing.assert_close(b, a, label=name)


def test_it_is_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    rng = np.random.default_rng(0)
    nets = model(lp), model(torch)
    tools = swa_utils, torch.optim.swa_utils
    averages = [
        tool.AveragedModel(net, multi_avg_fn=tool.get_ema_multi_avg_fn(0.8))
        for tool, net in zip(tools, nets, strict=True)
    ]
    assert list(averages[0].state_dict()) == list(averages[1].state_dict())
    batches = [rng.standard_normal((6, 3)).astype(np.float32) for _ in range(3)]
    for _ in range(4):
        for p, q in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
            values = rng.standard_normal(p.shape).astype(np.float32)
            p.data, q.data = lp.tensor(values), torch.tensor(values)
        for average, net in zip(averages, nets, strict=True):
            average.update_parameters(net)
    for tool, average, lib in zip(tools, averages, (lp, torch), strict=True):
        tool.update_bn([lib.tensor(x) for x in batches], average)
    for (name, a), b in zip(averages[0].state_dict().items(), averages[1].state_dict().values(), strict=True):
        assert_close(a.detach(), b.detach().numpy(), rtol=1e-5, atol=1e-6, label=name)
