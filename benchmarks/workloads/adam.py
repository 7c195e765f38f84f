"""Adam alone over ten million parameters in four tensors: nothing but memory traffic.

A step reads parameter, gradient and both moments, and writes all but the gradient: seven streams of 40 MB.
The contender "triad" moves just these bytes and computes next to nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.contenders import TORCH_OPTIM
from benchmarks.harness import Options, Target, Times, race
from benchmarks.training import Arrays, Training


def network(nn: Any) -> Any:
    return nn.Sequential(*[nn.Linear(1000, 2500, bias=False) for _ in range(4)])


def no_batch(rng: np.random.Generator) -> Arrays:
    return np.zeros(1, np.float32), np.zeros(1, np.int64)


def training(name: str, title: str, network: Any, shapes: dict[str, tuple[int, ...]]) -> Training:
    return Training(
        name=name,
        title=title,
        network=network,
        loss=None,
        jax_loss=None,
        shapes=shapes,
        batch=no_batch,
        optimizer=(
            "Adam",
            {"lr": 1e-5},
        ),  # the gradients never change: at 0.001 all weights would walk far off
        step="update",
        checked=(1, 10, 50),
        pool=1,
        tolerance={1: 2e-6, 10: 2e-6, 50: 2e-6},
    )


TRAINING = training(
    "adam",
    "Adam alone over 10 million parameters in 4 tensors",
    network,
    {f"{i}.weight": (2500, 1000) for i in range(4)},
)


def targets(times: Times, peak: float) -> list[Target]:
    if "lampion compiled" not in times:
        return []
    found = []
    if "triad" in times:
        ratio = times.ratio("lampion compiled", "triad")
        found.append(Target("compiled against a triad that moves the same bytes", ratio, "<= 1.15", "x"))
    if best := times.best(TORCH_OPTIM):
        found.append(Target(f"compiled against {best}", times.ratio(best, "lampion compiled"), ">= 1", "x"))
    if "jax jit" in times:
        found.append(
            Target("compiled against jax jit", times.ratio("jax jit", "lampion compiled"), ">= 1", "x")
        )
    return found


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
