"""A step of word2vec (CBOW) with sparse gradients: 100 words, 10 neighbours and 5 wrong words each, 100 wide.

The tables have 10,000 rows, of which a step touches 1,600 at most: what is measured is gathering these, the
gradients of no others, and an optimizer that leaves the rest alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.contenders import TORCH_OPTIM
from benchmarks.harness import Options, Target, Times, race
from benchmarks.training import Arrays, Training

BATCH, WORDS, WIDTH, CONTEXT, GUESSES = 100, 10_000, 100, 10, 6
# Words as frequent as Zipf's law has them: some rows are there often in a batch.
BELOW = np.cumsum(1 / (np.arange(WORDS) + 10))


def network(nn: Any) -> Any:
    class Word2Vec(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.given = nn.Embedding(WORDS, WIDTH, sparse=True)
            self.guessed = nn.Embedding(WORDS, WIDTH, sparse=True)

        def forward(self, words: Any) -> Any:  # (B, context and guesses)
            h = self.given(words[:, :CONTEXT]).mean(1)  # (B, width)
            return (self.guessed(words[:, CONTEXT:]) * h.unsqueeze(1)).sum(-1)  # (B, guesses)

    return Word2Vec()


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    return functional.binary_cross_entropy_with_logits(model(x), y)


def batch(rng: np.random.Generator) -> Arrays:
    words = np.searchsorted(BELOW, rng.random((BATCH, CONTEXT + GUESSES)) * BELOW[-1])
    words[:, CONTEXT] = words[:, 0] ^ 1  # which word is right can be learned
    right = np.zeros((BATCH, GUESSES), np.float32)
    right[:, 0] = 1
    return words.astype(np.int64), right


TRAINING = Training(
    name="word2vec",
    title="word2vec: CBOW, 10000 words x 100, batch 100, sparse gradients, SparseAdam",
    network=network,
    loss=loss,
    jax_loss=None,
    shapes={"given.weight": (WORDS, WIDTH), "guessed.weight": (WORDS, WIDTH)},
    batch=batch,
    optimizer=("SparseAdam", {"lr": 0.001}),
)
# SparseAdam is neither fused nor written out by hand, and JAX has no sparse gradients.
CONTENDERS = (
    "lampion compiled", "lampion eager", "torch eager", "torch compile", "torch eager unlocked",
    "torch compile unlocked",
)  # fmt: skip


def targets(times: Times, peak: float) -> list[Target]:
    best = times.best(TORCH_OPTIM)
    if "lampion compiled" not in times or best is None:
        return []
    found = [Target(f"compiled against {best}", times.ratio(best, "lampion compiled"), ">= 3", "x")]
    if "lampion eager" in times:
        found.append(Target(f"eager against {best}", times.ratio(best, "lampion eager"), None, "x"))
    return found


def run(options: Options) -> dict[str, Any]:
    chosen = tuple(name for name in options.contenders if name in CONTENDERS)
    return race(TRAINING, replace(options, contenders=chosen), targets)
