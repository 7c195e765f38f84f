"""The deep MLP under autocast to bfloat16, beside Lampion's own float32."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import CONTENDERS, TORCH
from benchmarks.harness import Options, Target, Times, race
from benchmarks.workloads.mlp_deep import training

# bfloat16 has 8 bits: losses differ in the third digit, and after ten steps of Adam in the second.
TRAINING = training(
    "bf16",
    "MLP 784-1000-1000-1000-10, batch 500, Adam: autocast to bfloat16 beside float32",
    {1: 1e-2, 10: 5e-2, 50: 2e-1},
)
OURS, FLOAT32 = "lampion bf16", "lampion compiled"


def targets(times: Times, peak: float) -> list[Target]:
    if OURS not in times:
        return []
    found = []
    if FLOAT32 in times:
        found.append(Target("bfloat16 against own float32", times.ratio(FLOAT32, OURS), ">= 1.5", "x"))
    if best := times.best(tuple(name for name in TORCH if "bf16" in name)):
        found.append(Target(f"bfloat16 against {best}", times.ratio(best, OURS), ">= 1", "x"))
    return found


def run(options: Options) -> dict[str, Any]:
    if reason := CONTENDERS[OURS].missing():
        return {"workload": TRAINING.name, "title": TRAINING.title, "kind": "facts",
                "facts": {"not measured": reason}, "targets": []}  # fmt: skip
    return race(TRAINING, options, targets)
