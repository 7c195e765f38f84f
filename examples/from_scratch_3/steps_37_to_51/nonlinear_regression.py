"""Volume 3, steps 43-46: a sine through noise, by a network in four ways of writing it, ever shorter.

See: weights by hand, layers in a list, a model of one's own, and a ready Sequential with an optimizer are one
and the same computation: the four losses are equal.
"""

import math
from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim
from lampion.viz import canvas


class TwoLayerNet(nn.Module):
    """A hidden layer with a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(1, 10)
        self.second = nn.Linear(10, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.sigmoid(self.first(x)))


def descend(parameters, lr: float) -> None:
    """Gradient descent, by hand."""
    with lampion.no_grad():
        for p in parameters:
            p -= lr * p.grad
            p.grad = None


def main(out: str = "runs/examples", steps: int = 10_000, lr: float = 0.2) -> dict[str, float]:
    lampion.manual_seed(0)
    x = lampion.rand(100, 1)
    y = (2 * math.pi * x).sin() + lampion.rand(100, 1)

    model = TwoLayerNet()
    layers = nn.ModuleList([nn.Linear(1, 10), nn.Linear(10, 1)])
    sequential = nn.Sequential(nn.Linear(1, 10), nn.Sigmoid(), nn.Linear(10, 1))
    for other in (layers, sequential):  # all begin with the same weights
        other.load_state_dict(dict(zip(other.state_dict(), model.state_dict().values(), strict=True)))
    w1, b1, w2, b2 = weights = [p.detach().clone().requires_grad_() for p in model.parameters()]
    optimizer = optim.SGD(sequential.parameters(), lr=lr)

    def update_with_optimizer() -> None:
        optimizer.step()
        optimizer.zero_grad()

    ways = {
        "by hand": (lambda: F.sigmoid(x @ w1.T + b1) @ w2.T + b2, lambda: descend(weights, lr)),
        "layers": (lambda: layers[1](F.sigmoid(layers[0](x))), lambda: descend(layers.parameters(), lr)),
        "model": (lambda: model(x), lambda: descend(model.parameters(), lr)),
        "optimizer": (lambda: sequential(x), update_with_optimizer),
    }
    losses = {name: train(*way, y, steps) for name, way in ways.items()}
    for name, loss in losses.items():
        print(f"{name}: loss {loss:.6f}")

    line = lampion.linspace(0, 1, 200).unsqueeze(1)
    with canvas.style(), lampion.no_grad():
        picture = canvas.figure(6, 4)
        axes = picture.subplots()
        axes.scatter(x.numpy(), y.numpy(), s=14, color=canvas.GREY)
        axes.plot(line.numpy(), sequential(line).numpy(), color=canvas.ORANGE)
        axes.set(title="A sine, learnt", xlabel="x", ylabel="y")
        canvas.save(picture, Path(out) / "nonlinear_regression.png")
    return losses


def train(predict, update, y: Tensor, steps: int) -> float:
    """The loss of the last step."""

    @lampion.compile
    def step() -> Tensor:
        loss = F.mse_loss(predict(), y)
        loss.backward()
        update()
        return loss

    for _ in range(steps):
        loss = step()
    return loss.item()


if __name__ == "__main__":
    main()
