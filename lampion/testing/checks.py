"""What a row is expanded into: each check is a function of a row, and raises an AssertionError.

`checks_of(row)` names those that apply, for a test runner; `check_op(row)` makes them all.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from lampion import autograd
from lampion.dtype import DType, float32, float64
from lampion.tensor import Tensor, from_numpy
from lampion.testing import calls, reading_checks
from lampion.testing.calls import compare, run, told
from lampion.testing.compare import assert_close, assert_identical, flatten
from lampion.testing.gradients import gradcheck, gradgradcheck
from lampion.testing.readings import read
from lampion.testing.rows import FLOATS, SWEEP, Draw, Row, Sample, arrays_in, promoted, to_tensors

Check = Callable[[Row], None]


def check_op(row: Row, *, skip: tuple[str, ...] = ()) -> None:
    """Make every check that applies to the row; raise one AssertionError that lists all that failed.

    >>> import lampion, numpy
    >>> from lampion.testing import Row, check_op
    >>> check_op(Row("softplus", lambda x: (x.exp() + 1).log(), lambda x: numpy.log1p(numpy.exp(x))))
    """
    failures: list[tuple[str, Exception]] = []
    for name, check in checks_of(row).items():
        if name not in skip:
            try:
                check(row)
            except Exception as error:  # a crash in an operation is a finding too
                failures.append((name, error))
    if failures:
        lines = [
            f"{row.name}: {name}: {type(error).__name__}: {'; '.join([str(error), *_notes(error)])}"
            for name, error in failures
        ]
        raise AssertionError("\n".join(lines)) from failures[0][1]


def checks_of(row: Row) -> dict[str, Check]:
    """The checks that apply to a row, by name."""
    checks: dict[str, Check] = {"values": check_values, "dtypes": check_dtypes, "layouts": check_layouts}
    if row.orders:
        checks |= {"gradient": check_gradient, "float32_gradient": check_float32_gradient}
    else:
        checks["no_gradient"] = check_no_gradient
    if row.orders > 1:
        checks["double_gradient"] = check_double_gradient
    if row.is_elementwise:
        checks["special_values"] = check_special_values
        if row.arity > 1:
            checks["broadcasting"] = check_broadcasting
        if row.arity == 2:
            checks |= {"python_numbers": check_python_numbers, "mixed_dtypes": check_mixed_dtypes}
    if ":" not in row.name and inspect.isfunction(getattr(Tensor, f"{row.name}_", None)):
        checks["inplace"] = check_inplace
    if row.points:
        checks["points"] = check_points
    if row.errors:
        checks["errors"] = check_errors
    if not row.not_compiled:
        checks |= {"interpreted": reading_checks.check_interpreted, "compiled": reading_checks.check_compiled}
        if row.errors:
            checks["compiled_errors"] = check_compiled_errors
    return checks


# -- values ------------------------------------------------------------------------------------------


def check_values(row: Row) -> None:
    """float32 and float64 results against the reference in float64; arguments stay as they are."""
    for dtype in row.taken(FLOATS):
        for sample in row.calls(dtype):
            with told(row, sample):
                before = [array.copy() for array in arrays_in(sample.args)]
                results = run(row, sample)
                assert_identical(arrays_in(sample.args), before, label="arguments afterwards")
                compare(row, dtype, results, sample)


def check_dtypes(row: Row) -> None:
    """Every type of argument: the right value and type, or an error of Lampion's own."""
    for dtype in SWEEP:
        for sample in row.calls(dtype):
            if not any(array.dtype == dtype.numpy for array in arrays_in(sample.args)):
                continue
            with told(row, sample):
                if dtype in row.dtypes:
                    compare(row, dtype, run(row, sample), sample)
                else:
                    calls.must_refuse(functools.partial(run, row, sample), f"arguments of {dtype}")


def check_inplace(row: Row) -> None:
    """``x.op_(...)`` leaves in x what ``op(x, ...)`` returns, where that has the shape and kind of x."""
    for sample in row.calls():
        with told(row, sample):
            result = run(row, sample)[0]
            first, *rest = to_tensors(sample.args)
            if not isinstance(first, Tensor) or result.shape != first.shape:
                continue
            written = getattr(first.clone(), f"{row.name}_")(*rest, **calls.tensors_in(sample.kwargs))
            assert_identical(written, from_numpy(result.numpy()).to(first.dtype), label=f"{row.name}_")


