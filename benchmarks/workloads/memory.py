"""Memory stays flat over thousands of steps with Python's cycle collector off."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import Options, Target, ask_child

MIB = 2**20


def resident() -> int:
    """Bytes of this process that are in memory now; where the system does not say, the most so far."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource  # not on Windows, where this workload cannot run

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def child(mode: str, steps: int) -> dict[str, Any]:
    """Train the spiral network with no cycle collector; resident bytes after each tenth of the steps."""
    from benchmarks.contenders.lampion_ import LampionSession
    from benchmarks.workloads.spiral import TRAINING

    session = LampionSession(TRAINING, TRAINING.weights(), compiled=mode == "compiled")
    pool = [session.prepare(TRAINING.batch_number(i)) for i in range(16)]
    gc.collect()
    gc.disable()
    seen = []
    for number in range(steps):
        session.value(session.step(*pool[number % 16]))
        if (number + 1) % (steps // 10) == 0:
            seen.append(resident())
    return {"resident": seen, "facts": session.facts()}


def run(options: Options) -> dict[str, Any]:
    steps = 1000 if options.quick else 10_000
    facts: dict[str, Any] = {"steps": steps}
    targets = []
    for mode in ("eager", "compiled"):
        options.say(f"memory: {steps} {mode} steps without the cycle collector")
        seen = ask_child(__name__, mode, str(steps))["resident"]
        facts |= {f"{mode}: MiB after each tenth": [round(size / MIB, 2) for size in seen]}
        # One kept array of 30x10 floats a step would be 11 MiB; allocators may round up by a page or two.
        growth = (seen[-1] - seen[0]) / MIB
        targets.append(Target(f"{mode}: growth from the first tenth to the last", growth, "<= 0.5", "MiB"))
    return {
        "workload": "memory",
        "title": f"memory over {steps} steps, gc.disable()",
        "kind": "facts",
        "facts": facts,
        "targets": [target.record() for target in targets],
    }


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], int(sys.argv[2]))))
