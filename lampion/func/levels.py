"""Levels: interpreters that stand at the one door, inside of a transform, and read each operation anew.

`vmap` and `jvp` run a function with `mode.trace` set to a level of their own. What the function's tensors
hold there is no array but something richer, a `Lifted`: a batch of arrays, an array with its tangent. The
door hands each primitive to the level, which does what has to be done in operations on Tensors of the level
outside, through the same door. So levels nest in any order, and the tape needs to know nothing of them: at
each level it records that level's operations.

This file has what all levels share: reading, writing, views, and what happens to tensors from outside.
Values inside are never changed: an in-place write makes a new value, views are derived from it when they are
next read, and what it did to tensors from outside is carried out at the end.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from lampion import ops as operations
from lampion.autograd.tape import Node
from lampion.errors import LampionError, unwritable
from lampion.mode import known, mode
from lampion.tensor import Tensor, wrap

if TYPE_CHECKING:
    from lampion.primitive import Primitive


#: The operations, without their types: the stubs know one name by one type, and a few of these have others.
ops: Any = operations


class Lifted:
    """What a Tensor holds inside of a level, where there would be an array.

    Attributes:
        shape, dtype: as the function inside sees them.
        level: whose value this is.
        base: the value that this one is a view of.
        doubt: shared by all views of one storage: whether one of them may be a copy in another reading.
        fixed: whether several elements may share one place, so that it is not written to.
        version: the storage's version for which this value holds.
    """

    __slots__ = ("base", "doubt", "dtype", "fixed", "level", "shape", "version")
    strides = None  # how it lies in memory is not known

    def __init__(self, level: Level, shape: tuple[int, ...], dtype: Any) -> None:
        self.level = level
        self.shape = shape
        self.dtype = dtype
        self.base: Lifted | None = None
        self.doubt = [False]
        self.fixed = False
        self.version = 0

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def again(self) -> Lifted:
        """The same value as the contents of a storage of its own."""
        raise NotImplementedError

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise LampionError(
            self.level.name, f"a tensor of the inside of {self.level.name} is used outside of it",
            fix="return it from the function, instead of storing it",
        )  # fmt: skip


class Level:
    """One transform at work. A ``with`` block: inside, the door hands every operation to `record`."""

    name = "level"

    def __init__(self) -> None:
        self.outer: Any = mode.trace
        self.grad = mode.grad  # whether operations are recorded at the level outside
        self.compiles: bool = self.outer is not None and self.outer.compiles
        self.start = 0  # nodes of the tape made before belong to levels outside
        self.gradients = 0  # how many `grad` transforms of the inside are at work
        self.current: dict[int, tuple[Tensor, Lifted]] = {}  # tensors from outside that were written to
        self.versions: dict[int, tuple[list[Any], int, Any]] = {}
        self.arguments: list[tuple[Tensor, Tensor, Lifted]] = []  # inside, outside, the value at first

    def __enter__(self) -> Any:
        from lampion.autograd.tape import next_order

        self.start = next_order()
        self.before = mode.grad
        mode.trace = self  # type: ignore[assignment]  # it answers to what the door asks a Trace
        return self

    def __exit__(self, *exception: object) -> None:
        mode.trace, mode.grad = self.outer, self.before
        for storage, version, at in self.versions.values():
            storage[0], storage[1] = version, at

    def outside(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function as if at the level outside."""
        scope = mode.trace, mode.grad
        mode.trace, mode.grad = self.outer, self.grad
        try:
            return function(*args)
        finally:
            mode.trace, mode.grad = scope

    # -- what a level defines ----------------------------------------------------------------------------

    def lift(self, tensor: Tensor) -> Lifted:
        """A tensor from outside as a value in here. Called at the level outside."""
        raise NotImplementedError

    def rule(self, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> Lifted:
        """One operation. Called at the level outside."""
        raise NotImplementedError

    def lower(self, lifted: Lifted, tensor: Tensor) -> Tensor:
        """The value that a tensor from outside has in the end. Called at the level outside."""
        raise NotImplementedError

    # -- what the door asks --------------------------------------------------------------------------------

    def away(self) -> Any:
        """While the core works by itself, nobody need watch, if anybody does."""
        return contextlib.nullcontext() if self.outer is None else self.outer.away()

    def away_for(self, primitive: Primitive) -> Any:
        """The same for one operation, some of which may be the user's."""
        return None

    def owns(self, array: Any) -> bool:
        """Whether this is a value of this level."""
        return isinstance(array, Lifted) and array.level is self

    def read(self, tensor: Tensor) -> Any:
        """What the tensor holds now."""
        array, version = tensor._array, tensor._version[0]
        mine = self.owns(array)
        if mine and array.version == version:
            return array
        owner = tensor if tensor._base is None else tensor._base
        written = self.current.get(id(owner))
        if written is None and not mine:
            lifted: Lifted = self.outside(self.lift, tensor)
            lifted.version = version
            return lifted
        if owner is tensor:
            assert written is not None
            return written[1]
        derived = self.read(owner)
        doubt, fixed, base = derived.doubt, derived.fixed, derived
        for primitive, params in tensor._chain:
            derived = self.record(primitive, [derived], params)
            fixed = fixed or derived.fixed
        derived = derived.again()
        derived.base, derived.doubt, derived.fixed, derived.version = base, doubt, fixed, version
        return derived

    def record(self, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> Lifted:
        """One operation on values of this level."""
        out: Lifted = self.outside(self.rule, primitive, arrays, params)
        if primitive.is_movement:
            source = arrays[0]
            out.base, out.doubt = source, source.doubt
            out.fixed = source.fixed or primitive.name == "broadcast_to"
            if primitive.name == "reshape" and not self.is_view(out):
                out.doubt[0] = True
        return out

    def is_view(self, lifted: Lifted) -> bool:
        """Whether a reshape at the level outside could do without a copy."""
        raise NotImplementedError

    def write(self, tensor: Tensor, value: Tensor) -> None:
        """The tensor's memory now holds `value`; called just before its version is raised."""
        owner = tensor if tensor._base is None else tensor._base
        new, old = self.read(value), self.read(tensor)
        if old.fixed:
            raise unwritable(tensor.shape)
        whole = self.read(owner)
        if whole.doubt[0]:
            self.refuse("writes to a tensor of which there may be a copy or a view", "clone() it first")
        if owner is not tensor:
            from lampion.ops.movement import put

            new = self.record(put.primitive, [whole, new], {"chain": tensor._chain})
        new = new.again()
        version = owner._version[0]
        new.version = version + 1
        new.doubt = whole.doubt
        if self.owns(owner._array):
            owner._array = new
        else:
            storage = owner._version
            self.versions.setdefault(id(storage), (storage, version, storage[1]))
            self.current[id(owner)] = (owner, new)

    def fresh(self, tensor: Tensor) -> Tensor:
        """A tensor of the same value with a storage of its own, and no history."""
        return wrap(self.read(tensor).again())

    def constant(self, array: Any) -> Any:
        """An array as a value in here: the same for all."""

        def lifted() -> Lifted:
            return self.lift(wrap(array if self.outer is None else self.outer.constant(array)))

        return self.outside(lifted)

    def draw(self, generator: Any, blocks: int) -> tuple[Tensor, int]:
        """The state of a generator, and how far after it to start, for that many blocks of numbers."""
        return self.outside(draw_outside, generator, blocks)  # type: ignore[no-any-return]  # a call by name

    def read_grad(self, tensor: Tensor) -> Tensor | None:
        """The `.grad` of a tensor."""
        return tensor._grad

    def changing(self, tensor: Tensor, attribute: str) -> None:
        """An attribute of the tensor is about to be set."""
        if not self.owns(tensor._array):
            what = {"_grad": "changes the .grad", "_requires_grad": "changes requires_grad"}.get(
                attribute, "registers a hook"
            )
            self.refuse(f"{what} of a tensor made outside", "use lampion.func.grad inside of transforms")

    def outside_hooks(self, leaf: Tensor) -> None:
        """The hooks of a leaf are called: nothing to see to."""

    def walks(self, nodes: list[Node]) -> None:
        """A backward pass goes through these nodes, latest first."""
        if self.outer is not None:
            self.outer.walks(nodes)

    def grad_switched(self, enabled: bool) -> None:
        """The user switched recording on or off. It holds for the level outside too, unless it is meant for
        the derivative that is being taken inside.
        """
        if not self.gradients:
            self.grad = enabled
            if self.outer is not None:
                self.outer.grad_switched(enabled)

    def host_scalars(self, *_: Any) -> NoReturn:
        self.refuse("steps an optimizer", "step it outside, or write the update as a function")

    guard_group = host_scalars

    def made(self, thing: Any) -> None:
        """An object that the core made for the function."""
        if self.outer is not None:
            self.outer.made(thing)

    def asks(self, cls: type, *names: str) -> None:
        """The core looks up methods in a class of the user's."""
        if self.outer is not None:
            self.outer.asks(cls, *names)

    def if_given_up(self, act: Callable[[], None]) -> None:
        """Something is about to be made for real: to be taken back if nothing comes of it."""
        if self.outer is not None:
            self.outer.if_given_up(act)

    def known(self, tensor: Tensor, what: str, fix: str) -> Any:
        """The array behind a tensor, where there is one: for looking at its values."""
        plain = self.plain(self.read(tensor))
        if plain is None:
            self.refuse(what, fix)
        return self.outside(known, plain, what, fix)

    def plain(self, lifted: Any) -> Tensor | None:
        """The one Tensor of the level outside that has the values of this one, if there is one."""
        raise NotImplementedError

    def show(self, tensor: Tensor) -> str:
        """The text of a tensor in here."""
        lifted: Any = self.read(tensor)
        parts = {name: getattr(lifted, name) for name in type(lifted).__slots__}
        texts = [f"{name}={self.outside(repr, part)}" for name, part in parts.items()]
        return f"{type(lifted).__name__}({', '.join(texts)})"

    def refuse(self, what: str, fix: str, once: bool = False) -> NoReturn:
        """Say what cannot be done inside of this transform."""
        raise LampionError(self.name, f"the function {what}", fix=fix)

    # -- the end -------------------------------------------------------------------------------------------

    def argument(self, tensor: Tensor, lifted: Lifted) -> Tensor:
        """A tensor of the inside that stands for an argument."""
        inside = wrap(lifted)
        self.arguments.append((inside, tensor, lifted))
        return inside

    def carry_out(self) -> None:
        """Do to the tensors outside what in-place operations did to them in here. Called outside."""
        for inside, tensor, first in self.arguments:
            if inside._array is not first:
                tensor.copy_(self.lower(inside._array, tensor))
        for tensor, lifted in self.current.values():
            tensor.copy_(self.lower(lifted, tensor))

    def is_outside(self, edge: Any) -> bool:
        """Whether a place on the tape belongs to a level outside."""
        if isinstance(edge, Node):
            return edge.order < self.start
        return not self.owns(edge._array)


def draw_outside(generator: Any, blocks: int) -> tuple[Tensor, int]:
    """What a generator does where no level is in the way."""
    from lampion.ops import random

    if mode.trace is not None:
        return mode.trace.draw(generator, blocks)
    with random._drawing:
        state = generator.array()
        generator.offset += blocks
    return wrap(state), 0
