"""`lampion.compile(model)` and `model.compile()`: what is compiled is still a module."""

import copy
import pickle

import numpy as np
import pytest
from test_compile_layers import CASES, INDICES
from twins import X, Y, net

import lampion as lp
from lampion import nn
from lampion.compiler.module import CompiledModule
from lampion.errors import LampionError, OptionError
from lampion.nn import functional as F


def inputs(shape, seed):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 7, shape) if shape is INDICES else rng.standard_normal(shape).astype(np.float32)
    return lp.tensor(array, requires_grad=shape is not INDICES)


@pytest.mark.parametrize("name", CASES)
def test_every_layer(name):
    """Forward and backward of each layer, with all else outside: as eager, and without falling back."""
    make, shape = CASES[name]
    runs = []
    for compiled in (False, True):
        lp.manual_seed(3)
        model = make()
        forward = lp.compile(model) if compiled else model
        optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
        story = []
        for seed in range(2):
            x = inputs(shape, seed)
            y = forward(x)
            optimizer.zero_grad()
            (y**2).mean().backward()
            story += [y.detach(), *([x.grad] if x.requires_grad else [])]
            optimizer.step()
        runs.append((story, model.state_dict()))
        if compiled:
            assert forward.refused is None and (forward.explain().callouts == 0 or name == "orthogonal")
    (expected, left), (actual, left_compiled) = runs
    for a, e in zip(actual, expected, strict=True):
        # Two steps of float32; sums of the compiled parts are in another order.
        lp.testing.assert_close(a, e, rtol=1e-3, atol=1e-5)
    for key, e in left.items():
        lp.testing.assert_close(left_compiled[key], e, rtol=1e-3, atol=1e-5, label=key)


def test_it_is_the_module():
    model = net(nn.Dropout(0.5))
    fast = lp.compile(model)
    assert isinstance(fast, nn.Module) and isinstance(fast, CompiledModule) and fast._orig_mod is model
    assert lp.compile(fast) is fast
    assert list(fast.parameters()) == list(model.parameters())
    assert dict(fast.named_modules()) == dict(model.named_modules())
    assert list(fast.children()) == list(model.children()) and fast[0] is model[0] and len(fast) == len(model)
    assert fast.eval() is fast and not model.training and not model[2].training and not fast.training
    fast.training = True
    assert model.training and fast.train() is fast and model[2].training
    fast.note = "kept"
    assert model.note == "kept"
    del fast.note
    assert not hasattr(model, "note")
    assert fast.double() is fast and model[0].weight.dtype is lp.float64 and fast.float() is fast
    assert repr(fast).startswith("CompiledModule(\n  (_orig_mod): Sequential(\n    (0): Linear(")
    with pytest.raises(AttributeError, match=r"Sequential.*nothing"):
        fast.nothing  # noqa: B018


def test_methods_and_hooks_of_the_users_own():
    class Model(nn.Linear):
        def loss(self, x):
            return self(x).square().mean()

    model = Model(4, 2)
    fast = lp.compile(model)
    seen = []
    with fast.register_forward_hook(lambda module, args, output: output * 2):
        doubled = fast(X)
    lp.testing.assert_close(doubled, model(X) * 2)
    lp.testing.assert_close(fast.loss(X), model.loss(X))
    assert not seen and fast.out_features == 2


def test_state_dicts():
    model, other = net(), net()
    fast = lp.compile(model)
    assert list(fast.state_dict()) == list(model.state_dict())
    fast.load_state_dict(other.state_dict())
    lp.testing.assert_close(fast(X), other(X))
    third = net()
    as_in_pytorch = {f"_orig_mod.{name}": p for name, p in third.state_dict().items()}
    fast.load_state_dict(as_in_pytorch)
    lp.testing.assert_close(fast(X), third(X))
    whole = nn.Sequential(fast, nn.ReLU())
    assert list(whole.state_dict()) == [f"0.{name}" for name in model.state_dict()]
    whole.load_state_dict({f"0.{name}": p for name, p in other.state_dict().items()})
    lp.testing.assert_close(model(X), other(X))


