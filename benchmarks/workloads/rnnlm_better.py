"""Two LSTMs of 650 units, dropout, tied weights, SGD with clipped gradients: the book's better model."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Options, race
from benchmarks.workloads.recurrent import Language
from benchmarks.workloads.recurrent import targets as promised

# Each contender draws its own masks, so that the losses agree as far as masks do not matter. (Without dropout
# they are compared in tests/test_benchmarks_recurrent.py.)
MODEL = Language("LSTM", width=650, layers=2, dropout=0.5, tied=True)
TRAINING = MODEL.training(
    "rnnlm-better", "BetterRNNLM: 10,000 words, 2 LSTMs of 650, dropout, tied, 20x35, SGD with clipping",
    ("SGD", {"lr": 1.0}), clip=0.25, tolerance={1: 5e-2, 10: 5e-2},
)  # fmt: skip
targets = promised(MODEL.products, 1.1, 0.7)


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
