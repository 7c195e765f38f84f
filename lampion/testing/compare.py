"""Comparing results: close enough, or the same bits; and a message that shows the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion.tensor import Tensor

#: (rtol, atol) where none are given: those of `torch.testing.assert_close`.
TOLERANCES = dict.fromkeys(("float32", "complex64"), (1.3e-6, 1e-5))
TOLERANCES |= dict.fromkeys(("float64", "complex128"), (1e-7, 1e-7))


def assert_close(
    actual: Any, expected: Any, *, rtol: float | None = None, atol: float | None = None,
    equal_nan: bool = False, check_dtype: bool = True, label: str = "",
) -> None:  # fmt: skip
    """Raise an AssertionError unless ``|actual - expected| <= atol + rtol * |expected|`` for every element.

    Tensors, arrays and numbers, and lists, tuples and dicts of these. Shapes and dtypes must be equal.
    Integers and booleans must be equal too, unless tolerances are given.

    Args:
        rtol, atol: default to what suits the less precise of the two dtypes, as in PyTorch.
        equal_nan: whether NaN equals NaN.
        check_dtype: whether the dtypes must be equal.
        label: what is compared, for the message.

    >>> import lampion
    >>> lampion.testing.assert_close(lampion.tensor([1.0, 2.0]), lampion.tensor([1.0, 2.5]))
    Traceback (most recent call last):
    AssertionError: 1 of 2 elements differ by more than rtol=1.3e-06, atol=1e-05
      greatest difference: 0.5 at [1]: 2.0, expected 2.5
    """
    if _nested(actual, expected, lambda a, e, where: assert_close(
        a, e, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=check_dtype, label=label + where,
    )):  # fmt: skip
        return
    a, e = to_array(actual), to_array(expected)
    _same_form(a, e, check_dtype and hasattr(actual, "dtype") and hasattr(expected, "dtype"), label)
    names = [x.dtype.name for x in (a, e) if x.dtype.kind in "fc"]
    found = [TOLERANCES.get(name, (1e-7, 1e-7)) for name in names] or [(0.0, 0.0)]
    rtol = max(pair[0] for pair in found) if rtol is None else rtol
    atol = max(pair[1] for pair in found) if atol is None else atol
    wide = np.result_type(a, e, np.float64) if names else np.dtype(object)  # objects: exact for any integer
    with np.errstate(all="ignore"):
        difference = np.abs(a.astype(wide) - e.astype(wide))
        near = np.asarray(difference <= atol + rtol * np.abs(e.astype(wide)), bool)
        fine = (a == e) | (near & (np.isfinite(e) if e.dtype.kind in "fc" else True))  # all is near infinity
    if equal_nan and names:
        fine |= np.isnan(a.astype(wide)) & np.isnan(e.astype(wide))
    if not np.all(fine):
        _report(a, e, difference, fine, f"differ by more than rtol={rtol:.3g}, atol={atol:.3g}", label)


def assert_identical(actual: Any, expected: Any, *, label: str = "") -> None:
    """Raise an AssertionError unless shapes, dtypes and bits are the same (any NaN equals any NaN)."""
    if _nested(actual, expected, lambda a, e, where: assert_identical(a, e, label=label + where)):
        return
    a, e = to_array(actual), to_array(expected)
    _same_form(a, e, True, label)
    fine = a == e
    if a.dtype.kind == "f":
        fine = (fine & (np.signbit(a) == np.signbit(e))) | (np.isnan(a) & np.isnan(e))
    if not np.all(fine):
        with np.errstate(all="ignore"):
            difference = np.abs(a.astype(np.float64) - e.astype(np.float64))
        _report(a, e, difference, fine, "are not the same bits", label)


def to_array(x: Any) -> Any:
    """The NumPy array of a Tensor (with or without history), an array or a number."""
    return x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)


def flatten(result: Any) -> list[Any]:
    """The Tensors, arrays and numbers in nested tuples, lists and dicts, in order."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, tuple | list):
        return [leaf for item in result for leaf in flatten(item)]
    return [] if result is None else [result]


def _nested(actual: Any, expected: Any, compare: Any) -> bool:
    """Compare part by part, if these are containers; says whether they were."""
    if isinstance(expected, dict):
        if not isinstance(actual, dict) or list(actual) != list(expected):
            keys = list(actual) if isinstance(actual, dict) else type(actual).__name__
            raise AssertionError(f"the keys differ: {keys}, expected {list(expected)}")
        for key in expected:
            compare(actual[key], expected[key], f"[{key!r}]")
        return True
    if isinstance(expected, tuple | list) and isinstance(actual, tuple | list):
        if len(actual) != len(expected):
            raise AssertionError(f"the lengths differ: {len(actual)}, expected {len(expected)}")
        for position, (a, e) in enumerate(zip(actual, expected, strict=True)):
            compare(a, e, f"[{position}]")
        return True
    return False


def _same_form(a: Any, e: Any, check_dtype: bool, label: str) -> None:
    head = f"{label}: " if label else ""
    if a.shape != e.shape:
        raise AssertionError(f"{head}the shapes differ: {a.shape}, expected {e.shape}")
    if check_dtype and a.dtype != e.dtype:
        raise AssertionError(f"{head}the dtypes differ: {a.dtype}, expected {e.dtype}")


def _report(a: Any, e: Any, difference: Any, fine: Any, what: str, label: str) -> None:
    wrong = np.argwhere(~np.atleast_1d(fine))
    sizes = [float(np.atleast_1d(difference)[tuple(at)]) for at in wrong]
    worst = int(np.argmax(sizes))  # NaN counts as the largest
    at = tuple(int(i) for i in wrong[worst])
    got, should = np.atleast_1d(a)[at], np.atleast_1d(e)[at]
    place = f" at {list(at)}" if a.ndim else ""
    head = f"{label}: " if label else ""
    raise AssertionError(
        f"{head}{len(wrong)} of {max(a.size, 1)} elements {what}\n"
        f"  greatest difference: {sizes[worst]:.4g}{place}: {got.item()!r}, expected {should.item()!r}"
    )
