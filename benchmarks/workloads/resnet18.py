"""ResNet-18 for images of 3x32x32: the first convolution is 3x3 without a pool, as usual for small images.

Batch 64, SGD with momentum. The other layers are those of `vision.models.resnet18`, by the same names.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import images
from benchmarks.harness import Options, race
from benchmarks.training import Arrays, Training, jax_cross_entropy, noisy

BATCH, SIZE, CLASSES, PLANES = 64, 32, 10, (64, 128, 256, 512)
TEACHER = np.random.default_rng(3).standard_normal((3 * SIZE * SIZE, CLASSES)).astype(np.float32)


def blocks() -> list[tuple[str, int, int, int]]:
    """Name, channels before and after, and stride of each block."""
    found, before = [], PLANES[0]
    for group, planes in enumerate(PLANES):
        for number in range(2):
            found.append((f"layer{group + 1}.{number}", before, planes, 1 if number or not group else 2))
            before = planes
    return found


def network(nn: Any) -> Any:
    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            self.bn1, self.relu = nn.BatchNorm2d(after), nn.ReLU()
            self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
            self.bn2, self.downsample = nn.BatchNorm2d(after), None
            if stride != 1:
                self.downsample = nn.Sequential(
                    nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
                )

        def forward(self, x: Any) -> Any:
            h = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(h + (x if self.downsample is None else self.downsample(x)))

    class ResNet(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, PLANES[0], 3, 1, 1, bias=False)
            self.bn1, self.relu = nn.BatchNorm2d(PLANES[0]), nn.ReLU()
            made = [Block(*sizes) for _, *sizes in blocks()]
            self.layer1, self.layer2 = nn.Sequential(*made[:2]), nn.Sequential(*made[2:4])
            self.layer3, self.layer4 = nn.Sequential(*made[4:6]), nn.Sequential(*made[6:])
            self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(PLANES[-1], CLASSES)

        def forward(self, x: Any) -> Any:
            x = self.relu(self.bn1(self.conv1(x)))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(self.avgpool(x).flatten(1))

    return ResNet()


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    return functional.cross_entropy(model(x), y)


def jax_loss(jax: Any, w: Any, x: Any, y: Any) -> Any:
    def normal(name: str, x: Any) -> Any:
        return images.jax_batch_norm(jax, x, w[f"{name}.weight"], w[f"{name}.bias"])

    def convolution(name: str, x: Any, stride: int = 1, padding: int = 1) -> Any:
        return images.jax_convolution(jax, x, w[f"{name}.weight"], stride, padding)

    h = jax.nn.relu(normal("bn1", convolution("conv1", images.jax_images(jax, x))))
    for name, _, _, stride in blocks():
        found = jax.nn.relu(normal(f"{name}.bn1", convolution(f"{name}.conv1", h, stride)))
        found = normal(f"{name}.bn2", convolution(f"{name}.conv2", found))
        if stride != 1:
            h = normal(f"{name}.downsample.1", convolution(f"{name}.downsample.0", h, stride, 0))
        h = jax.nn.relu(found + h)
    return jax_cross_entropy(jax, h.mean((1, 2)) @ w["fc.weight"].T + w["fc.bias"], y)


def batch(rng: np.random.Generator) -> Arrays:
    """Images of noise, labelled by a fixed linear rule."""
    x = rng.standard_normal((BATCH, 3 * SIZE * SIZE), dtype=np.float32)
    return x.reshape(BATCH, 3, SIZE, SIZE), noisy((x @ TEACHER).argmax(axis=1), CLASSES, rng)


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}

    def layer(convolution: str, norm: str, *shape: int) -> None:
        found.update({f"{convolution}.weight": shape, f"{norm}.weight": shape[:1], f"{norm}.bias": shape[:1]})

    layer("conv1", "bn1", PLANES[0], 3, 3, 3)
    for name, before, after, stride in blocks():
        layer(f"{name}.conv1", f"{name}.bn1", after, before, 3, 3)
        layer(f"{name}.conv2", f"{name}.bn2", after, after, 3, 3)
        if stride != 1:
            layer(f"{name}.downsample.0", f"{name}.downsample.1", after, before, 1, 1)
    return found | {"fc.weight": (CLASSES, PLANES[-1]), "fc.bias": (CLASSES,)}


def operations() -> int:
    """Of a step: forward, and the gradients of weights and of inputs; the images need none."""
    total = images.products(BATCH, SIZE * SIZE, 3, PLANES[0], 9, 2) + 6 * BATCH * CLASSES * PLANES[-1]
    size = SIZE
    for _, before, after, stride in blocks():
        size //= stride
        total += images.products(BATCH, size * size, before, after, 9)
        total += images.products(BATCH, size * size, after, after, 9)
        total += images.products(BATCH, size * size, before, after, 1) if stride != 1 else 0
    return total


TRAINING = Training(
    name="resnet18",
    title="ResNet-18 on 3x32x32, batch 64, SGD with momentum",
    network=network,
    loss=loss,
    jax_loss=jax_loss,
    shapes=shapes(),
    batch=batch,
    optimizer=("SGD", {"lr": 0.01, "momentum": 0.9}),
    checked=(1, 2, 4),
    pool=4,
    gflop=operations() / 1e9,
    tolerance={1: 1e-5, 2: 1e-3, 4: 2e-2},
)
targets = partial(images.targets, operations=operations(), against_torch=">= 1.25")


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
