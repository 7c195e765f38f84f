"""The same function read in several ways, and what it means that the readings agree.

*Interpreted* equals eager bit for bit. *Compiled* is as far from a float64 evaluation as eager is: at most
twice eager's own error plus four units in the last place of the result, and of the intermediate results
that it is made of (see `noise.py`). It differs not at all in integers, booleans, shapes, dtypes, and in
where NaN and infinity are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lampion import dtype as dtypes
from lampion.tensor import Tensor, from_numpy
from lampion.testing.compare import assert_identical, flatten, to_array
from lampion.testing.noise import spread

ULPS = 4
EAGER_ERRORS = 2
HALF_ULP = 2.0**-24  # of float32


def readings(fn: Callable[..., Any], *args: Any, target: Any = None) -> dict[str, Any]:
    """What `fn` returns when it is run eagerly, interpreted and compiled; each with its own copy of `args`.

    What has no machine code is an error, not a silent return to the interpreter.

    >>> import lampion
    >>> lampion.testing.readings(lambda x: x * 2, lampion.tensor(3))
    {'eager': tensor(6), 'interpreted': tensor(6), 'compiled': tensor(6)}
    """
    return {reading: read(reading, fn, *twin(args), target=target) for reading in READINGS}


READINGS = ("eager", "interpreted", "compiled")


def read(reading: str, fn: Callable[..., Any], *args: Any, target: Any = None) -> Any:
    """Call `fn` through one of its readings; it may change its arguments, as it does when run eagerly."""
    from lampion.compiler.function import run_as  # late: only those who compile wait for a compiler

    return run_as(reading, fn, *args, target=target)


def assert_interpreted(fn: Callable[..., Any], *args: Any, label: str = "") -> None:
    """The graph's meaning is eager's, bit for bit, in results and in what is written to arguments."""
    eager, mine = twin(args), twin(args)
    expected, actual = fn(*eager), read("interpreted", fn, *mine)
    assert_identical(flatten(actual), flatten(expected), label=f"{label}: interpreted")
    assert_identical(flatten(mine), flatten(eager), label=f"{label}: interpreted, arguments afterwards")


def assert_compiled(fn: Callable[..., Any], *args: Any, target: Any = None, label: str = "") -> None:
    """Machine code agrees with eager, as the module says, in results and in what is written to arguments."""
    eager, mine, exact = twin(args), twin(args), widen(twin(args))
    with float64_by_default():
        best = fn(*exact)
    results = [flatten(r) for r in (read("compiled", fn, *mine, target=target), fn(*eager), best)]
    arguments = [flatten(a) for a in (mine, eager, exact)]

    def check(widths: Sequence[list[Any] | None]) -> None:
        assert_agrees(results, f"{label}: compiled", widths[0])
        assert_agrees(arguments, f"{label}: compiled, arguments afterwards", widths[1])

    try:
        check([None, None])
    except AssertionError:
        with float64_by_default():
            widths = spread(fn, lambda: widen(twin(args)), HALF_ULP)  # costs a little: only when needed
        check(widths)


def assert_agrees(readings: Sequence[list[Any]], label: str, width: list[Any] | None = None) -> None:
    """Each compiled result is as near to the exact one as eager's is.

    Args:
        readings: the results that are compiled, eager, and eager in float64.
        width: how far one unit in the last place of intermediate results carries each of them.
    """
    actual, eager, exact = readings
    if not len(actual) == len(eager) == len(exact):
        raise AssertionError(f"{label}: {len(actual)} results; eager has {len(eager)}")
    for position, results in enumerate(zip(actual, eager, exact, strict=True)):
        a, e, x = map(to_array, results)
        name = f"{label}[{position}]"
        if a.shape != e.shape or a.dtype != e.dtype:
            raise AssertionError(f"{name}: {a.dtype}{list(a.shape)}; eager has {e.dtype}{list(e.shape)}")
        if e.dtype.kind == "f":
            _near(a, e, x, 0.0 if width is None else width[position], name)
        else:
            assert_identical(a, e, label=name)


def _near(a: Any, e: Any, x: Any, width: Any, name: str) -> None:
    strange = ~np.isfinite(e)
    only = [np.where(strange, array, 0) for array in (a, e)]
    assert_identical(only[0], only[1], label=f"{name}: NaN and infinities")
    with np.errstate(all="ignore"):
        target = np.where(np.isfinite(x), x, e)  # float64 does not overflow where float32 does
        ulp = np.spacing(np.maximum(np.abs(e), np.finfo(e.dtype).tiny)).astype(x.dtype)
        allowed = np.where(strange, 0, EAGER_ERRORS * np.abs(e - target) + ULPS * (ulp + width))
        error = np.where(strange, 0, np.abs(a - target))
    if not np.all(error <= allowed):
        excess = np.nan_to_num((error - allowed) / ulp, nan=np.inf)
        at = np.unravel_index(int(np.argmax(excess)), excess.shape)
        raise AssertionError(
            f"{name}: further from the float64 value than eager allows, at {[int(i) for i in at]} of "
            f"{list(a.shape)}\n"
            f"  compiled {a[at].item()!r}, eager {e[at].item()!r}, float64 {x[at].item()!r}\n"
            f"  error {error[at] / ulp[at]:.3g} ulp, allowed {allowed[at] / ulp[at]:.3g} ulp"
        )


@contextlib.contextmanager
def float64_by_default() -> Iterator[None]:
    """Inside, what integers become is float64."""
    before = dtypes.get_default_dtype()
    dtypes.set_default_dtype(dtypes.float64)
    try:
        yield
    finally:
        dtypes.set_default_dtype(before)


def twin(thing: Any) -> Any:
    """A copy with memory of its own that lies in memory in the same way, strides of 0 and below included."""
    if isinstance(thing, Tensor):
        copy = from_numpy(_same_layout(thing.detach().numpy()))
        return copy.requires_grad_() if thing.requires_grad else copy
    if isinstance(thing, tuple | list):
        return type(thing)(twin(item) for item in thing)
    return thing


def widen(thing: Any) -> Any:
    """float32 tensors as float64, in nested lists and tuples."""
    if isinstance(thing, Tensor) and thing.dtype is dtypes.float32:
        wide = from_numpy(_same_layout(thing.detach().numpy(), np.dtype(np.float64)))
        return wide.requires_grad_() if thing.requires_grad else wide
    if isinstance(thing, tuple | list):
        return type(thing)(widen(item) for item in thing)
    return thing


def _same_layout(array: Any, dtype: Any = None) -> Any:
    dtype = array.dtype if dtype is None else dtype
    strides = [step // array.itemsize * dtype.itemsize for step in array.strides]
    reach = [step * (n - 1) for step, n in zip(strides, array.shape, strict=True) if n]
    low, high = sum(min(0, r) for r in reach), sum(max(0, r) for r in reach)
    block = np.zeros(high - low + dtype.itemsize, np.uint8)
    copy = np.ndarray(array.shape, dtype, block, -low, strides)
    copy[...] = array
    copy.flags.writeable = array.flags.writeable
    return copy
