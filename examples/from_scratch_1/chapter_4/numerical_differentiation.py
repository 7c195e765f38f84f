"""Volume 1, chapter 4: a slope from two values of a function, and the tangent that it belongs to.

See: the central difference of y = 0.01 x^2 + 0.1 x is 0.2 at x = 5 and 0.3 at x = 10, and the tangents
touch the curve there. `lampion.testing.numerical_grad` does it for every element of a tensor, in float64:
a difference of nearly equal float32 numbers keeps hardly a digit.
"""

from pathlib import Path

import lampion
from lampion import Tensor
from lampion.testing import numerical_grad
from lampion.viz import canvas


def curve(x: Tensor) -> Tensor:
    return 0.01 * x**2 + 0.1 * x


def slope(function, x: float, h: float = 1e-4) -> float:
    low, high = (function(lampion.tensor(at, dtype=lampion.float64)) for at in (x - h, x + h))
    return ((high - low) / (2 * h)).item()


def main(out: str = "runs/examples") -> dict[str, object]:
    slopes = {at: slope(curve, at) for at in (5.0, 10.0)}
    x = lampion.linspace(0, 20, 201)
    with canvas.style():
        picture = canvas.figure(9, 3.6)
        for axes, (at, steepness) in zip(picture.subplots(1, 2), slopes.items(), strict=True):
            y = curve(lampion.tensor(at)).item()
            axes.plot(x.numpy(), curve(x).numpy(), color=canvas.BLUE)
            axes.plot(x.numpy(), (y + steepness * (x - at)).numpy(), color=canvas.ORANGE, linewidth=1.2)
            axes.plot(at, y, "o", color=canvas.ORANGE)
            axes.set(title=f"slope {steepness:.1f} at x = {at:g}", xlabel="x", ylim=(-1, 6.3))
        canvas.save(picture, Path(out) / "tangents.png")

    point = lampion.tensor([3.0, 4.0], dtype=lampion.float64)
    (gradient,) = numerical_grad(lambda x: (x**2).sum(), point)
    print(f"slopes {slopes}; gradient of x0^2 + x1^2 at (3, 4): {gradient}")
    return {"slopes": slopes, "gradient": gradient}


if __name__ == "__main__":
    main()
