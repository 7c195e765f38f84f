"""From graph to groups: which equations become one kernel.

Movements compute nothing: they become windows onto the buffer of what they move. Every other equation
joins a group, and each group becomes one kernel:

  map      elementwise equations of one shape, evaluated together at each point;
  reduce   a reduction, with the elementwise chain that feeds only it as its body, and elementwise
           equations on its result as its epilogue;
  matmul   a product, with elementwise equations on its result (bias, activation) as its epilogue;
  other    one equation by itself.

Groups stand in an order in which each needs only earlier ones. One pass over the equations builds them:
an equation joins the latest group that it depends on if it reads that group's values at its own point,
otherwise a later one of the same shape with which it shares data, otherwise it starts a new one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from lampion import dtype as dtypes
from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.strides import contiguous_strides, move
from lampion.dtype import DType
from lampion.primitive import Primitive

#: A kernel keeps its values in registers and walks one memory stream an operand: beyond this many
#: equations or streams, one kernel is slower than two.
MAX_EQUATIONS = 48
MAX_STREAMS = 16
#: Bytes of a product beyond which its tail had better not stream other arrays: they are not in cache.
LARGE = 1 << 18
#: The same where it would stream more than two (Adam): as fast either way, but one kernel for the updates of
#: all parameters takes less time to compile than a tail for each. Where there are more than a few, small ones
#: go along.
UPDATE = 1 << 14
FEW = 6
#: Bytes of what is computed in front of everything else, where it reads nothing but inputs.
SMALL = 1 << 16
#: The primitives whose kernels add up products in registers, and finish the sums there: by kind of group.
PRODUCTS = {"matmul": "matmul", "product_of_bfloat16": "matmul", "convolution": "convolution"}
#: The primitives that make images (N, C, *sizes), whose kernels have channels in the lanes.
IMAGES = frozenset({"convolution", "convolution_input", "pool_pick", "pool_spread"})
#: The element types that machine code computes with. Others are called out to NumPy.
MACHINE_TYPES = frozenset({
    dtypes.bool_, dtypes.uint8, dtypes.uint16, dtypes.uint32, dtypes.uint64, dtypes.int8, dtypes.int16,
    dtypes.int32, dtypes.int64, dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64,
})  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Where a value's elements lie in the buffer of `root`, in elements."""

    root: Value
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    def broadcast(self, shape: tuple[int, ...]) -> Layout:
        """The layout as seen from a larger shape: strides 0 where it repeats."""
        extra = len(shape) - len(self.shape)
        strides = (0,) * extra + tuple(
            0 if have == 1 and want != 1 else stride
            for have, want, stride in zip(self.shape, shape[extra:], self.strides, strict=True)
        )
        return Layout(self.root, shape, strides, self.offset)

    def reshape(self, shape: tuple[int, ...]) -> Layout:
        """The same layout with dimensions of size 1 added."""
        own = iter([stride for n, stride in zip(self.shape, self.strides, strict=True) if n != 1])
        return Layout(self.root, shape, tuple(0 if n == 1 else next(own) for n in shape), self.offset)


@dataclass(eq=False)
class Group:
    """The equations of one kernel."""

    kind: str
    shape: tuple[int, ...]  # of the points at which its elementwise equations are evaluated
    body: list[Equation] = field(default_factory=list)  # before the main equation (map: all of them)
    main: Equation | None = None
    epilogue: list[Equation] = field(default_factory=list)

    @property
    def equations(self) -> list[Equation]:
        return [*self.body, *([] if self.main is None else [self.main]), *self.epilogue]


