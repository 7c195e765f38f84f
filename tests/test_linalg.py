"""Linear algebra beyond the table of operations: random methods, notes in the place of errors, laws."""

import numpy as np
import pytest

import lampion as lp
from lampion.errors import GradientError, LinAlgError, ShapeError
from lampion.ops import elimination

linalg = lp.linalg


def draw(*shape, complex=False):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    return lp.from_numpy(x + 1j * rng.standard_normal(shape) if complex else x)


def near(a, b, tolerance=1e-10):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_lu_in_panels_is_the_same_as_without():
    """More columns than one panel has: blocks are updated by matrix products."""
    x = np.random.default_rng(0).standard_normal((2, elimination.PANEL * 2 + 7, elimination.PANEL * 2 + 3))
    factors, pivots, info = elimination.lu(np, x)
    k = x.shape[-1]
    order = elimination.order_of(np, pivots, x.shape[-2])
    lower = np.tril(factors, -1) + np.eye(*x.shape[-2:])
    product = lower @ np.triu(factors[..., :k, :])
    np.testing.assert_allclose(product, np.take_along_axis(x, order[..., None], -2), atol=1e-11)
    assert abs(np.tril(factors, -1)).max() <= 1  # the pivot is the largest
    assert not info.any()


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("hermitian", [False, True])
def test_ldl_with_blocks_of_two_rows(complex, hermitian):
    a = draw(3, 7, 7, complex=complex)
    a = a + (a.mH if hermitian else a.mT)
    place = lp.arange(7)
    a = lp.where(lp.eq(place.reshape(-1, 1), place), a * 0.01, a)  # a small diagonal: 1 x 1 steps do not do
    out, b = linalg.ldl_factor(a, hermitian=hermitian), draw(3, 7, 2, complex=complex)
    assert (out.pivots < 0).any()
    near(a @ linalg.ldl_solve(*out, b, hermitian=hermitian), b)


def test_lowrank_methods_find_all_of_a_matrix_of_low_rank():
    lp.manual_seed(0)
    a = draw(2, 6, 3) @ draw(2, 3, 5)
    u, s, v = lp.svd_lowrank(a, q=4)
    near(u * s.unsqueeze(-2) @ v.mT, a, 1e-8)
    near(s[..., :3], linalg.svdvals(a)[..., :3], 1e-8)
    centre = a - a.mean(-2, True)
    u, s, v = lp.pca_lowrank(a, q=4)
    near(u * s.unsqueeze(-2) @ v.mT, centre, 1e-8)
    near(v.mT @ v, lp.eye(4, dtype=lp.float64).expand(2, 4, 4), 1e-8)


def test_notes_in_the_place_of_errors():
    good, bad = lp.eye(2, dtype=lp.float64) * 2, lp.zeros(2, 2, dtype=lp.float64)
    both = lp.stack([good, bad])
    inverse, info = linalg.inv_ex(both)
    assert info.tolist() == [0, 1]
    near(inverse[0], good / 4)
    assert inverse[1].isnan().all()
    low, info = linalg.cholesky_ex(lp.stack([good, -good]))
    assert info.tolist() == [0, 1]
    near(low[0], good.sqrt())
    result, info = linalg.solve_ex(both, lp.ones(2, 2, 1, dtype=lp.float64))
    assert info.tolist() == [0, 1]
    assert result[0].tolist() == [[0.5], [0.5]]
    for function in (linalg.inv_ex, linalg.cholesky_ex, linalg.lu_factor_ex, linalg.ldl_factor_ex):
        with pytest.raises(LinAlgError, match="matrix 1 of the stack"):
            function(both, check_errors=True)


def test_an_error_names_the_matrix():
    good = lp.eye(3)
    with pytest.raises(LinAlgError, match="matrix 1 of the stack"):
        linalg.inv(lp.stack([good, good * 0]))
    with pytest.raises(LinAlgError, match="matrix 1 of the stack"):
        linalg.cholesky(lp.stack([good, good * 0]))
    with pytest.raises(LinAlgError, match="did not converge"):
        linalg.svd(good * float("nan"))


