"""Tensor: what a user holds. An array, and what autograd needs to know about it.

This file has the state and the rules of sharing: views, in-place writes, leaves. What a tensor shows of
its array is in `contents.py`. The operations are in `lampion/ops`, which also hangs them on this class as
methods and operators (`ops/methods.py`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from lampion import dtype as dtypes
from lampion.contents import Contents
from lampion.errors import DTypeError, GradientError, InplaceError, ShapeError, unwritable
from lampion.hooks import Differentiable, keep_retaining
from lampion.mode import mode
from lampion.origin import Where, where

if TYPE_CHECKING:
    from lampion.autograd.tape import Node
    from lampion.debug.origins import Origin
    from lampion.ops.methods import TensorMethods as _Methods  # a stub: see scripts/stubs.py
    from lampion.primitive import Primitive
else:
    _Methods = object


class Tensor(Contents, Differentiable, _Methods):
    """An n-dimensional array that remembers how it was computed.

    Made by `lampion.tensor`, `lampion.zeros`, ... and by operations; attributes and methods carry
    PyTorch's names.

    >>> import lampion
    >>> x = lampion.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    # Defaults live on the class: making a tensor then sets two attributes instead of nine.
    _version: list[Any]  # [writes so far, the line of the last one]; shared by all views of one storage
    _node: Node | None = None  # what made it; None for a leaf
    _requires_grad: bool = False
    _grad: Tensor | None = None
    # A view knows the tensor that owns the storage, and the movements that lead from there to here.
    _base: Tensor | None = None
    _chain: tuple[tuple[Primitive, dict[str, Any]], ...] = ()
    # And the tensor whose history it shares, with the movements from that one: the owner, or what was
    # detached from it. None where no history is shared: detach(), views made under no_grad().
    _follows: Tensor | None = None
    _path: tuple[tuple[Primitive, dict[str, Any]], ...] = ()
    _weak: bool = False  # a traced scalar that promotes as a Python number does
    _seen: int = 0  # the storage's version when `_node` was last derived from the one it follows

    __array_priority__ = 1000  # so that `numpy_array * tensor` asks Tensor first

    def __init__(self, *data: Any, requires_grad: bool = False) -> None:
        """Floats, as in PyTorch: ``Tensor([1, 2])``, or sizes: ``Tensor(2, 3)``."""
        values = np.zeros(data) if data and all(type(n) is int for n in data) else data[0] if data else ()
        source = tensor(values, dtype=dtypes.get_default_dtype())
        self._array = source._array
        self._version = source._version
        self.requires_grad = requires_grad

    # -- autograd ----------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded for back-propagation."""
        if self._follows is not None:
            self._edge()  # a write to the base may have changed this view's history
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch recording on or off for a leaf; returns the tensor itself."""
        if requires_grad and not self.dtype.is_inexact:
            raise DTypeError("requires_grad_", "only floating and complex tensors have gradients",
                             got=str(self.dtype),
                             fix="create it from floats, or convert: x.float()")  # fmt: skip
        if requires_grad and self._inference and not mode.inference:
            self._refuse_inference("requires_grad_", "differentiated with respect to")
        if not requires_grad and self._node is not None:
            raise GradientError("requires_grad_", "a computed tensor's flag follows from its inputs",
                                fix="use x.detach() for a copy without history")  # fmt: skip
        if mode.trace is not None:
            mode.trace.changing(self, "_requires_grad")
        if requires_grad and self._node is None:
            self._follows, self._path = None, ()  # from here on a leaf of its own, also where it is a view
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether this tensor was made by the user rather than by a recorded operation."""
        return self._edge() is self or not self._requires_grad

    @property
    def grad_fn(self) -> Node | None:
        """The recorded operation that made this tensor; None for a leaf."""
        self._edge()
        return self._node

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has accumulated here, or None."""
        return self._grad if mode.trace is None else mode.trace.read_grad(self)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and (value.shape != self.shape or value.dtype is not self.dtype):
            raise ShapeError("grad", "a gradient has the shape and dtype of its tensor",
                             expected=f"{tuple(self.shape)}, {self.dtype}",
                             got=f"{tuple(value.shape)}, {value.dtype}")  # fmt: skip
        if mode.trace is not None:
            mode.trace.changing(self, "_grad")
        self._grad = value

    def detach(self) -> Tensor:
        """The same data without history. Shares memory, and in-place changes are seen by both."""
        result = wrap(self._array if mode.trace is None else mode.trace.read(self))
        result._become_view(self)
        return result

    def detach_(self) -> Tensor:
        """Cut this tensor itself off from what it was computed from."""
        if self._follows is not None:
            raise InplaceError("detach_", "a view cannot be cut off from its base", got=repr(self.shape),
                               fix="use detach(), which makes a new tensor")  # fmt: skip
        if mode.trace is not None:
            mode.trace.refuse("detaches a tensor in place", "use x = x.detach()")
        self._node, self._requires_grad = None, False
        return self

    def set_(self, source: Tensor) -> Tensor:
        """Take over the memory, shape and type of another tensor."""
        self.data = source
        return self

    def _edge(self) -> Any:
        """Where a gradient of this tensor goes: its node, itself for a leaf, None where not needed."""
        if self._follows is not None and self._seen != self._version[0]:
            self._derive_history()
        if self._node is not None:
            return self._node
        return self if self._requires_grad else None

    def _derive_history(self) -> None:
        """Derive the history of a view anew: its storage was written to since."""
        assert self._follows is not None
        from lampion.ops.movement import check_same_memory
        from lampion.primitive import apply

        check_same_memory("view", self._follows)
        previous, mode.grad = mode.grad, True
        try:
            current = self._follows
            for primitive, params in self._path:
                current = apply(primitive, current, **params)
        finally:
            mode.grad = previous
        self._node = current._node
        self._requires_grad = current._requires_grad
        self._seen = self._version[0]

    # -- sharing and writing -------------------------------------------------------------------------

    @property
    def data(self) -> Tensor:
        """The same data without history. Assigning replaces the data of this tensor."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if value._version is self._version and value._chain == self._chain:
            return  # `p.data -= x` ends by assigning p.data to itself
        if mode.trace is not None:
            mode.trace.refuse("assigns to .data", "write into the tensor instead: p.copy_(value)")
        self._array = value._array
        self._version = value._version
        self._base = value if value._base is None else value._base
        self._chain, self._follows, self._path = value._chain, None, ()

    def _become_view(self, source: Tensor, step: tuple[Primitive, dict[str, Any]] | None = None) -> None:
        """Note that this tensor looks into the memory of `source`, through one movement more."""
        version = self._version = source._version
        self._seen = version[0]
        if self._inference:
            self._inference = source._inference
        base = source._base
        if step is None:  # detach(): the same elements, and a history of its own
            self._base, self._chain = source if base is None else base, source._chain
            return
        if base is None:
            self._base, self._chain = source, (step,)
        else:
            self._base, self._chain = base, (*source._chain, step)
        if not mode.grad:
            return
        if source._follows is not None:
            self._follows, self._path = source._follows, (*source._path, step)
        elif base is None or source._chain == ():
            self._follows, self._path = source, (step,)

    def _overwrite(self, value: Tensor, at: Where | None) -> None:
        """Put `value` into this tensor's memory. No history: see `_assign`."""
        if mode.trace is not None:
            mode.trace.write(self, value)
        else:
            if not self._array.flags.writeable:
                raise unwritable(self.shape)
            self._array[...] = value._array
        self._version[0] += 1
        self._version[1] = at

    def _assign(self, value: Tensor, operation: str) -> Tensor:
        """The second half of every in-place operation: write the result, and take over its history."""
        if value.shape != self.shape:
            raise ShapeError(operation, "the result does not fit into the tensor that it is written to",
                             expected=f"a result of shape {tuple(self.shape)}", got=str(tuple(value.shape)),
                             fix="use the out-of-place form")  # fmt: skip
        if value.dtype is not self.dtype:
            if dtypes.rank(value.dtype.kind) > dtypes.rank(self.dtype.kind):
                raise DTypeError(operation, f"a result of {value.dtype} cannot be written into {self.dtype}",
                                 fix="use the out-of-place form, or convert the tensor first")  # fmt: skip
            value = value.to(self.dtype)
        if self._inference and not mode.inference:
            self._refuse_inference(operation, "changed in place")
        tracked = mode.grad and (self.requires_grad or value.requires_grad)
        base = self._follows
        if tracked:
            self._check_inplace(operation, base)
            if value._node is not None:
                self._keep_original(value._node)
        self._overwrite(value, where())
        if not tracked:
            return self
        if base is None:
            if self._node is not None and self._node.hooks is not None:
                keep_retaining(self, self._node, value._node)
            self._node, self._requires_grad = value._node, True
        else:
            from lampion.ops.movement import note_put

            note_put(base, value, self._path)
        return self

    def _keep_original(self, node: Node) -> None:
        """Give the gradient of an in-place operation a copy of what is about to be overwritten."""
        for position, version in enumerate(node.versions):
            if version is not None and version[0] is self._version and node.saved is not None:
                if mode.trace is None and node.saved[position] is not None:
                    node.saved[position] = node.saved[position].copy()
                node.versions[position] = ([version[1], None], version[1])

    def _check_inplace(self, operation: str, base: Tensor | None) -> None:
        owner = self if base is None else base
        if base is not None and base._chain:
            from lampion.ops.movement import check_same_memory

            check_same_memory(operation, base)
        if owner._requires_grad and owner._node is None:
            what = "a leaf that requires a gradient" if base is None else "a view of such a leaf"
            raise InplaceError(
                operation, f"{what} cannot be changed in place while gradients are recorded",
                got=f"a tensor of shape {tuple(self.shape)}",
                fix="wrap the update in `with lampion.no_grad():`, or use the out-of-place form",
            )  # fmt: skip
        if self._base is not None and self._chain and base is None and self._base.requires_grad:
            raise InplaceError(
                operation, "this view was made under no_grad(), and its base requires a gradient",
                fix="make the view while gradients are recorded, or write under no_grad() too",
            )  # fmt: skip

    def _owned(self) -> Tensor:
        """This tensor if nothing else refers to its memory, otherwise a copy: what `.grad` may keep."""
        if mode.trace is not None:
            return mode.trace.fresh(self)
        if not _is_unshared(self):
            return wrap(self._array.copy())
        return wrap(self._array)

    def _released(self) -> Tensor:
        """The same array in a tensor that owns it: for a result that nothing else can reach."""
        return wrap(self._array) if mode.trace is None else mode.trace.fresh(self)

    def origin(self) -> Origin | None:
        """Which operation made this tensor, at which line of the program; None for a leaf.

        Of what is not on the tape (computed under `no_grad`, say) it is known inside of a
        `lampion.debug.origins()` block only.

        >>> import lampion
        >>> x = lampion.ones(2, requires_grad=True)
        >>> (x * 3).origin().operation
        'mul'
        """
        from lampion.debug.origins import origin_of

        return origin_of(self)

    # -- copies ------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._node is not None:
            raise GradientError("copy between processes", "only leaf tensors can be sent",
                                fix="use x.detach()")  # fmt: skip
        extra = {k: v for k, v in self.__dict__.items() if not k.startswith("_")}
        return _received, (type(self), np.array(self._array), self._requires_grad, self._grad, extra)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise GradientError("deepcopy", "only leaf tensors can be copied with copy.deepcopy",
                                fix="use x.detach().clone()")  # fmt: skip
        result = type(self).__new__(type(self))
        memo[id(self)] = result
        result.__dict__.update({k: v for k, v in self.__dict__.items() if not k.startswith("_")})
        result._array = self._array.copy()
        result._version = [0, None]
        result._requires_grad = self._requires_grad
        if self._grad is not None:
            result._grad = self._grad.detach().clone()
        return result

    __copy__ = detach

    if not TYPE_CHECKING:  # which would believe that a tensor has every attribute

        def __getattr__(self, name: str) -> Any:
            """Called only where there is no such attribute: the message says what to use instead."""
            from lampion.absent import missing_method

            raise AttributeError(missing_method(type(self).__name__, name), name=name, obj=self)


