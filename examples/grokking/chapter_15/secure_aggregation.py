"""Grokking, chapter 15: people teach a filter for spam together, and nobody sees another's letters.

See: each person trains a copy of the model on letters of their own, and sends back only how the weights
changed. Even that could give a letter away; so each two people agree on random numbers, which one adds and
the other subtracts. What arrives from one person looks like noise, but the sum is what it would be without.
"""

import random

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim

SPAM = ["win", "money", "now", "free", "prize", "click", "offer", "cheap", "pills", "cash"]
HAM = ["meeting", "tomorrow", "lunch", "report", "project", "thanks", "family", "dinner", "school", "notes"]
BOTH = ["the", "a", "you", "is", "for", "we", "it", "this", "hello", "dear", "please", "today"]
WORDS = [*SPAM, *HAM, *BOTH]


def letters(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Made-up letters, as which words they have, (N, words), and whether they are spam."""
    chance = random.Random(seed)
    rows, labels = [], []
    for _ in range(count):
        spam = chance.random() < 0.5
        usual, unusual = (SPAM, HAM) if spam else (HAM, SPAM)
        words = {*chance.choices(BOTH, k=6), *chance.choices(usual, k=3)}
        if chance.random() < 0.2:  # nobody writes as expected all the time
            words.add(chance.choice(unusual))
        rows.append([float(word in words) for word in WORDS])
        labels.append(float(spam))
    return lampion.tensor(rows), lampion.tensor(labels)


def learned_at_home(weights: dict[str, Tensor], x: Tensor, y: Tensor, steps: int = 5) -> dict[str, Tensor]:
    """How the weights change on one person's letters."""
    model = nn.Linear(len(WORDS), 1)
    model.load_state_dict(weights)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x)[:, 0], y).backward()
        optimizer.step()
    return {name: value - weights[name] for name, value in model.state_dict().items()}


def masks(people: int, shape: tuple[int, ...]) -> list[Tensor]:
    """For each person a tensor of random numbers, which together are nothing.

    They are whole multiples of 2**-8, so that float64 adds them without rounding.
    """
    found = [lampion.zeros(shape, dtype=lampion.float64) for _ in range(people)]
    for one in range(people):
        for other in range(one):
            common = lampion.randint(-(2**20), 2**20, shape) / 256.0  # known to these two
            found[one] = found[one] + common
            found[other] = found[other] - common
    return found


def main(people: int = 4, rounds: int = 15) -> dict[str, float]:
    lampion.manual_seed(0)
    homes = [letters(60, seed) for seed in range(people)]
    x, y = letters(500, seed=99)
    weights = {"weight": lampion.zeros(1, len(WORDS)), "bias": lampion.zeros(1)}
    seen, difference = 0.0, 0.0
    for _ in range(rounds):
        changes = [learned_at_home(weights, *home) for home in homes]
        for name, old in weights.items():
            plain = lampion.stack([change[name].double() for change in changes])
            sent = plain + lampion.stack(masks(people, old.shape))  # all that whoever adds up ever sees
            total = sent.sum(0)
            difference = max(difference, (total - plain.sum(0)).abs().max().item())
            seen = max(seen, sent[0].abs().max().item())
            weights[name] = (old + total / people).float()
    scores = x @ weights["weight"][0] + weights["bias"]
    accuracy = ((scores > 0) == (y > 0.5)).float().mean().item()
    print(f"{accuracy:.1%} of other letters right, without anybody's letters having left their home")
    print(f"numbers of one person as sent: up to {seen:.0f}; the sums differ by {difference:.1e}")
    return {"accuracy": accuracy, "seen": seen, "difference": difference}


if __name__ == "__main__":
    main()
