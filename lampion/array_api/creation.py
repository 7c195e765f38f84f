"""Arrays out of nothing, or out of data."""

from __future__ import annotations

from typing import Any

from lampion import construct
from lampion import dtype as dtypes
from lampion.array_api._rules import DType, Tensor, axes_of, common, default, on_device, op

__all__ = [
    "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace",
    "meshgrid", "ones", "ones_like", "tril", "triu", "zeros", "zeros_like",
]  # fmt: skip


def _sizes(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
) -> Tensor:
    """The numbers from `start` up to, not including, `stop`; none where the step leads away from it."""
    if stop is None:
        start, stop = 0, start
    if (stop - start) * step < 0:
        stop = start
    out: Tensor = op["arange"](start, stop, step, dtype=dtype, device=device)
    return out


def asarray(
    obj: Any, /, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None
) -> Tensor:
    """`obj` as an array: numbers, nested lists, arrays, buffers. `copy` says whether it may share memory."""
    return construct.asarray(obj, dtype=dtype, device=device, copy=copy)


def empty(shape: int | tuple[int, ...], *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array to be filled later."""
    return zeros(shape, dtype=dtype, device=device)


def empty_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of the shape of `x`, to be filled later."""
    return zeros(x.shape, dtype=default(dtype, x.dtype), device=device)


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """Ones on the k-th diagonal, zeros elsewhere."""
    n_cols = n_rows if n_cols is None else n_cols
    rows, columns = op["arange"](n_rows).reshape(n_rows, 1), op["arange"](n_cols)
    on_device("eye", device)
    out: Tensor = (columns - rows == k).to(default(dtype, dtypes.get_default_dtype()))
    return out


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """An array that shares the memory of another library's."""
    return construct.from_dlpack(x, device=device, copy=copy)


def full(
    shape: int | tuple[int, ...], fill_value: complex, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """An array filled with one number, in whose type it is unless one is given."""
    out: Tensor = op["full"](_sizes(shape), fill_value, dtype=dtype, device=device)
    return out


def full_like(x: Tensor, /, fill_value: complex, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of the shape of `x`, filled with one number."""
    return full(x.shape, fill_value, dtype=default(dtype, x.dtype), device=device)


def linspace(
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: DType | None = None,
    device: Any = None,
    endpoint: bool = True,
) -> Tensor:
    """`num` evenly spaced numbers from `start` to `stop`, which is included unless `endpoint` is False."""
    steps = num if endpoint else num + 1
    out: Tensor = op["linspace"](start, stop, steps, dtype=dtype, device=device)
    return out if endpoint else out[:num]


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> list[Tensor]:
    """The coordinates of a grid, from those of its axes."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f'meshgrid: indexing is "xy" or "ij", got {indexing!r}')
    ndim = len(arrays)
    places = list(range(ndim))
    if indexing == "xy" and ndim > 1:
        places[:2] = [1, 0]
    shape = [1] * ndim
    for x, place in zip(arrays, places, strict=True):
        shape[place] = x.numel()
    out = []
    for x, place in zip(common(arrays), places, strict=True):
        line = x.reshape([-1 if i == place else 1 for i in range(ndim)])
        out.append(op["broadcast_to"](line, shape))
    return out


def ones(shape: int | tuple[int, ...], *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of ones."""
    return full(shape, 1, dtype=default(dtype, dtypes.get_default_dtype()), device=device)


def ones_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of ones of the shape of `x`."""
    return full(x.shape, 1, dtype=default(dtype, x.dtype), device=device)


def _triangle(x: Tensor, k: int, is_lower: bool) -> Tensor:
    axes_of("tril" if is_lower else "triu", (-2, -1), x.ndim)
    rows, columns = op["arange"](x.shape[-2]).reshape(-1, 1), op["arange"](x.shape[-1])
    keep = columns - rows <= k if is_lower else columns - rows >= k
    out: Tensor = op["where"](keep, x, op["zeros"]((), dtype=x.dtype))
    return out


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The lower triangle of each matrix, zeros above the k-th diagonal."""
    return _triangle(x, k, is_lower=True)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """The upper triangle of each matrix, zeros below the k-th diagonal."""
    return _triangle(x, k, is_lower=False)


def zeros(shape: int | tuple[int, ...], *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of zeros."""
    return full(shape, 0, dtype=default(dtype, dtypes.get_default_dtype()), device=device)


def zeros_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of zeros of the shape of `x`."""
    return full(x.shape, 0, dtype=default(dtype, x.dtype), device=device)
