"""One row an operation: what it is called, what it should compute, and where.

The shortest row is that of an elementwise operation:

    Row("expm1", lp.expm1, np.expm1, domain=(-2, 2))

`checks.py` expands it into values, gradients, layouts, types, scalars, errors, and the compiled readings.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lampion.dtype import DType, bool_, float32, float64, get_default_dtype, int32, int64, uint8
from lampion.tensor import Tensor, from_numpy

FLOATS = (float32, float64)
INTEGERS = (uint8, int32, int64)
#: The types that rows sweep over, in the order in which a later one absorbs an earlier one.
SWEEP = (bool_, *INTEGERS, *FLOATS)
NUMBERS = (*INTEGERS, *FLOATS)


@dataclass(frozen=True)
class Sample:
    """One call: arguments in which arrays stand for tensors."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        words = [_brief(a) for a in self.args] + [f"{k}={_brief(v)}" for k, v in self.kwargs.items()]
        return f"({', '.join(words)})"


def call(*args: Any, **kwargs: Any) -> Sample:
    """A `Sample`, written like the call that it stands for."""
    return Sample(args, kwargs)


class Bad:
    """A call that must fail: ``Bad(ShapeError, ones(2, 3), ones(4), match="do not broadcast")``.

    `match` is a piece of the message, or several.
    """

    def __init__(self, error: type[Exception], *args: Any, match: str | Sequence[str], **kwargs: Any) -> None:
        self.sample = Sample(args, kwargs)
        self.error = error
        self.match = (match,) if isinstance(match, str) else tuple(match)


class At:
    """A value (and, where given, gradients) at one special point: ``At(0.0, value=0.0, grad=0.0)``.

    Floats and lists of them become float64 tensors; `grad` holds one gradient, or a tuple of one for each.
    """

    def __init__(self, *args: Any, value: Any, grad: Any = None) -> None:
        self.args = args
        self.value = value
        self.grad = grad if grad is None or isinstance(grad, tuple) else (grad,)


class Draw:
    """What a row's `samples` are made of: ``draw(3, 4)`` is an array of that shape, from the row's domain.

    The (up to 64) numbers of one call are all different, and so are those of up to four calls that follow
    each other: no two are nearer than 1/500 of the domain. So no pair sits on the kink of a maximum.
    """

    _CELLS = 64

    def __init__(self, row: Row, dtype: DType = float64, seed: int = 0, skip: int = 0) -> None:
        self.row = row
        self.dtype = dtype
        self.rng = np.random.default_rng(seed)
        self.calls = skip  # arguments that are not drawn: the next one is from its own domain

    def __call__(self, *shape: int, domain: tuple[float, float] | None = None) -> Any:
        position, self.calls = self.calls, self.calls + 1
        if self.dtype.kind == "b":
            return self.rng.integers(0, 2, shape).astype(bool)
        if self.dtype.kind in "iu":
            low, high = self.row.integers
            low = max(low, 0) if self.dtype.kind == "u" else low
            return self.rng.integers(low, high + 1, shape).astype(self.dtype.numpy)
        left, right = domain or self.row.domain_of(position)
        count = math.prod(shape)
        # Each draw takes its own part of every cell, so that different draws never meet.
        part = position % 4
        cells = self._free_cells(left, right)
        chosen = self.rng.permutation(np.resize(self.rng.permutation(cells), count))
        inside = (part + 0.3 + 0.4 * self.rng.random(count)) / 4
        width = (right - left) / self._CELLS
        return (left + width * (chosen + inside)).reshape(shape).astype(self.dtype.numpy)

    def _free_cells(self, low: float, high: float) -> Any:
        """The cells that do not touch a point to be avoided."""
        cells = np.arange(self._CELLS)
        width = (high - low) / self._CELLS
        for point in self.row.avoid:
            cells = cells[(low + width * cells > point) | (low + width * (cells + 1) < point)]
        return cells


