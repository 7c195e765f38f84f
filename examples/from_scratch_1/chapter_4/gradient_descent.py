"""Volume 1, chapter 4: down the gradient of x0^2 + x1^2, step by step.

See: with a learning rate of 0.1 the path runs from (-3, 4) straight into the minimum, and is nearly there
after 20 steps. With 10 it flies off; with 1e-10 it hardly moves.
"""

from pathlib import Path

import lampion
from lampion import Tensor
from lampion.viz import canvas


def descend(lr: float, steps: int) -> Tensor:
    """The points on the way, the start included. (steps + 1, 2)."""
    x = lampion.tensor([-3.0, 4.0], dtype=lampion.float64, requires_grad=True)
    path = [x.detach().clone()]
    for _ in range(steps):
        x.grad = None
        (x**2).sum().backward()
        with lampion.no_grad():
            x -= lr * x.grad
        path.append(x.detach().clone())
    return lampion.stack(path)


def main(out: str = "runs/examples") -> dict[str, Tensor]:
    path = descend(lr=0.1, steps=20)
    with canvas.style():
        picture = canvas.figure(5.2, 5)
        axes = picture.subplots()
        for radius in range(1, 6):
            axes.add_patch(_circle(radius))
        axes.plot(*path.T.numpy(), "o-", color=canvas.BLUE, markersize=4, linewidth=1)
        axes.plot(0, 0, "+", color=canvas.ORANGE, markersize=14)
        axes.set(title="20 steps down x0² + x1²", xlabel="x0", ylabel="x1", aspect="equal")
        axes.set(xlim=(-5.2, 5.2), ylim=(-5.2, 5.2))
        canvas.save(picture, Path(out) / "gradient_descent.png")

    ends = {f"lr {lr:g}": descend(lr, steps=100)[-1] for lr in (0.1, 10.0, 1e-10)}
    for name, end in ends.items():
        print(f"{name}: after 100 steps at ({end[0].item():.3g}, {end[1].item():.3g})")
    return {"path": path, **ends}


def _circle(radius: float):
    """A line of equal height."""
    from matplotlib.patches import Circle

    return Circle((0, 0), radius, fill=False, color=canvas.FAINT, linestyle="--")


if __name__ == "__main__":
    main()
