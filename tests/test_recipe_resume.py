"""A recipe that was interrupted goes on where it was, with the settings that it began with."""

import json
import os

import pytest

from lampion import cli
from lampion.errors import LampionError
from lampion.training import ProgressBar, Run
from lampion.training.run import newest_run, read_settings


@pytest.fixture
def digits(tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: the digits come with it")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    from lampion.recipes import digits

    monkeypatch.chdir(tmp_path)
    for picture in ("curves", "misclassified"):  # which are not what this is about
        monkeypatch.setattr(digits.viz, picture, lambda *arguments: None)
    return digits


class Interrupted(ProgressBar):
    """Ctrl-C in the middle of the thirteenth epoch."""

    def on_step_end(self, trainer):
        super().on_step_end(trainer)
        if trainer.epoch == 12 and trainer.batch == 1:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_with_the_same_bits(digits, monkeypatch, capsys, tmp_path):
    options = ["--epochs", "14", "--batch-size", "700", "--seed", "5", "--lr", "0.004"]
    assert cli.main(["train", "digits", *options, "--out", "whole"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(digits, "ProgressBar", Interrupted)
        assert cli.main(["train", "digits", *options]) == 130
    (folder,) = (tmp_path / "runs").iterdir()
    err = capsys.readouterr().err
    line = f"lampion train digits --resume --out runs{os.sep}{folder.name}"
    assert f"lampion: interrupted\nto go on from its last checkpoint: {line}\n" in err
    assert not (folder / "metrics.json").exists()

    assert cli.main(["train", "digits", "--resume"]) == 0  # the newest run, with its settings
    captured = capsys.readouterr()
    assert "going on with" in captured.err and folder.name in captured.err
    assert "epoch 10/14" not in captured.err and "epoch 14/14" in captured.err
    whole = tmp_path / "whole"
    for name in ("model.safetensors", "history.csv", "settings.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = (json.loads((path / "metrics.json").read_text()) for path in (folder, whole))
    assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}

    # What is complete stays as it is; other settings would be another run.
    assert cli.main(["train", "digits", "--resume", "--out", str(folder)]) == 0
    assert (folder / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    capsys.readouterr()
    assert cli.main(["train", "digits", "--resume", "--epochs", "20", "--lr", "1"]) == 1
    err = capsys.readouterr().err
    assert "was begun with other settings" in err
    assert "expected: epochs 14, lr 0.004" in err and "got: epochs 20, lr 1.0" in err
    assert cli.main(["train", "digits", "--out", str(folder)]) == 1
    assert "holds the checkpoints of another run" in capsys.readouterr().err


def test_there_must_be_a_run_to_go_on_with(digits, capsys, tmp_path):
    def message(*options):
        assert cli.main(["train", "digits", "--resume", *options]) == 1
        return capsys.readouterr().err

    assert "there is no run of digits under" in message()
    assert "there is no run in elsewhere to go on with" in message("--out", "elsewhere")
    Run("spiral", 0, "other")
    assert "is of another recipe\n  expected: digits\n  got: spiral" in message("--out", "other")
    (tmp_path / "other" / "settings.json").write_text("[1, ")
    assert "does not hold a run's settings" in message("--out", "other")
    assert not (tmp_path / "runs").exists()


def test_the_newest_run_of_a_recipe(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    first, second, other = Run("digits", 1), Run("digits", 2), Run("digits-wide", 3)
    for age, run in enumerate((second, first, other)):
        os.utime(run / "settings.json", ns=(age, age))
    (tmp_path / "runs" / "digits-broken").mkdir()
    (tmp_path / "runs" / "digits-broken" / "settings.json").write_text("")
    assert newest_run("digits") == first.folder and newest_run("digits-wide") == other.folder
    assert read_settings(first.folder) == {"recipe": "digits", "seed": 1}


def test_a_run_that_wrote_no_checkpoint_may_begin_again(tmp_path):
    Run("digits", 1, tmp_path, epochs=3)
    Run("digits", 1, tmp_path, epochs=4)
    assert Run("digits", 1, tmp_path, resume=True, epochs=4).settings["epochs"] == 4
    with pytest.raises(LampionError, match="begun with other settings"):
        Run("digits", 2, tmp_path, resume=True, epochs=4)


def test_a_full_disk_loses_nothing_and_says_how_to_go_on(digits, monkeypatch, capsys):
    from lampion.training import checkpoint

    write, calls = checkpoint.write_folder, []

    def full(target, files):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        write(target, files)

    options = ["--epochs", "14", "--batch-size", "700", "--out", "here"]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_folder", full)
        assert cli.main(["train", "digits", *options]) == 1
    err = capsys.readouterr().err
    assert "No space left on device" in err
    assert "\nto go on from its last checkpoint: lampion train digits --resume --out here\n" in err
    assert cli.main(["train", "digits", "--resume", "--out", "here"]) == 0
