"""Grokking, chapter 13: a recurrent cell that reads a sentence and predicts its next word.

See: the sentences are made up in the manner of the bAbI tasks, "mary moved to the garden". After four words
the cell still knows who it was about: each person goes to two of the six places only. Which of the two nobody
can know, so that the perplexity ends near 2.
"""

import random

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim

PLACES = {"mary": ("garden", "kitchen"), "john": ("office", "bedroom"), "daniel": ("hallway", "bathroom")}
VERBS = ("moved", "went", "travelled")


class Cell(nn.Module):
    """hidden = tanh(W_in input + W hidden)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.from_input = nn.Linear(inputs, hidden)
        self.from_hidden = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        return F.tanh(self.from_input(x) + self.from_hidden(state))


class NextWord(nn.Module):
    """Reads words one after the other, and scores all words as the next one."""

    def __init__(self, words: int, size: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, size)
        self.cell = Cell(size, size)
        self.output = nn.Linear(size, words)

    def forward(self, sentence: Tensor) -> Tensor:
        """(N, T) -> (N, words)."""
        state = lampion.zeros(len(sentence), self.cell.hidden)
        for word in sentence.unbind(1):
            state = self.cell(self.embedding(word), state)
        return self.output(state)


def main(steps: int = 200, sentences: int = 128) -> dict[str, object]:
    lampion.manual_seed(0)
    chance = random.Random(0)
    text = []
    for _ in range(sentences):
        who = chance.choice(list(PLACES))
        text.append([who, chance.choice(VERBS), "to", "the", chance.choice(PLACES[who])])
    words = sorted({word for sentence in text for word in sentence})
    numbers = lampion.tensor([[words.index(word) for word in sentence] for sentence in text])
    model = NextWord(len(words))
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    @lampion.compile
    def step(read: Tensor, following: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(read), following)
        loss.backward()
        optimizer.step()
        return loss

    losses = [step(numbers[:, :-1], numbers[:, -1]).item() for _ in range(steps)]
    likely = {}
    for who in PLACES:
        read = lampion.tensor([[words.index(word) for word in (who, "moved", "to", "the")]])
        probabilities = F.softmax(model(read)[0], dim=0)
        likely[who] = {words[i] for i in probabilities.topk(2).indices.tolist()}
        print(f"{who} moved to the {' or '.join(sorted(likely[who]))}")
    print(f"perplexity {lampion.tensor(losses[-1]).exp().item():.2f}; 2 is the least possible")
    return {"losses": losses, "likely": likely, "truth": {who: set(places) for who, places in PLACES.items()}}


if __name__ == "__main__":
    main()
