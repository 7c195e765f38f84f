"""The standard's extension for linear algebra, over `lampion.linalg`."""

from __future__ import annotations

from typing import Any, NamedTuple

from lampion import dtype as dtypes
from lampion import linalg as _linalg
from lampion.array_api._rules import DType, Tensor, axes_of, op, pair
from lampion.array_api.linear_algebra import matmul, matrix_transpose, tensordot, vecdot
from lampion.array_api.manipulation import broadcast_arrays
from lampion.array_api.statistical import sum as _sum
from lampion.errors import ShapeError

__all__ = [
    "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm",
    "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve", "svd",
    "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip

_Source: Any = _linalg


class EighResult(NamedTuple):
    """The eigenvalues in increasing order, and the eigenvectors, as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """A matrix of orthonormal columns, and an upper triangular one."""

    Q: Tensor
    R: Tensor


class SlogdetResult(NamedTuple):
    """The sign of the determinant, and the logarithm of its absolute value."""

    sign: Tensor
    logabsdet: Tensor


class SVDResult(NamedTuple):
    """Left singular vectors, singular values, right singular vectors (conjugated, as rows)."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """The triangular matrix L with ``L @ L.mH == x``, or the upper one U with ``U.mH @ U == x``."""
    out: Tensor = _Source.cholesky(x)
    return out.mH if upper else out


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The vector product of vectors of three numbers along an axis."""
    out: Tensor = _Source.cross(*broadcast_arrays(*pair("cross", x1, x2)), dim=axis)
    return out


def det(x: Tensor, /) -> Tensor:
    """The determinant."""
    out: Tensor = _Source.det(x)
    return out


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """The diagonal of each matrix."""
    if x.ndim < 2:
        raise ShapeError("diagonal", "a matrix has at least two dimensions", got=str(x.shape))
    out: Tensor = op["diagonal"](x, offset, -2, -1)
    return out


def eigh(x: Tensor, /) -> EighResult:
    """Eigenvalues and eigenvectors of a symmetric (or Hermitian) matrix."""
    return EighResult(*_Source.eigh(x))


def eigvalsh(x: Tensor, /) -> Tensor:
    """The eigenvalues of a symmetric (or Hermitian) matrix."""
    out: Tensor = _Source.eigvalsh(x)
    return out


def inv(x: Tensor, /) -> Tensor:
    """The inverse matrix."""
    out: Tensor = _Source.inv(x)
    return out


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """The norm of each matrix: Frobenius, nuclear, or an operator norm."""
    if ord is None:
        ord = "fro"
    out: Tensor = _Source.matrix_norm(x, ord=ord, keepdim=keepdims)
    return out


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """The matrix multiplied by itself; a negative power is one of the inverse."""
    out: Tensor = _Source.matrix_power(x, n)
    return out


def matrix_rank(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """How many singular values are larger than `rtol` times the largest."""
    values = svdvals(x)
    if not values.shape[-1]:
        return op["zeros"](values.shape[:-1], dtype=dtypes.int64)  # type: ignore[no-any-return]  # a Tensor
    if rtol is None:
        rtol = max(x.shape[-2:]) * dtypes.finfo(values.dtype).eps
    bound = values.amax(-1, True) * (rtol[..., None] if isinstance(rtol, Tensor) else rtol)
    out: Tensor = op["sum"](values > bound, -1)
    return out


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """All products of an element of the one vector with one of the other."""
    x1, x2 = pair("outer", x1, x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ShapeError("outer", "both are vectors", got=f"{x1.shape}, {x2.shape}")
    return x1[:, None] * x2


def pinv(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """The pseudo-inverse: singular values below `rtol` times the largest count as 0."""
    if rtol is None:
        rtol = max(x.shape[-2:]) * dtypes.finfo(x.dtype).eps
    out: Tensor = _Source.pinv(x, rtol=rtol)
    return out


def qr(x: Tensor, /, *, mode: str = "reduced") -> QRResult:
    """The matrix as orthonormal columns times an upper triangular matrix."""
    if mode not in ("reduced", "complete"):
        raise ValueError(f'qr: mode is "reduced" or "complete", got {mode!r}')
    return QRResult(*_Source.qr(x, mode=mode))


def slogdet(x: Tensor, /) -> SlogdetResult:
    """Sign and logarithm of the determinant."""
    return SlogdetResult(*_Source.slogdet(x))


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The x of ``x1 @ x == x2``; a vector x2 is one only if it has one dimension."""
    x1, x2 = pair("solve", x1, x2)
    if x2.ndim == 1:
        answer: Tensor = _Source.solve(x1, x2[:, None])
        return answer[..., 0]
    out: Tensor = _Source.solve(x1, x2)
    return out


def svd(x: Tensor, /, *, full_matrices: bool = True) -> SVDResult:
    """The matrix as ``U @ diag(S) @ Vh``."""
    return SVDResult(*_Source.svd(x, full_matrices=full_matrices))


def svdvals(x: Tensor, /) -> Tensor:
    """The singular values, in decreasing order."""
    out: Tensor = _Source.svdvals(x)
    return out


def trace(x: Tensor, /, *, offset: int = 0, dtype: DType | None = None) -> Tensor:
    """The sum of the diagonal."""
    return _sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def vector_norm(
    x: Tensor, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False, ord: float = 2
) -> Tensor:
    """The norm of the vectors along the axes (default: of all elements)."""
    axes = axes_of("vector_norm", axis, x.ndim)
    if not axes:
        return x.abs() if ord else (x != 0).to(x.dtype.to_real())
    out: Tensor = _Source.vector_norm(x, ord, axes, keepdims)
    return out
