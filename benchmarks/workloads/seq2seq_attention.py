"""Translating dates: LSTMs of 256 units as encoder and decoder with dot attention, 59 characters, batch 128.

The encoder reads 29 characters. The decoder reads the 10 characters in front of those it is to say, starts
from the encoder's last state, and sees at each step the mean of the encoder's states, weighted by how well
they go with its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Options, race
from benchmarks.training import Arrays, Training, jax_cross_entropy
from benchmarks.workloads.recurrent import jax_layer, layer_shapes
from benchmarks.workloads.recurrent import targets as promised

CHARACTERS, EMBEDDED, WIDTH, BATCH, LENGTH, ANSWER = 59, 16, 256, 128, 29, 10


def network(nn: Any) -> Any:
    class Translator(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.read, self.said = nn.Embedding(CHARACTERS, EMBEDDED), nn.Embedding(CHARACTERS, EMBEDDED)
            self.encoder, self.decoder = nn.LSTM(EMBEDDED, WIDTH), nn.LSTM(EMBEDDED, WIDTH)
            self.scores = nn.Linear(2 * WIDTH, CHARACTERS)

        def forward(self, question: Any, before: Any) -> Any:  # (29, N), (10, N)
            states, last = self.encoder(self.read(question))
            own, _ = self.decoder(self.said(before), last)
            states, own = states.transpose(0, 1), own.transpose(0, 1)  # (N, 29, width), (N, 10, width)
            attention = (own @ states.transpose(1, 2)).softmax(-1)
            return self.scores(cat(nn, [attention @ states, own]))

    return Translator()


def cat(nn: Any, parts: list[Any]) -> Any:
    """Side by side, in the library that `nn` is of."""
    import importlib

    return importlib.import_module(nn.__name__.partition(".")[0]).cat(parts, -1)


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    answer = model(x, y[:-1])  # (N, 10, characters)
    return functional.cross_entropy(answer.reshape(-1, CHARACTERS), y[1:].transpose(0, 1).reshape(-1))


def jax_loss(jax: Any, w: Any, x: Any, y: Any) -> Any:
    jnp = jax.numpy
    states, last = jax_layer(jax, "LSTM", w, "encoder.{}_l0", w["read.weight"][x])
    own, _ = jax_layer(jax, "LSTM", w, "decoder.{}_l0", w["said.weight"][y[:-1]], state=last)
    attention = jax.nn.softmax(jnp.einsum("anh,tnh->nat", own, states))
    mixed = jnp.concatenate([jnp.einsum("nat,tnh->nah", attention, states), own.transpose(1, 0, 2)], -1)
    scores = mixed @ w["scores.weight"].T + w["scores.bias"]
    return jax_cross_entropy(jax, scores.reshape(-1, CHARACTERS), y[1:].T.reshape(-1))


def batch(rng: np.random.Generator) -> Arrays:
    """Questions of random characters; the answer is a start sign and every third of them, some wrong."""
    x = rng.integers(1, CHARACTERS, (LENGTH, BATCH))
    y = np.zeros((ANSWER + 1, BATCH), np.int64)
    y[1:] = x[::3][:ANSWER]
    wrong = rng.random(y.shape) < 0.1
    wrong[0] = False
    return x, np.where(wrong, rng.integers(1, CHARACTERS, y.shape), y)


def shapes() -> dict[str, tuple[int, ...]]:
    return {
        "read.weight": (CHARACTERS, EMBEDDED),
        "said.weight": (CHARACTERS, EMBEDDED),
        **layer_shapes("encoder.{}_l0", "LSTM", EMBEDDED, WIDTH),
        **layer_shapes("decoder.{}_l0", "LSTM", EMBEDDED, WIDTH),
        "scores.weight": (CHARACTERS, 2 * WIDTH),
        "scores.bias": (CHARACTERS,),
    }


# Forward, and the gradients of both factors of each product.
LAYERS = (LENGTH + ANSWER) * 4 * WIDTH * (EMBEDDED + WIDTH)
PRODUCTS = 3 * 2 * BATCH * (LAYERS + 2 * LENGTH * ANSWER * WIDTH + ANSWER * 2 * WIDTH * CHARACTERS)
TRAINING = Training(
    name="seq2seq-attention",
    title="seq2seq with attention: LSTMs of 256, 29 to 10 characters, batch 128, Adam",
    network=network,
    loss=loss,
    jax_loss=jax_loss,
    shapes=shapes(),
    batch=batch,
    optimizer=("Adam", {"lr": 0.001}),
    checked=(1, 10, 50),
    pool=16,
    gflop=PRODUCTS / 1e9,
    tolerance={1: 2e-6, 10: 1e-4, 50: 1e-3},
)
targets = promised(PRODUCTS, 2, None)


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
