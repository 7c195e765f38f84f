"""Volume 3, steps 7-10: back-propagation by itself, and how to test it.

See: each result knows the operation that made it (`grad_fn`), and that one knows the operations before it.
`backward()` walks along these links. `gradcheck` compares a gradient with differences, and sees a wrong one.
"""

import lampion
from lampion.testing import gradcheck


class Cube(lampion.autograd.Function):
    """x^3, with a gradient of our own."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * gradient


class WrongCube(Cube):
    """The same with a mistake: the factor 3 is forgotten."""

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return x**2 * gradient


def main() -> dict[str, object]:
    x = lampion.tensor(0.5, dtype=lampion.float64, requires_grad=True)
    a = x**2
    b = lampion.exp(a)
    y = b**2
    y.backward()
    links = [str(variable.grad_fn) for variable in (y, b, a, x)]  # nobody made x

    points = lampion.rand(5, dtype=lampion.float64)
    right = gradcheck(Cube.apply, points, raise_exception=False)
    wrong = gradcheck(WrongCube.apply, points, raise_exception=False)
    print(
        f"slope {x.grad.item()}; back along {' -> '.join(links)}; cube checked: {right}, wrong cube: {wrong}"
    )
    return {"gradient": x.grad.item(), "links": links, "right": right, "wrong": wrong}


if __name__ == "__main__":
    main()
