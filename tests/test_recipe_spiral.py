"""The spiral: above 98% on points that were not learned from, and a picture of the borders."""

import json
import statistics

import pytest

import lampion

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def spiral():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    from lampion.recipes import spiral

    return spiral


def test_a_whole_run(spiral, tmp_path):
    metrics = spiral.train(out=tmp_path / "run")
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} == {
        "settings.json", "metrics.json", "history.csv", "model.safetensors", "checkpoints",
        "curves.png", "boundary.png",
    }  # fmt: skip
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["test_accuracy"] >= 0.98 and metrics["epochs"] == 200
    for name in ("curves.png", "boundary.png"):
        assert (folder / name).read_bytes().startswith(PNG)
    # The weights are those that were measured, on points that were not learned from.
    model = spiral.network()
    model.load_state_dict(lampion.load(folder / "model.safetensors"))
    test = lampion.datasets.Spiral(train=False)
    with lampion.no_grad():
        right = (model(test.points).argmax(1) == test.labels).double().mean().item()
    assert right == metrics["test_accuracy"]


def test_the_median_of_three_seeds(spiral, tmp_path):
    found = []
    for seed in (1, 2, 3):
        lampion.manual_seed(seed)
        trainer, batches, test = spiral.prepare(100, 30, 1e-2, "cpu", True)
        trainer.callbacks = []
        trainer.fit(batches, epochs=100)
        found.append(trainer.evaluate(test)["accuracy"])
    assert statistics.median(found) >= 0.98, found
