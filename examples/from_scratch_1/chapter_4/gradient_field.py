"""Volume 1, chapter 4: the gradient of x0^2 + x1^2 as a field of arrows.

See: against the gradient, every arrow points to the lowest place, and it is longer where the slope is
steeper. The gradients of all points come from one backward pass: the sum's gradient holds each point's.
"""

from pathlib import Path

import lampion
from lampion import Tensor
from lampion.viz import canvas


def main(out: str = "runs/examples") -> dict[str, Tensor]:
    side = lampion.arange(-2, 2.01, 0.25)
    points = lampion.cartesian_prod(side, side).requires_grad_()  # (17 * 17, 2)
    (points**2).sum().backward()
    downhill = -points.grad
    with canvas.style():
        picture = canvas.figure(5.2, 5)
        axes = picture.subplots()
        (x0, x1), (u, v) = points.detach().T.numpy(), downhill.T.numpy()
        axes.quiver(x0, x1, u, v, color=canvas.BLUE, angles="xy", scale_units="xy", scale=16, width=0.004)
        axes.plot(0, 0, "o", color=canvas.ORANGE)
        axes.set(title="Downhill on x0² + x1²", xlabel="x0", ylabel="x1", aspect="equal")
        canvas.save(picture, Path(out) / "gradient_field.png")
    return {"points": points.detach(), "downhill": downhill}


if __name__ == "__main__":
    main()