@dataclass(frozen=True)
class Row:
    """One operation and what is known about it.

    Attributes:
        name: as it appears in the table of operations.
        op: the function of Tensors.
        reference: the same with NumPy arrays. Its result's dtype is what the operation's has to be, apart
            from what is float64 in NumPy because an integer went in: that is the default dtype here.
        domain: the interval of the floating arguments, or one for each; away from kinks and poles.
        integers: the interval of integer arguments, both ends included.
        avoid: points inside the domain to stay away from: kinks.
        samples: ``samples(draw)`` gives the calls to make. Without it the operation is taken as
            elementwise in its positional arguments, and also gets broadcasting, mixed types, Python
            numbers, special values.
        dtypes: the types of argument that it takes; for any other it must raise a TypeError.
        orders: how often it can be differentiated: 2 stands for any number, 0 for not at all.
        result: the result's dtype, where the reference's is not the right one.
        errors: calls that must fail.
        points: values and gradients at kinks and poles.
        ulps: how far a value may be from the reference, in units of its last place.
        not_compiled: the reason why the compiler does not read it, where that is so.
    """

    name: str
    op: Callable[..., Any]
    reference: Callable[..., Any]
    domain: Any = (-2.0, 2.0)
    integers: tuple[int, int] = (-4, 4)
    avoid: tuple[float, ...] = ()
    samples: Callable[[Draw], Iterable[Sample]] | None = None
    dtypes: Sequence[DType] = SWEEP
    orders: int = 2
    result: DType | None = None
    errors: Sequence[Bad] = ()
    points: Sequence[At] = ()
    ulps: float = 16.0
    not_compiled: str = ""

    @property
    def arity(self) -> int:
        """The number of arguments of an elementwise operation."""
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(self.op).parameters.values()
        return sum(p.default is p.empty and p.kind in positional for p in parameters)

    @property
    def is_elementwise(self) -> bool:
        return self.samples is None

    def domain_of(self, position: int) -> tuple[float, float]:
        """The interval that the argument at that position is drawn from."""
        if isinstance(self.domain[0], tuple):
            return self.domain[position % len(self.domain)]  # type: ignore[no-any-return]  # several pairs
        return self.domain  # type: ignore[no-any-return]  # one pair

    @property
    def base(self) -> DType:
        """The type that most checks are made with."""
        return float64 if float64 in self.dtypes else self.dtypes[-1]

    def calls(self, dtype: DType | None = None, seed: int = 0) -> list[Sample]:
        """The calls to check, drawn anew (and always the same)."""
        dtype = self.base if dtype is None else dtype
        draw = Draw(self, dtype, seed)
        if self.samples is not None:
            return list(self.samples(draw))
        found = []
        for shape in ((3, 4), (), (0, 3), (2, 3, 5)):
            found.append(Sample(tuple(draw(*shape) for _ in range(self.arity))))
        return found

    def taken(self, dtypes: Iterable[DType]) -> list[DType]:
        """Those types that the operation takes."""
        return [dtype for dtype in dtypes if dtype in self.dtypes]

    def __str__(self) -> str:
        return self.name


def to_tensors(thing: Any, requires_grad: bool = False) -> Any:
    """Arrays, also in lists and tuples, as tensors over the same memory; the rest as it is."""
    if isinstance(thing, np.ndarray | np.generic):
        tensor = from_numpy(np.asarray(thing))
        return tensor.requires_grad_() if requires_grad and tensor.dtype.is_floating_point else tensor
    if isinstance(thing, tuple | list):
        return type(thing)(to_tensors(item, requires_grad) for item in thing)
    return thing


def arrays_in(thing: Any) -> list[Any]:
    """The arrays of nested lists and tuples, in order."""
    if isinstance(thing, np.ndarray):
        return [thing]
    if isinstance(thing, tuple | list):
        return [array for item in thing for array in arrays_in(item)]
    return []


def with_arrays(thing: Any, replacements: Iterable[Any]) -> Any:
    """The same nest with its arrays replaced, in order."""
    source = iter(replacements)

    def walk(item: Any) -> Any:
        if isinstance(item, np.ndarray):
            return next(source)
        if isinstance(item, tuple | list):
            return type(item)(walk(part) for part in item)
        return item

    return walk(thing)


def expected_dtype(row: Row, base: DType, found: Any) -> DType:
    """The dtype that the result must have, from that of the arguments and the reference's result."""
    if row.result is not None:
        return row.result
    if found.dtype.kind == "b":
        return bool_
    if found.dtype.kind in "iu":
        return base if found.dtype == base.numpy else int64
    return base if base.is_floating_point else get_default_dtype()


def promoted(*arguments: Any) -> DType:
    """PyTorch's rule, stated independently of `lampion.dtype`, for the types of `SWEEP` and numbers.

    Kinds come first: bool < integer < float. Within the highest kind present, tensors with dimensions
    decide if there are any of it, then 0-d tensors, then Python numbers; the later in `SWEEP` wins.
    """

    def kind(x: Any) -> int:
        if isinstance(x, Tensor):
            return {"b": 0, "u": 1, "i": 1, "f": 2}[x.dtype.kind]
        return 0 if isinstance(x, bool) else 1 if isinstance(x, int) else 2

    def rank(x: Any) -> int:
        return (2 if x.ndim else 1) if isinstance(x, Tensor) else 0

    highest = max(map(kind, arguments))
    top = [x for x in arguments if kind(x) == highest]
    strongest = max(map(rank, top))
    deciding = [x for x in top if rank(x) == strongest]
    if strongest == 0:
        return (bool_, int64, get_default_dtype())[highest]
    return SWEEP[max(SWEEP.index(x.dtype) for x in deciding)]


def _brief(thing: Any) -> str:
    if isinstance(thing, np.ndarray):
        return f"{thing.dtype}{list(thing.shape)}"
    if isinstance(thing, tuple | list):
        return "[" + ", ".join(map(_brief, thing)) + "]"
    return repr(thing)
