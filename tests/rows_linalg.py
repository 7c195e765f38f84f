"""Rows of linear algebra.

Matrices that must be regular are drawn and then made so inside of the row, by adding to the diagonal: some
checks put other numbers in, also equal rows. What is unique up to a sign only is compared without it.
"""

from __future__ import annotations

import numpy as np

import lampion as lp
from lampion.errors import DTypeError, LampionError, LinAlgError, ShapeError
from lampion.testing.rows import FLOATS, Bad, Row, call

linalg = lp.linalg


def ones(*shape):
    return np.ones(shape, np.float32)


def eye(x):
    """Ones on the diagonal, in the library, shape and type of x."""
    return (np if isinstance(x, np.ndarray) else lp).eye(*x.shape[-2:], dtype=x.dtype)


def turned(x):
    return np.swapaxes(x, -1, -2) if isinstance(x, np.ndarray) else x.mT


def regular(x):
    return x + 5 * eye(x)


def symmetric(x):
    return x + turned(x)


def positive(x):
    return symmetric(x) + 10 * eye(x)


def on(prepare, function):
    """The function of its first argument, prepared."""
    return lambda x, *args, **kwargs: function(prepare(x), *args, **kwargs)


def row(name, op, reference, prepare=None, samples=None, **options):
    """A row in which the same is done to the matrix before, in both libraries."""
    options = {"dtypes": FLOATS, "ulps": 2000, "samples": samples or squares} | options
    if prepare is not None:
        op, reference = on(prepare, op), on(prepare, reference)
    return Row(name, op, reference, **options)


def squares(d):
    return [call(d(2, 3, 3))]


def small(d):
    return [call(d(2, 2))]


def wide(d):
    return [call(d(3, 5)), call(d(2, 4, 3))]


def system(d):
    return [call(d(2, 3, 3), d(3, 1)), call(d(2, 2), d(2))]


def pairs(d):
    return [call(d(3, 3), d(3, 2))]


def tall(d):
    return [call(d(4, 2)), call(d(2, 3, 3))]


NO_SQUARE = Bad(ShapeError, ones(2, 3), match=["must be square", "(2, 3)"])
NO_MATRIX = Bad(ShapeError, ones(3), match=["expected a matrix", "(3,)"])
ZEROS = np.zeros((2, 2), np.float32)

# -- systems -------------------------------------------------------------------------------------------


def solved(a, b, left=True):
    if not left:
        return solved(turned(a), turned(b)).swapaxes(-1, -2)
    return np.linalg.solve(a, b[..., None])[..., 0] if b.ndim == 1 else np.linalg.solve(a, b)


def triangular(a, b, upper, left=True, unitriangular=False):
    a = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        a = a - a * np.eye(a.shape[-1]) + np.eye(a.shape[-1])
    return solved(a, b, left)


def triangles(d):
    return [call(d(3, 3), d(3, 2), upper=True), call(d(3, 3), d(2, 3, 1), upper=False, unitriangular=True),
            call(d(2, 3, 3), d(2, 3), upper=False, left=False)]  # fmt: skip


def exponential(x):
    """The exponential's series, after halving often enough; then squared as often."""
    term = total = np.broadcast_to(np.eye(x.shape[-1]), x.shape)
    for k in range(1, 30):
        term = term @ x / 64 / k
        total = total + term
    for _ in range(6):
        total = total @ total
    return total


def least(a, b):
    return np.linalg.pinv(a) @ b


