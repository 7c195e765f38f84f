"""Records of recipes' runs: the command, the settings and all digits of the history."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import runs
from lampion.training import History, Run


def test_a_record_holds_what_the_run_left(tmp_path: Path) -> None:
    run = Run("rnnlm", 3, tmp_path / "run", epochs=2, lr=4e-3)
    history = History()
    history.add(epoch=1, loss=1 / 3, lr=0.004)
    history.add(epoch=2, loss=float("nan"), lr=0.0)
    history.save(run / "history.csv")
    run.finish(test_perplexity=99.5, seconds=1.0)
    path = runs.keep(run.folder, tmp_path / "results")
    assert path == tmp_path / "results" / "runs" / "rnnlm-seed3.json"
    kept = json.loads(path.read_text())
    assert kept["command"] == "lampion train rnnlm --epochs 2 --lr 0.004 --seed 3"
    assert kept["history"] == {"epoch": [1, 2], "loss": [1 / 3, "nan"], "lr": [0.004, 0.0]}
    assert kept["metrics"]["test_perplexity"] == 99.5 and kept["settings"]["lr"] == 4e-3
    assert len(path.read_text().splitlines()) < 16


def test_a_record_names_the_options_of_the_recipe(tmp_path: Path) -> None:
    run = Run("addition", 1, tmp_path / "run", epochs=1, reverse=True, peeky=False, compile=True)
    history = History()
    history.add(epoch=1, loss=0.5)
    history.save(run / "history.csv")
    run.finish(test_accuracy=0.5, seconds=1.0)
    path = runs.keep(run.folder, tmp_path / "results")
    assert path.name == "addition-peeky-False-seed1.json"
    assert (
        json.loads(path.read_text())["command"]
        == "lampion train addition --epochs 1 --seed 1 --set peeky=False"
    )


def test_a_long_history_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    run = Run("rnnlm", 0, tmp_path / "run", epochs=125)
    history = History()
    for epoch in range(1, 126):
        history.add(epoch=epoch, loss=1 / epoch)
    history.save(run / "history.csv")
    run.finish(seconds=1.0)
    kept = json.loads(runs.keep(run.folder, tmp_path / "results").read_text())
    assert kept["history"]["epoch"] == [*range(1, 101), 110, 120, 125]
    assert kept["history"]["loss"][-1] == 1 / 125
