"""Grokking, chapter 13: a tensor knows who made it, and by which operation.

See: the book's `creation_op` is `grad_fn` here; what was made by nobody is a leaf. A tensor that is used
twice, b in (a + b) + (b - c), gets the gradients of both uses.
"""

import lampion


def main() -> dict[str, object]:
    a = lampion.tensor([1.0, 2.0, 3.0, 4.0, 5.0], requires_grad=True)
    b = lampion.tensor([2.0, 2.0, 2.0, 2.0, 2.0], requires_grad=True)
    c = lampion.tensor([5.0, 4.0, 3.0, 2.0, 1.0], requires_grad=True)
    d, e = a + b, b + -c
    f = (d + e).sum()
    f.backward()
    print(f"f was made by {f.grad_fn}, d by {d.grad_fn}, a by {a.grad_fn}; gradient of b: {b.grad}")
    return {
        "f": str(f.grad_fn),
        "d": str(d.grad_fn),
        "leaf": a.is_leaf,
        "a": a.grad,
        "b": b.grad,
        "c": c.grad,
    }


if __name__ == "__main__":
    main()
