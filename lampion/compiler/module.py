"""A compiled module: it is called as machine code, and is the module itself in everything else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lampion.compiler.function import CompiledFunction
from lampion.nn.hooks import ModuleHooks
from lampion.nn.module import Module
from lampion.nn.saving import LoadResult

#: What a compiled module has of its own; all else is the module's that it was made of.
_OWN = frozenset({"_orig_mod", "_compiled"})
_SHARED = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
_OF_THE_FUNCTION = frozenset({"function", "plans", "traces", "refused", "guarded"})
_PREFIX = "_orig_mod."


class CompiledModule(Module):
    """What `lampion.compile` makes of a module (PyTorch: `OptimizedModule`).

    It can stand wherever a module can. Parameters, buffers and modules, training mode, hooks and attributes
    are those of the module that it was made of, `_orig_mod`, under the same names: a `state_dict` of the one
    fits the other. (PyTorch puts ``_orig_mod.`` before the names; such a `state_dict` can be loaded too.)

    >>> import lampion
    >>> net = lampion.nn.Sequential(lampion.nn.Linear(2, 1))
    >>> fast = lampion.compile(net)
    >>> isinstance(fast, lampion.nn.Module), fast.train(False) is fast, net.training
    (True, True, False)
    >>> list(fast.state_dict())
    ['0.weight', '0.bias']
    >>> fast(lampion.ones(4, 2)).sum().backward()
    >>> net[0].bias.grad
    tensor([4.])
    """

    _orig_mod: Module
    _compiled: CompiledFunction[Any, Any]

    def __init__(self, module: Module) -> None:
        self.__dict__.update(_orig_mod=module, _compiled=CompiledFunction(module))
        self.__dict__.update((name, module.__dict__[name]) for name in _SHARED)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The same as calling it."""
        return self._compiled(*args, **kwargs)

    def compile(self, **options: Any) -> None:
        """Nothing: it is compiled."""

    def explain(self, profile: bool = False) -> Any:
        """What became of the module: graph, kernels, memory; see `compiler.explain`."""
        return self._compiled.explain(profile)

    # -- everything else is the module's ------------------------------------------------------------------

    @property
    def training(self) -> bool:  # type: ignore[override]  # an attribute of other modules
        """Whether the module is in training mode."""
        return self._orig_mod.training

    @property
    def _hooks(self) -> ModuleHooks | None:  # type: ignore[override]  # an attribute of other modules
        return self._orig_mod._hooks

    def __getattr__(self, name: str) -> Any:
        if "_orig_mod" not in self.__dict__:  # while it is copied
            raise AttributeError(name)
        try:
            return getattr(self._orig_mod, name)
        except AttributeError:
            if name in _OF_THE_FUNCTION:
                return getattr(self._compiled, name)
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            object.__setattr__(self, name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._orig_mod, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._orig_mod)})

    def __len__(self) -> int:
        return len(self._orig_mod)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._orig_mod)

    def __getitem__(self, key: Any) -> Any:
        return self._orig_mod[key]  # type: ignore[index]  # a container, or the error that it raises

    def __bool__(self) -> bool:
        return bool(self._orig_mod)

    def _walk(self, prefix: str, seen: set[Any] | None) -> Iterator[tuple[str, Module]]:
        return self._orig_mod._walk(prefix, seen)

    def train(self, mode: bool = True) -> CompiledModule:
        """Switch to training mode; returns the compiled module."""
        self._orig_mod.train(mode)
        return self

    def apply(self, fn: Callable[[Module], Any]) -> CompiledModule:
        """Call `fn` with every module; returns the compiled module."""
        self._orig_mod.apply(fn)
        return self

    def state_dict(self, **options: Any) -> dict[str, Any]:
        """That of the module: see `Module.state_dict`."""
        return self._orig_mod.state_dict(**options)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> LoadResult:
        """Load it into the module: see `Module.load_state_dict`."""
        if (
            isinstance(state_dict, Mapping)
            and state_dict
            and all(key.startswith(_PREFIX) for key in state_dict)
        ):
            state_dict = {key[len(_PREFIX) :]: value for key, value in state_dict.items()}
        return self._orig_mod.load_state_dict(state_dict, strict, assign)

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledModule:
        return CompiledModule(copy.deepcopy(self._orig_mod, memo))

    def __reduce__(self) -> Any:
        return CompiledModule, (self._orig_mod,)

    def __repr__(self) -> str:
        inner = repr(self._orig_mod).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  (_orig_mod): {inner}\n)"


__all__ = ["CompiledModule"]
