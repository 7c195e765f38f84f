"""Softmax cross-entropy of 700 x 10000 logits, forward and backward: memory traffic and exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.contenders import TORCH
from benchmarks.harness import Options, Target, Times, race
from benchmarks.training import Arrays, Training, jax_cross_entropy

ROWS, CLASSES = 700, 10_000


def network(nn: Any) -> Any:
    return nn.Identity()


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    return functional.cross_entropy(model(x), y)


def jax_loss(jax: Any, w: Any, x: Any, y: Any) -> Any:
    return jax_cross_entropy(jax, x, y)


def batch(rng: np.random.Generator) -> Arrays:
    return rng.standard_normal((ROWS, CLASSES), dtype=np.float32), rng.integers(0, CLASSES, ROWS)


TRAINING = Training(
    name="cross-entropy",
    title="softmax cross-entropy of 700x10000 logits, forward and backward",
    network=network,
    loss=loss,
    jax_loss=jax_loss,
    shapes={},
    batch=batch,
    optimizer=None,
    step="gradient",
    checked=(1, 4, 8),
    pool=4,
    tolerance=dict.fromkeys((1, 4, 8), 2e-6),
)
BYTES = 4 * ROWS * CLASSES  # of the logits, and as many of their gradient


def targets(times: Times, peak: float) -> list[Target]:
    if "lampion compiled" not in times:
        return []
    found = []
    if best := times.best(TORCH):
        found.append(Target(f"compiled against {best}", times.ratio(best, "lampion compiled"), ">= 2.5", "x"))
    if "jax jit" in times:
        found.append(
            Target("compiled against jax jit", times.ratio("jax jit", "lampion compiled"), ">= 1", "x")
        )
    rate = 2 * BYTES / times.us("lampion compiled") / 1e3
    return [*found, Target("logits read once and gradient written once", rate, None, "GB/s")]


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