def check_special_values(row: Row) -> None:
    """Infinities, NaN, zeros, the largest and the smallest numbers, in all combinations."""
    for dtype in row.taken(FLOATS):
        grids = calls.special_grids(dtype, row.arity)
        with np.errstate(all="ignore"):
            expected = np.asarray(row.reference(*grids))
        info = np.finfo(dtype.numpy)
        # Below the normal numbers a unit in the last place is the smallest number that there is.
        rtol, atol = row.ulps * float(info.eps), row.ulps * float(info.smallest_subnormal)
        with told(row, f" with special values, {dtype}"):
            actual = row.op(*to_tensors(grids))
            assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=True, check_dtype=False)


def check_broadcasting(row: Row) -> None:
    """Shapes that stretch to each other, with their gradients."""
    pairs: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
        ((3, 1), (4,)), ((2, 1, 3), (5, 1)), ((), (3, 4)), ((2, 2), ()), ((1,), (0,)), ((3, 4), (1, 1)),
    )  # fmt: skip
    for shapes in pairs:
        draw = Draw(row, row.base)
        sample = Sample(tuple(draw(*shapes[i % 2]) for i in range(row.arity)))
        with told(row, sample):
            compare(row, row.base, run(row, sample), sample)
            if row.orders:
                gradcheck(row.op, to_tensors(sample.args))
            if row.orders > 1:
                gradgradcheck(row.op, to_tensors(sample.args))


def check_python_numbers(row: Row) -> None:
    """A Python number on either side: value, type, gradient."""
    for dtype in SWEEP:
        for number in (True, 2, 0.5):
            x = Draw(row, dtype)(3, 4)
            _check_pair(row, promoted(from_numpy(x), number), (x, number))
            x = Draw(row, dtype, skip=1)(3, 4)
            _check_pair(row, promoted(number, from_numpy(x)), (number, x))
    if row.orders:
        x, y = to_tensors((Draw(row)(3, 4), Draw(row, skip=1)(3, 4)))
        for number in (2, 0.5):
            gradcheck(functools.partial(lambda n, x: row.op(x, n), number), x)
            gradcheck(functools.partial(lambda n, y: row.op(n, y), number), y)


def check_mixed_dtypes(row: Row) -> None:
    """Two types at once, with and without dimensions: PyTorch's promotion, and gradients of each type."""
    for first in SWEEP:
        for second in SWEEP:
            for left in ((2, 3), ()):
                for right in ((2, 3), ()):
                    x = np.asarray(Draw(row, first)(*left))
                    y = np.asarray(Draw(row, second, skip=1)(*right))
                    _check_pair(row, promoted(from_numpy(x), from_numpy(y)), (x, y))
    if row.orders:
        tensors = to_tensors((Draw(row, float32)(2, 3), Draw(row, float64, skip=1)(2, 3)), requires_grad=True)
        slopes = autograd.grad(row.op(*tensors), tensors, from_numpy(np.ones((2, 3))))
        for slope, x in zip(slopes, tensors, strict=True):
            assert slope is not None, f"no gradient for the {x.dtype} argument"
            assert slope.dtype is x.dtype, f"the gradient of the {x.dtype} argument has {slope.dtype}"


def _check_pair(row: Row, base: DType, pair: tuple[Any, Any]) -> None:
    """Two arguments that are brought to the type `base`."""
    with told(row, Sample(pair)):
        if base not in row.dtypes:
            calls.must_refuse(lambda: row.op(*to_tensors(pair)), f"arguments of {base}")
            return
        same = Sample(tuple(np.asarray(x).astype(base.numpy) for x in pair))
        compare(row, base, flatten(row.op(*to_tensors(pair))), same)


# -- gradients ---------------------------------------------------------------------------------------


