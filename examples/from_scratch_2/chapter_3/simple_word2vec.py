"""Volume 2, chapter 3: words as vectors, learned by guessing: CBOW and skip-gram with a softmax.

See: CBOW guesses a word from its neighbours, and learns all but one: "goodbye" and "i" have the same two
neighbours, in another order, and their mean does not tell which comes first. Skip-gram guesses both
neighbours from the word; it can never be sure, as "say" stands between other words each time.
"""

from collections.abc import Callable

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim
from lampion.text import contexts_targets, preprocess

TEXT = "You say goodbye and I say hello."


class SimpleCBOW(nn.Module):
    """The mean of the neighbours' vectors, and a score for each word."""

    def __init__(self, words: int, width: int = 5) -> None:
        super().__init__()
        self.inward, self.outward = nn.Embedding(words, width), nn.Linear(width, words, bias=False)

    def forward(self, contexts: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(self.outward(self.inward(contexts).mean(1)), target)


class SimpleSkipGram(SimpleCBOW):
    """The word's vector, and a score for each word as a neighbour on either side."""

    def forward(self, contexts: Tensor, target: Tensor) -> Tensor:
        scores = self.outward(self.inward(target))
        return sum((F.cross_entropy(scores, side) for side in contexts.unbind(1)), lampion.zeros(()))


def training_step(model: nn.Module, optimizer: optim.Optimizer) -> Callable[..., Tensor]:
    @lampion.compile
    def step(contexts: Tensor, target: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = model(contexts, target)
        loss.backward()
        optimizer.step()
        return loss

    return step


def main(steps: int = 300) -> dict[str, object]:
    corpus, word_to_id, id_to_word = preprocess(TEXT)
    contexts, target = contexts_targets(corpus, window=1)
    losses: dict[str, list[float]] = {}
    for kind in (SimpleCBOW, SimpleSkipGram):
        lampion.manual_seed(0)
        model = kind(len(word_to_id))
        step = training_step(model, optim.Adam(model.parameters(), lr=0.05))
        losses[kind.__name__] = [step(contexts, target).item() for _ in range(steps)]
        print(f"{kind.__name__:15} loss {losses[kind.__name__][0]:.2f} -> {losses[kind.__name__][-1]:.2f}")
        if kind is SimpleCBOW:
            guesses = model.outward(model.inward(contexts).mean(1)).argmax(1)
            vectors = model.inward.weight.detach()
    sentence = " ".join(id_to_word[word] for word in guesses.tolist())
    print(f"guessed from their neighbours: {sentence}")
    return {"losses": losses, "guessed": sentence, "vectors": vectors}


if __name__ == "__main__":
    main()
