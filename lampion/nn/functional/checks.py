"""What the functions check of their arguments, and the options that many of them share."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from lampion import ops
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.mode import mode
from lampion.ops.define import cast_to, widened
from lampion.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def check_tensors(name: str, *inputs: Any) -> None:
    """Refuse what is no tensor, where it would be an error that says nothing further down."""
    for x in inputs:
        if not isinstance(x, Tensor):
            array = hasattr(x, "__array__")
            raise DTypeError(name, "an argument is no tensor", expected="a Tensor", got=type(x).__name__,
                             fix="lampion.from_numpy(x)" if array else "lampion.tensor(x)")  # fmt: skip


def check_floats(name: str, *inputs: Tensor) -> None:
    """Refuse integers and booleans."""
    check_tensors(name, *inputs)
    for x in inputs:
        if not x.dtype.is_inexact:
            raise DTypeError(name, "expected floats", got=str(x.dtype), fix="convert it: x.float()")


def rounded_once(function: F) -> F:
    """The function; of float16 and bfloat16, in float32 to the end, not rounded after each of its steps."""

    @functools.wraps(function)
    def wide(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Tensor) or not input.dtype.is_half:
            return function(input, *args, **kwargs)
        return cast_to(function(widened(input), *args, **kwargs), input.dtype)

    return wide  # type: ignore[return-value]  # the same signature


def check_probability(name: str, p: float) -> None:
    """Refuse what cannot be a probability."""
    if not 0.0 <= p <= 1.0:
        raise OptionError(name, "p is a probability", expected="0 <= p <= 1", got=str(p))


def check_reduction(name: str, reduction: str, *more: str) -> None:
    """Refuse reductions that do not exist."""
    if reduction not in ("mean", "sum", "none", *more):
        known = ", ".join(f'"{word}"' for word in (*more, "mean", "sum"))
        raise OptionError(name, "the reduction is not known", expected=f'{known} or "none"',
                          got=repr(reduction))  # fmt: skip


def reduction_of(
    name: str, reduction: str, size_average: bool | None = None, reduce: bool | None = None, *more: str
) -> str:
    """The reduction, checked; from PyTorch's two older options where one of them is given."""
    if size_average is None and reduce is None:
        check_reduction(name, reduction, *more)
        return reduction
    for label, value in (("size_average", size_average), ("reduce", reduce)):
        if isinstance(value, str):
            raise OptionError(name, f"{label} is True or False", got=repr(value),
                              fix=f"pass reduction={value!r} by its name")  # fmt: skip
    average, reduced = size_average in (None, True), reduce in (None, True)
    meant = "none" if not reduced else "mean" if average else "sum"
    warnings.warn(
        f"{name}: size_average and reduce are PyTorch's old names; write reduction={meant!r} instead",
        UserWarning, stacklevel=4,
    )  # fmt: skip
    return meant


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The mean of the losses, their sum, or each of them."""
    if reduction == "mean":
        return ops.mean(losses)
    return ops.sum(losses) if reduction == "sum" else losses


def check_same_shapes(name: str, **tensors: Tensor) -> None:
    """Refuse arguments of different shapes."""
    shapes = {label: tuple(x.shape) for label, x in tensors.items()}
    if len(set(shapes.values())) > 1:
        raise ShapeError(name, f"{' and '.join(shapes)} have one shape",
                         got=", ".join(f"{label} {shape}" for label, shape in shapes.items()))  # fmt: skip


def warn_of_broadcasting(name: str, input: Tensor, target: Tensor) -> None:
    """Say so where input and target have different shapes."""
    if input.shape != target.shape:
        warnings.warn(
            f"{name}: input {tuple(input.shape)} and target {tuple(target.shape)} have different shapes "
            "and are broadcast; that is seldom meant ((N, 1) against (N,) becomes (N, N)): reshape one of "
            "them",
            UserWarning, stacklevel=3,
        )  # fmt: skip


def overwriting(function: Callable[..., Tensor], input: Tensor, *options: Any, inplace: bool) -> Tensor:
    """``function(input, *options)``, written back into the input where `inplace` says so."""
    if not inplace:
        return function(input, *options)
    # What the gradient needs of the old values is kept in a copy: the originals are about to go.
    source = ops.clone(input) if mode.grad and input.requires_grad else input
    return input._assign(function(source, *options), function.__name__.strip("_"))


def dims_of_class(name: str, input: Tensor) -> int:
    """The dimension of the classes: the second, or the only one."""
    if not input.ndim:
        raise ShapeError(name, "the input has no dimension of classes", got="()",
                         expected="(C,), (N, C) or (N, C, ...)")  # fmt: skip
    return 0 if input.ndim == 1 else 1


def check_positive(name: str, label: str, value: float) -> None:
    """Refuse numbers that are not above 0."""
    if isinstance(value, complex) or not value > 0:
        raise OptionError(name, f"{label} is a positive number", got=str(value))
