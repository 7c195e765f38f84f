"""Volume 1, chapter 4: how wrong is an answer? Squared error and cross-entropy.

See: both are small when the right class (2) has the largest probability, and large when another one has.
Cross-entropy looks only at the probability that the right class got.
"""

import lampion
import lampion.nn.functional as F

TARGET = 2
GOOD = lampion.tensor([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
BAD = lampion.tensor([0.1, 0.05, 0.1, 0.0, 0.05, 0.1, 0.0, 0.6, 0.0, 0.0])


def main() -> dict[str, float]:
    truth = F.one_hot(lampion.tensor(TARGET), 10).float()
    found = {}
    for name, guess in (("good", GOOD), ("bad", BAD)):
        found[f"squared error, {name}"] = 0.5 * F.mse_loss(guess, truth, reduction="sum").item()
        found[f"cross-entropy, {name}"] = -guess[TARGET].log().item()
    for name, value in found.items():
        print(f"{name} guess: {value:.4f}")
    return found


if __name__ == "__main__":
    main()
