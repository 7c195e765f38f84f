"""The same language model with an LSTM of 100 units in each direction."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Options, race
from benchmarks.workloads.recurrent import Language
from benchmarks.workloads.recurrent import targets as promised

MODEL = Language("LSTM", bidirectional=True)
TRAINING = MODEL.training(
    "bi-lstm", "RNNLM with an LSTM of 100 in each direction, 20x35, Adam", ("Adam", {"lr": 0.001})
)
targets = promised(MODEL.products, 1.5, None)


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
