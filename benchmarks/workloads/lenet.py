"""A network of LeNet's size: 28x28, batch 100, Adam. Small layers: overhead shows."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import images
from benchmarks.harness import Options, race
from benchmarks.training import Arrays, Training, jax_cross_entropy, noisy
from benchmarks.workloads.deepconvnet import TEACHER

BATCH, CLASSES = 100, 10
LINEAR = ((7, (120, 16 * 5 * 5)), (9, (84, 120)), (11, (CLASSES, 84)))


def network(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),  # 14 x 14
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),  # 5 x 5
        nn.Flatten(), nn.Linear(16 * 5 * 5, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(),
        nn.Linear(84, CLASSES),
    )  # fmt: skip


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    return functional.cross_entropy(model(x), y)


def jax_loss(jax: Any, w: Any, x: Any, y: Any) -> Any:
    h = images.jax_images(jax, x)
    for layer, padding in ((0, 2), (3, 0)):
        h = images.jax_convolution(jax, h, w[f"{layer}.weight"], padding=padding)
        h = images.jax_pool(jax, jax.numpy.tanh(h + w[f"{layer}.bias"]), "mean")
    h = images.jax_flat(jax, h)
    for layer, _ in LINEAR[:-1]:
        h = jax.numpy.tanh(h @ w[f"{layer}.weight"].T + w[f"{layer}.bias"])
    last = LINEAR[-1][0]
    return jax_cross_entropy(jax, h @ w[f"{last}.weight"].T + w[f"{last}.bias"], y)


def batch(rng: np.random.Generator) -> Arrays:
    """Images of noise, labelled by a fixed linear rule."""
    x = rng.standard_normal((BATCH, 28 * 28), dtype=np.float32)
    return x.reshape(BATCH, 1, 28, 28), noisy((x @ TEACHER).argmax(axis=1), CLASSES, rng)


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {
        "0.weight": (6, 1, 5, 5), "0.bias": (6,), "3.weight": (16, 6, 5, 5), "3.bias": (16,),
    }  # fmt: skip
    for layer, shape in LINEAR:
        found |= {f"{layer}.weight": shape, f"{layer}.bias": shape[:1]}
    return found


def operations() -> int:
    """Of a step: forward, and the gradients of weights and of inputs; the images need none."""
    convolutions = images.products(BATCH, 28 * 28, 1, 6, 25, 2) + images.products(BATCH, 10 * 10, 6, 16, 25)
    return convolutions + 3 * 2 * BATCH * sum(outputs * inputs for _, (outputs, inputs) in LINEAR)


TRAINING = Training(
    name="lenet",
    title="LeNet, 28x28, batch 100, Adam",
    network=network,
    loss=loss,
    jax_loss=jax_loss,
    shapes=shapes(),
    batch=batch,
    optimizer=("Adam", {"lr": 0.001}),
    checked=(1, 10, 100),
    gflop=operations() / 1e9,
    tolerance={1: 2e-6, 10: 1e-4, 100: 2e-2},  # Adam: see mlp_deep.py
)
targets = partial(images.targets, operations=operations(), against_torch=">= 3")


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
