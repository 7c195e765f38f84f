"""The MNIST recipe, on a few made-up images; on the real ones it is measured in benchmarks/results."""

import json

import numpy as np
import pytest

from lampion import cli
from lampion.datasets.images import Images


@pytest.fixture
def mnist(monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    from lampion.recipes import mnist

    def made_up(train=True):
        """A bright square in one of ten places."""
        generator = np.random.default_rng(int(train))
        labels = generator.integers(0, 10, 600 if train else 300)
        pixels = generator.integers(0, 100, (len(labels), 1, 28, 28)).astype(np.uint8)
        for image, label in zip(pixels, labels, strict=True):
            image[0, 5 * (label // 5) : 5 * (label // 5) + 5, 5 * (label % 5) : 5 * (label % 5) + 5] = 255
        return Images(pixels, labels)

    monkeypatch.setattr(mnist, "MNIST", made_up)
    return mnist


def test_a_short_run(mnist, tmp_path):
    metrics = mnist.train(epochs=2, batch_size=50, out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "settings.json", "metrics.json", "history.csv", "model.safetensors", "checkpoints",
        "curves.png", "misclassified.png",
    }  # fmt: skip
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["test_accuracy"] > 0.9


def test_without_the_images_a_line_says_so(monkeypatch, capsys, tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
        (folder / name).write_bytes(b"not an image")
    monkeypatch.setenv("LAMPION_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "mnist"]) == 1
    err = capsys.readouterr().err
    assert (
        err.startswith("lampion: error: ") and "train-images-idx3-ubyte.gz" in err and "Traceback" not in err
    )
