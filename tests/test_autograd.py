"""The tape: backward, grad, no_grad, graphs of every form, higher orders, threads.

What happens to leaves is in `test_autograd_leaves.py`.
"""

import math
import threading

import numpy as np
import pytest

import lampion as lp
from lampion import autograd
from lampion.errors import GradientError
from lampion.testing import assert_close, gradcheck


def leaf(*values):
    return lp.tensor(values if len(values) != 1 else values[0], dtype=lp.float64, requires_grad=True)


def derivative(y, x, create_graph=True):
    return autograd.grad(y, x, create_graph=create_graph)[0]


# -- backward ----------------------------------------------------------------------------------------


def test_backward_fills_the_leaves():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (x * w).sum()
    loss.backward()
    assert x.grad.tolist() == [3.0, 4.0]
    assert w.grad.tolist() == [1.0, 2.0]
    assert loss.grad is None
    assert not x.grad.requires_grad


def test_gradients_accumulate_in_place():
    x = leaf(2.0)
    (x * 3).backward()
    first = x.grad
    (x * 4).backward()
    assert x.grad is first  # as in PyTorch: an optimizer may hold on to it
    assert first.item() == 7.0
    x.grad = None
    (x * 5).backward()
    assert x.grad.item() == 5.0
    assert first.item() == 7.0


def test_only_leaves_that_were_used_get_a_gradient():
    x, unused, constant = leaf(1.0), leaf(1.0), lp.ones((), dtype=lp.float64)
    (x * constant).backward()
    assert unused.grad is None
    assert constant.grad is None


def test_retain_graph():
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12.0
    with pytest.raises(GradientError, match="retain_graph=True"):
        y.backward()


def test_backward_from_several_roots():
    x = leaf(1.0, 2.0)
    autograd.backward([(x * 2).sum(), x * x], [None, lp.ones(2, dtype=lp.float64)])
    assert x.grad.tolist() == [4.0, 6.0]


def test_the_same_root_twice():
    x = leaf(3.0)
    y = x * x
    autograd.backward([y, y])
    assert x.grad.item() == 12.0


def test_backward_of_a_leaf():
    x = leaf(1.0)
    x.backward()
    assert x.grad.item() == 1.0


def test_a_seed_weighs_the_outputs():
    x = leaf(1.0, 2.0)
    (x * x).backward(lp.tensor([1.0, 10.0], dtype=lp.float64))
    assert x.grad.tolist() == [2.0, 40.0]


def test_a_seed_of_another_type_is_converted():
    x = lp.ones(2, requires_grad=True)
    (x * 2).backward(lp.tensor([1, 2]))
    (x * 2).backward(lp.tensor([1.0, 2.0], dtype=lp.float64))
    assert x.grad.dtype is lp.float32
    assert x.grad.tolist() == [4.0, 8.0]


def test_retain_grad_keeps_the_gradient_of_a_result():
    x = leaf(3.0)
    y = x * 2
    y.retain_grad()
    (y * y).backward()
    assert y.grad.item() == 12.0
    assert x.grad.item() == 24.0
    with pytest.raises(GradientError, match="does not require a gradient"):
        lp.ones(2).retain_grad()


def test_retain_grad_of_a_result_that_is_gone():
    x = leaf(3.0)
    y = x * 2
    y.retain_grad()
    z = y * y
    del y
    z.backward()
    assert x.grad.item() == 24.0


# -- grad --------------------------------------------------------------------------------------------


def test_grad_leaves_no_trace():
    x = leaf(3.0)
    (slope,) = autograd.grad(x * x, x)
    assert slope.item() == 6.0
    assert x.grad is None
    assert not slope.requires_grad


def test_grad_of_results_in_between():
    x = leaf(2.0)
    y = x * 3
    z = y * y * x
    dy, dx = autograd.grad(z, [y, x])
    assert dy.item() == 24.0  # 2 y x
    assert dx.item() == 108.0  # 27 x**2


def test_grad_of_the_output_itself():
    x = leaf(2.0)
    y = x * 3
    dy, dx = autograd.grad(y, [y, x])
    assert dy.item() == 1.0
    assert dx.item() == 3.0


def test_grad_with_an_input_named_twice():
    x = leaf(2.0)
    assert [g.item() for g in autograd.grad(x * x, [x, x])] == [4.0, 4.0]


