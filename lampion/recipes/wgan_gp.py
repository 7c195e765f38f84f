"""WGAN-GP: a generator of digits, and a critic that measures how far they are from real ones.

    lampion train wgan-gp

fetches MNIST when it is first run, trains both, and leaves weights, history, curves, a picture of 64 digits
for each epoch, and how they came about (by_epoch.png) in a folder under runs/.

The critic's scores may nowhere be steeper than 1: then the mean score of real images less that of generated
ones is, at its largest, the Wasserstein distance between the two. What is too steep is punished: the penalty
is made of the critic's gradient, and its own gradient is one of second order.

(With seed 0, the distance is 8.39 in the first epoch, and 2.68 in the third.)

Source: I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville: "Improved training of Wasserstein
GANs" (NeurIPS 2017).
"""

import time
from typing import Any

import lampion
from lampion import Tensor, nn, viz
from lampion.datasets import MNIST
from lampion.optim import Adam
from lampion.training import Checkpoint, ImagesByEpoch, ProgressBar, Run, StepTrainer
from lampion.utils.data import DataLoader

NOISE = 64  # how many random numbers a digit is made of
ROUNDS = 5  # updates of the critic to one of the generator
PENALTY = 10.0


def networks() -> nn.ModuleDict:
    """The generator makes images from noise. The critic has no batch normalisation: the penalty is about the
    score of each image by itself.
    """
    generator = nn.Sequential(
        nn.Linear(NOISE, 64 * 4 * 4), nn.ReLU(), nn.Unflatten(1, (64, 4, 4)),
        nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1), nn.ReLU(),  # (N, 32, 7, 7)
        nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU(),  # (N, 16, 14, 14)
        nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1), nn.Sigmoid(),  # (N, 1, 28, 28)
    )  # fmt: skip
    critic = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 5, stride=2, padding=2), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 5, stride=2, padding=2), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(64 * 4 * 4, 1),
    )  # fmt: skip
    return nn.ModuleDict({"generator": generator, "critic": critic})


def between(real: Tensor, fake: Tensor) -> Tensor:
    """Random points on the lines from real images to generated ones."""
    return real + lampion.rand(len(real), 1, 1, 1, device=real.device) * (fake - real)


def gradient_penalty(critic: nn.Module, images: Tensor) -> Tensor:
    """How far from 1 the slope of the critic's score is: the mean of the squares."""
    images = images.detach().requires_grad_()
    (slope,) = lampion.autograd.grad(critic(images).sum(), images, create_graph=True)
    assert slope is not None  # the score depends on the images
    return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()


def prepare(
    batch_size: int, lr: float, device: str, compile: bool, seed: int = 0, out: Any = None
) -> tuple[StepTrainer, DataLoader, Any]:
    """The trainer, and the batches to learn from: each holds the images of all rounds of the critic."""
    loader = DataLoader(MNIST(train=True), ROUNDS * batch_size, shuffle=True, drop_last=True)
    model = networks().to(device)
    generator, critic = model["generator"], model["critic"]
    optimizers = {name: Adam(part.parameters(), lr=lr, betas=(0.5, 0.9)) for name, part in model.items()}

    def draw() -> Tensor:
        return generator(lampion.randn(batch_size, NOISE, device=device))  # type: ignore[no-any-return]

    def step(images: Tensor, _: Tensor) -> dict[str, Tensor]:
        for real in images.chunk(ROUNDS):
            fake = draw().detach()
            distance = critic(real).mean() - critic(fake).mean()
            penalty = gradient_penalty(critic, between(real, fake))
            optimizers["critic"].zero_grad()
            (PENALTY * penalty - distance).backward()
            optimizers["critic"].step()
        optimizers["generator"].zero_grad()
        (-critic(draw()).mean()).backward()
        optimizers["generator"].step()
        return {"distance": distance, "penalty": penalty}  # of the last round

    noise = lampion.randn(64, NOISE, generator=lampion.Generator().manual_seed(seed)).to(device)
    pictures = ImagesByEpoch(lambda: generator(noise), f"wgan-gp, seed {seed}")
    callbacks = [ProgressBar(), pictures, Checkpoint(every=1, keep=1)]
    return StepTrainer(model, step, optimizers, callbacks=callbacks, compile=compile, out=out), loader, None


def train(
    epochs: int = 20, batch_size: int = 50, lr: float = 5e-4, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("wgan-gp", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, loader, _ = prepare(batch_size, lr, device, compile, seed, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(loader, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    lampion.save(trainer.model.state_dict(), run / "model.safetensors")
    history.save(run / "history.csv")
    panels = {"Distance of the generated digits": ["distance"], "Gradient penalty": ["penalty"]}
    viz.curves(history, run / "curves.png", f"wgan-gp, seed {seed}", panels=panels)
    last = {name: history[name][-1] for name in ("distance", "penalty")}
    return run.finish(**last, seconds=round(seconds, 3))


if __name__ == "__main__":
    train()
