"""Making the calls of a row: with tensors, with NumPy, with gradients, from other memory layouts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lampion import autograd
from lampion.dtype import DType
from lampion.errors import LampionError
from lampion.tensor import Tensor, from_numpy
from lampion.testing.compare import assert_close, assert_identical, flatten
from lampion.testing.rows import Row, Sample, arrays_in, expected_dtype, to_tensors, with_arrays


@contextlib.contextmanager
def told(row: Row, what: Any) -> Iterator[None]:
    """What goes wrong inside is told together with the call that it went wrong in."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in {row.name}{what}")
        raise


def run(row: Row, sample: Sample, requires_grad: bool = False) -> list[Any]:
    """The results of the operation."""
    return flatten(row.op(*to_tensors(sample.args, requires_grad), **tensors_in(sample.kwargs)))


def tensors_in(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments with tensors in the place of arrays."""
    return {name: to_tensors(value) for name, value in kwargs.items()}


def changed(sample: Sample, change: Callable[[Any], Any]) -> Sample:
    """The same call with other arrays."""
    return Sample(with_arrays(sample.args, map(change, arrays_in(sample.args))), sample.kwargs)


def widen(array: Any) -> Any:
    """float32 as float64; other types as they are."""
    return array.astype(np.float64) if array.dtype == np.float32 else array


def reference(row: Row, sample: Sample) -> list[Any]:
    """What NumPy computes, in float64 where floats are involved."""
    with np.errstate(all="ignore"):
        wide = changed(sample, widen)
        found = flatten(row.reference(*wide.args, **sample.kwargs))
        if any(np.asarray(x).dtype in (np.float16, np.float32) for x in found):  # from small integers
            wide = changed(sample, lambda array: array.astype(np.float64))
            found = flatten(row.reference(*wide.args, **sample.kwargs))
    return [np.asarray(x) for x in found]


def compare(row: Row, base: DType, results: list[Any], sample: Sample) -> None:
    """Values, shapes and dtypes of the results against the reference."""
    expected = reference(row, sample)
    assert len(results) == len(expected), f"{len(results)} results, expected {len(expected)}"
    for actual, found in zip(results, expected, strict=True):
        assert isinstance(actual, Tensor), f"the result is a {type(actual).__name__}, not a Tensor"
        dtype = expected_dtype(row, base, found)
        assert actual.dtype is dtype, f"the result has {actual.dtype}, expected {dtype}"
        with np.errstate(all="ignore"):
            target = found.astype(dtype.numpy)
        if dtype.is_floating_point:
            tolerance = row.ulps * float(np.finfo(dtype.numpy).eps)
            assert_close(actual, target, rtol=tolerance, atol=tolerance, equal_nan=True)
        else:
            assert_identical(actual, target)


def must_refuse(attempt: Callable[[], Any], what: str) -> None:
    """The attempt must end in an error of Lampion's own."""
    try:
        attempt()
    except LampionError:
        return
    except Exception as error:
        raise AssertionError(f"{what} are refused with a bare {type(error).__name__}: {error}") from error
    raise AssertionError(f"{what} are taken, but not among the row's dtypes")


def of_tensors(row: Row, sample: Sample) -> tuple[Callable[..., Any], list[Tensor]]:
    """The call as a function of its tensors alone, wherever in the arguments they are; and the tensors."""
    kwargs = tensors_in(sample.kwargs)
    tensors = [to_tensors(array) for array in arrays_in(sample.args)]
    return lambda *xs: row.op(*with_arrays(sample.args, xs), **kwargs), tensors


def gradients(
    row: Row, sample: Sample, seeds: list[Tensor] | None = None, create_graph: bool = False
) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of the floating arguments, and the gradients of the results that they started from."""
    function, tensors = of_tensors(row, sample)
    leaves = [x.detach().requires_grad_() if x.dtype.is_floating_point else x for x in tensors]
    targets = [x for x in leaves if x.requires_grad]
    roots = recorded(flatten(function(*leaves)))
    if seeds is None:
        rng = np.random.default_rng(0)
        seeds = [from_numpy(rng.standard_normal(out.shape).astype(out.dtype.numpy)) for out in roots]
    if not roots or not targets:
        return [], seeds
    found = autograd.grad(roots, targets, seeds, create_graph=create_graph, allow_unused=True)
    return [slope for slope in found if slope is not None], seeds


def recorded(outs: list[Any]) -> list[Tensor]:
    """Those that require a gradient."""
    return [out for out in outs if isinstance(out, Tensor) and out.requires_grad]


def layouts(sample: Sample) -> Iterator[tuple[str, Sample]]:
    """The same call with its arrays laid out differently in memory; the last with other values too."""

    def strided(a: Any) -> Any:
        every_second: Any = (..., *(slice(None, None, 2) for _ in a.shape))
        wide = np.zeros([2 * n for n in a.shape], a.dtype)
        wide[every_second] = a
        return wide[every_second]

    def backwards(a: Any) -> Any:
        turn: Any = (..., *(slice(None, None, -1) for _ in a.shape))
        return a[turn].copy()[turn]

    def stretched(a: Any) -> Any:
        return np.broadcast_to(a[:1], a.shape) if a.ndim and a.dtype.kind == "f" else a

    if any(a.ndim for a in arrays_in(sample.args)):
        yield "transposed", changed(sample, lambda a: np.array(a, order="F"))
        yield "strided", changed(sample, strided)
        yield "reversed", changed(sample, backwards)
        yield "stretched", changed(sample, stretched)


def special_grids(dtype: DType, arity: int) -> tuple[Any, ...]:
    """Arrays that together hold every combination of the special values."""
    info = np.finfo(dtype.numpy)
    limits = [float(info.max), -float(info.max), float(info.tiny), float(info.smallest_subnormal)]
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5, *limits], dtype.numpy)
    return tuple(grid.copy() for grid in np.meshgrid(*[values] * arity, indexing="ij"))
