"""Volume 3, steps 1-6: variables, functions, and back-propagation by hand.

See: y = (e^(x^2))^2 is three functions in a row. Forwards each is called in turn; backwards each multiplies
the gradient by its own slope. At x = 0.5 the slope is 3.2974..., and a central difference says the same.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Operation:
    """A function of one number, and its slope."""

    forward: Callable[[float], float]
    slope: Callable[[float], float]


SQUARE = Operation(lambda x: x**2, lambda x: 2 * x)
EXP = Operation(math.exp, math.exp)


def forward(chain: list[Operation], x: float) -> list[float]:
    """The value before each operation, and the result."""
    values = [x]
    for operation in chain:
        values.append(operation.forward(values[-1]))
    return values


def backward(chain: list[Operation], values: list[float]) -> float:
    """The chain rule, from the result (whose gradient is 1) back to x."""
    gradient = 1.0
    for operation, x in reversed(list(zip(chain, values, strict=False))):
        gradient *= operation.slope(x)
    return gradient


def main() -> dict[str, float]:
    chain, x, h = [SQUARE, EXP, SQUARE], 0.5, 1e-4
    values = forward(chain, x)
    by_hand = backward(chain, values)
    by_difference = (forward(chain, x + h)[-1] - forward(chain, x - h)[-1]) / (2 * h)
    print(f"y = {values[-1]}, slope {by_hand}, by differences {by_difference}")
    return {"y": values[-1], "by hand": by_hand, "by difference": by_difference}


if __name__ == "__main__":
    main()
