"""PyTorch: eager, eager with its fused optimizer, compiled, and compiled into one graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.training import Training, load


class TorchSession:
    def __init__(
        self, training: Training, weights: dict[str, np.ndarray], *, mode: str, autocast: bool = False,
        channels_last: bool = False,
    ) -> None:  # fmt: skip
        torch.manual_seed(0)
        model = training.network(torch.nn)
        load(model, {name: torch.from_numpy(value.copy()) for name, value in weights.items()})
        self.channels_last = channels_last
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
        if autocast:
            training = in_bfloat16(training)
        self.step = STEPS[training.step, mode == "one-graph"](training, model, mode)
        self.model, self.mode, self.wants_gradient = (
            model,
            mode,
            training.step == "gradient" and mode != "one-graph",
        )

    def prepare(self, arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any]:
        x, y = (torch.from_numpy(array) for array in arrays)
        if self.channels_last:
            x, y = (z.contiguous(memory_format=torch.channels_last) if z.ndim == 4 else z for z in (x, y))
        return x.requires_grad_(self.wants_gradient), y

    def value(self, loss: Any) -> float:
        if loss is None:  # an update: look at a parameter
            loss = next(iter(self.model.parameters())).detach()[0, 1]
        return float((loss[0] if isinstance(loss, tuple) else loss).item())

    def facts(self) -> dict[str, Any]:
        maps = Path("/proc/self/maps")
        return {
            "version": torch.__version__,
            "threads": torch.get_num_threads(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "unlocked": maps.exists() and "mkl_unlocked" in maps.read_text(),
        }


def in_bfloat16(training: Training) -> Training:
    """The same with its forward pass under autocast."""
    loss_of = training.loss
    assert loss_of is not None

    def loss(*args: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return loss_of(*args)

    return replace(training, loss=loss)


def make_optimizer(training: Training, model: Any, mode: str) -> Any:
    assert training.optimizer is not None
    name, arguments = training.optimizer
    extra = {"fused": True} if mode == "fused" else {}
    return getattr(torch.optim, name)(model.parameters(), **arguments, **extra)


def optim_step(training: Training, model: Any, mode: str) -> Any:
    """The step that a PyTorch user writes; compiled whole in mode "compile"."""
    optimizer = make_optimizer(training, model, mode)
    loss_of = training.loss
    assert loss_of is not None

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(torch.nn.functional, model, x, y)
        loss.backward()
        if training.clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimizer.step()
        return loss

    # Dynamo splits this at backward() and at the optimizer's bookkeeping, and compiles the pieces: model
    # forward and backward, and the update. Compiling model and optimizer.step apart times the same.
    return torch.compile(step) if mode == "compile" else step


def one_graph_step(training: Training, model: Any, mode: str) -> Any:
    """A step without a break in its graph: functional gradients, and the update written out."""
    params = {name: value.detach().clone() for name, value in model.named_parameters()}
    loss_of = training.loss
    assert loss_of is not None
    assert training.optimizer is not None
    update = UPDATES[training.optimizer[0]](params, **training.optimizer[1])

    def loss_at(params: dict[str, Any], x: Any, y: Any) -> Any:
        def call(*args: Any) -> Any:
            return torch.func.functional_call(model, params, args)

        return loss_of(torch.nn.functional, call, x, y)

    def step(x: Any, y: Any) -> Any:
        gradients, loss = torch.func.grad_and_value(loss_at)(params, x, y)
        if training.clip is not None:
            squares = [gradient.square().sum() for gradient in gradients.values()]
            factor = (training.clip / (torch.stack(squares).sum().sqrt() + 1e-6)).clamp(max=1)
            gradients = {name: gradient * factor for name, gradient in gradients.items()}
        update(gradients)
        return loss

    return torch.compile(step, fullgraph=True)


def gradient_step(training: Training, model: Any, mode: str) -> Any:
    """The loss and its gradient with respect to x."""
    loss_of = training.loss
    assert loss_of is not None

    def step(x: Any, y: Any) -> Any:
        x.grad = None
        loss = loss_of(torch.nn.functional, model, x, y)
        loss.backward()
        return loss, x.grad

    return torch.compile(step) if mode == "compile" else step


def one_graph_gradient(training: Training, model: Any, mode: str) -> Any:
    """The same without a break in the graph."""
    loss_of = training.loss
    assert loss_of is not None

    def step(x: Any, y: Any) -> Any:
        gradient, loss = torch.func.grad_and_value(lambda x: loss_of(torch.nn.functional, model, x, y))(x)
        return loss, gradient

    return torch.compile(step, fullgraph=True)


def update_step(training: Training, model: Any, mode: str) -> Any:
    """The optimizer alone."""
    optimizer = make_optimizer(training, model, mode)
    gradients = training.gradients()
    for name, value in model.named_parameters():
        value.grad = torch.from_numpy(gradients[name])
    update = torch.compile(optimizer.step) if mode == "compile" else optimizer.step

    def step(x: Any, y: Any) -> Any:
        update()

    return step


def one_graph_update(training: Training, model: Any, mode: str) -> Any:
    """The same, written out and compiled."""
    gradients = {name: torch.from_numpy(value) for name, value in training.gradients().items()}
    params = {name: value.detach() for name, value in model.named_parameters()}
    assert training.optimizer is not None
    update = torch.compile(UPDATES[training.optimizer[0]](params, **training.optimizer[1]), fullgraph=True)

    def step(x: Any, y: Any) -> Any:
        update(gradients)

    return step


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
STEPS = {  # by (what a step is, whether in one graph)
    ("train", False): optim_step,
    ("train", True): one_graph_step,
    ("gradient", False): gradient_step,
    ("gradient", True): one_graph_gradient,
    ("update", False): update_step,
    ("update", True): one_graph_update,
}
build = TorchSession
