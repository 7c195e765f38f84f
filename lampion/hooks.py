"""Functions of the user's own that back-propagation calls: on tensors, and on the nodes of the tape.

A hook on a computed tensor belongs to the node that made it, one on a leaf to the leaf. Where nothing is
hooked a node says None, and the walk asks no more than that.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, cast

from lampion.errors import GradientError
from lampion.mode import mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lampion.autograd.tape import Node
    from lampion.tensor import Tensor

_numbers = itertools.count()


#: Whether any leaf ever had a hook: only then does a backward pass look for such leaves on its way.
any_leaf_hooks = [False]


class RemovableHandle:
    """What registering a hook returns: `remove` takes the hook away again, and so does a ``with`` block."""

    def __init__(self, hooks: dict[int, Any]) -> None:
        self._table = hooks
        self.id = next(_numbers)

    def remove(self) -> None:
        """Take the hook away. A second time does nothing."""
        self._table.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def register(table: dict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
    """Add a hook at the end of a table."""
    handle = RemovableHandle(table)
    table[handle.id] = hook
    return handle


class Hooks:
    """The hooks of one node of the tape, or of one leaf.

    Attributes:
        tensor: called with the gradient of the node's output (of the leaf); may replace it.
        before: called with the same in a tuple, before the node's own gradient is computed; may replace it.
        after: called with the gradients of the inputs and of the output; may replace the former.
        accumulated: of a leaf: called with it when its `.grad` has been added to.
        retained: weak reference to the tensor that asked to keep its gradient.
        packed: for each saved array that a saving hook took away, by position: what it left, and what
            brings the array back.
    """

    __slots__ = ("accumulated", "after", "before", "packed", "retained", "tensor")

    def __init__(self) -> None:
        self.tensor: dict[int, Callable[..., Any]] = {}
        self.before: dict[int, Callable[..., Any]] = {}
        self.after: dict[int, Callable[..., Any]] = {}
        self.accumulated: dict[int, Callable[..., Any]] = {}
        self.retained: weakref.ref[Tensor] | None = None
        self.packed: dict[int, tuple[Any, Callable[[Any], Tensor]]] = {}

    def on_tensor(self, gradient: Tensor) -> Tensor:
        """The gradient, as the tensor's hooks leave it."""
        for hook in list(self.tensor.values()):
            replaced = hook(gradient)
            if replaced is not None:
                gradient = _checked(replaced, gradient)
        return gradient

    def on_arrival(self, gradient: Tensor) -> Tensor:
        """The same for the hooks that a node has before its own gradient is computed."""
        for hook in list(self.before.values()):
            replaced = hook((gradient,))
            if replaced is not None:
                (one,) = replaced if isinstance(replaced, tuple) else (replaced,)
                gradient = gradient if one is None else _checked(one, gradient)
        return gradient

    def on_departure(self, passed: Sequence[Tensor | None], gradient: Any) -> Sequence[Tensor | None]:
        """The gradients of a node's inputs, as the hooks that come after it leave them."""
        for hook in list(self.after.values()):
            replaced = hook(tuple(passed), gradient if type(gradient) is tuple else (gradient,))
            if replaced is None:
                continue
            replaced = replaced if isinstance(replaced, tuple) else (replaced,)
            if len(replaced) != len(passed):
                raise GradientError("hook", "a hook returned another number of gradients",
                                    expected=str(len(passed)), got=str(len(replaced)))  # fmt: skip
            passed = [
                new if new is None or old is None else _checked(new, old)
                for new, old in zip(replaced, passed, strict=True)
            ]
        return passed


def _checked(replaced: Any, gradient: Tensor) -> Tensor:
    """What a hook returned in a gradient's place: it must be of the same form."""
    from lampion.autograd.sparse import SparseGradient
    from lampion.tensor import Tensor

    if not isinstance(replaced, Tensor | SparseGradient):
        raise GradientError("hook", "a hook returned something that is no gradient",
                            expected="a Tensor, or None to leave the gradient as it is",
                            got=type(replaced).__name__)  # fmt: skip
    if replaced.shape != gradient.shape or replaced.dtype is not gradient.dtype:
        raise GradientError("hook", "a hook returned a gradient of another shape or type",
                            expected=f"{tuple(gradient.shape)}, {gradient.dtype}",
                            got=f"{tuple(replaced.shape)}, {replaced.dtype}")  # fmt: skip
    return cast("Tensor", replaced)


