"""Activation checkpointing: the same gradients, less memory, random numbers replayed."""

import tracemalloc

import pytest

import lampion as lp
from lampion.errors import LampionError, OverwrittenError
from lampion.testing import assert_close
from lampion.utils.checkpoint import checkpoint, checkpoint_sequential


def network(x, w):
    for _ in range(3):
        x = (x @ w).tanh()
    return lp.nn.functional.dropout(x, 0.5)


def inputs():
    lp.manual_seed(0)
    return lp.randn(5, 5, requires_grad=True), lp.randn(5, 5, requires_grad=True)


def gradients(call, order=1):
    x, w = inputs()
    lp.manual_seed(1)
    found = lp.autograd.grad((call(x, w) ** 2).sum(), (x, w), create_graph=order == 2)
    if order == 2:
        found = lp.autograd.grad((found[0] * found[1]).sum(), (x, w))
    return [g.tolist() for g in found], lp.rand(2).tolist()


@pytest.mark.parametrize("reentrant", [None, False, True])
@pytest.mark.parametrize("order", [1, 2])
def test_the_same_bits_with_dropout(reentrant, order):
    plain = gradients(network, order)
    assert gradients(lambda x, w: checkpoint(network, x, w, use_reentrant=reentrant), order) == plain
    assert gradients(lambda x, w: checkpoint(lambda x: network(x, w), x), order) == plain  # w by closure
    assert gradients(lambda x, w: checkpoint(network, x, w=w), order) == plain


def test_backward_accumulates_and_can_run_again():
    x, w = inputs()
    y = checkpoint(lambda x, w: (x @ w).tanh(), x, w).sum()
    y.backward(retain_graph=True)
    first = x.grad.clone()
    y.backward()
    assert_close(x.grad, 2 * first)


def test_nested():
    def inner(x, w):
        return (x @ w).tanh() * x

    def outer(x, w):
        return checkpoint(inner, checkpoint(inner, x, w), w).exp()

    x, w = inputs()
    found = lp.autograd.grad(checkpoint(outer, x, w).sum(), (x, w))
    for one, other in zip(found, lp.autograd.grad(outer(x, w).sum(), (x, w)), strict=True):
        assert_close(one, other)


def memory(run):
    """The bytes that are alive between the forward and the backward pass."""
    x = lp.ones(100, 1000, requires_grad=True)
    tracemalloc.start()
    try:
        y = run(x)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    y.sum().backward()
    return kept


def test_memory_is_saved():
    size = 4 * 100 * 1000
    steps = [lp.tanh] * 12

    def plain(x):
        for step in steps:
            x = step(x)
        return x

    assert memory(plain) > 12 * size
    assert memory(lambda x: checkpoint(plain, x)) < 1.5 * size  # the result alone
    assert (
        memory(lambda x: checkpoint_sequential(steps, 3, x)) < 7 * size
    )  # two inputs, the last four, the result


def test_sequential():
    model = lp.nn.Sequential(*[lp.nn.Linear(4, 4) for _ in range(5)])
    x = lp.ones(2, 4)
    for segments in (1, 2, 5):
        assert_close(checkpoint_sequential(model, segments, x, use_reentrant=False), model(x))
    with pytest.raises(LampionError, match="more segments"):
        checkpoint_sequential(model, 6, x)


def test_what_is_different_the_second_time():
    x, _ = inputs()
    sizes = iter([2, 3])
    with pytest.raises(LampionError, match="other tensors"):
        checkpoint(lambda x: x[: next(sizes)].exp(), x).sum().backward()
    times = iter([2, 1])
    with pytest.raises(LampionError, match="another number"):
        checkpoint(lambda x: [x := x.exp() for _ in range(next(times))][-1], x).sum().backward()
    middle = x * 1
    y = checkpoint(lambda x: x.exp(), middle)
    middle.add_(1)
    with pytest.raises(OverwrittenError, match="cannot run again"):
        y.sum().backward()
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(lambda x: x, x, determinism_check="never")


def test_surroundings_and_no_grad():
    seen = []

    class Around:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            seen.append(self.name)

        def __exit__(self, *exception):
            pass

    x, _ = inputs()
    y = checkpoint(lambda x: x.exp(), x, context_fn=lambda: (Around("first"), Around("second")))
    assert seen == ["first"]
    y.sum().backward()
    assert seen == ["first", "second"]
    with lp.no_grad():
        assert not checkpoint(lambda x: x.exp(), x).requires_grad


def test_compiled_with_dropout():
    def step(x, w):
        y = checkpoint(network, x, w)
        return (y, *lp.autograd.grad((y * y).sum(), (x, w)), lp.rand(2))

    compiled = lp.compile(step)
    for _ in range(2):
        lp.manual_seed(5)
        found = compiled(*inputs())
        lp.manual_seed(5)
        for one, other in zip(found, step(*inputs()), strict=True):
            assert_close(one.detach(), other.detach())


def test_plans_compute_again_instead_of_keeping():
    weights = [lp.randn(16, 16) * 0.1 for _ in range(12)]

    def network(x, keep):
        for i in range(0, 12, 4):

            def part(x, i=i):
                for w in weights[i : i + 4]:
                    x = (x @ w).tanh()
                return x

            x = part(x) if keep else checkpoint(part, x)
        return x

    def arena(keep):
        step = lp.compile(lambda x: lp.autograd.grad(network(x, keep).sum(), x)[0])
        step(lp.ones(200, 16, requires_grad=True))
        (plan,) = step.explain().plans
        return plan.arena_bytes if plan.native else None

    kept = arena(True)
    if kept is not None:  # without llvmlite plans are interpreted, and have no arena
        assert arena(False) < 0.6 * kept
