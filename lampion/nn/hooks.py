"""Functions of the user's own that a module calls: around `forward`, around its gradient, around saving.

A module without hooks pays for none of this: `Module.__call__` looks at one attribute.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lampion.errors import GradientError
from lampion.hooks import RemovableHandle, register
from lampion.mode import mode
from lampion.ops import zeros_like
from lampion.tensor import Tensor

if TYPE_CHECKING:
    from lampion.nn.module import Module

Hook = Callable[..., Any]


class ModuleHooks:
    """The hooks of one module, by the number of their handle.

    Attributes:
        before: called before `forward`, with whether they take keyword arguments.
        after: called after it, with whether they take keyword arguments, and whether they are called where
            it raises.
        gradient_before, gradient_after: called with the gradients of the outputs, and with those of both.
        save_before, save_after, load_before, load_after: called around `state_dict` and `load_state_dict`.
        compiled: takes the place of all that: see `Module.compile`.
    """

    compiled: Callable[..., Any] | None = None

    def __init__(self) -> None:
        self.before: dict[int, tuple[Hook, bool]] = {}
        self.after: dict[int, tuple[Hook, bool, bool]] = {}
        self.gradient_before: dict[int, Hook] = {}
        self.gradient_after: dict[int, Hook] = {}
        self.save_before: dict[int, Hook] = {}
        self.save_after: dict[int, Hook] = {}
        self.load_before: dict[int, Hook] = {}
        self.load_after: dict[int, Hook] = {}

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the module is not compiled: what is compiled belongs to this one.
        return {name: table for name, table in vars(self).items() if name != "compiled"}


class Hooked:
    """The methods of Module that register hooks. Each returns a handle, whose `remove` takes it away.

    And the one that puts machine code in the place of the call.
    """

    _hooks: ModuleHooks | None = None
    forward: Any

    def compile(self, **options: Any) -> None:
        """Compile the module in place: from now on a call of it runs as machine code (see `lampion.compile`,
        whose options these are).

        Copies of the module are not compiled.

        >>> import lampion
        >>> layer = lampion.nn.Linear(2, 1)
        >>> layer.compile()
        >>> layer(lampion.ones(3, 2)).shape
        (3, 1)
        """
        from lampion.compiler import compile

        if self._hooks is None:
            self._hooks = ModuleHooks()
        compiled = compile(self._call_uncompiled, **options)
        compiled.__name__ = type(self).__name__  # as messages speak of it
        self._hooks.compiled = compiled

    def _call_uncompiled(self: Any, *args: Any, **kwargs: Any) -> Any:
        return run(self, self._hooks, args, kwargs)

    def _table(self, name: str) -> dict[int, Any]:
        if mode.trace is not None:
            mode.trace.refuse("registers a hook on a module", "register it before calling the function")
        if self._hooks is None:
            self._hooks = ModuleHooks()
        table: dict[int, Any] = getattr(self._hooks, name)
        return table

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before `forward`; what it returns, if not None, takes their place.

        Args:
            hook: the function.
            prepend: put it before the hooks that there are.
            with_kwargs: call ``hook(module, args, kwargs)``, which may return both in a pair.
        """
        return _added(self._table("before"), (hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after `forward`; what it returns, if not None, is the output.

        Args:
            hook: the function.
            prepend: put it before the hooks that there are.
            with_kwargs: call ``hook(module, args, kwargs, output)``.
            always_call: call it (with None for the output) where `forward` raises, too.

        >>> import lampion
        >>> layer = lampion.nn.ReLU()
        >>> handle = layer.register_forward_hook(lambda module, args, output: output + 1)
        >>> layer(lampion.tensor([-1.0, 2.0]))
        tensor([1., 3.])
        """
        return _added(self._table("after"), (hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before the module's gradient is computed.

        `grad_output` is a tuple; what the hook returns, if not None, takes its place.
        """
        return _added(self._table("gradient_before"), hook, prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are computed.

        Both are tuples, with None for what has no gradient; what the hook returns, if not None, takes the
        place of `grad_input`. Keyword arguments are not among the inputs.
        """
        return _added(self._table("gradient_after"), hook, prepend)

    def register_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before the module is put into a `state_dict`."""
        return register(self._table("save_before"), hook)

    def register_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after it was put there."""
        return register(self._table("save_after"), hook)

    def register_load_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call a hook before `load_state_dict` reads the module's entries, which it may change.

        It is called as ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)``, where the last three are lists to add to.
        """
        return register(self._table("load_before"), hook)

    def register_load_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after `load_state_dict`, before missing keys are errors.

        `incompatible_keys` has two lists, `missing_keys` and `unexpected_keys`, which the hook may change.
        """
        return register(self._table("load_after"), hook)


def _added(table: dict[int, Any], entry: Any, prepend: bool) -> RemovableHandle:
    handle = register(table, entry)
    if prepend:
        for number in [number for number in table if number != handle.id]:
            table[number] = table.pop(number)
    return handle


def call(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module(*args, **kwargs)``, where there are hooks, or where it is compiled."""
    hooks = module._hooks
    assert hooks is not None
    if hooks.compiled is not None:
        return hooks.compiled(*args, **kwargs)
    return run(module, hooks, args, kwargs)


def run(module: Module, hooks: ModuleHooks, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`forward` between its hooks."""
    args, kwargs = _prepared(module, hooks, args, kwargs)
    gate = None
    if mode.grad and (hooks.gradient_before or hooks.gradient_after):
        gate = _Gate(module, hooks)
        args = gate.inputs(args)
    called: set[int] = set()
    result = None
    try:
        result = module.forward(*args, **kwargs)
        for number, (hook, with_kwargs, _) in list(hooks.after.items()):
            called.add(number)
            around = (args, kwargs) if with_kwargs else (args,)
            changed = hook(module, *around, result)
            if changed is not None:
                result = changed
        return result if gate is None else gate.outputs(result)
    except Exception:
        for number, (hook, with_kwargs, always) in list(hooks.after.items()):
            if always and number not in called:
                around = (args, kwargs) if with_kwargs else (args,)
                try:
                    changed = hook(module, *around, result)
                    result = result if changed is None else changed
                except Exception as error:
                    warnings.warn(f"a forward hook that is always called raised: {error}", stacklevel=3)
        raise


def _prepared(
    module: Module, hooks: ModuleHooks, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, as the hooks before `forward` leave them."""
    for hook, with_kwargs in list(hooks.before.values()):
        changed = hook(module, args, kwargs) if with_kwargs else hook(module, args)
        if changed is None:
            continue
        if not with_kwargs:
            args = changed if isinstance(changed, tuple) else (changed,)
        elif isinstance(changed, tuple) and len(changed) == 2:
            args, kwargs = changed
        else:
            raise TypeError("a forward pre-hook with keyword arguments returns None or a pair "
                            f"(args, kwargs), got {changed!r}")  # fmt: skip
    return args, kwargs


class _Gate:
    """Two identities, one before a module and one after it, whose gradients pass by its hooks."""

    def __init__(self, module: Module, hooks: ModuleHooks) -> None:
        self.module = module
        self.hooks = hooks
        self.grad_output: tuple[Any, ...] | None = None
        self.count = 0  # of inputs
        self.has_input = False  # whether one of them has a gradient

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.count = len(args)
        args, self.has_input = _through(args, self.after)
        return args

    def outputs(self, result: Any) -> Any:
        several = isinstance(result, tuple | list)
        parts, _ = _through(tuple(result) if several else (result,), self.before)
        if not several:
            return parts[0]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)

    def before(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        """On the way back, first: the gradients of the outputs are there."""
        for hook in list(self.hooks.gradient_before.values()):
            gradients = _replaced(hook(self.module, gradients), gradients)
        self.grad_output = gradients
        if not self.has_input:
            nothing = (None,) * self.count
            for hook in list(self.hooks.gradient_after.values()):
                if hook(self.module, nothing, gradients) is not None:
                    raise GradientError("full backward hook", "there is no gradient of an input to replace",
                                        fix="return None")  # fmt: skip
        return gradients

    def after(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        """On the way back, last: the gradients of the inputs are there.

        The gradient of a gradient can come here without having passed the outputs: no hook is for that.
        """
        if self.grad_output is None:
            return gradients
        for hook in list(self.hooks.gradient_after.values()):
            gradients = _replaced(hook(self.module, gradients, self.grad_output), gradients)
        self.grad_output = None
        return gradients


def _replaced(changed: Any, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
    if changed is None:
        return gradients
    replaced = tuple(changed) if isinstance(changed, tuple | list) else (changed,)
    if len(replaced) != len(gradients):
        raise GradientError("full backward hook", "a hook returned another number of gradients",
                            expected=str(len(gradients)), got=str(len(replaced)))  # fmt: skip
    return replaced


def _through(values: tuple[Any, ...], listen: Callable[..., tuple[Any, ...]]) -> tuple[tuple[Any, ...], bool]:
    """The values, those with a gradient through an identity; and whether there were any."""
    from lampion.autograd import Function

    places = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]
    if not places:
        return values, False

    plain = [x.detach() if isinstance(x, Tensor) else None for x in values]

    class Identity(Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
            return tuple(x.view_as(x) for x in tensors)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
            # Of a tensor without a gradient PyTorch says that it is 0.
            around: list[Any] = [
                zeros_like(x) if isinstance(x, Tensor) and x.dtype.is_inexact else None for x in plain
            ]
            for place, gradient in zip(places, gradients, strict=True):
                around[place] = gradient
            heard = listen(tuple(around))
            return tuple(heard[place] for place in places)

    passed = list(values)
    for place, x in zip(places, Identity.apply(*(values[i] for i in places)), strict=True):
        passed[place] = x
    return tuple(passed), True
