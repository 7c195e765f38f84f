"""Linear systems, inverses, determinants."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from lampion import dtype as dtypes
from lampion import ops
from lampion.amp.policy import by_policy
from lampion.errors import LampionError, LinAlgError, ShapeError
from lampion.linalg.norms import tolerances
from lampion.linalg.results import InverseEx, LeastSquares, SignLog, SolveEx
from lampion.ops.factors import singular_values
from lampion.ops.products import identity_like, recorded
from lampion.ops.shapes import broadcast_shapes, normalize_dim
from lampion.ops.solving import (
    determinant,
    exponential_of,
    inverse,
    pseudo_inverse,
    sign_and_log,
    solve_matrix,
    substitution,
    zero_pivot,
)  # fmt: skip
from lampion.ops.triangles import floats, matrices, same_type, square
from lampion.tensor import Tensor, as_tensor


@by_policy
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with ``A @ X = B`` (or ``X @ A = B`` if not `left`).

    Shape:
        A: (..., n, n); B: (..., n, k), or one vector for each matrix: (..., n).

    Raises:
        LinAlgError: if a matrix is singular.

    >>> import lampion
    >>> lampion.linalg.solve(lampion.tensor([[2.0, 0.0], [0.0, 4.0]]), lampion.tensor([1.0, 1.0]))
    tensor([0.5000, 0.2500])
    """
    return _solve("solve", A, B, left, lambda a, b: solve_matrix(a, b))


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> SolveEx:
    """As `solve`, with a note in the place of an error: see `SolveEx`. NaN where there is none."""
    a = floats("solve_ex", square("solve_ex", A))
    info: Tensor = zero_pivot(a)
    check("solve_ex", info, check_errors, "the matrix is singular")
    return SolveEx(_solve("solve_ex", A, B, left, lambda a, b: _solve_or_nan(a, b, info)), info)


def _solve_or_nan(a: Tensor, b: Tensor, info: Tensor) -> Tensor:
    bad = ops.reshape(ops.ne(info, 0), (*info.shape, 1, 1))
    one = identity_like(a.detach())
    return ops.where(bad, math.nan, solve_matrix(ops.where(bad, one, a), b))


def _solve(name: str, A: Tensor, B: Tensor, left: bool, compute: Any) -> Tensor:
    a, b = floats(name, square(name, A)), as_tensor(B)
    same_type(name, a, b)
    vector = b.ndim == 1 or (b.ndim == a.ndim - 1 and tuple(b.shape) == tuple(a.shape[:-1]))
    if vector and not left:
        raise ShapeError(name, "a vector stands on the right of its matrix", got="left=False, and B a vector")
    b = ops.unsqueeze(b, -1) if vector else matrices(name, b)
    if b.shape[-2 if left else -1] != a.shape[-1]:
        raise ShapeError(name, "A and B do not fit", got=f"A {tuple(a.shape)}, B {tuple(as_tensor(B).shape)}",
                         expected="B with as many rows (columns, if not left) as A has")  # fmt: skip
    x: Tensor = compute(a, b) if left else compute(a.mT, b.mT).mT
    return ops.squeeze(x, -1) if vector else x


