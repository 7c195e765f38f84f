"""Volume 2, chapter 8: attention as a look-up that has a gradient: choose a little of everything.

See: which of the vectors to take is a choice, and a choice has no gradient; their mean, weighted by how
well each fits, has one. The weights are inner products through a softmax. In the picture, what is looked
for are noisy copies of what was read, backwards; `scaled_dot_product_attention` is the same in one call.
"""

from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import Tensor, viz


def attend(h: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
    """For each row of h, (T, H), the mean of the rows of read, (S, H), by how well they fit; the weights."""
    weights = (h @ read.T).softmax(1)  # (T, S)
    return weights @ read, weights


def main(out: str = "runs/examples", words: int = 6, width: int = 32) -> dict[str, object]:
    lampion.manual_seed(0)
    read = F.normalize(lampion.randn(words, width), dim=1) * 2.5
    h = (read.flip(0) + 0.3 * lampion.randn(words, width)).requires_grad_()
    found, weights = attend(h, read)
    expected = F.scaled_dot_product_attention(h[None], read[None], read[None], scale=1.0)[0]
    found.square().sum().backward()
    names = [f"word {number}" for number in range(1, words + 1)]
    Path(out).mkdir(parents=True, exist_ok=True)
    viz.attention(weights, names, names[::-1], Path(out) / "attention.png")
    print(f"difference to scaled_dot_product_attention: {(found - expected).abs().max().item():.1e}")
    print(f"the best fit of each: {(weights.argmax(1) + 1).tolist()}")
    return {
        "weights": weights.detach(), "found": found.detach(), "expected": expected.detach(),
        "gradient": h.grad,
    }  # fmt: skip


if __name__ == "__main__":
    main()
