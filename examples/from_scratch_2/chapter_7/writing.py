"""Volume 2, chapter 7: texts that a language model writes: the likeliest word, a word by lot, and in between.

See: the model is a table of how often a word followed another in a few sentences. Always the likeliest word
goes round in a circle; by lot, it wanders: the more, the higher the temperature. Beam search finds the
likeliest text as a whole.
"""

import itertools

import lampion
from lampion import Tensor
from lampion.text import Vocab, beam_search, generate, greedy, sample

TEXT = (
    "you say goodbye and i say hello . you say why and i say i do not know . "
    "hello hello . i do not know why you say goodbye i say hello ."
)


def main(length: int = 12) -> dict[str, object]:
    lampion.manual_seed(0)
    tokens = TEXT.split()
    vocab = Vocab.from_tokens(tokens)
    words = vocab.encode(tokens)
    counts = lampion.zeros(len(vocab), len(vocab))
    counts.index_put_((words[:-1], words[1:]), lampion.ones(len(words) - 1), accumulate=True)
    table = (counts / counts.sum(1, keepdim=True)).log()

    def step(words: Tensor, state: object) -> tuple[Tensor, object]:
        """The scores of what follows the last word; this model has no state."""
        return table[words[:, -1]], state

    start = vocab.encode(["you"])
    written = {"greedy": generate(step, start, length, greedy)}
    for temperature in (0.5, 1.0, 2.0):
        chosen = generate(step, start, length, lambda scores, t=temperature: sample(scores, temperature=t))
        written[f"temperature {temperature}"] = chosen
    texts = {name: " ".join(["you", *vocab.decode(found)]) for name, found in written.items()}
    best, score = beam_search(step, start, length, beams=4, end=vocab["."])[0]
    texts["beam search"] = " ".join(["you", *vocab.decode(best)])
    for name, text in texts.items():
        print(f"{name:16} {text}")
    seen = set(itertools.pairwise(tokens))
    return {"texts": texts, "seen": seen, "score": score}


if __name__ == "__main__":
    main()
