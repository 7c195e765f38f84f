"""The first operation that makes NaN or infinity out of finite numbers: found when it happens."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion.autograd.tape import next_order
from lampion.debug.places import Chain, path_of, running
from lampion.debug.watch import Watcher, active
from lampion.errors import AnomalyError
from lampion.origin import Where, here

_REMEMBERED = 100_000  # operations whose module is known in the backward pass: far more than a step has


class anomaly(Watcher):
    """Stop at the first operation that produces NaN or infinity, forward or backward. A ``with`` block.

    The error names the operation, the module inside of which it ran, the line of the user's program and the
    ranges of its inputs; in a backward pass also the operation whose gradient is being computed, with *its*
    module and line. An infinity is reported where no input was infinite (``log(0)``), a NaN always: one that
    was there before the block (in the data, in a parameter) is reported by the first operation that reads it.
    Compiled functions run eagerly inside. The results are the same; every operation costs a look at its
    output, so use it to find a fault, not to train.

    Args:
        nan, inf: which of them to stop at. Masks made of infinities (attention) are no anomaly, because they
            are written as such; ``log(0)`` on purpose is one: then pass ``inf=False``.
        forward, backward: in which passes to look.

    Raises:
        AnomalyError: at the operation.

    >>> import lampion
    >>> x = lampion.tensor([1.0, 0.0], requires_grad=True)
    >>> with lampion.debug.anomaly():  # doctest: +ELLIPSIS
    ...     x.log().sum()
    Traceback (most recent call last):
    lampion.errors.AnomalyError: log: its output is the first with 1 inf, at ...
      got: input 0: shape (2,), float32, min 0, max 1, 0 NaN, 0 inf
    ...
    """

    eager = True

    def __init__(
        self, nan: bool = True, inf: bool = True, *, forward: bool = True, backward: bool = True
    ) -> None:
        self.nan = nan
        self.inf = inf
        self.forward = forward
        self.backward = backward
        self._modules: dict[int, Chain] = {}  # by the number after which the operation's node has the next

    def computed(self, primitive: Any, arrays: Any, params: Any, out: Any, began: int, ended: int) -> None:
        chain, node = running()
        if node is None and chain:
            if len(self._modules) >= _REMEMBERED:
                del self._modules[next(iter(self._modules))]
            self._modules[next_order() + 1] = chain
        if not (self.forward if node is None else self.backward) or primitive.is_movement:
            return  # a movement makes no numbers
        tensors = [array for array in arrays if hasattr(array, "dtype")]
        nans, infs = faults(out)
        if not (nans or infs) or not tensors:
            return
        before = [faults(array) for array in arrays]
        new = [
            f"{count} {what}"
            for position, (count, what, wanted) in enumerate(
                ((nans, "NaN", self.nan), (infs, "inf", self.inf))
            )
            if wanted and count and not any(there[position] for there in before)
        ]
        handed = self.nan and nans and not new
        if not new and not handed:
            return
        problem = f"its output is the first with {' and '.join(new)}"
        fix = _FIXES.get(primitive.name, "look at the ranges of the inputs, and at where they come from")
        if handed:
            problem = "it was handed NaN that no operation in this block has made"
            fix = "look for NaN in the data (x.isnan().any()) and in the parameters"
        found = here(1)
        where = "" if found is None else str(Where(*found))
        module = path_of(chain)
        lines = [f"input {i}: {describe(array)}" for i, array in enumerate(arrays)]
        origin = ""
        if node is not None:
            origin = str(node.where)
            made_in = path_of(self._modules.get(node.order, ()))
            module = module or made_in
            problem += f", in the gradient of {node.primitive.name} (run at {origin}{_inside(made_in)})"
            if not handed:
                fix = f"{fix}; the forward pass was finite, so the slope of {node.primitive.name} is at fault"
        problem += f", at {where}" + ("" if node is not None else _inside(module))
        raise AnomalyError(
            primitive.name, problem, got="\n       ".join(lines), fix=fix, module=module, where=where,
            forward_where=origin, forward_operation="" if node is None else node.primitive.name,
        )  # fmt: skip


def _inside(module: str) -> str:
    return f", in {module}" if module else ""


_FIXES = {
    "log": "keep its argument above zero, (x + 1e-12).log(), or use log_softmax for log(softmax(x))",
    "exp": "keep its argument below 88 (float32), or subtract the greatest first, as softmax does",
    "div": "keep the divisor away from zero: add a small number to it",
    "sqrt": "keep its argument above zero, where the slope is finite too: (x + 1e-12).sqrt()",
    "pow": "a root or a negative power needs arguments above zero",
    "matmul": "the numbers grow too large: lower the learning rate, scale the initial weights or the input",
}


def faults(value: Any) -> tuple[int, int]:
    """How many NaNs and how many infinities there are in an array, or in a number."""
    numbers = _as_floats(value)
    if numbers is None or bool(np.isfinite(numbers).all()):
        return 0, 0
    return int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum())


def describe(value: Any) -> str:
    """The range of an array in a line: what one looks at when numbers go wrong."""
    if not hasattr(value, "dtype"):
        return f"the number {value!r}"
    from lampion import dtype as dtypes

    numbers = _as_floats(value)
    kind = str(dtypes.of(value.dtype)).removeprefix("lampion.")
    head = f"shape {tuple(value.shape)}, {kind}"
    if not value.size:
        return f"{head}, empty"
    if numbers is None or numbers.dtype.kind == "c":
        return head if numbers is None else f"{head}, greatest size {abs(numbers).max():.4g}"
    finite = numbers[np.isfinite(numbers)]
    ends = f"min {finite.min():.4g}, max {finite.max():.4g}" if finite.size else "nothing finite"
    nans, infs = faults(value)
    return f"{head}, {ends}, {nans} NaN, {infs} inf"


def _as_floats(value: Any) -> Any:
    """Numbers that NumPy can be asked about; None for what cannot be NaN."""
    if not hasattr(value, "dtype"):
        return np.asarray(value) if isinstance(value, float | complex) else None
    if value.dtype.kind == "V":  # bfloat16: the upper half of a float32
        return (value.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    if value.dtype.kind in "iu":
        return value
    return value if value.dtype.kind in "fc" else None


_statement: list[anomaly] = []  # switched on by a plain call of `set_detect_anomaly`


class set_detect_anomaly:
    """Switch `lampion.debug.anomaly` on or off, as a statement or a ``with`` block: PyTorch's name.

    PyTorch looks for NaN in the backward pass alone; this looks in the forward pass too, and for infinities.

    Args:
        mode: whether to look.
        check_nan: False looks for nothing: the lines of the forward pass are always known here.

    >>> import lampion
    >>> x = lampion.tensor(0.0, requires_grad=True)
    >>> with lampion.autograd.set_detect_anomaly(True):
    ...     y = x * 2
    >>> lampion.autograd.is_anomaly_enabled()
    False
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.previous = list(_statement)
        while _statement:
            _statement.pop().__exit__()
        if mode:
            _statement.append(anomaly(nan=check_nan, inf=check_nan).__enter__())

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        while _statement:
            _statement.pop().__exit__()
        for before in self.previous:
            _statement.append(before.__enter__())


class detect_anomaly(anomaly):
    """PyTorch's name for `lampion.debug.anomaly`. A ``with`` block.

    Args:
        check_nan: False looks for nothing.

    >>> import lampion
    >>> with lampion.autograd.detect_anomaly():
    ...     y = lampion.ones(2).exp()
    """

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(nan=check_nan, inf=check_nan)


def is_anomaly_enabled() -> bool:
    """Whether anomalies are being looked for in this thread."""
    return any(isinstance(watcher, anomaly) for watcher in active())


def is_anomaly_check_nan_enabled() -> bool:
    """Whether that includes looking at values."""
    return any(isinstance(watcher, anomaly) and watcher.nan for watcher in active())