def keep_retaining(tensor: Tensor, old: Node, new: Node | None) -> None:
    """A tensor that keeps its gradient was changed in place: it is that of its new value from now on."""
    kept = None if old.hooks is None else old.hooks.retained
    if kept is not None and new is not None and kept() is tensor:
        hooks_of(new).retained, hooks_of(old).retained = kept, None


def hooks_of(node: Node) -> Hooks:
    """The hooks of a node, made if it has none yet."""
    if node.hooks is None:
        node.hooks = Hooks()
    return node.hooks


class Differentiable:
    """The methods of Tensor that start back-propagation, or listen to it."""

    _hooks: Hooks | None = None  # of a leaf: those of a computed tensor are its node's
    _inference: bool = False  # made in `inference_mode`

    if TYPE_CHECKING:
        shape: Any
        requires_grad: Any
        is_leaf: Any
        grad_fn: Any
        _array: Any

    def backward(
        self: Any, gradient: Tensor | None = None, retain_graph: bool | None = None,
        create_graph: bool = False, inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:  # fmt: skip
        """Add the gradient of this tensor to the `.grad` of every leaf that it was computed from.

        Args:
            gradient: where to start; not needed for a scalar.
            retain_graph: keep the saved values, so that backward can run again.
            create_graph: record the backward pass itself, for derivatives of higher order.
            inputs: the tensors whose `.grad` to add to, and no others.

        >>> import lampion
        >>> x = lampion.tensor(2.0, requires_grad=True)
        >>> (x ** 3).backward(create_graph=True)
        >>> x.grad
        tensor(12., grad_fn=<CloneBackward>)
        """
        from lampion.autograd.walk import backward

        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def retain_grad(self) -> None:
        """Keep the gradient of a computed tensor too, in its `.grad`."""
        if not self.requires_grad:
            raise GradientError("retain_grad", "the tensor does not require a gradient", got=repr(self.shape))
        node = self.grad_fn
        if node is not None:
            hooks_of(node).retained = weakref.ref(self)  # type: ignore[arg-type]  # a Tensor: see the class

    @property
    def retains_grad(self) -> bool:
        """Whether this is a computed tensor that keeps its gradient: see `retain_grad`."""
        node = self.grad_fn
        kept = None if node is None or node.hooks is None else node.hooks.retained
        return kept is not None and kept() is self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call ``hook(gradient)`` when this tensor's gradient has been computed.

        What the hook returns, if it is not None, takes the gradient's place. Hooks run in the order in which
        they were registered, each on what the one before left.

        Returns: a handle, whose `remove` takes the hook away.

        >>> import lampion
        >>> x = lampion.ones(2, requires_grad=True)
        >>> handle = x.register_hook(lambda gradient: gradient * 10)
        >>> x.sum().backward()
        >>> x.grad
        tensor([10., 10.])
        """
        if not self.requires_grad:
            raise GradientError("register_hook", "the tensor does not require a gradient",
                                got=f"a tensor of shape {tuple(self.shape)}",
                                fix="set requires_grad=True on what it is computed from")  # fmt: skip
        node = self.grad_fn
        return register((self._leaf_hooks() if node is None else hooks_of(node)).tensor, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call ``hook(tensor)`` each time `backward` has added to this leaf's `.grad`.

        An optimizer can step there, and free the gradient at once.

        >>> import lampion
        >>> x = lampion.ones(2, requires_grad=True)
        >>> handle = x.register_post_accumulate_grad_hook(lambda x: print(x.grad))
        >>> (x * 3).sum().backward()
        tensor([3., 3.])
        """
        if not self.requires_grad or not self.is_leaf:
            raise GradientError("register_post_accumulate_grad_hook", "only a leaf accumulates a gradient",
                                expected="a leaf tensor with requires_grad=True")  # fmt: skip
        return register(self._leaf_hooks().accumulated, hook)

    def is_inference(self) -> bool:
        """Whether the tensor was made in `inference_mode`, and so never takes part in a gradient."""
        return self._inference

    def _refuse_inference(self, operation: str, what: str) -> NoReturn:
        raise GradientError(
            operation, f"a tensor made in inference mode cannot be {what}",
            got=f"a tensor of shape {tuple(self.shape)}",
            fix="clone() it outside of inference mode, or compute it under no_grad() instead",
        )  # fmt: skip

    def _leaf_hooks(self) -> Hooks:
        if mode.trace is not None:
            mode.trace.changing(self, "_hooks")  # type: ignore[arg-type]  # a Tensor: see the class
            mode.trace.refuse("registers a hook on a leaf", "register it before calling the function")
        if self._hooks is None:
            self._hooks = Hooks()
            any_leaf_hooks[0] = True
        return self._hooks
