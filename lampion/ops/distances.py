"""Norms and distances, and what keeps them within bounds."""

from __future__ import annotations

import math

from lampion import dtype as dtypes
from lampion.errors import LampionError, ShapeError
from lampion.ops.define import cast_to, operation, promote, to_float, widened
from lampion.ops.elementwise import add, div, gt, mul, sub, where
from lampion.ops.shapes import broadcast_shapes, normalize_dim
from lampion.ops.views import unsqueeze
from lampion.tensor import as_tensor


@operation
def norm(input, p: float | str | None = "fro", dim=None, keepdim: bool = False, dtype=None):
    """The norm of a vector: ``(sum of |x|**p)**(1 / p)`` over the given dimensions (default: all).

    Args:
        p: "fro" and None are 2; inf and -inf the largest and smallest size; 0 the number that are not 0;
            "nuc" is the sum of the singular values of matrices, which lie in two dimensions.
        dtype: computed in this type.

    >>> import lampion
    >>> lampion.norm(lampion.tensor([3.0, 4.0]))
    tensor(5.)
    """
    from lampion.linalg import matrix_norm, vector_norm

    x = as_tensor(input)
    if p == "nuc":
        if dim is None and x.ndim != 2:
            raise ShapeError("norm", "a nuclear norm is that of a matrix", expected="two dimensions, or dim",
                             got=str(tuple(x.shape)))  # fmt: skip
        return matrix_norm(x, "nuc", (0, 1) if dim is None else tuple(dim), keepdim, dtype=dtype)
    if p == "fro" or p is None:
        p = 2.0
    if isinstance(p, str):
        raise LampionError("norm", "there is no such norm", expected="a number, 'fro' or 'nuc'", got=repr(p))
    return vector_norm(x, float(p), dim, keepdim, dtype=dtype)


@operation
def dist(input, other, p: float = 2):
    """The p-norm of the difference of two tensors, over all elements."""
    x, y = promote("dist", to_float(as_tensor(input)), to_float(as_tensor(other)))
    return cast_to(norm(sub(widened(x), widened(y)), p), x.dtype.to_real())


@operation(inplace=True)
def renorm(input, p: float, dim: int, maxnorm: float):
    """Each slice along `dim` scaled down to a p-norm of `maxnorm`, where it is longer.

    >>> import lampion
    >>> lampion.renorm(lampion.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    x = as_tensor(input)
    dim = normalize_dim("renorm", dim, x.ndim)
    if x.ndim < 2 or p <= 0 or maxnorm < 0:
        raise LampionError("renorm", "expected at least two dimensions, p > 0 and maxnorm >= 0",
                           got=f"{tuple(x.shape)}, p={p}, maxnorm={maxnorm}")  # fmt: skip
    lengths = norm(x, p, tuple(a for a in range(x.ndim) if a != dim), True)
    factor = div(maxnorm, add(lengths, 1e-7))  # PyTorch's: nothing is divided by 0
    return mul(x, where(gt(lengths, maxnorm), factor, 1.0))


@operation(method=False)
def cdist(x1, x2, p: float = 2.0, compute_mode: str | None = None):
    """The distances of all pairs of rows of two matrices, in p-norm, from the differences themselves.

    Args:
        compute_mode: ignored; in PyTorch it may trade accuracy for a product of matrices.

    Shape: (..., P, M) and (..., R, M) give (..., P, R).

    >>> import lampion
    >>> lampion.cdist(lampion.tensor([[0.0, 0.0]]), lampion.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    x, y = as_tensor(x1), as_tensor(x2)
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1]:
        raise ShapeError("cdist", "expected matrices with rows of one length",
                         got=f"{tuple(x.shape)} and {tuple(y.shape)}")  # fmt: skip
    broadcast_shapes("cdist", [x.shape[:-2], y.shape[:-2]])
    if p < 0 or math.isnan(p):
        raise LampionError("cdist", "the order is negative", expected="p >= 0", got=str(p))
    return norm(sub(unsqueeze(x, -2), unsqueeze(y, -3)), p, -1)


@operation(method=False)
def pdist(input, p: float = 2):
    """The distances of all pairs of rows of a matrix: those above the diagonal of ``cdist(x, x)``.

    >>> import lampion
    >>> lampion.pdist(lampion.tensor([[0.0], [1.0], [3.0]]))
    tensor([1., 3., 2.])
    """
    from lampion.ops.advanced_indexing import pick
    from lampion.ops.arranging import triu_indices

    x = as_tensor(input)
    if x.ndim != 2:
        raise ShapeError("pdist", "expected a matrix", got=str(tuple(x.shape)))
    first, second = triu_indices(x.shape[0], x.shape[0], 1, dtype=dtypes.int64)
    return norm(sub(pick(x, 0, first), pick(x, 0, second)), p, -1)
