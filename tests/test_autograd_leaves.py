"""Gradients of leaves share memory with nothing, and what detach, data and conversions do to them."""

import importlib
import itertools

import numpy as np
import pytest

import lampion as lp
from lampion.errors import GradientError
from lampion.testing import gradcheck


def leaf(*values):
    return lp.tensor(values if len(values) != 1 else values[0], dtype=lp.float64, requires_grad=True)


# -- what .grad may share memory with: nothing ---------------------------------------------------------

SHARING = {
    "a + a": lambda a, b: a + a,
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "a alone": lambda a, b: a,
    "reshape": lambda a, b: a.reshape(3, 2) + b.reshape(3, 2),
    "a reshape of a transpose": lambda a, b: a.T.reshape(2, 3) + b,
    "transpose": lambda a, b: a.T + b.T,
    "both ways": lambda a, b: a + b.reshape(3, 2).T.reshape(2, 3),
    "broadcast": lambda a, b: (a.sum() + b).broadcast_to(4, 2, 3),
    "slices": lambda a, b: lp.cat([a[:1], b[:1], a[1:], b[1:]]),
    "flatten and stack": lambda a, b: lp.stack([a.flatten(), b.flatten()]),
    "clone": lambda a, b: a.clone() + b.clone().clone(),
    "retained": lambda a, b: a.reshape(6) + b.reshape(6),
    "where": lambda a, b: lp.where(a > 0, a, b),
    "matmul": lambda a, b: (a @ b.T) + (b @ a.T),
}


def gradients_that_share(function, create_graph=False):
    """Pairs of gradients (of leaves, results, and the seed) that overlap in memory."""
    leaves = [lp.randn(2, 3, requires_grad=True) for _ in range(2)]
    out = function(*leaves)
    inner = out.reshape(-1)
    for result in (out, inner):
        result.retain_grad()
    seed = lp.ones(*inner.shape)
    inner.backward(seed, create_graph=create_graph)
    held = {"seed": seed, "inner": inner.grad, "a": leaves[0].grad, "b": leaves[1].grad}
    if out is not leaves[0]:
        held["out"] = out.grad
    arrays = {name: x.detach().numpy() for name, x in held.items() if x is not None}
    arrays |= {"a's data": leaves[0].detach().numpy(), "b's data": leaves[1].detach().numpy()}
    pairs = itertools.combinations(arrays, 2)
    return [(one, other) for one, other in pairs if np.shares_memory(arrays[one], arrays[other])]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", SHARING)
def test_gradients_share_no_memory(name, create_graph):
    assert gradients_that_share(SHARING[name], create_graph) == []


@pytest.mark.parametrize("name", SHARING)
def test_gradients_can_be_written_to(name):
    a, b = (lp.randn(2, 3, requires_grad=True) for _ in range(2))
    for _ in range(2):  # the second time adds to what is there
        SHARING[name](a, b).sum().backward()
        for x in (a, b):
            if x.grad is not None:
                x.grad.zero_()
                assert x.grad.is_contiguous() or x.grad.T.is_contiguous()


def test_gradients_of_both_orders_accumulate_apart():
    a, b = lp.ones(2, requires_grad=True), lp.ones(2, requires_grad=True)
    (a + b).sum().backward(create_graph=True)
    (a * 2).sum().backward()
    assert a.grad.tolist() == [3.0, 3.0]
    assert b.grad.tolist() == [1.0, 1.0]


def test_planted_sharing_is_seen(monkeypatch):
    """If every gradient were taken over as it is, the checks above would fail."""
    monkeypatch.setattr(importlib.import_module("lampion.tensor"), "_is_unshared", lambda x: True)
    found = {name for name, function in SHARING.items() if gradients_that_share(function)}
    assert {"a + b", "reshape", "transpose", "broadcast", "retained"} <= found


