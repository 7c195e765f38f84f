"""Fashion-MNIST: 70,000 pictures of clothes, 28 x 28 pixels; a residual network of seven blocks.

    lampion train fashion

fetches the pictures when it is first run (or reads them from the folder that LAMPION_DATA names, under
fashionmnist/), trains, and leaves weights, history, curves, filters and the mistakes in a folder under runs/.
"""

import time
from collections import OrderedDict
from typing import Any

import lampion
from lampion import nn, viz
from lampion.datasets import FashionMNIST
from lampion.optim import SGD
from lampion.optim.lr_scheduler import OneCycleLR
from lampion.training import Checkpoint, ProgressBar, Run, Trainer
from lampion.training.metrics import Accuracy
from lampion.utils.data import DataLoader
from lampion.vision import RandomWarp
from lampion.vision.models.resnet import BasicBlock


def halved(before: int, after: int) -> BasicBlock:
    """A block whose output has half the height and width, and more channels."""
    shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after))
    return BasicBlock(before, after, 2, shortcut)


def network() -> nn.Module:
    """A ResNet for small pictures. A shoe may look either way: half of them are mirrored in training."""
    return nn.Sequential(OrderedDict(
        warp=RandomWarp(translate=0.07, scale=0.07, flip=0.5),
        stem=nn.Sequential(nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        blocks=nn.Sequential(
            BasicBlock(32, 32), BasicBlock(32, 32),  # 28 x 28
            halved(32, 64), BasicBlock(64, 64),  # 14 x 14
            halved(64, 128), BasicBlock(128, 128), BasicBlock(128, 128),  # 7 x 7
        ),
        head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)),
    ))  # fmt: skip


def prepare(
    epochs: int, batch_size: int, lr: float, device: str, compile: bool, out: Any = None
) -> tuple[Trainer, DataLoader, DataLoader]:
    """The trainer, the batches to learn from, and those to test on."""
    data, test = FashionMNIST(train=True), FashionMNIST(train=False)
    loader = DataLoader(data, batch_size, shuffle=True, drop_last=True)
    model = network().to(device)
    optimizer = SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    # Short steps, then long ones, then ever shorter ones to the end.
    rates = OneCycleLR(optimizer, lr, epochs * len(loader), pct_start=0.2, cycle_momentum=False)
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optimizer, metrics=[Accuracy()], scheduler=rates,
        callbacks=[ProgressBar(), Checkpoint(every=1, keep=1)], compile=compile, out=out,
    )  # fmt: skip
    return trainer, loader, DataLoader(test, batch_size=500)


def train(
    epochs: int = 20, batch_size: int = 128, lr: float = 0.1, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("fashion", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, loader, test = prepare(epochs, batch_size, lr, device, compile, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(loader, test, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    lampion.save(trainer.model.state_dict(), run / "model.safetensors")
    history.save(run / "history.csv")
    accuracy, loss = history["validation_accuracy"][-1], history["validation_loss"][-1]
    viz.curves(history, run / "curves.png", f"fashion, seed {seed}: {accuracy:.2%} of the test images right")
    data = test.dataset
    viz.filters(trainer.model.stem[0].weight, run / "filters.png", title="Filters of the first layer")
    scores = trainer.predict(test)
    viz.misclassified(data.images, data.labels, scores, run / "misclassified.png", data.classes)
    return run.finish(test_accuracy=accuracy, test_loss=loss, seconds=round(seconds, 3))


if __name__ == "__main__":
    train()
