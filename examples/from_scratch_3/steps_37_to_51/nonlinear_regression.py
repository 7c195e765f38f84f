"""Volume 3, steps 43-46: a sine through noise, by a network in four ways of writing it, ever shorter.

See: weights by hand, layers in a list, a model of one's own, and a ready Sequential with an optimizer are one
and the same computation: the four losses are equal, to the last bits.
"""

import math
from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim
from lampion.viz import canvas


class TwoLayerNet(nn.Module):
    """A hidden layer with a sigmoid."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(1, hidden)
        self.second = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.sigmoid(self.first(x)))


def descend(parameters: list[Tensor], lr: float) -> None:
    with lampion.no_grad():
        for p in parameters:
            p -= lr * p.grad
            p.grad = None


def main(out: str = "runs/examples", steps: int = 10_000, lr: float = 0.2) -> dict[str, float]:
    lampion.manual_seed(0)
    x = lampion.rand(100, 1)
    y = (2 * math.pi * x).sin() + lampion.rand(100, 1)
    model = TwoLayerNet(10)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    weights = [p.clone().requires_grad_() for p in start.values()]
    layers = [nn.Linear(1, 10), nn.Linear(10, 1)]
    sequential = nn.Sequential(nn.Linear(1, 10), nn.Sigmoid(), nn.Linear(10, 1))
    for copy in (nn.ModuleList(layers), sequential):  # all begin with the same weights
        copy.load_state_dict(dict(zip(copy.state_dict(), start.values(), strict=True)))
    optimizer = optim.SGD(sequential.parameters(), lr=lr)

    @lampion.compile
    def by_hand() -> Tensor:
        w1, b1, w2, b2 = weights
        loss = F.mse_loss(F.sigmoid(x @ w1.T + b1) @ w2.T + b2, y)
        loss.backward()
        descend(weights, lr)
        return loss

    @lampion.compile
    def with_layers() -> Tensor:
        loss = F.mse_loss(layers[1](F.sigmoid(layers[0](x))), y)
        loss.backward()
        descend([p for layer in layers for p in layer.parameters()], lr)
        return loss

    @lampion.compile
    def with_model() -> Tensor:
        loss = F.mse_loss(model(x), y)
        loss.backward()
        descend(list(model.parameters()), lr)
        return loss

    @lampion.compile
    def with_optimizer() -> Tensor:
        loss = F.mse_loss(sequential(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    losses = {}
    for step in (by_hand, with_layers, with_model, with_optimizer):
        for _ in range(steps):
            loss = step()
        losses[step.__name__] = loss.item()
        print(f"{step.__name__}: loss {loss.item():.6f}")

    line = lampion.linspace(0, 1, 200).unsqueeze(1)
    with canvas.style(), lampion.no_grad():
        picture = canvas.figure(6, 4)
        axes = picture.subplots()
        axes.scatter(x.numpy(), y.numpy(), s=14, color=canvas.GREY)
        axes.plot(line.numpy(), sequential(line).numpy(), color=canvas.ORANGE)
        axes.set(title="A sine, learnt", xlabel="x", ylabel="y")
        canvas.save(picture, Path(out) / "nonlinear_regression.png")
    return losses


if __name__ == "__main__":
    main()
