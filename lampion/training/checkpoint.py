"""Checkpoints: folders that are whole or not there, from which a training goes on with the same bits.

    out/checkpoints/000012/model.safetensors      the model's tensors, by their names: lampion.load reads them
                           training.safetensors   all other tensors: optimizer, random state, callbacks
                           checkpoint.json        everything else; sizes and checksums of all three

A folder is written under another name, flushed to the disk, and then renamed: a crash at any instant
leaves it whole or leaves it out. Nothing in it is code, and nothing is believed before size and checksum
have been compared.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lampion.errors import LampionError, OptionError
from lampion.serialization import load, to_bytes
from lampion.tensor import Tensor
from lampion.training.callbacks import Callback, better, mode_of, value_of
from lampion.training.state import decode, encode
from lampion.utils.files import write_folder

if TYPE_CHECKING:
    from lampion.training.trainer import Trainer

__all__ = ["Checkpoint", "CheckpointError", "latest", "read_checkpoint", "write_checkpoint"]

log = logging.getLogger("lampion.training")

FORMAT = 1
_MODEL, _REST, _INDEX = "model.safetensors", "training.safetensors", "checkpoint.json"
_NUMBER = re.compile(r"\d{6,}")
_LEFT_OVER = re.compile(r"\.\d{6,}\.[0-9a-f]{12}\.tmp")


class CheckpointError(LampionError):
    """A checkpoint could not be written, or is not whole."""


class Checkpoint(Callback):
    """Writes a checkpoint after an epoch, and keeps the best or the newest of them.

    They lie in ``out/checkpoints/000001``, ``000002``...; ``trainer.fit(..., resume=True)`` goes on from the
    newest. Each is written whole before an older one is removed.

    Args:
        every: how many epochs from one to the next; the last epoch gets one in any case. None: none.
        keep: how many to keep: the newest, or those with the best `monitor` and besides them the newest.
        monitor: a column of the history.
        mode: ``"min"`` or ``"max"``; by default as in `EarlyStopping`.
        every_steps: how many updates from one to the next, within epochs: for long epochs.

    >>> from lampion.training import Checkpoint
    >>> callback = Checkpoint(every=5, keep=2, monitor="validation_accuracy")
    """

    order = 100

    def __init__(
        self, every: int | None = 1, keep: int = 3, monitor: str | None = None, *, mode: str | None = None,
        every_steps: int | None = None,
    ) -> None:  # fmt: skip
        for name, value in (("every", every), ("keep", keep), ("every_steps", every_steps)):
            if value is not None and value < 1:
                raise OptionError(
                    "Checkpoint", f"{name} is not positive", expected="1 or more", got=str(value)
                )
        self.every, self.keep, self.monitor, self.every_steps = every, keep, monitor, every_steps
        self.mode = mode_of(monitor, mode)
        self.values: dict[int, float] = {}  # what `monitor` was, by the checkpoint's number
        self._own: set[int] = set()

    def on_fit_start(self, trainer: Trainer) -> None:
        folder = folder_of(trainer)
        there = set(numbered(folder))
        if not trainer.resumed and there - self._own:
            raise CheckpointError(
                "Checkpoint", f"{folder} holds checkpoints of another run", got=f"{len(there)} of them",
                fix="fit(..., resume=True) to go on from them, or another folder: Trainer(..., out=...)",
            )  # fmt: skip
        self._own |= there
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():  # of a run that was killed while it wrote
            if _LEFT_OVER.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)

    def on_step_end(self, trainer: Trainer) -> None:
        if self.every_steps is not None and trainer.step % self.every_steps == 0:
            self.save(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.every is None:
            return
        if trainer.epoch % self.every == 0 or trainer.epoch == trainer.epochs or trainer.stop:
            value = None if self.monitor is None else value_of(trainer, self.monitor, "Checkpoint")
            self.save(trainer, value)

    def save(self, trainer: Trainer, value: float | None = None) -> Path:
        """Write a checkpoint now; `value` is what it is judged by."""
        folder = folder_of(trainer)
        number = max(numbered(folder), default=0) + 1
        if value is not None:
            self.values[number] = value
        try:
            path = write_checkpoint(folder, number, trainer.state_dict())
        except BaseException:
            self.values.pop(number, None)
            raise
        self._own.add(number)
        self._prune(folder)
        return path

    def _prune(self, folder: Path) -> None:
        numbers = sorted(numbered(folder), reverse=True)
        if self.monitor is None:
            kept = set(numbers[: self.keep])
        else:
            ranked: list[int] = []  # the best first; of equal ones the newer
            for number in (n for n in numbers if n in self.values):
                place = next(
                    (
                        i
                        for i, n in enumerate(ranked)
                        if better(self.values[number], self.values[n], self.mode)
                    ),
                    len(ranked),
                )
                ranked.insert(place, number)
            kept = {*ranked[: self.keep], *numbers[:1]}
        for number in numbers:
            if number not in kept:
                self._own.discard(number)
                self.values.pop(number, None)
                _remove(folder / name_of(number))

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = dict(state["values"])


def folder_of(trainer: Trainer) -> Path:
    """Where a trainer's checkpoints lie."""
    if trainer.out is None:
        raise OptionError("Trainer", "checkpoints need a folder", expected="Trainer(..., out='runs/mine')")
    return trainer.out / "checkpoints"