_new = object.__new__


def _received(
    cls: type[Tensor], array: Any, requires_grad: bool, grad: Tensor | None, extra: dict[str, Any]
) -> Tensor:
    """A tensor that arrives from another process: `Tensor.__reduce_ex__` sent it."""
    result = _new(cls)
    result._array, result._version = array, [0, None]
    result._requires_grad, result._grad = requires_grad, grad
    result.__dict__.update(extra)
    return result


def wrap(array: Any) -> Tensor:
    """A Tensor around an array, without checks or copy: how the door hands results out."""
    result: Tensor = _new(Tensor)
    result._array = array
    result._version = [0, None]
    result._requires_grad, result._inference = False, mode.inference  # see `apply`
    result._node = result._follows = None
    return result


def _is_unshared(x: Tensor) -> bool:
    """Whether `x` and its array are referred to by nothing but the caller's variable.

    Compares reference counts with those of a tensor known to be fresh, measured through this very
    function at import, since the numbers differ between Python versions.
    """
    array = x._array
    owner = array if array.base is None else array.base
    if not (array.flags.c_contiguous and array.flags.writeable and type(owner) is type(array)):
        return False
    if owner.size != array.size or owner.base is not None:
        return False
    held = array is not owner  # where they are one object, the name `owner` is one reference more
    counts = (sys.getrefcount(x), sys.getrefcount(array) - (not held), sys.getrefcount(owner) if held else 0)
    base = x._base
    if held and base is not None and base._array is owner and sys.getrefcount(base) <= _UNSHARED[3]:
        counts = (*counts[:2], counts[2] - 1)  # the view's own base, which nothing else knows
    return all(count <= limit for count, limit in zip(counts, _UNSHARED[:3], strict=True))


