"""The same language model with a GRU of 100 units."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Options, race
from benchmarks.workloads.recurrent import Language
from benchmarks.workloads.recurrent import targets as promised

MODEL = Language("GRU")
TRAINING = MODEL.training("gru", "RNNLM with a GRU of 100, 20x35, Adam", ("Adam", {"lr": 0.001}))
targets = promised(MODEL.products, 1.5, None)


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
