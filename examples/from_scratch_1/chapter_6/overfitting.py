"""Volume 1, chapter 6: learning by heart, and what weight decay and dropout do about it.

See: of 300 images a fifth have a label drawn by lot, so that there is something false to learn by heart. With
neither remedy the network learns all of it, and reads others worse from then on. With weight decay or with
dropout it learns less of what it is shown, and reads others better.
"""

from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim
from lampion.datasets import Digits
from lampion.viz import canvas

WAYS = {"neither": (0.0, 0.0), "weight decay": (0.03, 0.0), "dropout": (0.0, 0.3)}


def train(weight_decay: float, dropout: float, epochs: int, images: int) -> dict[str, list[float]]:
    lampion.manual_seed(0)
    learn, test = Digits(train=True), Digits(train=False)
    x, target = learn.images[:images], learn.labels[:images]
    by_lot = lampion.rand(images) < 0.2
    target = lampion.where(by_lot, lampion.randint(0, 10, (images,)), target)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (64, 100, 100, 100, 100, 100):
        linear = nn.Linear(inputs, 100)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        layers += [linear, nn.ReLU(), nn.Dropout(dropout)]
    model = nn.Sequential(*layers, nn.Linear(100, 10))
    optimizer = optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=weight_decay)

    @lampion.compile
    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), target).backward()
        optimizer.step()

    @lampion.compile
    def accuracies() -> list[Tensor]:
        with lampion.no_grad():
            pairs = ((x, target), (test.images, test.labels))
            return [(model(images).argmax(1) == labels).float().mean() for images, labels in pairs]

    history: dict[str, list[float]] = {"training": [], "test": []}
    for _ in range(epochs):
        step()
        model.eval()
        for name, accuracy in zip(history, accuracies(), strict=True):
            history[name].append(accuracy.item())
        model.train()
    return history


def main(
    out: str = "runs/examples", epochs: int = 200, images: int = 300
) -> dict[str, dict[str, list[float]]]:
    found = {name: train(*way, epochs, images) for name, way in WAYS.items()}
    with canvas.style():
        picture = canvas.figure(11, 3.4)
        for axes, (name, history) in zip(picture.subplots(1, 3, sharey=True), found.items(), strict=True):
            axes.plot(history["training"], color=canvas.BLUE, label="training")
            axes.plot(history["test"], "--", color=canvas.ORANGE, label="test")
            axes.set(title=name, xlabel="epoch", ylim=(0, 1.02))
            print(
                f"{name}: {history['training'][-1]:.1%} of those learnt, {history['test'][-1]:.1%} of others"
            )
        axes.legend(frameon=False, loc="lower right")
        canvas.save(picture, Path(out) / "overfitting.png")
    return found


if __name__ == "__main__":
    main()
