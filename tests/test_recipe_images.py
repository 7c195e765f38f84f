"""The recipes of convolutions, on a few made-up images; on real ones they are measured in benchmarks/results."""

import json

import numpy as np
import pytest

import lampion
from lampion.datasets.images import Images

FILES = {
    "settings.json", "metrics.json", "history.csv", "model.safetensors", "checkpoints", "curves.png",
    "filters.png", "misclassified.png",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _pictures():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")


def made_up(train=True, count=400):
    """A bright square in one of ten places: right of the middle line, or left of it."""
    generator = np.random.default_rng(int(train))
    labels = generator.integers(0, 10, count if train else 100)
    pixels = generator.integers(0, 60, (len(labels), 1, 28, 28)).astype(np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        top, left = 5 * (label // 2) + 1, 4 + 14 * (label % 2)
        image[0, top : top + 5, left : left + 5] = 255
    data = Images(pixels, labels)
    data.classes = tuple("0123456789")
    return data


def run(recipe, name, monkeypatch, folder, **options):
    monkeypatch.setattr(recipe, name, made_up)
    metrics = recipe.train(out=folder, **options)
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    return metrics, {path.name for path in folder.iterdir()}


def test_mnist_cnn(monkeypatch, tmp_path):
    from lampion.recipes import mnist_cnn

    metrics, left = run(mnist_cnn, "MNIST", monkeypatch, tmp_path, epochs=6, batch_size=50)
    assert left == FILES | {"feature_maps.png"}
    assert metrics["test_accuracy"] > 0.8 and metrics["recipe"] == "mnist-cnn"
    model = lampion.vision.models.SimpleConvNet()
    model.load_state_dict(lampion.load(tmp_path / "model.safetensors"))
    with lampion.no_grad():
        data = made_up(train=False)
        right = (model(data.images).argmax(1) == data.labels).double().mean().item()
    assert right == metrics["test_accuracy"]  # the weights are those that were measured


def test_mnist_deep_and_its_16_bits(monkeypatch, tmp_path):
    from lampion.recipes import mnist_deep

    metrics, left = run(mnist_deep, "MNIST", monkeypatch, tmp_path, epochs=1, batch_size=50)
    halves = {"model-float16.safetensors", "model-bfloat16.safetensors"}
    assert left == FILES | halves | {"feature_maps.png"}
    for kind in ("float16", "bfloat16"):
        assert abs(metrics[f"test_accuracy_{kind}"] - metrics["test_accuracy"]) <= 0.03
        saved = lampion.load(tmp_path / f"model-{kind}.safetensors")
        assert {str(tensor.dtype).split(".")[-1] for tensor in saved.values()} == {kind}


def test_fashion(monkeypatch, tmp_path):
    from lampion.recipes import fashion

    metrics, left = run(fashion, "FashionMNIST", monkeypatch, tmp_path, epochs=1, batch_size=100)
    assert left == FILES and 0 <= metrics["test_accuracy"] <= 1
    weights = lampion.load(tmp_path / "model.safetensors")
    fashion.network().load_state_dict(weights)  # statistics of batch normalisation and all
    assert int(weights["stem.1.num_batches_tracked"]) == 4
