"""`autograd.Function`: an operation with a gradient that its author writes.

On the tape a Function is one node, as any operation is. One with several outputs is a node with one more
for each output on top of it: such an *item* hands the gradient of its output down in a `Bundle`, and where
bundles meet they are merged, so that the Function's node sees all of its outputs' gradients at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from lampion.autograd.graph import with_history
from lampion.autograd.tape import Node, new_node
from lampion.errors import GradientError, LampionError, OverwrittenError
from lampion.mode import mode
from lampion.tensor import Tensor, wrap

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class Bundle:
    """The gradients that have arrived so far at a Function with several outputs, by output."""

    _array = SimpleNamespace(shape=(), dtype=SimpleNamespace(kind="bundle"))  # all that the walk asks for

    def __init__(self, parts: dict[int, Tensor]) -> None:
        self.parts = parts

    def merged(self, other: Bundle) -> Bundle:
        """Both together."""
        parts = dict(self.parts)
        for position, gradient in other.parts.items():
            before = parts.get(position)
            parts[position] = gradient if before is None else ops().add(before, gradient)
        return Bundle(parts)


def ops() -> Any:
    """`lampion.ops`, which needs the tape itself."""
    from lampion import ops

    return ops


class _Saved:
    """One tensor that `save_for_backward` keeps: its array, its version, and where its history goes on."""

    __slots__ = ("array", "edge", "kept", "output", "storage", "unpack", "version")

    def __init__(self, tensor: Tensor, output: int | None) -> None:
        self.output = output  # which output it is: then no edge, which would be a cycle of references
        self.edge = None if output is not None else tensor._edge()
        self.array: Any = tensor._array if mode.trace is None else mode.trace.read(tensor)
        self.storage, self.version = tensor._version, tensor._version[0]
        self.unpack = None
        if mode.saving is not None and hasattr(mode.saving, "unpack_hook"):
            saving, mode.saving = mode.saving, None
            try:
                self.kept, self.unpack = saving.pack_hook(tensor.detach()), saving.unpack_hook
            finally:
                mode.saving = saving
            self.array = None

    def tensor(self, ctx: FunctionCtx) -> Tensor:
        """The tensor again; with its history, if a graph is being made."""
        if self.unpack is None and self.storage[0] != self.version:
            raise OverwrittenError(
                ctx._name, "a tensor saved for the backward pass was overwritten in place",
                expected=f"the value saved by {ctx._name}", got=f"overwritten at {self.storage[1]}",
                fix="use the out-of-place form there, or save a clone()",
            )  # fmt: skip
        edge = self.edge if self.output is None else ctx._node_of(self.output)
        if not mode.grad:
            edge = None
        if self.unpack is not None:
            return with_history(self.unpack(self.kept).detach(), edge)
        if isinstance(edge, Tensor):
            return edge
        result = wrap(self.array)
        result._version[0] = self.version
        return with_history(result, edge)


class FunctionCtx:
    """What `forward` (or `setup_context`) leaves for `backward`: saved tensors, and any attribute.

    Attributes:
        needs_input_grad: for each input, whether its gradient is wanted.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.needs_input_grad: tuple[bool, ...] = ()
        self._to_save: tuple[Any, ...] = ()
        self._saved: list[_Saved | None] | None = []
        self._dirty: tuple[Tensor, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._materialize = True
        self._node: Any = None  # weak reference to the Function's node on the tape
        self._several = False
        self._for_jvp: tuple[Any, ...] | None = None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for `backward`: inputs, outputs, or what is constant. Once, inside of `forward`."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise LampionError(
                    "save_for_backward", "only tensors can be saved", got=type(tensor).__name__,
                    fix="set an attribute instead: ctx.n = n",
                )  # fmt: skip
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for `jvp`; they are its `ctx.saved_tensors`."""
        self._for_jvp = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved. An error if it was overwritten since, or a backward pass has let go of it."""
        if self._saved is None:
            raise GradientError(
                self._name, "the backward pass through this graph has already been made",
                got=f"the saved tensors of {self._name}, which were freed",
                fix="pass retain_graph=True to the first backward(), or compute the loss again",
            )  # fmt: skip
        return tuple(None if saved is None else saved.tensor(self) for saved in self._saved)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say which inputs `forward` changed in place; they must be returned too."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which outputs have no gradient."""
        self._constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (the default) or None for an output that nothing depends on."""
        self._materialize = bool(value)

    def _node_of(self, output: int) -> Node | None:
        """The node that a gradient of one of the outputs goes to."""
        node = None if self._node is None else self._node()
        return _item(self, node, output) if node is not None and self._several else node

    def _save(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        positions = {id(out): place for place, out in enumerate(outputs) if isinstance(out, Tensor)}
        for x in inputs:  # an input that is handed on unchanged is saved as an input
            if not any(x is dirty for dirty in self._dirty):
                positions.pop(id(x), None)
        self._saved = [None if x is None else _Saved(x, positions.get(id(x))) for x in self._to_save]
        self._to_save = ()


class _Rules:
    """What the walk asks of the node of a Function: the primitive of this one call."""

    kind = "function"
    saves_inputs = saves_output = False
    saves_shapes = ""
    analytic = False

    def __init__(self, name: str, vjp: Any) -> None:
        self.name = name
        self.vjp = vjp


class FunctionNode(Node):
    """The node of a Function. Its `release` lets go of what the Function saved."""

    __slots__ = ("__weakref__", "ctx")
    ctx: FunctionCtx

    def release(self) -> None:
        """Forget the saved tensors."""
        super().release()
        if self.ctx._saved:
            self.ctx._saved = None

    @property
    def freed(self) -> bool:
        """Whether a backward pass has let go of what was saved."""
        return self.ctx._saved is None


class Function:
    """An operation of your own, with your own gradient.

    Write `forward` and `backward` as static methods; call it by `apply`. `backward` gets the gradient of
    each output, and returns one for each input (None where there is none). It is made of Tensor operations,
    so it can be differentiated in turn, unless it is marked `once_differentiable`.

    Either ``forward(ctx, *inputs)`` saves what `backward` needs itself, or ``forward(*inputs)`` only
    computes, and ``setup_context(ctx, inputs, output)`` does the saving. A static method
    ``jvp(ctx, *tangents)`` gives the derivative in forward mode; without it `backward` is transposed.

    >>> import lampion
    >>> class Cube(lampion.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, gradient):
    ...         (x,) = ctx.saved_tensors
    ...         return gradient * 3 * x * x
    >>> x = lampion.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError(
            f"{type(self).__name__}: a Function has no instances; call {type(self).__name__}.apply(...)"
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs. Runs unrecorded."""
        raise NotImplementedError("a Function needs a static method `forward`")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what `backward` needs, where `forward` has no `ctx`."""
        raise NotImplementedError("a Function whose forward has no ctx needs `setup_context`")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The gradient of each input, from those of the outputs."""
        raise NotImplementedError("a Function that is differentiated needs a static method `backward`")

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """The tangent of each output, from those of the inputs."""
        raise NotImplementedError("this Function has no `jvp`")

    @classmethod
    def apply(cls, *inputs: Any, **kwargs: Any) -> Any:
        """Run `forward`, and note the Function on the tape."""
        custom = getattr(mode.trace, "custom", None)
        if custom is not None:  # a level of `lampion.func` has its own way with gradients of the user's own
            return custom(cls, inputs, kwargs)
        return run(cls, inputs, kwargs)


def run(
    cls: type[Function],
    inputs: tuple[Any, ...],
    kwargs: dict[str, Any],
    adjust: Callable[..., None] | None = None,
    forward: Callable[..., Any] | None = None,
) -> Any:
    """`Function.apply`, where nothing stands between it and the tape.

    Args:
        adjust: called with the context and the outputs before anything is saved.
        forward: computes the outputs in place of `cls.forward`, where that has no context.
    """
    ctx, result = compute(cls, inputs, kwargs, forward)
    several = isinstance(result, tuple | list)
    outputs = list(result) if several else [result]
    if adjust is not None:
        adjust(ctx, outputs)
    recorded = mode.grad and any(ctx.needs_input_grad)
    for dirty in ctx._dirty:
        if not any(dirty is out for out in outputs):
            raise LampionError(cls.__name__, "an input that was marked dirty is not returned",
                               fix="return it from forward, or do not mark it")  # fmt: skip
    if recorded:
        _note(cls, ctx, inputs, outputs, several)
    ctx._dirty = ctx._constant = ()
    return type(result)(outputs) if several else outputs[0]


#: What Lampion looks up in the class of a Function.
_METHODS = ("forward", "setup_context", "backward", "vjp", "jvp", "vmap")


def compute(
    cls: type[Function],
    inputs: tuple[Any, ...],
    kwargs: dict[str, Any],
    forward: Callable[..., Any] | None = None,
) -> tuple[FunctionCtx, Any]:
    """Run `forward` unrecorded: the context that it leaves, and its result."""
    ctx = FunctionCtx(cls.__name__)
    if mode.trace is not None:
        mode.trace.made(ctx)
        mode.trace.asks(cls, *_METHODS)
    ctx.needs_input_grad = tuple(isinstance(x, Tensor) and mode.grad and x.requires_grad for x in inputs)
    previous, mode.grad = mode.grad, False
    try:
        if cls.setup_context is Function.setup_context:
            result = cls.forward(ctx, *inputs, **kwargs)
        else:
            result = (forward or cls.forward)(*inputs, **kwargs)
            cls.setup_context(ctx, inputs, result)
    finally:
        mode.grad = previous
    return ctx, result


def _note(
    cls: type[Function], ctx: FunctionCtx, inputs: Sequence[Any], outputs: list[Any], several: bool
) -> None:
    """Put a call on the tape; outputs that are inputs handed on become tensors of their own."""
    import weakref

    edges = [x._edge() if isinstance(x, Tensor) else None for x in inputs]
    shapes = [x.shape if isinstance(x, Tensor) else () for x in inputs]
    forms = [(out.shape, out.dtype) if isinstance(out, Tensor) else None for out in outputs]
    inputs_of = [(x.shape, x.dtype) if isinstance(x, Tensor) else None for x in inputs]
    rules: Any = _Rules(cls.__name__, lambda g: _backward(cls, ctx, inputs_of, forms, g))
    node = new_node(
        FunctionNode, rules, edges, shapes, () if several else forms[0][0] if forms[0] else (), []
    )
    node.ctx = ctx
    ctx._node, ctx._several = weakref.ref(node), several
    dirty = {id(x) for x in ctx._dirty}
    constant = {id(x) for x in ctx._constant}
    made = []
    for place, out in enumerate(outputs):
        if not isinstance(out, Tensor) or id(out) in constant or not out.dtype.is_inexact:
            continue
        if id(out) not in dirty and any(out is x for x in inputs):
            out = outputs[place] = _alias(out)
        made.append((place, out))
    ctx._save(inputs, outputs)
    for place, out in made:
        maker = _item(ctx, node, place) if several else node
        if id(out) in dirty:
            _rebase(out, maker)
        else:
            out._node, out._requires_grad, out._follows, out._path = maker, True, None, ()


def _alias(x: Tensor) -> Tensor:
    """The same memory under another name."""
    previous, mode.grad = mode.grad, False
    try:
        return x.detach()
    finally:
        mode.grad = previous


def _rebase(x: Tensor, maker: Node) -> None:
    """An input that was changed in place now comes from the Function; so does what it is a view of."""
    base = x._follows
    x._check_inplace(maker.primitive.name, base)
    if base is None:
        x._node, x._requires_grad = maker, True
        return
    from lampion.ops.movement import note_put

    value = _alias(x)
    value._node, value._requires_grad = maker, True
    note_put(base, value, x._path)


def _item(ctx: FunctionCtx, node: Node, place: int) -> Node:
    """The node of one output of a Function with several."""
    rules: Any = _Rules(ctx._name, lambda g: Bundle({place: g}))
    return new_node(Node, rules, [node], [()], (), [])  # type: ignore[no-any-return]  # of the kind given


def _backward(
    cls: type[Function], ctx: FunctionCtx, inputs: list[Any], forms: list[Any], g: Any
) -> tuple[Tensor | None, ...]:
    """The gradients of the inputs, checked."""
    parts = g.parts if isinstance(g, Bundle) else {0: g}
    gradients = []
    for place, form in enumerate(forms):
        gradient = parts.get(place)
        if gradient is None and form is not None and ctx._materialize:
            gradient = ops().zeros(*form[0], dtype=form[1])
        gradients.append(gradient)
    if mode.trace is not None:
        mode.trace.asks(cls, *_METHODS)
    rule = cls.backward if cls.backward is not Function.backward else cls.vjp
    results = rule(ctx, *gradients)
    results = tuple(results) if isinstance(results, tuple | list) else (results,)
    if len(results) > len(inputs) and all(extra is None for extra in results[len(inputs) :]):
        results = results[: len(inputs)]
    if len(results) != len(inputs):
        raise GradientError(
            cls.__name__, "backward returned a wrong number of gradients",
            expected=f"{len(inputs)}: one for each input of forward, or None", got=str(len(results)),
        )  # fmt: skip
    return tuple(_fitted(cls, i, x, form) for i, (x, form) in enumerate(zip(results, inputs, strict=True)))


def _fitted(cls: type[Function], place: int, gradient: Any, form: Any) -> Tensor | None:
    """A gradient of `backward`'s in its input's shape and type."""
    if gradient is None:
        return None
    if form is None or not isinstance(gradient, Tensor):
        raise GradientError(
            cls.__name__, f"backward returned a gradient for input {place}, which has none",
            expected="None for what is no tensor, a Tensor for what is",
            got=type(gradient).__name__,
        )  # fmt: skip
    shape, dtype = form
    if gradient.shape != shape:
        longer = (1,) * (len(gradient.shape) - len(shape)) + tuple(shape)
        fits = len(gradient.shape) <= len(longer) and all(
            n == m or m == 1 or n == 1
            for n, m in zip(gradient.shape[::-1], longer[::-1], strict=False)
        )  # fmt: skip
        if not fits:
            raise GradientError(
                cls.__name__, f"backward returned a gradient of another shape for input {place}",
                expected=str(tuple(shape)), got=str(tuple(gradient.shape)),
            )  # fmt: skip
    return gradient if gradient.dtype is dtype or not dtype.is_inexact else ops().cast(gradient, dtype)


def once_differentiable(backward: Any) -> Any:
    """Mark a `backward` that is not made of Tensor operations alone: differentiating it is an error."""

    def wrapper(ctx: Any, *gradients: Any) -> Any:
        previous, mode.grad = mode.grad, False
        try:
            results = backward(ctx, *gradients)
        finally:
            mode.grad = previous
        if not previous:
            return results
        refused: list[Any] = []
        for result in results if isinstance(results, tuple | list) else (results,):
            if isinstance(result, Tensor):
                marked = _alias(result)
                rules: Any = _Rules("once_differentiable", _refuse_second)
                edges = [g._edge() for g in gradients if isinstance(g, Tensor)]
                edges += [s._edge() for s in ctx.saved_tensors if isinstance(s, Tensor)]
                shapes: list[Any] = [()] * len(edges)
                marked._node = new_node(Node, rules, edges, shapes, result.shape, [])
                marked._requires_grad = True
                refused.append(marked)
            else:
                refused.append(result)
        return tuple(refused)

    return wrapper


def _refuse_second(g: Any) -> Any:
    raise GradientError(
        "once_differentiable", "a Function that can be differentiated only once was differentiated twice",
        fix="write its backward in Tensor operations, and leave the mark away",
    )  # fmt: skip