def test_the_gradient_of_a_singular_determinant():
    """The cofactors exist where the inverse does not."""
    a = lp.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=lp.float64, requires_grad=True)
    (slope,) = lp.autograd.grad(linalg.det(a), a)
    near(slope, lp.tensor([[4.0, -2.0], [-2.0, 1.0]], dtype=lp.float64))


@pytest.mark.parametrize("complex", [False, True])
def test_the_second_derivative_of_a_singular_determinant(complex):
    """As that of a polynomial: the sum over permutations, written out."""

    def written_out(a):
        return (
            a[0, 0] * (a[1, 1] * a[2, 2] - a[1, 2] * a[2, 1])
            - a[0, 1] * (a[1, 0] * a[2, 2] - a[1, 2] * a[2, 0])
            + a[0, 2] * (a[1, 0] * a[2, 1] - a[1, 1] * a[2, 0])
        )

    direction = draw(3, 3, complex=complex)
    for rank in (0, 1, 2, 3):
        found = []
        for det in (linalg.det, written_out):
            a = (draw(3, rank, complex=complex) @ draw(rank, 3, complex=complex)).requires_grad_()
            value = det(a)
            (slope,) = lp.autograd.grad(value, a, lp.ones_like(value), create_graph=True)
            found.append(lp.autograd.grad(slope, a, direction)[0])
        near(*found)


def test_the_order_of_the_first_minor_that_is_not_positive():
    for n in range(1, 7):
        a = lp.eye(6, dtype=lp.float64).clone()
        a[n - 1, n - 1] = -1
        low, info = linalg.cholesky_ex(a)
        assert info.item() == n
        assert low[: n - 1, : n - 1].tolist() == lp.eye(n - 1, dtype=lp.float64).tolist()


def test_what_has_no_gradient_says_so():
    a = draw(3, 2).requires_grad_()
    with pytest.raises(GradientError, match="needs Q"):
        linalg.qr(a, "r").R.sum().backward()
    with pytest.raises(GradientError, match="beyond those of A"):
        linalg.qr(a, "complete").Q.sum().backward()
    with pytest.raises(GradientError, match="have no gradient"):
        lp.geqrf(a)[1].sum().backward()


def test_equal_singular_values_do_no_harm_to_what_does_not_depend_on_their_vectors():
    a = lp.eye(3, dtype=lp.float64).clone().requires_grad_()
    for norm in ("nuc", lambda x: linalg.svd(x).S.sum(), lambda x: linalg.eigvalsh(x).sum()):
        value = linalg.matrix_norm(a, norm) if isinstance(norm, str) else norm(a)
        (slope,) = lp.autograd.grad(value, a)
        near(slope, lp.eye(3, dtype=lp.float64))


def test_results_can_be_written_to_each_by_itself():
    a = draw(3, 3).requires_grad_()
    q, r = linalg.qr(a)
    r.add_(1)
    q.sum().backward()
    assert a.grad is not None


@pytest.mark.parametrize("complex", [False, True])
def test_laws(complex):
    a, b = draw(2, 4, 4, complex=complex), draw(2, 4, 3, complex=complex)
    near(a @ linalg.solve(a, b), b)
    near(linalg.lu_solve(*linalg.lu_factor(a), b, adjoint=True), linalg.solve(a.mH, b))
    near(linalg.lu_solve(*linalg.lu_factor(a), b.mT, left=False) @ a, b.mT)
    p, low, up = linalg.lu(a)
    near(p @ low @ up, a)
    u, s, vh = linalg.svd(b)
    near(u[..., :3] * s.unsqueeze(-2) @ vh, b)
    q, r = linalg.qr(b, "complete")
    near(q @ r, b)
    values, vectors = linalg.eig(a)
    near(a.to(lp.complex128) @ vectors, vectors * values.unsqueeze(-2))
    near(linalg.matrix_exp(a) @ linalg.matrix_exp(-a), lp.eye(4, dtype=a.dtype).expand(2, 4, 4))
    sign, size = linalg.slogdet(a)
    near(sign * size.exp(), linalg.det(a))
    near(
        lp.ormqr(*lp.geqrf(b), a.mT, left=False), a.mT @ lp.orgqr(*lp.geqrf(lp.cat([b, b[..., :1] * 0], -1)))
    )