def test_unused_inputs():
    x, other = leaf(1.0), leaf(1.0)
    with pytest.raises(GradientError, match=r"input 1 was not used(.|\n)*allow_unused=True"):
        autograd.grad(x * 2, [x, other])
    slope, nothing = autograd.grad(x * 2, [x, other], allow_unused=True)
    assert slope.item() == 2.0
    assert nothing is None


def test_grad_walks_only_towards_its_inputs():
    calls = []

    class Noisy:
        """A gradient that says when it is computed."""

        @staticmethod
        def of(x, name):
            y = x * 1.0
            original = y._node.primitive.vjp

            class Shadow:
                def __getattr__(self, attribute):
                    return getattr(type(self).primitive, attribute)

                def vjp(self, g, *saved, **params):
                    calls.append(name)
                    return original(g, *saved, **params)

            Shadow.primitive = y._node.primitive
            y._node.primitive = Shadow()
            return y

    x, w = leaf(1.0), leaf(1.0)
    z = Noisy.of(x, "x") * Noisy.of(w, "w")
    autograd.grad(z, x)
    assert calls == ["x"]


# -- no_grad and its relatives -----------------------------------------------------------------------


def test_no_grad_as_block_and_decorator():
    x = leaf(1.0)
    with lp.no_grad():
        assert not (x * 2).requires_grad
        with lp.enable_grad():
            assert (x * 2).requires_grad
        assert not lp.is_grad_enabled()
    assert lp.is_grad_enabled()

    @lp.no_grad()
    def silent(x, depth=2):
        return silent(x, depth - 1) if depth else x * 2

    assert not silent(x).requires_grad
    assert lp.is_grad_enabled()


def test_no_grad_ends_with_an_exception():
    scope = lp.no_grad()
    with pytest.raises(ZeroDivisionError), scope:
        raise ZeroDivisionError
    assert lp.is_grad_enabled()


def test_set_grad_enabled():
    x = leaf(1.0)
    with lp.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert lp.is_grad_enabled()
    lp.set_grad_enabled(False)
    assert not (x * 2).requires_grad
    lp.set_grad_enabled(True)


def test_each_thread_has_its_own_grad_mode():
    inside, done = threading.Event(), threading.Event()
    seen = {}

    def other():
        with lp.no_grad():
            inside.set()
            assert done.wait(10)
        seen["fresh"] = lp.is_grad_enabled()

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    seen["here"] = lp.is_grad_enabled()
    done.set()
    thread.join()
    assert seen == {"here": True, "fresh": True}


def test_threads_differentiate_at_the_same_time():
    results = {}

    def work(number):
        x = leaf(float(number))
        for _ in range(50):
            y = x
            for _ in range(20):
                y = (y * 1.01).sin() + x
            (slope,) = autograd.grad(y, x)
        results[number] = slope.item()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = dict(results)
    for number in range(4):
        work(number)
    assert results == alone


# -- graphs of every form ----------------------------------------------------------------------------


def test_a_diamond():
    x = leaf(2.0)
    left, right = x * 3, x * x
    (left * right).backward()  # 3 x**3
    assert x.grad.item() == 36.0


def test_many_diamonds_in_a_row_take_linear_time():
    x = leaf(1.0)
    y = x
    for _ in range(60):  # 2**60 paths
        y = (y + y) * 0.5
    y.backward()
    assert x.grad.item() == 1.0


def test_tied_weights():
    w = leaf([[0.5, -0.2], [0.1, 0.3]])
    x = lp.tensor([[1.0, 2.0]], dtype=lp.float64)
    assert gradcheck(lambda w: (x @ w).tanh() @ w.T, w)
    ((x @ w).tanh() @ w.T).sum().backward()
    once = w.grad.tolist()
    a, b = (w.detach().clone().requires_grad_() for _ in range(2))
    ((x @ a).tanh() @ b.T).sum().backward()
    assert_close(once, (a.grad + b.grad).tolist())


def test_a_tensor_used_with_itself():
    functions = (
        lambda x: x + x, lambda x: x - x, lambda x: x * x, lambda x: x / x, lambda x: x**x, lambda x: x @ x,
        lambda x: lp.cat([x, x]), lambda x: lp.where(x > 1, x, x * x),
    )  # fmt: skip
    for function in functions:
        gradcheck(function, leaf(0.5, 1.5))


