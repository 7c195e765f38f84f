"""Volume 3, steps 34-35: sine and tanh, and their derivatives of higher and higher order.

See: each derivative of the sine is the curve before it, shifted by a quarter wave; those of tanh have more
bumps, and higher ones, with each order. Each comes from the one before by a walk back along its graph.
"""

from pathlib import Path

import lampion
from lampion import Tensor
from lampion.viz import canvas


def derivatives(function, x: Tensor, order: int) -> list[Tensor]:
    """function(x) and its derivatives up to that order, at each element of x."""
    x = x.clone().requires_grad_()
    found = [function(x)]
    for _ in range(order):
        # Each element depends on its own x alone, so that the sum's gradient is the slope at each place.
        found.append(lampion.autograd.grad(found[-1].sum(), x, create_graph=True)[0])
    return [y.detach() for y in found]


def main(out: str = "runs/examples", order: int = 4) -> dict[str, list[Tensor]]:
    x = lampion.linspace(-7, 7, 281, dtype=lampion.float64)
    found = {"sin": derivatives(lampion.sin, x, order), "tanh": derivatives(lampion.tanh, x, order)}
    with canvas.style():
        picture = canvas.figure(11, 4.2)
        for axes, (name, curves) in zip(picture.subplots(1, 2), found.items(), strict=True):
            for number, curve in enumerate(curves):
                shade = 0.9 - 0.75 * number / order  # later derivatives are lighter
                color = (
                    canvas.ORANGE
                    if number == 0
                    else (0.75 - 0.75 * shade, 0.85 - 0.4 * shade, 0.9 - 0.2 * shade)
                )
                label = f"{name} x" if number == 0 else f"order {number}"
                dashes = "--" if number == 0 else "-"  # the sine's fourth derivative lies under the sine
                axes.plot(x.numpy(), curve.numpy(), dashes, label=label, color=color, zorder=9 - number)
            axes.set(
                title=f"{name} and its derivatives", xlabel="x", ylim=(None, 1.25 * curves[-1].max().item())
            )
            axes.legend(frameon=False, loc="upper center", ncols=order + 1, fontsize=8, columnspacing=1)
        canvas.save(picture, Path(out) / "derivatives.png")
    return {"x": [x], **found}


if __name__ == "__main__":
    main()
