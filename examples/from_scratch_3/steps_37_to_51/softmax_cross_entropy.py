"""Volume 3, step 47: from scores to probabilities, and the loss of a classifier.

See: softmax makes of each row probabilities that add up to 1; cross-entropy is minus the logarithm of the
right one's. Its gradient is plain: the probabilities, less 1 at the right class, over the batch size.
"""

import lampion
import lampion.nn.functional as F


def main() -> dict[str, lampion.Tensor]:
    scores = lampion.tensor(
        [[0.2, -0.4, 1.0], [0.3, 0.5, 0.0], [1.3, -3.2, 1.0], [1e4, 0.3, 0.0]], requires_grad=True
    )
    target = lampion.tensor([2, 0, 1, 0])
    probabilities = F.softmax(scores, dim=1)  # (4, 3); of e^10000 too
    loss = F.cross_entropy(scores, target)
    by_hand = -probabilities[lampion.arange(4), target].log().mean()
    loss.backward()
    expected = (probabilities - F.one_hot(target, 3)) / 4
    print(f"{probabilities}\nloss {loss.item():.6f}, by hand {by_hand.item():.6f}\ngradient\n{scores.grad}")
    return {
        "probabilities": probabilities.detach(), "loss": loss.detach(), "by hand": by_hand.detach(),
        "gradient": scores.grad, "expected": expected.detach(),
    }  # fmt: skip


if __name__ == "__main__":
    main()
