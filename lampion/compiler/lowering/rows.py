"""Groups of one row space as a row kernel: each equation becomes a value of the points, or of the rows."""

from __future__ import annotations

from typing import Any

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation, Value
from lampion.compiler.lowering.body import Record, plain_number
from lampion.compiler.lowering.groups import label
from lampion.compiler.lowering.plan import Lowering
from lampion.compiler.lowering.registry import lowers_group
from lampion.compiler.rows import RowGroup
from lampion.compiler.rowspace import points_of
from lampion.compiler.schedule import Group, Layout
from lampion.dtype import DType


@lowers_group("rows")
def lower_rows(lowering: Lowering, group: Group) -> None:
    assert isinstance(group, RowGroup)
    kernel = _Kernel(lowering, group)
    for equation in group.body:
        kernel.add(equation)
    lowering.call(kernel.record, kernel.finished(), label(group))


class _Kernel:
    """A row kernel in the making."""

    def __init__(self, lowering: Lowering, group: RowGroup) -> None:
        self.lowering, self.group, self.space = lowering, group, group.space
        self.record = Record(lowering)
        self.points: list[ir.Value] = []
        self.rows: list[ir.Value] = []
        self.reductions: list[ir.Reduction] = []
        self.of_points: dict[Any, int] = {}  # the numbers of values, by what they are
        self.of_rows: dict[Any, int] = {}

    def add(self, equation: Equation) -> None:
        out, at, params = equation.output, points_of(equation), equation.params
        if equation.primitive.kind == "reduction":
            combined = self._point(equation.inputs[0], at)
            self.reductions.append(ir.Reduction(equation.primitive, combined, out.dtype))
            self._add_row(out, ir.Result(len(self.reductions) - 1, out.dtype))
        elif equation.primitive.name == "gather":
            x, index = equation.inputs
            chosen = self._point(x, at), self._row(index, index.shape)
            self._add_row(out, ir.Chosen(*chosen, out.dtype, params["dim"]))
        else:
            is_point = self.group.kinds[out] == "point"
            args = tuple(self._argument(equation, n, is_point) for n in range(len(equation.inputs)))
            value = ir.Compute(equation.primitive, args, out.dtype, tuple(sorted(params.items())))
            (self._add_point if is_point else self._add_row)(out, value)

    def _argument(self, equation: Equation, number: int, is_point: bool) -> int:
        x, at = equation.inputs[number], equation.output.shape
        if isinstance(x, Value):
            return self._point(x, at) if is_point else self._row(x, at)
        # The type that a Python number takes here: that of the tensor it is combined with.
        like = equation.output if equation.primitive.name == "where" else equation.values[-1]
        return self._literal(x, like.dtype, is_point)

    def _point(self, value: Value, at: tuple[int, ...]) -> int:
        """The number of a value read at each point of a shape."""
        schedule, space = self.lowering.schedule, self.space
        if value in schedule.numbers:
            return self._literal(schedule.numbers[value], value.dtype, True)
        if value in schedule.inlined:
            return self._of_row(self._row(value, at))
        seen = space.of_point(self.lowering.layouts[value], at)
        assert seen is not None, "the scheduler lets in only what can be seen"
        kind = self.group.kinds.get(seen.root)
        if kind == "point" and space.is_point(seen):
            return self.of_points[seen.root]
        if kind == "row":
            return self._of_row(self.of_rows[seen.root])
        if seen.root in self.group.positions and space.is_position(seen):
            return self._add_point((value, "position"), ir.Position(value.dtype))
        if not any(seen.strides[len(space.outer) :]):
            layout = Layout(seen.root, space.outer, seen.strides[: len(space.outer)], seen.offset)
            return self._of_row(self._load(layout, value.dtype, self.rows, self.of_rows))
        return self._load(seen, value.dtype, self.points, self.of_points)

    def _row(self, value: Value, at: tuple[int, ...]) -> int:
        """The number of a value read once a row."""
        schedule = self.lowering.schedule
        if value in schedule.numbers:
            return self._literal(schedule.numbers[value], value.dtype, False)
        if value in schedule.inlined:
            if value not in self.of_rows:
                cast = schedule.inlined[value]
                source = self._row(cast.inputs[0], self.space.outer)
                params = tuple(sorted(cast.params.items()))
                self._add_row(value, ir.Compute(cast.primitive, (source,), value.dtype, params))
            return self.of_rows[value]
        seen = self.space.of_row(self.lowering.layouts[value], at)
        assert seen is not None, "the scheduler lets in only what can be seen"
        if seen.root in self.group.kinds:
            return self.of_rows[seen.root]
        return self._load(seen, value.dtype, self.rows, self.of_rows)

    def _load(self, seen: Layout, dtype: DType, values: list[ir.Value], numbers: dict[Any, int]) -> int:
        key = (seen.root, seen.strides, seen.offset)
        if key not in numbers:
            numbers[key] = len(values)
            values.append(ir.Load(self.record.window(seen, dtype), dtype))
        return numbers[key]

    def _literal(self, number: Any, dtype: DType, is_point: bool) -> int:
        key = (dtype, type(number), repr(number))
        value = ir.Literal(plain_number(number, dtype), dtype)
        return (self._add_point if is_point else self._add_row)(key, value)

    def _of_row(self, number: int) -> int:
        """A value of the row, at its points."""
        return self._add_point(("row", number), ir.Result(number, self.rows[number].dtype))

    def _add_point(self, key: Any, value: ir.Value) -> int:
        if key not in self.of_points:
            self.of_points[key] = len(self.points)
            self.points.append(value)
        return self.of_points[key]

    def _add_row(self, key: Any, value: ir.Value) -> int:
        if key not in self.of_rows:
            self.of_rows[key] = len(self.rows)
            self.rows.append(value)
        return self.of_rows[key]

    def finished(self) -> ir.Rows:
        space, stores, row_stores = self.space, [], []
        for value in self.lowering.schedule.stored(self.group):
            layout = self.lowering.layouts[value]
            is_point = self.group.kinds[value] == "point"
            seen = (space.of_point if is_point else space.of_row)(layout, value.shape)
            assert seen is not None
            window = self.record.window(seen, value.dtype, written=True)
            if is_point:
                stores.append(ir.Store(window, self.of_points[value]))
            else:
                row_stores.append(ir.Store(window, self.of_rows[value]))
        return ir.Rows(
            space.shape, len(space.outer), tuple(self.record.operands), tuple(self.points), tuple(self.rows),
            tuple(self.reductions), tuple(stores), tuple(row_stores),
        )  # fmt: skip
