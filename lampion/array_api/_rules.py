"""The standard's rules for arguments: which types mix, and what a Python number becomes beside an array."""

from __future__ import annotations

from typing import Any

from lampion import dtype as dtypes
from lampion.dtype import DType
from lampion.errors import DTypeError, ShapeError
from lampion.ops.define import OPERATIONS as op
from lampion.ops.shapes import normalize_dim
from lampion.tensor import Tensor, check_device

__all__ = ["DType", "Tensor", "axes_of", "common", "default", "number_type", "on_device", "op", "pair"]

_NUMBERS = (bool, int, float, complex)


def number_type(name: str, number: Any, dtype: DType) -> DType:
    """The type that an array of type `dtype` and a Python number compute in.

    A number has the width of the array it stands beside. It must not be of a higher kind, except that a
    complex number makes a floating array complex.
    """
    if isinstance(number, bool):
        fits = dtype.kind == "b"
    elif isinstance(number, int):
        fits = dtype.kind != "b"
    elif isinstance(number, float):
        fits = dtype.is_inexact
    else:
        if isinstance(number, complex) and dtype.is_inexact:
            return dtype.to_complex()
        fits = False
    if not fits:
        raise DTypeError(name, f"a number of type {type(number).__name__} does not mix with {dtype}",
                         fix="convert the array first: astype(x, ...)")  # fmt: skip
    return dtype


def pair(name: str, x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    """Two arrays of one type. Every array counts, those of no dimensions too; one may be a number."""
    if isinstance(x1, Tensor) and isinstance(x2, Tensor):
        if x1.dtype is x2.dtype:
            return x1, x2
        target = dtypes.promote(x1.dtype, x2.dtype)
        return x1.to(target), x2.to(target)
    if isinstance(x1, Tensor) and isinstance(x2, _NUMBERS):
        target = number_type(name, x2, x1.dtype)
        return x1.to(target), op["full"]((), x2, target)
    if isinstance(x2, Tensor) and isinstance(x1, _NUMBERS):
        target = number_type(name, x1, x2.dtype)
        return op["full"]((), x1, target), x2.to(target)
    raise TypeError(
        f"{name}: expected arrays (one may be a number), got {type(x1).__name__}, {type(x2).__name__}"
    )


def common(arrays: Any) -> list[Tensor]:
    """Several arrays, in the type that all of them promote to."""
    arrays = list(arrays)
    if not arrays:
        return []
    target = arrays[0].dtype
    for x in arrays[1:]:
        target = dtypes.promote(target, x.dtype)
    return [x.to(target) for x in arrays]


def axes_of(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """None (all), an axis or several, as a tuple of numbers that are not negative."""
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, tuple | list) else (axis,)
    if not ndim and given:
        raise ShapeError(name, "an array of no dimensions has no axis", got=f"axis={axis}")
    axes = tuple(normalize_dim(name, a, ndim) for a in given)
    if len(set(axes)) < len(axes):
        raise ShapeError(name, "an axis is named twice", got=f"axis={axis}")
    return axes


def default(dtype: Any, otherwise: DType) -> DType:
    """The type that was asked for, or the one to take where none was."""
    return otherwise if dtype is None else dtypes.of(dtype)


def on_device(name: str, device: Any) -> None:
    """Refuse devices that are not there."""
    check_device(name, device)
