"""How long `import lampion` takes, beside `import numpy`, in fresh interpreters taking turns."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.harness import Options, Target, worker_environment

CODE = "import json, time; t = time.perf_counter(); import {}; print(json.dumps(time.perf_counter() - t))"


def seconds(package: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(package)],
        cwd=machine.ROOT,
        env=worker_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout))


def run(options: Options) -> dict[str, Any]:
    pairs = [(seconds("numpy"), seconds("lampion")) for _ in range(5 if options.quick else 25)]
    pairs = pairs[1:]  # the first pair may compile .py files and read them from the disk
    numpy_s, lampion_s = median(n for n, _ in pairs), median(ours for _, ours in pairs)
    targets = [
        Target("import lampion", lampion_s, "<= 0.25", "s"),
        Target("against import numpy", median(ours / n for n, ours in pairs), "<= 2", "x"),
    ]
    return {
        "workload": "import",
        "title": "import lampion",
        "kind": "facts",
        "facts": {
            "import numpy (s)": numpy_s,
            "import lampion (s)": lampion_s,
            "fresh interpreters": len(pairs),
        },
        "targets": [target.record() for target in targets],
    }
