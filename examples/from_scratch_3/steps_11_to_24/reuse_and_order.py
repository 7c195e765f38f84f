"""Volume 3, steps 11-16: several inputs, a variable used twice, and the order of the walk back.

See: what is used twice gets the sum of two gradients; gradients of two calls of `backward()` add up, until
they are cleared; and where ways part and meet again, each operation waits for all that comes to it.
"""

import lampion


def main() -> dict[str, float]:
    found = {}
    x = lampion.tensor(2.0, requires_grad=True)
    y = lampion.tensor(3.0, requires_grad=True)
    (x**2 + y**2).backward()
    found["x of x^2 + y^2"], found["y of x^2 + y^2"] = x.grad.item(), y.grad.item()

    x.grad = None
    (x + x).backward()
    found["x of x + x"] = x.grad.item()
    (x + x + x).backward()  # not cleared before: added to what is there
    found["both together"] = x.grad.item()

    x.grad = None
    a = x**2
    z = a**2 + a**2  # the two ways part at a
    z.backward()
    found["z"], found["x of z"] = z.item(), x.grad.item()
    for name, value in found.items():
        print(f"{name}: {value:g}")
    return found


if __name__ == "__main__":
    main()
