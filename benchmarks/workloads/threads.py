"""The same bits for any number of threads, and a sane speed when two threads share one core."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from statistics import median
from typing import Any

from benchmarks.harness import Options, Target, ask_child
from benchmarks.training import Training

COUNTS = (1, 2, 3, 8)
TRAINED = ("spiral", "mlp")


def training(name: str) -> Training:
    from benchmarks import workloads

    found: Training = workloads.load(name).TRAINING
    return found


def child_bits(name: str, steps: str) -> dict[str, Any]:
    """Train compiled; a digest of every loss and every final weight."""
    from benchmarks.contenders.lampion_ import LampionSession

    task = training(name)
    session = LampionSession(task, task.weights(), compiled=True)
    losses = [session.value(session.step(*session.prepare(task.batch_number(i)))) for i in range(int(steps))]
    digest = hashlib.sha256(repr(losses).encode())
    for array in session.arrays():
        digest.update(array.tobytes())
    return {"digest": digest.hexdigest(), "loss": losses[-1], "facts": session.facts()}


def child_pinned(name: str, seconds: str) -> dict[str, Any]:
    """Compiled steps a second, with every thread held to one core."""
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})  # threads started from here on inherit it
    from benchmarks.contenders.lampion_ import LampionSession

    task = training(name)
    session = LampionSession(task, task.weights(), compiled=True)
    pool = [session.prepare(task.batch_number(i)) for i in range(16)]
    for batch in pool:
        session.value(session.step(*batch))
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < float(seconds):
        session.value(session.step(*pool[steps % 16]))
        steps += 1
    return {"steps_per_second": steps / (time.perf_counter() - start)}


def run(options: Options) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    targets = []
    for name in TRAINED:
        options.say(f"threads: {name} with {COUNTS} threads")
        answers = {
            count: ask_child(
                __name__, "bits", name, "10" if options.quick else "50", LAMPION_NUM_THREADS=str(count)
            )
            for count in COUNTS
        }
        for count, answer in answers.items():
            facts[f"{name}, {count} threads: digest"] = answer["digest"][:16]
            assert answer["facts"]["threads"] == count, (count, answer["facts"])
        different = len({answer["digest"] for answer in answers.values()})
        targets.append(Target(f"{name}: different results for {COUNTS} threads", different, "<= 1"))

    if hasattr(os, "sched_setaffinity"):
        seconds = "0.5" if options.quick else "2"
        for name in TRAINED:
            options.say(f"threads: {name} pinned to one core")
            rates: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(2 if options.quick else 5):
                for count, seen in rates.items():
                    answer = ask_child(__name__, "pinned", name, seconds, LAMPION_NUM_THREADS=str(count))
                    seen.append(answer["steps_per_second"])
            facts |= {f"{name}, {n} threads on one core: steps/s": median(seen) for n, seen in rates.items()}
            # Two threads cannot be faster than one here; sane is to lose less than half to taking turns.
            speed = median(two / one for one, two in zip(rates[1], rates[2], strict=True))
            targets.append(
                Target(f"{name}: two threads on one core, against one thread", speed, ">= 0.5", "x")
            )
    else:
        facts["two threads on one core"] = "not measured: this system cannot pin threads to a core"
    return {
        "workload": "threads",
        "title": "threads: the same bits, and two on one core",
        "kind": "facts",
        "facts": facts,
        "targets": [target.record() for target in targets],
    }


if __name__ == "__main__":
    child = {"bits": child_bits, "pinned": child_pinned}[sys.argv[1]]
    print(json.dumps(child(*sys.argv[2:])))
