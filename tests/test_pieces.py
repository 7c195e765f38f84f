"""Pieces of eager that run as plans: the same results, to any order, and a switch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lampion
import lampion.nn.functional as F
from lampion import nn
from lampion.compiler import eager
from lampion.mode import uncompiled
from lampion.nn import recurrent, recurrent_loops
from lampion.nn.functional import classification, maps

pytest.importorskip("llvmlite")


@pytest.fixture
def switch() -> Any:
    """The real one, from before `planned` replaces it."""
    return eager.on


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whatever has a plan uses it, however small; which ones do is noted."""
    used: list[str] = []

    def watched(module: Any, name: str) -> None:
        function = getattr(module, name)

        def call(*args: Any) -> Any:
            used.append(name)
            return function(*args)

        monkeypatch.setattr(module, name, call)

    for module, name in ((recurrent, "_planned_layer"), (classification, "_planned_mean"),
                         (maps, "_planned_affine")):  # fmt: skip
        watched(module, name)
    for module in (recurrent_loops, classification, maps):
        monkeypatch.setattr(module, "_LARGE", 1)
    monkeypatch.setattr(eager, "on", lambda: True)
    return used


def found(layer: nn.Module, x: lampion.Tensor, *state: Any) -> list[np.ndarray]:
    """Outputs, last states, and all gradients."""
    x = x.detach().requires_grad_()
    layer.zero_grad()
    output, last = layer(x, *state)
    ends = last if isinstance(last, tuple) else (last,)
    total = (output**2).sum()
    for end in ends:
        total = total + (end**3).sum()
    total.backward()
    return [y.detach().numpy() for y in (output, *ends, x.grad, *(p.grad for p in layer.parameters()))]


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.RNN(3, 4, nonlinearity="relu"),
        lambda: nn.GRU(3, 4, bidirectional=True),
        lambda: nn.LSTM(3, 4, 2, bias=False),
        lambda: nn.LSTM(3, 4, proj_size=2),
    ],
)
def test_layers(make: Any, planned: list[str]) -> None:
    lampion.manual_seed(0)
    layer, x = make(), lampion.randn(6, 2, 3)
    ours = found(layer, x)
    assert "_planned_layer" in planned
    with uncompiled():
        wanted = found(layer, x)
    for a, b in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for a, b in zip(ours, found(layer, x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_second_derivatives(planned: list[str]) -> None:
    layer = nn.GRU(2, 3).double()
    x = lampion.randn(3, 2, 2, dtype=lampion.float64, requires_grad=True)
    assert lampion.autograd.gradgradcheck(lambda x: layer(x)[0], (x,))
    assert planned


def test_changed_weights(planned: list[str]) -> None:
    """What changes between the forward and the backward pass is noticed, or does not matter."""
    layer, x = nn.LSTM(2, 3), lampion.randn(3, 2, 2, requires_grad=True)
    (wanted,) = lampion.autograd.grad(layer(x)[0].sum(), x)
    output, _ = layer(x)
    with lampion.no_grad():
        layer.weight_hh_l0.mul_(2)
    (after,) = lampion.autograd.grad(output.sum(), x)
    assert after is not None and wanted is not None
    np.testing.assert_array_equal(after.numpy(), wanted.numpy())  # it had been copied
    head = nn.Linear(2, 3)
    output = head(lampion.randn(3, 2, requires_grad=True))
    with lampion.no_grad():
        head.weight.mul_(2)
    with pytest.raises(RuntimeError, match="overwritten"):
        output.sum().backward()


def test_cross_entropy_and_linear(planned: list[str]) -> None:
    x, target = lampion.randn(5, 3), lampion.tensor([0, 6, 2, -100, 4])
    layer: Any = nn.Linear(3, 7)

    def run() -> list[Any]:
        layer.zero_grad()
        loss = F.cross_entropy(layer(x), target)
        loss.backward()
        return [loss.detach().numpy(), *(p.grad.numpy() for p in layer.parameters())]

    ours = run()
    assert planned == ["_planned_affine", "_planned_mean"]
    with uncompiled():
        wanted = run()
    for a, b in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    with pytest.raises(IndexError, match="index 7 is out of range"):
        F.cross_entropy(layer(x), target + 1)


def test_where_plans_are_not_used(switch: Any, planned: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = nn.GRU(2, 3), lampion.randn(3, 2, 2)
    with uncompiled():
        layer(x)
    with lampion.autocast("cpu", dtype=lampion.bfloat16):
        layer(x)
    lampion.func.vmap(lambda x: layer(x)[0])(lampion.randn(2, 3, 2, 2))
    lampion.compile(lambda x: layer(x)[0])(x)
    monkeypatch.setattr(eager, "on", switch)
    monkeypatch.setenv("LAMPION_EAGER_PLANS", "off")
    layer(x)
    assert "_planned_layer" not in planned


def test_small_layers_run_as_they_are() -> None:
    def large(width: int, *shape: int) -> bool:
        return recurrent_loops.is_large(lampion.ones(*shape, width), nn.LSTM(width, width).all_weights[0])

    assert not large(20, 7, 5)
    assert large(100, 35, 20)
    assert not large(1000, 1, 200)  # there is no loop
