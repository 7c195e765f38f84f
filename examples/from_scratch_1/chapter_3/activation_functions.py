"""Volume 1, chapter 3: the step function, the sigmoid and ReLU, drawn.

See: the sigmoid is the step made smooth, and so has a slope to learn from everywhere; ReLU lets through
what is positive.
"""

from pathlib import Path

import lampion
from lampion import Tensor
from lampion.viz import canvas


def step(x: Tensor) -> Tensor:
    return (x > 0).float()


def main(out: str = "runs/examples") -> dict[str, list[float]]:
    functions = {"step": step, "sigmoid": lampion.sigmoid, "ReLU": lampion.relu}
    x = lampion.linspace(-5, 5, 501)
    with canvas.style():
        picture = canvas.figure(10, 3.4)
        for axes, (name, function) in zip(picture.subplots(1, 3), functions.items(), strict=True):
            axes.plot(x.numpy(), function(x).numpy(), color=canvas.BLUE)
            axes.set(title=name, xlabel="x", ylim=(-0.1, 5.1 if name == "ReLU" else 1.1))
        canvas.save(picture, Path(out) / "activation_functions.png")

    some = lampion.tensor([-1.0, 1.0, 2.0])
    values = {name: function(some).tolist() for name, function in functions.items()}
    for name, found in values.items():
        print(f"{name:8} of -1, 1, 2: " + "  ".join(f"{y:.4f}" for y in found))
    return values


if __name__ == "__main__":
    main()
