"""A row read by the compiler: all its calls, and their gradients, as one traced function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lampion import autograd
from lampion.dtype import DType, float32, float64
from lampion.tensor import Tensor, from_numpy
from lampion.testing import calls
from lampion.testing.compare import assert_close, flatten
from lampion.testing.readings import assert_compiled, assert_interpreted, read
from lampion.testing.rows import FLOATS, SWEEP, Row, arrays_in, to_tensors, with_arrays

#: How far compiled float64 may be from eager, in units of the last place. Nothing wider than float64 is
#: at hand on every machine, so eager's own error (up to 40 terms are added here) counts too.
FLOAT64_ULPS = 64


def check_interpreted(row: Row) -> None:
    """Traced and interpreted: the bits of eager, in every type."""
    for dtype in row.taken(SWEEP):
        step, arguments = bundle(row, dtype)
        assert_interpreted(step, *arguments, label=f"{dtype}")


def check_compiled(row: Row) -> None:
    """Machine code: as near to the float64 value as eager is, in every type, and at special values."""
    for dtype in row.taken(SWEEP):
        step, arguments = bundle(row, dtype)
        if dtype is not float64:
            assert_compiled(step, *arguments, label=f"{dtype}")
            continue
        tolerance = FLOAT64_ULPS * float(np.finfo(np.float64).eps)
        actual, expected = (flatten(read(way, step, *arguments)) for way in ("compiled", "eager"))
        assert_close(actual, expected, rtol=tolerance, atol=tolerance, equal_nan=True, label="float64")
    if row.is_elementwise:
        for dtype in row.taken(FLOATS):
            grids = to_tensors(calls.special_grids(dtype, row.arity))
            assert_compiled(lambda *xs: row.op(*xs), *grids, label=f"{dtype}: special values")


def bundle(row: Row, dtype: DType) -> tuple[Callable[..., Any], list[Tensor]]:
    """All calls of a row, and their gradients, as one function; and its arguments.

    float32 stands for all types where the layout in memory is concerned: compiling takes its time.
    """
    samples = row.calls(dtype)
    if dtype is float32:
        samples += [variant for _, variant in calls.layouts(samples[0])]
    differentiate = row.orders > 0 and dtype.is_floating_point
    tensors = [to_tensors(array, differentiate) for sample in samples for array in arrays_in(sample.args)]
    counts = [len(arrays_in(sample.args)) for sample in samples]
    kwargs = [calls.tensors_in(sample.kwargs) for sample in samples]
    rng = np.random.default_rng(0)
    weights: list[Tensor] = []
    for sample in samples if differentiate else ():
        for out in calls.recorded(calls.run(row, sample, requires_grad=True)):
            weights.append(from_numpy(rng.standard_normal(out.shape).astype(dtype.numpy)))

    def step(*everything: Tensor) -> Any:
        inputs, seeds = everything[: len(tensors)], everything[len(tensors) :]
        results: list[Tensor] = []
        at, used = 0, 0
        for number, sample in enumerate(samples):
            xs = list(inputs[at : at + counts[number]])
            at += counts[number]
            outs = flatten(row.op(*with_arrays(sample.args, xs), **kwargs[number]))
            results += [out.detach() for out in outs]
            roots = calls.recorded(outs)
            if roots:
                targets = [x for x in xs if x.requires_grad]
                starts = list(seeds[used : used + len(roots)])
                used += len(roots)
                slopes = autograd.grad(roots, targets, starts, allow_unused=True)
                results += [slope for slope in slopes if slope is not None]
        return tuple(results)

    return step, [*tensors, *weights]
