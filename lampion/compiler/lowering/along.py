"""Running sums, products and extremes: walks along a dimension."""

from __future__ import annotations

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation, Value
from lampion.compiler.lowering.body import Record
from lampion.compiler.lowering.plan import Lowering
from lampion.compiler.lowering.registry import lowers
from lampion.dtype import DType, bool_, int64
from lampion.ops.elementwise import add, eq, maximum, minimum, mul, ne, where
from lampion.ops.exponentials import logaddexp
from lampion.ops.logic import logical_or


class _Steps:
    """A walk in the making.

    Args:
        inputs: the tensors that are read at each point: the first values of the body.
    """

    def __init__(self, lowering: Lowering, main: Equation, inputs: tuple[Value, ...], axis: int) -> None:
        self.lowering, self.main, self.axis = lowering, main, axis
        self.shape = inputs[0].shape
        self.record = Record(lowering)
        self.body: list[ir.Value] = []
        self.initial: list[ir.Literal] = []
        for x in inputs:
            self._add(ir.Load(self.record.window(lowering.layout(x), x.dtype), x.dtype))

    def _add(self, value: ir.Value) -> int:
        self.body.append(value)
        return len(self.body) - 1

    def carry(self, start: float | bool, dtype: DType) -> int:
        """A value from the point before; at the first point it is `start`."""
        number = len(self.initial)
        self.initial.append(ir.Literal(start, dtype))
        return self._add(ir.Result(number, dtype))

    def compute(self, operation: type, *args: int, dtype: DType | None = None) -> int:
        dtype = dtype or self.body[args[-1]].dtype
        return self._add(ir.Compute(operation.primitive, args, dtype))  # type: ignore[attr-defined]

    def number(self, value: int) -> int:
        return self._add(ir.Literal(value, int64))

    def call(self, carried: tuple[int, ...], stored: int) -> None:
        """Add the kernel, which stores that value of the body at each point."""
        out = self.main.output
        window = self.record.window(self.lowering.layouts[out], out.dtype, written=True)
        operands, initial, body = tuple(self.record.operands), tuple(self.initial), tuple(self.body)
        stores = (ir.Store(window, stored),)
        kernel = ir.Walk(self.shape, self.axis, operands, initial, body, carried, stores)
        self.lowering.call(self.record, kernel, self.main.primitive.name)


@lowers("running_sum", safe=True)
def lower_running_sum(lowering: Lowering, main: Equation) -> None:
    # -0.0 is what changes no number: 0.0 + -0.0 would be 0.0.
    _running(lowering, main, add, -0.0 if main.output.dtype.kind == "f" else 0)


@lowers("running_product", safe=True)
def lower_running_product(lowering: Lowering, main: Equation) -> None:
    _running(lowering, main, mul, 1)


@lowers("running_logsumexp", safe=True)
def lower_running_logsumexp(lowering: Lowering, main: Equation) -> None:
    _running(lowering, main, logaddexp, float("-inf"))


def _running(lowering: Lowering, main: Equation, operation: type, start: float) -> None:
    steps = _Steps(lowering, main, (main.inputs[0],), main.params["dim"])
    before = steps.carry(start, main.output.dtype)
    now = steps.compute(operation, before, 0)
    steps.call((now,), stored=now)


@lowers("recurrence", safe=True)
def lower_recurrence(lowering: Lowering, main: Equation) -> None:
    a, b = main.inputs
    steps = _Steps(lowering, main, (a, b), main.params["dim"])
    before = steps.carry(0.0, main.output.dtype)
    now = steps.compute(add, steps.compute(mul, 0, before), 1)
    steps.call((now,), stored=now)


@lowers("running_place", safe=True)
def lower_running_place(lowering: Lowering, main: Equation) -> None:
    x, largest = main.inputs[0], main.params["largest"]
    steps = _Steps(lowering, main, (x,), main.params["dim"])
    before, place, count, following = _places(steps, x.dtype, largest)
    best = steps.compute(maximum if largest else minimum, before, 0)
    # NumPy's maximum is NaN from the first NaN on: then NaNs are it, and the last of them.
    taken = steps.compute(eq, 0, best, dtype=bool_)
    if x.dtype.kind == "f":
        taken = steps.compute(logical_or, taken, steps.compute(ne, 0, 0, dtype=bool_))
    now = steps.compute(where, taken, count, place)
    steps.call((best, now, following), stored=now)


def _places(steps: _Steps, dtype: DType, largest: bool) -> tuple[int, int, int, int]:
    """The best element so far, its place, the place of this point, and that of the next one."""
    best = steps.carry(dtype.min if largest else dtype.max, dtype)
    place, count = steps.carry(0, int64), steps.carry(0, int64)
    return best, place, count, steps.compute(add, count, steps.number(1))
