"""A training workload: one network, one loss, one stream of batches, written once for every contender.

Lampion has PyTorch's names, so `network(nn)` and `loss(F, model, x, y)` are the very same lines under both.
JAX has no modules of its own: `jax_loss(jax, weights, x, y)` says the same loss over a dict of arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Training:
    """What the contenders train, and how their losses are compared."""

    name: str
    title: str
    network: Callable[[Any], Any]  # (nn) -> module
    loss: Callable[..., Any] | None  # (F, model, x, y) -> scalar
    jax_loss: Callable[..., Any] | None  # (jax, weights, x, y) -> scalar
    shapes: dict[str, tuple[int, ...]]  # the network's parameters: names and shapes
    batch: Callable[[np.random.Generator], Arrays]
    optimizer: tuple[str, dict[str, float]] | None  # PyTorch's class name and arguments
    #: What a step is: "train" (forward, backward, optimizer), "gradient" (the loss and its gradient with
    #: respect to x; no optimizer), or "update" (the optimizer alone, with gradients that stay as they are).
    step: str = "train"
    clip: float | None = None  # the norm that the gradients together are clipped to
    random: bool = False  # whether there is dropout: `jax_loss` takes a key then
    checked: tuple[int, ...] = (1, 10, 200)  # steps at which the losses are compared
    pool: int = 64  # batches made ready for a turn
    gflop: float | None = None  # multiply-adds of one step x 2 / 1e9, where they are what takes the time
    # How far apart the contenders' losses may lie, relative to their mean. Float32 rounding differs with the
    # order of summation, and training amplifies it from step to step; these are some ten times what correct
    # contenders show, and far below what a missing bias correction or a wrong gradient would.
    tolerance: dict[int, float] = field(default_factory=lambda: {1: 2e-6, 10: 2e-5, 200: 2e-3})

    def weights(self) -> dict[str, np.ndarray]:
        """The weights that every contender starts from: scaled normal matrices, zero biases, unit gains."""
        rng = np.random.default_rng(7)
        made = {}
        for name, shape in self.shapes.items():
            if len(shape) > 1:
                fan_in = int(np.prod(shape[1:]))
                made[name] = (rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
            else:
                made[name] = np.full(shape, 0.0 if "bias" in name else 1.0, np.float32)
        return made

    def gradients(self) -> dict[str, np.ndarray]:
        """For a step that is the optimizer alone: the gradients, in every contender the same."""
        rng = np.random.default_rng(11)
        return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in self.shapes.items()}

    def batch_number(self, number: int) -> Arrays:
        """Batch `number` of the stream: the same arrays in every contender."""
        return self.batch(np.random.default_rng([2026, number]))


def load(model: Any, weights: dict[str, Any]) -> None:
    """Give a network all its parameters; buffers (running statistics) stay as they are made."""
    buffers = dict(model.named_buffers())
    kept = {name: value for name, value in model.state_dict().items() if name in buffers}
    model.load_state_dict(kept | weights)


def noisy(labels: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Replace a fifth of the labels by random ones.

    Without noise a long run drives the loss, then the gradients, to nothing, and arithmetic on denormal
    numbers is slow on some processors: the contenders would be timed on different work.
    """
    random = rng.integers(0, classes, labels.shape)
    return np.where(rng.random(labels.shape) < 0.2, random, labels).astype(np.int64)


def jax_cross_entropy(jax: Any, logits: Any, labels: Any) -> Any:
    """PyTorch's F.cross_entropy, for a workload's `jax_loss`."""
    log_probabilities = jax.nn.log_softmax(logits)
    return -jax.numpy.mean(jax.numpy.take_along_axis(log_probabilities, labels[:, None], axis=1))
