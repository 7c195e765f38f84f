"""Volume 3, step 54: dropout, which behaves differently when training and when testing.

See: while training about half of the ones are zeros, and the others are doubled, so that the mean stays;
after `eval()` nothing happens at all. No rescaling is left for later.
"""

import lampion
from lampion import nn


def main(count: int = 10_000) -> dict[str, float]:
    lampion.manual_seed(0)
    layer, x = nn.Dropout(0.5), lampion.ones(count)
    training = layer(x)
    layer.eval()
    testing = layer(x)
    found = {
        "zeros while training": (training == 0).float().mean().item(),
        "largest while training": training.max().item(),
        "mean while training": training.mean().item(),
        "changed while testing": (testing != x).sum().item(),
    }
    for name, value in found.items():
        print(f"{name}: {value:g}")
    return found


if __name__ == "__main__":
    main()
