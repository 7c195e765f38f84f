"""Volume 1, chapter 6: a learning rate and a weight decay, sought at random on a logarithmic scale.

See: good learning rates lie between about 0.03 and 1; the weight decay matters little as long as it is
small. What is good is measured on validation images: neither on those learnt from nor on the test images.
"""

import math
import random
from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import nn, optim
from lampion.datasets import Digits
from lampion.viz import canvas


def accuracy(lr: float, weight_decay: float, epochs: int) -> float:
    """On 200 validation images, after learning 300 others."""
    lampion.manual_seed(0)
    data = Digits(train=True)
    order = lampion.randperm(len(data))
    x, target = data.images[order], data.labels[order]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 10))
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)
    for _ in range(epochs):
        for batch in range(0, 300, 100):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch : batch + 100]), target[batch : batch + 100]).backward()
            optimizer.step()
    with lampion.no_grad():
        return (model(x[300:500]).argmax(1) == target[300:500]).float().mean().item()


def main(out: str = "runs/examples", trials: int = 100, epochs: int = 20) -> list[tuple[float, float, float]]:
    chance = random.Random(0)
    found = []
    for _ in range(trials):
        lr, weight_decay = 10 ** chance.uniform(-4, 0), 10 ** chance.uniform(-8, -2)
        found.append((accuracy(lr, weight_decay, epochs), lr, weight_decay))
    found.sort(reverse=True)
    for score, lr, weight_decay in found[:5]:
        print(f"{score:.1%} with learning rate {lr:.2g} and weight decay {weight_decay:.1g}")

    with canvas.style():
        picture = canvas.figure(6.4, 4.4)
        axes = picture.subplots()
        scores, rates, decays = zip(*found, strict=True)
        drawn = axes.scatter(
            [math.log10(r) for r in rates], [math.log10(d) for d in decays], c=scores, vmin=0, vmax=1
        )
        axes.set(title=f"{trials} trials", xlabel="learning rate, log10", ylabel="weight decay, log10")
        picture.colorbar(drawn, label="validation accuracy")
        canvas.save(picture, Path(out) / "hyperparameter_search.png")
    return found


if __name__ == "__main__":
    main()
