"""Volume 1, chapter 2: logic gates from perceptrons, and XOR from three of them.

See: AND, NAND and OR are one perceptron each, with different numbers in it. No single perceptron is XOR,
since no straight line parts its answers; two layers are enough.
"""

import lampion
from lampion import Tensor

INPUTS = lampion.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def perceptron(x: Tensor, weights: list[float], bias: float) -> Tensor:
    """1 where the weighted inputs overcome the bias, else 0."""
    return (x @ lampion.tensor(weights) + bias > 0).float()


def and_gate(x: Tensor) -> Tensor:
    return perceptron(x, [0.5, 0.5], -0.7)


def nand_gate(x: Tensor) -> Tensor:
    return perceptron(x, [-0.5, -0.5], 0.7)


def or_gate(x: Tensor) -> Tensor:
    return perceptron(x, [0.5, 0.5], -0.2)


def xor_gate(x: Tensor) -> Tensor:
    """At least one, but not both: AND of what OR and NAND say."""
    return and_gate(lampion.stack([or_gate(x), nand_gate(x)], dim=1))


def main() -> dict[str, list[int]]:
    gates = {"AND": and_gate, "NAND": nand_gate, "OR": or_gate, "XOR": xor_gate}
    table = {name: gate(INPUTS).int().tolist() for name, gate in gates.items()}
    print("x1 x2  " + "  ".join(table))
    for row, (x1, x2) in enumerate(INPUTS.int().tolist()):
        print(
            f"{x1:2} {x2:2}  " + "  ".join(f"{answers[row]:{len(name)}}" for name, answers in table.items())
        )
    return table


if __name__ == "__main__":
    main()
