"""Volume 1, chapter 6: four optimizers on the same network, with the same images in the same order.

See: momentum, AdaGrad and Adam are far ahead of plain SGD after a few steps. Which of them wins depends on
the learning rates and on the network: this is one race, not a law.
"""

from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim
from lampion.datasets import Digits
from lampion.utils.data import DataLoader
from lampion.viz import canvas

RACERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.01),
    "Momentum": lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
    "AdaGrad": lambda p: optim.Adagrad(p, lr=0.01),
    "Adam": lambda p: optim.Adam(p, lr=0.001),
}


def network() -> nn.Module:
    """Four hidden layers, with He's initial weights."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (64, 100, 100, 100):
        linear = nn.Linear(inputs, 100)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(100, 10))


def race(make_optimizer, epochs: int) -> list[float]:
    """The loss at each step."""
    lampion.manual_seed(0)  # the same start, and the same order of images, for everybody
    model = network()
    loader = DataLoader(Digits(train=True), batch_size=128, shuffle=True, drop_last=True)
    optimizer = make_optimizer(model.parameters())

    @lampion.compile
    def step(x: Tensor, target: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    return [step(x, target).item() for _ in range(epochs) for x, target in loader]


def main(out: str = "runs/examples", epochs: int = 20) -> dict[str, list[float]]:
    losses = {name: race(make, epochs) for name, make in RACERS.items()}
    with canvas.style():
        picture = canvas.figure(7, 4.2)
        axes = picture.subplots()
        for (name, values), color in zip(
            losses.items(), ("#999999", "#0072b2", "#009e73", "#d55e00"), strict=True
        ):
            axes.plot(values, label=name, color=color, linewidth=1.5)
        axes.set(title="The race of the optimizers", xlabel="step", ylabel="loss", ylim=(0, 2.5))
        axes.legend(frameon=False)
        canvas.save(picture, Path(out) / "optimizer_race.png")
    for name, values in losses.items():
        print(f"{name:9} loss {values[-1]:.4f} after {len(values)} steps")
    return losses


if __name__ == "__main__":
    main()
