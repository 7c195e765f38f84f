"""`scan` differentiated, and in compiled steps."""

import numpy as np
import pytest
from codegen_harness import targets
from scan_harness import CLOSE, H, N, T, agree, cell_and_weights, flat, lstm, randn, recorded

import lampion
from lampion.compiler.function import run_as
from lampion.compiler.passes import optimize
from lampion.func import scan
from lampion.nn import functional as F
from lampion.testing import gradcheck, gradgradcheck

# -- gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_gradient(reverse):
    cell, weights = cell_and_weights()
    x, h = randn(T, 2, N, requires_grad=True), randn(2, H, seed=1, requires_grad=True)

    def run(x, h):
        last, ys = scan(cell, h, x, reverse=reverse)
        loss = (ys * ys).sum() + last.sum()
        return loss.detach(), lampion.autograd.grad(loss, [x, h, *weights])

    agree(run, x, h, exact=False, rtol=3e-5, atol=3e-5)  # sums of numbers of about 10, which may cancel


def test_second_gradient():
    cell, weights = cell_and_weights()
    x, h = randn(T, 2, N, seed=1, requires_grad=True), lampion.zeros(2, H)

    def run(x, h):
        last, ys = scan(cell, h, x)
        first = lampion.autograd.grad((ys * ys).sum() + last.sum(), [x, *weights], create_graph=True)
        return first[0].detach(), lampion.autograd.grad(sum((g * g).sum() for g in first), [x, *weights])

    agree(run, x, h, exact=False, rtol=3e-4, atol=1e-2)


def test_gradcheck():
    rng = np.random.default_rng(0)
    x, h, w = (
        lampion.tensor(rng.standard_normal(shape), dtype=lampion.float64, requires_grad=True)
        for shape in ((3, 2), (2,), (2, 2))
    )

    def run(x, h, w):
        last, ys = scan(lambda h, x: ((h @ w + x).sin(), h * x), h, x)
        return last, ys

    assert gradcheck(run, (x, h, w)) and gradgradcheck(run, (x, h, w))
    for function in (gradcheck, gradgradcheck):
        assert function(lambda *args: run_as("eager", run, *args), (x, h, w))


def test_a_derivative_of_any_order_of_the_recorded_loop():
    h = lampion.tensor(0.5)
    xs = lampion.tensor([1.0, 2.0, 3.0])

    def value(h):
        return scan(lambda h, x: (h * h * x, h), h, xs)[0]

    def third(h):
        h = h.detach().requires_grad_()
        g = value(h)
        for _ in range(3):
            (g,) = lampion.autograd.grad(g, [h], create_graph=True)
        return g.detach()

    # h8 = x1**4 x2**2 x3 h**8 = 12 h**8
    want = 12 * 8 * 7 * 6 * 0.5**5
    for reading in ("eager", "interpreted", "compiled"):
        assert run_as(reading, third, h).item() == pytest.approx(want, rel=1e-5)


def test_only_what_needs_a_gradient_gets_one():
    w, v = randn(N, requires_grad=True), randn(N, seed=1)
    x = randn(T, N, seed=2)

    def run(x):
        (a, b), (y, z) = scan(lambda c, x: ((c[0] * w + x, c[1] + v), (c[0].detach() * w, c[1] * x)),
                              (v, v), x)  # fmt: skip
        assert a.requires_grad and y.requires_grad and not b.requires_grad and not z.requires_grad
        return b, z, *lampion.autograd.grad(a.sum() + y.sum(), [w])

    agree(run, x, exact=False)


def test_tied_and_transposed_weights():
    w = randn(N, N, requires_grad=True)
    x = randn(T, 2, N, seed=1)

    def run(x):
        turned = w.t()

        def body(h, x):
            return ((h @ w + x) @ turned).tanh(), (h @ w.t()).sum()

        h, ys = scan(body, lampion.zeros(2, N), x)
        return lampion.autograd.grad(h.sum() + ys.sum(), [w])

    agree(run, x, exact=False)


def test_all_products_with_a_weight_leave_the_loop():
    w = randn(N, N, requires_grad=True)

    def run(x):
        h, _ = scan(lambda h, x: (((h @ w + x) @ w).tanh(), x), lampion.zeros(2, N), x)
        return lampion.autograd.grad((h * h).sum(), [w])

    x = randn(T, 2, N, seed=1)
    agree(run, x, exact=False)
    step = lampion.compile(run)
    step(x)
    *_, back = [c.kernel for c in step.explain().plans[0].kernels if type(c.kernel).__name__ == "Repeat"]
    products = [call.kernel for call in back.calls if type(call.kernel).__name__ == "Matmul"]
    assert [kernel.shape for kernel in products] == [(2, N), (2, N)]


