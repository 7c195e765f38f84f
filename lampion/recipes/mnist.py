"""MNIST: 70,000 handwritten digits, 28 x 28 pixels; a network of two hidden layers, 98.6% in half a minute.

    lampion train mnist

fetches the images when it is first run (or reads them from the folder that LAMPION_DATA names), trains,
and leaves weights, history, curves and the mistakes in a folder under runs/. (98.6% is the median of seeds
0-2 on the 10,000 test images: 98.65%, 98.64%, 98.58%.)
"""

import time
from typing import Any

import lampion
from lampion import nn, viz
from lampion.datasets import MNIST
from lampion.optim import Adam
from lampion.optim.lr_scheduler import CosineAnnealingLR
from lampion.training import Checkpoint, ProgressBar, Run, Trainer
from lampion.training.metrics import Accuracy
from lampion.utils.data import DataLoader


def network() -> nn.Module:
    """Two hidden layers. Each dropout hides a part, so that no pixel and no unit is relied on too much."""
    return nn.Sequential(
        nn.Flatten(),  # (N, 1, 28, 28) -> (N, 784)
        nn.Dropout(0.1), nn.Linear(784, 512), nn.ReLU(),
        nn.Dropout(0.3), nn.Linear(512, 512), nn.ReLU(),
        nn.Dropout(0.3), nn.Linear(512, 10),
    )  # fmt: skip


def prepare(
    epochs: int, batch_size: int, lr: float, device: str, compile: bool, out: Any = None
) -> tuple[Trainer, DataLoader, DataLoader]:
    """The trainer, the batches to learn from, and those to test on."""
    data, test = MNIST(train=True), MNIST(train=False)
    # Batches of one size, so that the step is compiled once: each epoch leaves out a few other images.
    loader = DataLoader(data, batch_size, shuffle=True, drop_last=True)
    model = network().to(device)
    optimizer = Adam(model.parameters(), lr=lr)
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optimizer, metrics=[Accuracy()],
        scheduler=CosineAnnealingLR(optimizer, epochs),  # long steps first, ever shorter ones to the end
        callbacks=[ProgressBar(), Checkpoint(every=1, keep=1)], compile=compile, out=out,
    )  # fmt: skip
    return trainer, loader, DataLoader(test, batch_size=1000)


def train(
    epochs: int = 10, batch_size: int = 128, lr: float = 2e-3, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("mnist", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, loader, test = prepare(epochs, batch_size, lr, device, compile, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(loader, test, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    lampion.save(trainer.model.state_dict(), run / "model.safetensors")
    history.save(run / "history.csv")
    accuracy, loss = history["validation_accuracy"][-1], history["validation_loss"][-1]
    title = f"mnist, seed {seed}: {accuracy:.2%} of the test images right (training: with dropout)"
    viz.curves(history, run / "curves.png", title)
    pictures = test.dataset
    viz.misclassified(pictures.images, pictures.labels, trainer.predict(test), run / "misclassified.png")
    return run.finish(test_accuracy=accuracy, test_loss=loss, seconds=round(seconds, 3))


if __name__ == "__main__":
    train()
