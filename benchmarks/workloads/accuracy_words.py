"""What the recipes about words and letters come to: the median of three seeds, no setting changed.

The Penn Treebank and bAbI are read from the folder that LAMPION_DATA names, or fetched. Of `counts` the time
counts. The whole takes the better part of an hour on two cores. Each run's record is kept beside the medians
(benchmarks/runs.py), unless `--quick`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import Options, Target
from benchmarks.runs import trained

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Aim:
    """A recipe with its options, the number of its metrics.json that counts, and what that should be."""

    recipe: str
    metric: str
    bound: str | None
    options: tuple[str, ...] = ()
    seeds: tuple[int, ...] = SEEDS
    quick: bool = True  # whether it is quick to train

    @property
    def name(self) -> str:
        return " ".join([self.recipe, *self.options])


AIMS = (
    Aim("counts", "seconds", "<= 60", seeds=(0,)),
    Aim("sine", "loss", "<= 0.0015"),
    Aim("babi", "test_last_word_accuracy", ">= 0.37"),
    Aim("addition", "test_accuracy", ">= 0.98", quick=False),
    Aim("addition", "test_accuracy", None, ("--set", "peeky=no"), (0,), quick=False),
    Aim("addition", "test_accuracy", None, ("--set", "peeky=no", "--set", "reverse=no"), (0,), quick=False),
    Aim("dates", "test_accuracy", ">= 0.999", quick=False),
)
WORD2VEC = Aim("word2vec", "ranks", None, quick=False)


def run(options: Options) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    targets = []
    for aim in (*AIMS, WORD2VEC):
        if options.quick and not aim.quick:
            continue
        options.say(f"accuracy-words: {aim.name}")
        with tempfile.TemporaryDirectory() as folder:
            seeds = aim.seeds[:1] if options.quick else aim.seeds
            found = [
                trained(aim.recipe, seed, Path(folder) / str(seed), *aim.options, kept=not options.quick)
                for seed in seeds
            ]
        numbers = f"lampion train {aim.name}, seeds {', '.join(map(str, seeds))}"
        facts[f"{numbers}: {aim.metric}"] = "; ".join(said(one[aim.metric]) for one in found)
        facts[f"{aim.name}: seconds"] = ", ".join(f"{one['seconds']:.1f}" for one in found)
        if aim is not WORD2VEC:
            value = median(one[aim.metric] for one in found)
            targets.append(Target(f"{aim.name}: median {aim.metric.replace('_', ' ')}", value, aim.bound))
    return {
        "workload": "accuracy-words",
        "title": "what the recipes about words and letters come to",
        "kind": "facts",
        "facts": facts,
        "targets": [target.record() for target in targets],
    }


def said(value: Any) -> str:
    """A number, or the ranks of the right answers to analogies."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {rank}" for name, rank in value.items())
    return f"{value:.5g}"
