"""Callbacks that write down how a training goes, for other programs to read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lampion.errors import LampionError, OptionError
from lampion.training.callbacks import Callback

if TYPE_CHECKING:
    from lampion.training.trainer import Trainer

__all__ = ["CSVLogger", "TensorBoardLogger"]


class CSVLogger(Callback):
    """The history as a CSV file, written anew after each epoch: a crash leaves the old or the new one.

    Args:
        path: by default ``history.csv`` in the trainer's `out`.

    >>> from lampion.training import CSVLogger
    >>> callback = CSVLogger("runs/mine/history.csv")
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = path

    def on_fit_start(self, trainer: Trainer) -> None:
        self._place(trainer).parent.mkdir(parents=True, exist_ok=True)

    def on_epoch_end(self, trainer: Trainer) -> None:
        trainer.history.save(self._place(trainer))

    def _place(self, trainer: Trainer) -> Path:
        return _place(trainer, self.path, "CSVLogger", "history.csv")


class TensorBoardLogger(Callback):
    """Loss, metrics and learning rate for TensorBoard, through the package tensorboardX.

    A run that is resumed goes on in the same curves: what the interrupted one wrote after the checkpoint is
    left out.

    Args:
        folder: by default ``tensorboard`` in the trainer's `out`.
        every_steps: how many updates from one point of ``step/loss`` to the next; None for none.

    >>> from lampion.training import TensorBoardLogger
    >>> callback = TensorBoardLogger("runs/mine/tensorboard", every_steps=50)
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, *, every_steps: int | None = None
    ) -> None:
        if every_steps is not None and every_steps < 1:
            raise OptionError("TensorBoardLogger", "every_steps is not positive", got=str(every_steps))
        self.folder, self.every_steps = folder, every_steps
        self.writer: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise LampionError("TensorBoardLogger", "tensorboardX is not installed",
                               fix="pip install 'lampion[tensorboard]'") from None  # fmt: skip
        place = _place(trainer, self.folder, "TensorBoardLogger", "tensorboard")
        self.writer = SummaryWriter(str(place), purge_step=trainer.step + 1 if trainer.resumed else None)

    def on_step_end(self, trainer: Trainer) -> None:
        if self.every_steps is not None and trainer.step % self.every_steps == 0:
            self.writer.add_scalar("step/loss", trainer.step_loss, trainer.step)

    def on_epoch_end(self, trainer: Trainer) -> None:
        for name, value in trainer.row.items():
            if name != "epoch":
                group, _, rest = name.partition("validation_")
                tag = f"validation/{rest}" if rest and not group else f"training/{name}"
                self.writer.add_scalar(tag, value, trainer.step)  # by updates, so that runs can be compared
        self.writer.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


def _place(trainer: Trainer, given: str | os.PathLike[str] | None, operation: str, name: str) -> Path:
    if given is not None:
        return Path(given)
    if trainer.out is None:
        raise OptionError(operation, "there is no folder to write to", fix="Trainer(..., out='runs/mine')",
                          expected=f"{operation}(...) with a path")  # fmt: skip
    return trainer.out / name