def test_second_gradient_through_a_transposed_weight():
    w, h = randn(N, N, requires_grad=True), randn(2, N, seed=3, requires_grad=True)

    def run(x, h):
        h1, ys = scan(lambda h, x: ((h @ w.t() + x).sigmoid(), h * x), h, x)
        first = lampion.autograd.grad(h1.sum() + (ys * ys).sum(), [w, h], create_graph=True)
        return lampion.autograd.grad(sum((g * g).sum() for g in first), [w, h])

    agree(run, randn(T, 2, N, seed=2), h, exact=False, rtol=1e-4, atol=1e-4)


def test_whether_a_gradient_is_needed_follows_the_rounds():
    w, x = randn(N, requires_grad=True), randn(T, N, seed=1)

    def run(x):
        zeros = lampion.zeros(N)  # what comes from w moves on by one carry a round, and falls off
        (a, b, c), ys = scan(lambda c, x: ((c[1], c[2], x), c[0]), (zeros, zeros, w), x)
        assert not (a.requires_grad or b.requires_grad or c.requires_grad) and ys.requires_grad
        return a, lampion.autograd.grad((ys * ys).sum(), [w])

    agree(run, x, exact=False)


def test_a_loop_that_a_later_one_no_longer_reads_is_dropped():
    def run(x):
        zeros = lampion.zeros(N)
        _, (used, unused) = scan(lambda h, x: (h + x, (h, h.exp())), zeros, x)
        last, _ = scan(lambda h, x: (h + x[0], x[1].sin()), zeros, (used, unused))
        return last

    binding, _ = recorded(run, randn(T, N))
    assert "exp" not in str(optimize(binding.graph))
    agree(run, randn(T, N))


def test_backward_outside_of_the_compiled_function():
    cell, weights = cell_and_weights()
    x, h = randn(T, 2, N), lampion.zeros(2, H)
    found = []
    for function in (lambda x, h: scan(cell, h, x), lampion.compile(lambda x, h: scan(cell, h, x))):
        last, ys = function(x, h)
        first = lampion.autograd.grad((ys * ys).sum() + last.sum(), weights, create_graph=True)
        second = lampion.autograd.grad(sum((g * g).sum() for g in first), weights)
        found.append(flat([last, ys, *first, *second]))
    for got, want in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(got, want, rtol=3e-4, atol=3e-4 * abs(want).max())


def test_backward_twice_is_refused_as_in_eager():
    w = randn(N, requires_grad=True)

    def run(x):
        h, _ = scan(lambda h, x: ((h * w).exp(), x), lampion.zeros(N), x)
        h.sum().backward()
        h.sum().backward()

    for reading in ("eager", "compiled"):
        with pytest.raises(lampion.errors.GradientError, match="already been made"):
            run_as(reading, run, randn(T, N))
        w.grad = None


# -- in compiled steps -----------------------------------------------------------------------------


def training(step_of):
    """Two runs of three steps: eager, compiled. The parameters after each."""
    found = []
    for wrap in (lambda f: f, lampion.compile):
        lampion.manual_seed(3)
        weights = [randn(N, 4 * H, seed=1), randn(H, 4 * H, seed=2), randn(4 * H, seed=3)]
        weights = [(w * 0.3).requires_grad_() for w in weights]
        optimizer = lampion.optim.Adam(weights, lr=0.01)
        step = wrap(step_of(weights, optimizer))
        losses = [step(randn(T, 2, N, seed=7 + i)).item() for i in range(3)]
        found.append([losses, *(w.detach().numpy().copy() for w in weights)])
        if wrap is lampion.compile:
            assert not step.refused
            assert [c for c in step.explain().plans[0].kernels if type(c.kernel).__name__ == "Repeat"]
    return found


