"""PyTorch: eager, eager with its fused optimizer, compiled, and compiled into one graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.training import Training


class TorchSession:
    def __init__(self, training: Training, weights: dict[str, np.ndarray], *, mode: str) -> None:
        torch.manual_seed(0)
        model = training.network(torch.nn)
        model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
        make = one_graph_step if mode == "one-graph" else optim_step
        self.step = make(training, model, mode)
        self.mode = mode

    def prepare(self, arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any]:
        x, y = arrays
        return torch.from_numpy(x), torch.from_numpy(y)

    def value(self, loss: Any) -> float:
        return float(loss.item())

    def facts(self) -> dict[str, Any]:
        maps = Path("/proc/self/maps")
        return {
            "version": torch.__version__,
            "threads": torch.get_num_threads(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "unlocked": maps.exists() and "mkl_unlocked" in maps.read_text(),
        }


def optim_step(training: Training, model: Any, mode: str) -> Any:
    """The step that a PyTorch user writes; compiled whole in mode "compile"."""
    name, arguments = training.optimizer
    extra = {"fused": True} if mode == "fused" else {}
    optimizer = getattr(torch.optim, name)(model.parameters(), **arguments, **extra)
    loss_of = training.loss

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(torch.nn.functional, model, x, y)
        loss.backward()
        optimizer.step()
        return loss

    # Dynamo splits this at backward() and at the optimizer's bookkeeping, and compiles the pieces: model
    # forward and backward, and the update. Compiling model and optimizer.step apart times the same.
    return torch.compile(step) if mode == "compile" else step


def one_graph_step(training: Training, model: Any, mode: str) -> Any:
    """A step without a break in its graph: functional gradients, and the update written out."""
    params = {name: value.detach().clone() for name, value in model.named_parameters()}
    loss_of = training.loss
    update = UPDATES[training.optimizer[0]](params, **training.optimizer[1])

    def loss_at(params: dict[str, Any], x: Any, y: Any) -> Any:
        def call(*args: Any) -> Any:
            return torch.func.functional_call(model, params, args)

        return loss_of(torch.nn.functional, call, x, y)

    def step(x: Any, y: Any) -> Any:
        gradients, loss = torch.func.grad_and_value(loss_at)(params, x, y)
        update(gradients)
        return loss

    return torch.compile(step, fullgraph=True)


def adam(params: dict[str, Any], *, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8):
    first = {name: torch.zeros_like(value) for name, value in params.items()}
    second = {name: torch.zeros_like(value) for name, value in params.items()}
    steps = torch.zeros(())
    b1, b2 = betas

    def update(gradients: dict[str, Any]) -> None:
        steps.add_(1)
        c1, c2 = 1 - b1**steps, 1 - b2**steps
        for name, value in params.items():
            gradient = gradients[name]
            first[name].lerp_(gradient, 1 - b1)
            second[name].mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
            value.sub_(lr / c1 * first[name] / ((second[name] / c2).sqrt() + eps))

    return update


def sgd(params: dict[str, Any], *, lr: float, momentum: float = 0.0):
    moving = {name: torch.zeros_like(value) for name, value in params.items()}

    def update(gradients: dict[str, Any]) -> None:
        for name, value in params.items():
            direction = gradients[name]
            if momentum:
                direction = moving[name].mul_(momentum).add_(direction)
            value.sub_(lr * direction)

    return update


UPDATES = {"Adam": adam, "SGD": sgd}
build = TorchSession
