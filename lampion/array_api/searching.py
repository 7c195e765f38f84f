"""Finding, sorting, sets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lampion.array_api._rules import Tensor, axes_of, op, pair
from lampion.mode import mode
from lampion.tensor import from_numpy

__all__ = [
    "argmax", "argmin", "argsort", "count_nonzero", "nonzero", "searchsorted", "sort", "unique_all",
    "unique_counts", "unique_inverse", "unique_values", "where",
]  # fmt: skip


def _extreme(name: str, x: Tensor, axis: int | None, keepdims: bool) -> Tensor:
    if axis is not None:
        axes_of(name, axis, x.ndim)
    out: Tensor = op[name](x, axis, keepdims)
    if axis is None and keepdims and out.ndim != x.ndim:
        out = out.reshape([1] * x.ndim)
    return out


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the largest element is, the first of equals."""
    return _extreme("argmax", x, axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the smallest element is, the first of equals."""
    return _extreme("argmin", x, axis, keepdims)


def argsort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort along an axis; equal elements keep their order."""
    axes_of("argsort", axis, x.ndim)
    out: Tensor = op["sort"](x, dim=axis, descending=descending, stable=True)[1]
    return out


def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The elements in order along an axis; equal ones keep their order."""
    axes_of("sort", axis, x.ndim)
    out: Tensor = op["sort"](x, dim=axis, descending=descending, stable=True)[0]
    return out


def count_nonzero(
    x: Tensor, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> Tensor:
    """How many elements are not 0, along the axes (default: all)."""
    axes = axes_of("count_nonzero", axis, x.ndim)
    out: Tensor = op["sum"](x != 0, axes, keepdims) if axes or not x.ndim else (x != 0).long()
    return out


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """Where the elements are that are not 0: the indices along each axis."""
    if not x.ndim:
        raise ValueError("nonzero: an array of no dimensions has no indices")
    return tuple(op["nonzero"](x, as_tuple=True))


def searchsorted(
    x1: Tensor, x2: Tensor | float, /, *, side: str = "left", sorter: Tensor | None = None
) -> Tensor:
    """Where each of `x2` would have to go into the sorted `x1`: before its equals, or after ("right")."""
    if side not in ("left", "right"):
        raise ValueError(f'searchsorted: side is "left" or "right", got {side!r}')
    x1, x2 = pair("searchsorted", x1, x2)
    if sorter is not None:
        x1 = op["index_select"](x1, 0, sorter)
    out: Tensor = op["searchsorted"](x1, x2, right=side == "right")
    return out


def where(condition: Tensor, x1: Tensor | complex, x2: Tensor | complex, /) -> Tensor:
    """x1 where the condition holds, x2 elsewhere."""
    out: Tensor = op["where"](condition, *pair("where", x1, x2))
    return out


class UniqueAllResult(NamedTuple):
    """`values`; of each, where it is first and how often; and for each element, which of them it is."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCountsResult(NamedTuple):
    """`values`, and how often each is there."""

    values: Tensor
    counts: Tensor


class UniqueInverseResult(NamedTuple):
    """`values`, and for each element which of them it is."""

    values: Tensor
    inverse_indices: Tensor


def _unique(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if mode.trace is not None:
        mode.trace.refuse("finds the different values of a tensor", "do that outside of the function")
    array = x.detach().numpy()
    values, indices, inverse, counts = np.unique(
        array.reshape(-1), return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    out = (values, indices, inverse.reshape(array.shape), counts)
    first, *others = (from_numpy(np.asarray(part)) for part in out)
    return first, *(part.long() for part in others)  # type: ignore[return-value]  # four of them


def unique_all(x: Tensor, /) -> UniqueAllResult:
    """The different values, in order, and all that there is to say about them. Each NaN is one of its own."""
    return UniqueAllResult(*_unique(x))


def unique_counts(x: Tensor, /) -> UniqueCountsResult:
    """The different values, in order, and how often each is there."""
    values, _, _, counts = _unique(x)
    return UniqueCountsResult(values, counts)


def unique_inverse(x: Tensor, /) -> UniqueInverseResult:
    """The different values, in order, and for each element which of them it is."""
    values, _, inverse, _ = _unique(x)
    return UniqueInverseResult(values, inverse)


def unique_values(x: Tensor, /) -> Tensor:
    """The different values, in order."""
    return _unique(x)[0]
