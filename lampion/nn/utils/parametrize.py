"""Parameters that are computed from others: a matrix that stays symmetric, a weight of norm 1.

``register_parametrization(layer, "weight", f)`` puts ``f(original)`` in the place of ``layer.weight``: each
time it is read, it is computed. What is learned is `original`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lampion.errors import LampionError
from lampion.mode import no_grad
from lampion.nn.container import ModuleDict, ModuleList
from lampion.nn.module import Module
from lampion.nn.parameter import Parameter
from lampion.tensor import Tensor

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
    "type_before_parametrizations",
]  # fmt: skip

#: While a `cached` block is open: what has been computed in it.
_cache: dict[tuple[int, str], Tensor] | None = None


@contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrized tensor once in this block, however often it is read."""
    global _cache
    outermost = _cache is None
    if outermost:
        _cache = {}
    try:
        yield
    finally:
        if outermost:
            _cache = None


def _store(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, one after the other, and the originals that they begin with.

    Made by `register_parametrization`. Called without arguments, it computes the tensor.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = tuple(original.shape), original.dtype
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        continue
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            if new.dtype is not dtype:
                raise _changed("right_inverse changes the dtype", dtype, new.dtype)
            if new is not original:
                with no_grad():
                    original.data = new.detach().clone()
            _store(self, "original", original)
        else:
            for i, part in enumerate(new):
                if not isinstance(part, Tensor):
                    raise _changed("right_inverse returns something else than tensors", "Tensor", type(part))
                if isinstance(original, Parameter):
                    part = Parameter(part, original.requires_grad)
                _store(self, f"original{i}", part)
        if not unsafe:
            with no_grad():
                _check(self(), shape, dtype)

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the tensor becomes `value`."""
        with no_grad():
            new: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise LampionError(
                        "parametrize", f"{type(module).__name__} has no right_inverse",
                        fix="define it, or write into parametrizations.NAME.original",
                    )  # fmt: skip
                new = module.right_inverse(new)
            for name, part in zip(self._names(), [new] if self.is_tensor else new, strict=True):
                target = getattr(self, name)
                if part.dtype is not target.dtype:
                    raise _changed("right_inverse changes the dtype", target.dtype, part.dtype)
                target.data = part.detach().clone()

    def _names(self) -> list[str]:
        return ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]

    def forward(self) -> Tensor:
        first, *rest = list(self)
        x = first(*(getattr(self, name) for name in self._names()))
        for module in rest:
            x = module(x)
        return x  # type: ignore[no-any-return]  # checked when it was registered


def _changed(problem: str, expected: Any, got: Any) -> LampionError:
    return LampionError("register_parametrization", problem, expected=str(expected), got=str(got),
                        fix="pass unsafe=True if that is meant")  # fmt: skip


def _check(value: Any, shape: tuple[int, ...], dtype: Any) -> None:
    if not isinstance(value, Tensor):
        raise _changed("a parametrization returns no tensor", "a Tensor", type(value).__name__)
    if value.dtype is not dtype:
        raise _changed("a parametrization changes the dtype", dtype, value.dtype)
    if tuple(value.shape) != shape:
        raise _changed("a parametrization changes the shape", shape, tuple(value.shape))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute a parameter or buffer of a module, each time it is read, from an original.

    Args:
        module: the module.
        tensor_name: which of its tensors.
        parametrization: a module whose `forward` gives the tensor from the original (or from several). It
            may have a `right_inverse`, which gives the original (or a tuple of them) from the tensor: then
            the tensor starts with the value that it had, and can be assigned to.
        unsafe: do not check that shape and dtype stay.

    Returns: the module, whose class is now one of its own.

    >>> import lampion
    >>> from lampion.nn.utils import parametrize
    >>> class Symmetric(lampion.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = parametrize.register_parametrization(lampion.nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all())
    True
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'parametrizations.weight.original']
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        before = getattr(module, tensor_name)
        if not unsafe:
            with no_grad():
                _check(parametrization(before), tuple(before.shape), before.dtype)
        chain = module.parametrizations[tensor_name]
        chain.append(parametrization)
        chain.unsafe = chain.unsafe or unsafe
        return module
    if tensor_name not in module._buffers and tensor_name not in module._parameters:
        raise LampionError("register_parametrization", f"there is no tensor {tensor_name!r}",
                           expected="the name of a parameter or buffer of the module",
                           got=type(module).__name__)  # fmt: skip
    chain = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
    delattr(module, tensor_name)
    names = [tensor_name]
    if is_parametrized(module):
        names += list(module.parametrizations)
    _change_class(module, names)
    if "parametrizations" not in module._modules:
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = chain
    return module


def _change_class(module: Module, names: Sequence[str]) -> None:
    """Give the module a class of its own, in which those names are computed."""
    original = type_before_parametrizations(module)

    def deepcopy(self: Module, memo: dict[int, Any]) -> Module:
        import copy

        twin = original.__new__(original)
        memo[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        _change_class(twin, list(twin.parametrizations))
        return twin

    def shallow_copy(self: Module) -> Module:
        twin = original.__new__(original)
        twin.__dict__.update(self.__dict__)
        _change_class(twin, list(twin.parametrizations))
        return twin

    def refuse(self: Module, protocol: Any = None) -> Any:
        raise LampionError("pickle", "a parametrized module has a class that is made when it runs",
                           fix="save its state_dict() instead")  # fmt: skip

    body: dict[str, Any] = {name: _computed(name) for name in names}
    body |= {"__copy__": shallow_copy, "__deepcopy__": deepcopy, "__reduce_ex__": refuse}
    own = type(f"Parametrized{original.__name__}", (original,), body)
    object.__setattr__(module, "__class__", own)


def _computed(name: str) -> property:
    def read(self: Module) -> Any:
        chain = self.parametrizations[name]
        if _cache is None:
            return chain()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = chain()
        return _cache[key]

    def write(self: Module, value: Tensor) -> None:
        if _cache is not None:
            _cache.pop((id(self), name), None)
        self.parametrizations[name].right_inverse(value)

    return property(read, write, doc=f"The parametrized {name}: computed each time it is read.")


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has parametrizations, or one of that tensor."""
    found = module._modules.get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def type_before_parametrizations(module: Module) -> type[Module]:
    """The class that the module had."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a tensor an ordinary one again.

    Args:
        module: the module.
        tensor_name: which of its tensors.
        leave_parametrized: let it have the value that was computed; else that of the original.
    """
    if not is_parametrized(module, tensor_name):
        raise LampionError("remove_parametrizations", f"{tensor_name!r} is not parametrized",
                           got=type(module).__name__)  # fmt: skip
    chain = module.parametrizations[tensor_name]
    if chain.is_tensor:
        tensor = chain.original
        if leave_parametrized:
            with no_grad():
                tensor.data = getattr(module, tensor_name).detach().clone()
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        tensor = Parameter(value.detach().clone()) if value.requires_grad else value.detach()
    else:
        raise LampionError("remove_parametrizations", "there are several originals; none is the tensor",
                           fix="pass leave_parametrized=True")  # fmt: skip
    original = type_before_parametrizations(module)
    del module.parametrizations[tensor_name]
    if len(module.parametrizations):
        object.__setattr__(module, "__class__", original)
        module_names = list(module.parametrizations)
        _rebase(module, original, module_names)
    else:
        del module.parametrizations
        object.__setattr__(module, "__class__", original)
    _store(module, tensor_name, tensor)
    return module


def _rebase(module: Module, original: type[Module], names: Sequence[str]) -> None:
    """From its first class, give the module one in which those names are computed."""
    kept = module._modules.pop("parametrizations")
    _change_class(module, names)
    module._modules["parametrizations"] = kept
