"""Volume 1, chapter 6: the ways of six optimizers down x^2 / 20 + y^2, a long and narrow valley.

See: SGD zigzags, since the steepest way is not the way to the minimum; momentum swings through in wide
curves; Nesterov's looks ahead and swings less; AdaGrad and RMSprop take long steps along the flat direction
too; Adam has something of both.
"""

from pathlib import Path

import lampion
from lampion import Tensor, optim
from lampion.viz import canvas

OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.95),
    "Momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "Nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "AdaGrad": lambda p: optim.Adagrad(p, lr=1.5),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.3, alpha=0.9),
    "Adam": lambda p: optim.Adam(p, lr=0.3),
}


def valley(x: Tensor, y: Tensor) -> Tensor:
    return x**2 / 20 + y**2


def path(make_optimizer, steps: int) -> Tensor:
    """The points on the way, the start included. (steps + 1, 2)."""
    at = lampion.tensor([-7.0, 2.0], requires_grad=True)
    optimizer = make_optimizer([at])
    points = [at.detach().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        valley(*at).backward()
        optimizer.step()
        points.append(at.detach().clone())
    return lampion.stack(points)


def main(out: str = "runs/examples", steps: int = 30) -> dict[str, Tensor]:
    paths = {name: path(make, steps) for name, make in OPTIMIZERS.items()}
    x, y = lampion.meshgrid(lampion.linspace(-10, 10, 101), lampion.linspace(-4, 4, 81), indexing="xy")
    with canvas.style():
        picture = canvas.figure(11, 5.6)
        for axes, (name, points) in zip(picture.subplots(2, 3).ravel(), paths.items(), strict=True):
            height = valley(x, y).numpy()
            axes.contour(
                x.numpy(), y.numpy(), height, levels=[0.2, 1, 2, 4, 7], colors="#cccccc", linewidths=1
            )
            axes.plot(*points.T.numpy(), "o-", color=canvas.BLUE, markersize=3, linewidth=1)
            axes.plot(0, 0, "+", color=canvas.ORANGE, markersize=12)
            axes.set(title=name, xlabel="x", ylabel="y", xlim=(-10, 10), ylim=(-4, 4))
            axes.grid(False)
        canvas.save(picture, Path(out) / "optimizer_paths.png")
    for name, points in paths.items():
        print(f"{name:9} after {steps} steps at height {valley(*points[-1]).item():.5f}")
    return paths


if __name__ == "__main__":
    main()
