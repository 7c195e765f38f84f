"""Volume 1, chapter 4: a network of two layers that learns from numerical gradients.

See: it learns, and it takes for ever: one step evaluates the loss twice for every single weight. (Chapter 5
gets the same gradients from one pass back: `chapter_5/gradient_check.py` and `train_by_backpropagation.py`.)
The task is small for that reason: is a point inside a circle?
"""

import lampion
import lampion.nn.functional as F
from lampion import Tensor
from lampion.testing import numerical_grad


def loss(x: Tensor, target: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    hidden = lampion.sigmoid(x @ w1 + b1)
    return F.cross_entropy(hidden @ w2 + b2, target)


def main(steps: int = 100, hidden: int = 6, lr: float = 2.0) -> dict[str, object]:
    lampion.manual_seed(0)
    x = lampion.rand(60, 2, dtype=lampion.float64) * 2 - 1
    target = ((x**2).sum(1) < 0.6).long()
    sizes = [(2, hidden), (hidden,), (hidden, 2), (2,)]
    parameters = [lampion.randn(size, dtype=lampion.float64) for size in sizes]

    losses, evaluations = [], 0
    for _ in range(steps):
        gradients = numerical_grad(lambda *p: loss(x, target, *p), parameters, eps=1e-4)
        parameters = [p - lr * g for p, g in zip(parameters, gradients, strict=True)]
        evaluations += 2 * sum(p.numel() for p in parameters)
        losses.append(loss(x, target, *parameters).item())
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} in {steps} steps, {evaluations} evaluations of the loss")
    return {"losses": losses, "evaluations": evaluations}


if __name__ == "__main__":
    main()
