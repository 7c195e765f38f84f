"""Looking inside of what runs: where numbers go wrong, where tensors come from, where time and memory go.

`watch.py` says how it is done at no cost while nobody looks. The tools: `anomaly`, `origins` (with
`Tensor.origin`), `lint`, `profile`; and `trail.py`, which makes shape errors name their layer.
"""

from lampion.debug.anomaly import anomaly
from lampion.debug.lint import RULES, Finding, LintWarning, lint
from lampion.debug.origins import Origin, origins
from lampion.debug.profiler import profile
from lampion.debug.watch import Watcher

__all__ = [
    "RULES", "Finding", "LintWarning", "Origin", "Watcher", "anomaly", "lint", "origins", "profile",
]  # fmt: skip
