"""Adam alone over ten million parameters, 18 large tensors and 400 small: traffic, and a cost for each."""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Options, race
from benchmarks.workloads.adam import targets, training

LARGE, SMALL = (9, 1000), (200, 64)  # how many square layers, and of what width


def network(nn: Any) -> Any:
    return nn.Sequential(*[nn.Linear(width, width) for count, width in (LARGE, SMALL) for _ in range(count)])


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    widths = [width for count, width in (LARGE, SMALL) for _ in range(count)]
    for i, width in enumerate(widths):
        found |= {f"{i}.weight": (width, width), f"{i}.bias": (width,)}
    return found


TRAINING = training(
    "adam-many", "Adam alone over 10 million parameters in 18 large and 400 small tensors", network, shapes()
)


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
