"""The parts of a kernel record in the making: its operands, and the values of its loop nest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation, Value
from lampion.compiler.schedule import Layout
from lampion.dtype import DType

if TYPE_CHECKING:
    from lampion.compiler.lowering.plan import Lowering


class Record:
    """The operands of one kernel call: each buffer once."""

    def __init__(self, lowering: Lowering) -> None:
        self.lowering = lowering
        self.operands: list[ir.Operand] = []
        self.places: list[ir.Place] = []

    def window(self, layout: Layout, dtype: DType, written: bool = False) -> ir.Window:
        place = self.lowering.place(layout.root)
        if place in self.places:
            index = self.places.index(place)
            if written:
                self.operands[index] = ir.Operand(dtype, True)
        else:
            index = len(self.places)
            self.places.append(place)
            self.operands.append(ir.Operand(dtype, written))
        return ir.Window(index, layout.shape, layout.strides, layout.offset)


class Body:
    """The values of a loop nest, in the making.

    Args:
        drop: dimensions of size 1 that values have here but the nest has not (a reduction's keepdims).
    """

    def __init__(
        self, lowering: Lowering, record: Record, shape: tuple[int, ...], drop: tuple[int, ...] = ()
    ) -> None:
        self.lowering, self.record, self.shape, self.drop = lowering, record, shape, drop
        self.values: list[ir.Value] = []
        self.numbers: dict[Any, int] = {}
        self.full = list(shape)
        for axis in drop:
            self.full.insert(axis, 1)

    def _add(self, key: Any, value: ir.Value) -> int:
        self.numbers[key] = len(self.values)  # evaluated before: its arguments have smaller numbers
        self.values.append(value)
        return self.numbers[key]

    def result(self, value: Value, index: int = 0) -> None:
        """A value that the kernel's main part leaves for the epilogue."""
        self._add(value, ir.Result(index, value.dtype))

    def read(self, value: Value) -> int:
        """The number of a graph value in this body: computed here, a constant, or loaded."""
        if value in self.numbers:
            return self.numbers[value]
        constants = self.lowering.schedule.numbers
        if value in constants:
            return self._literal(constants[value], value.dtype)
        if value in self.lowering.schedule.inlined:
            self.add(self.lowering.schedule.inlined[value])
            return self.numbers[value]
        layout = self.lowering.layouts[value]
        return self._add(value, ir.Load(self._window(layout, value.dtype), value.dtype))

    def _window(self, layout: Layout, dtype: DType, written: bool = False) -> ir.Window:
        layout = layout.broadcast(tuple(self.full))
        strides = tuple(s for axis, s in enumerate(layout.strides) if axis not in self.drop)
        return self.record.window(Layout(layout.root, self.shape, strides, layout.offset), dtype, written)

    def _literal(self, number: Any, dtype: DType) -> int:
        key = (dtype, type(number), repr(number))
        if key in self.numbers:
            return self.numbers[key]
        return self._add(key, ir.Literal(plain_number(number, dtype), dtype))

    def add(self, equation: Equation) -> None:
        values, out = equation.values, equation.output
        # The type that a Python number takes here: that of the tensor it is combined with.
        if equation.primitive.name == "where":
            like = out.dtype
        else:
            like = values[-1].dtype
        args = tuple(
            self.read(x) if isinstance(x, Value) else self._literal(x, like) for x in equation.inputs
        )
        params = tuple(sorted(equation.params.items()))
        self._add(out, ir.Compute(equation.primitive, args, out.dtype, params))

    def stores(self, values: list[Value]) -> tuple[ir.Store, ...]:
        return tuple(
            ir.Store(self._window(self.lowering.layouts[v], v.dtype, written=True), self.numbers[v])
            for v in values
        )


def plain_number(number: Any, dtype: DType) -> bool | int | float:
    """A number as Python's own, of the kind of a type."""
    return bool(number) if dtype.kind == "b" else float(number) if dtype.kind == "f" else int(number)
