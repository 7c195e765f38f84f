"""Words by the company they keep: counts, PPMI, and the singular value decomposition of either."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from lampion.errors import LampionError, OptionError, ShapeError
from lampion.tensor import Tensor, from_numpy
from lampion.text.arrays import to_array, to_corpus

_ROWS = 512  # of a matrix at a time: what is computed of them in float64 stays small
_SMALL = 1000  # up to this size, all singular values come as fast as some


def cooccurrence_matrix(corpus: Any, vocab_size: int | None = None, window: int = 1) -> Tensor:
    """How often each word stands near each other one.

    Args:
        corpus: the numbers of the words, (N,).
        vocab_size: how many words there are; by default, as many as the corpus shows.
        window: how far away a neighbour may stand, to the left or to the right.

    Shape:
        int32 (vocab_size, vocab_size), symmetric.

    Source: "Deep Learning from Scratch 2", section 2.3.4.

    >>> from lampion.text import cooccurrence_matrix, preprocess
    >>> corpus, word_to_id, _ = preprocess("you say goodbye and i say hello.")
    >>> cooccurrence_matrix(corpus)[word_to_id["say"]].tolist()
    [1, 0, 1, 0, 1, 1, 0]
    """
    ids = to_corpus("cooccurrence_matrix", corpus, vocab_size)
    if window < 1:
        raise OptionError("cooccurrence_matrix", "a window has neighbours", expected="window from 1 on",
                          got=str(window))  # fmt: skip
    size = int(ids.max()) + 1 if vocab_size is None else vocab_size
    pairs = [ids[:-distance] * size + ids[distance:] for distance in range(1, min(window, len(ids) - 1) + 1)]
    counts = np.zeros(size * size, np.int32)
    if pairs:
        cells, times = np.unique(np.concatenate(pairs), return_counts=True)
        counts[cells] = times
        mirrored = cells % size * size + cells // size
        counts[mirrored] += times.astype(np.int32)  # each cell is there once
    return from_numpy(counts.reshape(size, size))


def ppmi(counts: Any) -> Tensor:
    r"""The positive pointwise mutual information of a matrix of counts.

    .. math:: \max\left(0, \log_2 \frac{C_{ij} \sum C}{\sum_k C_{ik} \sum_k C_{kj}}\right)

    It is how many bits two words tell about each other; 0 where they never meet.

    Args:
        counts: (N, M), none below 0.

    Shape:
        float32 (N, M).

    Source: "Deep Learning from Scratch 2", section 2.4.1; K. Church, P. Hanks: "Word association norms,
    mutual information, and lexicography" (1990).

    >>> from lampion.text import ppmi
    >>> ppmi([[0, 1], [1, 2]]).tolist()
    [[0.0, 0.41503751277923584], [0.41503751277923584, 0.0]]
    """
    table = to_array(counts)
    if table.ndim != 2:
        raise ShapeError("ppmi", "the counts are a matrix", got=str(table.shape))
    if table.size and table.min() < 0:
        raise LampionError("ppmi", "a count is negative", got=str(table.min()))
    rows, columns = table.sum(1, dtype=np.float64), table.sum(0, dtype=np.float64)
    total = rows.sum()
    result = np.zeros(table.shape, np.float32)
    for start in range(0, len(table), _ROWS):
        i, j = np.nonzero(table[start : start + _ROWS])
        together = table[start + i, j].astype(np.float64)
        bits = np.log2(together * total / (rows[start + i] * columns[j]))
        result[start + i, j] = np.maximum(bits, 0)
    return from_numpy(result)


def truncated_svd(
    matrix: Any, dimensions: int, method: Literal["auto", "exact", "randomized"] = "auto", seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    r"""The largest singular values of a matrix, and their vectors: the best :math:`U S V` of that rank.

    Args:
        matrix: (N, M).
        dimensions: how many singular values, K.
        method: "exact" computes all of them and keeps K; "randomized" looks for the large ones, which needs
            scikit-learn; "auto" is exact for matrices of up to 1000 rows or columns.
        seed: of the random matrix that "randomized" starts from.

    Shape:
        U (N, K), whose rows are the words as vectors; S (K,); V (K, M). The sign of each is such that the
        element of U that is largest in size is positive.

    Source: "Deep Learning from Scratch 2", sections 2.4.3 and 2.4.5; N. Halko, P. Martinsson, J. Tropp:
    "Finding structure with randomness" (2011).

    >>> from lampion.text import truncated_svd
    >>> u, s, v = truncated_svd([[3.0, 0.0], [0.0, 2.0]], 1)
    >>> u.tolist(), s.tolist(), v.tolist()
    ([[1.0], [0.0]], [3.0], [[1.0, 0.0]])
    """
    table = to_array(matrix)
    if table.ndim != 2:
        raise ShapeError("truncated_svd", "it decomposes a matrix", got=str(table.shape))
    if method not in ("auto", "exact", "randomized"):
        raise OptionError("truncated_svd", "there is no such method", expected="auto, exact or randomized",
                          got=repr(method))  # fmt: skip
    if not 1 <= dimensions <= min(table.shape):
        raise OptionError("truncated_svd", "a matrix has no more singular values than rows or columns",
                          expected=f"1 to {min(table.shape)} dimensions", got=str(dimensions))  # fmt: skip
    if table.dtype.kind != "f":
        table = table.astype(np.float32)
    if method == "exact" or (method == "auto" and min(table.shape) <= _SMALL):
        u, s, v = np.linalg.svd(table, full_matrices=False)
    else:
        u, s, v = _randomized(table, dimensions, seed)
    u, s, v = u[:, :dimensions], s[:dimensions], v[:dimensions]
    largest = np.abs(u).argmax(0)
    signs = np.where(u[largest, np.arange(dimensions)] < 0, -1, 1).astype(u.dtype)
    return from_numpy(u * signs), from_numpy(s.copy()), from_numpy(v * signs[:, None])


def _randomized(table: np.ndarray[Any, Any], dimensions: int, seed: int) -> tuple[Any, Any, Any]:
    try:
        from sklearn.utils.extmath import randomized_svd
    except ImportError:
        raise LampionError(
            "truncated_svd", "scikit-learn, which finds the large singular values of a large matrix, is not "
            "installed", fix='pip install ".[text]", or method="exact", which takes far longer',
        ) from None  # fmt: skip
    u, s, v = randomized_svd(table, n_components=dimensions, n_iter=5, random_state=seed)
    return u, s, v
