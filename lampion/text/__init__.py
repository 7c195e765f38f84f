"""Reading: words as numbers, as counts and as vectors.

In the order in which one needs them: `Vocab` and `preprocess` number the words of a text;
`cooccurrence_matrix`, `ppmi` and `truncated_svd` make vectors of them by counting; `most_similar` and
`analogy` look at vectors, however they were made.
"""

from lampion.text.counts import cooccurrence_matrix, ppmi, truncated_svd
from lampion.text.similarity import analogy, cosine_similarity, most_similar
from lampion.text.vocabulary import UnknownWordError, Vocab, preprocess

__all__ = [
    "UnknownWordError", "Vocab", "analogy", "cooccurrence_matrix", "cosine_similarity", "most_similar",
    "ppmi", "preprocess", "truncated_svd",
]  # fmt: skip