SYSTEMS = [
    row(
        "linalg.solve",
        linalg.solve,
        solved,
        regular,
        lambda d: [*system(d), call(d(3, 3), d(2, 3), left=False)],
        errors=[
            Bad(LinAlgError, ZEROS - 5 * np.eye(2, dtype="f4"), ones(2), match=["singular", "lstsq"]),
            Bad(ShapeError, ones(2, 2), ones(3, 1), match="do not fit"),
            Bad(DTypeError, ones(2, 2), np.ones((2, 1)), match="different types"),
            Bad(DTypeError, np.ones((2, 2), int), ones(2, 1), match="x.float()"),
        ],
    ),
    row("linalg.solve_ex", lambda a, b: linalg.solve_ex(a, b).result, solved, regular, pairs),
    row("linalg.inv_ex", lambda a: linalg.inv_ex(a).inverse, np.linalg.inv, regular, samples=small),
    row(
        "linalg.inv_ex: info",
        lambda a: linalg.inv_ex(a * 0).info,
        lambda a: np.int32(a[..., 0, 0] * 0 + 1),
        orders=0,
        result=lp.int32,
        samples=small,
    ),
    row("linalg.solve_triangular", linalg.solve_triangular, triangular, regular, triangles),
    row(
        "triangular_solve",
        lambda x, b, upper=True, transpose=False: lp.triangular_solve(b, x, upper, transpose),
        lambda a, b, upper=True, transpose=False: (
            solved(
                turned(np.triu(a) if upper else np.tril(a))
                if transpose
                else np.triu(a)
                if upper
                else np.tril(a),
                b,
            ),
            a,
        ),
        regular,
        lambda d: [call(d(3, 3), d(3, 2)), call(d(3, 3), d(3, 2), upper=False, transpose=True)],
    ),
    row("linalg.inv", linalg.inv, np.linalg.inv, regular, errors=[NO_SQUARE]),
    row("inverse", lp.inverse, np.linalg.inv, regular, samples=small),
    row("linalg.det", linalg.det, np.linalg.det, errors=[NO_SQUARE, NO_MATRIX]),
    row("det", lp.det, np.linalg.det, samples=small),
    row("linalg.slogdet", linalg.slogdet, np.linalg.slogdet, regular),
    row("slogdet", lp.slogdet, np.linalg.slogdet, regular, samples=small),
    row("logdet", lp.logdet, lambda x: np.log(np.linalg.det(x)), positive, samples=small),
    row("linalg.matrix_exp", linalg.matrix_exp, exponential, errors=[NO_SQUARE]),
    row("matrix_exp", lp.matrix_exp, exponential, samples=small),
    row(
        "linalg.pinv",
        linalg.pinv,
        np.linalg.pinv,
        regular,
        samples=lambda d: [call(d(3, 2)), call(d(2, 2, 4))],
        ulps=1e4,
    ),
    row(
        "linalg.pinv: hermitian",
        lambda x: linalg.pinv(x, hermitian=True),
        np.linalg.pinv,
        positive,
        samples=small,
    ),
    row("pinverse", lp.pinverse, np.linalg.pinv, regular, samples=lambda d: [call(d(3, 2))], ulps=1e4),
    row(
        "linalg.lstsq",
        lambda a, b: linalg.lstsq(a, b).solution,
        least,
        regular,
        samples=lambda d: [call(d(4, 2), d(4, 1)), call(d(2, 3), d(2, 2))],
        ulps=1e4,
        errors=[Bad(ShapeError, ones(3, 2), ones(2, 2), match="different numbers of rows")],
    ),
    row(
        "linalg.tensorinv",
        lambda x: linalg.tensorinv(x.reshape(2, 2, 4), 2),
        lambda x: np.linalg.tensorinv(x.reshape(2, 2, 4), 2),
        regular,
        lambda d: [call(d(4, 4))],
    ),
    row(
        "linalg.tensorsolve",
        lambda x, b: linalg.tensorsolve(x.reshape(2, 2, 4), b),
        lambda x, b: np.linalg.tensorsolve(x.reshape(2, 2, 4), b),
        regular,
        lambda d: [call(d(4, 4), d(2, 2))],
    ),
]

# -- factorisations ------------------------------------------------------------------------------------


