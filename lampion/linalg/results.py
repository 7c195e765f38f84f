"""Results with several parts: tuples whose parts also have the names that PyTorch gives them."""

from __future__ import annotations

from typing import NamedTuple

from lampion.tensor import Tensor


class QR(NamedTuple):
    """``A = Q @ R``."""

    Q: Tensor
    R: Tensor


class SVD(NamedTuple):
    """``A = U @ diag(S) @ Vh``."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class Eigen(NamedTuple):
    """``A @ eigenvectors = eigenvectors * eigenvalues``."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class SignLog(NamedTuple):
    """``det(A) = sign * exp(logabsdet)``."""

    sign: Tensor
    logabsdet: Tensor


class PLU(NamedTuple):
    """``A = P @ L @ U``."""

    P: Tensor
    L: Tensor
    U: Tensor


class LUFactor(NamedTuple):
    """L and U in one matrix, and for each row the one that it was exchanged with (counted from 1)."""

    LU: Tensor
    pivots: Tensor


class LUFactorEx(NamedTuple):
    """As `LUFactor`, and where the first zero pivot stands (counted from 1), or 0."""

    LU: Tensor
    pivots: Tensor
    info: Tensor


class LDLFactor(NamedTuple):
    """L and D in one matrix, and LAPACK's list of exchanges."""

    LD: Tensor
    pivots: Tensor


class LDLFactorEx(NamedTuple):
    """As `LDLFactor`, and where the first zero pivot stands (counted from 1), or 0."""

    LD: Tensor
    pivots: Tensor
    info: Tensor


class CholeskyEx(NamedTuple):
    """The factor, and the order of the first leading minor that is not positive, or 0."""

    L: Tensor
    info: Tensor


class InverseEx(NamedTuple):
    """The inverse, and 0; or where the first zero pivot stands, if there is none."""

    inverse: Tensor
    info: Tensor


class SolveEx(NamedTuple):
    """The solution, and 0; or where the first zero pivot stands, if there is none."""

    result: Tensor
    info: Tensor


class LeastSquares(NamedTuple):
    """What `lstsq` gives; what was not computed is empty."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor
