"""Nearly nothing but large matrix products: 784-1000-1000-1000-10, batch 500, Adam."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from benchmarks.contenders import TORCH_OPTIM
from benchmarks.harness import Options, Target, Times, race
from benchmarks.training import Arrays, Training, jax_cross_entropy, noisy

BATCH, SIZES = 500, (784, 1000, 1000, 1000, 10)
TEACHER = np.random.default_rng(3).standard_normal((SIZES[0], SIZES[-1])).astype(np.float32)


def network(nn: Any) -> Any:
    layers = []
    for inputs, outputs in itertools.pairwise(SIZES):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    return functional.cross_entropy(model(x), y)


def jax_loss(jax: Any, w: Any, x: Any, y: Any) -> Any:
    last = 2 * len(SIZES) - 4
    for i in range(0, last, 2):
        x = jax.nn.relu(x @ w[f"{i}.weight"].T + w[f"{i}.bias"])
    return jax_cross_entropy(jax, x @ w[f"{last}.weight"].T + w[f"{last}.bias"], y)


def batch(rng: np.random.Generator) -> Arrays:
    """Images of noise, labelled by a fixed linear rule."""
    x = rng.standard_normal((BATCH, SIZES[0]), dtype=np.float32)
    return x, noisy((x @ TEACHER).argmax(axis=1), SIZES[-1], rng)


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(SIZES)):
        found |= {f"{2 * i}.weight": (outputs, inputs), f"{2 * i}.bias": (outputs,)}
    return found


# Forward, and the gradients of weights and of inputs; the first layer's input needs none.
FACTORS = [inputs * outputs for inputs, outputs in itertools.pairwise(SIZES)]
PRODUCTS = 2 * BATCH * (3 * sum(FACTORS) - FACTORS[0])


def training(name: str, title: str, tolerance: dict[int, float]) -> Training:
    return Training(
        name=name,
        title=title,
        network=network,
        loss=loss,
        jax_loss=jax_loss,
        shapes=shapes(),
        batch=batch,
        optimizer=("Adam", {"lr": 0.001}),
        checked=(1, 10, 50),
        pool=16,
        tolerance=tolerance,
        gflop=PRODUCTS / 1e9,
    )


# Adam divides by the size of the gradient, so that where a gradient is nearly nothing its rounding decides:
# two correct float32 trainings were 1e-4 apart at step 10, and 5e-3 at step 50.
TRAINING = training("mlp-deep", "MLP 784-1000-1000-1000-10, batch 500, Adam", {1: 2e-6, 10: 1e-3, 50: 5e-2})


def targets(times: Times, peak: float) -> list[Target]:
    if "lampion compiled" not in times:
        return []
    share = PRODUCTS / (times.us("lampion compiled") * 1e3) / peak
    found = [Target("compiled, share of the FMA peak", share, ">= 0.65")]
    if best := times.best(TORCH_OPTIM):
        found.append(Target(f"compiled against {best}", times.ratio(best, "lampion compiled"), ">= 1.1", "x"))
    if hand := times.best(("torch one-graph", "torch one-graph unlocked")):
        found.append(Target(f"compiled against {hand}", times.ratio(hand, "lampion compiled"), None, "x"))
    if "jax jit" in times:
        ratio = times.ratio("jax jit", "lampion compiled")
        found.append(Target("compiled against jax jit", ratio, ">= 1.05", "x"))
    return found


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
