"""Factorisations of matrices."""

from __future__ import annotations

from lampion import dtype as dtypes
from lampion import ops
from lampion.amp.policy import by_policy
from lampion.errors import LampionError, ShapeError
from lampion.linalg.results import (
    PLU,
    QR,
    SVD,
    CholeskyEx,
    Eigen,
    LDLFactor,
    LDLFactorEx,
    LUFactor,
    LUFactorEx,
)  # fmt: skip
from lampion.linalg.systems import check
from lampion.ops.factors import (
    cholesky_parts,
    eig_parts,
    eigh_parts,
    lu_parts,
    permutation,
    qr_parts,
    singular_values,
    svd_parts,
)  # fmt: skip
from lampion.ops.products import recorded
from lampion.ops.solving import ldl_parts, ldl_substitution, substitution
from lampion.ops.triangles import adjoint, floats, lower_part, matrices, same_type, square, upper_part
from lampion.tensor import Tensor, as_tensor


@by_policy
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with ``A = L @ L^H``, for a positive definite A; or ``L^H``, if `upper`.

    Only the lower triangle of A is read (the upper one, if `upper`).

    Raises:
        LinAlgError: if a matrix is not positive definite.

    >>> import lampion
    >>> lampion.linalg.cholesky(lampion.tensor([[4.0, 2.0], [2.0, 5.0]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    a = floats("cholesky", square("cholesky", A))
    low: Tensor = cholesky_parts(a, upper=upper, strict=True)[0]
    return adjoint(low) if upper else low


@by_policy
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> CholeskyEx:
    """As `cholesky`, with a note in the place of an error: see `CholeskyEx`."""
    a = floats("cholesky_ex", square("cholesky_ex", A))
    low, info = cholesky_parts(a, upper=upper, strict=False)
    info = ops.real(info.detach()).to(dtypes.int32)
    check("cholesky_ex", info, check_errors, "the matrix is not positive definite")
    return CholeskyEx(adjoint(low) if upper else low, info)


@by_policy
def eigh(A: Tensor, UPLO: str = "L") -> Eigen:
    """Eigenvalues (real, increasing) and eigenvectors (orthonormal columns) of matrices with ``A = A^H``.

    Args:
        UPLO: which triangle is read, "L" or "U".

    A vector is determined only up to a sign (a phase), and where eigenvalues are equal not even so: only what
    does not depend on the choice has a meaningful gradient.
    """
    a = floats("eigh", square("eigh", A))
    if UPLO not in ("L", "U", "l", "u"):
        raise LampionError("eigh", f"there is no triangle {UPLO!r}", expected='"L" or "U"')
    values, vectors = eigh_parts(a, lower=UPLO in "Ll")
    return Eigen(ops.real(values), vectors)


@by_policy
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of matrices with ``A = A^H``: see `eigh`."""
    return eigh(A, UPLO).eigenvalues


@by_policy
def eig(A: Tensor) -> Eigen:
    """Eigenvalues and eigenvectors (columns of length 1) of square matrices: complex, in any order."""
    a = floats("eig", square("eig", A))
    return Eigen(*eig_parts(a, is_real=not a.dtype.is_complex))


@by_policy
def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues of square matrices, complex, in no particular order."""
    return eig(A).eigenvalues


@by_policy
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> SVD:
    """``A = U @ diag(S) @ Vh`` with orthonormal columns of U, rows of Vh, and S decreasing.

    Args:
        full_matrices: whether U and Vh are square; otherwise only what S multiplies.
        driver: must be None: there is one method on the CPU.

    >>> import lampion
    >>> U, S, Vh = lampion.linalg.svd(lampion.tensor([[0.0, 2.0], [-1.0, 0.0]]))
    >>> S
    tensor([2., 1.])
    """
    _no_driver("svd", driver)
    a = floats("svd", matrices("svd", A))
    u, s, vh = svd_parts(a, full=full_matrices)
    return SVD(u, ops.real(s), vh)


@by_policy
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, decreasing."""
    _no_driver("svdvals", driver)
    values: Tensor = singular_values(floats("svdvals", matrices("svdvals", A)))
    return values


def _no_driver(name: str, driver: str | None) -> None:
    if driver is not None:
        raise LampionError(name, "a driver can be chosen on a GPU only", got=repr(driver), fix="leave it out")


@by_policy
def qr(A: Tensor, mode: str = "reduced") -> QR:
    """``A = Q @ R`` with orthonormal columns of Q and an upper triangular R.

    Args:
        mode: "reduced": Q is (m, k) and R (k, n) with k = min(m, n); "complete": Q is (m, m); "r": only R,
            and an empty Q.
    """
    if mode not in ("reduced", "complete", "r"):
        raise LampionError("qr", f"there is no mode {mode!r}", expected='"reduced", "complete" or "r"')
    q, r = qr_parts(floats("qr", matrices("qr", A)), mode=mode)
    return QR(ops.zeros(0, dtype=q.dtype) if mode == "r" else q, r)


# -- LU ------------------------------------------------------------------------------------------------


def _pivoted(name: str, pivot: bool) -> None:
    if not pivot:
        raise LampionError(
            name, "elimination without exchanging rows is there on a GPU only", got="pivot=False"
        )


def lu_factor(A: Tensor, *, pivot: bool = True) -> LUFactor:
    """L and U in one matrix, and the exchanges of rows: what `lu_solve` takes.

    Raises:
        LinAlgError: if a matrix is singular.
    """
    out = lu_factor_ex(A, pivot=pivot, check_errors=False)
    return LUFactor(out.LU, out.pivots)


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> LUFactorEx:
    """As `lu_factor`, and where the first zero pivot stands."""
    _pivoted("lu_factor", pivot)
    both, pivots, info = lu_parts(floats("lu_factor", matrices("lu_factor", A)))
    pivots, info = (ops.real(x.detach()).to(dtypes.int32) for x in (pivots, info))
    check("lu_factor_ex", info, check_errors, "the matrix is singular")
    return LUFactorEx(both, pivots, info)


def lu(A: Tensor, *, pivot: bool = True) -> PLU:
    """``A = P @ L @ U``: a permutation, L with ones on its diagonal, and U.

    >>> import lampion
    >>> P, L, U = lampion.linalg.lu(lampion.tensor([[1.0, 2.0], [2.0, 8.0]]))
    >>> U
    tensor([[ 2.,  8.],
            [ 0., -2.]])
    """
    _pivoted("lu", pivot)
    return unpacked(*lu_factor_ex(A)[:2])


def unpacked(LU: Tensor, pivots: Tensor) -> PLU:
    """P, L and U from what `lu_factor` gives."""
    m, n = LU.shape[-2:]
    k = min(m, n)
    low = lower_part(ops.narrow(LU, -1, 0, k), -1)
    low = low + ops.eye(m, k, dtype=LU.dtype)
    up = upper_part(ops.narrow(LU, -2, 0, k))
    return PLU(permutation(pivots, m, LU.dtype), low, up)


@by_policy
def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with ``A @ X = B`` (``X @ A = B`` if not `left`) from what `lu_factor` gives for A.

    Args:
        adjoint: solve with ``A^H``.
    """
    from lampion.ops.triangles import adjoint as turned

    a, b = floats("lu_solve", square("lu_solve", LU)), matrices("lu_solve", B)
    same_type("lu_solve", a, b)
    if b.shape[-2 if left else -1] != a.shape[-1]:
        raise ShapeError("lu_solve", "LU and B do not fit", got=f"LU {tuple(a.shape)}, B {tuple(b.shape)}")
    if pivots.dtype is not dtypes.int32:
        raise LampionError("lu_solve", "the pivots are int32, as lu_factor gives them", got=str(pivots.dtype))
    if not left:  # X A = B is A^H X^H = B^H
        return turned(lu_solve(a, pivots, turned(b), adjoint=not adjoint))  # type: ignore[no-any-return]
    order = permutation(pivots, a.shape[-1], a.dtype)
    if adjoint:  # A^H = U^H L^H P^T
        y = substitution(turned(a), b, upper=False)
        return ops.matmul(order, substitution(turned(a), y, upper=True, unit=True))
    y = substitution(a, ops.matmul(order.mT, b), upper=False, unit=True)
    x: Tensor = substitution(a, y, upper=True)
    return x


def ldl_factor(A: Tensor, *, hermitian: bool = False) -> LDLFactor:
    """``A = L @ D @ L^T`` (``L^H`` if `hermitian`) for a symmetric A that need not be definite.

    Only the lower triangle is read. The result, in LAPACK's form, is for `ldl_solve`. No gradient, as in
    PyTorch.
    """
    out = ldl_factor_ex(A, hermitian=hermitian, check_errors=True)
    return LDLFactor(out.LD, out.pivots)


def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> LDLFactorEx:
    """As `ldl_factor`, and where the first zero pivot stands."""
    a = floats("ldl_factor", square("ldl_factor", A)).detach()
    both, pivots, info = ldl_parts(a, hermitian=hermitian and a.dtype.is_complex)
    pivots, info = (ops.real(x).to(dtypes.int32) for x in (pivots, info))
    if check_errors:
        check("ldl_factor", info, True, "the matrix is singular")
    return LDLFactorEx(both, pivots, info)


def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with ``A @ X = B`` from what `ldl_factor` gives for A."""
    ld, b = floats("ldl_solve", square("ldl_solve", LD)), matrices("ldl_solve", B)
    same_type("ldl_solve", ld, b)
    if b.shape[-2] != ld.shape[-1]:
        raise ShapeError("ldl_solve", "LD and B do not fit", got=f"LD {tuple(ld.shape)}, B {tuple(b.shape)}")
    x: Tensor = ldl_substitution(ld, as_tensor(pivots), b, hermitian=hermitian and ld.dtype.is_complex)
    return x


# -- Householder reflections ---------------------------------------------------------------------------


@by_policy
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first columns of the product of the reflections ``I - tau[i] v[i] v[i]^H``.

    ``v[i]`` is column i of A below the diagonal, with a 1 on it. This is how LAPACK writes down the Q of a
    QR factorisation.

    Shape:
        A: (..., m, n) with m >= n; tau: (..., k) with k <= n; the result: (..., m, n).
    """
    a = floats("householder_product", matrices("householder_product", A))
    m, n = a.shape[-2:]
    if m < n or tau.shape[-1] > n or tuple(tau.shape[:-1]) != tuple(a.shape[:-2]):
        raise ShapeError(
            "householder_product", "A and tau do not fit",
            expected="(..., m, n) with m >= n, and (..., k) with k <= n",
            got=f"A {tuple(a.shape)}, tau {tuple(tau.shape)}",
        )  # fmt: skip
    same_type("householder_product", a, tau)
    out = ops.broadcast_to(ops.eye(m, n, dtype=a.dtype), a.shape)
    for i in reversed(range(tau.shape[-1])):
        out = reflected(a, tau, i, out)
    return out if tau.shape[-1] else recorded(out, a, tau)


def reflected(a: Tensor, tau: Tensor, i: int, x: Tensor, adjoint: bool = False) -> Tensor:
    """Reflection i (its adjoint) applied to the columns of x."""
    from lampion.ops.triangles import adjoint as turned

    m = a.shape[-2]
    place = ops.arange(m)
    vector = ops.where(ops.gt(place, i), a[..., i], 0.0) + ops.eq(place, i).to(a.dtype)
    column = ops.unsqueeze(vector, -1)
    factor = ops.reshape(tau[..., i], (*tau.shape[:-1], 1, 1))
    factor = ops.conj(factor) if adjoint else factor
    return x - factor * ops.matmul(column, ops.matmul(turned(column), x))