def check_gradient(row: Row) -> None:
    """First derivatives against finite differences; recorded or not, the same values."""
    for sample in row.calls():
        function, tensors = calls.of_tensors(row, sample)
        if not any(x.dtype is float64 for x in tensors):
            continue
        with told(row, sample):
            gradcheck(function, tensors)
            plain, seeds = calls.gradients(row, sample)
            recorded, _ = calls.gradients(row, sample, seeds, create_graph=True)
            assert_identical(recorded, plain, label="gradients with create_graph=True")
            for slope in plain:
                assert not slope.requires_grad, "a gradient was recorded without create_graph"


def check_double_gradient(row: Row) -> None:
    """Second derivatives against finite differences of the first."""
    for sample in row.calls():
        function, tensors = calls.of_tensors(row, sample)
        if any(x.dtype is float64 for x in tensors):
            with told(row, sample):
                gradgradcheck(function, tensors)


def check_float32_gradient(row: Row) -> None:
    """The gradient of float32 arguments is float32, and near that of the same numbers in float64."""
    for sample in row.calls(float32) if float32 in row.dtypes else ():
        with told(row, sample):
            exact, seeds = calls.gradients(row, calls.changed(sample, calls.widen))
            seeds = [from_numpy(seed.numpy().astype(np.float32)) for seed in seeds]
            narrow, _ = calls.gradients(row, sample, seeds)
            for a, e in zip(narrow, exact, strict=True):
                assert a.dtype is float32, f"the gradient of a float32 argument has {a.dtype}"
                assert_close(a, e, rtol=1.3e-6, atol=1e-5, check_dtype=False)


def check_no_gradient(row: Row) -> None:
    """Nothing of this operation is recorded, whatever its arguments require."""
    for sample in row.calls():
        with told(row, sample):
            for out in run(row, sample, requires_grad=True):
                assert not out.requires_grad, "the result requires a gradient, but the row says orders=0"


def check_layouts(row: Row) -> None:
    """Transposed, strided, reversed and stretched arguments: as their contiguous copies."""
    for sample in row.calls():
        for name, variant in calls.layouts(sample):
            with told(row, f"{sample}, {name}"):
                plain = calls.changed(variant, np.array)
                assert_close(run(row, variant), run(row, plain), equal_nan=True)
                if row.orders:
                    slopes, seeds = calls.gradients(row, variant)
                    expected, _ = calls.gradients(row, plain, seeds)
                    assert_close(slopes, expected, equal_nan=True, label="gradients")


def check_points(row: Row) -> None:
    """Values and gradients at the special points that the row lists."""
    for point in row.points:
        with told(row, point.args):
            args = [
                from_numpy(np.array(x, np.float64)).requires_grad_() if isinstance(x, float | list) else x
                for x in point.args
            ]
            tensors = [x for x in args if isinstance(x, Tensor)]
            out = row.op(*args)
            assert_close(out, np.array(point.value), equal_nan=True, check_dtype=False)
            if point.grad is None:
                continue
            slopes = autograd.grad(out, tensors, allow_unused=True)
            for x, slope, expected in zip(tensors, slopes, point.grad, strict=True):
                found = np.zeros(x.shape) if slope is None else slope
                assert_close(found, np.array(expected, np.float64), equal_nan=True, label="gradient")


# -- errors ------------------------------------------------------------------------------------------


def check_errors(row: Row) -> None:
    """Calls that must fail do, with the exception and the words that the row expects."""
    _check_errors(row, row.op)


def check_compiled_errors(row: Row) -> None:
    """The same calls fail in the same way when compiled."""

    def compiled(*args: Any, **kwargs: Any) -> Any:
        return read("compiled", lambda *xs: row.op(*xs, **kwargs), *args)

    _check_errors(row, compiled)


def _check_errors(row: Row, op: Callable[..., Any]) -> None:
    for bad in row.errors:
        with told(row, bad.sample):
            try:
                op(*to_tensors(bad.sample.args), **calls.tensors_in(bad.sample.kwargs))
            except bad.error as error:
                for words in bad.match:
                    assert words in str(error), f"no {words!r} in the message:\n{error}"
            except Exception as error:
                name = type(error).__name__
                raise AssertionError(f"expected {bad.error.__name__}, got {name}: {error}") from error
            else:
                raise AssertionError(f"no error; expected {bad.error.__name__}: {bad.match}")


def _notes(error: Exception) -> list[str]:
    return list(getattr(error, "__notes__", []))
