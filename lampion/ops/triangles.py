"""What the files on linear algebra share: checks of arguments; diagonals and triangles of matrices."""

from __future__ import annotations

from lampion.errors import DTypeError, LinAlgError, ShapeError
from lampion.ops.complex_numbers import matrix_adjoint
from lampion.ops.creation import arange
from lampion.ops.elementwise import eq, ge, where
from lampion.ops.movement import reshape
from lampion.ops.views import unsqueeze
from lampion.tensor import as_tensor

adjoint = matrix_adjoint  # X^H

# -- arguments -----------------------------------------------------------------------------------------


def matrices(name, x):
    """A stack of matrices, in numbers of any type."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(name, "expected a matrix, or a stack of them", expected="at least two dimensions",
                         got=f"shape {tuple(x.shape)}")  # fmt: skip
    return x


def square(name, x):
    """A stack of square matrices, in numbers of any type."""
    x = matrices(name, x)
    if x.shape[-1] != x.shape[-2]:
        raise ShapeError(name, "the matrix must be square", expected="(..., n, n)",
                         got=f"shape {tuple(x.shape)}",
                         fix="others: lstsq, pinv, qr and svd in lampion.linalg")  # fmt: skip
    return x


def floats(name, x):
    """Floating numbers of 32 or 64 bits, or complex ones."""
    x = as_tensor(x)
    if not x.dtype.is_inexact or x.dtype.is_half:
        raise DTypeError(name, "expected floating or complex numbers", got=str(x.dtype),
                         expected="float32, float64, complex64 or complex128", fix="convert it: x.float()")
    return x


def same_type(name, x, y):
    """Refuse two tensors of different types."""
    if x.dtype is not y.dtype:
        raise DTypeError(name, "the two have different types", expected="one type for both",
                         got=f"{x.dtype} and {y.dtype}", fix="convert one: x.to(y.dtype)")  # fmt: skip


# -- masks and triangles -------------------------------------------------------------------------------


def lower_part(x, offset=0):
    """x on and below a diagonal, 0 above it."""
    return where(_below(x, offset), x, 0.0)


def upper_part(x, offset=0):
    """x on and above a diagonal, 0 below it."""
    return where(_below(x, offset - 1), 0.0, x)


def _below(x, offset):
    rows, columns = arange(x.shape[-2]), arange(x.shape[-1])
    return ge(reshape(rows, -1, 1) + offset, columns)


def on_diagonal(x):
    """Which places of the matrices x lie on their diagonals."""
    return eq(reshape(arange(x.shape[-2]), -1, 1), arange(x.shape[-1]))


def half_diagonal(x):
    """x with its diagonal halved."""
    return where(on_diagonal(x), x * 0.5, x)


def with_diagonal(x, values):
    """x with another diagonal, given as a stack of vectors."""
    return where(on_diagonal(x), unsqueeze(values, -2), x)


def diagonal_matrix(values):
    """Diagonal matrices."""
    wide = unsqueeze(values, -1)
    place = eq(reshape(arange(values.shape[-1]), -1, 1), arange(values.shape[-1]))
    return where(place, wide, 0.0)


def scaled_columns(x, values):
    """x @ diag(values)."""
    return x * unsqueeze(values, -2)


def scaled_rows(values, x):
    """diag(values) @ x."""
    return unsqueeze(values, -1) * x


def _quotient(x, differences):
    """x / differences, for rotations between directions of equal value: 0 / 0 is none at all."""
    equal = eq(differences, 0)
    return where(equal, where(eq(x, 0), 0.0, float("inf")), x / where(equal, 1.0, differences))


def _differences(values):
    """E[i, j] = values[j] - values[i]; 1 on the diagonal."""
    return with_diagonal(unsqueeze(values, -2) - unsqueeze(values, -1), values * 0 + 1)


def converged(xp, name, compute):
    """The result of a function of NumPy's that may fail to converge."""
    try:
        return compute()
    except xp.linalg.LinAlgError:
        raise LinAlgError(name, "the iteration did not converge",
                          fix="look for NaNs and infinities: x.isfinite().all()") from None  # fmt: skip
