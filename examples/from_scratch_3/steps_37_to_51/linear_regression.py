"""Volume 3, step 42: a straight line through points, found by gradient descent.

See: the points are y = 5 + 2 x + noise between 0 and 1, so that the line is near 2 x + 5.5, and the loss
ends near 1 / 12, the noise's variance: no line can do better.
"""

from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion.viz import canvas


def main(out: str = "runs/examples", steps: int = 300, lr: float = 0.2) -> dict[str, float]:
    lampion.manual_seed(0)
    x = lampion.rand(100, 1)
    y = 5 + 2 * x + lampion.rand(100, 1)
    weight, bias = lampion.zeros(1, 1, requires_grad=True), lampion.zeros(1, requires_grad=True)
    for _ in range(steps):
        loss = F.mse_loss(x @ weight + bias, y)
        loss.backward()
        with lampion.no_grad():
            for p in (weight, bias):
                p -= lr * p.grad
                p.grad = None

    ends = lampion.tensor([[0.0], [1.0]])
    with canvas.style(), lampion.no_grad():
        picture = canvas.figure(6, 4)
        axes = picture.subplots()
        axes.scatter(x.numpy(), y.numpy(), s=14, color=canvas.GREY)
        axes.plot(ends.numpy(), (ends @ weight + bias).numpy(), color=canvas.ORANGE)
        axes.set(title=f"y = {weight.item():.2f} x + {bias.item():.2f}", xlabel="x", ylabel="y")
        canvas.save(picture, Path(out) / "linear_regression.png")
    print(f"y = {weight.item():.3f} x + {bias.item():.3f}, loss {loss.item():.4f}")
    return {"weight": weight.item(), "bias": bias.item(), "loss": loss.item()}


if __name__ == "__main__":
    main()