def name_of(number: int) -> str:
    """The name of a checkpoint's folder."""
    return f"{number:06d}"


def numbered(folder: Path) -> list[int]:
    """The numbers of the checkpoints in a folder, whole or not."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if _NUMBER.fullmatch(path.name))


def _remove(path: Path) -> None:
    """Take a checkpoint away: all of it in one instant, as far as readers can see."""
    hidden = path.parent / f".{path.name}.{os.urandom(6).hex()}.tmp"
    try:
        os.replace(path, hidden)
    except OSError as error:  # somebody holds it open: it stays, and the next pruning tries again
        log.warning("%s could not be removed: %s", path, error)
        return
    shutil.rmtree(hidden, ignore_errors=True)


# -- writing and reading ---------------------------------------------------------------------------------


def write_checkpoint(folder: str | os.PathLike[str], number: int, state: dict[str, Any]) -> Path:
    """Write the state of a training as ``folder/<number>``: all of it, or nothing."""
    from lampion import __version__

    model: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for name, value in state["model"].items():
        if isinstance(value, Tensor) and value.dtype.short != "c128":
            model[name] = value.detach()
        else:
            rest[name] = value
    kept = encode({**state, "model": rest}, tensors)
    files = {_MODEL: to_bytes(model), _REST: to_bytes(tensors)}
    index = {
        "format": FORMAT, "lampion": __version__,
        "files": {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                  for name, data in files.items()},
        "state": kept,
    }  # fmt: skip
    index["sha256"] = _checksum(index)
    files[_INDEX] = json.dumps(index, allow_nan=False).encode()
    target = Path(folder) / name_of(number)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_folder(target, files)
    except OSError as error:
        older = latest(target.parent.parent) if target.parent.name == "checkpoints" else None
        size = sum(map(len, files.values()))
        raise CheckpointError(
            "Checkpoint", f"{target} could not be written: {error}", expected=f"room for {size:,} bytes",
            fix="make room and fit(..., resume=True)"
            + (f": {older} is whole" if older else ""),
        ) from error  # fmt: skip
    return target


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The state in a checkpoint's folder, when sizes and checksums have been compared.

    Raises:
        CheckpointError: it is not whole, or was changed.
    """
    path = Path(path)
    index = _verified(path)
    tensors = load(path / _REST)
    try:
        state: dict[str, Any] = decode(index["state"], tensors)
        state["model"] = {**load(path / _MODEL), **state["model"]}
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"{_INDEX} does not fit {_REST}: {error}") from None
    return state


def _verified(path: Path) -> dict[str, Any]:
    """The index of a checkpoint, whose files are as it says."""
    try:
        index = json.loads((path / _INDEX).read_bytes())
        claimed = index.pop("sha256")
        files = {
            name: (index["files"][name]["bytes"], index["files"][name]["sha256"]) for name in (_MODEL, _REST)
        }
        version = index["format"]
    except OSError as error:
        raise _broken(path, str(error)) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _broken(path, f"{_INDEX} is cut off or not a checkpoint's") from None
    if claimed != _checksum(index):
        raise _broken(path, f"{_INDEX} has another checksum than it had when it was written")
    if version != FORMAT:
        raise CheckpointError("checkpoint", f"{path} was written by another Lampion",
                              expected=f"format {FORMAT}",
                              got=f"format {version}, Lampion {index.get('lampion')}")  # fmt: skip
    for name, (size, checksum) in files.items():
        try:
            with open(path / name, "rb") as file:
                found = os.fstat(file.fileno()).st_size
                if found != size:
                    raise _broken(path, f"{name} has {found} bytes instead of {size}")
                if hashlib.file_digest(file, "sha256").hexdigest() != checksum:
                    raise _broken(path, f"{name} has another checksum than it had when it was written")
        except OSError as error:
            raise _broken(path, str(error)) from None
    return index  # type: ignore[no-any-return]  # a dict, or the lines above had failed


def _checksum(index: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, separators=(",", ":")).encode()).hexdigest()


def _broken(path: Path, why: str) -> CheckpointError:
    return CheckpointError("checkpoint", f"{path} is not whole", got=why,
                           fix="latest(out) finds the newest that is")  # fmt: skip


def latest(out: str | os.PathLike[str]) -> Path | None:
    """The newest whole checkpoint of a run's folder; None if there is none.

    >>> import tempfile
    >>> from lampion.training import latest
    >>> with tempfile.TemporaryDirectory() as out:
    ...     print(latest(out))
    None
    """
    folder = Path(out) / "checkpoints"
    for number in reversed(numbered(folder)):
        try:
            _verified(folder / name_of(number))
        except CheckpointError as error:
            log.warning("%s", error)
        else:
            return folder / name_of(number)
    return None


def resume_from(trainer: Trainer) -> bool:
    """Set a trainer to its newest whole checkpoint; whether there was one."""
    folder = folder_of(trainer)
    path = latest(folder.parent)
    if path is not None:
        trainer.load_state_dict(read_checkpoint(path))
        return True
    there = numbered(folder)
    if there:  # to begin anew would be to lose them
        read_checkpoint(folder / name_of(there[-1]))
    return False
