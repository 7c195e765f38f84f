"""SequenceTrainer: truncated back-propagation through time, for networks that carry a state along a text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from lampion.errors import LampionError, ShapeError
from lampion.mode import no_grad
from lampion.nn import functional as F
from lampion.nn.utils import clip_grad_norm_
from lampion.ops import zeros_like
from lampion.tensor import Tensor
from lampion.training.trainer import Trainer

__all__ = ["SequenceTrainer", "beginning", "detached"]

#: The target of a place where there is no word: `cross_entropy` leaves it out.
NO_WORD = -100


class SequenceTrainer(Trainer):
    r"""Trains a language model on a text that is read in order, a piece at a time.

    The state that the network ends a piece with is what it begins the next one with; but it is detached, so
    that gradients reach back to the beginning of the piece and no further. Each epoch begins with a state of
    zeros.

    .. math:: perplexity = \exp\Big(-\frac1N \sum_i \log P(w_i \mid w_1 \dots w_{i-1})\Big)

    Args:
        model: ``model(words, state)`` with words (B, T) gives the scores of the words that follow, (B, T, V),
            and the state after them: a Tensor, or tuples of them (an empty one, if it has no state). With
            None as the state it begins at zeros, as the layers of `nn` do. If it gives a third result, that
            is added to the loss that is minimised, and left out of the loss and perplexity that are told: a
            price on large activations, say.
        optimizer: of the model's parameters.
        clip_norm, scheduler, callbacks, compile, out: as of `Trainer`.

    The loader gives pairs of words and targets, (B, T) each: `SequentialBatches`, and `EveryWord` for
    held-out text. Besides ``loss``, the mean cross-entropy of a word, the history has ``perplexity``.

    Source: "Deep Learning from Scratch 2", chapters 5 and 6.

    >>> import lampion
    >>> from lampion.text import SequentialBatches
    >>> from lampion.training import SequenceTrainer
    >>> class Rnnlm(lampion.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.embedding = lampion.nn.Embedding(4, 8)
    ...         self.rnn = lampion.nn.RNN(8, 8, batch_first=True)
    ...         self.output = lampion.nn.Linear(8, 4)
    ...     def forward(self, words, state=None):
    ...         h, state = self.rnn(self.embedding(words), state)
    ...         return self.output(h), state
    >>> _ = lampion.manual_seed(0)
    >>> model = Rnnlm()
    >>> trainer = SequenceTrainer(model, lampion.optim.Adam(model.parameters(), lr=0.05), compile=False)
    >>> text = lampion.arange(200) % 4
    >>> history = trainer.fit(SequentialBatches(text, batch_size=2, time_size=5), epochs=3)
    >>> history["perplexity"][-1] < 1.1
    True
    """

    def __init__(
        self, model: Any, optimizer: Any, *, clip_norm: float | None = None, scheduler: Any = None,
        callbacks: Iterable[Any] = (), compile: bool = True, out: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(model, cross_entropy, optimizer, clip_norm=clip_norm, scheduler=scheduler,
                         callbacks=callbacks, compile=compile, out=out)  # fmt: skip

    def _begin(self) -> None:
        super()._begin()
        self.state: Any = None

    def _epoch(self) -> None:
        if self.batch == 0:
            self.state = None
        super()._epoch()

    def _update(self, group: list[tuple[Any, ...]]) -> None:
        words, targets = group[0]
        if self.state is None:
            self.state = beginning(self.model, words)
        step = self._function("train", self._stateful_step)
        loss, self.state = step(words, targets, self.state)
        self.step_loss, self.step_samples = loss.item(), len(words)
        self._loss += self.step_loss * targets.numel()
        self._samples += targets.numel()
        self.step += 1
        self.batch += 1

    def _measured(self) -> dict[str, float]:
        return with_perplexity(self._loss / self._samples)

    def _stateful_step(self) -> Callable[..., tuple[Tensor, Any]]:
        model, optimizer, clip_norm = self.model, self.optimizer, self.clip_norm
        parameters = [p for group in optimizer.param_groups for p in group["params"]]

        def step(words: Tensor, targets: Tensor, state: Any) -> tuple[Tensor, Any]:
            scores, state, *prices = model(words, state)
            total = loss = cross_entropy(scores, targets)
            for price in prices:
                total = total + price
            optimizer.zero_grad()
            total.backward()
            if clip_norm is not None:
                clip_grad_norm_(parameters, clip_norm)
            optimizer.step()
            return loss.detach(), detached(state)

        return step

    def evaluate(self, loader: Iterable[Any]) -> dict[str, float]:
        """Loss and perplexity of a text, read from its beginning to its end with one state."""
        model = self.model

        def measure(words: Tensor, targets: Tensor, state: Any) -> tuple[Tensor, Any]:
            with no_grad():
                scores, state = model(words, state)[:2]
                return cross_entropy(scores, targets), state

        step = self._function("evaluate", lambda: measure)
        total, count, state = 0.0, 0, None
        was_training = model.training
        model.eval()
        try:
            for words, targets in loader:
                state = beginning(model, words) if state is None else state
                loss, state = step(words, targets, state)
                size = int((targets != NO_WORD).sum())
                total, count = total + (size * loss.item() if size else 0.0), count + size
        finally:
            model.train(was_training)
        if not count:
            raise LampionError("SequenceTrainer.evaluate", "the text is empty", expected="one batch or more")
        return with_perplexity(total / count)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "carried": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.state = state["carried"]


def with_perplexity(loss: float) -> dict[str, float]:
    """A mean cross-entropy, and what it is as a perplexity."""
    return {"loss": loss, "perplexity": math.exp(loss) if loss < 700 else math.inf}


def cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    """The mean over the words, of (B, T, V) and (B, T)."""
    if scores.ndim != 3 or tuple(scores.shape[:2]) != tuple(targets.shape):
        raise ShapeError("SequenceTrainer", "the model's scores do not fit the targets",
                         expected=f"({', '.join(map(str, targets.shape))}, V)",
                         got=str(tuple(scores.shape)))  # fmt: skip
    return F.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=NO_WORD)


def detached(state: Any) -> Any:
    """A state, a Tensor or tuples of them, without its history: where truncated back-propagation ends."""
    return state.detach() if isinstance(state, Tensor) else tuple(detached(part) for part in state)


def beginning(model: Any, words: Tensor) -> Any:
    """The state of zeros that a model begins with, for as many texts as `words` has rows.

    Its shape is that of the state after one word: compiled for Tensors only, the step needs no second plan
    for None.
    """
    was_training = model.training
    model.eval()  # dropout would draw random numbers
    try:
        with no_grad():
            return _zeros(model(words[:, :1], None)[1])
    finally:
        model.train(was_training)


def _zeros(state: Any) -> Any:
    return zeros_like(state) if isinstance(state, Tensor) else tuple(_zeros(part) for part in state)
