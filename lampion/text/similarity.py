"""Words as vectors: which are alike, and what is to one as another is to a third."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lampion.errors import OptionError, ShapeError
from lampion.text.arrays import to_array
from lampion.text.vocabulary import Vocab


def cosine_similarity(x: Any, y: Any, eps: float = 1e-8) -> float:
    r"""The cosine of the angle between two vectors: :math:`\frac{x \cdot y}{(|x| + ε)(|y| + ε)}`.

    Source: "Deep Learning from Scratch 2", section 2.3.5.

    >>> from lampion.text import cosine_similarity
    >>> cosine_similarity([1.0, 0.0], [1.0, 1.0])
    0.7071067...
    """
    a, b = to_array(x).astype(np.float64), to_array(y).astype(np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ShapeError("cosine_similarity", "it compares two vectors of one length",
                         got=f"{a.shape} and {b.shape}")  # fmt: skip
    return float(a @ b / ((np.linalg.norm(a) + eps) * (np.linalg.norm(b) + eps)))


def most_similar(
    query: str, vocab: Vocab | Mapping[str, int], vectors: Any, top: int = 5
) -> list[tuple[str, float]]:
    """The words whose vectors point most nearly where that of `query` does, with the cosine.

    Args:
        query: a word of the vocabulary. It is not among the answers.
        vocab: the words; a dictionary from word to number will do.
        vectors: (V, D): row i is the vector of word i.
        top: how many words.

    Source: "Deep Learning from Scratch 2", section 2.3.6.

    >>> from lampion.text import Vocab, most_similar
    >>> vocab = Vocab(["tea", "coffee", "car"])
    >>> most_similar("tea", vocab, [[1.0, 0.0], [4.0, 3.0], [0.0, 1.0]], top=2)
    [('coffee', 0.8), ('car', 0.0)]
    """
    words, table = _table("most_similar", vocab, vectors, top)
    number = words[query]
    table = _unit(table)
    return _best(table @ table[number], words, [number], top)


def analogy(
    a: str, b: str, c: str, vocab: Vocab | Mapping[str, int], vectors: Any, top: int = 5, unit: bool = True
) -> list[tuple[str, float]]:
    """What is to `c` as `b` is to `a`: the words near ``vector(b) - vector(a) + vector(c)``, with scores.

    Args:
        a, b, c: words of the vocabulary. They are not among the answers.
        vocab, vectors, top: as those of `most_similar`.
        unit: whether all vectors are made of length 1 first. Without it, as in the book, the score is the
            inner product with the vectors as they are, which favours long ones.

    Source: "Deep Learning from Scratch 2", section 4.3.2; T. Mikolov, W. Yih, G. Zweig: "Linguistic
    regularities in continuous space word representations" (2013).

    >>> from lampion.text import Vocab, analogy
    >>> vocab = Vocab(["man", "king", "woman", "queen", "car"])
    >>> vectors = [[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [0, -1, 0]]
    >>> analogy("man", "king", "woman", vocab, vectors, top=1)[0][0]
    'queen'
    """
    words, table = _table("analogy", vocab, vectors, top)
    numbers = [words[a], words[b], words[c]]
    if unit:
        table = _unit(table)
    query = table[numbers[1]] - table[numbers[0]] + table[numbers[2]]
    return _best(table @ _unit(query[None])[0], words, numbers, top)


def _table(
    operation: str, vocab: Vocab | Mapping[str, int], vectors: Any, top: int
) -> tuple[Vocab, np.ndarray[Any, Any]]:
    table = to_array(vectors)
    words = vocab if isinstance(vocab, Vocab) else Vocab(sorted(vocab, key=vocab.__getitem__))
    if not isinstance(vocab, Vocab) and dict(vocab) != words.stoi:
        raise OptionError(operation, "the numbers of the words have gaps", expected=f"0 to {len(words) - 1}")
    if table.ndim != 2 or len(table) != len(words):
        raise ShapeError(operation, "each word has one vector", expected=f"({len(words)}, D)",
                         got=str(table.shape))  # fmt: skip
    if top < 1:
        raise OptionError(operation, "no answers", expected="top from 1 on", got=str(top))
    return words, table


def _unit(table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The rows, of length 1; rows of zeros stay zeros."""
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(table / np.where(lengths == 0, 1, lengths))


def _best(scores: Any, words: Vocab, without: list[int], top: int) -> list[tuple[str, float]]:
    order = np.argsort(-scores, kind="stable")
    order = order[~np.isin(order, without)][:top]
    return [(words.itos[i], float(scores[i])) for i in order]
