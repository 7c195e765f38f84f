"""An epoch of word2vec (CBOW) on the Penn Treebank: Lampion's recipe, and the book's way in NumPy.

"Deep Learning from Scratch 2", chapter 4, describes that way; it is written anew here, for this comparison:
a layer for each of the ten neighbours and six guesses, each with a gradient as large as the whole table;
these gradients added up; Adam over whole tables; wrong words drawn for each target by itself, without
replacement. Its steps all take the same time, so some are measured and multiplied; Lampion's epoch is
measured whole, from the words to the updated tables. The book takes the plain mean of the neighbours;
so does Lampion here, as a weighted mean with equal shares.
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import Options, Target, ask_child

BATCH, WIDTH, WINDOW, WRONG = 100, 100, 5, 5


class Table:
    """A parameter of the book's networks, with Adam's state: all of it moves at each step."""

    def __init__(self, words: int) -> None:
        self.rows = (0.01 * np.random.randn(words, WIDTH)).astype(np.float32)
        self.mean, self.square = np.zeros_like(self.rows), np.zeros_like(self.rows)

    def gradient(self, index: Any, slopes: Any) -> Any:
        """The gradient of a look-up: that of the whole table."""
        whole = np.zeros_like(self.rows)
        np.add.at(whole, index, slopes)
        return whole

    def adam(self, gradient: Any, step: int, lr: float = 0.001) -> None:
        rate = lr * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        self.mean += 0.1 * (gradient - self.mean)
        self.square += 0.001 * (gradient**2 - self.square)
        self.rows -= rate * self.mean / (np.sqrt(self.square) + 1e-7)


def drawn(targets: Any, chances: Any) -> Any:
    """Wrong words for each target: never the target, and none twice."""
    found = np.empty((len(targets), WRONG), np.int64)
    for i, target in enumerate(targets):
        others = chances.copy()
        others[target] = 0
        found[i] = np.random.choice(len(chances), WRONG, replace=False, p=others / others.sum())
    return found


def book_step(given: Table, guessed: Table, contexts: Any, targets: Any, chances: Any, step: int) -> float:
    """Forward, backward and update for one batch."""
    places = contexts.shape[1]
    h = sum(given.rows[contexts[:, i]] for i in range(places)) / places
    wrong = drawn(targets, chances)
    loss, slope_h, whole = 0.0, np.zeros_like(h), None
    for number, words in enumerate([targets, *wrong.T]):
        rows = guessed.rows[words]
        chance = 1 / (1 + np.exp(-(rows * h).sum(1)))
        right = float(number == 0)
        loss -= float(np.log((chance if number == 0 else 1 - chance) + 1e-7).mean())
        slope = ((chance - right) / len(targets))[:, None].astype(np.float32)
        slope_h += slope * rows
        gradient = guessed.gradient(words, slope * h)
        whole = gradient if whole is None else whole + gradient
    guessed.adam(whole, step)
    slope_h /= places
    whole = given.gradient(contexts[:, 0], slope_h)
    for i in range(1, places):
        whole = whole + given.gradient(contexts[:, i], slope_h)
    given.adam(whole, step)
    return loss


def numpy_child(steps: int) -> dict[str, Any]:
    from lampion.datasets import PTB
    from lampion.text import UnigramSampler, contexts_targets

    np.random.seed(0)
    data = PTB()
    contexts, targets = (part.numpy() for part in contexts_targets(data.corpus, WINDOW))
    chances = UnigramSampler(np.bincount(data.corpus.numpy())).probabilities.numpy()
    given, guessed = Table(len(data.vocab)), Table(len(data.vocab))
    order = np.random.permutation(len(targets))
    taken, losses = [], []
    for step in range(1, steps + 1):
        some = order[(step - 1) * BATCH : step * BATCH]
        start = time.perf_counter()
        losses.append(book_step(given, guessed, contexts[some], targets[some], chances, step))
        taken.append(time.perf_counter() - start)
    whole = len(targets) // BATCH
    return {"seconds": median(taken) * whole, "measured": steps, "steps": whole, "loss": losses[-1]}


def lampion_child() -> dict[str, Any]:
    import lampion
    from lampion.recipes import word2vec
    from lampion.training import LambdaCallback

    def stop(trainer: Any) -> None:
        trainer.stop_now = trainer.step == 10

    lampion.manual_seed(0)
    trainer, guesses, _ = word2vec.prepare(2, BATCH, word2vec.RATE, "cpu", True)
    trainer.model.shares.fill_(1 / (2 * WINDOW))
    trainer.callbacks = [LambdaCallback(on_step_end=stop)]
    trainer.fit(guesses, epochs=1)  # compilation is no part of an epoch
    start = time.perf_counter()
    history = trainer.fit(guesses, epochs=1)
    seconds = time.perf_counter() - start
    (explanation,) = trainer.explain()
    return {
        "seconds": seconds, "steps": len(guesses), "loss": (1 + WRONG) * history["loss"][-1],
        "threads": lampion.get_num_threads(), "fallbacks": explanation.fallbacks,
        "callouts": explanation.callouts,
    }  # fmt: skip


def run(options: Options) -> dict[str, Any]:
    rounds, steps = (1, 30) if options.quick else (3, 100)
    seconds: dict[str, list[float]] = {"lampion": [], "numpy": []}
    facts: dict[str, Any] = {"corpus": "Penn Treebank, 929,589 words", "batch": BATCH, "width": WIDTH}
    for _ in range(rounds):
        for name, found in seconds.items():
            options.say(f"word2vec-epoch: {name}")
            arguments = (str(steps),) if name == "numpy" else ()
            answer = ask_child(__name__, name, *arguments, timeout=1800)
            found.append(answer.pop("seconds"))
            facts |= {f"{name}: {key}": value for key, value in answer.items()}
    for name, found in seconds.items():
        facts[f"{name}: seconds of an epoch"] = ", ".join(f"{value:.1f}" for value in found)
    ratios = [book / ours for book, ours in zip(seconds["numpy"], seconds["lampion"], strict=True)]
    return {
        "workload": "word2vec-epoch",
        "title": "an epoch of word2vec (CBOW) on the Penn Treebank",
        "kind": "facts",
        "facts": facts,
        "targets": [Target("the book's way in NumPy against Lampion", median(ratios), ">= 20", "x").record()],
    }


if __name__ == "__main__":
    print(json.dumps(numpy_child(int(sys.argv[2])) if sys.argv[1] == "numpy" else lampion_child()))
