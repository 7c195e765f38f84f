"""The recipes of convolutions, on a few made-up images; real ones: benchmarks/results."""

import copy
import json
from collections import OrderedDict

import numpy as np
import pytest

import lampion
from lampion import nn
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

    whole = fashion.network()
    assert whole.eval()(lampion.zeros(1, 1, 28, 28)).shape == (1, 10) and len(whole.blocks) == 7

    def shorter():  # three of the seven blocks: what takes time here is to compile them
        model = fashion.network()
        model.blocks = nn.Sequential(*(model.blocks[i] for i in (0, 2, 4)))
        return model

    network = shorter()
    monkeypatch.setattr(fashion, "network", lambda: copy.deepcopy(network))
    metrics, left = run(fashion, "FashionMNIST", monkeypatch, tmp_path, epochs=1, batch_size=100)
    assert left == FILES and 0 <= metrics["test_accuracy"] <= 1
    weights = lampion.load(tmp_path / "model.safetensors")
    network.load_state_dict(weights)  # statistics of batch normalisation and all
    assert int(weights["stem.1.num_batches_tracked"]) == 4


def test_grad_cam(monkeypatch, tmp_path):
    from lampion.recipes import grad_cam

    whole = grad_cam.pages
    monkeypatch.setattr(grad_cam, "pages", lambda digits, count, seed: whole(digits, min(count, 200), seed))
    metrics, left = run(grad_cam, "MNIST", monkeypatch, tmp_path, epochs=1)
    assert left == FILES - {"filters.png", "misclassified.png"} | {"heat.png"}
    assert 0 <= metrics["heat_in_the_box"] <= 1


def test_pages_of_digits_and_scraps():
    from lampion.recipes import grad_cam

    digits = made_up()
    pages, labels, corners = grad_cam.pages(digits, 20, seed=0)
    assert pages.shape == (20, 1, 56, 56) and corners.shape == (20, 2)
    for page, label, (top, left) in zip(pages, labels, corners.tolist(), strict=True):
        box = page[0, top : top + 28, left : left + 28].numpy()
        y, x = 5 * (int(label) // 2) + 1, 4 + 14 * (int(label) % 2)
        assert (box[y : y + 5, x : x + 5] == 1).all()  # the digit lies above all scraps
    assert all(map(np.array_equal, grad_cam.pages(digits, 20, seed=0), (pages, labels, corners)))


def test_grad_cam_of_a_photograph(monkeypatch, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    from lampion.errors import LampionError
    from lampion.recipes import grad_cam

    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (300, 260, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    lampion.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=8), *[nn.Identity() for _ in range(28)], nn.ReLU())
    tiny = nn.Sequential(OrderedDict(features=layers, mean=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten()))
    monkeypatch.setattr(grad_cam.models, "vgg16", lambda weights: tiny)  # which takes seconds to draw
    metrics = grad_cam.train(image=str(tmp_path / "photo.png"), weights="drawn", out=str(tmp_path / "run"))
    assert (tmp_path / "run" / "heat.png").exists() and 0 <= metrics["label"] < 8
    with pytest.raises(LampionError, match="needs the weights of VGG-16"):
        grad_cam.train(image=str(tmp_path / "photo.png"), out=str(tmp_path / "other"))
