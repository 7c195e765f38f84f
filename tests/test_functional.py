"""autograd.functional, gradcheck with PyTorch's arguments, forward_ad."""

import numpy as np
import pytest

import lampion as lp
from lampion.autograd import Function, forward_ad, functional, gradcheck, gradgradcheck
from lampion.errors import GradientError, LampionError
from lampion.testing import assert_close

X = np.linspace(-1.0, 1.5, 6).reshape(2, 3)
Y = np.array([0.5, -0.3, 2.0])


def points(requires_grad=False):
    return tuple(lp.from_numpy(a.copy()).requires_grad_(requires_grad) for a in (X, Y))


def product(x, y):
    return (x * y).sin()


def scalar(x, y):
    return ((x * y).sin() * x).sum()


def both(create_graph):
    """Everything twice: with plain inputs and with inputs that a graph leads to."""
    x, y = points(create_graph)
    v, w = lp.ones(2, 3, dtype=lp.float64), lp.ones(3, dtype=lp.float64)
    return x, y, v, w


@pytest.mark.parametrize("create_graph", [False, True])
def test_products_agree_with_the_matrices(create_graph):
    x, y, v, w = both(create_graph)
    value, (dx, dy) = functional.vjp(product, (x, y), v, create_graph=create_graph)
    rows = functional.jacobian(product, (x, y), create_graph=create_graph)
    assert_close(value, np.sin(X * Y))
    assert_close(dx, rows[0].sum((0, 1)))
    assert_close(dy, rows[1].sum((0, 1)))
    _, moved = functional.jvp(product, (x, y), (v, w), create_graph=create_graph)
    assert_close(moved, rows[0].sum((2, 3)) + rows[1].sum(2))
    assert all(t.requires_grad is create_graph for t in (value, dx, dy, moved, *rows))
    matrix = functional.hessian(scalar, (x, y), create_graph=create_graph)
    for name in ("hvp", "vhp"):
        value, (hx, hy) = getattr(functional, name)(scalar, (x, y), (v, w), create_graph=create_graph)
        assert_close(hx, matrix[0][0].sum((2, 3)) + matrix[0][1].sum(2))
        assert_close(hy, matrix[1][0].sum((1, 2)) + matrix[1][1].sum(1))
        assert value.requires_grad is hx.requires_grad is create_graph


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_matrices_by_all_ways(strategy):
    x, y = points()
    slow = functional.jacobian(product, (x, y))
    fast = functional.jacobian(product, (x, y), vectorize=True, strategy=strategy)
    for one, other in zip(slow, fast, strict=True):
        assert_close(one, other)
    slow = functional.hessian(scalar, (x, y))
    fast = functional.hessian(scalar, (x, y), vectorize=True, outer_jacobian_strategy=strategy)
    for i in range(2):
        for j in range(2):
            assert_close(slow[i][j], fast[i][j])


def test_forms_of_results():
    x, y = points()
    assert functional.jacobian(lambda x: x.exp(), y).shape == (3, 3)
    assert [j.shape for j in functional.jacobian(lambda x: (x, x.sum()), y)] == [(3, 3), (3,)]
    assert [[j.shape for j in row] for row in functional.jacobian(lambda x, y: (x, y), (x, y))] == [
        [(2, 3, 2, 3), (2, 3, 3)],
        [(3, 2, 3), (3, 3)],
    ]
    assert functional.jacobian(lambda x: lp.zeros(2), y).tolist() == [[0.0] * 3] * 2


def test_strict():
    x, y = points()
    for name in ("vjp", "jvp", "jacobian"):
        args = (
            ()
            if name == "jacobian"
            else ((lp.ones(2, 3, dtype=lp.float64),) if name == "vjp" else (points(),))
        )
        with pytest.raises(GradientError, match="does not depend"):
            getattr(functional, name)(lambda x, y: lp.ones(2, 3), (x, y), *args, strict=True)
    with pytest.raises(GradientError, match="input 1"):
        functional.jacobian(lambda x, y: x * 2, (x, y), strict=True)
    with pytest.raises(LampionError, match="one by one"):
        functional.jacobian(product, (x, y), strict=True, vectorize=True)


