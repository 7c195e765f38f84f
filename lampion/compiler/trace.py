"""The trace backend: the door hands operations over to be recorded instead of computed.

While a trace runs, nothing of the user's changes: values of tensors, gradients, versions and random
states live in the trace's own tables, and what a tensor would hold now is looked up there (`read`). An
in-place write becomes a new value of the tensor that owns the storage; views of it are derived anew when
they are next read. At the end the tables say what a compiled step has to write back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from lampion.autograd.tape import Node, next_order
from lampion.compiler.address import address
from lampion.compiler.border import Border, border
from lampion.compiler.capture import CaptureError
from lampion.compiler.capture.away import Away, away_for
from lampion.compiler.capture.policy import MISSING
from lampion.compiler.graph import Graph, Value
from lampion.compiler.settings import Setting
from lampion.compiler.strides import contiguous_strides, is_contiguous, moved, overlap
from lampion.errors import unwritable
from lampion.mode import mode
from lampion.origin import where
from lampion.primitive import Primitive
from lampion.tensor import Tensor, wrap


class Tracer:
    """What a Tensor holds instead of an array while it is traced: a Value of the graph.

    Attributes:
        version: the storage's version for which this value holds.
        strides: how eager's array would lie in memory, in bytes; None where that is not known.
        base: the Tracer that it is a view of: set where eager's array would share memory.
        doubt: shared by all views of one storage: whether one of them may be a copy in eager.
        fixed: whether eager's array is read-only, since several elements may share one place.
    """

    __slots__ = ("_contiguous", "base", "doubt", "dtype", "fixed", "shape", "strides", "value", "version")

    def __init__(self, value: Value, strides: tuple[int, ...] | None, base: Tracer | None = None) -> None:
        self.value = value
        self.shape = value.shape
        self.dtype = value.dtype.numpy
        self.strides = strides
        self.base = base
        self.version = 0
        self.doubt: list[bool] = [False] if base is None else base.doubt
        self.fixed: bool = base is not None and base.fixed
        self._contiguous: bool | None = None

    @property
    def is_contiguous(self) -> bool:
        """Whether eager's array is known to lie in the order of its indices."""
        if self._contiguous is None:
            self._contiguous = self.strides is not None and is_contiguous(
                self.shape, self.strides, self.dtype.itemsize
            )
        return self._contiguous

    @is_contiguous.setter
    def is_contiguous(self, known: bool) -> None:
        self._contiguous = known

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.value.size

    def anew(self, version: int = 0) -> Tracer:
        """The same value as the contents of a storage of its own."""
        other = Tracer(self.value, contiguous_strides(self.shape, self.dtype.itemsize))
        other.version = version
        return other


class Source:
    """Where an input of the graph comes from at each call; see `bind.py`."""

    __slots__ = ("kind", "part", "thing")

    def __init__(self, kind: str, thing: Any, part: int = 0) -> None:
        self.kind = kind  # "argument", "captured", "grad", "scalar", "float" or "generator"
        self.thing = thing
        self.part = part


