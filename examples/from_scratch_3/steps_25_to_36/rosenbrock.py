"""Volume 3, steps 28-29: down Rosenbrock's valley, by gradient descent and by Newton's method.

See: descent falls into the curved valley at once and then creeps: after 1,000 steps it is half-way, after
50,000 it is there. Newton's method, which knows the curvature too, needs six steps.
"""

from pathlib import Path

import lampion
from lampion import Tensor
from lampion.func import grad, hessian
from lampion.viz import canvas


def rosenbrock(at: Tensor) -> Tensor:
    x, y = at.unbind(-1)
    return 100 * (y - x**2) ** 2 + (1 - x) ** 2


def descent(start: Tensor, steps: int, lr: float = 1e-3) -> Tensor:
    """The points on the way. (steps + 1, 2)."""
    path, slope = [start], grad(rosenbrock)
    for _ in range(steps):
        path.append(path[-1] - lr * slope(path[-1]))
    return lampion.stack(path)


def newton(start: Tensor, steps: int) -> Tensor:
    path, slope, curvature = [start], grad(rosenbrock), hessian(rosenbrock)
    for _ in range(steps):
        at = path[-1]
        path.append(at - lampion.linalg.solve(curvature(at), slope(at)))
    return lampion.stack(path)


def main(out: str = "runs/examples", steps: int = 1000) -> dict[str, Tensor]:
    start = lampion.tensor([0.0, 2.0], dtype=lampion.float64)
    paths = {"descent": descent(start, steps), "newton": newton(start, 6)}
    x, y = lampion.meshgrid(lampion.linspace(-2, 2, 201), lampion.linspace(-1, 3, 201), indexing="xy")
    height = rosenbrock(lampion.stack([x, y], dim=-1))
    with canvas.style():
        picture = canvas.figure(10, 4.6)
        for axes, (name, path) in zip(picture.subplots(1, 2), paths.items(), strict=True):
            axes.contour(
                x.numpy(),
                y.numpy(),
                height.numpy(),
                levels=[1, 5, 20, 60, 150, 400, 1000],
                colors="#cccccc",
                linewidths=1,
            )
            axes.plot(*path.T.numpy(), "o-", color=canvas.BLUE, markersize=3, linewidth=1)
            axes.plot(1, 1, "*", color=canvas.ORANGE, markersize=12)
            axes.set(
                title=f"{name.title()}, {len(path) - 1} steps",
                xlabel="x",
                ylabel="y",
                xlim=(-2, 2),
                ylim=(-1, 3),
            )
            axes.grid(False)
        canvas.save(picture, Path(out) / "rosenbrock.png")
    for name, path in paths.items():
        print(f"{name}: at {path[-1].tolist()} after {len(path) - 1} steps")
    return paths


if __name__ == "__main__":
    main()
