"""Words by the company they keep: neighbours counted in newspaper text, and what of that tells words apart.

    lampion train counts

counts how often each of the 10,000 words of the Penn Treebank stands near each other one, turns the counts
into mutual information (PPMI), keeps the 100 largest singular values of that, and says which words are alike.
It leaves the vectors, and a picture of some of them, in a folder under runs/.
"""

import time
from typing import Any

import lampion
from lampion import viz
from lampion.datasets import PTB
from lampion.text import cooccurrence_matrix, most_similar, ppmi, truncated_svd
from lampion.training import Run

ASKED = ("you", "year", "car", "toyota")
SHOWN = (
    "monday", "tuesday", "wednesday", "thursday", "friday", "january", "march", "june", "september",
    "december", "japan", "germany", "france", "britain", "canada", "tokyo", "london", "paris", "toyota",
    "honda", "nissan", "ford", "he", "she", "they", "we", "you", "million", "billion", "cents", "profit",
    "loss", "revenue",
)  # fmt: skip


def train(seed: int = 0, out: str | None = None, window: int = 2, dimensions: int = 100) -> dict[str, Any]:
    """Count and decompose, and leave a folder (`out`, or a new one under runs/); returns its metrics.json."""
    run = Run("counts", seed, out, window=window, dimensions=dimensions)
    data = PTB()
    begun = time.perf_counter()
    counts = cooccurrence_matrix(data.corpus, len(data.vocab), window)
    vectors, values, _ = truncated_svd(ppmi(counts), dimensions, seed=seed)
    seconds = time.perf_counter() - begun

    lampion.save({"vectors": vectors, "singular_values": values}, run / "vectors.safetensors")
    data.vocab.save(run / "vocab.json")
    found = {word: [other for other, _ in most_similar(word, data.vocab, vectors)] for word in ASKED}
    for word, others in found.items():
        print(f"{word}: {', '.join(others)}")
    viz.similarities(
        SHOWN, vectors[data.vocab.encode(SHOWN)], run / "similarities.png", "counts: PPMI and SVD"
    )
    return run.finish(most_similar=found, seconds=round(seconds, 3))


if __name__ == "__main__":
    train()
