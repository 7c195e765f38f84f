"""Metrics: what is counted batch by batch and told once an epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lampion.errors import OptionError, ShapeError
from lampion.tensor import Tensor, from_numpy

__all__ = [
    "F1", "Accuracy", "ConfusionMatrix", "ExactMatch", "MeanAbsoluteError", "MeanLoss", "MeanSquaredError",
    "Metric", "TopKAccuracy",
]  # fmt: skip


class Metric:
    """The base class. A metric of one's own defines `reset`, `update` and `compute`.

    Args:
        name: the column in the history; the class's own unless given.

    `saved` names the attributes that a checkpoint holds, so that a run that is resumed in the middle of an
    epoch ends it with the same numbers.

    >>> from lampion.training.metrics import Metric
    >>> class Largest(Metric):
    ...     name, saved = "largest", ("value",)
    ...     def reset(self):
    ...         self.value = float("-inf")
    ...     def update(self, prediction, target):
    ...         self.value = max(self.value, prediction.max().item())
    ...     def compute(self):
    ...         return self.value
    >>> import lampion
    >>> metric = Largest()
    >>> metric.update(lampion.tensor([1.0, 5.0]), None); metric.compute()
    5.0
    """

    name = "metric"
    saved: tuple[str, ...] = ()

    def __init__(self, name: str | None = None) -> None:
        if name is not None:
            self.name = name
        self.reset()

    def reset(self) -> None:
        """Forget everything that was counted."""
        raise NotImplementedError(f"{type(self).__name__} does not define reset()")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch."""
        raise NotImplementedError(f"{type(self).__name__} does not define update()")

    def compute(self) -> Any:
        """The metric of everything that was counted since `reset`."""
        raise NotImplementedError(f"{type(self).__name__} does not define compute()")

    def state_dict(self) -> dict[str, Any]:
        """What was counted so far."""
        return {name: getattr(self, name) for name in self.saved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for name in self.saved:
            setattr(self, name, state[name])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.compute()})"


class _Mean(Metric):
    """A sum over a count. NaN before anything was counted."""

    saved = ("total", "count")

    def reset(self) -> None:
        self.total, self.count = 0.0, 0

    def compute(self) -> float:
        """The mean of everything that was counted since `reset`."""
        return self.total / self.count if self.count else float("nan")

    def _add(self, total: float, count: int) -> None:
        self.total += float(total)
        self.count += count


class MeanLoss(_Mean):
    """The mean of a loss function over all samples: a last, smaller batch counts for less.

    Args:
        loss: a function of prediction and target that returns the mean over the batch.

    >>> import lampion
    >>> from lampion.training.metrics import MeanLoss
    >>> metric = MeanLoss(lampion.nn.functional.mse_loss)
    >>> metric.update(lampion.ones(3), lampion.zeros(3))
    >>> metric.update(lampion.ones(1) * 3, lampion.zeros(1))
    >>> metric.compute()
    3.0
    """

    name = "loss"

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], name: str | None = None) -> None:
        self.loss = loss
        super().__init__(name)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        size = len(prediction) if prediction.ndim else 1
        self._add(size * self.loss(prediction.detach(), target).item(), size)


class Accuracy(_Mean):
    """The share of right answers.

    Shape: prediction (N, C, ...): scores, the largest wins; target (N, ...): class numbers. With the shape
    of the target, or as one column (N, 1), predictions are scores of two classes: above `threshold` is
    class 1.

    Args:
        threshold: 0 for scores before the sigmoid, 0.5 for probabilities.

    >>> import lampion
    >>> from lampion.training.metrics import Accuracy
    >>> metric = Accuracy()
    >>> metric.update(lampion.tensor([[0.1, 0.9], [0.8, 0.2]]), lampion.tensor([1, 1]))
    >>> metric.compute()
    0.5
    """

    name = "accuracy"

    def __init__(self, threshold: float = 0.0, name: str | None = None) -> None:
        self.threshold = threshold
        super().__init__(name)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        guess, truth = _classes("Accuracy", prediction, target, self.threshold)
        self._add(int((guess == truth).sum()), truth.size)


class ExactMatch(_Mean):
    """The share of samples in which every answer is right: of sequences without a wrong word.

    If each word is foretold from the true words before it, that is the share that the model would write
    without a mistake by itself: as long as all are right, its own words are the true ones.

    Shape: prediction (N, C, ...): scores, the largest wins; target (N, ...): class numbers.

    >>> import lampion
    >>> from lampion.training.metrics import ExactMatch
    >>> metric = ExactMatch()
    >>> scores = lampion.tensor([[[0.9, 0.1], [0.1, 0.9]], [[0.9, 0.6], [0.1, 0.4]]])
    >>> metric.update(scores, lampion.tensor([[0, 1], [0, 1]]))
    >>> metric.compute()
    0.5
    """

    name = "exact_match"

    def update(self, prediction: Tensor, target: Tensor) -> None:
        guess, truth = _classes("ExactMatch", prediction, target, 0.0)
        right = (guess == truth).all(tuple(range(1, truth.ndim)))
        self._add(int(right.sum()), len(truth))


