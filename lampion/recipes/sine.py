"""A wave, point by point: from each point of a noisy sine, an LSTM foretells the next.

    lampion train sine

trains it, and leaves weights, history, curves and a picture of what it makes of a cosine in a folder under
runs/. Left alone, it does not go round: a step is smaller than the noise, so what it learned is where the
curve is, rather than where it goes. (Squared errors at epoch 100, with the seeds 0-2: 0.00133, 0.00147 and
0.00136; the noise alone makes 0.00083.)
"""

import time
from typing import Any

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, viz
from lampion.datasets import SinCurve
from lampion.optim import Adam
from lampion.optim.lr_scheduler import CosineAnnealingLR
from lampion.training import Checkpoint, ProgressBar, Run, Schedule, StepTrainer


class Wave(nn.Module):
    """The LSTM remembers what came before: its state is a buffer, so it is saved with the weights."""

    def __init__(self, rows: int, hidden: int = 100) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.output = nn.Linear(hidden, 1)
        self.register_buffer("h", lampion.zeros(1, rows, hidden))
        self.register_buffer("c", lampion.zeros(1, rows, hidden))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The points that follow those of x, (N, T, 1), and the state after them."""
        y, state = self.lstm(x, state)
        return self.output(y), state


def prepare(
    epochs: int, batch_size: int, lr: float, device: str, compile: bool, out: Any = None
) -> tuple[StepTrainer, list[Any], list[Any]]:
    """The trainer, the pieces to learn from, in order, and another curve to test on."""
    x, y = SinCurve(train=True).tensors
    length = len(x) // batch_size  # the curve, cut into rows that are read side by side
    x, y = (part[: batch_size * length].reshape(batch_size, length, 1) for part in (x, y))
    size = max(1, length // 11)  # how far gradients reach back
    pieces = [(x[:, t : t + size], y[:, t : t + size], lampion.tensor(float(t > 0)))
              for t in range(0, length - size + 1, size)]  # fmt: skip
    model = Wave(batch_size).to(device)
    optimizer = Adam(model.parameters(), lr=lr)
    rate = Schedule(CosineAnnealingLR(optimizer, epochs))

    def step(x: Tensor, y: Tensor, carried: Tensor) -> dict[str, Tensor]:
        """Truncated back-propagation: the state of the piece before is carried on, its history is not."""
        found, (h, c) = model(x, (model.h * carried, model.c * carried))
        loss = F.mse_loss(found, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.h.copy_(h.detach())
        model.c.copy_(c.detach())
        return {"loss": loss}

    def evaluation(x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"loss": F.mse_loss(model(x)[0], y)}

    trainer = StepTrainer(
        model, step, {"adam": optimizer}, evaluation=evaluation,
        callbacks=[rate, ProgressBar(), Checkpoint(every=10, keep=1)], compile=compile, out=out,
    )  # fmt: skip
    return trainer, pieces, [tuple(part.unsqueeze(0) for part in SinCurve(train=False).tensors)]


def train(
    epochs: int = 100, batch_size: int = 30, lr: float = 1.5e-2, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("sine", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, pieces, test = prepare(epochs, batch_size, lr, device, compile, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(pieces, test, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    lampion.save(trainer.model.state_dict(), run / "model.safetensors")
    history.save(run / "history.csv")
    loss, test_loss = history["loss"][-1], history["validation_loss"][-1]
    viz.curves(history, run / "curves.png", f"sine, seed {seed}: squared error of the next point")
    draw(trainer.model, test[0][0], run / "wave.png")
    return run.finish(loss=loss, test_loss=test_loss, seconds=round(seconds, 3))


@lampion.no_grad()
def draw(model: Wave, curve: Tensor, path: Any, seen: int = 300) -> None:
    """The curve (1, T, 1), each point of it foretold, and what the model goes on with alone after a while."""
    found, state = model(curve[:, :seen])
    alone = [found[:, -1:]]
    while len(alone) < curve.shape[1] - seen:
        point, state = model(alone[-1], state)
        alone.append(point)
    lines = {"cosine": curve, "next point": model(curve)[0], "alone": lampion.cat(alone, 1)}
    viz.series({name: line.flatten() for name, line in lines.items()}, path,
               "what follows each point of a cosine", starts={"next point": 1, "alone": seen})  # fmt: skip


if __name__ == "__main__":
    train()
