"""StepTrainer: the Trainer's loop around a step of one's own, for several models, optimizers and losses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from lampion.errors import LampionError, OptionError
from lampion.mode import no_grad
from lampion.tensor import Tensor
from lampion.training import steps
from lampion.training.callbacks import Callback
from lampion.training.history import History
from lampion.training.trainer import Trainer

#: What a step returns: scalar tensors by the names of their columns.
Losses = Mapping[str, Tensor]

#: What a row of the history holds besides.
_TAKEN = ("epoch", "lr")


class StepTrainer(Trainer):
    """Trains by a step of one's own: forward, backward and updates of however many models it pleases.

    The whole step is compiled as one. History, callbacks, checkpoints and resuming are the Trainer's.

    Args:
        model: a module that holds all models: ``nn.ModuleDict({"generator": ..., "critic": ...})``.
        step: called with the parts of a batch; computes gradients and steps the optimizers, and returns
            the scalars that the history is to show, by name: ``{"generator_loss": ..., "critic_loss": ...}``.
        optimizers: those that `step` steps, by name: checkpoints hold their state.
        evaluation: called with the parts of a batch of validation data, without gradients; returns scalars
            as `step` does.
        callbacks: see `Callback`. A learning rate's schedule is one: ``Schedule(scheduler)``.
        compile: whether step and evaluation become machine code.
        out: the folder for checkpoints and logs.

    A column of the history is the mean over those batches of an epoch whose step returned it, each weighted
    by its samples. A loss that not every step has may be left out in between; each epoch needs it once.

    >>> import lampion
    >>> from lampion import nn
    >>> from lampion.training import StepTrainer
    >>> _ = lampion.manual_seed(0)
    >>> model = nn.Linear(1, 1)
    >>> optimizer = lampion.optim.SGD(model.parameters(), lr=0.5)
    >>> def step(x, y):
    ...     loss = nn.functional.mse_loss(model(x), y)
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return {"loss": loss}
    >>> x = lampion.linspace(-1, 1, 50).unsqueeze(1)
    >>> history = StepTrainer(model, step, {"model": optimizer}).fit([(x, 3 * x + 1)] * 10, epochs=5)
    >>> print(f"{model.weight.item():.3f} x + {model.bias.item():.3f}")
    3.000 x + 1.000
    """

    _means: Means  # of this epoch so far

    def __init__(
        self, model: Any, step: Callable[..., Losses], optimizers: Mapping[str, Any], *,
        evaluation: Callable[..., Losses] | None = None, callbacks: Iterable[Callback] = (),
        compile: bool = True, out: str | os.PathLike[str] | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(optimizers, Mapping):
            raise OptionError("StepTrainer", "the optimizers have no names",
                              expected="a dict: {'generator': ..., 'critic': ...}",
                              got=type(optimizers).__name__)  # fmt: skip
        if not optimizers:
            raise OptionError("StepTrainer", "there are no optimizers",
                              expected="those that the step steps, by name", got="an empty dict")  # fmt: skip
        super().__init__(model, _no_loss, Optimizers(optimizers), callbacks=callbacks, compile=compile,
                         out=out)  # fmt: skip
        self._own_step, self._own_evaluation = step, evaluation

    def fit(
        self, train: Iterable[Any], validation: Iterable[Any] | None = None, *, epochs: int,
        resume: bool = False,
    ) -> History:  # fmt: skip
        """Train until `epochs` epochs are complete: see `Trainer.fit`."""
        if validation is not None and self._own_evaluation is None:
            raise _no_evaluation()
        return super().fit(train, validation, epochs=epochs, resume=resume)

    def evaluate(self, loader: Iterable[Any]) -> dict[str, float]:
        """What `evaluation` finds in the batches of a loader: the mean over all samples (see the class)."""
        if self._own_evaluation is None:
            raise _no_evaluation()
        step = self._function("evaluate", lambda: _evaluation_step(self._own_evaluation))
        means = Means()
        was_training = self.model.training
        self.model.eval()
        try:
            for parts in _batches(loader):
                means.add(step(*parts), steps.size_of(parts))
        finally:
            self.model.train(was_training)
        if not means.totals:
            raise LampionError("StepTrainer.evaluate", "there is nothing to measure",
                               expected="at least one batch, and one loss of it", got="none")  # fmt: skip
        return means.compute()

    def predict(self, loader: Iterable[Any]) -> Tensor:
        """Nothing: how several models predict, they know themselves."""
        raise LampionError("StepTrainer.predict", "there is no one model that predicts",
                           fix="call the model with a batch of inputs")  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Everything that the training depends on."""
        return {**super().state_dict(), "totals": self._means.totals, "counts": self._means.counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state)
        totals = state["totals"]
        # Earlier versions had no counts: they took each loss to be in each batch.
        counts = state.get("counts", dict.fromkeys(totals, self._samples))
        self._means = Means(dict(totals), dict(counts))

    # -- the loop ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        super()._begin()
        self._means = Means()

    def _epoch(self) -> None:
        if self.batch == 0:
            self._means = Means()
        super()._epoch()

    def _groups(self) -> Iterator[list[tuple[Any, ...]]]:
        assert self.reading is not None  # set by fit
        return ([parts] for parts in _batches(self.reading))

    def _update(self, group: list[tuple[Any, ...]]) -> None:
        (parts,) = group
        step = self._function("step", lambda: _training_step(self._own_step))
        samples = steps.size_of(parts)
        values = self._means.add(step(*parts), samples)
        self._samples += samples
        self.step_loss, self.step_samples = next(iter(values.values()), float("nan")), samples
        self.step += 1
        self.batch += 1

    def _measured(self) -> dict[str, float]:
        return self._means.compute()


