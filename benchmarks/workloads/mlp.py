"""Where matrix products begin to count: 100 images of 784 pixels, 784-1000-10, Adam."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.contenders import TORCH_OPTIM
from benchmarks.harness import Options, Target, Times, race
from benchmarks.training import Arrays, Training, jax_cross_entropy, noisy

BATCH, PIXELS, HIDDEN, CLASSES = 100, 784, 1000, 10
TEACHER = np.random.default_rng(3).standard_normal((PIXELS, CLASSES)).astype(np.float32)


def network(nn: Any) -> Any:
    return nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    return functional.cross_entropy(model(x), y)


def jax_loss(jax: Any, w: Any, x: Any, y: Any) -> Any:
    hidden = jax.nn.relu(x @ w["0.weight"].T + w["0.bias"])
    return jax_cross_entropy(jax, hidden @ w["2.weight"].T + w["2.bias"], y)


def batch(rng: np.random.Generator) -> Arrays:
    """Images of noise, labelled by a fixed linear rule."""
    x = rng.standard_normal((BATCH, PIXELS), dtype=np.float32)
    return x, noisy((x @ TEACHER).argmax(axis=1), CLASSES, rng)


# Forward, and the gradient of each weight, and that of the hidden layer; the input needs none.
PRODUCTS = 2 * BATCH * (2 * PIXELS * HIDDEN + 3 * HIDDEN * CLASSES)

TRAINING = Training(
    name="mlp",
    title="MLP 784-1000-10, batch 100, Adam",
    network=network,
    loss=loss,
    jax_loss=jax_loss,
    shapes={
        "0.weight": (HIDDEN, PIXELS),
        "0.bias": (HIDDEN,),
        "2.weight": (CLASSES, HIDDEN),
        "2.bias": (CLASSES,),
    },
    batch=batch,
    optimizer=("Adam", {"lr": 0.001}),
    gflop=PRODUCTS / 1e9,
)


def targets(times: Times, peak: float) -> list[Target]:
    if "lampion compiled" not in times:
        return []
    ours = times.us("lampion compiled")
    found = [Target("compiled against its work at the FMA peak", ours / (PRODUCTS / peak / 1e3), None, "x")]
    if best := times.best(TORCH_OPTIM):
        found.append(Target(f"compiled against {best}", times.ratio(best, "lampion compiled"), ">= 1.1", "x"))
    if hand := times.best(("torch one-graph", "torch one-graph unlocked")):
        found.append(Target(f"compiled against {hand}", times.ratio(hand, "lampion compiled"), None, "x"))
    if "jax jit" in times:
        found.append(
            Target("compiled against jax jit", times.ratio("jax jit", "lampion compiled"), ">= 1.1", "x")
        )
    return found


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
