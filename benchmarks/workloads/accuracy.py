"""How often the recipes are right on their test data: the median of three seeds, no setting changed.

MNIST is read from the folder that LAMPION_DATA names, or fetched. The record of each run is kept beside the
medians (benchmarks/runs.py), unless `--quick`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import Options, Target
from benchmarks.runs import trained

SEEDS = (0, 1, 2)
BOUNDS = {"spiral": 0.98, "digits": 0.97, "mnist": 0.983, "mnist-cnn": 0.991, "mnist-deep": 0.994}
#: How long a recipe may train, in minutes.
MINUTES = {"mnist-deep": 30}


def account(recipe: str, found: list[dict[str, Any]]) -> tuple[dict[str, Any], list[Target]]:
    """What the runs of a recipe are told of, and held to."""
    accuracies, seconds = ([one[name] for one in found] for name in ("test_accuracy", "seconds"))
    facts = {
        f"lampion train {recipe} --seed N: test accuracy": ", ".join(f"{a:.2%}" for a in accuracies),
        f"{recipe}: epochs": found[0]["epochs"],
        f"{recipe}: seconds": ", ".join(f"{s:.1f}" for s in seconds),
    }
    targets = [Target(f"{recipe}: median test accuracy", median(accuracies), f">= {BOUNDS[recipe]}")]
    if recipe in MINUTES:
        targets.append(
            Target(f"{recipe}: longest training", max(seconds) / 60, f"<= {MINUTES[recipe]}", "min")
        )
    for kind in ("float16", "bfloat16"):
        if (name := f"test_accuracy_{kind}") in found[0]:
            facts[f"{recipe}: test accuracy in {kind}"] = ", ".join(f"{one[name]:.2%}" for one in found)
            apart = max(abs(100 * (one[name] - one["test_accuracy"])) for one in found)
            text = f"{recipe}: {kind} beside float32, greatest difference"
            targets.append(
                Target(text, round(apart, 6), "<= 0.05", "points")
            )  # a point: 100 of 10,000 images
    return facts, targets


def run(options: Options) -> dict[str, Any]:
    seeds = SEEDS[:1] if options.quick else SEEDS
    facts: dict[str, Any] = {"seeds": ", ".join(map(str, seeds))}
    targets: list[Target] = []
    for recipe in BOUNDS:
        options.say(f"accuracy: {recipe}")
        with tempfile.TemporaryDirectory() as folder:
            found = [
                trained(recipe, seed, Path(folder) / str(seed), kept=not options.quick) for seed in seeds
            ]
        told, held = account(recipe, found)
        facts |= told
        targets += held
    return {
        "workload": "accuracy",
        "title": "the recipes' accuracy",
        "kind": "facts",
        "facts": facts,
        "targets": [target.record() for target in targets],
    }
