"""The small GPT with its attention written out, as products, mask and softmax."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Options, race
from benchmarks.workloads.chargpt import targets, training

TRAINING = training("chargpt-written", "char-GPT, attention written out by matmul, mask and softmax", True)


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
