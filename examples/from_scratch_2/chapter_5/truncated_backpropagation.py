"""Volume 2, chapter 5: a recurrent network reads a long text in pieces, and remembers across their borders.

See: eight letters come again and again, and a piece has four. So the state is carried from piece to piece;
it is detached, so that gradients end at the border. With it the network knows nearly every letter in the
end; if its state is thrown away at each border, it cannot know where in the pattern it is.
"""

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim
from lampion.text import SequentialBatches

PATTERN = "aabababb"  # repeated: from one letter alone, nobody knows the next
SIZE = 4


class Rnnlm(nn.Module):
    """A letter in, scores of the next one out; and the state, which whoever calls it keeps."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(2, 8)
        self.rnn = nn.RNN(8, hidden, batch_first=True)
        self.output = nn.Linear(hidden, 2)

    def forward(self, letters: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h, state = self.rnn(self.embedding(letters), state)
        return self.output(h), state


def learn(carried: bool, epochs: int) -> list[float]:
    """The perplexity of each epoch."""
    lampion.manual_seed(0)
    corpus = lampion.tensor([int(letter == "b") for letter in PATTERN * 60])
    batches = SequentialBatches(corpus, batch_size=5, time_size=SIZE)
    model = Rnnlm()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    @lampion.compile
    def step(letters: Tensor, following: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        scores, state = model(letters, state)
        loss = F.cross_entropy(scores.flatten(0, 1), following.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, state.detach()  # the history ends here

    perplexities = []
    for _ in range(epochs):
        state, total = lampion.zeros(1, 5, 16), 0.0
        for letters, following in batches:
            loss, after = step(letters, following, state)
            state = after if carried else state
            total += loss.item()
        perplexities.append(lampion.tensor(total / len(batches)).exp().item())
    return perplexities


def main(epochs: int = 15) -> dict[str, list[float]]:
    found = {name: learn(name == "carried", epochs) for name in ("carried", "thrown away")}
    for name, perplexities in found.items():
        print(f"state {name:12} perplexity {perplexities[0]:.2f} -> {perplexities[-1]:.2f}")
    return found


if __name__ == "__main__":
    main()
