"""Volume 2, chapter 4: a choice among many words made a few questions of yes or no.

See: wrong words are drawn by the 0.75th power of how often they occur, so that rare ones come a little more
often than in the text. A step with five wrong words looks at six rows of the output table instead of all; the
gradient of all other rows is zero, and is not even stored.
"""

import lampion
import lampion.nn.functional as F
from lampion import nn
from lampion.text import UnigramSampler

COUNTS = (900, 90, 9, 1)


def main(draws: int = 20_000, words: int = 10_000) -> dict[str, object]:
    lampion.manual_seed(0)
    sampler = UnigramSampler(COUNTS)
    # None is drawn that is the right word: here that is word 0, so the shares are those among the others.
    drawn = sampler.negatives(lampion.zeros(draws, dtype=lampion.int64), 1).flatten()
    shares = lampion.bincount(drawn, minlength=len(COUNTS)) / draws
    for count, expected, share in zip(COUNTS, sampler.probabilities.tolist(), shares.tolist(), strict=True):
        print(
            f"{count / sum(COUNTS):6.1%} of the text, drawn {expected:6.1%}, {share:6.1%} if word 0 is right"
        )

    h = lampion.randn(1, 100)
    table = nn.Embedding(words, 100, sparse=True)
    guessed = lampion.tensor([[7, 1, 2, 3, 4, 5]])  # the right word, and five wrong ones
    answers = lampion.tensor([[1.0, 0, 0, 0, 0, 0]])
    scores = (table(guessed) * h).sum(-1)
    loss = F.binary_cross_entropy_with_logits(scores, answers, reduction="sum")
    loss.backward()
    gradient = table.weight.grad
    print(f"rows with a gradient: {gradient.coalesce().indices().tolist()} of {words}")

    # By hand: a score is too high by its chance, and for the right word by 1 less.
    expected = (scores.sigmoid() - answers).reshape(6, 1) * h
    order = guessed[0].argsort()
    return {
        "shares": shares, "rows": gradient.coalesce().indices().flatten().tolist(),
        "gradient": gradient.coalesce().values(), "by hand": expected[order].detach(),
        "probabilities": sampler.probabilities,
    }  # fmt: skip


if __name__ == "__main__":
    main()
