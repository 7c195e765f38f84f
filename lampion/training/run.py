"""Run: the folder that a training leaves behind, and goes on in."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from lampion.errors import LampionError
from lampion.utils.files import write_file

#: Where new runs get their folders.
RUNS = Path("runs")
_SETTINGS = "settings.json"


class Run:
    r"""The folder of one training: its `settings.json` from the beginning, its `metrics.json` at the end.

    Args:
        name: the recipe's name.
        seed: what the random numbers start from; part of the folder's name.
        out: the folder; unless given, a new one: ``runs/<name>-<date>-<time>-seed<seed>``.
        resume: go on in a folder that is there: `out`, or the newest one of this recipe.
        settings: what else decides about the result. A run goes on with the settings that it began with.

    >>> import tempfile
    >>> from lampion.training import Run
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run("digits", 0, folder, lr=0.1)
    ...     (run / "settings.json").read_text()
    '{"recipe": "digits", "seed": 0, "lr": 0.1}\n'
    """

    def __init__(
        self, name: str, seed: int, out: str | os.PathLike[str] | None = None, *, resume: bool = False,
        **settings: Any,
    ) -> None:  # fmt: skip
        self.name = name
        self.seed = seed
        self.settings = {"recipe": name, "seed": seed, **settings}
        if resume:
            self.folder = newest_run(name) if out is None else Path(out)
            self._compare(read_settings(self.folder))
            return
        if out is None:
            self.folder = _new_folder(RUNS, f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-seed{seed}")
        else:
            self.folder = Path(out)
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _no_folder(self.folder, error) from error
            if any(self.folder.glob("checkpoints/*")):
                raise LampionError("train", f"{self.folder} holds the checkpoints of another run",
                                   fix="--resume (in Python: resume=True) goes on with it; "
                                       "or take another folder")  # fmt: skip
        write_file(self / _SETTINGS, json.dumps(self.settings) + "\n")

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def _compare(self, begun: dict[str, Any]) -> None:
        names = [name for name in self.settings if begun.get(name) != self.settings[name]]
        if names:
            raise LampionError(
                "train", f"{self.folder} was begun with other settings",
                expected=", ".join(f"{name} {begun.get(name)}" for name in names),
                got=", ".join(f"{name} {self.settings[name]}" for name in names),
                fix="leave them out to go on, or begin a new run without --resume",
            )  # fmt: skip

    def finish(self, **metrics: Any) -> dict[str, Any]:
        """Write `metrics.json` (numbers that are not finite as null), say what came out, and return it.

        Besides `metrics`, which have at least seconds, it holds the settings.
        """
        from lampion import __version__

        said = [f"{name.replace('_', ' ')} {_said(name, value)}" for name, value in metrics.items()
                if isinstance(value, int | float) and name != "seconds"]  # fmt: skip
        metrics = {**self.settings, **metrics, "lampion": __version__}
        kept = {key: None if _is_not_finite(value) else value for key, value in metrics.items()}
        write_file(self / "metrics.json", json.dumps(kept, indent=2, allow_nan=False) + "\n")
        print(", ".join([*said, f"{metrics['seconds']:.1f} s"]) + f"; see {self.folder}{os.sep}")
        return metrics


def newest_run(name: str) -> Path:
    """The folder under runs/ in which the newest run of a recipe began."""
    begun = [path for path in RUNS.glob(f"{name}-*/{_SETTINGS}") if _recipe_of(path) == name]
    if not begun:
        raise LampionError(
            "train",
            f"there is no run of {name} under {RUNS.resolve()} to go on with",
            fix="--out FOLDER says where it is; without --resume a new one begins",
        )
    return max(begun, key=lambda path: (path.stat().st_mtime_ns, path.parent.name)).parent


def read_settings(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings that a run began with."""
    path = Path(folder) / _SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LampionError(
            "train", f"there is no run in {folder} to go on with", expected=str(path)
        ) from None
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise LampionError("train", f"{path} does not hold a run's settings")
    return settings


def _recipe_of(path: Path) -> Any:
    try:
        return read_settings(path.parent).get("recipe")
    except (LampionError, OSError):
        return None


def _said(name: str, value: float) -> str:
    """A number as a line says it."""
    if "accuracy" in name:
        return f"{value:.2%}"
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _no_folder(folder: Path, error: OSError) -> LampionError:
    why = (
        "there is a file of that name"
        if isinstance(error, FileExistsError | NotADirectoryError)
        else error.strerror
    )
    return LampionError(
        "train", f"the folder {folder} cannot be made: {why}", fix="another one: --out FOLDER"
    )


def _new_folder(parent: Path, name: str) -> Path:
    """Make a folder that did not exist: two runs begun in one second get one each."""
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not parent.is_dir():
                raise _no_folder(parent, NotADirectoryError()) from None
            continue
        except OSError as error:
            raise _no_folder(parent, error) from error
        return folder
    raise FileExistsError(f"there are a thousand folders {parent / name}-...")
