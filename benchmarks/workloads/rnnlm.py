"""A language model with an LSTM of 100 units: 10,000 words, 20 texts of 35 words, Adam."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Options, race
from benchmarks.workloads.recurrent import Language
from benchmarks.workloads.recurrent import targets as promised

MODEL = Language("LSTM")
TRAINING = MODEL.training("rnnlm", "RNNLM: 10,000 words, LSTM of 100, 20x35, Adam", ("Adam", {"lr": 0.001}))
targets = promised(MODEL.products, 1.5, 0.55, eager=1)


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