def plu(x):
    """P, L and U of one matrix, by rows."""
    x, (m, n) = x.copy(), x.shape
    k, order = min(m, n), list(range(m))
    for i in range(k):
        j = i + int(abs(x[i:, i]).argmax())
        x[[i, j]], order[i], order[j] = x[[j, i]], order[j], order[i]
        for row_ in range(i + 1, m):
            x[row_, i] /= x[i, i]
            x[row_, i + 1 :] -= x[row_, i] * x[i, i + 1 :]
    return np.eye(m)[:, order], np.tril(x[:, :k], -1) + np.eye(m, k), np.triu(x[:k])


def of_lu(function):
    """What a function makes of L and U: without the permutation, which has no gradient."""
    return lambda x, **options: function(x, **options)[1:]


def unsigned(function):
    """A factorisation with the sizes of its numbers."""
    library = {True: np.abs, False: lp.abs}
    return lambda x, **options: tuple(library[isinstance(x, np.ndarray)](t) for t in function(x, **options))


def real_eigen(x):
    values, vectors = np.linalg.eig(x)
    return np.sort(values.real), np.linalg.norm(vectors, axis=-2)


def our_eigen(function):
    def eigen(x):
        values, vectors = function(x)
        return lp.sort(values.real)[0], linalg.vector_norm(vectors, dim=-2)

    return eigen


def apart(x):
    """Symmetric, with eigenvalues and singular values far from each other."""
    n = x.shape[-1]
    library = np if isinstance(x, np.ndarray) else lp
    return symmetric(x) + eye(x) * (library.arange(n) * 10 + 5)


