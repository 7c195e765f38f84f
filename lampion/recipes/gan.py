"""DCGAN: a network that draws digits, and one that tells them from real ones, learn from each other.

    lampion train gan

fetches MNIST when it is first run, trains both, and leaves weights, history, curves, a picture of 64 digits
for each epoch, and how they came about (by_epoch.png) in a folder under runs/. (After `--epochs 3` with seed
0, a classifier that is more than 90% sure about 92.6% of real digits is so about 55.7% of the generated ones;
all ten digits are among them.)

Source: A. Radford, L. Metz, S. Chintala: "Unsupervised representation learning with deep convolutional
generative adversarial networks" (ICLR 2016); Deep Learning from Scratch 3, examples.
"""

import time
from typing import Any

import lampion
from lampion import nn, viz
from lampion.datasets import MNIST
from lampion.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from lampion.optim import Adam
from lampion.training import Checkpoint, ImagesByEpoch, ProgressBar, Run, StepTrainer
from lampion.utils.data import DataLoader

NOISE = 64  # how many random numbers a digit is made of


def networks() -> nn.ModuleDict:
    """The generator makes images from noise, with values from -1 to 1; the discriminator's score is positive
    where it believes that an image is real.
    """
    generator = nn.Sequential(
        nn.Linear(NOISE, 64 * 7 * 7, bias=False), nn.Unflatten(1, (64, 7, 7)),
        nn.BatchNorm2d(64), nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1, bias=False),  # (N, 32, 14, 14)
        nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1), nn.Tanh(),  # (N, 1, 28, 28)
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(64), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 1),
    )  # fmt: skip
    for layer in (*generator, *discriminator):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
    return nn.ModuleDict({"generator": generator, "discriminator": discriminator})


def prepare(
    batch_size: int, lr: float, device: str, compile: bool, seed: int = 0, out: Any = None
) -> tuple[StepTrainer, DataLoader, Any]:
    """The trainer, the batches to learn from, and a function that draws digits."""
    loader = DataLoader(MNIST(train=True), batch_size, shuffle=True, drop_last=True)
    model = networks().to(device)
    generator, discriminator = model["generator"], model["discriminator"]
    optimizers = {name: Adam(part.parameters(), lr=lr, betas=(0.5, 0.999)) for name, part in model.items()}

    def step(images: lampion.Tensor, _: lampion.Tensor) -> dict[str, lampion.Tensor]:
        fake = generator(lampion.randn(len(images), NOISE, device=device))
        # The discriminator: 1 is the right answer to real images, 0 to those of the generator.
        real_score, fake_score = discriminator(2 * images - 1), discriminator(fake.detach())
        loss = (cross_entropy(real_score, lampion.ones_like(real_score))
                + cross_entropy(fake_score, lampion.zeros_like(fake_score)))  # fmt: skip
        optimizers["discriminator"].zero_grad()
        loss.backward()
        optimizers["discriminator"].step()
        # The generator: whatever makes the discriminator, as it is now, answer 1.
        score = discriminator(fake)
        deceit = cross_entropy(score, lampion.ones_like(score))
        optimizers["generator"].zero_grad()
        deceit.backward()
        optimizers["generator"].step()
        right = ((real_score > 0).float().mean() + (fake_score < 0).float().mean()) / 2
        return {"discriminator_loss": loss, "generator_loss": deceit, "discriminator_accuracy": right}

    noise = lampion.randn(64, NOISE, generator=lampion.Generator().manual_seed(seed)).to(device)
    pictures = ImagesByEpoch(lambda: generator(noise) / 2 + 0.5, f"gan, seed {seed}")
    callbacks = [ProgressBar(), pictures, Checkpoint(every=1, keep=1)]
    return StepTrainer(model, step, optimizers, callbacks=callbacks, compile=compile, out=out), loader, None


def train(
    epochs: int = 15, batch_size: int = 64, lr: float = 1e-3, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("gan", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, loader, _ = prepare(batch_size, lr, device, compile, seed, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(loader, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    lampion.save(trainer.model.state_dict(), run / "model.safetensors")
    history.save(run / "history.csv")
    panels = {"Losses": ["discriminator_loss", "generator_loss"],
              "Right answers": ["discriminator_accuracy"]}  # fmt: skip
    viz.curves(history, run / "curves.png", f"gan, seed {seed}", panels=panels)
    last = {name: history[name][-1] for names in panels.values() for name in names}
    return run.finish(**last, seconds=round(seconds, 3))


if __name__ == "__main__":
    train()
