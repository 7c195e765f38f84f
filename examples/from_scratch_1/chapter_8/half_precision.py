"""Volume 1, chapter 8: a trained network that answers with numbers of 16 bits.

See: half the memory, and the same answers but for a few images whose two best classes were as good as equal.
float16 has a step of 1/1000 and ends at 65,504; bfloat16 has float32's range, and steps of 1/128. A network
is trained in 32 bits, or in 16 with care (`lampion.amp`); to answer, 16 are enough. With the large network
of the chapter: `lampion train mnist-deep` writes both accuracies into its metrics.json.
"""

import copy

import lampion
from lampion import Tensor, nn
from lampion.datasets import Digits
from lampion.optim import Adam
from lampion.utils.data import DataLoader


def trained(epochs: int) -> nn.Module:
    """Two convolutions and a linear layer, for pictures of 8 x 8 pixels."""
    lampion.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    optimizer = Adam(model.parameters(), lr=3e-3)

    @lampion.compile
    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    for _ in range(epochs):
        for images, labels in DataLoader(Digits(train=True), 32, shuffle=True, drop_last=True):
            step(images, labels)
    return model.eval()


def main(epochs: int = 12) -> dict[str, dict[str, float]]:
    model, test = trained(epochs), Digits(train=False)
    found: dict[str, dict[str, float]] = {}
    with lampion.no_grad():
        exact = model(test.images)
        for dtype in (lampion.float32, lampion.float16, lampion.bfloat16):
            small = copy.deepcopy(model).to(dtype)
            scores = small(test.images.to(dtype))
            found[str(dtype)] = {
                "bytes": sum(p.numel() * p.element_size() for p in small.parameters()),
                "accuracy": (scores.argmax(1) == test.labels).double().mean().item(),
                "changed": int((scores.argmax(1) != exact.argmax(1)).sum()),
                "apart": (scores.float() - exact).abs().max().item(),
            }
    for name, row in found.items():
        print(f"{name:17} {row['bytes']:6,} bytes, {row['accuracy']:.2%} right, "
              f"{row['changed']} other answers, scores at most {row['apart']:.3f} apart")  # fmt: skip
    return found


if __name__ == "__main__":
    main()