def indefinite(x):
    """Symmetric, with a small diagonal, so that elimination needs blocks of two rows."""
    n = x.shape[-1]
    library = np if isinstance(x, np.ndarray) else lp
    other = library.eye(n, dtype=x.dtype)
    other = np.roll(other, n // 2, 0) if library is np else lp.roll(other, n // 2, 0)
    return symmetric(x) + symmetric(other) * 8


def cholesky_solved(x, b, upper=False):
    return np.linalg.solve(positive(x), b)


FACTORS = [
    row(
        "linalg.cholesky",
        linalg.cholesky,
        np.linalg.cholesky,
        positive,
        errors=[
            Bad(LinAlgError, -10 * np.eye(2, dtype="f4"), match=["positive definite", "minor of order 1"])
        ],
    ),
    row(
        "linalg.cholesky_ex",
        lambda x: linalg.cholesky_ex(x, upper=True).L,
        lambda x: turned(np.linalg.cholesky(x)),
        positive,
        samples=small,
    ),
    row("cholesky", lp.cholesky, np.linalg.cholesky, positive, samples=small),
    row(
        "cholesky_solve",
        lambda x, b: lp.cholesky_solve(b, lp.cholesky(positive(x))),
        cholesky_solved,
        samples=pairs,
    ),
    row(
        "cholesky_inverse",
        lambda x: lp.cholesky_inverse(lp.cholesky(positive(x), True), True),
        lambda x: np.linalg.inv(positive(x)),
        samples=small,
    ),
    row(
        "linalg.eigh",
        unsigned(linalg.eigh),
        unsigned(np.linalg.eigh),
        apart,
        errors=[Bad(LampionError, ones(2, 2), UPLO="?", match="triangle")],
    ),
    row("linalg.eigvalsh", linalg.eigvalsh, np.linalg.eigvalsh, apart, samples=small),
    row("linalg.eig", our_eigen(linalg.eig), real_eigen, apart, samples=small),
    row(
        "linalg.eigvals",
        lambda x: lp.sort(linalg.eigvals(x).real)[0],
        lambda x: np.sort(np.linalg.eigvals(x)),
        apart,
        samples=small,
    ),
    row(
        "linalg.svd",
        unsigned(lambda x: linalg.svd(x, False)),
        unsigned(lambda x: np.linalg.svd(x, False)),
        apart,
        samples=small,
    ),
    row(
        "svd",
        unsigned(lp.svd),
        unsigned(lambda x: (*np.linalg.svd(x, False)[:2], turned(np.linalg.svd(x, False)[2]))),
        apart,
        samples=small,
    ),
    row("linalg.svdvals", linalg.svdvals, lambda x: np.linalg.svd(x, compute_uv=False), regular, wide),
    row(
        "linalg.qr",
        unsigned(linalg.qr),
        unsigned(np.linalg.qr),
        regular,
        lambda d: [call(d(3, 3)), call(d(2, 2, 2))],
        errors=[Bad(LampionError, ones(2, 2), mode="full", match="no mode 'full'")],
    ),
    row("qr", unsigned(lp.qr), unsigned(np.linalg.qr), regular, samples=small),
    row(
        "linalg.lu",
        of_lu(linalg.lu),
        of_lu(plu),
        regular,
        samples=lambda d: [call(d(3, 3)), call(d(4, 2)), call(d(2, 3))],
        errors=[Bad(LampionError, ones(2, 2), pivot=False, match="without exchanging")],
    ),
    row(
        "linalg.lu_factor",
        lambda x: linalg.lu_factor(x).LU,
        lambda x: plu(x)[1] + plu(x)[2] - np.eye(3),
        regular,
        samples=lambda d: [call(d(3, 3))],
    ),
    row(
        "linalg.lu_factor_ex",
        lambda x: linalg.lu_factor_ex(x).LU,
        lambda x: plu(x)[1] + plu(x)[2] - np.eye(3),
        regular,
        samples=lambda d: [call(d(3, 3))],
    ),
    row("lu", lambda x: lp.lu(x)[0], lambda x: plu(x)[1] + plu(x)[2] - np.eye(2), regular, samples=small),
    row(
        "lu_unpack",
        lambda x: lp.lu_unpack(*lp.lu(x))[1:],
        of_lu(plu),
        regular,
        samples=lambda d: [call(d(3, 3))],
    ),
    row("linalg.lu_solve", lambda x, b: linalg.lu_solve(*linalg.lu_factor(x), b), solved, regular, pairs),
    row("lu_solve", lambda x, b: lp.lu_solve(b, *lp.lu(x)), solved, regular, pairs),
    row(
        "linalg.ldl_factor",
        lambda x: linalg.ldl_solve(*linalg.ldl_factor(x), eye(x)),
        np.linalg.inv,
        indefinite,
        lambda d: [call(d(4, 4))],
        orders=0,
        not_compiled="looks at values: it checks for errors",
    ),
    row(
        "linalg.ldl_factor_ex",
        lambda x: linalg.ldl_factor_ex(x).info,
        lambda x: np.zeros(x.shape[:-2], np.int32),
        indefinite,
        orders=0,
        result=lp.int32,
        samples=small,
    ),
    row(
        "linalg.ldl_solve",
        lambda x, b: linalg.ldl_solve(*linalg.ldl_factor_ex(x)[:2], b.detach()),
        np.linalg.solve,
        indefinite,
        pairs,
        orders=0,
    ),
    row(
        "linalg.householder_product",
        lambda x: linalg.householder_product(*lp.geqrf(x.detach())),
        lambda x: np.linalg.qr(x)[0],
        samples=tall,
        orders=0,
    ),
    row(
        "orgqr",
        lambda x: lp.orgqr(*lp.geqrf(x.detach())),
        lambda x: np.linalg.qr(x)[0],
        orders=0,
        samples=small,
    ),
    row(
        "ormqr",
        lambda x, y: lp.ormqr(*lp.geqrf(x.detach()), y.detach(), transpose=True),
        lambda x, y: np.linalg.qr(x)[0].T @ y,
        samples=pairs,
        orders=0,
    ),
    row(
        "geqrf",
        lambda x: lp.geqrf(x.detach())[0].triu(),
        lambda x: np.linalg.qr(x)[1],
        samples=lambda d: [call(d(3, 3))],
        orders=0,
        errors=[NO_MATRIX],
    ),
]

ELSEWHERE = {"tests/test_linalg.py: they draw random numbers": {"svd_lowrank", "pca_lowrank"}}

ROWS = SYSTEMS + FACTORS
