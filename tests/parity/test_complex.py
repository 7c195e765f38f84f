"""Complex numbers: values, first and second gradients, by PyTorch's convention."""

import numpy as np
import pytest

import lampion as lp

torch = pytest.importorskip("torch")

from both import assert_same, assert_same_slopes, slopes  # noqa: E402

RNG = np.random.default_rng(0)


def z(*shape):
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


def r(*shape):
    return RNG.standard_normal(shape)


FUNCTIONS = {
    "add": (lambda m, x, y: x + y, z(3, 2), z(2)),
    "mul": (lambda m, x, y: x * y, z(3, 2), z(3, 1)),
    "mul: a real one": (lambda m, x, y: x * y, r(3), z(2, 3)),
    "mul: a number": (lambda m, x: (2 - 3j) * x, r(3)),
    "div": (lambda m, x, y: x / y, z(3), z(3)),
    "pow": (lambda m, x, y: x**y, z(3), z(3)),
    "pow: a number": (lambda m, x: x**2.5, z(3)),
    "exp": (lambda m, x: m.exp(x), z(3)),
    "log": (lambda m, x: m.log(x), z(3)),
    "sqrt": (lambda m, x: m.sqrt(x), z(3)),
    "sin, cos": (lambda m, x: m.sin(x) * m.cos(x), z(3)),
    "tanh": (lambda m, x: m.tanh(x), z(3)),
    "sigmoid": (lambda m, x: m.sigmoid(x), z(3)),
    "expm1": (lambda m, x: m.expm1(x), z(3)),
    "matmul": (lambda m, x, y: x @ y, z(2, 3), z(3, 2)),
    "matmul: real with complex": (lambda m, x, y: x.to(y.dtype) @ y, r(2, 3), z(3, 2)),
    "sum, mean": (lambda m, x: x.sum(0) * x.mean(), z(3, 2)),
    "real": (lambda m, x: m.real(x * x) * 2, z(3)),
    "imag": (lambda m, x: m.imag(x * x) * 2, z(3)),
    "conj": (lambda m, x: m.conj(x) * x * x, z(3)),
    "view_as_real": (lambda m, x: m.view_as_real(x) * m.view_as_real(x.mT), z(2, 2)),
    "view_as_complex": (lambda m, x: m.view_as_complex(x) ** 2, r(3, 2)),
    "complex": (lambda m, x, y: m.complex(x, y) ** 2, r(3, 1), r(2)),
    "polar": (lambda m, x, y: m.polar(x, y) ** 2, abs(r(3)), r(3)),
    "cast": (lambda m, x: x.to(m.complex128) ** 2, r(3)),
    "where": (lambda m, x, y: m.where(m.real(x) > 0, x, y), z(5), z(5)),
    "mH": (lambda m, x: x @ x.mH, z(2, 3)),
    "a part, written": (lambda m, x: _written(x), z(2, 3)),
    "an imaginary part, written": (lambda m, x, y: _imaginary_written(x, y), z(2, 3), r(3)),
    "an index": (lambda m, x: x[1] * x[:, :2].sum(), z(2, 3)),
    "gather": (lambda m, x: m.gather(x, 0, x.real.argmax(0, keepdim=True)) ** 2, z(2, 3)),
    "cat": (lambda m, x, y: m.cat([x, y]) ** 2, z(2), z(3)),
}


def _written(x):
    y = x * 2
    y[0] = y[1] * (1 + 1j)
    return y * y


def _imaginary_written(x, y):
    out = x * (1 - 1j)
    out.imag.mul_(y)
    return out * out


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_slopes(name):
    function, *arrays = FUNCTIONS[name]
    ours = [lp.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    a, b = function(lp, *ours), function(torch, *theirs)
    assert_same(a, b, rtol=1e-10)
    first = slopes(a, b, ours, theirs)
    assert_same_slopes(*first, theirs, rtol=1e-10)
    second = slopes(list(first[0]), list(first[1]), ours, theirs, seed=1)
    assert_same_slopes(*second, theirs, rtol=1e-10)


def test_backward_of_a_real_and_of_a_complex_result():
    x = lp.tensor([1 + 2j], requires_grad=True)
    (x * lp.conj(x)).real.sum().backward()
    assert x.grad.tolist() == [2 + 4j]
    with pytest.raises(lp.errors.GradientError, match="real tensor with one element"):
        (x * 2).sum().backward()
