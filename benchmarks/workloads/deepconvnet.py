"""DeepConvNet of Deep Learning from Scratch 1, section 8.1: images of 28x28, batch 100, Adam.

Without dropout, so that the contenders' losses can be compared.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks import images
from benchmarks.harness import Options, race
from benchmarks.training import Arrays, Training, jax_cross_entropy, noisy

BATCH, CHANNELS, HIDDEN, CLASSES = 100, (1, 16, 16, 32, 32, 64, 64), 50, 10
SIZES = (28, 28, 14, 16, 8, 8)  # of each convolution's output; 14x14 is padded to 16x16
PADDING = (1, 1, 1, 2, 1, 1)
CONVOLUTIONS = (0, 2, 5, 7, 10, 12)  # their numbers in the network
LINEAR = ((16, (HIDDEN, 64 * 4 * 4)), (18, (CLASSES, HIDDEN)))
TEACHER = np.random.default_rng(3).standard_normal((28 * 28, CLASSES)).astype(np.float32)


def network(nn: Any) -> Any:
    layers = []
    for number, (before, after) in enumerate(pairwise(CHANNELS)):
        layers += [nn.Conv2d(before, after, 3, padding=PADDING[number]), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if number % 2 else []
    layers += [nn.Flatten(), nn.Linear(64 * 4 * 4, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)]
    return nn.Sequential(*layers)


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    return functional.cross_entropy(model(x), y)


def jax_loss(jax: Any, w: Any, x: Any, y: Any) -> Any:
    h = images.jax_images(jax, x)
    for number, layer in enumerate(CONVOLUTIONS):
        h = images.jax_convolution(jax, h, w[f"{layer}.weight"], padding=PADDING[number])
        h = jax.nn.relu(h + w[f"{layer}.bias"])
        h = images.jax_pool(jax, h, "max") if number % 2 else h
    (first, _), (last, _) = LINEAR
    h = jax.nn.relu(images.jax_flat(jax, h) @ w[f"{first}.weight"].T + w[f"{first}.bias"])
    return jax_cross_entropy(jax, h @ w[f"{last}.weight"].T + w[f"{last}.bias"], y)


def batch(rng: np.random.Generator) -> Arrays:
    """Images of noise, labelled by a fixed linear rule."""
    x = rng.standard_normal((BATCH, 28 * 28), dtype=np.float32)
    return x.reshape(BATCH, 1, 28, 28), noisy((x @ TEACHER).argmax(axis=1), CLASSES, rng)


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for layer, (before, after) in zip(CONVOLUTIONS, pairwise(CHANNELS), strict=True):
        found |= {f"{layer}.weight": (after, before, 3, 3), f"{layer}.bias": (after,)}
    for layer, shape in LINEAR:
        found |= {f"{layer}.weight": shape, f"{layer}.bias": shape[:1]}
    return found


def operations() -> int:
    """Of a step: forward, and the gradients of weights and of inputs; the images need none."""
    total = 3 * 2 * BATCH * sum(outputs * inputs for _, (outputs, inputs) in LINEAR)
    for number, (size, (before, after)) in enumerate(zip(SIZES, pairwise(CHANNELS), strict=True)):
        total += images.products(BATCH, size * size, before, after, 9, 3 if number else 2)
    return total


TRAINING = Training(
    name="deepconvnet",
    title="DeepConvNet, 28x28, batch 100, Adam",
    network=network,
    loss=loss,
    jax_loss=jax_loss,
    shapes=shapes(),
    batch=batch,
    optimizer=("Adam", {"lr": 0.001}),
    checked=(1, 10, 30),
    pool=16,
    gflop=operations() / 1e9,
    tolerance={1: 2e-6, 10: 2e-3, 30: 5e-2},  # Adam: see mlp_deep.py
)
targets = partial(images.targets, operations=operations(), against_torch=">= 2", share=">= 0.6")


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
