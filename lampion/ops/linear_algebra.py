"""Linear algebra under the names that it has in `torch` itself, older than those in `torch.linalg`.

Where the two differ only by name, the docstring says no more than that.
"""

from __future__ import annotations

from typing import NamedTuple

from lampion import dtype as dtypes
from lampion.errors import LampionError, ShapeError
from lampion.ops.creation import zeros
from lampion.ops.define import operation
from lampion.ops.matrix import matmul
from lampion.ops.random import randn
from lampion.ops.reduce import mean
from lampion.ops.solving import cholesky_solution, substitution
from lampion.ops.triangles import adjoint, floats, matrices, same_type, square
from lampion.tensor import Tensor, as_tensor


def _linalg():
    from lampion import linalg  # which needs all of `lampion.ops`

    return linalg


@operation
def det(input: Tensor):
    """`lampion.linalg.det`: the determinant of each matrix."""
    return _linalg().det(input)


@operation
def logdet(input: Tensor):
    """The logarithm of the determinant: NaN where that is negative, -inf where it is 0."""
    from lampion.ops.elementwise import log

    sign, size = _linalg().slogdet(input)
    return size + log(sign)


@operation
def slogdet(input: Tensor) -> tuple[Tensor, Tensor]:
    """`lampion.linalg.slogdet`: the determinant's sign, and the logarithm of its size."""
    return _linalg().slogdet(input)


@operation
def inverse(input: Tensor):
    """`lampion.linalg.inv`: the inverse of each matrix."""
    return _linalg().inv(input)


@operation
def pinverse(input: Tensor, rcond=1e-15):
    """`lampion.linalg.pinv` with a given relative tolerance."""
    return _linalg().pinv(input, rtol=rcond)


@operation
def matrix_exp(input: Tensor):
    """`lampion.linalg.matrix_exp`: the exponential of each square matrix."""
    return _linalg().matrix_exp(input)


# -- Cholesky ------------------------------------------------------------------------------------------


@operation
def cholesky(input: Tensor, upper: bool = False):
    """`lampion.linalg.cholesky`: the triangular L with A = L L^H."""
    return _linalg().cholesky(input, upper=upper)


@operation
def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False):
    """X with ``A @ X = input``, from A's Cholesky factor L (``A = L^H @ L`` if `upper`)."""
    factor, b = floats("cholesky_solve", square("cholesky_solve", L)), matrices("cholesky_solve", input)
    same_type("cholesky_solve", factor, b)
    return cholesky_solution(factor, b, bool(upper))


@operation
def cholesky_inverse(L: Tensor, upper: bool = False):
    """The inverse of A, from its Cholesky factor L."""
    from lampion.ops.products import identity_like

    factor = floats("cholesky_inverse", square("cholesky_inverse", L))
    return cholesky_solve(identity_like(factor.detach()), factor, upper)


# -- QR ------------------------------------------------------------------------------------------------


@operation
def qr(input: Tensor, some: bool = True) -> tuple[Tensor, Tensor]:
    """`lampion.linalg.qr`, reduced if `some`, otherwise complete."""
    return _linalg().qr(input, "reduced" if some else "complete")


class Geqrf(NamedTuple):
    """A QR factorisation as LAPACK writes it down."""

    a: Tensor
    tau: Tensor


@operation
def geqrf(input: Tensor) -> tuple[Tensor, Tensor]:
    """A = Q R with R on and above the diagonal, and Q as reflections: see `linalg.householder_product`.

    No gradient, as in PyTorch; `linalg.qr` has one.
    """
    from lampion.ops.factors import reflections

    x = floats("geqrf", matrices("geqrf", input))
    return Geqrf(*reflections(x))


@operation
def orgqr(input: Tensor, input2: Tensor):
    """`lampion.linalg.householder_product`: Q from the reflections that `geqrf` gives."""
    return _linalg().householder_product(input, input2)


@operation
def ormqr(input: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False):
    """``Q @ input3`` (``input3 @ Q`` if not `left`), Q being given by the reflections (input, input2).

    Args:
        transpose: multiply with Q^H.
    """
    from lampion.linalg.decompositions import reflected

    a, tau, x = floats("ormqr", matrices("ormqr", input)), as_tensor(input2), matrices("ormqr", input3)
    if x.shape[-2 if left else -1] != a.shape[-2]:
        raise ShapeError("ormqr", "Q and the matrix do not fit", got=f"{tuple(a.shape)}, {tuple(x.shape)}")
    if not left:  # X Q = (Q^H X^H)^H
        return adjoint(ormqr(a, tau, adjoint(x), transpose=not transpose))
    steps = range(tau.shape[-1])
    for i in steps if transpose else reversed(steps):
        x = reflected(a, tau, i, x, adjoint=transpose)
    return x


# -- LU ------------------------------------------------------------------------------------------------


@operation
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> tuple[Tensor, ...]:
    """`lampion.linalg.lu_factor`: L and U in one matrix, and the exchanges of rows."""
    out = _linalg().lu_factor_ex(A, pivot=pivot)
    return tuple(out) if get_infos else tuple(out[:2])


