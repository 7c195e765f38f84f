"""What `state_dict` and `load_state_dict` do: parameters and buffers by dotted name, there and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lampion.errors import LampionError
from lampion.mode import no_grad
from lampion.nn.parameter import Parameter, Uninitialized, is_lazy
from lampion.tensor import Tensor, as_tensor

if TYPE_CHECKING:
    from lampion.nn.module import Module

#: The name under which what `get_extra_state` returns is kept.
EXTRA = "_extra_state"


class LoadResult(NamedTuple):
    """What `load_state_dict` did not find a partner for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"LoadResult(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def save(module: Module, into: dict[str, Any], prefix: str, keep_vars: bool) -> dict[str, Any]:
    """Put the state of a module and of those below it into a dict."""
    hooks = module._hooks
    if hooks is not None:
        for hook in list(hooks.save_before.values()):
            hook(module, prefix, keep_vars)
    for name, tensor in own_state(module).items():
        into[prefix + name] = tensor if keep_vars or is_lazy(tensor) else tensor.detach()
    if type(module).get_extra_state is not _base(module).get_extra_state:
        into[prefix + EXTRA] = module.get_extra_state()
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(destination=into, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
    if hooks is not None:
        for hook in list(hooks.save_after.values()):
            hook(module, into, prefix, {})
    return into


def own_state(module: Module) -> dict[str, Tensor]:
    """The parameters and persistent buffers of one module, without those below it."""
    both = [*module._parameters.items(), *module._buffers.items()]
    kept = module._non_persistent_buffers_set
    return {name: tensor for name, tensor in both if tensor is not None and name not in kept}


def _base(module: Module) -> type[Module]:
    from lampion.nn.module import Module

    return Module


def load(module: Module, given: Mapping[str, Any], strict: bool, assign: bool) -> LoadResult:
    """See `Module.load_state_dict`."""
    state = dict(given)
    missing: list[str] = []
    unexpected: list[str] = []
    wrong: list[str] = []
    places: dict[str, tuple[Module, str]] = {}  # what each name of the state is, in which module
    extras: list[tuple[Module, Any]] = []
    optional: set[str] = set()
    paths = list(module.named_modules(remove_duplicate=False))
    for path, part in paths:
        prefix = f"{path}." if path else ""
        if part._hooks is not None:
            for hook in list(part._hooks.load_before.values()):
                hook(part, state, prefix, {}, strict, missing, unexpected, wrong)
        places |= {prefix + name: (part, name) for name in own_state(part)}
        optional |= {prefix + name for name in part.optional_state}
        if type(part).set_extra_state is not _base(part).set_extra_state:
            places[prefix + EXTRA] = (part, EXTRA)
    missing += [name for name in places if name not in state and name not in {*missing, *optional}]
    unexpected += [name for name in state if name not in places and name not in unexpected]
    values: dict[str, Tensor] = {}
    for name, (part, own) in places.items():
        if name not in state:
            continue
        if own == EXTRA:
            extras.append((part, state[name]))
        else:
            _check(name, own_state(part)[own], state[name], values, wrong)
    result = LoadResult(missing, unexpected)
    for _, part in paths:
        if part._hooks is not None:
            for hook in list(part._hooks.load_after.values()):
                if hook(part, result) is not None:
                    raise LampionError("load_state_dict", "a hook returned something",
                                       fix="change the lists of incompatible_keys in place")  # fmt: skip
    _complain(module, result, wrong, strict)
    with no_grad():
        for name, value in values.items():
            part, own = places[name]
            _put(part, own, value, assign)
    for part, extra in extras:
        part.set_extra_state(extra)
    return result


def _check(name: str, target: Tensor, given: Any, values: dict[str, Tensor], wrong: list[str]) -> None:
    """Note a value that fits, or why it does not."""
    lazy = is_lazy(target)
    if is_lazy(given):  # of a lazy layer that has not seen an input
        if not lazy:
            wrong.append(f"{name}: expected a tensor of shape {tuple(target.shape)}, got {given!r}")
        return
    try:
        value = as_tensor(_array_like(given))
    except (TypeError, ValueError, RuntimeError):
        shape = "" if lazy else f" of shape {tuple(target.shape)}"
        wrong.append(f"size mismatch: {name}: expected a tensor{shape}, got {type(given).__name__}")
        return
    if not lazy and value.shape != target.shape:
        wrong.append(f"size mismatch: {name}: expected {tuple(target.shape)}, got {tuple(value.shape)}")
        return
    values[name] = value


def _complain(module: Module, result: LoadResult, wrong: list[str], strict: bool) -> None:
    report = []
    if strict and result.missing_keys:
        report.append("missing: " + ", ".join(result.missing_keys))
    if strict and result.unexpected_keys:
        report.append("unexpected: " + ", ".join(result.unexpected_keys))
    report += wrong
    if report:
        found = "\n    ".join([f"the values do not fit {type(module).__name__}:", *report])
        other = "" if wrong else ", or pass strict=False to load what fits"
        raise LampionError("load_state_dict", found, fix="build the model as it was when saved" + other)


def _put(module: Module, name: str, value: Tensor, assign: bool) -> None:
    """Copy a value into a parameter or buffer, or (`assign`) put it in its place."""
    known = module._parameters if name in module._parameters else module._buffers
    if isinstance(lazy := known[name], Uninitialized):
        lazy.materialize(value.shape)
    if name in module._parameters:
        target = module._parameters[name]
        assert target is not None
        if assign:
            kept = isinstance(value, Parameter)
            new: Any = value if kept else Parameter(value, target.requires_grad)
            module._parameters[name] = new
            return
        target.copy_(value)
        return
    buffer = module._buffers[name]
    if assign or buffer is None:
        module._buffers[name] = value
    else:
        buffer.copy_(value)


def _array_like(value: Any) -> Any:
    """Tensors as they are; anything that knows how to become a NumPy array (PyTorch's tensors too) as one."""
    if isinstance(value, Tensor):
        return value if isinstance(value, Parameter) else value.detach()
    array = np.asarray(value)
    if array.dtype == object:
        raise TypeError("not numbers")
    return array
