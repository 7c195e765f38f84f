"""How often the recipes are right on their test data: the median of three seeds, no setting changed.

MNIST is read from the folder that LAMPION_DATA names, or fetched.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.harness import Options, Target, worker_environment

SEEDS = (0, 1, 2)
BOUNDS = {"spiral": 0.98, "digits": 0.97, "mnist": 0.983}


def trained(recipe: str, seed: int, out: Path) -> dict[str, Any]:
    """What `lampion train RECIPE --seed SEED` writes into its metrics.json."""
    command = [sys.executable, "-m", "lampion", "train", recipe, "--seed", str(seed), "--out", str(out)]
    subprocess.run(command, cwd=machine.ROOT, env=worker_environment(), check=True, capture_output=True)
    return dict(json.loads((out / "metrics.json").read_text()))


def run(options: Options) -> dict[str, Any]:
    seeds = SEEDS[:1] if options.quick else SEEDS
    facts: dict[str, Any] = {"seeds": ", ".join(map(str, seeds))}
    targets = []
    for recipe, bound in BOUNDS.items():
        options.say(f"accuracy: {recipe}")
        with tempfile.TemporaryDirectory() as folder:
            found = [trained(recipe, seed, Path(folder) / str(seed)) for seed in seeds]
        accuracies = [one["test_accuracy"] for one in found]
        facts[f"lampion train {recipe} --seed N: test accuracy"] = ", ".join(f"{a:.2%}" for a in accuracies)
        facts[f"{recipe}: epochs"] = found[0]["epochs"]
        facts[f"{recipe}: seconds"] = ", ".join(f"{one['seconds']:.1f}" for one in found)
        targets.append(Target(f"{recipe}: median test accuracy", median(accuracies), f">= {bound}"))
    return {
        "workload": "accuracy",
        "title": "the recipes' accuracy",
        "kind": "facts",
        "facts": facts,
        "targets": [target.record() for target in targets],
    }