class Schedule:
    """The groups of a graph, and the layouts of its values.

    Attributes:
        groups: in an order in which each reads only inputs and results of earlier ones.
        layouts: for every value that is an input, a stored result or a movement of one.
        numbers: the values that are one Python number repeated (results of `full`).
        inlined: single numbers converted from an input (a learning rate in float32, say), with the
            equation: each kernel that uses one converts it itself.
    """

    def __init__(self, graph: Graph, strides: dict[Value, tuple[int, ...]]) -> None:
        self.graph = graph
        self.groups: list[Group] = []
        self.layouts: dict[Value, Layout] = {}
        self.numbers: dict[Value, Any] = {}
        self.inlined: dict[Value, Equation] = {}
        # Elementwise equations that depend on no group so far (m * beta1 in Adam): they wait for the
        # equation that uses them, so that they end up in its group and not in an earlier one.
        self.floating: dict[Value, Equation] = {}
        self.loops: dict[Any, int] = {}  # the group of each loop, by the loop and its inputs
        self.position: dict[Value, int] = {}  # the index of the group that computes a value
        self.consumers: dict[Value, list[Equation | None]] = {}
        for equation in graph:
            for value in equation.values:
                self.consumers.setdefault(value, []).append(equation)
        for value in graph.outputs:
            self.consumers.setdefault(value, []).append(None)
        for value in [*graph.inputs, *graph.constants]:
            self.layouts[value] = Layout(value, value.shape, strides[value])
        for equation in graph:
            self._place(equation)

        for value in reversed(list(self.floating)):  # those that use others first: these come along
            self._settle(value)
        self._split_heavy_tails()

    def _place(self, equation: Equation) -> None:
        primitive, out = equation.primitive, equation.output
        if primitive.kind != "elementwise" or not has_machine_code(equation):
            for value in equation.values:
                self._settle(value)
        if primitive.name == "full":
            self.numbers[out] = equation.params["value"]
        elif primitive.kind == "movement":
            self._move(equation)
        elif primitive.name == "cat" and (side_by_side := self._side_by_side(equation)) is not None:
            self.layouts[out] = side_by_side
        elif "loop" in equation.params and has_machine_code(equation):
            self._result_of_loop(equation)
        elif primitive.kind == "kernel" or not has_machine_code(equation):
            self._new(Group(_kind(equation), out.shape, main=equation), equation)
        elif primitive.name == "cast" and not out.shape and self._is_input(equation.inputs[0]):
            self.inlined[out] = equation
        elif primitive.kind == "elementwise":
            self._join(equation)
        else:
            self._reduce(equation)

    def _new(self, group: Group, equation: Equation) -> None:
        self.groups.append(group)
        self._computed(equation.output, len(self.groups) - 1)

    def _result_of_loop(self, equation: Equation) -> None:
        """All results of a loop are computed by the group of the first."""
        key = (equation.params["loop"], *equation.inputs)
        if key not in self.loops:
            self.loops[key] = len(self.groups)
            self._new(Group("other", equation.output.shape, main=equation), equation)
            return
        self.groups[self.loops[key]].epilogue.append(equation)
        self._computed(equation.output, self.loops[key])

    def _computed(self, value: Value, position: int) -> None:
        self.position[value] = position
        self.layouts[value] = Layout(value, value.shape, self._order(value, self.groups[position]))

    def _order(self, value: Value, group: Group) -> tuple[int, ...]:
        """How a result lies in memory: as its kernel writes it best.

        Images (N, C, *sizes) come out of convolutions with the channels last, and stay so through what is
        done with each element: no kernel in between has to turn them.
        """
        if group.main is not None and (
            group.main.primitive.name in IMAGES or self._reshapes_images(group.main)
        ):
            n, c, *sizes = value.shape
            by_n, *steps, by_c = contiguous_strides((n, *sizes, c), 1)
            return (by_n, by_c, *steps)
        plain = contiguous_strides(value.shape, 1)
        if group.kind == "map" and len(value.shape) > 2:
            for equation in group.body:
                for read in equation.values:
                    layout = self.layouts.get(read)
                    if layout is None or layout.root is not read or read not in self.position:
                        continue
                    if layout.shape == value.shape and layout.strides != plain:
                        return layout.strides
        return plain

    def _reshapes_images(self, equation: Equation) -> bool:
        """Whether it copies images whose channels are adjacent and changes their sizes alone, as the gradient
        of a mean of windows does.
        """
        if equation.primitive.name != "reshape" or len(equation.output.shape) < 3:
            return False
        (source,) = equation.inputs
        same = source.shape[:2] == equation.output.shape[:2] and len(source.shape) > 2
        return same and source.shape[1] > 1 and self.layouts[source].strides[1] == 1

    def _move(self, equation: Equation) -> None:
        (source,) = equation.inputs
        if source in self.numbers:
            self.numbers[equation.output] = self.numbers[source]
            return
        if source in self.inlined and source not in self.position:
            # Now it needs a place too. Kernels go on converting it themselves: those that stand before the
            # one that fills the place could not read it there.
            self._group(self.inlined[source])
        result = window_of(equation.primitive, equation.params, self.layouts[source], source.dtype)
        if result is None:  # a reshape that has to copy: a kernel that reads in the new order
            self._new(Group("other", equation.output.shape, main=equation), equation)
        else:
            self.layouts[equation.output] = result

    def _side_by_side(self, equation: Equation) -> Layout | None:
        """Where a concatenation lies already, if its parts are neighbours in one buffer."""
        first, *others = equation.values
        dim, whole = equation.params["dim"], self.layouts.get(first)
        if whole is None:
            return None
        at = whole.offset
        for before, value in zip(equation.values, others, strict=False):
            at += before.shape[dim] * whole.strides[dim]
            layout = self.layouts.get(value)
            if (
                layout is None
                or layout.root is not whole.root
                or (layout.offset, layout.strides) != (at, whole.strides)
            ):
                return None
        return Layout(whole.root, equation.output.shape, whole.strides, whole.offset)

    def producer(self, value: Value) -> int:
        """The index of the group that computes what `value` reads; -1 for inputs and numbers."""
        if self.is_scalar(value):
            return -1
        return self.position.get(self.layouts[value].root, -1)

    def is_scalar(self, value: Value) -> bool:
        """Whether kernels make this value themselves, so that it has no place in memory."""
        return value in self.numbers or value in self.inlined

    def _is_input(self, value: Value) -> bool:
        return value not in self.floating and self.producer(value) < 0

    def _settle(self, value: Value) -> None:
        """Give a floating equation, and those that it floats on, a group: one, if they have one shape."""
        equation = self.floating.get(value)
        if equation is None:
            return
        shape = equation.output.shape
        for other in self._chain(equation):
            if other.output.shape != shape:
                self._settle(other.output)
        chain = [*self._chain(equation), equation]
        for member in chain:
            del self.floating[member.output]
        group = Group("map", shape)
        if len(chain) == 1 or not self._has_room(group, chain):
            for member in chain:
                self._group(member)
            return
        latest = max((self.producer(v) for e in chain for v in e.values if v not in _made(chain)), default=-1)
        index = latest
        if index < 0 or not self._has_points_for(self.groups[index], index, chain):
            index = self._sharing(chain, index)
        if index < 0:
            index = len(self.groups) if latest >= 0 or chain[-1].output.nbytes > SMALL else 0
            self._insert(index, group)
        for member in chain:
            self._append(self.groups[index], index, member)

    def _insert(self, index: int, group: Group) -> None:
        """Put a group in front of the one that has this index. What reads inputs alone, and is small (a bias
        in another type), comes before all others, so that the tail of one that is there already can read it.
        """
        self.groups.insert(index, group)
        for table in (self.position, self.loops):
            for key, position in table.items():
                if position >= index:
                    table[key] = position + 1

    def _join(self, equation: Equation) -> None:
        floats = [v for v in equation.values if v in self.floating]
        if all(v in self.floating or self.producer(v) < 0 for v in equation.values):
            self.floating[equation.output] = equation
            return
        for value in floats:
            if value.shape != equation.output.shape:
                self._settle(value)
        chain = self._chain(equation)
        # What a floating equation needs may have been given a group since it began to float.
        members = [*chain, equation]
        latest = max(self.producer(v) for e in members for v in e.values if v not in self.floating)
        if latest >= 0 and all(e.output.shape == equation.output.shape for e in chain):
            group = self.groups[latest]
            if all(self._fits(group, latest, e) for e in members) and self._has_room(group, chain):
                for floated in chain:
                    self.floating.pop(floated.output)
                    self._append(group, latest, floated)
                self._append(group, latest, equation)
                return
        for value in floats:
            self._settle(value)
        self._group(equation)

    def _chain(self, equation: Equation) -> list[Equation]:
        """The floating equations that this one needs, in order."""
        chain: dict[Value, Equation] = {}
        for value in equation.values:
            floated = self.floating.get(value)
            if floated is not None and value not in chain:
                for before in self._chain(floated):
                    chain[before.output] = before
                chain[value] = floated
        return list(chain.values())

    def _group(self, equation: Equation) -> None:
        """Put an elementwise equation whose inputs all have places into a group."""
        shape = equation.output.shape
        latest = max((self.producer(v) for v in equation.values), default=-1)
        if latest >= 0 and self._fits(self.groups[latest], latest, equation):
            self._append(self.groups[latest], latest, equation)
            return
        index = self._sharing([equation], latest)
        if index >= 0:
            self._append(self.groups[index], index, equation)
            return
        self._new(Group("map", shape, body=[equation]), equation)

    def _sharing(self, chain: list[Equation], latest: int) -> int:
        """The last map after group `latest` that reads what these equations read; -1: there is none."""
        shape, made = chain[-1].output.shape, _made(chain)
        outside = [v for e in chain for v in e.values if v not in made and not self.is_scalar(v)]
        size = math.prod(shape)
        roots = {self.layouts[v].root for v in outside if self.layouts[v].root.size >= size}
        for index in range(len(self.groups) - 1, latest, -1):
            group = self.groups[index]
            if group.kind != "map" or group.shape != shape or not self._has_room(group, chain):
                continue
            read = [v for e in group.equations for v in e.values if not self.is_scalar(v)]
            if any(self.layouts[v].root in roots for v in read) and self._has_points_for(group, index, chain):
                return index
        return -1

    def _has_points_for(self, group: Group, index: int, chain: list[Equation]) -> bool:
        """Whether the group is a map at whose points these equations can be evaluated."""
        shape, made = chain[-1].output.shape, _made(chain)
        outside = [v for e in chain for v in e.values if v not in made and not self.is_scalar(v)]
        return (
            group.kind == "map" and group.shape == shape and self._has_room(group, chain)
            and all(
                self.producer(v) != index or (self.layouts[v].root is v and v.shape == shape) for v in outside
            )
        )  # fmt: skip

    def _fits(self, group: Group, index: int, equation: Equation) -> bool:
        """Whether the equation can be evaluated at each point of the group, right after it."""
        if group.kind == "other" or group.shape != equation.output.shape:
            return False
        if not self._has_room(group, [equation]):
            return False
        for value in equation.values:
            if value in self.floating:
                continue
            if self.producer(value) == index:
                # Must be a value at this very point: not a movement, nor one that is broadcast.
                if self.layouts[value].root is not value or value.shape != group.shape:
                    return False
                if group.kind != "map" and not self._is_result(group, value):
                    return False
        return True

    def _has_room(self, group: Group, more: list[Equation]) -> bool:
        """Whether the group stays within the limits of a kernel."""
        equations = [*group.equations, *more]
        made = {e.output for e in equations}
        streams = {v for e in equations for v in e.values if v not in made and v.size > 1}
        return len(equations) <= MAX_EQUATIONS and len(streams) <= MAX_STREAMS

    def _split_heavy_tails(self) -> None:
        """Take the tail off products (and sums) that would read several more large arrays in it.

        A product's tile is a few short pieces of rows: a bad pattern for streaming memory. Measured on
        1000x784 with Adam as the tail: 2.46 ms fused, 1.57 + 0.64 ms apart (one thread).
        """
        groups: list[Group] = []
        updates = sum(self._streams(group) > 2 for group in self.groups)
        for group in self.groups:
            groups.append(group)
            streams = self._streams(group)
            nbytes = group.main.output.nbytes if group.main is not None else 0
            heavy = group.kind == "matmul" and streams > 1 and nbytes > LARGE
            if heavy or (streams > 2 and (nbytes > UPDATE or updates > FEW)):
                kept = self._conversions(group)
                groups.append(Group("map", group.shape, body=group.epilogue[kept:]))
                group.epilogue = group.epilogue[:kept]
        self.groups = groups
        self.position = {e.output: i for i, group in enumerate(groups) for e in group.equations}

    def _streams(self, group: Group) -> int:
        """How many arrays of the size of its result the tail of a product or a reduction reads."""
        if group.kind not in ("matmul", "reduce") or group.main is None:
            return 0
        made, size = {e.output for e in group.equations}, group.main.output.size
        return len({
            self.layouts[v].root for e in group.epilogue for v in e.values
            if v not in made and not self.is_scalar(v) and v.size == size
        })  # fmt: skip

    def _conversions(self, group: Group) -> int:
        """How many equations at the start of a tail only convert the product, which nothing else reads: done
        before it is stored, they save a pass over memory.
        """
        assert group.main is not None
        value, count = group.main.output, 0
        for equation in group.epilogue:
            if equation.primitive.name != "cast" or self.consumers[value] != [equation]:
                break
            value, count = equation.output, count + 1
        return count

    def _is_result(self, group: Group, value: Value) -> bool:
        return (group.main is not None and value is group.main.output) or any(
            value is e.output for e in group.epilogue
        )

    def _append(self, group: Group, index: int, equation: Equation) -> None:
        (group.body if group.kind == "map" else group.epilogue).append(equation)
        self._computed(equation.output, index)

    def _reduce(self, equation: Equation) -> None:
        (source,) = equation.inputs
        index = self.producer(source)
        if index >= 0 and self.layouts[source].root is source:
            group = self.groups[index]
            members = set(map(id, group.body)) | {id(equation)}
            if group.kind == "map" and group.shape == source.shape and all(
                id(user) in members for e in group.body for user in self.consumers.get(e.output, [None])
            ):  # fmt: skip
                # The chain feeds this reduction alone: it becomes the reduction's body.
                group.kind, group.main, group.shape = "reduce", equation, equation.output.shape
                self._computed(equation.output, index)
                return
        self._new(Group("reduce", equation.output.shape, main=equation), equation)

    def stored(self, group: Group) -> list[Value]:
        """The values of a group that something outside of it reads."""
        members = set(map(id, group.equations))
        return [
            e.output for e in group.equations
            if any(user is None or id(user) not in members for user in self.consumers.get(e.output, []))
        ]  # fmt: skip


