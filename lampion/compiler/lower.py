"""From groups to a plan: one kernel record for each group, a place in memory for each stored value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lampion.compiler import kernel_ir as ir
from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.memory import Arena
from lampion.compiler.schedule import MACHINE_TYPES, Group, Layout, Schedule, has_machine_code, window_of
from lampion.compiler.strides import contiguous_strides
from lampion.dtype import DType
from lampion.ops.advanced_indexing import index_

#: The primitives whose kernels cannot fail. (Others check their indices, or are called out.)
_SAFE = frozenset({"matmul", "reshape", "put", "cat", "random_bits"})


def lower(graph: Graph, strides: dict[Value, tuple[int, ...]], targets: Sequence[Value | None]) -> ir.Plan:
    """Turn a graph into a plan.

    Args:
        strides: of each input and constant, in elements.
        targets: for each output, the input whose memory it is written to, or None for memory of its own.

    The plan's external pointers are the inputs, then the constants, then the outputs without a target.
    """
    return _Lowering(graph, strides, targets).plan()


class _Lowering:
    def __init__(
        self, graph: Graph, strides: dict[Value, tuple[int, ...]], targets: Sequence[Value | None]
    ) -> None:
        self.graph = graph
        self.schedule = Schedule(graph, strides)
        self.layouts = self.schedule.layouts
        self.places: dict[Value, ir.Place] = {}
        self.calls: list[ir.Call] = []
        self.arena = Arena()
        known = [*graph.inputs, *graph.constants]
        for slot, value in enumerate(known):
            self.places[value] = ir.Place(False, slot, value.nbytes)
        self.externals = len(known)
        # The last group that can fail: upon an index out of range, a singular matrix...
        self.last_check = max(
            (
                number
                for number, group in enumerate(self.schedule.groups)
                if group.kind == "other" and group.main and not _is_safe(group.main)
            ),
            default=-1,
        )
        self.copies: list[tuple[Value, Layout]] = []  # what has to be copied to its output at the end
        self._bind_outputs(targets)

    def _bind_outputs(self, targets: Sequence[Value | None]) -> None:
        """Let kernels write outputs where they belong; note those that need a copy at the end."""
        direct: set[Value] = set()
        for value, target in zip(self.graph.outputs, targets, strict=True):
            computed = value in self.schedule.position and value not in direct
            if target is None:
                slot = ir.Place(False, self.externals, value.nbytes)
                self.externals += 1
                if computed:
                    self.places[value] = slot
                    direct.add(value)
                else:
                    stand_in = Value(-1, value.shape, value.dtype)
                    self.places[stand_in] = slot
                    self.copies.append(
                        (value, Layout(stand_in, value.shape, contiguous_strides(value.shape, 1)))
                    )
            elif computed and self._may_overwrite(value, target):
                self.places[value] = self.places[target]
                direct.add(value)
            else:
                self.copies.append((value, self.layouts[target]))

    def _may_overwrite(self, value: Value, target: Value) -> bool:
        """Whether the kernel that computes `value` may write it straight over the input `target`.

        It may if nothing reads the target's old contents later, or in the same kernel at another point.
        """
        layout = self.layouts[target]
        if value.shape != target.shape or layout.strides != contiguous_strides(target.shape, 1):
            return False
        own = self.schedule.position[value]
        if own < self.last_check:
            return False  # a later kernel may find an error, after which the user's tensors are as they were
        for index, group in enumerate(self.schedule.groups):
            for equation in group.equations:
                for read in equation.values:
                    if self._root(read) is not target:
                        continue
                    same_point = read is target and group.kind in ("map", "matmul", "reduce") and (
                        equation is not group.main and (group.kind == "map" or equation in group.epilogue)
                    )  # fmt: skip
                    if index > own or (index == own and not same_point):
                        return False
        return all(self._root(v) is not target for v in self.graph.outputs)

    def _root(self, value: Value) -> Value | None:
        """The value whose memory a kernel looks at where it reads this one; None for Python numbers."""
        while value in self.schedule.inlined:
            (value,) = self.schedule.inlined[value].inputs
        return None if value in self.schedule.numbers else self.layouts[value].root

    # -- the plan -----------------------------------------------------------------------------------

    def plan(self) -> ir.Plan:
        for group in self.schedule.groups:
            getattr(self, "_" + group.kind)(group)
        self._final_copies()
        _check_reads(self.calls)
        calls = self.arena.place(self.calls)
        return ir.Plan(tuple(calls), self.arena.nbytes, self.externals)

    def _final_copies(self) -> None:
        overwritten = {layout.root for _, layout in self.copies}
        ready = []
        for value, layout in self.copies:
            if self._root(value) in overwritten:
                # Another copy overwrites what this one reads: set it aside first.
                aside = Value(-1, value.shape, value.dtype)
                self.layouts[aside] = Layout(aside, value.shape, contiguous_strides(value.shape, 1))
                self._copy(value, self.layouts[aside], "set aside")
                value = aside
            ready.append((value, layout))
        for value, layout in ready:
            self._copy(value, layout, "write back")

    def _place(self, root: Value) -> ir.Place:
        found = self.places.get(root)
        if found is None:
            found = self.places[root] = self.arena.take(root.nbytes)
        return found

    def _call(self, record: _Record, kernel: Any, label: str) -> None:
        self.calls.append(ir.Call(kernel, tuple(record.places), label))

    # -- one method for each kind of group ------------------------------------------------------------

    def _map(self, group: Group) -> None:
        record = _Record(self)
        body = _Body(self, record, group.shape)
        for equation in group.body:
            body.add(equation)
        stores = body.stores(self.schedule.stored(group))
        self._call(
            record, ir.Map(group.shape, tuple(record.operands), tuple(body.values), stores), _label(group)
        )

    def _reduce(self, group: Group) -> None:
        main = group.main
        assert main is not None
        (source,) = main.inputs
        shape, axes = source.shape, tuple(main.params["axis"])
        record = _Record(self)
        body = _Body(self, record, shape)
        for equation in group.body:
            body.add(equation)
        value = body.read(source)
        kept = tuple(n for axis, n in enumerate(shape) if axis not in axes)
        drop = axes if main.params["keepdims"] else ()
        epilogue = _Body(self, record, kept, drop)
        epilogue.result(main.output)
        for equation in group.epilogue:
            epilogue.add(equation)
        kernel = ir.Reduce(
            shape, axes, (), tuple(body.values), (ir.Reduction(main.primitive, value, main.output.dtype),),
            tuple(epilogue.values), epilogue.stores(self.schedule.stored(group)),
        )  # fmt: skip
        kernel = replace(kernel, operands=tuple(record.operands), epilogue=tuple(epilogue.values))
        self._call(record, kernel, _label(group))

    def _matmul(self, group: Group) -> None:
        main = group.main
        assert main is not None
        a, b = main.inputs
        batch = main.output.shape[:-2]
        record = _Record(self)
        windows = [record.window(self.layout(x).broadcast((*batch, *x.shape[-2:])), x.dtype) for x in (a, b)]
        epilogue = _Body(self, record, main.output.shape)
        epilogue.result(main.output)
        for equation in group.epilogue:
            epilogue.add(equation)
        stores = epilogue.stores(self.schedule.stored(group))
        self._call(record, ir.Matmul(
            windows[0], windows[1], main.output.dtype, tuple(record.operands), tuple(epilogue.values), stores,
        ), _label(group))  # fmt: skip

    def _other(self, group: Group) -> None:
        main = group.main
        assert main is not None
        method = getattr(self, "_kernel_" + main.primitive.name, None)
        if method is None or not (has_machine_code(main) or main.primitive.kind == "movement"):
            self._call_out(main)
        else:
            method(main)

    def _call_out(self, main: Equation) -> None:
        """A call of the primitive's own `forward`, with NumPy arrays over the plan's memory."""
        record = _Record(self)
        inputs = [record.window(self.layout(x), x.dtype) if isinstance(x, Value) else x for x in main.inputs]
        out = record.window(self.layouts[main.output], main.output.dtype, written=True)
        name, forward = main.primitive.name, main.primitive.forward
        kernel = ir.CallOut(name, forward, tuple(inputs), main.params, out, tuple(record.operands))
        self._call(record, kernel, name)

    def _kernel_reshape(self, main: Equation) -> None:
        # Read the source in its own shape, and store it through the new shape's strides, which are plain:
        # so in the source's shape they are plain too.
        out = self.layouts[main.output]
        source = main.inputs[0]
        self._copy(source, Layout(out.root, source.shape, contiguous_strides(source.shape, 1)), "reshape")

    def _kernel_put(self, main: Equation) -> None:
        base, value = main.inputs
        out = inner = self.layouts[main.output]
        for primitive, params in main.params["chain"]:
            moved = window_of(primitive, params, inner, main.output.dtype)
            if moved is None:  # a reshape on the way would have to copy
                self._call_out(main)
                return
            inner = moved
        self._copy(base, out, "put: base")
        self._copy(value, inner, "put: part")

    def _kernel_cat(self, main: Equation) -> None:
        dim, out, start = main.params["dim"], self.layouts[main.output], 0
        for part in main.inputs:
            offset = out.offset + start * out.strides[dim]
            self._copy(part, Layout(out.root, part.shape, out.strides, offset), "cat")
            start += part.shape[dim]

    def _kernel_gather(self, main: Equation) -> None:
        x, index = main.inputs
        record = _Record(self)
        source = record.window(self.layout(x), x.dtype)
        indices = record.window(self.layout(index), index.dtype)
        out = record.window(self.layouts[main.output], x.dtype, written=True)
        self._call(
            record, ir.Gather(source, indices, out, main.params["dim"], tuple(record.operands)), "gather"
        )

    def _kernel_scatter_add(self, main: Equation) -> None:
        base, index, source = main.inputs
        name = main.primitive.name
        self._copy(base, self.layouts[main.output], f"{name}: base")
        record = _Record(self)
        out = record.window(self.layouts[main.output], main.output.dtype, written=True)
        indices = record.window(self.layout(index), index.dtype)
        # Only the part of the source that the index covers is added.
        part = self.layout(source)
        values = record.window(Layout(part.root, index.shape, part.strides, part.offset), source.dtype)
        adds = name == "scatter_add"
        self._call(
            record,
            ir.ScatterAdd(out, indices, values, main.params["dim"], tuple(record.operands), adds=adds),
            name,
        )

    _kernel_scatter = _kernel_scatter_add

    def _kernel_index(self, main: Equation) -> None:
        x, *indices = main.inputs
        record = _Record(self)
        far, picks = self._picked(record, self.layout(x), main.output.shape, indices, main.params)
        source = record.window(far, x.dtype)
        out = record.window(self.layouts[main.output].reshape(far.shape), x.dtype, written=True)
        self._call(
            record, ir.Gather(source, picks[0].window, out, -1, tuple(record.operands), picks), "index"
        )

    def _kernel_index_put(self, main: Equation) -> None:
        base, value, *indices = main.inputs
        out = self.layouts[main.output]
        self._copy(base, out, "index_put: base")
        shape, _ = index_.primitive.infer(base, *indices, dims=main.params["dims"])
        values = self.layout(value).broadcast(shape)
        record = _Record(self)
        far, picks = self._picked(record, out, shape, indices, main.params)
        source = record.window(values.reshape(far.shape), value.dtype)
        target = record.window(far, base.dtype, written=True)
        self._call(
            record,
            ir.ScatterAdd(
                target, picks[0].window, source, -1, tuple(record.operands), picks, main.params["accumulate"]
            ),
            "index_put",
        )

    def _picked(
        self,
        record: _Record,
        x: Layout,
        shape: tuple[int, ...],
        indices: Sequence[Value],
        params: dict[str, Any],
    ) -> tuple[Layout, tuple[ir.Pick, ...]]:
        """The side that indices lead to, as seen from the points of ``x[..., i, ..., j]``; and the indices.

        The points have the shape of that, with a dimension of size 1 where the indices have none.
        """
        dims, wraps = params["dims"], params.get("wraps", True)
        rank = len(shape) - (len(x.shape) - len(dims))  # of the indices
        at = dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0
        points = shape if rank else (*shape[:at], 1, *shape[at:])
        rank = rank or 1
        rest = [stride for axis, stride in enumerate(x.strides) if axis not in dims]
        far = Layout(x.root, points, (*rest[:at], *(0,) * rank, *rest[at:]), x.offset)
        picks = []
        for dim, value in zip(dims, indices, strict=True):
            own = self.layout(value).broadcast(points[at : at + rank])
            strides = (*(0,) * at, *own.strides, *(0,) * (len(points) - at - rank))
            window = record.window(Layout(own.root, points, strides, own.offset), value.dtype)
            picks.append(ir.Pick(window, x.shape[dim], x.strides[dim], dim, wraps))
        return far, tuple(picks)

    def _kernel_random_bits(self, main: Equation) -> None:
        (state,) = main.inputs
        record = _Record(self)
        record.window(self.layout(state), state.dtype)
        record.window(self.layouts[main.output], main.output.dtype, written=True)
        params = main.params
        self._call(
            record, ir.RandomBits(params["size"], params["delta"], tuple(record.operands)), "random_bits"
        )

    # -- pieces ---------------------------------------------------------------------------------------

    def layout(self, value: Value) -> Layout:
        """Where a value can be read; numbers are written out first."""
        if value not in self.layouts:
            to = Layout(value, value.shape, contiguous_strides(value.shape, 1))
            self._copy(value, to, "full")
            self.layouts[value] = to
        return self.layouts[value]

    def _copy(self, value: Value, to: Layout, label: str) -> None:
        """Write a value (broadcast) to a layout."""
        record = _Record(self)
        if value.dtype not in MACHINE_TYPES:
            number = self.schedule.numbers.get(value)
            if number is None:
                source = record.window(self.layouts[value], value.dtype)
            else:
                source = value.dtype.numpy.type(number)
            out = record.window(to, value.dtype, written=True)
            kernel = ir.CallOut("copy", _identity, (source,), {}, out, tuple(record.operands))
            self._call(record, kernel, label)
            return
        body = _Body(self, record, to.shape)
        number = body.read(value)
        store = ir.Store(record.window(to, value.dtype, written=True), number)
        self._call(record, ir.Map(to.shape, tuple(record.operands), tuple(body.values), (store,)), label)


#: The primitives of kind "kernel" that have a kernel.
KERNELS = frozenset(name.removeprefix("_kernel_") for name in vars(_Lowering) if name.startswith("_kernel_"))
KERNELS |= {"matmul", "full"}


class _Record:
    """The operands of one kernel call: each buffer once."""

    def __init__(self, lowering: _Lowering) -> None:
        self.lowering = lowering
        self.operands: list[ir.Operand] = []
        self.places: list[ir.Place] = []

    def window(self, layout: Layout, dtype: DType, written: bool = False) -> ir.Window:
        place = self.lowering._place(layout.root)
        if place in self.places:
            index = self.places.index(place)
            if written:
                self.operands[index] = ir.Operand(dtype, True)
        else:
            index = len(self.places)
            self.places.append(place)
            self.operands.append(ir.Operand(dtype, written))
        return ir.Window(index, layout.shape, layout.strides, layout.offset)


class _Body:
    """The values of a loop nest, in the making.

    Args:
        drop: dimensions of size 1 that values have here but the nest has not (a reduction's keepdims).
    """

    def __init__(
        self, lowering: _Lowering, record: _Record, shape: tuple[int, ...], drop: tuple[int, ...] = ()
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

    def result(self, value: Value) -> None:
        """The value that the kernel's main part leaves for the epilogue."""
        self._add(value, ir.Result(0, value.dtype))

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
        plain = bool(number) if dtype.kind == "b" else float(number) if dtype.kind == "f" else int(number)
        return self._add(key, ir.Literal(plain, dtype))

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


def _check_reads(calls: list[ir.Call]) -> None:
    """No kernel may read a place of the arena that none before it has written: that would be any number."""
    written: set[int] = set()
    for call in calls:
        for place, operand in zip(call.places, call.kernel.operands, strict=True):
            if place.arena and not operand.written and place.index not in written:
                raise AssertionError(f"kernel `{call.label}` reads what is written after it")
        for place, operand in zip(call.places, call.kernel.operands, strict=True):
            if place.arena and operand.written:
                written.add(place.index)


def _is_safe(main: Equation) -> bool:
    return main.primitive.name in _SAFE and has_machine_code(main)


def _identity(xp: Any, x: Any) -> Any:
    return x


def _label(group: Group) -> str:
    names = [e.primitive.name for e in group.equations]
    return " ".join(names) if len(names) <= 8 else " ".join([*names[:7], f"... ({len(names)} operations)"])