@pytest.mark.parametrize("n", [10_000, 50_000])
def test_deep_chains_need_no_deep_stack(n):
    x = lp.ones((), requires_grad=True)
    y = x
    for _ in range(n):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0
    del y  # nor does freeing it


def test_a_deep_chain_differentiated_twice():
    x = leaf(1.0)
    y = x
    for _ in range(2000):
        y = y * 1.0001
    slope = derivative(y * y, x)
    curvature = derivative(slope, x, create_graph=False)
    assert_close(curvature.item(), 2 * 1.0001**4000, rtol=1e-9, atol=0)


def test_rosenbrock():
    x, y = leaf(0.0), leaf(2.0)
    z = 100 * (y - x**2) ** 2 + (x - 1) ** 2
    z.backward()
    assert x.grad.item() == -2.0
    assert y.grad.item() == 400.0


def test_newtons_method_finds_the_minimum_of_rosenbrock():
    point = np.array([-1.2, 1.0])
    for _ in range(8):
        v = lp.from_numpy(point).requires_grad_()
        z = 100 * (v[1] - v[0] ** 2) ** 2 + (v[0] - 1) ** 2
        slope = derivative(z, v)
        hessian = np.stack([derivative(slope[i], v).detach().numpy() for i in range(2)])
        point = point - np.linalg.solve(hessian, slope.detach().numpy())
    assert_close(point, np.ones(2), rtol=1e-10, atol=1e-10)


# -- higher orders -----------------------------------------------------------------------------------

X = 0.7


def nth(function, n):
    x = leaf(X)
    y = function(x)
    for _ in range(n):
        y = derivative(y, x)
    return y.item()


@pytest.mark.parametrize("n", range(9))
def test_nth_derivative_of_sin(n):
    assert_close(nth(lp.sin, n), math.sin(X + n * math.pi / 2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", range(6))
def test_nth_derivative_of_tanh(n):
    # Each derivative of t = tanh(x) is a polynomial in t: p(t) becomes p'(t) (1 - t**2).
    polynomial = np.polynomial.Polynomial([0, 1])
    for _ in range(n):
        polynomial = polynomial.deriv() * np.polynomial.Polynomial([1, 0, -1])
    assert_close(nth(lp.tanh, n), polynomial(math.tanh(X)), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("n", range(6))
def test_nth_derivatives_of_powers_and_logarithms(n):
    falling = math.prod(3.5 - i for i in range(n))
    assert_close(nth(lambda x: x**3.5, n), falling * X ** (3.5 - n), rtol=1e-11, atol=1e-11)
    expected = math.log(X) if n == 0 else (-1) ** (n - 1) * math.factorial(n - 1) / X**n
    assert_close(nth(lp.log, n), expected, rtol=1e-11, atol=1e-11)
    assert_close(nth(lambda x: (x * 2).exp(), n), 2**n * math.exp(2 * X), rtol=1e-11, atol=1e-11)


def test_backward_with_create_graph():
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    first = x.grad
    assert first.requires_grad
    x.grad = None
    first.backward()
    assert x.grad.item() == 12.0


def test_a_gradient_penalty():
    w = leaf([[0.3, -0.4], [0.2, 0.1]])

    def penalty(w):
        x = lp.tensor([[1.0, -0.5]], dtype=lp.float64, requires_grad=True)
        slope = derivative(((x @ w).tanh() ** 2).sum(), x)
        return ((slope * slope).sum().sqrt() - 1) ** 2

    assert gradcheck(penalty, w)


def test_mixed_derivatives_are_symmetric():
    x, y = leaf(0.3), leaf(0.8)
    z = (x * y).sin() * (x / y).exp()
    dx, dy = autograd.grad(z, [x, y], create_graph=True)
    assert_close(derivative(dx, y).item(), derivative(dy, x).item(), rtol=1e-13, atol=0)


def test_without_create_graph_the_gradient_has_no_history():
    x = leaf(2.0)
    slope = derivative(x**3, x, create_graph=False)
    with pytest.raises(GradientError, match="does not require a gradient"):
        autograd.grad(slope, x)
