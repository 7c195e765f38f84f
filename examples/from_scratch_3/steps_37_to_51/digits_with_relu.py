"""Volume 3, step 51: handwritten digits, with sigmoid and SGD, and with ReLU and Adam.

See: the same loop as for the spiral; the second network is far ahead after the same few epochs.
"""

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim
from lampion.datasets import Digits
from lampion.utils.data import DataLoader


def train(activation: nn.Module, make_optimizer, epochs: int) -> float:
    """Accuracy on the test images."""
    lampion.manual_seed(0)
    learn, test = Digits(train=True), Digits(train=False)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 100), activation, nn.Linear(100, 10))
    optimizer = make_optimizer(model.parameters())

    @lampion.compile
    def step(x: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), target).backward()
        optimizer.step()

    for _ in range(epochs):
        for x, target in DataLoader(learn, batch_size=100, shuffle=True, drop_last=True):
            step(x, target)
    with lampion.no_grad():
        return (model(test.images).argmax(1) == test.labels).float().mean().item()


def main(epochs: int = 5) -> dict[str, float]:
    found = {
        "sigmoid, SGD": train(nn.Sigmoid(), lambda p: optim.SGD(p, lr=0.01), epochs),
        "ReLU, Adam": train(nn.ReLU(), lambda p: optim.Adam(p, lr=0.005), epochs),
    }
    for name, accuracy in found.items():
        print(f"{name}: {accuracy:.1%} of the test images right")
    return found


if __name__ == "__main__":
    main()
