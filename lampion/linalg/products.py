"""Products under their names in `torch.linalg`; the others are in `lampion` itself."""

from __future__ import annotations

from collections.abc import Sequence

from lampion import dtype as dtypes
from lampion import ops
from lampion.amp.policy import by_policy
from lampion.errors import ShapeError
from lampion.ops.products import cross_along, multiply_chain, vecdot_along
from lampion.tensor import Tensor, as_tensor

matmul = ops.matmul
matrix_power = ops.matrix_power


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of three elements along `dim`; the other dimensions broadcast."""
    out: Tensor = cross_along("cross", as_tensor(input), as_tensor(other), dim)
    return out


@by_policy
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of ``conj(x) * y`` along `dim`; the other dimensions broadcast."""
    out: Tensor = vecdot_along("vecdot", x, y, dim)
    return out


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, as a view; above (offset > 0) or below the main one."""
    return ops.diagonal(A, offset, dim1, dim2)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices, in the order of multiplying that costs least.

    The first and the last may be vectors: a row and a column.
    """
    factors = [as_tensor(x) for x in tensors]
    if len(factors) < 2:
        raise ShapeError("multi_dot", "there are not two matrices to multiply", got=f"{len(factors)} tensors")
    for position, x in enumerate(factors):
        if x.ndim != 2 and not (x.ndim == 1 and position in (0, len(factors) - 1)):
            raise ShapeError("multi_dot", f"tensor {position} is no matrix", got=f"shape {tuple(x.shape)}",
                             expected="matrices; vectors only at the two ends")  # fmt: skip
    row, column = factors[0].ndim == 1, factors[-1].ndim == 1
    if row:
        factors[0] = ops.unsqueeze(factors[0], 0)
    if column:
        factors[-1] = ops.unsqueeze(factors[-1], 1)
    out: Tensor = multiply_chain("multi_dot", factors)
    shape = out.shape[1 if row else 0 : 1 if column else 2]
    return ops.reshape(out, shape)


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0 to N - 1 of each element (N: by default as many as there are elements).

    >>> import lampion
    >>> lampion.linalg.vander(lampion.tensor([1, 2, 3]))
    tensor([[1, 1, 1],
            [1, 2, 4],
            [1, 3, 9]])
    """
    x = as_tensor(x)
    if not x.ndim and N is None:
        raise ShapeError("vander", "a number does not say how many powers", got="shape ()", fix="N=")
    x = x if x.ndim else ops.reshape(x, 1)
    if not x.dtype.is_inexact:
        x = x.to(dtypes.int64)
    count = x.shape[-1] if N is None else N
    if count <= 1:
        raise ShapeError("vander", "at least two powers are needed", got=f"N={count}")
    powers = [ops.ones_like(x), x]
    while len(powers) < count:
        powers.append(powers[-1] * x)
    return ops.stack(powers, -1)
