"""Three spiral arms, and the borders that a small network draws between them: 99.3% in a few seconds.

    lampion train spiral

trains it, and leaves weights, history, curves and a picture of the borders in a folder under runs/. (99.3%
is 298 of 300 test points, with each of the seeds 0-4; all three arms begin in one point, the centre, which
can be right for one of them only.)
"""

import time
from typing import Any

import lampion
from lampion import nn, viz
from lampion.datasets import Spiral
from lampion.optim import Adam
from lampion.optim.lr_scheduler import CosineAnnealingLR
from lampion.training import Checkpoint, ProgressBar, Run, Trainer
from lampion.training.metrics import Accuracy
from lampion.utils.data import DataLoader


def network() -> nn.Module:
    """A point of the plane goes in, a score for each arm comes out. Without tanh, borders are straight."""
    return nn.Sequential(
        nn.Linear(2, 32), nn.Tanh(),
        nn.Linear(32, 32), nn.Tanh(),
        nn.Linear(32, 3),
    )  # fmt: skip


def prepare(
    epochs: int, batch_size: int, lr: float, device: str, compile: bool, out: Any = None
) -> tuple[Trainer, DataLoader, DataLoader]:
    """The trainer, the batches to learn from, and all test points as one batch."""
    data, test = Spiral(train=True), Spiral(train=False)
    model = network().to(device)
    optimizer = Adam(model.parameters(), lr=lr)
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optimizer, metrics=[Accuracy()],
        scheduler=CosineAnnealingLR(optimizer, epochs),  # long steps first, ever shorter ones to the end
        callbacks=[ProgressBar(), Checkpoint(every=50)], compile=compile, out=out,
    )  # fmt: skip
    return trainer, DataLoader(data, batch_size, shuffle=True), DataLoader(test, batch_size=len(test))


def train(
    epochs: int = 200, batch_size: int = 30, lr: float = 1e-2, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("spiral", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, loader, test = prepare(epochs, batch_size, lr, device, compile, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(loader, test, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    lampion.save(trainer.model.state_dict(), run / "model.safetensors")
    history.save(run / "history.csv")
    accuracy, loss = history["validation_accuracy"][-1], history["validation_loss"][-1]
    viz.curves(history, run / "curves.png", f"spiral, seed {seed}: {accuracy:.1%} of the test points right")
    points, arms = next(iter(test))
    viz.decision_boundary(trainer.model, points, arms, run / "boundary.png", title="test points")
    return run.finish(test_accuracy=accuracy, test_loss=loss, seconds=round(seconds, 3))


if __name__ == "__main__":
    train()
