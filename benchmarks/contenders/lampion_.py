"""Lampion, eager or with the whole step compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

import lampion
from benchmarks.training import Training


class LampionSession:
    def __init__(self, training: Training, weights: dict[str, np.ndarray], *, compiled: bool) -> None:
        lampion.manual_seed(0)
        model = training.network(lampion.nn)
        model.load_state_dict({name: lampion.tensor(value) for name, value in weights.items()})
        name, arguments = training.optimizer
        optimizer = getattr(lampion.optim, name)(model.parameters(), **arguments)
        functional, loss_of = lampion.nn.functional, training.loss

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = loss_of(functional, model, x, y)
            loss.backward()
            optimizer.step()
            return loss

        self.model, self.compiled = model, compiled
        self.step = lampion.compile(step) if compiled else step

    def prepare(self, arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any]:
        x, y = arrays
        return lampion.from_numpy(x), lampion.from_numpy(y)

    def value(self, loss: Any) -> float:
        return float(loss.item())

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


build = LampionSession