def _calibrate() -> tuple[int, int, int, int]:
    """The reference counts that `_is_unshared` sees for a gradient that only the tape's walk holds."""
    seen: list[tuple[int, int, int, int]] = []

    class Probe(Tensor):
        def _owned(self) -> Tensor:
            look(self)
            return self

    def look(x: Tensor) -> None:
        array = x._array
        owner = array.base
        base = x._base
        seen.append(
            (sys.getrefcount(x), sys.getrefcount(array), sys.getrefcount(owner), sys.getrefcount(base))
        )

    def accumulate(gradient: Tensor) -> Tensor:
        return gradient._owned()

    table = {0: _new(Probe)}
    table[0]._array = np.ones((2, 3)).T
    table[0]._base = _new(Tensor)
    accumulate(table.pop(0))
    return seen[0]


_UNSHARED = _calibrate()


# What makes tensors from data stands in a file of its own, and needs the class: hence here, at the end.
from lampion.construct import (  # noqa: E402
    as_tensor,
    asarray,
    check_device,
    from_dlpack,
    from_numpy,
    frombuffer,
    ones_like,
    tensor,
)  # fmt: skip

__all__ = [
    "Tensor", "as_tensor", "asarray", "check_device", "from_dlpack", "from_numpy", "frombuffer", "ones_like",
    "tensor", "wrap",
]  # fmt: skip
