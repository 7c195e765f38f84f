"""Grokking, chapter 13: words as rows of a table, layers with nonlinearities, and two losses.

See: an index picks a row of the embedding, and backwards only the rows that were picked get a gradient; the
others stay as they are. Mean squared error (after a sigmoid) and cross-entropy both learn what each word
means.
"""

import lampion
from lampion import nn, optim

WORDS = lampion.tensor([1, 2, 1, 2])
MEANING = lampion.tensor([0, 1, 0, 1])


def train(model, criterion, target, steps: int) -> list[float]:
    optimizer, losses = optim.SGD(model.parameters(), lr=0.5), []
    for _ in range(steps):
        loss = criterion(model(WORDS), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main(steps: int = 100) -> dict[str, object]:
    lampion.manual_seed(0)
    table = nn.Embedding(5, 3)
    table(WORDS).sum().backward()
    picked = table.weight.grad[:, 0].tolist()  # how often each row was used

    squared = nn.Sequential(nn.Embedding(5, 3), nn.Tanh(), nn.Linear(3, 1), nn.Sigmoid())
    classifier = nn.Sequential(nn.Embedding(3, 3), nn.Tanh(), nn.Linear(3, 4))
    losses = {
        "mean squared error": train(squared, nn.MSELoss(), MEANING.float().unsqueeze(1), steps),
        "cross-entropy": train(classifier, nn.CrossEntropyLoss(), MEANING, steps),
    }
    print(f"rows used: {picked}")
    for name, values in losses.items():
        print(f"{name}: {values[0]:.4f} -> {values[-1]:.4f}")
    return {"picked": picked, "answers": classifier(WORDS).argmax(1).tolist(), **losses}


if __name__ == "__main__":
    main()
