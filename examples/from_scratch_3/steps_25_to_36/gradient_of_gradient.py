"""Volume 3, step 36: a gradient as a part of a larger formula, and that formula's gradient.

See: with y = x^2 and g = dy/dx, the slope of g^3 + y at x = 2 is 24 x^2 + 2 x = 100. The same turn gives a
product of a Hessian with a vector without the Hessian: the gradient of (gradient . vector).
"""

import lampion
from lampion.func import hessian


def main() -> dict[str, object]:
    x = lampion.tensor(2.0, requires_grad=True)
    y = x**2
    (g,) = lampion.autograd.grad(y, x, create_graph=True)
    (slope,) = lampion.autograd.grad(g**3 + y, x)

    def function(at):
        return (at**3).sum() + at.prod()

    at, vector = lampion.tensor([1.0, 2.0, 3.0], requires_grad=True), lampion.tensor([4.0, 5.0, 6.0])
    (gradient,) = lampion.autograd.grad(function(at), at, create_graph=True)
    (product,) = lampion.autograd.grad(gradient @ vector, at)
    whole = hessian(function)(at.detach()) @ vector
    print(f"slope of g^3 + y: {slope.item()}; Hessian times vector: {product.tolist()}, {whole.tolist()}")
    return {"slope": slope.item(), "product": product, "whole": whole}


if __name__ == "__main__":
    main()
