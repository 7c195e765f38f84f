"""Volume 1, chapter 3: what a network of three layers answers, to one input and to a whole batch.

See: each layer is one matrix product, and the shapes along the way (2 -> 3 -> 2 -> 2) are all there is to
get right. A batch goes through the same three lines, and every row gets the answer that it gets alone.
"""

import lampion
import lampion.nn.functional as F
from lampion import Tensor

W1, B1 = lampion.tensor([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]), lampion.tensor([0.1, 0.2, 0.3])
W2, B2 = lampion.tensor([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]), lampion.tensor([0.1, 0.2])
W3, B3 = lampion.tensor([[0.1, 0.3], [0.2, 0.4]]), lampion.tensor([0.1, 0.2])


def forward(x: Tensor) -> Tensor:
    hidden = lampion.sigmoid(x @ W1 + B1)  # (..., 2) -> (..., 3)
    hidden = lampion.sigmoid(hidden @ W2 + B2)  # -> (..., 2)
    return hidden @ W3 + B3


def main() -> dict[str, Tensor]:
    one = forward(lampion.tensor([1.0, 0.5]))
    inputs = lampion.tensor([[1.0, 0.5], [0.0, 0.0], [-2.0, 3.0]])
    batch = forward(inputs)
    apart = lampion.stack([forward(x) for x in inputs])
    probabilities = F.softmax(lampion.tensor([0.3, 2.9, 4.0]), dim=0)
    print(f"one input: {one}\na batch of three:\n{batch}\nsoftmax of 0.3, 2.9, 4.0: {probabilities}")
    return {"one": one, "batch": batch, "apart": apart, "probabilities": probabilities}


if __name__ == "__main__":
    main()
