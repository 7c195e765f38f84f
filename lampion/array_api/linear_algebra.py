"""Products of vectors and matrices."""

from __future__ import annotations

from collections.abc import Sequence

from lampion.array_api._rules import Tensor, axes_of, op, pair
from lampion.errors import ShapeError
from lampion.ops.shapes import broadcast_shapes

__all__ = ["matmul", "matrix_transpose", "tensordot", "vecdot"]


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The matrix product; leading axes broadcast."""
    out: Tensor = op["matmul"](*pair("matmul", x1, x2))
    return out


def matrix_transpose(x: Tensor, /) -> Tensor:
    """The last two axes exchanged."""
    return x.mT


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Tensor:
    """The sum of products over several axes: the last n of x1 and the first n of x2, or those named."""
    x1, x2 = pair("tensordot", x1, x2)
    if isinstance(axes, int):
        first, second = tuple(range(x1.ndim - axes, x1.ndim)), tuple(range(axes))
    else:
        first, second = (
            axes_of("tensordot", tuple(axes[0]), x1.ndim),
            axes_of("tensordot", tuple(axes[1]), x2.ndim),
        )
    if [x1.shape[a] for a in first] != [x2.shape[a] for a in second]:
        raise ShapeError(
            "tensordot", "the sizes of the axes differ", got=f"{x1.shape}, {x2.shape}, axes={axes}"
        )
    rest = [a for a in range(x1.ndim) if a not in first], [a for a in range(x2.ndim) if a not in second]
    left, right = x1.permute([*rest[0], *first]), x2.permute([*second, *rest[1]])
    outer = left.shape[: len(rest[0])], right.shape[len(second) :]
    inner = 1
    for a in first:
        inner *= x1.shape[a]
    rows, columns = 1, 1
    for n in outer[0]:
        rows *= n
    for n in outer[1]:
        columns *= n
    product = op["matmul"](left.reshape(rows, inner), right.reshape(inner, columns))
    out: Tensor = product.reshape((*outer[0], *outer[1]))
    return out


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The sum of ``conj(x1) * x2`` along an axis, counted from the end; the other axes broadcast."""
    x1, x2 = pair("vecdot", x1, x2)
    ndim = max(x1.ndim, x2.ndim)
    (place,) = axes_of("vecdot", axis, min(x1.ndim, x2.ndim))
    place -= min(x1.ndim, x2.ndim)
    if x1.shape[place] != x2.shape[place]:
        raise ShapeError(
            "vecdot", "the sizes along the axis differ", got=f"{x1.shape}, {x2.shape}, axis={axis}"
        )
    broadcast_shapes("vecdot", [x1.shape, x2.shape])
    product = x1.conj() * x2
    out: Tensor = op["sum"](product, ndim + place).to(product.dtype)
    return out
