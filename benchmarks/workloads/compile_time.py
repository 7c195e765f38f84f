"""How long the first call of a compiled training step takes, with an empty cache and from the cache.

Counted is the time from the first call's start to its end, in a new process in which `lampion` was imported
and network, optimizer and batch were made: importing the compiler, recording, passes, lowering, code,
loading, and the step itself. The phases are timed by wrapping the functions named in `PHASES`, in a process
of its own; a phase does not count the phases inside of it.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.harness import Options, Target, ask_child
from benchmarks.training import Training

TRAINED = ("spiral", "mlp-deep", "chargpt")
BOUNDS = {"chargpt": ("<= 2.5", "<= 0.25")}
PHASES = {  # module, attribute -> phase
    ("lampion.compiler.function", "trace_call"): "record",
    ("lampion.compiler.entries", "name_of"): "key of the graph",
    ("lampion.compiler.passes", "optimize"): "passes",
    ("lampion.compiler.lowering", "lower"): "schedule and lower",
    ("lampion.compiler.codegen.plan", "_Emitter.text"): "write LLVM IR",
    ("lampion.compiler.codegen.plan", "drop_cycles"): "free what wrote it",
    ("lampion.compiler.codegen.plan", "optimize"): "parse and verify IR",
    ("lampion.compiler.codegen.plan", "emit_object"): "LLVM's code generator",
    ("lampion.compiler.codegen.compiled", "Library"): "load",
    ("lampion.compiler.codegen.compiled", "CompiledPlan.run"): "run the plan",
    ("lampion.compiler.cache", "load"): "read the cache",
    ("lampion.compiler.cache", "sources"): "digest of the sources",
    ("lampion.compiler.cache", "store"): "write the cache",
}


class Phases:
    """Seconds in each phase, without those of the phases inside of it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    def timed(self, function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.perf_counter() - start
                self.seconds[phase] = self.seconds.get(phase, 0.0) + taken - self._inner.pop()
                self._inner[-1] += taken

        return call

    def wrap(self) -> None:
        """Time everything in `PHASES` from here on."""
        for (module, path), phase in PHASES.items():
            owner: Any = importlib.import_module(module)
            *classes, name = path.split(".")
            for part in classes:
                owner = getattr(owner, part)
            setattr(owner, name, self.timed(getattr(owner, name), phase))


def child(name: str, by_phase: str) -> dict[str, Any]:
    """The seconds of the first call, of its phases if asked for, and of a later call.

    For the phases the compiler's modules are imported beforehand, so that time is not in them.
    """
    from benchmarks import workloads
    from benchmarks.contenders.lampion_ import LampionSession

    training: Training = workloads.load(name).TRAINING
    session = LampionSession(training, training.weights(), compiled=True)
    batch = session.prepare(training.batch_number(1))
    phases = Phases()
    if by_phase == "yes":
        phases.wrap()
    start = time.perf_counter()
    session.value(session.step(*batch))
    first = time.perf_counter() - start
    by_name = dict(phases.seconds)  # what is asked for from here on is not a part of the first call
    start = time.perf_counter()
    session.value(session.step(*batch))
    later = time.perf_counter() - start
    if by_phase == "yes":
        by_name["the rest"] = first - sum(by_name.values())
    return {"first": first, "later": later, "phases": by_name, "facts": session.facts()}


def run(options: Options) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    targets = []
    for name in TRAINED:
        options.say(f"compile-time: {name}")
        later: list[float] = []
        found: dict[str, list[float]] = {"empty cache": [], "from the cache": []}
        for _ in range(1 if options.quick else 5):
            with tempfile.TemporaryDirectory(prefix="lampion-benchmarks-") as cache:
                for seconds in found.values():
                    answer = ask_child(__name__, name, "no", LAMPION_CACHE_DIR=cache)
                    seconds.append(answer["first"])
                    later.append(answer["later"])
        with tempfile.TemporaryDirectory(prefix="lampion-benchmarks-") as cache:
            for kind in found:
                answer = ask_child(__name__, name, "yes", LAMPION_CACHE_DIR=cache)
                phases = sorted(answer["phases"].items(), key=lambda item: -item[1])
                facts[f"{name}, {kind}: ms by phase"] = {key: round(s * 1e3, 1) for key, s in phases}
        facts[f"{name}, a later step: ms"] = round(median(later) * 1e3, 1)
        for (kind, seconds), bound in zip(found.items(), BOUNDS.get(name, (None, None)), strict=True):
            targets.append(Target(f"{name}: first call, {kind}", median(seconds), bound, "s"))
    return {
        "workload": "compile-time",
        "title": "the first call of a compiled training step",
        "kind": "facts",
        "facts": facts,
        "targets": [target.record() for target in targets],
    }


if __name__ == "__main__":
    print(json.dumps(child(*sys.argv[1:])))
