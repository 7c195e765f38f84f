"""Beam search: the likeliest text, as far as keeping a few beginnings at a time finds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lampion.errors import LampionError, OptionError
from lampion.mode import no_grad
from lampion.ops import log_softmax
from lampion.tensor import Tensor, from_numpy
from lampion.text.caching import KeyValueCache
from lampion.text.generation import Step, check_rows, skip_ids, to_prompt


def beam_search(
    step: Step, prompt: Any, length: int, beams: int = 4, state: Any = None, end: int | None = None,
    skip: Sequence[int] = (), length_penalty: float = 0.0, state_dim: int = 1,
) -> list[tuple[list[int], float]]:  # fmt: skip
    r"""The likeliest texts that go on from a prompt, best first, each with its score.

    At each step, of all words after all texts that are kept, the `beams` likeliest are kept:

    .. math:: score = \frac{1}{n^{a}} \sum_{t=1}^{n} \log P(w_t \mid w_1 \ldots w_{t-1})

    Args:
        step: the model: see `Step`. It is given the prompt as one row, then a word for each text kept.
        prompt: the words to begin with, (T,).
        length: how many words to write at most.
        beams: how many texts are kept. With one, the search is `greedy`.
        state: handed to the first step: nothing, a Tensor, a `KeyValueCache`, or tuples, lists and dicts of
            them.
        end: the word that ends a text; it is its last word.
        skip: words that are never written.
        length_penalty: a. With 0, long texts are worse than short ones; with 1, the average word counts.
        state_dim: the dimension of the texts in every Tensor of the state: 1 for that of recurrent layers.

    >>> import lampion
    >>> from lampion.text import beam_search
    >>> table = lampion.tensor([[0.0, 0.6, 0.4], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]).log()
    >>> best, score = beam_search(lambda words, state: (table[words[:, -1]], state), [0], 2, beams=2)[0]
    >>> best  # 0.4 * 1, where 0.6 * 0.5 began better
    [2, 2]
    """
    words = to_prompt("beam_search", prompt, length)
    if words.ndim != 1 or beams < 1:
        raise OptionError("beam_search", "it searches for one text with one beam or more",
                          expected="a prompt (T,), beams from 1 on",
                          got=f"{tuple(words.shape)}, {beams}")  # fmt: skip
    words = words.reshape(1, -1)
    texts: list[list[int]] = [[]]
    scores = np.zeros(1)
    done: list[tuple[list[int], float]] = []
    with no_grad():
        for _ in range(length):
            logits, state = step(words, state)
            check_rows("beam_search", logits, len(texts))
            chances = log_softmax(skip_ids(logits, skip).double(), -1).numpy()
            if np.isnan(chances).any():
                raise LampionError("beam_search", "no word is possible, or a logit is NaN")
            rows, following, scores = _best(scores[:, None] + chances, beams)
            grown = [[*texts[row], word] for row, word in zip(rows.tolist(), following.tolist(), strict=True)]
            going = np.array([end is None or text[-1] != end for text in grown], bool)
            done += [
                (text, float(score))
                for text, score, goes in zip(grown, scores, going, strict=True) if not goes
            ]  # fmt: skip
            texts = [text for text, goes in zip(grown, going, strict=True) if goes]
            rows, scores = rows[going], scores[going]
            if not texts:
                break
            words = from_numpy(following[going][:, None])
            state = _rows(state, from_numpy(rows), state_dim)
    done += [(text, float(score)) for text, score in zip(texts, scores, strict=True)]
    rated = [(text, score / len(text) ** length_penalty) for text, score in done]
    return sorted(rated, key=lambda found: -found[1])[:beams]


def _best(scores: np.ndarray[Any, Any], beams: int) -> tuple[Any, Any, Any]:
    """Rows, columns and values of the largest scores that are possible at all."""
    flat = scores.ravel()
    order = np.argsort(-flat, kind="stable")[:beams]
    order = order[flat[order] > -np.inf]
    return order // scores.shape[1], order % scores.shape[1], flat[order]


def _rows(state: Any, rows: Tensor, dim: int) -> Any:
    """The state of these texts."""
    if isinstance(state, KeyValueCache):
        return state.select(rows)
    if isinstance(state, Tensor):
        return state.index_select(dim, rows)
    if isinstance(state, dict):
        return {name: _rows(part, rows, dim) for name, part in state.items()}
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*(_rows(part, rows, dim) for part in state))
    if isinstance(state, tuple | list):
        return type(state)([_rows(part, rows, dim) for part in state])
    return state
