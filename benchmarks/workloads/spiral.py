"""A network so small that all the time is overhead: 30 points in the plane, 2-10-3, Adam."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.contenders import TORCH_OPTIM
from benchmarks.harness import Options, Target, Times, race
from benchmarks.training import Arrays, Training, jax_cross_entropy, noisy


def network(nn: Any) -> Any:
    return nn.Sequential(nn.Linear(2, 10), nn.Tanh(), nn.Linear(10, 3))


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    return functional.cross_entropy(model(x), y)


def jax_loss(jax: Any, w: Any, x: Any, y: Any) -> Any:
    hidden = jax.numpy.tanh(x @ w["0.weight"].T + w["0.bias"])
    return jax_cross_entropy(jax, hidden @ w["2.weight"].T + w["2.bias"], y)


def batch(rng: np.random.Generator) -> Arrays:
    """Thirty points on three spiral arms."""
    labels = rng.integers(0, 3, 30)
    radius = rng.random(30)
    angle = labels * 4.0 + radius * 4.0 + rng.standard_normal(30) * 0.2
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    return points.astype(np.float32), noisy(labels, 3, rng)


TRAINING = Training(
    name="spiral",
    title="spiral: batch 30x2, MLP 2-10-3, Adam",
    network=network,
    loss=loss,
    jax_loss=jax_loss,
    shapes={"0.weight": (10, 2), "0.bias": (10,), "2.weight": (3, 10), "2.bias": (3,)},
    batch=batch,
    optimizer=("Adam", {"lr": 0.01}),
)


def targets(times: Times, peak: float) -> list[Target]:
    found = []
    best = times.best(TORCH_OPTIM)
    if "lampion compiled" in times:
        found.append(Target("compiled step", times.us("lampion compiled"), "<= 20", "us"))
        if best:
            found.append(
                Target(f"compiled against {best}", times.ratio(best, "lampion compiled"), ">= 8", "x")
            )
        if hand := times.best(("torch one-graph", "torch one-graph unlocked")):
            found.append(Target(f"compiled against {hand}", times.ratio(hand, "lampion compiled"), None, "x"))
        if "jax jit" in times:
            found.append(
                Target("compiled against jax jit", times.ratio("jax jit", "lampion compiled"), None, "x")
            )
    torch_eager = times.best(("torch eager", "torch eager unlocked"))
    if "lampion eager" in times and torch_eager:
        found.append(
            Target(f"eager against {torch_eager}", times.ratio(torch_eager, "lampion eager"), ">= 1", "x")
        )
    return found


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
