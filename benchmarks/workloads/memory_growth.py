"""How much memory training takes beyond the import: resident bytes after some steps, less those before.

Each contender and workload has a process of its own. Compiled Lampion runs once with an empty cache and once
from the cache; both are compared with the least that PyTorch needs in any of its forms.

What Lampion lets go of when it has compiled (see `lampion.compiler.resident`) is not counted: the pages of
LLVM's library among it, 60 MiB, of which the system keeps a copy as long as nobody else needs the memory.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import tempfile
from typing import Any

from benchmarks import workloads
from benchmarks.contenders import CONTENDERS
from benchmarks.harness import Options, Target, ask_child
from benchmarks.workloads.memory import MIB, resident

TRAINED = (
    "spiral", "mlp", "mlp-deep", "chargpt", "adam", "cross-entropy", "deepconvnet", "lenet", "conv-bn-relu",
    "resnet18", "rnnlm", "rnnlm-better", "gru", "bi-lstm", "seq2seq-attention",
)  # fmt: skip
_TORCH = ("torch eager", "torch fused", "torch compile")
TORCH = (*_TORCH, *(f"{name} channels-last" for name in _TORCH))
OURS = "lampion compiled"
ANEW = f"{OURS}, first time"
STEPS = 20


def child(contender: str, name: str) -> dict[str, Any]:
    """Train for some steps: MiB resident after the import, after the first step, after all."""
    chosen = CONTENDERS[contender]
    importlib.import_module(chosen.package)
    gc.collect()
    imported = resident()
    training = workloads.load(name).TRAINING
    build = importlib.import_module(f"benchmarks.contenders.{chosen.module}").build
    session = build(training, training.weights(), **chosen.options)
    seen = []
    for number in range(STEPS):
        session.value(session.step(*session.prepare(training.batch_number(number))))
        if number in (0, STEPS - 1):
            gc.collect()
            seen.append((resident() - imported) / MIB)
    return {"imported": imported / MIB, "first": seen[0], "all": seen[1], "facts": session.facts()}


def run(options: Options) -> dict[str, Any]:
    facts: dict[str, Any] = {"steps": STEPS}
    targets = []
    names = TRAINED[:1] + TRAINED[3:4] if options.quick else TRAINED
    for name in names:
        options.say(f"memory-growth: {name}")
        grown = {}
        with tempfile.TemporaryDirectory(prefix="lampion-benchmarks-") as cache:
            for label in (ANEW, OURS, *TORCH):
                contender = CONTENDERS[label.partition(",")[0]]
                training = workloads.load(name).TRAINING
                if label not in options.contenders and not label.startswith(OURS):
                    continue
                if contender.missing() or not contender.takes(training):
                    continue
                answer = ask_child(__name__, label.partition(",")[0], name, LAMPION_CACHE_DIR=cache)
                grown[label] = answer["all"]
                facts[f"{name}, {label}: MiB after the first step, after all; import"] = [
                    round(answer[key], 1) for key in ("first", "all", "imported")
                ]
        if best := min((label for label in grown if label in TORCH), key=grown.__getitem__, default=None):
            for label in (ANEW, OURS):
                how = label.removeprefix("lampion ")
                ratio = grown[label] / grown[best]
                targets.append(Target(f"{name}: growth, {how} against {best}", ratio, "<= 1", "x"))
    return {
        "workload": "memory-growth",
        "title": f"growth of resident memory since the import, after {STEPS} steps",
        "kind": "facts",
        "facts": facts,
        "targets": [target.record() for target in targets],
    }


if __name__ == "__main__":
    print(json.dumps(child(*sys.argv[1:])))
