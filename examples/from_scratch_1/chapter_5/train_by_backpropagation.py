"""Volume 1, chapter 5: a network of two layers learns handwritten digits by back-propagation.

See: the gradients of all 3,760 weights come from one pass back, and accuracy on images that it never saw
rises along with that on those it learns from.
"""

from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn
from lampion.datasets import Digits
from lampion.utils.data import DataLoader
from lampion.viz import canvas


def accuracy(model: nn.Module, data: Digits) -> float:
    with lampion.no_grad():
        return (model(data.images).argmax(1) == data.labels).float().mean().item()


def main(out: str = "runs/examples", epochs: int = 15, lr: float = 0.5) -> dict[str, list[float]]:
    lampion.manual_seed(0)
    learn, test = Digits(train=True), Digits(train=False)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 10))

    @lampion.compile
    def step(x: Tensor, target: Tensor) -> Tensor:
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        with lampion.no_grad():
            for p in model.parameters():  # gradient descent, by hand
                p -= lr * p.grad
                p.grad = None
        return loss

    history = {"training": [accuracy(model, learn)], "test": [accuracy(model, test)]}
    for _ in range(epochs):
        for x, target in DataLoader(learn, batch_size=100, shuffle=True, drop_last=True):
            step(x, target)
        history["training"].append(accuracy(model, learn))
        history["test"].append(accuracy(model, test))
    learnt, others = history["training"][-1], history["test"][-1]
    print(f"after {epochs} epochs: {learnt:.1%} of those learnt, {others:.1%} of others")

    with canvas.style():
        picture = canvas.figure(6, 4)
        axes = picture.subplots()
        axes.plot(history["training"], color=canvas.BLUE, label="training")
        axes.plot(history["test"], color=canvas.ORANGE, linestyle="--", label="test")
        axes.set(title="Accuracy", xlabel="epoch", ylim=(0, 1.02))
        axes.legend(frameon=False, loc="lower right")
        canvas.save(picture, Path(out) / "two_layer_network.png")
    return history


if __name__ == "__main__":
    main()