class Means:
    """Means over samples, by column: each over the samples of those batches that have it."""

    def __init__(self, totals: dict[str, float] | None = None, counts: dict[str, int] | None = None) -> None:
        self.totals, self.counts = totals or {}, counts or {}

    def add(self, found: Losses, samples: int) -> dict[str, float]:
        """Count a batch; returns its own numbers."""
        values = {name: value.item() for name, value in found.items()}
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0.0) + samples * value
            self.counts[name] = self.counts.get(name, 0) + samples
        return values

    def compute(self) -> dict[str, float]:
        """The means; NaN where all batches were empty."""
        nan = float("nan")
        return {name: total / (self.counts[name] or nan) for name, total in self.totals.items()}


class Optimizers:
    """Several optimizers as one, as far as checkpoints and histories are concerned.

    Args:
        named: the optimizers, by name.
    """

    def __init__(self, named: Mapping[str, Any]) -> None:
        self.named = dict(named)
        self._calls = SimpleNamespace(steps=0)  # a trainer's own count, which nobody asks for

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all of them."""
        return [group for optimizer in self.named.values() for group in optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The state of each, and of which kind it is."""
        return {
            name: {"kind": type(optimizer).__name__, "state": optimizer.state_dict()}
            for name, optimizer in self.named.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        kinds = {name: type(optimizer).__name__ for name, optimizer in self.named.items()}
        begun = {name: one["kind"] for name, one in state.items()}
        if kinds != begun:
            raise LampionError(
                "StepTrainer.fit", "the run that is resumed has other optimizers",
                expected=", ".join(f"{name}: {kind}" for name, kind in begun.items()),
                got=", ".join(f"{name}: {kind}" for name, kind in kinds.items()),
            )  # fmt: skip
        for name, optimizer in self.named.items():
            optimizer.load_state_dict(state[name]["state"])
            optimizer._calls.steps += 1  # so that schedulers do not miss the steps before


def _training_step(step: Callable[..., Losses]) -> Callable[..., dict[str, Tensor]]:
    """The step, which gives numbers away, and not the graph that they come from."""

    def training(*batch: Any) -> dict[str, Tensor]:
        found = _losses("step", step(*batch))
        for name in found:
            if name in _TAKEN or name.startswith("validation_"):
                raise OptionError("StepTrainer", f"step returned a loss named {name!r}",
                                  got="a name of the history's own", fix="another name")  # fmt: skip
        return {name: value.detach() for name, value in found.items()}

    return training


def _evaluation_step(evaluation: Any) -> Callable[..., dict[str, Tensor]]:
    def evaluate(*batch: Any) -> dict[str, Tensor]:
        with no_grad():
            return dict(_losses("evaluation", evaluation(*batch)))

    return evaluate


def _losses(what: str, found: Any) -> Losses:
    """What a step or an evaluation returned, if it is what it is to return."""
    if not isinstance(found, Mapping):
        raise OptionError("StepTrainer", f"{what} returned no dict", expected="scalar tensors by name",
                          got=type(found).__name__, fix='return {"loss": loss}')  # fmt: skip
    for name, value in found.items():
        if not isinstance(name, str):
            raise OptionError(
                "StepTrainer", f"{what} returned a loss whose name is no string", got=repr(name)
            )
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise OptionError("StepTrainer", f"{what} returned {name!r}, which is not a scalar tensor",
                              expected="a tensor with one element", got=got)  # fmt: skip
    return found


def _batches(loader: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """The batches, each as the tuple of its parts."""
    for batch in loader:
        yield tuple(batch) if isinstance(batch, tuple | list) else (batch,)


def _no_loss(prediction: Tensor, target: Tensor) -> Tensor:
    raise LampionError("StepTrainer", "has no loss of its own", expected="its step computes the losses")


def _no_evaluation() -> OptionError:
    return OptionError("StepTrainer", "nothing says how to measure validation data",
                       fix="StepTrainer(..., evaluation=a function that returns losses by name)")  # fmt: skip
