"""Volume 1, chapter 7: a network of one convolution, checked, trained, and its filters looked at.

See: back-propagated gradients agree with numerical ones; about 97% of the test images are right after 15
epochs; and of the filters, noise before training, some have become edges and strokes.
"""

from pathlib import Path

import lampion
from lampion import nn, viz
from lampion.datasets import Digits
from lampion.optim import Adam
from lampion.testing import gradcheck
from lampion.training import Trainer
from lampion.training.metrics import Accuracy
from lampion.utils.data import DataLoader


def network(filters: int = 16, hidden: int = 50) -> nn.Module:
    """conv - relu - pool - linear - relu - linear, for pictures of 8 x 8 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # (N, filters, 4, 4)
        nn.Flatten(), nn.Linear(filters * 16, hidden), nn.ReLU(), nn.Linear(hidden, 10),
    )  # fmt: skip


def checked() -> bool:
    """Whether the gradients of a small network of this form are those of differences."""
    model = network(2, 3).double()
    images, labels = lampion.rand(2, 1, 8, 8, dtype=lampion.float64), lampion.tensor([3, 7])
    names = [name for name, _ in model.named_parameters()]

    def loss(*weights):
        scores = lampion.func.functional_call(model, dict(zip(names, weights, strict=True)), (images,))
        return nn.functional.cross_entropy(scores, labels)

    return bool(gradcheck(loss, tuple(p.detach().clone().requires_grad_() for p in model.parameters())))


def main(out: str = "runs/examples", epochs: int = 15) -> dict[str, object]:
    lampion.manual_seed(0)
    right = checked()
    print("the gradients are right" if right else "the gradients are WRONG")
    model = network()
    before = model[0].weight.detach().clone()
    trainer = Trainer(model, nn.CrossEntropyLoss(), Adam(model.parameters(), lr=3e-3), metrics=[Accuracy()])
    loader = DataLoader(Digits(train=True), 32, shuffle=True, drop_last=True)
    trainer.fit(loader, epochs=epochs)
    test = Digits(train=False)
    accuracy = trainer.evaluate(DataLoader(test, len(test)))["accuracy"]
    print(f"{accuracy:.1%} of the test images right")
    weights = {"before training": before, "after training": model[0].weight}
    viz.filters(weights, Path(out) / "convnet_filters.png", title="The 16 filters of the convolution")
    viz.feature_maps(model, test.images[3], Path(out) / "convnet_maps.png", layers=(nn.ReLU, nn.MaxPool2d))
    return {"right": right, "accuracy": accuracy, "moved": (model[0].weight - before).abs().mean().item()}


if __name__ == "__main__":
    main()
