"""The recipe, shortly: it runs, learns, and leaves what it should; and what training shows on the way."""

import csv
import io
import json
import re

import numpy as np
import pytest

import lampion
from lampion.errors import LampionError
from lampion.training import History, Progress, Run

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: the digits come with it")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    from lampion.recipes import digits

    return digits


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
def test_two_epochs_leave_all_files(compile, digits, tmp_path, capsys):
    metrics = digits.train(epochs=2, batch_size=64, seed=3, out=tmp_path / "run", compile=compile)
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} == {
        "settings.json", "metrics.json", "history.csv", "model.safetensors", "checkpoints",
        "curves.png", "misclassified.png",
    }  # fmt: skip
    saved = json.loads((folder / "metrics.json").read_text())
    assert saved == metrics and saved["seed"] == 3 and saved["epochs"] == 2 and saved["compile"] is compile
    assert saved["test_accuracy"] > 0.7 and 0 < saved["test_loss"] < 1.5 and saved["seconds"] > 0
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[1]["validation_accuracy"]) == saved["test_accuracy"]
    for name in ("curves.png", "misclassified.png"):
        assert (folder / name).read_bytes().startswith(PNG)

    model = digits.network().eval()
    model.load_state_dict(lampion.load(folder / "model.safetensors"))
    test = lampion.datasets.Digits(train=False)
    with lampion.no_grad():
        scores = model(test.images)
    assert lampion.nn.functional.cross_entropy(scores, test.labels).item() == pytest.approx(
        saved["test_loss"], rel=1e-5
    )
    assert (scores.argmax(1) == test.labels).double().mean().item() == saved["test_accuracy"]
    out, err = capsys.readouterr()
    assert f"test accuracy {saved['test_accuracy']:.2%}" in out and str(folder) in out
    assert "epoch 2/2" in err


def test_the_same_seed_gives_the_same_bits(digits, tmp_path):
    def weights(seed, name):
        digits.train(epochs=1, batch_size=256, seed=seed, out=tmp_path / name, compile=False)
        return (tmp_path / name / "model.safetensors").read_bytes()

    assert weights(0, "first") == weights(0, "second") != weights(1, "third")


def test_a_batch_larger_than_the_data_is_refused(digits, tmp_path):
    with pytest.raises(LampionError, match=r"(?s)nothing to train on.*a smaller batch_size"):
        digits.train(epochs=1, batch_size=2000, out=tmp_path, compile=False)


# -- what recipes are made of ------------------------------------------------------------------------------


def test_run_folders_are_new_and_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = Run("digits", 5), Run("digits", 5)
    assert first.folder != second.folder and first.folder.parent.name == "runs"
    assert re.fullmatch(r"digits-\d{8}-\d{6}-seed5", first.folder.name)
    assert Run("digits", 0, "here").folder.is_dir() and Run("digits", 0, tmp_path / "here").folder.is_dir()


def test_a_number_that_is_not_finite_is_null(tmp_path):
    run = Run("digits", 0, tmp_path)
    run.finish(test_accuracy=0.1, test_loss=float("nan"), seconds=1.0)
    assert json.loads((tmp_path / "metrics.json").read_text())["test_loss"] is None


def test_history(tmp_path):
    history = History()
    history.add(epoch=1, loss=0.5)
    history.add(epoch=2, loss=0.25)
    assert (
        len(history) == 2
        and history["loss"] == [0.5, 0.25]
        and list(history)[1] == {"epoch": 2, "loss": 0.25}
    )
    history.save(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_bytes() == b"epoch,loss\n1,0.5\n2,0.25\n"
    with pytest.raises(ValueError, match="expected the names"):
        history.add(epoch=3)


def drive(progress, epochs, batches):
    with progress:
        for _ in range(epochs):
            for i in range(batches):
                progress.update(10, loss=float(i), correct=9)
            progress.epoch()


def test_progress_prints_plain_lines_without_a_terminal():
    stream = io.StringIO()
    drive(Progress(25, 20, stream), 25, 2)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 9 and not any("\r" in line for line in lines)
    assert re.fullmatch(r"epoch  3/25  loss 0.5000  accuracy 90.0%  [\d,]+ samples/s  \d+ s left", lines[0])
    assert lines[-1].startswith("epoch 25/25")


def test_progress_draws_a_bar_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    drive(Progress(2, 20, stream), 2, 2)
    shown = stream.getvalue().split("\r")[-1]
    assert re.search(r"epoch 2/2 \|.*\| 100%, loss 0.5000, acc 90.0%, .* samples/s, 00:00 left", shown)


# -- pictures ------------------------------------------------------------------------------------------------


def test_pictures_of_extreme_cases(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    from lampion import viz

    images, labels = lampion.rand(30, 1, 8, 8), lampion.arange(30)
    right, wrong = lampion.from_numpy(np.eye(30)), lampion.from_numpy(np.eye(30)[::-1].copy())
    for name, scores in (("right", right), ("wrong", wrong)):
        viz.misclassified(images, labels, scores, tmp_path / f"{name}.png")
    one = History()
    one.add(epoch=1, loss=0.0, accuracy=1.0, test_loss=0.0, test_accuracy=1.0)
    viz.curves(one, tmp_path / "one.png")
    broken = History()
    for epoch in (1, 2):
        broken.add(epoch=epoch, loss=float("nan"), accuracy=0.1, test_loss=float("inf"), test_accuracy=0.1)
    viz.curves(broken, tmp_path / "broken.png", "diverged")
    assert all(path.read_bytes().startswith(PNG) for path in tmp_path.iterdir())


def test_pictures_are_the_same_bytes_each_time(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    from lampion import viz

    history = History()
    for epoch in range(1, 4):
        history.add(epoch=epoch, loss=1 / epoch, accuracy=0.5, test_loss=1 / epoch, test_accuracy=0.6)
    for name in ("a.png", "b.png"):
        viz.curves(history, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
