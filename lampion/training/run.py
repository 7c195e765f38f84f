"""Run: the folder that a training leaves behind."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from lampion.utils.files import write_file


class Run:
    """The folder of one training, and its `metrics.json`.

    Args:
        name: the recipe's name.
        seed: what the random numbers start from; part of the folder's name.
        out: the folder; unless given, a new one: ``runs/<name>-<date>-<time>-seed<seed>``.
    """

    def __init__(self, name: str, seed: int, out: str | os.PathLike[str] | None = None) -> None:
        self.name = name
        self.seed = seed
        if out is None:
            self.folder = _new_folder(Path("runs"), f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-seed{seed}")
        else:
            self.folder = Path(out)
            self.folder.mkdir(parents=True, exist_ok=True)

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def finish(self, **metrics: Any) -> dict[str, Any]:
        """Write `metrics.json` (numbers that are not finite as null), say what came out, and return it."""
        from lampion import __version__

        metrics = {"recipe": self.name, "seed": self.seed, **metrics, "lampion": __version__}
        kept = {key: None if _is_not_finite(value) else value for key, value in metrics.items()}
        write_file(self / "metrics.json", json.dumps(kept, indent=2, allow_nan=False) + "\n")
        print(f"test accuracy {metrics['test_accuracy']:.2%}, test loss {metrics['test_loss']:.4f}, "
              f"{metrics['seconds']:.1f} s; see {self.folder}{os.sep}")  # fmt: skip
        return metrics


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _new_folder(parent: Path, name: str) -> Path:
    """Make a folder that did not exist: two runs begun in one second get one each."""
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not parent.is_dir():
                raise
            continue
        return folder
    raise FileExistsError(f"there are a thousand folders {parent / name}-...")
