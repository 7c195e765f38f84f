"""Volume 1, chapter 6: learning too few images by heart, and what weight decay and dropout do about it.

See: 100 images are too few for six hidden layers: all of them are learnt by heart, and others are read much worse.
Weight decay and dropout make the two curves meet sooner: less is learnt by heart, and the gap is smaller.
"""

from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim
from lampion.datasets import Digits
from lampion.viz import canvas

WAYS = {"neither": (0.0, 0.0), "weight decay": (0.02, 0.0), "dropout": (0.0, 0.25)}


def train(weight_decay: float, dropout: float, epochs: int, images: int) -> dict[str, list[float]]:
    lampion.manual_seed(0)
    learn, test = Digits(train=True), Digits(train=False)
    x, target = learn.images[:images], learn.labels[:images]
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (64, 100, 100, 100, 100, 100):
        linear = nn.Linear(inputs, 100)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        layers += [linear, nn.ReLU(), nn.Dropout(dropout)]
    model = nn.Sequential(*layers, nn.Linear(100, 10))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.5, weight_decay=weight_decay)

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


def main(out: str = "runs/examples", epochs: int = 300, images: int = 100) -> dict[str, dict[str, list[float]]]:
    found = {name: train(*way, epochs, images) for name, way in WAYS.items()}
    with canvas.style():
        picture = canvas.figure(11, 3.4)
        for axes, (name, history) in zip(picture.subplots(1, 3, sharey=True), found.items(), strict=True):
            axes.plot(history["training"], color=canvas.BLUE, label="training")
            axes.plot(history["test"], "--", color=canvas.ORANGE, label="test")
            axes.set(title=name, xlabel="epoch", ylim=(0, 1.02))
            print(f"{name}: {history['training'][-1]:.1%} of those learnt, {history['test'][-1]:.1%} of others")
        axes.legend(frameon=False, loc="lower right")
        canvas.save(picture, Path(out) / "overfitting.png")
    return found


if __name__ == "__main__":
    main()