@operation(method=False)
def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """P, L and U from what `lu` gives; what is not wanted is empty."""
    from lampion.linalg.decompositions import unpacked
    from lampion.linalg.results import PLU

    if LU_pivots.dtype is not dtypes.int32:
        raise LampionError("lu_unpack", "the pivots are int32, as lu gives them", got=str(LU_pivots.dtype))
    out = unpacked(LU_data, LU_pivots)
    nothing = zeros(0, dtype=LU_data.dtype)
    return PLU(out.P if unpack_pivots else nothing, *(out[1:] if unpack_data else (nothing, nothing)))


@operation
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor):
    """`lampion.linalg.lu_solve`, with the arguments in another order."""
    return _linalg().lu_solve(LU_data, LU_pivots, b)


@operation
def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> tuple[Tensor, Tensor]:
    """X with ``A @ X = b`` for a triangular A (its transpose, if `transpose`), and a copy of A.

    `lampion.linalg.solve_triangular` is the newer form.
    """
    a, b = floats("triangular_solve", square("triangular_solve", A)), matrices("triangular_solve", b)
    same_type("triangular_solve", a, b)
    if transpose:
        return TriangularSolve(substitution(a.mT, b, upper=not upper, unit=unitriangular), a.clone())
    return TriangularSolve(substitution(a, b, upper=upper, unit=unitriangular), a.clone())


class TriangularSolve(NamedTuple):
    """What `triangular_solve` gives."""

    solution: Tensor
    cloned_coefficient: Tensor


# -- singular values -----------------------------------------------------------------------------------


class OldSVD(NamedTuple):
    """``A = U @ diag(S) @ V^H``."""

    U: Tensor
    S: Tensor
    V: Tensor


@operation
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """A = U diag(S) V^H: as `lampion.linalg.svd`, but with V in the place of its adjoint.

    Args:
        some: only what S multiplies; otherwise U and V are square.
        compute_uv: otherwise U and V are full of zeros.
    """
    if compute_uv:
        u, s, vh = _linalg().svd(input, full_matrices=not some)
        return OldSVD(u, s, adjoint(vh))
    values = _linalg().svdvals(input)
    *batch, m, n = input.shape
    return OldSVD(zeros(*batch, m, m, dtype=input.dtype), values, zeros(*batch, n, n, dtype=input.dtype))


def lowrank_basis(a, q, niter):
    """An orthonormal basis of about the space that the q largest singular vectors of A span.

    Source: N. Halko, P.-G. Martinsson, J. Tropp, "Finding structure with randomness", SIAM Review 53 (2011),
    algorithm 4.4.
    """
    linalg = _linalg()
    ah = adjoint(a)
    basis = linalg.qr(matmul(a, randn(a.shape[-1], q, dtype=a.dtype))).Q
    for _ in range(niter):
        basis = linalg.qr(matmul(ah, basis)).Q
        basis = linalg.qr(matmul(a, basis)).Q
    return basis


@operation(method=False)
def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """About the q largest singular values of A - M and their vectors, from random projections.

    Args:
        q: a little more than the rank that is looked for.
        niter: how often the projection is refined.
    """
    x = floats("svd_lowrank", matrices("svd_lowrank", A))
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    if M is not None:
        x = x - M
    wide = x.shape[-2] < x.shape[-1]
    if wide:
        x = adjoint(x)
    basis = lowrank_basis(x, q, niter)
    u, s, vh = _linalg().svd(matmul(adjoint(basis), x), full_matrices=False)
    u, v = matmul(basis, u), adjoint(vh)
    return OldSVD(v, s, u) if wide else OldSVD(u, s, v)


@operation(method=False)
def pca_lowrank(
    A: Tensor, q: int | None = None, center: bool = True, niter: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """The q largest principal components, about: `svd_lowrank` of A, its columns centred if `center`.

    Args:
        q: min(6, m, n) by default.
    """
    x = floats("pca_lowrank", matrices("pca_lowrank", A))
    m, n = x.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise LampionError("pca_lowrank", "so many components do not exist", got=f"q={q}",
                           expected=f"0 to {min(m, n)}")  # fmt: skip
    return svd_lowrank(x - mean(x, -2, True) if center else x, q, niter)


# -- others --------------------------------------------------------------------------------------------


@operation(method=False)
def vander(x, N: int | None = None, increasing: bool = False):
    """The powers N - 1 down to 0 of each element of a vector; `increasing`: 0 to N - 1.

    >>> import lampion
    >>> lampion.vander(lampion.tensor([1, 2, 3]))
    tensor([[1, 1, 1],
            [4, 2, 1],
            [9, 3, 1]])
    """
    from lampion.ops.elementwise import pow
    from lampion.ops.joining import stack

    x = as_tensor(x)
    if x.ndim != 1:
        raise ShapeError("vander", "expected a vector", got=f"shape {tuple(x.shape)}",
                         fix="lampion.linalg.vander takes stacks of them")  # fmt: skip
    count = x.shape[0] if N is None else N
    if count < 0:
        raise LampionError("vander", "the number of powers is negative", got=f"N={N}")
    x = x if x.dtype.is_inexact else x.to(dtypes.int64)
    if not count:
        return zeros(x.shape[0], 0, dtype=x.dtype)
    powers = [pow(x, k) for k in range(count)]
    return stack(powers if increasing else powers[::-1], 1)


@operation
def nuclear_norm(input: Tensor, dim: tuple[int, int] = (-2, -1), keepdim: bool = False):
    """The sum of the singular values: ``lampion.linalg.matrix_norm(input, "nuc")``."""
    return _linalg().matrix_norm(input, "nuc", dim, keepdim)
