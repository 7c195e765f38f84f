"""Volume 3, steps 29-33: Newton's method, with a second derivative by hand and an automatic one.

See: from x = 2 both walk down y = x^4 - 2 x^2 the same way, and are at the minimum, 1.0, at iteration 7.
The automatic one differentiates the gradient: `create_graph=True` has it recorded as well.
"""

import lampion
from lampion import Tensor


def function(x: Tensor) -> Tensor:
    return x**4 - 2 * x**2


def by_hand(x: Tensor) -> Tensor:
    return 12 * x**2 - 4


def newton(automatic: bool, iterations: int = 10) -> list[float]:
    """x before each iteration."""
    x = lampion.tensor(2.0, dtype=lampion.float64, requires_grad=True)
    way = []
    for _ in range(iterations):
        way.append(x.item())
        (slope,) = lampion.autograd.grad(function(x), x, create_graph=automatic)
        curvature = lampion.autograd.grad(slope, x)[0] if automatic else by_hand(x)
        with lampion.no_grad():
            x -= slope / curvature
    return way


def main() -> dict[str, list[float]]:
    ways = {"by hand": newton(automatic=False), "automatic": newton(automatic=True)}
    for iteration, (hand, automatic) in enumerate(zip(*ways.values(), strict=True)):
        print(f"iteration {iteration}: {hand:.15f}  {automatic:.15f}")
    return ways


if __name__ == "__main__":
    main()