def test_wrong_calls():
    x, y = points()
    with pytest.raises(GradientError, match="v can be left out"):
        functional.vjp(product, (x, y))
    with pytest.raises(GradientError, match="form"):
        functional.jvp(product, (x, y), x)
    with pytest.raises(GradientError, match="one number"):
        functional.hessian(product, (x, y))
    with pytest.raises(LampionError, match="must be tensors"):
        functional.vjp(product, (x, 3.0))
    with pytest.raises(ValueError, match="strategy"):
        functional.jacobian(product, (x, y), strategy="sideways")


# -- gradcheck -----------------------------------------------------------------------------------------

ALL = {"check_forward_ad": True, "check_batched_grad": True, "check_batched_forward_grad": True}


@pytest.mark.parametrize("fast", [False, True])
def test_right_gradients_pass(fast):
    for function in (product, lambda x, y: ((x * y).exp().sum(0), x.sum(), x > 0)):
        assert gradcheck(function, points(True), fast_mode=fast, **ALL)
        assert gradgradcheck(function, points(True), fast_mode=fast, check_fwd_over_rev=True,
                             gen_non_contig_grad_outputs=True, check_batched_grad=True)  # fmt: skip


@pytest.mark.parametrize("fast", [False, True])
def test_complex_gradients(fast):
    z = lp.from_numpy(X + 1j * X[::-1]).requires_grad_()
    for function in (lambda z: z * z.conj(), lambda z: z.abs() * z, lambda z: z.real * z.imag, lp.exp):
        assert gradcheck(function, (z,), fast_mode=fast, **ALL)
        assert gradgradcheck(function, (z,), fast_mode=fast, check_fwd_over_rev=True)


class Wrong(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2.01


@pytest.mark.parametrize("fast", [False, True])
def test_planted_faults_are_caught(fast):
    (x, _) = points(True)
    assert not gradcheck(Wrong.apply, (x,), raise_exception=False, fast_mode=fast)
    with pytest.raises(RuntimeError, match=r"2\.01"):
        gradcheck(lambda x: Wrong.apply(x.sum()), (x[:1, :1].detach().requires_grad_(),))

    class WrongTangent(Wrong):
        @staticmethod
        def backward(ctx, g):
            return g * 2

        @staticmethod
        def jvp(ctx, t):
            return t * 3

    assert gradcheck(WrongTangent.apply, (x,), fast_mode=fast)
    assert not gradcheck(
        WrongTangent.apply, (x,), raise_exception=False, check_forward_ad=True, fast_mode=fast
    )

    class WrongSecond(Wrong):
        @staticmethod
        def backward(ctx, g):
            return g.detach() * 2

    assert not gradgradcheck(WrongSecond.apply, (x,), raise_exception=False, fast_mode=fast)


def test_what_gradcheck_needs():
    with pytest.raises(ValueError, match="requires a gradient"):
        gradcheck(product, points())
    draws = iter(range(100))
    (x, _) = points(True)
    assert not gradcheck(lambda x: x * next(draws), (x,), raise_exception=False)


# -- forward mode by hand ------------------------------------------------------------------------------


def test_dual_numbers():
    x, y = points()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, lp.ones_like(x))
        value, tangent = forward_ad.unpack_dual(product(dual, y))
        assert forward_ad.unpack_dual(y).tangent is None
        assert dual.sum().item() == pytest.approx(X.sum())
    assert_close(value, np.sin(X * Y))
    assert_close(tangent, Y * np.cos(X * Y))


def test_dual_numbers_are_recorded():
    (x, y) = points(True)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, lp.ones(2, 3, dtype=lp.float64))
        tangent = forward_ad.unpack_dual(product(dual, y)).tangent
    (slope,) = lp.autograd.grad(tangent.sum(), x)
    assert_close(slope, -Y * Y * np.sin(X * Y))


def test_dual_levels_end():
    (x, _) = points()
    with pytest.raises(LampionError, match="no dual level"):
        forward_ad.make_dual(x, x)
    level = forward_ad.enter_dual_level()
    with pytest.raises(LampionError, match="do not nest"):
        forward_ad.enter_dual_level()
    with pytest.raises(LampionError, match="shape and type"):
        forward_ad.make_dual(x, x[0])
    forward_ad.exit_dual_level(level=level)
    assert (x + 1).tolist() == (X + 1).tolist()
