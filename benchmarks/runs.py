"""Keeps the record of a recipe's run: `python -m benchmarks.runs runs/rnnlm-lstm-...` for one folder or more.

Of what a training left in its folder, the numbers go to results/<this machine>/runs/<recipe>-seed<seed>.json:
the command, the settings, what came out, and the history, epoch by epoch, with all digits (of a long one, the
first epochs and a tenth of the others). Runs are deterministic: the first epochs of a record can be had
again, bit for bit, without waiting for the last.
"""

from __future__ import annotations

import csv
import importlib
import inspect
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine, report
from benchmarks.harness import worker_environment

#: Settings that are options of the command `lampion train`; others are the recipe's own.
OPTIONS = ("epochs", "batch_size", "lr", "seed")

#: Of a history with more epochs than this, so many are kept from its beginning, and each tenth of the others.
WHOLE = 100


def record(folder: Path) -> dict[str, Any]:
    """What is kept of a run."""
    settings = json.loads((folder / "settings.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = []
    if (folder / "history.csv").exists():  # what is counted, not trained, has none
        with open(folder / "history.csv", newline="") as file:
            rows = thinned(list(csv.DictReader(file)))
    options = [f"--{name.replace('_', '-')} {settings[name]}" for name in OPTIONS if name in settings]
    options += [f"--set {name}={value}" for name, value in own_options(settings).items()]
    return {
        "command": " ".join(["lampion train", settings["recipe"], *options]),
        "settings": settings,
        "metrics": {name: value for name, value in metrics.items() if name not in settings},
        "history": {name: [number(row[name]) for row in rows] for name in (rows[0] if rows else ())},
        "processor": machine.processor(),
        "cores": machine.cores(),
    }


def own_options(settings: dict[str, Any]) -> dict[str, Any]:
    """The recipe's own options, where they are not what they are unless set."""
    recipe = importlib.import_module(f"lampion.recipes.{settings['recipe'].replace('-', '_')}")
    defaults = {name: option.default for name, option in inspect.signature(recipe.train).parameters.items()}
    known = (*OPTIONS, "compile", "device")
    return {name: value for name, value in settings.items()
            if name in defaults and name not in known and value != defaults[name]}  # fmt: skip


def thinned(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """What is kept of a history: all of a short one; the last epoch always."""
    later = rows[WHOLE:]
    return rows[:WHOLE] + [row for i, row in enumerate(later, 1) if i % 10 == 0 or i == len(later)]


def number(text: str) -> int | float | str:
    """A number; as it stands where it is not finite, which JSON has no numbers for."""
    value = float(text)
    if not math.isfinite(value):
        return text
    return int(text) if text.lstrip("-").isdigit() else value


def text(kept: dict[str, Any]) -> str:
    """As JSON, with one line for each column of the history."""
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in kept.items() if name != "history"]
    columns = [f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in kept["history"].items()]
    lines.append(' "history": {\n' + ",\n".join(columns) + "\n }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def keep(folder: Path, results: Path | None = None) -> Path:
    """Write the record of a run; returns where."""
    kept = record(folder)
    target = (results or report.folder()) / "runs"
    target.mkdir(parents=True, exist_ok=True)
    own = "".join(f"-{name}-{value}" for name, value in own_options(kept["settings"]).items())
    path = target / f"{kept['settings']['recipe']}{own}-seed{kept['settings']['seed']}.json"
    path.write_text(text(kept))
    return path


def trained(recipe: str, seed: int, out: Path, *options: str, kept: bool = False) -> dict[str, Any]:
    """What `lampion train RECIPE OPTIONS --seed SEED` leaves in its metrics.json; in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "lampion",
        "train",
        recipe,
        *options,
        "--seed",
        str(seed),
        "--out",
        str(out),
    ]
    subprocess.run(command, cwd=machine.ROOT, env=worker_environment(), check=True, capture_output=True)
    if kept:
        keep(out)
    return dict(json.loads((out / "metrics.json").read_text()))


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: python -m benchmarks.runs FOLDER...")
    for name in sys.argv[1:]:
        print(keep(Path(name)))
