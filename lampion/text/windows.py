"""What word2vec learns from: words with their neighbours, and words that are no neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion.dtype import float64
from lampion.errors import LampionError, OptionError
from lampion.ops import Generator, rand
from lampion.tensor import Tensor, from_numpy
from lampion.text.arrays import to_corpus, to_counts, to_words


def contexts_targets(corpus: Any, window: int = 1) -> tuple[Tensor, Tensor]:
    """Each word that has neighbours on both sides, and these neighbours.

    Args:
        corpus: the numbers of the words, (N,).
        window: how many neighbours on each side.

    Shape:
        Contexts (N - 2 window, 2 window), in the order of the text; targets (N - 2 window,). CBOW foretells
        the target from its context, skip-gram the context from its target.

    Source: "Deep Learning from Scratch 2", section 3.3.1.

    >>> from lampion.text import contexts_targets
    >>> contexts, targets = contexts_targets([0, 1, 2, 3])
    >>> contexts.tolist(), targets.tolist()
    ([[0, 2], [1, 3]], [1, 2])
    """
    if window < 1:
        raise OptionError("contexts_targets", "a window has neighbours", expected="window from 1 on",
                          got=str(window))  # fmt: skip
    ids = to_corpus("contexts_targets", corpus, least=2 * window + 1)
    seen = np.lib.stride_tricks.sliding_window_view(ids, 2 * window + 1)
    return from_numpy(np.delete(seen, window, axis=1)), from_numpy(seen[:, window].copy())


class UnigramSampler:
    r"""Draws words at random, the frequent ones more often: for negative sampling.

    .. math:: P(w) = \frac{n_w^p}{\sum_v n_v^p}

    With p = 0.75, rare words come a little more often than they do in the text.

    Args:
        counts: how often each word occurs in the text, (V,): ``lampion.bincount(corpus)``.
        power: p.
        generator: where the random numbers come from, if not from the default generator.

    Source: T. Mikolov et al.: "Distributed representations of words and phrases and their compositionality"
    (2013); "Deep Learning from Scratch 2", section 4.2.6.

    >>> import lampion
    >>> from lampion.text import UnigramSampler
    >>> sampler = UnigramSampler([3, 2, 2, 1], generator=lampion.Generator().manual_seed(0))
    >>> negatives = sampler.negatives([0, 1, 3], 5)
    >>> negatives.shape, bool((negatives == lampion.tensor([[0], [1], [3]])).any())
    ((3, 5), False)
    """

    def __init__(self, counts: Any, power: float = 0.75, generator: Generator | None = None) -> None:
        table = to_counts("UnigramSampler", counts, "counts").astype(np.float64)
        weights = np.where(table > 0, np.maximum(table, 1) ** power, 0.0)
        if np.count_nonzero(weights) < 2 or not np.isfinite(weights.sum()):
            raise LampionError("UnigramSampler", "there is nothing to choose from",
                               expected="two words or more that occur, and a finite power",
                               got=f"{np.count_nonzero(weights)} words, power {power}")  # fmt: skip
        self.power, self.generator = power, generator
        # Word w owns the numbers from _below[w] to _above[w]; a word that never occurs owns none.
        self._above = np.cumsum(weights)
        self._below = np.concatenate([[0.0], self._above[:-1]])
        self._frequent = np.argsort(-weights, kind="stable")[:2]

    def __len__(self) -> int:
        return len(self._above)

    @property
    def probabilities(self) -> Tensor:
        """Of each word, float64 (V,)."""
        return from_numpy((self._above - self._below) / self._above[-1])

    def negatives(self, targets: Any, count: int) -> Tensor:
        """For each target, (N,), `count` words that are not it, with replacement: (N, count)."""
        words = to_words("UnigramSampler", targets, "targets", len(self))[:, None]
        if count < 1:
            raise OptionError("UnigramSampler", "no words", expected="count from 1 on", got=str(count))
        below, above = self._below[words], self._above[words]
        # Numbers from 0 to the total without the target's share; those from the target on go past its share.
        drawn = rand(len(words), count, dtype=float64, generator=self.generator).numpy()
        drawn = drawn * (self._above[-1] - (above - below))
        drawn = np.where(drawn >= below, np.maximum(drawn + (above - below), above), drawn)
        found = np.searchsorted(self._above, drawn, side="right")
        first, second = self._frequent
        # Only rounding can lead beyond the last word: some other word, then.
        instead = np.where(words == first, second, first)
        return from_numpy(np.where((found >= len(self)) | (found == words), instead, found))
