"""Modules as functions of their parameters, so that transforms can differentiate and batch those."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lampion import ops
from lampion.errors import LampionError
from lampion.mode import uncompiled
from lampion.tensor import Tensor

if TYPE_CHECKING:
    from lampion.nn import Module


def functional_call(
    module: Module, parameter_and_buffer_dicts: Any, args: Any = None,
    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """Call a module with other tensors in the place of its parameters and buffers.

    Args:
        parameter_and_buffer_dicts: a dict from names to tensors, or several such dicts. What it does not
            name is the module's own.
        args: the argument of the call, or a tuple of them.
        tie_weights: whether a tensor that the module knows by several names is replaced under all of them.
        strict: whether every parameter and buffer has to be named.

    >>> import lampion
    >>> layer = lampion.nn.Linear(2, 1)
    >>> lampion.func.functional_call(layer, {"weight": lampion.ones(1, 2), "bias": lampion.zeros(1)},
    ...                              lampion.tensor([3.0, 4.0]))
    tensor([7.])
    """
    given: dict[str, Tensor] = {}
    dicts = [parameter_and_buffer_dicts] if isinstance(parameter_and_buffer_dicts, dict) else (
        parameter_and_buffer_dicts
    )  # fmt: skip
    for part in dicts:
        twice = sorted(given.keys() & part.keys())
        if twice:
            raise ValueError(f"functional_call: {', '.join(twice)} is in several of the dicts")
        given.update(part)
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    # What is compiled is compiled for its own parameters.
    with _replaced(module, given, tie_weights, strict), uncompiled():
        return module(*args, **(kwargs or {}))


@contextlib.contextmanager
def _replaced(module: Module, given: dict[str, Tensor], tie_weights: bool, strict: bool) -> Iterator[None]:
    """The module with these tensors; it has its own again afterwards."""
    homes: dict[str, tuple[dict[str, Any], str]] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for table in (part._parameters, part._buffers):
            for name in table:
                homes[f"{prefix}.{name}" if prefix else name] = (table, name)
    unknown = sorted(given.keys() - homes.keys())
    if unknown:
        raise LampionError("functional_call", "the module has no such parameter or buffer",
                           got=", ".join(unknown), expected=", ".join(sorted(homes))[:200])  # fmt: skip
    new = dict(given)
    if tie_weights:
        values = {id(table[name]): key for key, (table, name) in homes.items() if key in given}
        for key, (table, name) in homes.items():
            source = values.get(id(table[name])) if table[name] is not None else None
            if key not in new and source is not None:
                new[key] = given[source]
    missing = sorted(key for key in homes.keys() - new.keys() if homes[key][0][homes[key][1]] is not None)
    if strict and missing:
        raise LampionError("functional_call", "parameters or buffers are missing", got=", ".join(missing))
    before = {key: homes[key][0][homes[key][1]] for key in new}
    try:
        for key, tensor in new.items():
            homes[key][0][homes[key][1]] = tensor
        yield
    finally:
        for key, tensor in before.items():
            homes[key][0][homes[key][1]] = tensor


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of several modules of one kind, stacked: for `vmap` over modules.

    >>> import lampion
    >>> layers = [lampion.nn.Linear(2, 3) for _ in range(5)]
    >>> parameters, buffers = lampion.func.stack_module_state(layers)
    >>> parameters["weight"].shape
    (5, 3, 2)
    """
    if not models:
        raise LampionError("stack_module_state", "there are no modules to stack")
    if len({type(model) for model in models}) > 1:
        raise LampionError("stack_module_state", "the modules are of different classes")
    if len({model.training for model in models}) > 1:
        raise LampionError("stack_module_state", "some modules are training and some are not")
    parameters = [dict(model.named_parameters()) for model in models]
    buffers = [dict(model.named_buffers()) for model in models]
    return (
        {name: _stacked([tensors[name] for tensors in parameters]) for name in parameters[0]},
        {name: ops.stack([tensors[name] for tensors in buffers]).detach() for name in buffers[0]},
    )


def _stacked(tensors: list[Tensor]) -> Tensor:
    """Parameters in one leaf."""
    return ops.stack([tensor.detach() for tensor in tensors]).requires_grad_(tensors[0].requires_grad)
