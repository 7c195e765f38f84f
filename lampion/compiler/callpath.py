"""The short way through a call: for each plan, one straight-line Python function made for it.

`BoundPlan` can check and run a plan for whatever it was made of; it walks lists and tables to do so. Most
calls are like the one before, and all that differs is in a few arrays. So after its first call a plan gets a
function of its own, in which the tests of all guards stand in a row, the objects that they look at are global
variables, and the pointers of new arrays go straight into the table that the machine code reads. Where
a test fails the function changes nothing and gives `MISSED`: then the long way is taken, which says why.

For a step that a classifier `model` takes with Adam on `x` and `y`, the function reads (shortened):

    def call(args, kwargs):
        try:
            if not (
                mode.trace is None and mode.grad is True
                and len(args) == 2 and not kwargs
                and (x0 := args[0]).__class__ is Tensor
                and (a0 := x0._array).shape == shape1 and a0.strides == strides2 and a0.dtype is dtype3
                ...
                and (s0 := word(id(a0) + 16).value) is not None
                and space9['_array'] is array10                      # a parameter lies where it lay
                and space12['model'] is value13                      # the global `model`
                and space14['scale'] is value15 or same(space14['scale'], value15)     # its attribute
            ):
                return MISSED
        except GONE:
            return MISSED
        with plan.lock:
            if (values := peek20()) is None:
                return MISSED
            table[0] = s0
            pack21(scalars, 0, *values)                              # learning rate, bias corrections
            out0 = empty(shape22, dtype23)
            table[26] = word(id(out0) + 16).value
            if (failure := run(table_address, arena)) is not None:
                raise error(failure.call, failure.position, plan)
            plan.calls += 1
            commit24()                                               # one step more
            version = space9['_version']
            version[0] += 1
            version[1] = value25
            t0 = wrap(out0)
            return t0

What a guard tests is written down in its class (capture/guards.py), beside the message for when it fails.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lampion import dtype as dtypes
from lampion.autograd.sparse import SparseGradient
from lampion.compiler import address as addresses
from lampion.compiler.address import address
from lampion.compiler.capture.guards import GONE, Names
from lampion.compiler.capture.policy import CONTAINERS
from lampion.compiler.tree import PLAIN
from lampion.mode import mode
from lampion.tensor import Tensor, wrap

if TYPE_CHECKING:
    from lampion.compiler.bind import BoundPlan, Returned

#: What a call gives when something is not as the function was made for.
MISSED = type("Missed", (), {"__repr__": lambda self: "MISSED", "__slots__": ()})()
DirectCall = Callable[[tuple[Any, ...], dict[str, Any]], Any]


class Unsuited(Exception):
    """The plan needs the long way."""


def direct_call(plan: BoundPlan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> DirectCall | None:
    """The function for a plan that has just been called with these arguments; None if it cannot have one."""
    try:
        writer = _Writer(plan)
        writer.arguments(args, kwargs)
        writer.surroundings()
        writer.run()
        writer.finish()
    except Unsuited:
        return None
    return writer.function()


class _Writer:
    """Writes the function for one plan, part by part."""

    def __init__(self, plan: BoundPlan) -> None:
        binding = plan.binding
        if plan.grad_inputs or plan.written_arguments:
            raise Unsuited  # what is written to has to be compared with each new array
        if any(setting.before or setting.number is not None for setting in binding.settings):
            raise Unsuited  # what an error has to undo
        self.plan, self.binding = plan, binding
        self.names = Names(
            MISSED=MISSED, GONE=GONE, mode=mode, Tensor=Tensor, word=addresses.word, address=address,
            empty=np.empty, wrap=wrap, plan=plan, arrays=plan.arrays, table=plan.table,
            scalars=plan.scalars,
        )  # fmt: skip
        self.tests: list[str] = []
        self.lines: list[str] = []
        self.leaves: list[Any] = []
        self.floats = {number for _, number in plan.floats}
        self.spans: dict[int, tuple[int, int]] = {}  # of argument arrays, relative to their first element

    def function(self) -> DirectCall:
        tests = "\n                and ".join(dict.fromkeys(self.tests))
        lines = "\n        ".join(self.lines)
        source = (
            f"def call(args, kwargs):\n    try:\n        if not (\n                {tests}\n        ):\n"
            "            return MISSED\n    except GONE:\n        return MISSED\n"
            f"    with plan.lock:\n        {lines}\n"
        )
        space = self.names.space
        exec(compile(source, f"<call of {self.plan!r}>", "exec"), space)  # noqa: S102  # no text of the user's is in it
        call: DirectCall = space["call"]
        call.__doc__ = source
        return call

    # -- the arguments ----------------------------------------------------------------------------------

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Tests that the arguments are like these, as `tree.signature` has it."""
        default = dtypes.get_default_dtype()
        self.tests += [
            "mode.trace is None", f"mode.grad is {self.binding.grad_mode}", "mode.saving is None",
            f"mode.autocast is {self.names(mode.autocast)} and mode.short is {self.names(mode.short)}",
            f"{self.names(vars(dtypes), 'dtypes')}['_default'] is {self.names(default)}",
            f"len(args) == {len(args)}",
        ]  # fmt: skip
        for i, item in enumerate(args):
            self._argument(item, f"args[{i}]")
        if kwargs:
            self._argument(kwargs, "kwargs")
        else:
            self.tests.append("not kwargs")
        self._distinct()

    def _argument(self, item: Any, place: str) -> None:
        names, kind = self.names, type(item)
        if isinstance(item, Tensor):
            self._tensor(item, place)
        elif kind in PLAIN or isinstance(item, np.generic):
            number = self._leaf(item)
            if number in self.floats:
                self.tests.append(f"(x{number} := {place}).__class__ is {names(kind, 'cls')}")
                return
            self.tests.append(names.same(place, item))
        elif kind is tuple or kind is list:
            self.tests.append(f"{place}.__class__ is {kind.__name__} and len({place}) == {len(item)}")
            for i, part in enumerate(item):
                self._argument(part, f"{place}[{i}]")
        elif kind is dict and all(type(key) is str for key in item):
            self.tests.append(f"{place}.__class__ is dict and [*{place}] == {names([*item])}")
            for key, part in item.items():
                self._argument(part, f"{place}[{key!r}]")
        elif kind in (np.ndarray, slice) or isinstance(item, CONTAINERS):
            raise Unsuited
        else:
            self._leaf(item)
            self.tests.append(f"{place} is {names(item)}")

    def _leaf(self, item: Any) -> int:
        self.leaves.append(item)
        return len(self.leaves) - 1

    def _tensor(self, item: Tensor, place: str) -> None:
        number, names, array = self._leaf(item), self.names, item._array
        x, a = f"x{number}", f"a{number}"
        requires_grad = f"{x}._requires_grad if {x}._follows is None else {x}.requires_grad"
        self.tests += [
            f"({x} := {place}).__class__ is {names(type(item), 'cls')}",
            f"({a} := {x}._array).shape == {names(array.shape, 'shape')}"
            f" and {a}.strides == {names(array.strides, 'strides')}",
            names.same(f"{a}.dtype", array.dtype),
            f"({requires_grad}) is {item.requires_grad}",
            f"({x}._node is None) is {item._node is None} and ({x}._grad is None) is {item._grad is None}"
            f" and ({x}._hooks is None) is {item._hooks is None} and {x}._inference is {item._inference}",
        ]
        if array.size:
            ends = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
            low, high = sum(e for e in ends if e < 0), sum(e for e in ends if e > 0)
            self.spans[number] = low, high + array.itemsize

    def _distinct(self) -> None:
        """Which arguments are one and the same tensor is part of what a plan was made for."""
        tensors = [i for i, leaf in enumerate(self.leaves) if isinstance(leaf, Tensor)]
        first: dict[int, int] = {}
        for i in tensors:
            earlier = first.setdefault(id(self.leaves[i]), i)
            if earlier != i:
                self.tests.append(f"x{i} is x{earlier}")
        if len(first) == 2:
            self.tests.append(" is not ".join(f"x{i}" for i in first.values()))
        elif len(first) > 2:
            self.tests.append(f"len({{{', '.join(f'id(x{i})' for i in first.values())}}}) == {len(first)}")

    # -- all the rest that the plan was made for --------------------------------------------------------

    def surroundings(self) -> None:
        """Tests that tensors, optimizers and all that was read are as they were: `BoundPlan.changed`."""
        names, binding, tests = self.names, self.binding, self.tests
        for number, tensor in binding.pins:
            tests.append(f"x{number} is {names(tensor, 'tensor')}")
        if binding.outside:
            tests += [f"id(x{number}) not in {names(binding.outside, 'outside')}" for number in binding.free]
        for tensor, array, requires_grad in self.plan.bound:
            space = names(vars(tensor), "space")
            tests += [
                f"{space}['_array'] is {names(array, 'array')}",
                self._attribute(tensor, "_requires_grad", requires_grad),
                self._attribute(tensor, "_hooks", tensor._hooks),
            ]
        for view, owner, chain in binding.views:
            tests += [self._attribute(view, "_base", owner), self._attribute(view, "_chain", chain)]
        tests += [self._attribute(tensor, "_grad", None) for tensor in binding.no_grad_yet]
        tests += [self._attribute(tensor, "_grad", grad) for tensor, grad in binding.grads_there]
        for optimizer in binding.optimizers:
            tests += optimizer.tests(names)
        if binding.guards is not None:
            tests += [row.test(names) for row in binding.guards.rows]
        self._addresses()

    def _attribute(self, tensor: Tensor, name: str, want: Any) -> str:
        """A test of a tensor's attribute: what it does not have of its own, the class says."""
        space = self.names(vars(tensor), "space")
        if name not in vars(tensor):
            return f"{name!r} not in {space}"
        return f"{space}[{name!r}] is {self.names(want)}"

    def _addresses(self) -> None:
        """Look up where the arguments lie, and test that the plan does not write there."""
        written = self.plan.written
        for _, number in self.plan.arguments:
            test = f"(s{number} := {_address(f'a{number}')}) is not None"
            if written.starts and number in self.spans:
                low, high = self.spans[number]
                start, stop = self.names(written.starts[0]), self.names(max(written.stops))
                touch = self.names(written.touch, "touch")
                test = (
                    f"((s{number} := {_address(f'a{number}')}) + {low} >= {stop}"
                    f" or s{number} + {high} <= {start}"
                    f" or not {touch}(s{number} + {low}, s{number} + {high}))"
                )
            self.tests.append(test)

    # -- the call -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Fill the table, and run the machine code."""
        plan, names, lines = self.plan, self.names, self.lines
        for i, (peek, start, stop) in enumerate(plan.providers):
            lines.append(f"if (values{i} := {names(peek, 'peek')}()) is None:")
            lines.append("    return MISSED")
            if start < stop:
                pack = names(struct.Struct(f"{stop - start}d").pack_into, "pack")
                lines.append(f"{pack}(scalars, {8 * start}, *values{i})")
        for position, number in plan.floats:
            lines.append(f"scalars[{position}] = x{number}")
        for slot, number in plan.arguments:
            lines.append(f"table[{slot}] = s{number}")
        for state, generator in plan.states:
            state, generator = names(state, "state"), names(generator, "generator")
            lines += [f"{state}[0] = {generator}.seed_value", f"{state}[1] = {generator}.offset"]
        for i, (shape, dtype) in enumerate(plan.fresh):
            lines.append(f"out{i} = empty({names(shape, 'shape')}, {names(dtype, 'dtype')})")
            lines.append(f"table[{plan.first_output + i}] = {_address(f'out{i}')}")
        entry = plan.engine.entry()
        if entry is None:
            outputs = ", ".join(f"out{i}" for i in range(len(plan.fresh)))
            slots = [(f"arrays[{slot}]", f"a{number}") for slot, number in plan.arguments]
            lines += [f"{place} = {array}" for place, array in slots]
            lines.append(f"{names(plan.engine.run, 'run')}(plan, [{outputs}])")
            lines += [f"{place} = None" for place, _ in slots]
        else:
            run, error, arena = entry
            table = plan.table_address
            lines += [
                f"if (failure := {names(run, 'run')}({table}, {arena})) is not None:",
                f"    raise {names(error, 'error')}(failure.call, failure.position, plan)",
            ]
        lines.append("plan.calls += 1")

    # -- what it leaves behind ------------------------------------------------------------------------------

    def finish(self) -> None:
        """Leave the user's objects as eager would have, and return the result: `BoundPlan._finish`."""
        binding, names, lines = self.binding, self.names, self.lines
        results = [*binding.returned, *(grad for _, grad in binding.grads)]
        if binding.recording is not None or not all(map(self._is_simple, results)):
            leaves = ", ".join(self._leaf_name(i) for i in range(len(self.leaves)))
            outputs = ", ".join(f"out{i}" for i in range(len(self.plan.fresh)))
            lines.append(f"return {names(self.plan._finish, 'finish')}([{leaves}], [{outputs}])")
            return
        lines += [f"{names(commit, 'commit')}()" for commit in self.plan.commits]
        for generator, blocks in binding.generators:
            lines.append(f"{names(generator, 'generator')}.offset += {blocks}")
        for owner, count, writer, _ in binding.written:
            lines.append(f"version = {names(vars(owner), 'space')}['_version']")
            lines += [f"version[0] += {count}", f"version[1] = {names(writer)}"]
        self.made: set[int] = set()
        for owner, grad in binding.grads:
            tensor = f"x{owner}" if isinstance(owner, int) else names(owner, "tensor")
            lines.append(f"{tensor}._grad = {self._result(grad)}")
        values = iter([self._result(item) for item in binding.returned])
        lines.append(f"whole = {self._tree(binding.shape, values)}")
        for setting in binding.settings:
            lines.append(f"{names(setting.table, 'space')}[{setting.name!r}] = {names(setting.value)}")
        lines += [f"{names(act, 'act')}()" for act in binding.postponed]
        lines.append("return whole")

    def _leaf_name(self, number: int) -> str:
        leaf = self.leaves[number]
        return f"x{number}" if isinstance(leaf, Tensor) or number in self.floats else self.names(leaf)

    def _is_simple(self, item: Returned) -> bool:
        if item.kind == "sparse":
            return all(map(self._is_simple, item.thing[:2]))
        return item.chain is None and item.kind in ("plain", "tensor", "output")

    def _result(self, item: Returned) -> str:
        """The name of one result, after the lines that make it."""
        if item.kind == "plain" or (item.kind == "tensor" and item.index < 0):
            result = self.names(item.thing)
        elif item.kind == "tensor":
            result = f"x{item.index}"
        elif item.kind == "sparse":  # its parts are results of the plan
            *parts, shape = item.thing
            index, rows = map(self._result, parts)
            result = f"{self.names(SparseGradient, 'sparse')}({index}, {rows}, {shape})"
        else:
            number = self.plan.buffer[item.index]
            result = f"t{number}"
            if number not in self.made:
                self.made.add(number)
                self.lines.append(f"{result} = wrap(out{number})")
                if item.version is not None:
                    self.lines.append(f"{result}._version[:] = {self.names(item.version)}")
        if item.node is not None:
            self.lines.append(f"{result}._node = {self.names(item.node, 'node')}")
            self.lines.append(f"{result}._requires_grad = True")
        return result

    def _tree(self, shape: Any, values: Any) -> str:
        """The results as they are nested: `tree.unflatten`."""
        if shape is None:
            return str(next(values))
        kind, parts = shape
        if kind is dict:
            return "{" + ", ".join(f"{self.names(k)}: {self._tree(part, values)}" for k, part in parts) + "}"
        items = "".join(f"{self._tree(part, values)}, " for part in parts)
        if kind is list:
            return f"[{items}]"
        return f"({items})" if kind is tuple else f"{self.names(kind, 'cls')}({items})"


def _address(array: str) -> str:
    """The address of an array's first element: see `address.py`."""
    if address is addresses.fast:
        return f"word(id({array}) + {addresses.OFFSET}).value"
    return f"address({array})"