def test_an_lstm_trains():
    def step_of(weights, optimizer):
        cell = lstm(weights)

        def step(x):
            zeros = lampion.zeros(2, H)
            _, ys = scan(cell, (zeros, zeros), x)
            loss = ((ys - 1) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return step

    for eager, compiled in zip(*training(step_of), strict=True):
        np.testing.assert_allclose(compiled, eager, **CLOSE)


def test_an_lstm_makes_two_calls_a_round():
    weights = [randn(N, 4 * H, seed=1), randn(H, 4 * H, seed=2), randn(4 * H, seed=3)]
    for w in weights:
        w.requires_grad_()
    cell = lstm(weights)

    def step(x):
        zeros = lampion.zeros(2, H)
        _, ys = scan(cell, (zeros, zeros), x)
        return lampion.autograd.grad((ys * ys).sum(), weights)

    step = lampion.compile(step)
    step(randn(T, 2, N))
    rounds = [c.kernel for c in step.explain().plans[0].kernels if type(c.kernel).__name__ == "Repeat"]
    kinds = [[type(call.kernel).__name__ for call in loop.calls] for loop in rounds]
    assert kinds == [["Matmul", "Map"], ["Map", "Matmul"]]


def test_dropout_draws_what_the_loop_draws():
    w = randn(N, N, requires_grad=True)

    def run(x):
        lampion.rand(3)

        def body(h, x):
            return F.dropout(h @ w + x).tanh(), F.dropout(h)

        h, ys = scan(body, lampion.ones(2, N), x, reverse=True)
        (g,) = lampion.autograd.grad(h.sum() + ys.sum(), [w])
        return h.detach(), ys.detach(), g, lampion.rand(2)

    x = randn(T, 2, N, seed=1)
    found = []
    for reading in ("eager", "interpreted", "compiled"):
        lampion.manual_seed(5)
        found.append(flat(run_as(reading, run, x)))
        found[-1].append(lampion.rand(2).numpy())
    for other in found[1:]:
        for got, want in zip(other, found[0], strict=True):
            np.testing.assert_allclose(got, want, **CLOSE)
            np.testing.assert_array_equal(got == 0, want == 0)
        np.testing.assert_array_equal(other[-1], found[0][-1])
        np.testing.assert_array_equal(other[-2], found[0][-2])


def test_the_same_bits_on_any_number_of_threads():
    # Rounds of some 10 us, which threads share; the table's rows are looked up in each of them.
    w, u = randn(64, 96, seed=3, requires_grad=True), randn(96, 96, seed=4, requires_grad=True)
    table = randn(9, 96, seed=5, requires_grad=True)

    def run(x, index):
        def cell(h, now):
            x, i = now
            h = ((x @ w + h @ u) * 0.1 + table[i]).tanh()
            return h, h * 2

        h, ys = scan(cell, lampion.zeros(40, 96), (x, index))
        return h.detach(), *lampion.autograd.grad((ys * ys).sum(), [w, u, table])

    x, index, found = randn(T, 40, 64, seed=1), (lampion.arange(T * 40) % 9).reshape(T, 40), []
    wrong = index.clone()
    wrong[3, 7] = 9
    step, before = lampion.compile(run), lampion.get_num_threads()
    try:
        for threads in (1, 2, 3, 8):
            lampion.set_num_threads(threads)
            found.append(flat(step(x, index)))
            with pytest.raises(IndexError, match="index 9"):
                step(x, wrong)
    finally:
        lampion.set_num_threads(before)
    for other in found[1:]:
        for got, want in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(got, want)
    for got, want in zip(found[0], flat(run(x, index)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)  # sums of 200 products


@pytest.mark.parametrize("target", targets(), ids=str)
def test_on_each_processor(target):
    cell, weights = cell_and_weights()

    def run(x):
        h, ys = scan(cell, lampion.zeros(2, H), x)
        return h.detach(), *lampion.autograd.grad((ys * ys).sum(), weights)

    x = randn(T, 2, N)
    found = flat(run_as("compiled", run, x, target=target))
    for got, want in zip(found, flat(run(x)), strict=True):
        np.testing.assert_allclose(got, want, rtol=3e-5, atol=3e-5)  # sums of numbers of about 10


def test_state_outside_is_written_once():
    state = lampion.zeros(N)

    def run(x):
        h, ys = scan(lambda h, x: (h + x, h), state, x)
        state.copy_(h)
        return ys

    step, x = lampion.compile(run), randn(T, N)
    total = np.zeros(N, np.float32)
    for _ in range(2):
        step(x)
        for row in x.numpy():
            total = total + row
        np.testing.assert_array_equal(state.numpy(), total)


def test_an_index_out_of_range_in_a_round():
    table, state = randn(6, N), lampion.zeros(2)

    def run(index):
        h, _ = scan(lambda h, i: (h + table[i], i), lampion.zeros(2, N), index)
        state.add_(1)
        return h

    step = lampion.compile(run)
    step(lampion.tensor([[0, 1], [2, 3]]))
    bad = lampion.tensor([[0, 1], [2, 6], [1, 1]])
    with pytest.raises(IndexError) as eager:
        run(bad)
    step(lampion.tensor([[0, 1], [2, 3], [1, 1]]))
    before = state.tolist()
    with pytest.raises(IndexError) as compiled:
        step(bad)
    assert str(compiled.value) == str(eager.value) and state.tolist() == before
