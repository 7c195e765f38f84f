"""Norms of vectors and matrices, and what follows from them: condition numbers and ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lampion import dtype as dtypes
from lampion import ops
from lampion.amp.policy import by_policy
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.ops.factors import eigh_parts, singular_values
from lampion.ops.lengths import euclidean, power_mean
from lampion.ops.shapes import normalize_dim, normalize_dims
from lampion.ops.solving import inverse, zero_pivot
from lampion.ops.triangles import floats, matrices, square
from lampion.tensor import Tensor, as_tensor

_Dim = int | Sequence[int] | None
_Order = float | str | None


def vector_norm(
    x: Tensor, ord: float = 2, dim: _Dim = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """``(sum of |x|**ord)**(1 / ord)``; inf and -inf: the largest and smallest; 0: how many are not 0.

    Args:
        dim: the dimensions along which vectors lie; all of them by default.
        dtype: computed in this type.

    The slope at a vector of zeros is 0, where there is none.

    >>> import lampion
    >>> lampion.linalg.vector_norm(lampion.tensor([3.0, -4.0]))
    tensor(5.)
    """
    x = _prepared("vector_norm", x, dtype)
    if isinstance(dim, Sequence):
        dim = tuple(dim)
    axes = normalize_dims("vector_norm", dim, x.ndim)
    if not isinstance(ord, int | float):
        raise LampionError("vector_norm", "the order is a number", got=repr(ord),
                           fix='matrix_norm has "fro" and "nuc"')  # fmt: skip
    ord = float(ord)
    if (ord < 0 or ord == math.inf) and any(x.shape[a] == 0 for a in axes):
        raise ShapeError("vector_norm", f"a vector without elements has no norm of order {ord}",
                         got=f"shape {tuple(x.shape)}, dim {dim}")  # fmt: skip
    if ord == 2:
        length: Tensor = euclidean(x, axes, keepdim) if axes else ops.abs(x)
        return length
    if ord == 0:
        return _sum(ops.where(ops.ne(x, 0), 1.0, ops.abs(x)), axes, keepdim)
    sizes = ops.abs(x)
    if not axes:
        return sizes
    if ord == math.inf:
        return ops.amax(sizes, axes, keepdim)
    if ord == -math.inf:
        return ops.amin(sizes, axes, keepdim)
    if ord == 1:
        return _sum(sizes, axes, keepdim)
    out: Tensor = power_mean(x, axes, keepdim, ord)
    return out


def _sum(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return ops.sum(x, axes, keepdim) if axes else x


def _prepared(name: str, x: Tensor, dtype: Any) -> Tensor:
    x = as_tensor(x)
    if dtype is not None:
        wanted = dtypes.of(dtype)
        if not wanted.is_inexact or (x.dtype.is_complex and not wanted.is_complex):
            raise DTypeError(name, f"the norm of {x.dtype} cannot be computed as {wanted}",
                             expected="floating numbers; complex ones for a complex tensor")  # fmt: skip
        x = x.to(wanted)
    if not x.dtype.is_inexact:
        raise DTypeError(name, "expected floating or complex numbers", got=str(x.dtype),
                         fix="convert it: x.float()")  # fmt: skip
    return x


def matrix_norm(
    A: Tensor, ord: float | str = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False,
    *, dtype: Any = None,
) -> Tensor:  # fmt: skip
    """A norm of matrices.

    ``"fro"``: the root of the sum of squares; ``"nuc"``: the sum of the singular values; 2 and -2: the
    largest and smallest of them; 1 and -1: the largest and smallest sum of sizes in a column; inf and
    -inf: in a row.
    """
    x = _prepared("matrix_norm", A, dtype)
    if x.ndim < 2:
        raise ShapeError(
            "matrix_norm", "expected a matrix, or a stack of them", got=f"shape {tuple(x.shape)}"
        )
    if isinstance(dim, int) or len(tuple(dim)) != 2:
        raise ShapeError("matrix_norm", "a matrix lies along two dimensions", got=f"dim={dim}")
    row, column = (normalize_dim("matrix_norm", d, x.ndim) for d in dim)
    if row == column:
        raise ShapeError("matrix_norm", "a matrix lies along two dimensions", got=f"dim={dim}")
    if ord == "fro":
        return vector_norm(x, 2, (row, column), keepdim)
    if ord in ("nuc", 2, -2):
        kept = [d for d in range(x.ndim) if d not in (row, column)]
        values: Tensor = singular_values(floats("matrix_norm", ops.permute(x, [*kept, row, column])))
        if ord == "nuc":
            out = ops.sum(values, -1)
        else:
            out = _greatest(values, values.ndim - 1, False) if ord == 2 else ops.amin(values, -1)
        if keepdim:
            out = ops.reshape(out, [1 if d in (row, column) else n for d, n in enumerate(x.shape)])
        return out
    if ord not in (1, -1, math.inf, -math.inf):
        raise LampionError("matrix_norm", f"matrices have no norm of order {ord!r}",
                           expected='"fro", "nuc", inf, -inf, 1, -1, 2 or -2')  # fmt: skip
    ord = float(ord)
    added, compared = (row, column) if abs(ord) == 1 else (column, row)
    sums = ops.sum(ops.abs(x), added, True)
    out = _greatest(sums, compared, True) if ord > 0 else ops.amin(sums, compared, True)
    return out if keepdim else ops.squeeze(out, (row, column))


def _greatest(x: Tensor, dim: int, keepdim: bool) -> Tensor:
    """The largest of sizes; of none, 0."""
    return ops.amax(x, dim, keepdim) if x.shape[dim] else ops.sum(x, dim, keepdim)


def norm(
    A: Tensor, ord: _Order = None, dim: _Dim = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """A vector's or a matrix's norm: `vector_norm` along one dimension, `matrix_norm` along two.

    Without `ord`, the root of the sum of squares along all the dimensions named.
    """
    x = as_tensor(A)
    if ord is None:
        return vector_norm(x, 2, dim, keepdim, dtype=dtype)
    if dim is None:
        if x.ndim > 2 or (isinstance(ord, str) and x.ndim != 2):
            raise ShapeError(
                "norm",
                "with an order, the tensor must be a vector or a matrix",
                got=f"shape {tuple(x.shape)}, ord={ord!r}",
                fix="name the dimensions: dim=",
            )
        dim = (0, 1) if x.ndim == 2 else None
    if isinstance(dim, Sequence) and len(dim) == 2:
        return matrix_norm(x, ord, dim, keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise LampionError(
            "norm", f"vectors have no norm {ord!r}", got=f"dim={dim}", fix="name two dimensions"
        )
    return vector_norm(x, ord, dim, keepdim, dtype=dtype)


@by_policy
def cond(A: Tensor, p: _Order = None) -> Tensor:
    """How much solving with A can enlarge an error: ``norm(A) * norm(inverse of A)``; inf if it has none.

    Args:
        p: the norm (see `matrix_norm`); 2 by default: the largest over the smallest singular value.
    """
    if p in (None, 2, -2):
        x = floats("cond", matrices("cond", A))
        values: Tensor = singular_values(x)
        if not x.numel():
            return ops.zeros(x.shape[:-2], dtype=values.dtype)
        first, last = values[..., 0], values[..., -1]
        return last / first if p == -2 else first / last
    x = floats("cond", square("cond", A))
    if not x.numel():
        return ops.zeros(x.shape[:-2], dtype=x.dtype.to_real())
    assert p is not None
    both = matrix_norm(x, p) * matrix_norm(inverse(x, False), p)
    return ops.where(ops.ne(zero_pivot(x), 0), math.inf, both)


@by_policy
def matrix_rank(
    A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """How many singular values are above ``max(atol, rtol * the largest)``.

    Args:
        tol: the old name of `atol`.
        atol, rtol: numbers, or a tensor with one for each matrix. By default 0, and the larger size times
            the type's precision (0 if `atol` is given).
        hermitian: the sizes of the eigenvalues are taken, which is faster.
    """
    x = floats("matrix_rank", matrices("matrix_rank", A)).detach()
    if hermitian:
        values = ops.abs(ops.real(eigh_parts(square("matrix_rank", x), lower=True)[0]))
    else:
        values = singular_values(x)
    if not x.numel():
        return ops.zeros(x.shape[:-2], dtype=dtypes.int64)
    atol = tol if atol is None else atol
    atol, rtol = tolerances(x, atol, rtol)
    limit = ops.maximum(atol, rtol * ops.amax(values, -1))
    return ops.sum(ops.gt(values, ops.unsqueeze(limit, -1)), -1)


def tolerances(x: Tensor, atol: Any, rtol: Any) -> tuple[Tensor, Tensor]:
    """The two tolerances as tensors of the type of x's real parts."""
    real = x.dtype.to_real()
    if rtol is None:
        precision = 2.0**-23 if real is dtypes.float32 else 2.0**-52
        default = precision * max(x.shape[-2:])
        if isinstance(atol, Tensor):
            rtol = ops.where(ops.gt(atol, 0), 0.0, ops.full((), default, dtype=real))
        else:
            rtol = 0.0 if atol else default
    found = [ops.full((), 0.0 if t is None else t, dtype=real) if not isinstance(t, Tensor) else t.to(real)
             for t in (atol, rtol)]  # fmt: skip
    return found[0], found[1]
