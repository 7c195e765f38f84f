"""Grokking, chapter 13: four examples, two weight matrices, and three ways to write the same training.

See: with the updates by hand, with SGD, and with Sequential, a loss layer and SGD the losses are the same at
every step; each way leaves less to write.
"""

import lampion
from lampion import nn, optim

DATA = lampion.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
TARGET = lampion.tensor([[0.0], [1.0], [0.0], [1.0]])


def by_hand(weights, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        loss = ((DATA @ weights[0] @ weights[1] - TARGET) ** 2).sum()
        loss.backward()
        with lampion.no_grad():
            for w in weights:
                w -= 0.1 * w.grad
                w.grad = None
        losses.append(loss.item())
    return losses


def with_optimizer(weights, steps: int) -> list[float]:
    optimizer, losses = optim.SGD(weights, lr=0.1), []
    for _ in range(steps):
        loss = ((DATA @ weights[0] @ weights[1] - TARGET) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def with_layers(weights, steps: int) -> list[float]:
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 1, bias=False))
    model.load_state_dict({"0.weight": weights[0].detach().T, "1.weight": weights[1].detach().T})
    criterion, optimizer, losses = nn.MSELoss(reduction="sum"), optim.SGD(model.parameters(), lr=0.1), []
    for _ in range(steps):
        loss = criterion(model(DATA), TARGET)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main(steps: int = 20) -> dict[str, list[float]]:
    found = {}
    for way in (by_hand, with_optimizer, with_layers):
        lampion.manual_seed(0)
        weights = [lampion.rand(2, 3).requires_grad_(), lampion.rand(3, 1).requires_grad_()]
        found[way.__name__] = way(weights, steps)
        print(f"{way.__name__}: loss {found[way.__name__][0]:.4f} -> {found[way.__name__][-1]:.6f}")
    return found


if __name__ == "__main__":
    main()
