"""The older forms of weight and spectral normalisation: hooks that set a weight before each forward pass.

`nn.utils.parametrizations` has the newer ones, which compile.
"""

from __future__ import annotations

from typing import Any, TypeVar

from lampion import ops
from lampion.errors import LampionError
from lampion.mode import no_grad
from lampion.nn import functional as F
from lampion.nn.module import Module
from lampion.nn.parameter import Parameter
from lampion.nn.utils.parametrizations import norm_except
from lampion.tensor import Tensor

M = TypeVar("M", bound=Module)


class _WeightNorm:
    """The hook: weight = g * v / |v|."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute(self, module: Module) -> Tensor:
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        out: Tensor = v * (g / norm_except(v, self.dim))
        return out

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self.name, self.compute(module))


class _SpectralNorm:
    """The hook: weight = original / its largest singular value, which is followed by power iteration."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        self.name = name
        self.n_power_iterations = n_power_iterations
        self.dim = dim
        self.eps = eps

    def matrix(self, weight: Tensor) -> Tensor:
        order = (self.dim, *(a for a in range(weight.ndim) if a != self.dim))
        return ops.flatten(ops.permute(weight, order), 1)

    def compute(self, module: Module, iterate: bool) -> Tensor:
        weight: Tensor = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = self.matrix(weight)
        if iterate:
            with no_grad():
                new_u, new_v = u, v
                for _ in range(self.n_power_iterations):
                    new_v = F.normalize(ops.mv(matrix.detach().T, new_u), dim=0, eps=self.eps)
                    new_u = F.normalize(ops.mv(matrix.detach(), new_v), dim=0, eps=self.eps)
                u.copy_(new_u)
                v.copy_(new_v)
        u, v = u.clone(), v.clone()
        return weight / ops.dot(u, ops.mv(matrix, v))

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self.name, self.compute(module, module.training))


def _hook_of(module: Module, kind: type[Any], name: str) -> tuple[int, Any] | None:
    hooks = module._hooks
    for number, (hook, _) in list(hooks.before.items()) if hooks is not None else []:
        if isinstance(hook, kind) and hook.name == name:
            return number, hook
    return None


def _parameter(function: str, module: Module, kind: type[Any], name: str) -> Parameter:
    if _hook_of(module, kind, name) is not None:
        raise LampionError(function, f"{name!r} has it already", got=type(module).__name__)
    parameter = module._parameters.get(name)
    if parameter is None:
        raise LampionError(function, f"there is no parameter {name!r}", got=type(module).__name__)
    del module._parameters[name]
    return parameter


def _taken_away(function: str, module: Module, kind: type[Any], name: str) -> Any:
    found = _hook_of(module, kind, name)
    if found is None:
        raise LampionError(function, f"{name!r} has no such normalisation", got=type(module).__name__)
    assert module._hooks is not None
    del module._hooks.before[found[0]]
    return found[1]


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Learn a weight as lengths ``weight_g`` and directions ``weight_v``: ``g * v / |v|``.

    The weight is set before each forward pass. `parametrizations.weight_norm` is the newer form.

    Args:
        module: the layer.
        name: which of its parameters.
        dim: the dimension along which each slice has a length of its own; None for one length in all.
    """
    weight = _parameter("weight_norm", module, _WeightNorm, name)
    hook = _WeightNorm(name, dim if dim is None or dim == -1 else dim % weight.ndim)
    module.register_parameter(f"{name}_g", Parameter(norm_except(weight.detach(), hook.dim)))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    setattr(module, name, hook.compute(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Make a weight that `weight_norm` took apart an ordinary parameter again."""
    hook = _taken_away("remove_weight_norm", module, _WeightNorm, name)
    weight = hook.compute(module).detach()
    delattr(module, name)
    del module._parameters[f"{name}_g"], module._parameters[f"{name}_v"]
    module.register_parameter(name, Parameter(weight))
    return module


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Divide a weight by its largest singular value before each forward pass.

    `parametrizations.spectral_norm` is the newer form, and explains the arguments.
    """
    weight = _parameter("spectral_norm", module, _SpectralNorm, name)
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    hook = _SpectralNorm(name, n_power_iterations, dim % weight.ndim, eps)
    rows, columns = hook.matrix(weight.detach()).shape
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.detach())
    for label, size in (("u", rows), ("v", columns)):
        start = F.normalize(ops.randn(size, dtype=weight.dtype), dim=0, eps=eps)
        module.register_buffer(f"{name}_{label}", start)
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Make a weight that `spectral_norm` divides an ordinary parameter again, with the value that it has."""
    hook = _taken_away("remove_spectral_norm", module, _SpectralNorm, name)
    weight = hook.compute(module, False).detach()
    delattr(module, name)
    del module._parameters[f"{name}_orig"], module._buffers[f"{name}_u"], module._buffers[f"{name}_v"]
    module.register_parameter(name, Parameter(weight))
    return module
