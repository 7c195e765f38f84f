"""Callbacks: what happens beside the training, at its steps and epochs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lampion.errors import OptionError
from lampion.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau
from lampion.training.metrics import Accuracy
from lampion.training.progress import Progress

if TYPE_CHECKING:
    from lampion.training.trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "LambdaCallback", "ProgressBar", "Schedule", "better", "value_of"]


class Callback:
    """The base class: each method is called with the trainer, at its time. Define those that you need.

    A callback that remembers something gives it to checkpoints by `state_dict` and takes it back in
    `load_state_dict`: numbers, texts, Tensors, and lists, tuples and dicts of these.

    `order`: callbacks with lower numbers are called first; a checkpoint comes last, so that it holds what
    the others did.

    >>> from lampion.training import Callback
    >>> class StopWhenGood(Callback):
    ...     def on_epoch_end(self, trainer):
    ...         trainer.stop = trainer.row["loss"] < 0.1
    """

    order = 0

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first epoch (and after a checkpoint was loaded)."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before the first batch of an epoch."""

    def on_step_end(self, trainer: Trainer) -> None:
        """After each update: `trainer.step` counts them, `trainer.step_loss` is its loss."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After an epoch: `trainer.row` is its row of the history."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """At the end, after an exception too (then `trainer.completed` is False)."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint is to hold."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""


class LambdaCallback(Callback):
    """A callback made of functions of the trainer.

    >>> from lampion.training import LambdaCallback
    >>> callback = LambdaCallback(on_epoch_end=lambda trainer: print(trainer.row["loss"]))
    """

    def __init__(self, **functions: Callable[[Trainer], None]) -> None:
        times = [name for name in dir(Callback) if name.startswith("on_")]
        for name, function in functions.items():
            if name not in times:
                raise OptionError("LambdaCallback", "no such time", expected=", ".join(times), got=name)
            setattr(self, name, function)


class Schedule(Callback):
    """Steps a learning-rate scheduler.

    Args:
        scheduler: of `lampion.optim.lr_scheduler`.
        every: ``"epoch"``, or ``"step"``: after each update. By default what the scheduler is made for: each
            update for OneCycleLR and CyclicLR, each epoch for all others.
        monitor: the column that ReduceLROnPlateau is given; by default validation_loss, or loss without
            validation.
    """

    order = -10

    def __init__(self, scheduler: LRScheduler, every: str | None = None, monitor: str | None = None) -> None:
        if every not in (None, "step", "epoch"):
            raise OptionError("Schedule", "no such time", expected="'step' or 'epoch'", got=repr(every))
        plateau = isinstance(scheduler, ReduceLROnPlateau)
        if plateau and every == "step":
            raise OptionError("Schedule", "ReduceLROnPlateau needs what an epoch measured",
                              expected="every='epoch'", got="every='step'")  # fmt: skip
        self.scheduler = scheduler
        self.every = every or ("step" if isinstance(scheduler, OneCycleLR | CyclicLR) else "epoch")
        self.monitor = monitor

    def on_step_end(self, trainer: Trainer) -> None:
        if self.every == "step":
            self.scheduler.step()

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.every == "step":
            return
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(value_of(trainer, self.monitor, "Schedule"))
        else:
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state)


