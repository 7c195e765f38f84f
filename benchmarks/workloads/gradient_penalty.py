"""A step of WGAN-GP's critic: 28x28, 50 real and 50 generated images, Adam. A second derivative.

The penalty is made of the gradient of the critic's score by its images, and is differentiated by the weights:
each convolution is walked back through twice.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from benchmarks import images
from benchmarks.contenders import TORCH_OPTIM
from benchmarks.harness import Options, Target, Times, race
from benchmarks.training import Arrays, Training

BATCH, PENALTY = 50, 10.0
CHANNELS = ((0, 1, 16), (2, 16, 32), (4, 32, 64))  # layer, before, after


def network(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 5, stride=2, padding=2), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 5, stride=2, padding=2), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(64 * 4 * 4, 1),
    )  # fmt: skip


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    autograd = importlib.import_module(type(x).__module__.partition(".")[0]).autograd
    real, fake = x.chunk(2)
    between = ((real + fake) / 2).requires_grad_()
    (slope,) = autograd.grad(model(between).sum(), between, create_graph=True)
    penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    return PENALTY * penalty - model(real).mean() + model(fake).mean()


def jax_loss(jax: Any, w: Any, x: Any, y: Any) -> Any:
    def score(h: Any) -> Any:
        for layer, _, _ in CHANNELS:
            h = images.jax_convolution(jax, h, w[f"{layer}.weight"], stride=2, padding=2)
            h = jax.nn.leaky_relu(h + w[f"{layer}.bias"], 0.2)
        return images.jax_flat(jax, h) @ w["7.weight"].T + w["7.bias"]

    real, fake = jax.numpy.split(images.jax_images(jax, x), 2)
    slope = jax.grad(lambda between: score(between).sum())((real + fake) / 2)
    lengths = jax.numpy.sqrt((slope**2).sum((1, 2, 3)))
    return PENALTY * ((lengths - 1) ** 2).mean() - score(real).mean() + score(fake).mean()


def batch(rng: np.random.Generator) -> Arrays:
    """Images of noise: the real ones are brighter. There are no labels."""
    x = rng.random((2 * BATCH, 1, 28, 28), dtype=np.float32)
    x[:BATCH] += np.float32(0.1)
    return x, np.zeros(2 * BATCH, np.int64)


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for layer, before, after in CHANNELS:
        found |= {f"{layer}.weight": (after, before, 5, 5), f"{layer}.bias": (after,)}
    return found | {"7.weight": (1, 64 * 4 * 4), "7.bias": (1,)}


TRAINING = Training(
    name="gradient-penalty",
    title="critic of WGAN-GP, 28x28, batch 50, Adam",
    network=network,
    loss=loss,
    jax_loss=jax_loss,
    shapes=shapes(),
    batch=batch,
    optimizer=("Adam", {"lr": 0.0001, "betas": (0.5, 0.9)}),  # type: ignore[dict-item]  # a pair
    checked=(1, 10, 50),
    tolerance={
        1: 1e-5,
        10: 1e-4,
        50: 5e-3,
    },  # the loss is a difference: there is less of it than of its parts
)


def targets(times: Times, peak: float) -> list[Target]:
    if "lampion compiled" not in times:
        return []
    found = []
    for other in (times.best(TORCH_OPTIM), "jax jit", "lampion eager"):
        if other is not None and other in times:
            ratio = times.ratio(other, "lampion compiled")
            found.append(Target(f"compiled against {other}", ratio, None, "x"))
    return found


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