class Trace:
    """A recording in progress."""

    # So what is read from Python is fixed for later calls; inside of `lampion.func` it is not.
    compiles = True

    def __init__(self) -> None:
        self.graph = Graph()
        self.start = next_order()  # nodes of the tape made before belong to the outside
        self.hook: Callable[..., Any] | None = None  # the recorder's, where there is one: see `capture.away`
        # Has the recorder guard what classes of the user's say about some names.
        self.class_reads: Callable[..., None] | None = None
        self.own: dict[int, Any] = {}  # what the call has made itself: see `capture`
        self.sources: list[Source] = []
        self.arguments: dict[int, Tracer] = {}  # by id of the argument Tensor
        self.current: dict[int, Tracer] = {}  # by id of a concrete owner: its value by now
        self.lifted: list[tuple[Tensor, dict[str, Any]]] = []  # arguments, and what they were views of
        self.borders: list[Border] = []  # in the place of the nodes that arguments have
        self.owners: dict[int, Tensor] = {}  # keeps the ids in `current` valid
        self.views: dict[int, tuple[Tensor, Tracer]] = {}  # derived values of views, by id
        self.written: dict[int, Tensor] = {}  # concrete owners that were written to
        self.changed: dict[tuple[int, str], tuple[Tensor, Any]] = {}  # attributes, with their old values
        self.versions: dict[int, tuple[list[Any], int, Any]] = {}
        self.no_grad_yet: dict[int, Tensor] = {}  # tensors whose .grad was found to be None
        self.grad_owner: dict[int, Tensor] = {}  # by id of a gradient tensor: whose gradient it is
        self.grads_there: dict[int, Tensor] = {}  # those gradient tensors
        # Views that were made outside, with the owner and the movements that they had.
        self.outside_views: dict[int, tuple[Tensor, Tensor, Any]] = {}
        self.generators: dict[int, tuple[Any, Tracer, int]] = {}
        # What computes scalar inputs before a call, how many, and what counts the step after it.
        self.providers: list[tuple[Callable[[], Sequence[float] | None], int, Callable[[], None]]] = []
        self.groups: list[tuple[Any, dict[str, Any], list[Any], dict[str, Any]]] = []
        # How often each parameter was stepped in this trace, by the ids of optimizer and parameter.
        self.steps: dict[tuple[int, int], int] = {}
        self.has_loops = False  # whether there is a `scan`, whose body's tensors must stay inside
        # Schedulers that were stepped, and how to do it for real after each call.
        self.postponed: list[tuple[Any, Callable[[], Any]]] = []
        self.floats: dict[int, tuple[Tensor, int]] = {}  # what stands in for arguments, and for which
        self.options: dict[int, Any] = {}  # by id of a parameter group that was looked at: its optimizer
        self.settings: list[Setting] = []
        self.unmaking: list[Callable[[], None]] = []  # what takes back what was made for real

    # -- reading ------------------------------------------------------------------------------------

    def bind_argument(self, tensor: Tensor, position: int) -> None:
        """Make an argument of the compiled function an input, whatever it is a view of.

        What it is a view of, or was computed from, is forgotten until the trace is over, since it is another
        tensor at each call. (A plan compares the memory of what it writes with that of its arguments.)
        """
        self._lift(tensor, _VIEW if tensor._base is not None else ())
        self.arguments[id(tensor)] = self._input(tensor._array, Source("argument", None, position))
        self.arguments[id(tensor)].version = tensor._version[0]
        self.owners[id(tensor)] = tensor

    def _lift(self, tensor: Tensor, names: Sequence[str]) -> None:
        """Take attributes of a tensor away until the trace is over, and put a border in place of its node."""
        computed = tensor.requires_grad and tensor._node is not None
        before = {name: tensor.__dict__[name] for name in (*names, "_node") if name in tensor.__dict__}
        if names or computed:
            self.lifted.append((tensor, before))
        for name in names:
            tensor.__dict__.pop(name, None)
        if computed:
            node = border(tensor)
            self.borders.append(node)
            tensor._node, tensor._follows = node, None

    def _input(self, array: Any, source: Source) -> Tracer:
        value = self.graph.input(array.shape, array.dtype)
        self.sources.append(source)
        return Tracer(value, array.strides)

    def read(self, tensor: Tensor) -> Tracer:
        """What the tensor holds at this point of the trace."""
        array, version = tensor._array, tensor._version[0]
        if type(array) is Tracer and array.version == version:
            return array
        found = self.arguments.get(id(tensor))
        if found is not None:
            return found
        owner = tensor if tensor._base is None else tensor._base
        if owner is not tensor:
            return self._read_view(tensor, owner, version)
        found = self.current.get(id(tensor))
        if found is None:
            if type(array) is Tracer:
                self.refuse("uses a tensor of an earlier trace", "return tensors instead of storing them")
            self._lift(tensor, ())
            whose = self.grad_owner.get(id(tensor))
            source = Source("captured", tensor) if whose is None else Source("grad", whose)
            found = self.current[id(tensor)] = self._input(array, source)
            found.version = version
            self.owners[id(tensor)] = tensor
        return found

    def _read_view(self, tensor: Tensor, owner: Tensor, version: int) -> Tracer:
        memo = self.views.get(id(tensor))
        if memo is not None and memo[1].version == version:
            return memo[1]
        if type(tensor._array) is not Tracer:
            self._check_outside_view(tensor, owner)
        if id(owner) in self.arguments and id(owner) not in self.current:
            derived = self.arguments[id(owner)]
        else:
            derived = self.read(owner)
        for primitive, params in tensor._chain:
            derived = self.record(primitive, [derived], params)
        doubt, fixed = derived.doubt, derived.fixed
        derived = Tracer(derived.value, derived.strides, derived.base)
        derived.doubt, derived.fixed = doubt, fixed
        derived.version = version
        self.views[id(tensor)] = (tensor, derived)
        return derived

    def _check_outside_view(self, tensor: Tensor, owner: Tensor) -> None:
        """A view that was made before: its memory must be where its history says, and its tape stays out."""
        if tensor._follows is not None and tensor._seen != tensor._version[0]:
            self.refuse("uses a view whose base was written to since", "make the view anew")
        self._lift(tensor, ("_follows", "_path", "_seen"))
        array = owner._array
        for primitive, params in tensor._chain:
            array = primitive.forward(np, array, **params)
        mine = tensor._array
        if array.shape != mine.shape or array.strides != mine.strides or address(array) != address(mine):
            self.refuse(
                "uses a view of a tensor whose data was replaced", "make the view anew, or clone() it"
            )
        self.outside_views[id(tensor)] = (tensor, owner, tensor._chain)

    def read_grad(self, tensor: Tensor) -> Tensor | None:
        """The `.grad` of a tensor: the trace's own where it was set, otherwise what the user's has."""
        grad = tensor._grad
        if (id(tensor), "_grad") in self.changed or type(tensor._array) is Tracer:
            return grad
        if grad is None:
            if id(tensor) not in self.arguments:  # whether an argument has a .grad is part of its signature
                self.no_grad_yet[id(tensor)] = tensor
            return grad
        if id(tensor) in self.arguments:
            self.refuse("uses the .grad that an argument has", "set x.grad = None first, or do it outside")
        if not isinstance(grad, Tensor):
            self.refuse("uses a sparse .grad that was there before", "call zero_grad() before backward")
        before = self.grad_owner.get(id(grad))
        if before is not tensor and (
            before is not None
            or grad._base is not None
            or id(grad) in self.arguments
            or id(grad) in self.current
        ):
            self.refuse("uses a .grad that other tensors share", "clone() it before")
        self.grad_owner[id(grad)] = tensor
        self.grads_there[id(grad)] = grad
        return grad

    # -- recording ----------------------------------------------------------------------------------

    def away(self) -> Away:
        """While the core does what calls no function of the user's, nobody need watch."""
        return Away(self.hook)

    def away_for(self, primitive: Primitive) -> Away | None:
        """The same for one operation; None where it may call something, or nobody is watching."""
        return None if self.hook is None else away_for(self.hook, primitive)

    def record(self, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> Tracer:
        """Add an equation; the Tracer of its output."""
        at = where(3)
        inputs = [x.value if type(x) is Tracer else x for x in arrays]
        if primitive.kind == "movement":
            source = arrays[0]
            strides = source.strides
            if strides is None:
                strides = contiguous_strides(source.shape, source.dtype.itemsize)
            shape, out_strides, start, dtype = moved(primitive, params, source.shape, strides, source.dtype)
            value = self.graph.add(primitive, inputs, params, shape, dtype, at)
            # A fresh result of several non-contiguous inputs lies in memory as NumPy sees fit: whether
            # eager's reshape of it copies is not known, so it counts as shared, and is never written to.
            out = Tracer(
                value,
                out_strides if source.strides is not None else None,
                source if start is not None else None,
            )
            if source.strides is None:
                out.base, out.doubt = source, source.doubt
                if primitive.name == "reshape":
                    out.doubt[0] = True
            stretched = primitive.name in _STRETCHING and overlap(shape, out_strides, value.dtype.itemsize)
            out.fixed = out.base is not None and (source.fixed or stretched)
            return out
        shape, dtype = primitive.infer(*arrays, **params)
        value = self.graph.add(primitive, inputs, params, shape, dtype, at)
        plain = True
        for x in arrays:
            if type(x) is Tracer and len(x.shape) > 1 and not x.is_contiguous:
                plain = False
        if plain or primitive.name in _ALWAYS_CONTIGUOUS:
            out = Tracer(value, contiguous_strides(value.shape, value.dtype.itemsize))
            out.is_contiguous = True
            return out
        return Tracer(value, _kept_order(arrays, value))

    def constant(self, array: Any) -> Tracer:
        """A Tracer of an array that is the same at every call."""
        value = self.graph.constant(array)
        return Tracer(value, array.strides)

    def is_contiguous(self, tensor: Tensor) -> bool:
        """Whether eager's array would be contiguous, where that is known."""
        tracer = self.read(tensor)
        if tracer.strides is None:
            self.refuse("asks how a tensor lies in memory", "clone() it before")
        return is_contiguous(tracer.shape, tracer.strides, tracer.dtype.itemsize)

    def fresh(self, tensor: Tensor) -> Tensor:
        """A tensor of the same value with a storage of its own, and no history."""
        return wrap(self.read(tensor).anew())

    # -- effects ------------------------------------------------------------------------------------

    def write(self, tensor: Tensor, value: Tensor) -> None:
        """The tensor's memory now holds `value`; called just before its version is raised."""
        owner = tensor if tensor._base is None else tensor._base
        if mode.grad and type(owner._array) is not Tracer and (tensor.requires_grad or value.requires_grad):
            self.refuse("writes a result with a graph into a tensor made outside", "detach() it first")
        new = self.read(value)
        if self.read(tensor).fixed:
            raise unwritable(tensor.shape)
        if tensor._base is not None:
            if self.read(tensor).strides is None:
                self.refuse("writes through a view of which eager might have made a copy", "clone() it first")
            from lampion.ops.movement import put

            new = self.record(put.primitive, [self.read(owner), new], {"chain": tensor._chain})
        version = owner._version[0]
        self.versions.setdefault(id(owner._version), (owner._version, version, owner._version[1]))
        old = self.read(owner)  # makes it an input, if it was not one
        if old.doubt[0]:
            self.refuse("writes to a tensor of which eager might have made a copy before", "clone() it first")
        new = Tracer(new.value, old.strides)  # new contents, in the same place
        new.version = version + 1
        if type(owner._array) is Tracer:
            owner._array = new
            return
        if id(owner) in self.arguments:
            self.arguments[id(owner)] = new
        else:
            self.current[id(owner)] = new
        self.written[id(owner)] = owner

    def made(self, thing: Any) -> None:
        """An object that the core made for the function in this call: the function may change it."""
        self.own[id(thing)] = thing

    def asks(self, cls: type, *names: str) -> None:
        """The core looks up methods in a class of the user's."""
        if self.class_reads is not None:
            self.class_reads(cls, *names)

    def if_given_up(self, act: Callable[[], None]) -> None:
        """Have this done if no plan comes of the trace: something is about to be made for real."""
        self.unmaking.append(act)

    def give_up(self) -> None:
        """No plan came of it: what was made for real goes again."""
        for act in reversed(self.unmaking):
            act()

    def known(self, tensor: Tensor, what: str, fix: str) -> NoReturn:
        """The values of a tensor: there are none."""
        self.refuse(what, fix)

    def show(self, tensor: Tensor) -> NoReturn:
        """The text of a tensor: it would have to have values."""
        self.refuse("prints a tensor", "return it, and print it outside of the compiled function")

    def grad_switched(self, enabled: bool) -> None:
        """The user switched recording on or off; the trace has nothing to keep in step."""

    def outside_hooks(self, leaf: Tensor) -> None:
        """Hooks of a tensor made outside are about to be called: a plan would not notice that they change."""
        if type(leaf._array) is not Tracer:
            self.refuse("calls the hooks of a leaf tensor", "remove them, or leave this step eager")

    def walks(self, nodes: list[Node]) -> None:
        """A backward pass goes through these nodes, latest first: all must have been recorded in here."""
        if nodes[-1].order < self.start:
            self.refuse("goes back through a graph that was recorded outside", "compute the loss inside")

    def changing(self, tensor: Tensor, attribute: str) -> None:
        """An attribute of the tensor is about to be set: remember what it was."""
        old = tensor.__dict__.get(attribute)
        self.changed.setdefault((id(tensor), attribute), (tensor, old))

    def draw(self, generator: Any, blocks: int) -> tuple[Tensor, int]:
        """The state of a generator as an input, and how many blocks the trace has drawn from it so far."""
        found = self.generators.get(id(generator))
        if found is None:
            found = (generator, self._input(generator.array(), Source("generator", generator)), 0)
        _, state, drawn = found
        self.generators[id(generator)] = (generator, state, drawn + blocks)
        return wrap(state), drawn

    def host_scalars(
        self, names: Sequence[str], peek: Callable[[], Sequence[float] | None], commit: Callable[[], None]
    ) -> dict[str, Tensor]:
        """Float64 inputs that `peek` computes in Python before each call; `commit` follows a good one."""
        number = len(self.providers)
        self.providers.append((peek, len(names), commit))
        scalars = {}
        for part, name in enumerate(names):
            tracer = self._input(np.empty((), np.float64), Source("scalar", number, part))
            scalars[name] = wrap(tracer)
            scalars[name]._weak = True  # like a Python number, it never changes the type of a tensor
        return scalars

    def float_argument(self, number: int) -> Tensor:
        """A scalar that stands in for an argument, a float."""
        scalar = wrap(self._input(np.empty((), np.float64), Source("float", None, number)))
        scalar._weak = True
        self.floats[id(scalar)] = scalar, number
        return scalar

    def sets(self, group: dict[str, Any], name: str, value: Any) -> bool:
        """An option, or an attribute, is about to be set: whether later calls can do that, too."""
        optimizer = self.options.get(id(group))
        if optimizer is None:
            if id(value) in self.floats:
                return False
            self.settings.append(Setting(group, name, value, None, False, group.get(name, MISSING)))
            return True
        number = self.floats[id(value)][1] if id(value) in self.floats else None
        plain = type(value) in (int, float) or number is not None
        if not plain or type(group.get(name)) not in (int, float):
            return False
        if name in (*optimizer.flags, *optimizer.switches):
            return False
        if any(scheduler.optimizer is optimizer for scheduler, _ in self.postponed):
            return False
        before = not any(who is optimizer for who, _, _, _ in self.groups)
        self.settings.append(Setting(group, name, value, number, before, group[name]))
        return True

    def guard_group(self, optimizer: Any, group: dict[str, Any], params: list[Tensor]) -> None:
        """The options that the update rule branches on, and the members, must be the same at each call."""
        if any(scheduler.optimizer is optimizer for scheduler, _ in self.postponed):
            self.refuse("steps an optimizer after its learning-rate scheduler", "step the scheduler last")
        if any(not s.before and self.options.get(id(s.table)) is optimizer for s in self.settings):
            self.refuse("steps an optimizer again after one of its options was set", "step it once in a call")
        flags = {name: group[name] for name in optimizer.flags}
        self.groups.append((optimizer, group, list(group["params"]), flags))

    def postpone(self, scheduler: Any, act: Callable[[], Any]) -> None:
        """A scheduler is stepped: in Python, when a call is over."""
        self.postponed.append((scheduler, act))

    def refuse(self, what: str, fix: str, once: bool = False) -> NoReturn:
        """Give up tracing: the function then runs eagerly, or does so `once`, where that puts it right."""
        at = where(2)
        raise CaptureError(what, at.code.co_filename if at else "<unknown>", at.line if at else 0, fix, once)

    def restore(self) -> None:
        """Put back every attribute and version that the trace changed."""
        for tensor, attributes in self.lifted:
            tensor.__dict__.update(attributes)
        for (_, attribute), (tensor, old) in self.changed.items():
            if old is None:
                tensor.__dict__.pop(attribute, None)
            else:
                tensor.__dict__[attribute] = old
        for storage, version, at in self.versions.values():
            storage[0], storage[1] = version, at
        for setting in reversed(self.settings):
            setting.undo()


#: What makes a tensor a view.
_VIEW = ("_base", "_chain", "_follows", "_path", "_seen")
#: Movements that may let several elements share one place: then eager's array is read-only.
_STRETCHING = frozenset({"broadcast_to", "windows", "strided"})
#: Kernels whose results lie in order whatever their inputs do; cat and gather keep those' order.
_ALWAYS_CONTIGUOUS = frozenset({
    "full", "matmul", "put", "scatter_add", "random_bits", "index", "index_put", "scatter", "scatter_combine",
    "unview", "first_nonzero", "coordinates", "attention", "attention_slopes",
})  # fmt: skip


def _kept_order(arrays: Sequence[Any], value: Value) -> tuple[int, ...] | None:
    """The strides of a result of one non-contiguous array: NumPy keeps the order of its axes. With
    several arrays the choice is NumPy's own business, and not known here.
    """
    tensors = [x for x in arrays if type(x) is Tracer and x.ndim]
    if len(tensors) != 1:
        return None
    x, old = tensors[0], tensors[0].strides
    if old is None or x.shape != value.shape:
        return None
    if any(stride == 0 and n > 1 for stride, n in zip(old, x.shape, strict=True)):
        return None
    axes = sorted(range(x.ndim), key=lambda axis: -abs(old[axis]))
    strides, step = [0] * x.ndim, value.dtype.itemsize
    for axis in reversed(axes):
        strides[axis] = step
        step *= max(1, value.shape[axis])
    return tuple(strides)
