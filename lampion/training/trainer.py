"""Trainer: the loop of a training, which can be stopped at any instant and goes on with the same bits."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lampion.errors import LampionError, OptionError
from lampion.ops import cat
from lampion.optim import LBFGS
from lampion.tensor import Tensor
from lampion.training import steps
from lampion.training.callbacks import Callback, Schedule
from lampion.training.history import History
from lampion.training.metrics import Metric
from lampion.training.position import Reading
from lampion.training.state import load_state, state_of


class Trainer:
    """Trains a model: forward, backward, update, for each batch of each epoch.

    Args:
        model: a module; called with all parts of a batch but the last.
        loss: ``loss(prediction, target)``, the mean over the batch; target is the last part of a batch.
        optimizer: of the model's parameters.
        metrics: a list of `Metric`, or a dict with their columns' names.
        scheduler: of learning rates, or a `Schedule` that says when to step it.
        callbacks: see `Callback`.
        compile: whether steps become machine code. Each shape of a batch gets its own plan, so a last,
            smaller batch is compiled too.
        accumulate: how many batches make one update: the same as one batch of their joint size, for losses
            that are means over samples.
        clip_norm, clip_value: limits of the gradients' joint norm, and of each element.
        out: the folder for checkpoints and logs.

    Attributes:
        history: a row for each epoch: epoch, loss, metrics, and the same of the validation data.
        epoch: how many epochs are complete; step: how many updates; batch: how many batches of this epoch.
        stop: set it to end the training after this epoch (or, with `stop_now`, after this update).

    >>> import lampion
    >>> from lampion.training import Trainer
    >>> from lampion.utils.data import DataLoader, TensorDataset
    >>> _ = lampion.manual_seed(0)
    >>> x = lampion.linspace(-1, 1, 50).unsqueeze(1)
    >>> model = lampion.nn.Linear(1, 1)
    >>> optimizer = lampion.optim.SGD(model.parameters(), lr=0.5)
    >>> trainer = Trainer(model, lampion.nn.MSELoss(), optimizer)
    >>> history = trainer.fit(DataLoader(TensorDataset(x, 3 * x + 1), batch_size=16, shuffle=True), epochs=20)
    >>> print(f"{model.weight.item():.3f} x + {model.bias.item():.3f}")
    3.000 x + 1.000
    """

    def __init__(
        self, model: Any, loss: Callable[[Tensor, Tensor], Tensor], optimizer: Any, *,
        metrics: Sequence[Metric] | Mapping[str, Metric] | None = None, scheduler: Any = None,
        callbacks: Iterable[Callback] = (), compile: bool = True, accumulate: int = 1,
        clip_norm: float | None = None, clip_value: float | None = None,
        out: str | os.PathLike[str] | None = None,
    ) -> None:  # fmt: skip
        if accumulate < 1:
            raise OptionError(
                "Trainer", "accumulate is not positive", expected="1 or more", got=str(accumulate)
            )
        for name, limit in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if limit is not None and not limit > 0:
                raise OptionError("Trainer", f"{name} is not positive", got=str(limit))
        if isinstance(optimizer, LBFGS):
            raise OptionError("Trainer", "LBFGS computes the loss several times a step, as fit does not",
                              fix="call optimizer.step(closure) in a loop of your own")  # fmt: skip
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.metrics = _named(metrics)
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise OptionError("Trainer", "not a callback", got=repr(callback)[:80],
                                  expected="instances of lampion.training.Callback")  # fmt: skip
        self.schedule = scheduler if isinstance(scheduler, Schedule | None) else Schedule(scheduler)
        self.compile, self.accumulate = compile, accumulate
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.out = None if out is None else Path(out)
        self._functions: dict[Any, Callable[..., Any]] = {}
        self._begin()
        self.step = 0
        self.epochs = 0
        self.samples_per_epoch = 0
        self.completed = self.resumed = False

    def _begin(self) -> None:
        """Go to the beginning of the first epoch. The model stays as it is."""
        self.history = History()
        self.epoch = self.batch = 0
        self.stop = self.stop_now = False
        self.row: dict[str, Any] = {}
        self.step_loss, self.step_samples = float("nan"), 0
        self._loss, self._samples = 0.0, 0
        self.reading: Reading | None = None
        self.validation_reading: Reading | None = None

    # -- the three things that it does -----------------------------------------------------------------

    def fit(
        self,
        train: Iterable[Any],
        validation: Iterable[Any] | None = None,
        *,
        epochs: int,
        resume: bool = False,
    ) -> History:
        """Train until `epochs` epochs are complete.

        Args:
            train: batches, ``(input, target)`` or ``(inputs..., target)``; a DataLoader as a rule.
            validation: batches to measure loss and metrics on after each epoch.
            epochs: how many in all: a run that is resumed does only those that are left.
            resume: go on from the newest whole checkpoint in `out`, also in the middle of an epoch, with the
                same bits as if it had never stopped; from the beginning, if there is none yet.
        """
        from lampion.training.checkpoint import resume_from

        if epochs < 0:
            raise OptionError("Trainer.fit", "epochs is negative", got=str(epochs))
        self._begin()
        self.epochs, self.completed = epochs, False
        self.samples_per_epoch = _samples(train)
        self.reading = Reading(train)
        self.validation_reading = None if validation is None else Reading(validation)
        for metric in self.metrics.values():
            metric.reset()
        self.resumed = resume and resume_from(self)
        was_training = self.model.training
        self.model.train()
        begun: list[Callback] = []
        try:
            for callback in self._all_callbacks():
                begun.append(callback)
                callback.on_fit_start(self)
            while self.epoch < epochs and not self.stop:
                self._epoch()
            self.completed = True
        finally:
            self.model.train(was_training)
            for callback in begun:
                callback.on_fit_end(self)
        return self.history

    def evaluate(self, loader: Iterable[Any]) -> dict[str, float]:
        """Loss and metrics of the model as it is, without dropout and without learning.

        Metrics of the running epoch are not touched.
        """
        metrics = {name: copy.deepcopy(metric) for name, metric in self.metrics.items()}
        for metric in metrics.values():
            metric.reset()
        step = self._function("evaluate", lambda: steps.evaluation_step(self.model, self.loss))
        total, samples = 0.0, 0
        was_training = self.model.training
        self.model.eval()
        try:
            for batch in loader:
                parts = steps.parts_of(batch)
                loss, prediction = step(*parts)
                size = steps.size_of(parts)
                total, samples = total + size * loss.item(), samples + size
                for metric in metrics.values():
                    metric.update(prediction, parts[-1])
        finally:
            self.model.train(was_training)
        return {"loss": total / samples if samples else float("nan"), **_computed(metrics)}

    def predict(self, loader: Iterable[Any]) -> Tensor:
        """The model's predictions for all batches, one after the other. The last part of a batch is not read,
        if it has several: it is the target.
        """  # fmt: skip
        step = self._function("predict", lambda: steps.prediction_step(self.model))
        was_training = self.model.training
        self.model.eval()
        try:
            found = [step(*steps.inputs_of(batch)) for batch in loader]
        finally:
            self.model.train(was_training)
        if not found:
            raise LampionError("Trainer.predict", "there are no batches", expected="at least one")
        return cat(found)

    def explain(self) -> list[Any]:
        """What each step that ran so far was compiled to: their `Explanation`s. None without `compile`."""
        return [step.explain() for step in self._functions.values() if hasattr(step, "explain")]

    # -- the loop ----------------------------------------------------------------------------------------

    def _epoch(self) -> None:
        self._call("on_epoch_start")
        for group in self._groups():
            self._update(group)
            self._call("on_step_end")
            if self.stop_now:
                self.stop = True
                return
        self._end_epoch()

    def _groups(self) -> Iterator[list[tuple[Any, ...]]]:
        """The batches of an epoch, or of the rest of one: those that make one update together."""
        assert self.reading is not None  # set by fit
        return steps.grouped(self.reading, self.accumulate)

    def _update(self, group: list[tuple[Any, ...]]) -> None:
        """One update, from one batch or several."""
        sizes = [steps.size_of(parts) for parts in group]
        samples, loss = sum(sizes), 0.0
        for number, (parts, size) in enumerate(zip(group, sizes, strict=True)):
            first, last, share = number == 0, number == len(group) - 1, size / samples if samples else 1.0
            step = self._function((first, last, share), self._training_step)
            value, prediction = step(*parts)
            loss += size * value.item()
            for metric in self.metrics.values():
                metric.update(prediction, parts[-1])
        self._loss, self._samples = self._loss + loss, self._samples + samples
        self.step_loss, self.step_samples = loss / max(samples, 1), samples
        self.step += 1
        self.batch += len(group)

    def _training_step(self, key: tuple[bool, bool, float]) -> Callable[..., Any]:
        return steps.training_step(
            self.model, self.loss, self.optimizer, self.clip_norm, self.clip_value, *key
        )

    def _end_epoch(self) -> None:
        if not self._samples:
            raise LampionError("Trainer.fit", "there is nothing to train on", expected="at least one batch",
                               got="a loader without batches",
                               fix="a smaller batch_size, or drop_last=False")  # fmt: skip
        row: dict[str, Any] = {"epoch": self.epoch + 1, **self._measured()}
        if self.validation_reading is not None:
            found = self.evaluate(self.validation_reading)
            self.validation_reading.close()
            row |= {f"validation_{name}": value for name, value in found.items()}
        rates = [float(group["lr"]) for group in self.optimizer.param_groups if "lr" in group]
        row |= {"lr": rates[0]} if rates else {}
        self.history.add(**row)
        self.row = row
        if self.reading is not None:
            self.reading.close()
        self.epoch, self.batch = self.epoch + 1, 0
        self._loss, self._samples = 0.0, 0
        for metric in self.metrics.values():
            metric.reset()
        self._call("on_epoch_end")

    def _measured(self) -> dict[str, float]:
        """Loss and metrics of the epoch so far."""
        return {"loss": self._loss / self._samples, **_computed(self.metrics)}

    def _function(self, key: Any, make: Callable[..., Callable[..., Any]]) -> Callable[..., Any]:
        """The step of a kind, made and compiled when it is first needed."""
        function = self._functions.get(key)
        if function is None:
            function = make(key) if isinstance(key, tuple) else make()
            if self.compile:
                import lampion

                function = lampion.compile(function)
            self._functions[key] = function
        return function

    def _all_callbacks(self) -> list[Callback]:
        own = [] if self.schedule is None else [self.schedule]
        return sorted([*own, *self.callbacks], key=lambda callback: callback.order)

    def _call(self, time: str) -> None:
        for callback in self._all_callbacks():
            getattr(callback, time)(self)

    # -- saving --------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that the training depends on: see `training.state`."""
        return state_of(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        load_state(self, state)


def _named(metrics: Sequence[Metric] | Mapping[str, Metric] | None) -> dict[str, Metric]:
    if isinstance(metrics, Mapping):
        return dict(metrics)
    named: dict[str, Metric] = {}
    for metric in metrics or ():
        if metric.name in named or metric.name == "loss":
            raise OptionError("Trainer", f"two columns would be called {metric.name!r}",
                              fix="pass a dict of metrics with names, or name=...")  # fmt: skip
        named[metric.name] = metric
    return named


def _computed(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """The values of metrics; without those that are tables."""
    values = {name: metric.compute() for name, metric in metrics.items()}
    return {name: float(value) for name, value in values.items() if not getattr(value, "ndim", 0)}


def _samples(loader: Any) -> int:
    """How many samples an epoch has, as far as that can be told beforehand; 0 if not."""
    try:
        batches, size = len(loader), getattr(loader, "batch_size", None) or 1
        dataset = getattr(loader, "dataset", None)
        if dataset is None or getattr(loader, "drop_last", False):
            return int(batches * size)
        return int(min(batches * size, len(dataset)))
    except TypeError:
        return 0