def _kind(equation: Equation) -> str:
    """The kind of group of an equation that is more than elementwise, and no reduction."""
    name = equation.primitive.name
    if not has_machine_code(equation):
        return "other"
    if name.startswith("convolution") and equation.output.dtype not in (dtypes.float32, dtypes.float64):
        return "other"
    if name == "convolution_input" and all(s == 1 for s in equation.params["stride"]):
        return "convolution"
    return PRODUCTS.get(name, "other")


def has_machine_code(equation: Equation) -> bool:
    """Whether machine code can compute it, as far as its types go (and, of kernels, if there is one)."""
    primitive = equation.primitive
    return (
        primitive.native
        and all(value.dtype in MACHINE_TYPES for value in (*equation.values, equation.output))
        and (primitive.kind != "reduction" or primitive.combine is not None)
    )


def window_of(primitive: Primitive, params: dict[str, Any], layout: Layout, dtype: DType) -> Layout | None:
    """The layout of a movement's result, found by running it on a shadow.

    None if it would copy, or see the elements as another type: a window has the type of its buffer.
    """
    size = dtype.itemsize
    strides = tuple(s * size for s in layout.strides)
    if primitive.name == "reshape" and 0 in layout.shape:
        return Layout(layout.root, params["shape"], (0,) * len(params["shape"]), layout.offset)
    shape, moved, start, seen_as = move(primitive, params, layout.shape, strides, dtype.numpy)
    if start is None or seen_as != dtype.numpy:
        return None
    return Layout(layout.root, shape, tuple(s // size for s in moved), layout.offset + start // size)


def _made(equations: list[Equation]) -> set[Value]:
    """The values that these equations compute."""
    return {e.output for e in equations}
