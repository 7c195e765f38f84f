"""Modules made of modules, or of parameters: in a row, in a list, by name."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from lampion.nn.module import Module, _enclosed, _indented
from lampion.nn.parameter import Parameter
from lampion.tensor import Tensor

S = TypeVar("S", bound="_Numbered")
P = TypeVar("P", bound="ParameterList")


class _Numbered(Module):
    """What Sequential and ModuleList share: children named "0", "1", ..., as a Python list has them."""

    _modules: dict[str, Module]  # type: ignore[assignment]  # never None here

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def _name(self, index: int) -> str:
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"index {position} is out of range for {len(self)} modules")
        return list(self._modules)[position]

    @overload
    def __getitem__(self: S, index: slice) -> S: ...
    @overload
    def __getitem__(self, index: int) -> Module: ...
    def __getitem__(self, index: slice | int) -> Module:
        """The module at a position, or a container of the same kind for a slice (sharing the modules)."""
        if isinstance(index, slice):
            part: _Numbered = type(self)()
            part._modules.update(self._part(index))
            return part
        return self._modules[self._name(index)]

    def _part(self, index: slice) -> dict[str, Module]:
        return {str(i): module for i, module in enumerate(list(self._modules.values())[index])}

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), module)

    def __delitem__(self, index: slice | int) -> None:
        names = list(self._modules)[index] if isinstance(index, slice) else [self._name(index)]
        kept = [module for name, module in self._modules.items() if name not in names]
        self._renumber(kept)

    def _renumber(self, modules: list[Module]) -> None:
        self._modules.clear()
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def append(self: S, module: Module) -> S:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def insert(self: S, index: int, module: Module) -> S:
        """Put a module before the one at `index`."""
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)
        return self

    def extend(self: S, modules: Iterable[Module]) -> S:
        """Add modules at the end."""
        for module in list(modules):
            self.append(module)
        return self


class Sequential(_Numbered):
    """Modules one after the other: the output of each is the input of the next.

    Args:
        modules: the modules, or one dict of them, whose keys become their names.

    >>> import lampion
    >>> from lampion import nn
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> net
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
    )
    >>> net(lampion.ones(5, 2)).shape
    (5, 3)
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            for i, module in enumerate(modules):
                self.add_module(str(i), module)

    def _part(self, index: slice) -> dict[str, Module]:
        return dict(list(self._modules.items())[index])  # names stay, as in PyTorch

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)
        return input


class ModuleList(_Numbered):
    """A list whose modules are registered. It has no `forward`: loop over it in yours.

    >>> from lampion import nn
    >>> layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    __iadd__ = _Numbered.extend

    def __repr__(self) -> str:
        """As PyTorch prints it: equal neighbours once, with their count."""
        runs: list[tuple[int, int, str]] = []
        for i, module in enumerate(self):
            text = repr(module)
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], i, text)
            else:
                runs.append((i, i, text))
        children = [
            f"({a}): {_indented(text)}" if a == b else f"({a}-{b}): {b - a + 1} x {_indented(text)}"
            for a, b, text in runs
        ]
        return _enclosed(type(self).__name__, [], children)


class ModuleDict(Module):
    """A dict whose modules are registered.

    >>> from lampion import nn
    >>> parts = nn.ModuleDict({"encoder": nn.Linear(4, 2), "decoder": nn.Linear(2, 4)})
    >>> list(parts)
    ['encoder', 'decoder']
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and modules."""
        return self._modules.items()

    def pop(self, key: str) -> Any:
        """Remove a module, and return it."""
        module = self._modules[key]
        del self._modules[key]
        return module

    def clear(self) -> None:
        """Remove all modules."""
        self._modules.clear()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules."""
        for key, module in modules.items() if isinstance(modules, Mapping) else modules:
            self[key] = module


# -- of parameters -----------------------------------------------------------------------------------


def _as_parameter(value: Any) -> Any:
    """Tensors become parameters; what else there is stays as it is, and is not registered."""
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def _described(name: str, value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"({name}): Object of type: {type(value).__name__}"
    kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
    size = "x".join(map(str, value.shape))
    return f"({name}): {kind} containing: [{value.dtype} of size {size}]"


class ParameterList(Module):
    """A list whose tensors are parameters.

    >>> import lampion
    >>> from lampion import nn
    >>> weights = nn.ParameterList([lampion.ones(2), lampion.zeros(3, 4)])
    >>> weights
    ParameterList(
        (0): Parameter containing: [lampion.float32 of size 2]
        (1): Parameter containing: [lampion.float32 of size 3x4]
    )
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, str(i)) for i in range(self._size))

    def _name(self, index: int) -> str:
        position = operator.index(index)
        if not -self._size <= position < self._size:
            raise IndexError(f"index {position} is out of range for {self._size} parameters")
        return str(position % self._size)

    @overload
    def __getitem__(self: P, index: slice) -> P: ...
    @overload
    def __getitem__(self, index: int) -> Any: ...
    def __getitem__(self, index: slice | int) -> Any:
        """The parameter at a position, or a list of those of a slice."""
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return getattr(self, self._name(index))

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, self._name(index), _as_parameter(value))

    def append(self: P, value: Any) -> P:
        """Add a parameter at the end."""
        self._size += 1
        self[-1] = value
        return self

    def extend(self: P, values: Iterable[Any]) -> P:
        """Add parameters at the end."""
        if isinstance(values, Tensor) or not isinstance(values, Iterable):
            raise TypeError(f"extend takes several parameters, got {type(values).__name__}")
        for value in list(values):
            self.append(value)
        return self

    __iadd__ = extend

    def extra_repr(self) -> str:
        return "\n".join(f"  {_described(str(i), value)}" for i, value in enumerate(self))


class ParameterDict(Module):
    """A dict whose tensors are parameters.

    >>> import lampion
    >>> from lampion import nn
    >>> list(nn.ParameterDict({"scale": lampion.ones(2)}).named_parameters())[0][0]
    'scale'
    """

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"the names of parameters are strings, not {type(key).__name__}")
        setattr(self, key, _as_parameter(value))
        self._keys[key] = None

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._keys.keys()

    def values(self) -> Iterable[Any]:
        """The parameters."""
        return (self[key] for key in self._keys)

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and parameters."""
        return ((key, self[key]) for key in self._keys)

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter of that name, or `default`."""
        return self[key] if key in self._keys else default

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The parameter of that name, which is first set to `default` if there is none."""
        if key not in self._keys:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        """Remove a parameter, and return it."""
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Remove the last parameter, and return it with its name."""
        key = next(reversed(self._keys))
        return key, self.pop(key)

    def clear(self) -> None:
        """Remove all parameters."""
        for key in list(self._keys):
            del self[key]

    def copy(self) -> ParameterDict:
        """Another dict of the same parameters."""
        return ParameterDict(list(self.items()))

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """A dict with one value for all of these names."""
        return ParameterDict([(key, default) for key in keys])

    def update(self, parameters: Any) -> None:
        """Add or replace parameters: of a dict (a plain one in the order of its names) or of pairs."""
        if type(parameters) is dict:
            parameters = sorted(parameters.items())
        for key, value in parameters.items() if hasattr(parameters, "items") else parameters:
            self[key] = value

    def __or__(self, other: ParameterDict) -> ParameterDict:
        both = self.copy()
        both.update(other)
        return both

    def __ior__(self, other: Any) -> ParameterDict:  # type: ignore[misc]  # takes more than `|` does
        self.update(other)
        return self

    def extra_repr(self) -> str:
        return "\n".join(f"  {_described(key, value)}" for key, value in self.items())
