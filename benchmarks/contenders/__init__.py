"""Who takes part. Each contender is a module here with `build(training, weights, **options)`.

What it returns is a session: `prepare(arrays)` makes a batch of the contender's own tensors, `step(x, y)`
trains on it and returns the loss (perhaps still in flight), `value(loss)` waits for it and returns a float,
`facts()` says what is worth recording. Where `training.step` is "gradient", `step` returns loss and gradient;
where it is "update", a parameter, of which `value` is the first element.
"""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from benchmarks.training import Training


class Session(Protocol):
    """One contender, ready to train one workload."""

    def prepare(self, arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any]: ...

    def step(self, x: Any, y: Any) -> Any: ...

    def value(self, loss: Any) -> float: ...

    def facts(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Contender:
    """How to start a contender: its module here, the package it needs, its options."""

    module: str
    package: str
    options: dict[str, Any] = field(default_factory=dict)
    unlocked: bool = False  # preload mkl_unlocked.c
    only: tuple[str, ...] = ()  # the workloads that it is for; empty: all
    compared: tuple[int, ...] | None = None  # the steps at which its loss is; None: all that are checked

    def takes(self, training: Training) -> bool:
        """Whether it has a part in that workload."""
        if training.optimizer is None and self.options.get("mode") == "fused":
            return False  # it is the optimizer that is fused: without one this is "torch eager" again
        if training.name in IMAGES and self.options.get("mode") == "one-graph":
            return False  # batch normalisation changes its statistics in place, which torch.func does not do
        return not self.only or training.name in self.only

    def missing(self) -> str | None:
        """Why this contender cannot run here, or None."""
        if importlib.util.find_spec(self.package) is None:
            return f"{self.package} is not installed"
        if self.unlocked and (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            return "only the Linux x86-64 wheels of torch hold the MKL that this unlocks"
        return no_bfloat16(self.package) if self.options.get("autocast") else None


def no_bfloat16(package: str) -> str | None:
    """Why that package does not multiply bfloat16 on this processor, or None."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if not any(features.get(name) for name in ("avx512bf16", "amx-bf16", "bf16")):
        return "this processor has no products of bfloat16"
    if not hasattr(importlib.import_module(package), "autocast"):
        return f"{package} has no autocast"
    return None


#: Workloads with images, for which PyTorch has two layouts.
IMAGES = ("deepconvnet", "deepconvnet-eager", "lenet", "conv-bn-relu", "resnet18")
_TORCH = {
    "torch eager": Contender("torch_", "torch", {"mode": "eager"}),
    "torch fused": Contender("torch_", "torch", {"mode": "fused"}),
    "torch compile": Contender("torch_", "torch", {"mode": "compile"}),
    "torch one-graph": Contender("torch_", "torch", {"mode": "one-graph"}),
}
_TORCH |= {
    f"{name} channels-last": replace(torch, options=torch.options | {"channels_last": True}, only=IMAGES)
    for name, torch in _TORCH.items() if name != "torch one-graph"
}  # fmt: skip
_BF16 = {
    "lampion bf16": Contender("lampion_", "lampion", {"compiled": True, "autocast": True}, only=("bf16",)),
    **{
        f"torch {mode} bf16": Contender("torch_", "torch", {"mode": mode, "autocast": True}, only=("bf16",))
        for mode in ("fused", "compile")
    },
}
DEZERO = ("spiral", "mlp", "mlp-deep", "deepconvnet", "deepconvnet-eager", "lenet")
CONTENDERS: dict[str, Contender] = {
    "lampion compiled": Contender("lampion_", "lampion", {"compiled": True}),
    "lampion eager": Contender("lampion_", "lampion", {"compiled": False}),
    **_TORCH,
    **{f"{name} unlocked": replace(torch, unlocked=True) for name, torch in _TORCH.items()},
    **_BF16,
    "jax jit": Contender("jax_", "jax"),
    # (DeZero's Adam adds its epsilon before the correction of the bias: after a step, other weights.)
    "dezero": Contender("dezero_", "dezero", only=DEZERO, compared=(1,)),
    "triad": Contender("triad_", "llvmlite", only=("adam", "adam-many"), compared=()),
}
# The torch that the claims are about: torch.optim's optimizers, eager or compiled. "one-graph" has its
# optimizer written out by hand, as nobody's training loop does, to show how far torch.compile could go.
TORCH = tuple(name for name in CONTENDERS if name.startswith("torch"))
TORCH_OPTIM = tuple(name for name in TORCH if not {"one-graph", "bf16"} & {*name.split()})