def test_the_exponential_of_a_large_and_of_a_small_matrix_side_by_side():
    a = draw(3, 3)
    both = linalg.matrix_exp(lp.stack([a * 1e-9, a * 30]))
    near(both[0], lp.eye(3, dtype=lp.float64) + a * 1e-9, 1e-15)
    near(both[1], linalg.matrix_exp(a * 30), 1e-12)


def test_the_cheapest_order_of_multiplying():
    from lampion.ops import products

    sizes = []
    original = products.matmul

    def counted(x, y):
        sizes.append(x.shape[0] * x.shape[1] * y.shape[1])
        return original(x, y)

    products.matmul = counted
    try:
        linalg.multi_dot([lp.ones(10, 100), lp.ones(100, 5), lp.ones(5, 50)])
    finally:
        products.matmul = original
    assert sum(sizes) == 7500  # the textbook's example: the other order needs 75,000


def test_empty_matrices():
    empty = lp.zeros(2, 0, 0)
    assert linalg.det(empty).tolist() == [1.0, 1.0]
    assert linalg.inv(empty).shape == (2, 0, 0)
    assert linalg.solve(empty, lp.zeros(2, 0, 3)).shape == (2, 0, 3)
    assert linalg.svd(lp.zeros(0, 3)).Vh.tolist() == lp.eye(3).tolist()
    assert linalg.qr(lp.zeros(3, 0), "complete").Q.tolist() == lp.eye(3).tolist()
    assert linalg.eigh(empty).eigenvalues.shape == (2, 0)
    assert linalg.pinv(lp.zeros(0, 3)).shape == (3, 0)
    assert linalg.matrix_norm(lp.zeros(0, 3), "nuc").item() == 0


def test_arguments_are_checked():
    with pytest.raises(ShapeError, match="as many rows"):
        linalg.solve(lp.eye(2), lp.ones(3, 1))
    with pytest.raises(LinAlgError, match="singular"):
        lp.inverse(lp.zeros(2, 2))
    with pytest.raises(ShapeError, match="must be square"):
        lp.matrix_power(lp.ones(2, 3), 2)


FUNCTIONS = {
    "solve": lambda a, b: linalg.solve(a, b),
    "det": lambda a, b: linalg.det(a),
    "svd": lambda a, b: linalg.svd(b, False).S,
    "eigh": lambda a, b: linalg.eigh(a + a.mT).eigenvalues,
    "qr": lambda a, b: linalg.qr(b).R.abs(),
    "lu": lambda a, b: linalg.lu(a).U,
    "einsum": lambda a, b: lp.einsum("ij,jk->ki", a, b),
    "fft": lambda a, b: lp.fft.rfft(a).imag,
    "pinv": lambda a, b: linalg.pinv(b),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_batches_and_tangents(name):
    """`vmap` is a loop; `jvp` is a central difference (of relative error 1e-10 / 1e-6 + 1e-12)."""
    function, a, b = FUNCTIONS[name], draw(2, 3, 3) + 5 * lp.eye(3, dtype=lp.float64), draw(2, 3, 2)
    near(lp.func.vmap(function)(a, b), lp.stack([function(a[i], b[i]) for i in range(2)]))
    at, along = (a[0], b[0]), (draw(3, 3), draw(3, 2))
    _, tangent = lp.func.jvp(function, at, along)
    ahead, behind = (
        function(*(x + step * t for x, t in zip(at, along, strict=True))) for step in (1e-6, -1e-6)
    )
    near(tangent, (ahead - behind) / 2e-6, 1e-6)
