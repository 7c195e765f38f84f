"""Volume 1, chapter 6: the same network of five layers, from three sizes of initial weights.

See: from weights of size 0.01 nothing is learnt (hardly any gradient comes through); Xavier's and He's
learn, He's faster, since it was made for ReLU.
"""

from itertools import pairwise
from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim
from lampion.datasets import Digits
from lampion.utils.data import DataLoader
from lampion.viz import canvas

WEIGHTS = {
    "0.01": lambda w: nn.init.normal_(w, std=0.01),
    "Xavier": nn.init.xavier_normal_,
    "He": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
}


def network(initialize) -> nn.Module:
    sizes = [64, 100, 100, 100, 100, 10]
    layers = []
    for inputs, outputs in pairwise(sizes):
        linear = nn.Linear(inputs, outputs)
        initialize(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def train(initialize, epochs: int) -> list[float]:
    """The loss at each step."""
    lampion.manual_seed(0)
    model = network(initialize)
    optimizer = optim.SGD(model.parameters(), lr=0.03)

    @lampion.compile
    def step(x: Tensor, target: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    loader = DataLoader(Digits(train=True), batch_size=128, shuffle=True, drop_last=True)
    return [step(x, target).item() for _ in range(epochs) for x, target in loader]


def main(out: str = "runs/examples", epochs: int = 20) -> dict[str, list[float]]:
    losses = {name: train(initialize, epochs) for name, initialize in WEIGHTS.items()}
    with canvas.style():
        picture = canvas.figure(7, 4.2)
        axes = picture.subplots()
        for (name, values), color in zip(
            losses.items(), (canvas.GREY, canvas.BLUE, canvas.ORANGE), strict=True
        ):
            axes.plot(values, label=f"weights {name}", color=color, linewidth=1.5)
        axes.set(title="Initial weights and learning", xlabel="step", ylabel="loss", ylim=(0, 2.6))
        axes.legend(frameon=False, loc="lower left")
        canvas.save(picture, Path(out) / "initial_weights_race.png")
    for name, values in losses.items():
        print(f"weights {name:7} loss {values[-1]:.4f} after {len(values)} steps")
    return losses


if __name__ == "__main__":
    main()
