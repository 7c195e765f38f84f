"""Twice a 3x3 convolution, batch normalisation and ReLU: 64 to 128 to 128 channels on 32x32, batch 32."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import images
from benchmarks.harness import Options, race
from benchmarks.training import Arrays, Training

BATCH, SIZE, CHANNELS = 32, 32, (64, 128, 128)


def network(nn: Any) -> Any:
    first, second, third = CHANNELS
    return nn.Sequential(
        nn.Conv2d(first, second, 3, padding=1, bias=False), nn.BatchNorm2d(second), nn.ReLU(),
        nn.Conv2d(second, third, 3, padding=1, bias=False), nn.BatchNorm2d(third), nn.ReLU(),
    )  # fmt: skip


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    return functional.mse_loss(model(x), y)


def jax_loss(jax: Any, w: Any, x: Any, y: Any) -> Any:
    h = images.jax_images(jax, x)
    for layer in (0, 3):
        h = images.jax_convolution(jax, h, w[f"{layer}.weight"], padding=1)
        h = jax.nn.relu(images.jax_batch_norm(jax, h, w[f"{layer + 1}.weight"], w[f"{layer + 1}.bias"]))
    return jax.numpy.mean((h - images.jax_images(jax, y)) ** 2)


def batch(rng: np.random.Generator) -> Arrays:
    """Noise, to be turned into other noise."""
    shapes = ((BATCH, channels, SIZE, SIZE) for channels in (CHANNELS[0], CHANNELS[-1]))
    x, y = (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
    return x, y


def shapes() -> dict[str, tuple[int, ...]]:
    first, second, third = CHANNELS
    return {
        "0.weight": (second, first, 3, 3), "1.weight": (second,), "1.bias": (second,),
        "3.weight": (third, second, 3, 3), "4.weight": (third,), "4.bias": (third,),
    }  # fmt: skip


def operations() -> int:
    """Of a step: forward, and the gradients of filters and of the second layer's input."""
    first, second, third = CHANNELS
    return images.products(BATCH, SIZE * SIZE, first, second, 9, 2) + images.products(
        BATCH, SIZE * SIZE, second, third, 9
    )


TRAINING = Training(
    name="conv-bn-relu",
    title="2 x (conv3x3 - BN - ReLU), 64-128-128 channels on 32x32, batch 32, SGD",
    network=network,
    loss=loss,
    jax_loss=jax_loss,
    shapes=shapes(),
    batch=batch,
    optimizer=("SGD", {"lr": 0.1}),
    checked=(1, 4, 10),
    pool=4,
    gflop=operations() / 1e9,
    tolerance={1: 2e-6, 4: 2e-5, 10: 2e-4},
)
targets = partial(images.targets, operations=operations(), against_torch=">= 1.25", share=">= 0.75")


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
