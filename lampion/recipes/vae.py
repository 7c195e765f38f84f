"""VAE: digits as points of a plane, and a digit for each of its points.

    lampion train vae

fetches MNIST when it is first run, trains, and leaves weights, history, curves and four pictures in a folder
under runs/: test images beside what is left of them after the plane, what lies where on it (manifold.png),
where each test image comes to lie (plane.png), and digits made of random points.

The loss is the negative evidence lower bound of an image, in nats, pixels being the probabilities of ink.
(149.7 nats for a test image after `--epochs 4` with seed 0.)

Source: D. Kingma, M. Welling: "Auto-encoding variational Bayes" (ICLR 2014); Deep Learning from Scratch 3,
examples.
"""

import time
from typing import Any

import lampion
from lampion import Tensor, nn, viz
from lampion.datasets import MNIST
from lampion.nn.functional import binary_cross_entropy_with_logits
from lampion.optim import Adam
from lampion.optim.lr_scheduler import CosineAnnealingLR
from lampion.training import Checkpoint, ProgressBar, Run, Schedule, StepTrainer
from lampion.utils.data import DataLoader


class VAE(nn.Module):
    """An encoder that says where in the plane an image may lie, and a decoder that draws what lies there."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(64 * 7 * 7, 256), nn.ReLU(),
            nn.Linear(256, 4),  # two means, and the logarithms of two variances
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(2, 256), nn.ReLU(), nn.Linear(256, 64 * 7 * 7), nn.ReLU(),
            nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),  # (N, 1, 28, 28): scores of ink
        )  # fmt: skip

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The loss, and the two parts that it is the sum of: means over the images."""
        mean, log_variance = self.encoder(images).chunk(2, 1)
        point = mean + (log_variance / 2).exp() * lampion.randn_like(mean)
        missing = binary_cross_entropy_with_logits(self.decoder(point), images, reduction="sum")
        # From the normal distribution of the encoder to that with mean 0 and variance 1.
        divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2
        reconstruction, divergence = missing / len(images), divergence / len(images)
        return {"loss": reconstruction + divergence, "reconstruction": reconstruction,
                "divergence": divergence}  # fmt: skip

    def place(self, images: Tensor) -> Tensor:
        """Where images lie in the plane: (N, 2)."""
        return self.encoder(images).chunk(2, 1)[0]  # type: ignore[no-any-return]

    def draw(self, points: Tensor) -> Tensor:
        """The images that lie there: (N, 1, 28, 28), values from 0 to 1."""
        return self.decoder(points).sigmoid()  # type: ignore[no-any-return]


def prepare(
    epochs: int, batch_size: int, lr: float, device: str, compile: bool, out: Any = None
) -> tuple[StepTrainer, DataLoader, DataLoader]:
    """The trainer, the batches to learn from, and those to test on."""
    loader = DataLoader(MNIST(train=True), batch_size, shuffle=True, drop_last=True)
    model = VAE().to(device)
    optimizer = Adam(model.parameters(), lr=lr)

    def step(images: Tensor, _: Tensor) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = model(images)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        return losses

    trainer = StepTrainer(
        model, step, {"vae": optimizer}, evaluation=lambda images, _: model(images),
        callbacks=[Schedule(CosineAnnealingLR(optimizer, epochs)), ProgressBar(), Checkpoint(keep=1)],
        compile=compile, out=out,
    )  # fmt: skip
    return trainer, loader, DataLoader(MNIST(train=False), batch_size=1000)


def train(
    epochs: int = 20, batch_size: int = 100, lr: float = 1e-3, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("vae", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, loader, test = prepare(epochs, batch_size, lr, device, compile, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(loader, test, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    lampion.save(trainer.model.state_dict(), run / "model.safetensors")
    history.save(run / "history.csv")
    loss = history["validation_loss"][-1]
    viz.curves(history, run / "curves.png", f"vae, seed {seed}: {loss:.1f} nats for a test image")
    draw_pictures(trainer.model, test.dataset, run, seed)
    return run.finish(test_loss=loss, test_divergence=history["validation_divergence"][-1],
                      seconds=round(seconds, 3))  # fmt: skip


def draw_pictures(model: Any, test: Any, run: Run, seed: int) -> None:
    """Reconstructions, the plane with images and with points, and digits made of random points."""
    model.eval()
    images = test.images[:12]
    with lampion.no_grad():
        rows = {"original": images, "from the plane": model.draw(model.place(images))}
        points = model.place(test.images)
        noise = lampion.randn(64, 2, generator=lampion.Generator().manual_seed(seed))
        viz.image_grid(model.draw(noise), run / "generated.png", title=f"vae, seed {seed}: random points")
    viz.image_rows(rows, run / "reconstructions.png", title=f"vae, seed {seed}: test images")
    viz.manifold(model.draw, run / "manifold.png", title=f"vae, seed {seed}: what lies where on the plane")
    viz.scatter(points, test.labels, run / "plane.png", title=f"vae, seed {seed}: where test images lie")


if __name__ == "__main__":
    train()