def taken_over(monkeypatch, operation, gradient_of):
    """Whether the leaf's `.grad` is the very array that the last of these operations made."""
    made = []
    forward, direct = operation.primitive.forward, operation.primitive.direct

    def noted(out):
        made.append(out.__array_interface__["data"][0])
        return out

    w = lp.randn(64, 64, requires_grad=True)
    out = gradient_of(w)
    with monkeypatch.context() as patch:
        patch.setattr(operation.primitive, "forward", lambda xp, x, y: noted(forward(xp, x, y)))
        if direct is not None:
            patch.setattr(operation.primitive, "direct", lambda x, y: noted(direct(x, y)))
        out.backward()
    return w.grad.numpy().__array_interface__["data"][0] == made[-1]


def test_a_gradient_that_nobody_else_holds_is_not_copied(monkeypatch):
    x = lp.randn(64, 64)
    assert taken_over(monkeypatch, lp.mul, lambda w: (w * x).sum())
    assert taken_over(monkeypatch, lp.matmul, lambda w: (x @ w.T).sum())


def test_a_gradient_that_somebody_holds_is_copied():
    x, w = lp.randn(64, 64), lp.randn(64, 64, requires_grad=True)
    y = w.reshape(4096)
    y.retain_grad()
    (y * x.reshape(4096)).sum().backward()
    assert not np.shares_memory(y.grad.numpy(), w.grad.numpy())


def test_a_leafs_gradient_does_not_follow_the_seed():
    x, seed = lp.ones(2, requires_grad=True), lp.ones(2)
    x.reshape(2, 1).backward(seed.reshape(2, 1))
    x.grad.zero_()
    assert seed.tolist() == [1.0, 1.0]


# -- detach, data, leaves ----------------------------------------------------------------------------


def test_detach_shares_memory_without_history():
    x = leaf(1.0, 2.0)
    d = x.detach()
    assert not d.requires_grad
    assert d.is_leaf
    d[0] = 5.0
    assert x.tolist() == [5.0, 2.0]
    d.requires_grad_()
    (d * 3).sum().backward()
    assert d.grad.tolist() == [3.0, 3.0]
    assert x.grad is None


def test_leaves():
    x = leaf(1.0)
    y = x * 2
    assert x.is_leaf
    assert x.grad_fn is None
    assert not y.is_leaf
    assert y.grad_fn.name() == "MulBackward"
    ((end, number), *_) = y.grad_fn.next_functions
    assert end.variable is x
    assert (end.name(), number, end.next_functions) == ("AccumulateGrad", 0, ())
    assert (lp.ones(1) * 2).is_leaf
    with pytest.raises(GradientError, match="follows from its inputs"):
        y.requires_grad_(False)
    x.requires_grad_(False)
    assert not (x * 2).requires_grad


def test_integers_do_not_require_gradients():
    x = lp.ones(2, requires_grad=True)
    for y in (x.long(), x.bool(), x > 0, x.argmax(), x == x):
        assert not y.requires_grad
    assert (x * x.long()).requires_grad
    assert gradcheck(lambda x: x * x.long().double(), lp.tensor([1.3, 2.6], dtype=lp.float64))


def test_gradients_cross_conversions():
    x = lp.ones(3, dtype=lp.float64, requires_grad=True)
    y = lp.ones(3, requires_grad=True)
    (x.float() * y + x * y).sum().backward()
    assert x.grad.dtype is lp.float64
    assert y.grad.dtype is lp.float32
    assert x.grad.tolist() == [2.0] * 3


def test_assigning_grad():
    x = lp.ones(2, requires_grad=True)
    x.grad = lp.ones(2)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match=r"shape and dtype(.|\n)*\(2,\), lampion.float32"):
        x.grad = lp.ones(3)


def test_data_is_replaced():
    x = lp.ones(2, 3, requires_grad=True)
    x.data = lp.zeros(3, 2).T
    assert x.tolist() == [[0.0] * 3] * 2
    x.data = lp.ones(2, 3)
    x.data.mul_(4.0)
    assert x.tolist() == [[4.0] * 3] * 2
    (x * 2).sum().backward()
    assert x.grad.tolist() == [[2.0] * 3] * 2
