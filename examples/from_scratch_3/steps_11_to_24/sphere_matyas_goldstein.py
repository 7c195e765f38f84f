"""Volume 3, step 24: gradients of functions that optimizers are tested with.

See: sphere (2, 2), matyas (0.04, 0.04) and Goldstein-Price (-5376, 8064), each at (1, 1). The last is a
polynomial of degree 8 with nearly forty operations; nobody would like to do it by hand.
"""

import lampion
from lampion import Tensor


def sphere(x: Tensor, y: Tensor) -> Tensor:
    return x**2 + y**2


def matyas(x: Tensor, y: Tensor) -> Tensor:
    return 0.26 * (x**2 + y**2) - 0.48 * x * y


def goldstein_price(x: Tensor, y: Tensor) -> Tensor:
    left = 1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)
    inner = 18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2
    return left * (30 + (2 * x - 3 * y) ** 2 * inner)


def main() -> dict[str, tuple[float, float]]:
    found = {}
    for function in (sphere, matyas, goldstein_price):
        x, y = (lampion.tensor(1.0, dtype=lampion.float64, requires_grad=True) for _ in range(2))
        function(x, y).backward()
        found[function.__name__] = (x.grad.item(), y.grad.item())
        print(f"{function.__name__}: {found[function.__name__]}")
    return found


if __name__ == "__main__":
    main()
