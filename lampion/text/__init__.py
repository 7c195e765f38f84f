"""Reading and writing: words as numbers, as counts, as vectors and in batches.

In the order in which one needs them: `Vocab`, `preprocess` and `BPE` number the words or pieces of a text;
`cooccurrence_matrix`, `ppmi` and `truncated_svd` make vectors of them by counting, `contexts_targets` and
`UnigramSampler` prepare learning them; `most_similar` and `analogy` look at vectors, however they were made;
`SequentialBatches`, `RandomPieces`, `EveryWord`, `pad` and `BucketSampler` make batches. `generate` and
`beam_search` write, by `greedy`, `sample` and what these are made of, with a `KeyValueCache` where the model
attends; `continue_text` and `write_samples` do so in words. `sinusoidal_positions` and `rotate` tell
attention where words stand.
"""

from lampion.text.batching import BucketSampler, EveryWord, RandomPieces, SequentialBatches, pad
from lampion.text.beams import beam_search
from lampion.text.bpe import BPE
from lampion.text.caching import KeyValueCache
from lampion.text.counts import cooccurrence_matrix, ppmi, truncated_svd
from lampion.text.generation import generate, greedy, keep_top_k, keep_top_p, sample, skip_ids
from lampion.text.positions import rotary_table, rotate, sinusoidal_positions
from lampion.text.similarity import analogy, cosine_similarity, most_similar
from lampion.text.vocabulary import UnknownWordError, Vocab, preprocess
from lampion.text.windows import UnigramSampler, contexts_targets
from lampion.text.writing import continue_text, write_samples

__all__ = [
    "BPE", "BucketSampler", "EveryWord", "KeyValueCache", "RandomPieces", "SequentialBatches",
    "UnigramSampler", "UnknownWordError", "Vocab", "analogy", "beam_search", "contexts_targets",
    "continue_text", "cooccurrence_matrix", "cosine_similarity", "generate", "greedy", "keep_top_k",
    "keep_top_p", "most_similar", "pad", "ppmi", "preprocess", "rotary_table", "rotate", "sample",
    "sinusoidal_positions", "skip_ids", "truncated_svd", "write_samples",
]  # fmt: skip