def test_inside_of_another_module():
    body = net()
    whole = nn.Sequential(lp.compile(body), nn.Tanh(), nn.Linear(3, 3))
    plain = nn.Sequential(body, *list(whole)[1:])
    F.cross_entropy(whole(X), Y).backward()
    found = [p.grad.clone() for p in whole.parameters()]
    plain.zero_grad()
    F.cross_entropy(plain(X), Y).backward()
    for a, e in zip(found, (p.grad for p in plain.parameters()), strict=True):
        lp.testing.assert_close(a, e)
    assert len(found) == 6
    step = lp.compile(lambda x: whole(x).sum())
    lp.testing.assert_close(step(X), plain(X).sum())
    assert step.refused is None


def test_copies():
    fast = lp.compile(net())
    fast(X)
    for twin in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert isinstance(twin, CompiledModule) and twin[0] is not fast[0] and not twin.plans
        lp.testing.assert_close(twin(X), fast(X))


def test_compiled_in_place():
    model, plain = net(nn.BatchNorm1d(5)), net(nn.BatchNorm1d(5))
    plain.load_state_dict(model.state_dict())
    model.compile()
    for m in (model, plain):
        optimizer = lp.optim.SGD(m.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(m(X), Y).backward()
            optimizer.step()
    for name, e in plain.state_dict().items():
        lp.testing.assert_close(model.state_dict()[name], e, rtol=1e-4, atol=1e-6, label=name)  # three steps
    compiled = model._hooks.compiled
    assert compiled.traces == 1 and compiled.refused is None and "Sequential" in repr(compiled.explain())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin._hooks.compiled is None
        lp.testing.assert_close(twin(X), plain(X), rtol=1e-4, atol=1e-6)
    with model.register_forward_hook(lambda module, args, output: output + 1):
        lp.testing.assert_close(model(X), plain(X) + 1, rtol=1e-4, atol=1e-6)


def test_functional_call():
    fast = lp.compile(net())
    before = fast(X)
    doubled = {name: p.detach() * 2 for name, p in fast.named_parameters()}
    twice = lp.func.functional_call(fast, doubled, X)
    lp.testing.assert_close(fast(X), before)
    assert not np.allclose(twice.detach(), before.detach())
    slopes = lp.func.grad(lambda p: lp.func.functional_call(fast, p, X).sum())(doubled)
    lp.testing.assert_close(slopes["3.bias"] if "3.bias" in slopes else slopes["2.bias"], lp.full((3,), 6.0))
    assert fast.refused is None


def test_looking_on_does_not_stay():
    """Hooks that are there for a moment: meanwhile the module runs as it is written, afterwards compiled."""
    fast = lp.compile(net())
    before = fast(X)
    text = str(lp.summary(fast, input_data=X))
    assert "Sequential" in text and "Tanh" in text
    lp.testing.assert_close(fast(X), before)
    assert fast.refused is None and fast.traces <= 2  # once more, since modules had no table of hooks before


def test_options_of_pytorch_s_programs():
    x = lp.ones(2)
    for options in (
        {"mode": "max-autotune"},
        {"backend": "inductor"},
        {"dynamic": True},
        {"fullgraph": True},
    ):
        assert lp.compile(lambda x: x + 1, **options)(x).tolist() == [2, 2]
        layer = lp.nn.Linear(2, 1)
        layer.compile(**options)
        assert layer(x).shape == (1,)

    def plain(x):
        return x

    assert lp.compile(plain, disable=True) is plain and lp.compile(disable=True)(plain) is plain
    with pytest.raises(OptionError, match="the mode is not known"):
        lp.compile(plain, mode="fast")
    with pytest.raises(OptionError, match="the backend is not known"):
        lp.compile(plain, backend="eager")


def test_fullgraph_makes_an_error_of_what_cannot_be_recorded():
    seen = []

    @lp.compile(fullgraph=True)
    def counted(x):
        seen.append(1)
        return x

    for _ in range(2):  # not only at first
        with pytest.raises(LampionError, match=r"counted .*test_compile_module\.py") as caught:
            counted(lp.ones(1))
        assert "can be recorded whole" in str(caught.value)
    assert seen == []
