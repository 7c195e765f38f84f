"""Progress: how far a training has come, as a bar on a terminal and as plain lines anywhere else."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any, TextIO

from lampion.errors import LampionError

# Without a terminal, this many lines at most (and one for the last epoch), unless epochs are this long.
_LINES = 10
_SECONDS = 10
_BAR = "{desc} |{bar}| {percentage:.0f}%{postfix}, {rate_fmt}, {remaining} left"


class Progress:
    """Shows loss, accuracy, samples a second and the time left, and averages them over each epoch.

    Args:
        epochs: how many passes over the data there will be.
        samples: how many samples each of them reads.
        stream: where to write; standard error unless given, so that output can be piped.

    >>> import io
    >>> from lampion.training import Progress
    >>> with Progress(epochs=1, samples=4, stream=io.StringIO()) as progress:
    ...     progress.update(2, loss=1.0, correct=1)
    ...     progress.update(2, loss=3.0, correct=2)
    ...     progress.epoch()
    {'loss': 2.0, 'accuracy': 0.75}
    """

    def __init__(self, epochs: int, samples: int, stream: TextIO | None = None) -> None:
        if epochs < 1 or samples < 1:
            raise LampionError(
                "Progress",
                "there is nothing to train on",
                expected="at least one epoch of at least one batch",
                got=f"{epochs} epochs of {samples} samples",
                fix="a smaller batch_size, where the last, smaller batch is dropped",
            )
        self.epochs = epochs
        self.samples = samples
        self.stream = sys.stderr if stream is None else stream
        self.done = 0  # epochs
        self.begun = 0  # epochs that were done when it was made: those of a run that goes on
        self.bar: Any = None
        self._clear()

    def __enter__(self) -> Progress:
        self.started = time.perf_counter()
        if self.stream.isatty():
            from tqdm import tqdm

            # tqdm's own measurement draws nothing on a terminal that does not tell its width.
            columns = min(shutil.get_terminal_size().columns - 1, 110)
            self.bar = tqdm(
                total=self.epochs * self.samples, file=self.stream, bar_format=_BAR, unit=" samples",
                unit_scale=True, ncols=columns, initial=self.begun * self.samples,
            )  # fmt: skip
            self._describe()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def _clear(self) -> None:
        self._seen, self._loss = 0, 0.0
        self._correct: float | None = 0.0

    def _describe(self) -> None:
        self.bar.set_description_str(f"epoch {min(self.done + 1, self.epochs)}/{self.epochs}", refresh=False)

    def update(self, samples: int, loss: float, correct: float | None = None) -> None:
        """Count a batch: its size, its mean loss, and how many answers were right, if that is known."""
        self._seen += samples
        self._loss += samples * loss
        self._correct = None if correct is None or self._correct is None else self._correct + correct
        if self.bar is not None:
            right = "" if self._correct is None else f", acc {self.accuracy:.1%}"
            self.bar.set_postfix_str(f"loss {self.loss:.4f}{right}", refresh=False)
            self.bar.update(samples)

    @property
    def loss(self) -> float:
        """The mean loss of the epoch so far."""
        return self._loss / self._seen if self._seen else float("nan")

    @property
    def accuracy(self) -> float:
        """The share of right answers in the epoch so far."""
        return self._correct / self._seen if self._seen and self._correct is not None else float("nan")

    @property
    def seconds(self) -> float:
        """The time since the beginning."""
        return time.perf_counter() - self.started

    @property
    def samples_per_second(self) -> float:
        """How many samples were trained on in each second, on average."""
        return ((self.done - self.begun) * self.samples + self._seen) / max(self.seconds, 1e-9)

    def epoch(self, **measured: float) -> dict[str, float]:
        """End an epoch; returns its mean loss and accuracy.

        Args:
            measured: other numbers, which the epoch's line shows too.
        """
        means = {"loss": self.loss}
        if self._correct is not None:
            means["accuracy"] = self.accuracy
        self._clear()
        self.done += 1
        if self.bar is not None:
            self._describe()
        elif self._gets_a_line():
            left = self.seconds / (self.done - self.begun) * (self.epochs - self.done)
            shown = "".join(f"  {_shown(name, value)}" for name, value in {**means, **measured}.items())
            print(f"epoch {self.done:{len(str(self.epochs))}d}/{self.epochs}{shown}  "
                  f"{self.samples_per_second:,.0f} samples/s  {left:.0f} s left",
                  file=self.stream, flush=True)  # fmt: skip
        return means

    def _gets_a_line(self) -> bool:
        one_in = max(1, -(-self.epochs // _LINES))
        long = self.seconds / (self.done - self.begun) > _SECONDS
        return long or self.done % one_in == 0 or self.done == self.epochs


def _shown(name: str, value: float) -> str:
    """A number as one reads it: shares as percentages."""
    text = (
        f"{value:.1%}" if name.endswith("accuracy") else f"{value:.4f}" if "loss" in name else f"{value:.4g}"
    )
    return f"{name.replace('_', ' ')} {text}"
