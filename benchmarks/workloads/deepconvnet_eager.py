"""The step of DeepConvNet in eager Lampion, beside eager PyTorch in all its forms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.harness import Options, Target, Times, race
from benchmarks.workloads import deepconvnet

TRAINING = replace(
    deepconvnet.TRAINING, name="deepconvnet-eager", title="DeepConvNet, 28x28, batch 100, Adam: eager"
)
OURS = "lampion eager"


def eager(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those that run without a compiler: PyTorch's fused optimizer is one."""
    return tuple(name for name in names if {"eager", "fused"} & {*name.split()})


def targets(times: Times, peak: float) -> list[Target]:
    if OURS not in times:
        return []
    found = []
    plain = times.best(tuple(n for n in times.rounds if n.startswith("torch") and "eager" in n))
    for other, bound in ((plain, ">= 1"), (times.best(eager(tuple(times.rounds))), None)):
        if other and other != OURS:
            found.append(Target(f"eager against {other}", times.ratio(other, OURS), bound, "x"))
    return found


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, replace(options, contenders=eager(options.contenders)), targets)
