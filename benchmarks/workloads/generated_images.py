"""What the recipes that make images are worth, in numbers: one seed, no setting changed.

A classifier, trained by the recipe `mnist`, looks at generated digits: how many it is sure about (more than
90%), whether all classes are there, and how far its second layer's answers to them are distributed from those
to test images (Fréchet's distance, as in "GANs trained by a two time-scale update rule", with this network in
place of Inception: comparable within this table alone). Test images themselves are the best that can be had.

MNIST is read from the folder that LAMPION_DATA names, or fetched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import lampion
from benchmarks.harness import Options, Target
from benchmarks.runs import trained
from lampion import Tensor

COUNT = 10_000  # generated digits
SURE = 0.9


def run(options: Options) -> dict[str, Any]:
    facts: dict[str, Any] = {"seed": 0, "generated digits": COUNT}
    targets: list[Target] = []
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for recipe in ("mnist", "vae") if options.quick else ("mnist", "vae", "gan", "wgan-gp"):
            options.say(f"generated-images: {recipe}")
            runs[recipe] = trained(recipe, 0, Path(folder) / recipe)
            facts[f"lampion train {recipe} --seed 0: epochs, seconds"] = (
                f"{runs[recipe]['epochs']}, {runs[recipe]['seconds']:.0f}"
            )
        facts |= judged({recipe: Path(folder) / recipe for recipe in runs})
        bound = runs["vae"]["test_loss"]
        facts["vae: negative evidence lower bound of a test image, nats"] = f"{bound:.2f}"
        targets.append(Target("vae: nats for a test image", bound, "<= 155"))
    return {"workload": "generated-images", "title": "generated digits, as a classifier sees them",
            "kind": "facts", "facts": facts, "targets": [target.record() for target in targets]}  # fmt: skip


def judged(folders: dict[str, Path]) -> dict[str, str]:
    """A line for the test images, and one for each recipe whose folder is given; one must be of `mnist`."""
    from lampion.datasets import MNIST
    from lampion.recipes import mnist

    classifier = mnist.network().eval()
    classifier.load_state_dict(lampion.load(folders["mnist"] / "model.safetensors"))
    real = seen(classifier, MNIST(train=False).images)
    facts = {"test images": described(real, real)}
    for recipe, folder in folders.items():
        if recipe != "mnist":
            facts[recipe] = described(seen(classifier, drawn(recipe, folder)), real)
    return facts


def drawn(recipe: str, folder: Path) -> Tensor:
    """Digits from random numbers, with values from 0 to 1."""
    from lampion.recipes import gan, vae, wgan_gp

    noise = lampion.Generator().manual_seed(0)
    if recipe == "vae":
        model: Any = vae.VAE()
        make: Callable[[Tensor], Tensor] = model.draw
        points = lampion.randn(COUNT, 2, generator=noise)
    else:
        model = (gan if recipe == "gan" else wgan_gp).networks()
        network = model["generator"]
        make = (lambda z: network(z) / 2 + 0.5) if recipe == "gan" else network
        points = lampion.randn(COUNT, gan.NOISE, generator=noise)
    model.load_state_dict(lampion.load(folder / "model.safetensors"))
    model.eval()
    with lampion.no_grad():
        return lampion.cat([make(part) for part in points.chunk(10)])


def seen(classifier: Any, images: Tensor) -> tuple[Any, Any]:
    """The probabilities of the classes, and what the second hidden layer answers: (N, 10), (N, 512)."""
    with lampion.no_grad():
        hidden = classifier[:-1](images)
        return classifier[-1](hidden).softmax(1).numpy(), hidden.numpy()


def described(found: tuple[Any, Any], real: tuple[Any, Any]) -> str:
    """A line about images: how many are surely digits, the rarest class, how far from the real ones."""
    probabilities, hidden = found
    sure = float((probabilities.max(1) > SURE).mean())
    shares = np.bincount(probabilities.argmax(1), minlength=10) / len(probabilities)
    rarest = int(shares.argmin())
    text = f"sure about {sure:.1%}; rarest class {rarest}: {shares[rarest]:.1%}"
    return text if found is real else f"{text}; Fréchet distance {frechet(hidden, real[1]):.1f}"


def frechet(a: Any, b: Any) -> float:
    """The distance of two sets of vectors, each taken to be distributed normally.

    |m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), with means m and covariances A, B.
    """
    gap = a.mean(0) - b.mean(0)
    first, second = (np.cov(x, rowvar=False, dtype=np.float64) for x in (a, b))
    root = matrix_root(first)
    middle = np.linalg.eigvalsh(root @ second @ root).clip(0)
    return float(gap @ gap + np.trace(first) + np.trace(second) - 2 * np.sqrt(middle).sum())


def matrix_root(matrix: Any) -> Any:
    """The square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
