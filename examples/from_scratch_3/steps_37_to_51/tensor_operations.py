"""Volume 3, steps 37-41: reshape, transpose, sum, broadcasting and the matrix product, and their gradients.

See: the gradient has the shape of what it belongs to, always. Where forwards a row was stretched over a
matrix, backwards its gradients are summed; where forwards there was a sum, backwards the gradient is
stretched.
"""

import lampion


def main() -> dict[str, object]:
    x = lampion.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    found: dict[str, object] = {}

    def gradient(y, of=x):
        return lampion.autograd.grad(y, of, lampion.ones_like(y))[0]

    found["reshape"] = gradient(x.reshape(6))
    found["transpose"] = gradient(x.T)
    found["sum of rows"] = gradient(x.sum(dim=0) * lampion.tensor([1.0, 10.0, 100.0]))

    row = lampion.tensor([10.0, 20.0, 30.0], requires_grad=True)
    found["row stretched over x"] = gradient(x + row, row)

    weight = lampion.ones(3, 4, requires_grad=True)
    found["x of x @ weight"] = gradient(x @ weight)
    found["weight of x @ weight"] = gradient(x @ weight, weight)
    batch = lampion.ones(5, 3, 4, requires_grad=True)  # one product for each of five matrices
    found["batch of x @ batch"] = gradient(x @ batch, batch)
    for name, value in found.items():
        print(f"{name}: shape {tuple(value.shape)}")
    return found


if __name__ == "__main__":
    main()