class EarlyStopping(Callback):
    """Ends the training when a column of the history has not become better for a while.

    Args:
        monitor: the column; by default validation_loss, or loss without validation.
        patience: epochs without anything better that are let pass.
        mode: ``"min"`` where smaller is better, ``"max"`` where larger is; by default ``"max"`` for
            accuracies, scores and F1, ``"min"`` for all else.
        min_delta: how much better counts.
        restore_best: whether the model ends with the weights of its best epoch.

    >>> from lampion.training import EarlyStopping
    >>> callback = EarlyStopping("validation_accuracy", patience=3)
    >>> callback.mode
    'max'
    """

    def __init__(
        self, monitor: str | None = None, patience: int = 5, *, mode: str | None = None,
        min_delta: float = 0.0, restore_best: bool = True,
    ) -> None:  # fmt: skip
        if patience < 0 or min_delta < 0:
            raise OptionError("EarlyStopping", "patience and min_delta are not negative",
                              got=f"{patience} and {min_delta}")  # fmt: skip
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.mode = mode_of(monitor, mode)
        self.restore_best = restore_best
        self._reset()

    def _reset(self) -> None:
        self.best, self.best_epoch, self.waited = math.nan, 0, 0
        self.weights: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        if trainer.epoch == 0 and trainer.batch == 0:
            self._reset()

    def on_epoch_end(self, trainer: Trainer) -> None:
        value = value_of(trainer, self.monitor, "EarlyStopping")
        if better(value, self.best, self.mode, self.min_delta):
            self.best, self.best_epoch, self.waited = value, trainer.epoch, 0
            if self.restore_best:
                self.weights = copied(trainer.model.state_dict())
        else:
            self.waited += 1
            if self.waited > self.patience:
                trainer.stop = True

    def on_fit_end(self, trainer: Trainer) -> None:
        if trainer.completed and self.weights is not None:
            trainer.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        names = ("best", "best_epoch", "waited", "weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class ProgressBar(Progress, Callback):
    """Shows how far the training has come: see `Progress`, which it is."""

    def __init__(self, stream: Any = None) -> None:
        self._wanted_stream = stream
        self._open = False

    def on_fit_start(self, trainer: Trainer) -> None:
        samples = trainer.samples_per_epoch
        if trainer.epoch >= trainer.epochs or not samples:
            return
        Progress.__init__(self, trainer.epochs, samples, self._wanted_stream)
        self.done = self.begun = trainer.epoch
        self.__enter__()
        self._open = True

    def on_epoch_start(self, trainer: Trainer) -> None:
        accuracy = _accuracy(trainer)
        self._before = (0.0, 0) if accuracy is None else (accuracy.total, accuracy.count)

    def on_step_end(self, trainer: Trainer) -> None:
        if self._open:
            accuracy, right = _accuracy(trainer), None
            if accuracy is not None:
                total, count = accuracy.total - self._before[0], accuracy.count - self._before[1]
                right = trainer.step_samples * total / max(count, 1)  # one sample may have many answers
                self._before = (accuracy.total, accuracy.count)
            self.update(trainer.step_samples, trainer.step_loss, right)

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self._open:
            self.epoch(**{name: value for name, value in trainer.row.items() if name not in ("epoch", "lr")})

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._open:
            self._open = False
            self.__exit__()


def _accuracy(trainer: Trainer) -> Accuracy | None:
    """The trainer's first metric of right answers."""
    return next((metric for metric in trainer.metrics.values() if isinstance(metric, Accuracy)), None)


def mode_of(monitor: str | None, mode: str | None) -> str:
    """Whether a column is better when it is smaller or larger."""
    if mode is None:
        return "max" if any(word in (monitor or "") for word in ("acc", "f1", "score")) else "min"
    if mode not in ("min", "max"):
        raise OptionError("monitor", "no such mode", expected="'min' or 'max'", got=repr(mode))
    return mode


def better(value: float, best: float, mode: str, least: float = 0.0) -> bool:
    """Whether a value beats the best one so far. NaN beats nothing, and everything beats NaN."""
    if math.isnan(value) or math.isnan(best):
        return not math.isnan(value)
    return value < best - least if mode == "min" else value > best + least


def value_of(trainer: Trainer, monitor: str | None, operation: str) -> float:
    """A column of the epoch that just ended."""
    row = trainer.row
    if monitor is None:
        monitor = "validation_loss" if "validation_loss" in row else "loss"
    if monitor not in row:
        hint = "pass validation data to fit()" if monitor.startswith("validation_") else ""
        raise OptionError(
            operation, f"the history has no column {monitor!r}", expected=", ".join(row), fix=hint
        )
    return float(row[monitor])


def copied(state: dict[str, Any]) -> dict[str, Any]:
    """A state dict whose tensors later steps do not reach."""
    return {name: v.detach().clone() if hasattr(v, "detach") else v for name, v in state.items()}
