"""DeZero (the framework of O'Reilly Japan's "Deep Learning from Scratch 3"), for networks that it can say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.training import Training

if not hasattr(np, "int"):
    np.int = int  # type: ignore[attr-defined]  # DeZero was last released before NumPy 1.24 took this name away

import dezero
import dezero.functions
import dezero.layers
import dezero.optimizers


class Sequential(dezero.Model):  # type: ignore[misc]
    """Layers and functions in order, with PyTorch's names for their parameters."""

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        self.order = layers
        for number, layer in enumerate(layers):
            if isinstance(layer, dezero.Layer):
                setattr(self, f"layer{number}", layer)

    def forward(self, x: Any) -> Any:
        for layer in self.order:
            x = layer(x)
        return x

    def load_state_dict(self, weights: dict[str, np.ndarray]) -> None:
        for name, value in weights.items():
            number, kind = name.split(".")
            layer = self.order[int(number)]
            if kind == "weight":
                layer.W.data = (
                    value.T.copy() if value.ndim == 2 else value.copy()
                )  # its matrices are (in, out)
            else:
                layer.b.data = value.copy()


def convolution(before: int, after: int, taps: int, padding: int = 0) -> Any:
    return dezero.layers.Conv2d(after, taps, pad=padding, in_channels=before)


NN = SimpleNamespace(
    Conv2d=convolution,
    MaxPool2d=lambda size: lambda x: dezero.functions.pooling(x, size, size),
    AvgPool2d=lambda size: lambda x: dezero.functions.average_pooling(x, size, size),
    Flatten=lambda: dezero.functions.flatten,
    Sequential=Sequential,
    Linear=lambda inputs, outputs: dezero.layers.Linear(outputs, in_size=inputs),
    ReLU=lambda: dezero.functions.relu,
    Tanh=lambda: dezero.functions.tanh,
)
FUNCTIONAL = SimpleNamespace(cross_entropy=dezero.functions.softmax_cross_entropy)


class DeZeroSession:
    def __init__(self, training: Training, weights: dict[str, np.ndarray]) -> None:
        self.model = training.network(NN)
        self.model.load_state_dict(weights)
        assert training.optimizer is not None
        name, arguments = training.optimizer
        self.optimizer = getattr(dezero.optimizers, name)(alpha=arguments["lr"]).setup(self.model)
        self.loss_of = training.loss

    def prepare(self, arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any]:
        return arrays

    def step(self, x: Any, y: Any) -> Any:
        loss = self.loss_of(FUNCTIONAL, self.model, x, y)
        self.model.cleargrads()
        loss.backward()
        self.optimizer.update()
        return loss

    def value(self, loss: Any) -> float:
        return float(loss.data)

    def facts(self) -> dict[str, Any]:
        return {"numpy": np.__version__}


build = DeZeroSession