def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with ``A @ X = B`` (or ``X @ A = B``) for a triangular A, by substitution.

    Args:
        upper: which triangle of A is read; the other may hold anything.
        unitriangular: the diagonal is taken to be 1, and not read.
    """
    a, b = floats("solve_triangular", square("solve_triangular", A)), matrices("solve_triangular", B)
    same_type("solve_triangular", a, b)
    if b.shape[-2 if left else -1] != a.shape[-1]:
        raise ShapeError(
            "solve_triangular", "A and B do not fit", got=f"A {tuple(a.shape)}, B {tuple(b.shape)}",
            expected="B with as many rows (columns, if not left) as A has",
        )  # fmt: skip
    if left:
        x: Tensor = substitution(a, b, upper=upper, unit=unitriangular)
        return x
    return ops.transpose(substitution(a.mT, b.mT, upper=not upper, unit=unitriangular), -1, -2)


@by_policy
def inv(A: Tensor) -> Tensor:
    """The inverse of each matrix. To solve a system, `solve` is faster and more exact.

    Raises:
        LinAlgError: if a matrix is singular.

    >>> import lampion
    >>> lampion.linalg.inv(lampion.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    out: Tensor = inverse(floats("inv", square("inv", A)))
    return out


@by_policy
def inv_ex(A: Tensor, *, check_errors: bool = False) -> InverseEx:
    """As `inv`, with a note in the place of an error: see `InverseEx`. NaN where there is no inverse."""
    a = floats("inv_ex", square("inv_ex", A))
    info: Tensor = zero_pivot(a)
    check("inv_ex", info, check_errors, "the matrix is singular")
    return InverseEx(inverse(a, False), info)


def check(name: str, info: Tensor, wanted: bool, problem: str) -> None:
    """An error where a note is not 0, if that was asked for. It looks at values, so it runs eagerly."""
    from lampion.mode import mode

    if not wanted:
        return
    if mode.trace is not None:
        mode.trace.refuse("checks a matrix for errors", "leave out check_errors, and look at info afterwards")
    bad = info._array.reshape(-1).nonzero()[0]
    if len(bad):
        which = f" (matrix {bad[0]} of the stack)" if info.ndim else ""
        raise LinAlgError(name, problem + which, got=f"info {info._array.reshape(-1)[bad[0]]}")


def det(A: Tensor) -> Tensor:
    """The determinant of each matrix; its gradient exists where it is 0 too.

    >>> import lampion
    >>> lampion.linalg.det(lampion.tensor([[2.0, 1.0], [1.0, 2.0]]))
    tensor(3.)
    """
    out: Tensor = determinant(floats("det", square("det", A)))
    return out


def slogdet(A: Tensor) -> SignLog:
    """The determinant's sign, and the logarithm of its size, which never overflows."""
    a = floats("slogdet", square("slogdet", A))
    sign, log = sign_and_log(a)
    return SignLog(sign, ops.real(log))


def pinv(
    A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """The pseudo-inverse of Moore and Penrose: what gives the shortest solution of least squares.

    Args:
        rcond: the old name of `rtol`.
        atol, rtol: singular values up to ``max(atol, rtol * the largest)`` count as 0. By default 0, and the
            larger size times the type's precision (0 if `atol` is given).
        hermitian: A is taken to be its own adjoint; only the lower triangle is read.
    """
    a = floats("pinv", square("pinv", A) if hermitian else matrices("pinv", A))
    limits = tolerances(a, atol, rcond if rtol is None else rtol)
    out: Tensor = pseudo_inverse(a, *limits, hermitian=hermitian)
    return out


@by_policy
def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> LeastSquares:
    """X for which ``norm(A @ X - B)`` is least; the shortest one, where there are several.

    Args:
        rcond: singular values up to this times the largest count as 0; by default the larger size times the
            type's precision.
        driver: "gelsy" (the default), "gels", "gelsd" or "gelss", LAPACK's names. The solution is the same;
            they differ in what else is given: the rank with all but "gels", the singular values with "gelsd"
            and "gelss", the residuals with all but "gelsy", where the rank is full and A higher than wide.
    """
    a, b = floats("lstsq", matrices("lstsq", A)), as_tensor(B)
    same_type("lstsq", a, b)
    driver = "gelsy" if driver is None else driver
    if driver not in ("gels", "gelsy", "gelsd", "gelss"):
        raise LampionError("lstsq", f"there is no driver {driver!r}", expected="gels, gelsy, gelsd or gelss")
    vector = b.ndim == 1 or (b.ndim == a.ndim - 1 and tuple(b.shape) == tuple(a.shape[:-1]))
    if vector:
        b = ops.unsqueeze(b, -1)
    m, n = a.shape[-2:]
    if b.ndim < 2 or b.shape[-2] != m:
        raise ShapeError("lstsq", "A and B have different numbers of rows",
                         got=f"A {tuple(a.shape)}, B {tuple(as_tensor(B).shape)}")  # fmt: skip
    broadcast_shapes("lstsq", [a.shape[:-2], b.shape[:-2]])
    x = ops.matmul(pinv(a, rtol=rcond), b)
    values: Tensor = singular_values(a.detach())
    _, rtol = tolerances(a, None, rcond)
    rank = ops.sum(ops.gt(values, rtol * ops.narrow(values, -1, 0, min(1, values.shape[-1]))), -1)
    empty = ops.zeros(0, dtype=a.dtype.to_real())
    residuals: Tensor = recorded(empty, a, b)
    if driver != "gelsy" and m > n and (driver == "gels" or _all_equal(rank, n)):
        rest = ops.matmul(a, x) - b
        residuals = ops.sum(ops.real(rest * ops.conj(rest)), -2)
    return LeastSquares(
        ops.squeeze(x, -1) if vector else x,
        ops.squeeze(residuals, -1) if vector and residuals.ndim > 1 else residuals,
        rank if driver != "gels" else ops.zeros(0, dtype=dtypes.int64),
        values if driver in ("gelsd", "gelss") else empty,
    )


def _all_equal(rank: Tensor, n: int) -> bool:
    """Whether every matrix has the rank n. It looks at values, so it runs eagerly."""
    from lampion.mode import mode

    if mode.trace is not None:
        mode.trace.refuse("computes residuals only where the rank is full", 'use driver="gelsy"')
    return bool((rank._array == n).all())


@by_policy
def matrix_exp(A: Tensor) -> Tensor:
    """``I + A + A @ A / 2 + ...``, the exponential of each square matrix."""
    out: Tensor = exponential_of(floats("matrix_exp", square("matrix_exp", A)))
    return out


@by_policy
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of `tensordot` with A: ``tensordot(tensorinv(A), tensordot(A, X, X.ndim), ind) = X``.

    Args:
        ind: how many of A's dimensions belong to its result; their sizes multiply to those of the others.
    """
    a = as_tensor(A)
    ind = operator.index(ind)
    if ind <= 0 or math.prod(a.shape[:ind]) != math.prod(a.shape[ind:]):
        raise ShapeError(
            "tensorinv",
            "the first dimensions do not hold as much as the others",
            expected="equal products of sizes",
            got=f"shape {tuple(a.shape)}, ind={ind}",
        )
    n = math.prod(a.shape[:ind])
    return ops.reshape(inv(ops.reshape(a, n, n)), (*a.shape[ind:], *a.shape[:ind]))


@by_policy
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X with ``tensordot(A, X, X.ndim) = B``.

    Args:
        dims: dimensions of A to move to the end, first.
    """
    a, b = as_tensor(A), as_tensor(B)
    if dims is not None:
        moved = [normalize_dim("tensorsolve", d, a.ndim) for d in dims]
        a = ops.permute(a, [d for d in range(a.ndim) if d not in moved] + moved)
    shape = a.shape[b.ndim :]
    n = math.prod(shape)
    if n != math.prod(a.shape[: b.ndim]):
        raise ShapeError("tensorsolve", "A's dimensions do not split into two equal parts",
                         expected="as many numbers in the dimensions of B as in the others",
                         got=f"A {tuple(a.shape)}, B {tuple(b.shape)}")  # fmt: skip
    return ops.reshape(solve(ops.reshape(a, n, n), ops.reshape(b, -1)), shape)
