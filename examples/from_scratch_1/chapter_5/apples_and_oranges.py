"""Volume 1, chapter 5: what two apples and three oranges cost, and what that depends on.

See: the shopping costs 715, and one pass backwards says by how much more if the price of an apple rises by
one (2.2), if there is one apple more (110), if an orange is dearer (3.3) or there is one more (165), and if
the tax doubles from 10% to 110% (650).
"""

import lampion


def main() -> dict[str, float]:
    names = ("apple price", "apples", "orange price", "oranges", "tax")
    values = [lampion.tensor(v, requires_grad=True) for v in (100.0, 2.0, 150.0, 3.0, 1.1)]
    apple, apples, orange, oranges, tax = values
    price = (apple * apples + orange * oranges) * tax
    price.backward()
    found = {"price": price.item()} | {name: x.grad.item() for name, x in zip(names, values, strict=True)}
    for name, value in found.items():
        print(f"{'' if name == 'price' else 'd price / d '}{name}: {value:.1f}")
    return found


if __name__ == "__main__":
    main()
