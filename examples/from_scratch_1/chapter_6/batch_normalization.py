"""Volume 1, chapter 6: the same network with and without batch normalisation, from several initial weights.

See: without it, learning depends on the size of the initial weights, and from small ones there is none;
with it, all of them learn, and nearly alike.
"""

from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim
from lampion.datasets import Digits
from lampion.utils.data import DataLoader
from lampion.viz import canvas


def network(size: float, normalize: bool) -> nn.Module:
    """Four hidden layers with weights of that size."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (64, 100, 100, 100):
        linear = nn.Linear(inputs, 100)
        nn.init.normal_(linear.weight, std=size)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.BatchNorm1d(100)] if normalize else [linear]
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(100, 10))


def train(size: float, normalize: bool, epochs: int) -> list[float]:
    """Accuracy on the images learnt from, after each epoch."""
    lampion.manual_seed(0)
    data, model = Digits(train=True), network(size, normalize)
    optimizer = optim.SGD(model.parameters(), lr=0.05)

    @lampion.compile
    def step(x: Tensor, target: Tensor) -> Tensor:
        optimizer.zero_grad()
        scores = model(x)
        F.cross_entropy(scores, target).backward()
        optimizer.step()
        return (scores.argmax(1) == target).float().mean()

    loader = DataLoader(data, batch_size=100, shuffle=True, drop_last=True)
    return [sum(step(*batch).item() for batch in loader) / len(loader) for _ in range(epochs)]


def main(out: str = "runs/examples", epochs: int = 15, sizes: int = 3) -> dict[float, dict[str, list[float]]]:
    found = {}
    with canvas.style():
        picture = canvas.figure(3.4 * sizes, 3.4)
        rows = picture.subplots(1, sizes, sharey=True, squeeze=False)
        for axes, size in zip(rows[0], (0.001, 0.01, 0.1)[:sizes], strict=True):
            found[size] = {"with": train(size, True, epochs), "without": train(size, False, epochs)}
            axes.plot(range(1, epochs + 1), found[size]["with"], color=canvas.BLUE, label="normalised")
            axes.plot(range(1, epochs + 1), found[size]["without"], "--", color=canvas.ORANGE, label="not")
            axes.set(title=f"weights {size:g}", xlabel="epoch", ylim=(0, 1.02))
            last = {name: f"{values[-1]:.1%}" for name, values in found[size].items()}
            print(f"weights {size:g}: {last}")
        axes.legend(frameon=False, loc="lower right")
        canvas.save(picture, Path(out) / "batch_normalization.png")
    return found


if __name__ == "__main__":
    main()
