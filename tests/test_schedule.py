"""Groups stand in an order in which each reads only what earlier ones have written."""

import numpy as np
import pytest

import lampion as lp
from lampion.compiler import schedule
from lampion.testing.readings import assert_compiled, read


def floats_whose_source_was_grouped(x):
    """sq + 1 floats on sq; then sq goes into the group of the division, behind that of `where`."""
    a = lp.tanh(x)
    sq = a * a
    root = lp.sqrt(sq + 1)
    s = (-a).sum((0, 1), keepdim=True)
    return root, s * s / (sq + 1.0), a * 3, lp.where(x > 0, root, a)


def numbers():
    return lp.tensor(np.random.default_rng(0).integers(-3, 4, (8, 17)).astype(np.float32))


def test_floating_equations_wait_for_what_they_need():
    x = numbers()
    for actual, expected in zip(
        read("compiled", floats_whose_source_was_grouped, x), floats_whose_source_was_grouped(x), strict=True
    ):
        # The sum of 136 numbers in another order; the rest differs by the last bits of tanh.
        np.testing.assert_allclose(actual, expected.numpy(), rtol=2e-5, atol=2e-5)


def test_a_kernel_that_reads_what_is_not_written_yet_is_refused(monkeypatch):
    made = schedule.Schedule.__init__

    def backwards(self, *args):
        made(self, *args)
        self.groups.reverse()
        self.position = {e.output: i for i, group in enumerate(self.groups) for e in group.equations}

    monkeypatch.setattr(schedule.Schedule, "__init__", backwards)
    monkeypatch.setenv("LAMPION_CACHE", "0")  # which would know the plan
    with pytest.raises(AssertionError, match="reads what is written after it"):
        read("compiled", lambda x: (x @ x.T) @ x, numbers())


def kernels(function, *args):
    compiled = lp.compile(function)
    compiled(*args)
    return [call.kernel for call in compiled.explain().plans[0].kernels]


def stored(kernel):
    return {store.window.operand for store in kernel.stores}


def test_what_a_slope_needs_is_computed_again():
    """GELU's erf and exp are not written to memory for the backward pass; a small layer's are."""

    def step(x, w):
        y = lp.nn.functional.gelu(x @ w)
        return lp.autograd.grad((y @ w.T).sum(), [w])[0]

    for rows, expected in ((2048, 2), (32, 4)):  # GELU and the product; or half of that, 1 + erf, exp
        x, w = (lp.tensor(np.full(shape, 0.01, np.float32)) for shape in ((rows, 64), (64, 64)))
        w.requires_grad_()
        forward, *_ = kernels(step, x, w)
        assert len(stored(forward)) == expected
        assert_compiled(step, x, w)


def test_masks_of_dropout_are_made_again_from_their_bits():
    lp.manual_seed(0)

    def step(x):
        y = lp.nn.functional.dropout(x * 2, 0.5).exp()
        return y.detach(), lp.autograd.grad((y * y).sum(), [x])[0]

    x = lp.tensor(np.random.default_rng(0).standard_normal((700, 400)).astype(np.float32), requires_grad=True)
    results = []
    for function in (step, lp.compile(step)):
        lp.manual_seed(1)
        results.append([r.numpy() for r in function(x)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_what_is_overwritten_is_not_read_later_than_before():
    """A value made of a parameter is stored, rather than made again when the parameter has changed."""
    w = lp.tensor(np.ones((300, 300), np.float32), requires_grad=True)
    optimizer = lp.optim.SGD([w], lr=0.5)

    def step(x):
        optimizer.zero_grad()
        half = lp.tanh(w * 0.5)
        (half * half * x).sum().backward()
        optimizer.step()
        return (half.detach() * 2).sum()

    x = lp.tensor(np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32))
    before = w.detach().numpy().copy()
    expected, slope = step(x).item(), w.grad.numpy().copy()
    after = w.detach().numpy().copy()
    w.data.copy_(lp.tensor(before))
    assert lp.compile(step)(x).item() == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(w.grad.numpy(), slope, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(w.detach().numpy(), after, rtol=1e-5, atol=1e-6)


def test_sums_over_the_same_points_are_one_kernel():
    """Batch norm's gradients of scale and shift; but its variance needs its mean first."""

    def step(x, w):
        y = lp.nn.functional.batch_norm(x, None, None, w, w, training=True)
        return lp.autograd.grad((y * y * y).sum(), [x, w])

    x, w = (
        lp.tensor(np.random.default_rng(0).standard_normal(s).astype(np.float32)) for s in ((64, 5), (5,))
    )
    for leaf in (x, w):
        leaf.requires_grad_()
    counts = [len(k.reductions) for k in kernels(step, x, w) if type(k).__name__ == "Reduce"]
    assert max(counts) >= 2
    assert counts[:2] == [1, 1]
    assert_compiled(step, x, w)


def test_sums_that_need_each_other_stay_apart():
    def run(x):
        mean = x.mean(0)
        return mean, ((x - mean) ** 2).sum(0), x.amax(0), (x * x).sum(0, keepdim=True)

    x = lp.tensor(np.random.default_rng(0).standard_normal((40, 9)).astype(np.float32))
    assert [len(k.reductions) for k in kernels(run, x) if type(k).__name__ == "Reduce"] == [2, 1, 1]
    assert_compiled(run, x)