class TopKAccuracy(_Mean):
    """The share of answers where the right class is among the k with the highest scores.

    Of equal scores the class with the lower number comes first.

    >>> import lampion
    >>> from lampion.training.metrics import TopKAccuracy
    >>> metric = TopKAccuracy(k=2)
    >>> metric.update(lampion.tensor([[0.1, 0.3, 0.6], [0.1, 0.3, 0.6]]), lampion.tensor([1, 0]))
    >>> metric.compute()
    0.5
    """

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        if k < 1:
            raise OptionError("TopKAccuracy", "k is not positive", expected="1 or more", got=str(k))
        self.k = k
        super().__init__(name or f"top{k}_accuracy")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        scores, truth = _numpy(prediction), _numpy(target)
        if scores.ndim != truth.ndim + 1:
            raise ShapeError("TopKAccuracy", "the target does not fit the scores",
                             expected="(N, C, ...) and (N, ...)",
                             got=f"{scores.shape} and {truth.shape}")  # fmt: skip
        scores = np.moveaxis(scores, 1, -1)
        own = np.take_along_axis(scores, truth[..., None].astype(np.int64), -1)
        number = np.arange(scores.shape[-1])
        before = (scores > own) | ((scores == own) & (number < truth[..., None]))
        right = (before.sum(-1) < self.k) & ~np.isnan(own[..., 0])
        self._add(int(right.sum()), truth.size)


class MeanSquaredError(_Mean):
    """The mean of (prediction - target)^2 over all elements."""

    name = "mse"

    def update(self, prediction: Tensor, target: Tensor) -> None:
        difference = _differences("MeanSquaredError", prediction, target)
        self._add(float(np.square(difference).sum()), difference.size)


class MeanAbsoluteError(_Mean):
    """The mean of abs(prediction - target) over all elements."""

    name = "mae"

    def update(self, prediction: Tensor, target: Tensor) -> None:
        difference = _differences("MeanAbsoluteError", prediction, target)
        self._add(float(np.abs(difference).sum()), difference.size)


class ConfusionMatrix(Metric):
    """How often class i (row) was taken for class j (column). A table is no number: the history lacks it.

    >>> import lampion
    >>> from lampion.training.metrics import ConfusionMatrix
    >>> metric = ConfusionMatrix(2)
    >>> metric.update(lampion.tensor([[0.1, 0.9], [0.8, 0.2]]), lampion.tensor([1, 1]))
    >>> metric.compute()
    tensor([[0, 0],
            [1, 1]])
    """

    name = "confusion"
    saved = ("counts",)

    def __init__(self, classes: int, threshold: float = 0.0, name: str | None = None) -> None:
        self.classes, self.threshold = classes, threshold
        super().__init__(name)

    def reset(self) -> None:
        self.counts = np.zeros((self.classes, self.classes), np.int64)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        guess, truth = _classes(type(self).__name__, prediction, target, self.threshold)
        for what, values in (("prediction", guess), ("target", truth)):
            if values.size and not 0 <= values.min() <= values.max() < self.classes:
                raise OptionError(type(self).__name__, f"a class in the {what} is out of range",
                                  expected=f"0 to {self.classes - 1}",
                                  got=f"{values.min()} to {values.max()}",
                                  fix=f"{type(self).__name__}(classes=...)")  # fmt: skip
        places = truth.astype(np.int64).ravel() * self.classes + guess.astype(np.int64).ravel()
        self.counts = self.counts + np.bincount(places, minlength=self.classes**2).reshape(self.counts.shape)

    def compute(self) -> Any:
        return from_numpy(self.counts.copy())


class F1(ConfusionMatrix):
    """2 * precision * recall / (precision + recall); 0 where nothing was found and nothing was there.

    Args:
        classes: how many there are.
        average: ``"macro"``: the mean over the classes that occur; ``"binary"``: of class 1 (classes=2).

    >>> import lampion
    >>> from lampion.training.metrics import F1
    >>> metric = F1(2, average="binary")
    >>> metric.update(lampion.tensor([2.0, -1.0, 3.0]), lampion.tensor([1, 1, 1]))
    >>> metric.compute()
    0.8
    """

    name = "f1"

    def __init__(
        self, classes: int = 2, average: str = "macro", threshold: float = 0.0, name: str | None = None
    ) -> None:
        if average not in ("macro", "binary") or (average == "binary" and classes != 2):
            raise OptionError("F1", "this average does not exist",
                              expected="'macro', or 'binary' of 2 classes",
                              got=f"{average!r} of {classes} classes")  # fmt: skip
        self.average = average
        super().__init__(classes, threshold, name)

    def compute(self) -> float:
        hits = self.counts.diagonal()
        guessed_or_true = self.counts.sum(0) + self.counts.sum(1)  # 2 hits + false alarms + misses
        scores = 2 * hits / np.maximum(guessed_or_true, 1)
        if self.average == "binary":
            return float(scores[1])
        occurs = guessed_or_true > 0
        return float(scores[occurs].mean()) if occurs.any() else float("nan")


def _numpy(x: Any) -> Any:
    return x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)


def _classes(operation: str, prediction: Tensor, target: Tensor, threshold: float) -> tuple[Any, Any]:
    """The guessed and the right class of each sample."""
    guess, truth = _numpy(prediction), _numpy(target)
    if guess.ndim == truth.ndim + 1 and guess.shape[1] == 1:
        guess = guess[:, 0]
    elif guess.ndim == truth.ndim + 1:
        guess = guess.argmax(1)
        if guess.shape == truth.shape:
            return guess, truth
    if guess.shape != truth.shape:
        raise ShapeError(operation, "the target does not fit the prediction",
                         expected="scores (N, C, ...) and classes (N, ...), or two of one shape",
                         got=f"{tuple(prediction.shape)} and {tuple(truth.shape)}")  # fmt: skip
    return (guess > threshold if guess.dtype.kind == "f" else guess).astype(np.int64), truth


def _differences(operation: str, prediction: Tensor, target: Tensor) -> Any:
    guess, truth = _numpy(prediction), _numpy(target)
    if guess.shape != truth.shape:  # (N, 1) and (N,) would silently become (N, N)
        raise ShapeError(operation, "prediction and target differ in shape",
                         got=f"{guess.shape} and {truth.shape}",
                         fix="squeeze(1) or unsqueeze(1) one of them")  # fmt: skip
    return guess.astype(np.float64) - truth
