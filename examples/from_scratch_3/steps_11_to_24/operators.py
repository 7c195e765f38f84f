"""Volume 3, steps 19-22: variables that behave like numbers, on either side of every operator.

See: `2 - x` works as `x - 2` does, and `2.0 ** x`, `x ** y` and `@` too; each has its gradient.
"""

import lampion

OPERATORS = {
    "x + 2": lambda x: x + 2, "2 + x": lambda x: 2 + x,
    "x - 2": lambda x: x - 2, "2 - x": lambda x: 2 - x,
    "x * 2": lambda x: x * 2, "2 * x": lambda x: 2 * x,
    "x / 2": lambda x: x / 2, "2 / x": lambda x: 2 / x,
    "x ** 2": lambda x: x**2, "2 ** x": lambda x: 2.0**x, "x ** x": lambda x: x**x,
    "x // 2": lambda x: x // 2, "7 // x": lambda x: 7 // x,
    "x % 2": lambda x: x % 2, "7 % x": lambda x: 7 % x,
    "-x": lambda x: -x, "+x": lambda x: +x, "abs(x)": abs,
    "[x, x] @ [x, 1]": lambda x: lampion.stack([x, x]) @ lampion.stack([x, x / x]),
}  # fmt: skip
COMPARISONS = {
    "x < 4": lambda x: x < 4, "x <= 3": lambda x: x <= 3, "x == 3": lambda x: x == 3,
    "x > 2": lambda x: x > 2, "x >= 4": lambda x: x >= 4, "x != 3": lambda x: x != 3,
    "4 < x": lambda x: 4 < x,  # noqa: SIM300 - the number on the left is the point
}  # fmt: skip


def main() -> dict[str, tuple[float, float] | bool]:
    """For each operator its value at x = 3, and its slope."""
    found: dict[str, tuple[float, float] | bool] = {}
    for name, function in OPERATORS.items():
        x = lampion.tensor(3.0, requires_grad=True)
        y = function(x)
        (slope,) = lampion.autograd.grad(y, x) if y.requires_grad else (lampion.tensor(0.0),)
        found[name] = (y.item(), slope.item())
        print(f"{name:16} = {y.item():8.4f}   slope {slope.item():8.4f}")
    for name, comparison in COMPARISONS.items():
        found[name] = bool(comparison(lampion.tensor(3.0)))
    return found


if __name__ == "__main__":
    main()
