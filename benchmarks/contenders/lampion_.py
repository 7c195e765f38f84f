"""Lampion, eager or with the whole step compiled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import lampion
from benchmarks.training import Training, load


class LampionSession:
    def __init__(
        self, training: Training, weights: dict[str, np.ndarray], *, compiled: bool, autocast: bool = False
    ) -> None:
        lampion.manual_seed(0)
        model = training.network(lampion.nn)
        load(model, {name: lampion.tensor(value) for name, value in weights.items()})
        step = STEPS[training.step](in_bfloat16(training) if autocast else training, model)
        self.model, self.compiled = model, compiled
        self.wants_gradient = training.step == "gradient"
        self.step = lampion.compile(step) if compiled else step

    def prepare(self, arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any]:
        x, y = arrays
        return lampion.from_numpy(x).requires_grad_(self.wants_gradient), lampion.from_numpy(y)

    def value(self, loss: Any) -> float:
        if loss is None:  # an update: look at a parameter
            loss = next(iter(self.model.parameters())).detach()[0, 1]
        return float((loss[0] if isinstance(loss, tuple) else loss).item())

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"version": lampion.__version__, "threads": lampion.get_num_threads()}
        if self.compiled:
            report = self.step.explain()
            # A step that quietly fell back to Python would be timed, and shown, as compiled.
            facts |= {"fallbacks": report.fallbacks, "callouts": report.callouts}
        return facts

    def arrays(self) -> list[np.ndarray]:
        """The model's arrays as they stand, in order: what "the same bits" is about."""
        return [value.numpy() for value in self.model.state_dict().values()]


def in_bfloat16(training: Training) -> Training:
    """The same with its forward pass under autocast."""
    loss_of = training.loss
    assert loss_of is not None

    def loss(*args: Any) -> Any:
        with lampion.autocast("cpu", dtype=lampion.bfloat16):
            return loss_of(*args)

    return replace(training, loss=loss)


def make_optimizer(training: Training, model: Any) -> Any:
    assert training.optimizer is not None
    name, arguments = training.optimizer
    return getattr(lampion.optim, name)(model.parameters(), **arguments)


def train(training: Training, model: Any) -> Any:
    optimizer = make_optimizer(training, model)
    functional, loss_of = lampion.nn.functional, training.loss
    assert loss_of is not None

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(functional, model, x, y)
        loss.backward()
        if training.clip is not None:
            lampion.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimizer.step()
        return loss

    return step


def gradient(training: Training, model: Any) -> Any:
    functional, loss_of = lampion.nn.functional, training.loss
    assert loss_of is not None

    def step(x: Any, y: Any) -> Any:
        loss = loss_of(functional, model, x, y)
        return loss.detach(), *lampion.autograd.grad(loss, x)

    return step


def update(training: Training, model: Any) -> Any:
    optimizer = make_optimizer(training, model)
    gradients = training.gradients()
    parameters = dict(model.named_parameters())
    for name, value in parameters.items():
        value.grad = lampion.from_numpy(gradients[name])

    def step(x: Any, y: Any) -> Any:
        optimizer.step()

    return step


STEPS = {"train": train, "gradient": gradient, "update": update}
build = LampionSession
