"""The command `lampion`: output, exit codes, and no tracebacks for the user's mistakes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lampion
from lampion import cli

ROOT = Path(lampion.__file__).parent.parent


def command(*arguments, **options):
    """Run `python -m lampion` as a user would."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run([sys.executable, "-W", "error", "-m", "lampion", *arguments], env=environment,
                          capture_output=True, text=True, timeout=120, check=False, **options)  # fmt: skip


def test_recipes_and_recipe(capsys):
    assert cli.main(["recipes"]) == 0
    assert re.search("^digits +Handwritten digits", capsys.readouterr().out, re.MULTILINE)
    assert {"digits", "mnist", "mnist-deep", "spiral"} <= set(cli.recipes())
    for name in cli.recipes():
        assert cli.main(["recipe", name]) == 0
        printed = capsys.readouterr().out
        assert printed == (ROOT / "lampion" / "recipes" / f"{name.replace('-', '_')}.py").read_text("utf-8")
        compile(printed, f"{name}.py", "exec")
        assert len(printed.splitlines()) < 170  # two pages at most to copy


def test_doctor(capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in (
        "lampion",
        "python",
        "numpy",
        "llvmlite",
        "processor",
        "threads",
        "cupy",
        "scikit-learn",
        "environment",
    ):
        assert f"\n{name}" in "\n" + out
    assert lampion.__version__ in out and "OPENBLAS_CORETYPE=Haswell" in out and "unset it" in out


def test_doctor_says_where_data_comes_from(capsys, monkeypatch, tmp_path):
    def said(folder):
        monkeypatch.setenv("LAMPION_DATA", folder)
        assert cli.main(["doctor"]) == 0
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("data "))

    monkeypatch.setenv("LAMPION_HOME", str(tmp_path / "home"))
    assert f"fetched into {tmp_path / 'home'}" in said("") and "is read first (it is empty)" in said(
        str(tmp_path)
    )
    (tmp_path / "mnist").mkdir()
    assert "is read first (mnist)" in said(str(tmp_path))
    assert "nowhere cannot be read (No such file or directory)" in said(str(tmp_path / "nowhere"))


def test_lines_are_broken_at_the_edge_of_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(type(cli.sys.stdout), "isatty", lambda stream: True)
    for command in ("doctor", "recipes"):
        assert cli.main([command]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith("             ") for line in lines)
        assert all(len(line) < 50 for line in lines if "/" not in line)  # a path is not broken


def test_doctor_says_what_is_missing(capsys, monkeypatch):
    find = cli.importlib.util.find_spec
    monkeypatch.setattr(
        cli.importlib.util, "find_spec", lambda name: find(name) if name not in ("llvmlite", "cupy") else None
    )
    monkeypatch.setenv("LAMPION_NUM_THREADS", "many")
    monkeypatch.setattr("lampion.compiler.runtime._threads", None)
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "not installed: compiled functions run through the interpreter" in out
    assert 'pip install ".[gpu]"' in out and "got 'many'" in out


def test_explain(capsys):
    assert cli.main(["explain", "spiral", "--batch-size", "7"]) == 0
    out = capsys.readouterr().out
    assert "recorded 1 time(s), 1 plan(s)" in out and "call-outs 0" in out and re.search("Matmul +7x32", out)
    assert cli.main(["explain", "spiral", "--batch-size", "300", "--graph", "--loops"]) == 0
    out = capsys.readouterr().out
    assert "# as recorded\ngraph(" in out and "# after the passes\ngraph(" in out and "f32[300, 32]" in out
    assert "for i in range(300):" in out and "recorded 1 time(s)" not in out


@pytest.mark.skipif(cli.importlib.util.find_spec("llvmlite") is None, reason="llvmlite is not installed")
def test_explain_down_to_machine_code(capsys):
    assert cli.main(["explain", "spiral", "--ir", "--assembly"]) == 0
    out = capsys.readouterr().out
    assert "define internal" in out and "\t.text" in out


def test_explain_where_there_is_no_machine_code():
    class Interpreted:
        native, reason = False, "for a test"

    with pytest.raises(cli.LampionError, match="no machine code: for a test"):
        cli._part(Interpreted(), "assembly")


def helped(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, "--help"])
    assert stop.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_help_of_a_recipe_shows_its_own_options(capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: recipes draw their curves")
    out = helped(capsys, "train", "addition")
    assert out.startswith("usage: lampion train addition [--epochs") and "Sums of two numbers" in out
    for text in ("over the data (default: 25)", "in a step (default: 128)", "(default: 0.004)"):
        assert text in out, out
    assert "reverse=yes (the default) or no; peeky=yes" in out and "where to compute (default: cpu)" in out
    out = helped(capsys, "train", "counts")
    assert "--set" in out and "window (default: 2); dimensions (default: 100)" in out and "--seed" in out
    assert not any(flag in out for flag in ("--epochs", "--lr", "--resume", "--device", "--no-compile"))
    assert "--set" not in helped(capsys, "train", "digits")
    out = helped(capsys, "explain", "addition", "--ir")
    assert "samples in the step (default: 128)" in out and "peeky" in out and "--epochs" not in out
    out = helped(capsys, "explain", "style-transfer")
    assert "--batch-size" not in out and "size (default: 256)" in out and "weights (default: none)" in out
    assert "no training step to explain" in helped(capsys, "explain", "counts")
    for name in ("train", "explain"):
        out = helped(capsys, name)
        assert "one of: addition" in out and f"lampion {name} RECIPE --help shows the options" in out


@pytest.mark.parametrize("name", cli.recipes())
def test_help_shows_exactly_the_options_that_train_takes(name, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: recipes draw their curves")
    module = cli.importlib.import_module(f"lampion.recipes.{name.replace('-', '_')}")
    taken, out = set(cli.inspect.signature(module.train).parameters), helped(capsys, "train", name)
    for option in cli._COMMON:
        flag = "--no-compile" if option == "compile" else f"--{option.replace('_', '-')}"
        assert (f"{flag} " in out or f"{flag}]" in out) == (option in taken), option
    assert all(option in out.partition("often: ")[2] for option in taken - set(cli._COMMON))


def test_a_run_without_a_checkpoint_begins_anew_and_says_so(capsys, tmp_path):
    options = cli._parser().parse_args(["train", "babi", "--resume", "--out", str(tmp_path)])
    (tmp_path / "settings.json").write_text('{"recipe": "babi", "seed": 3}')
    assert cli._settings_to_resume(options) == {"seed": 3, "out": str(tmp_path)}
    assert capsys.readouterr().err == f"{tmp_path}{os.sep} has no checkpoint yet: it begins anew\n"
    (tmp_path / "checkpoints" / "000020").mkdir(parents=True)
    cli._settings_to_resume(options)
    assert capsys.readouterr().err == f"going on with {tmp_path}{os.sep}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["train"], "the following arguments are required: RECIPE"),
        (["train", "nothing"], "invalid choice: 'nothing' (choose from"),
        (["recipe", "nothing"], "invalid choice"),
        (["explain", "nothing"], "invalid choice"),
        (["explain", "digits", "--batch-size", "0"], "--batch-size: expected a whole number"),
        (["train", "digits", "--epochs", "1.5"], "expected a whole number from 1 on, got '1.5'"),
        (["train", "digits", "--epochs", ""], "expected a whole number from 1 on, got ''"),
        (["train", "digits", "--lr", "inf"], "expected a positive number"),
        (["train", "digits", "--seed", str(2**63)], "--seed: expected a whole number from 0 to"),
        (["train", "digits", "--epochs", "0"], "--epochs: expected a whole number from 1 on, got 0"),
        (["train", "digits", "--epochs", "ten"], "expected a whole number from 1 on, got 'ten'"),
        (["train", "digits", "--batch-size", "-5"], "--batch-size: expected a whole number"),
        (["train", "digits", "--seed", "-1"], "--seed: expected a whole number from 0 to"),
        (["train", "digits", "--lr", "0"], "--lr: expected a positive number, got '0'"),
        (["train", "digits", "--lr", "nan"], "expected a positive number"),
        (["train", "digits", "--threads", "0"], "--threads: expected"),
        (["train", "digits", "--out", " "], "--out: expected the name of a folder, got ' '"),
    ],
)
def test_mistakes_on_the_command_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_mistakes_that_show_later(capsys, monkeypatch, tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: the digits come with it")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    (tmp_path / "file").write_text("")
    assert cli.main(["train", "digits", "--out", str(tmp_path / "file")]) == 1
    assert "file cannot be made: there is a file of that name" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("")
    assert cli.main(["train", "digits"]) == 1
    assert "the folder runs cannot be made: there is a file of that name" in capsys.readouterr().err
    assert cli.main(["train", "digits", "--batch-size", "5000", "--out", str(tmp_path / "new")]) == 1
    assert "nothing to train on" in capsys.readouterr().err
    assert cli.main(["train", "digits", "--device", "cuda", "--out", str(tmp_path / "new")]) == 1
    assert "there is no device 'cuda' yet" in capsys.readouterr().err
    monkeypatch.setenv("LAMPION_NUM_THREADS", "many")
    monkeypatch.setattr("lampion.compiler.runtime._threads", None)
    assert cli.main(["train", "digits"]) == 1
    assert "LAMPION_NUM_THREADS" in capsys.readouterr().err


def test_missing_extras_are_named_before_anything_runs(capsys, monkeypatch):
    find = cli.importlib.util.find_spec
    monkeypatch.setattr(
        cli.importlib.util, "find_spec", lambda name: None if name == "sklearn" else find(name)
    )
    assert cli.main(["train", "digits"]) == 1
    err = capsys.readouterr().err
    assert "recipes need scikit-learn, not installed" in err and 'pip install ".[recipes]"' in err


def test_options_reach_the_recipe(capsys, monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: the digits come with it")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    from lampion.recipes import digits

    seen = {}

    def train(epochs=1, batch_size=2, lr=3.0, seed=4, out=None, device="cpu", compile=True):
        seen.update(
            epochs=epochs, batch_size=batch_size, lr=lr, seed=seed, out=out, device=device, compile=compile
        )

    monkeypatch.setattr(digits, "train", train)
    before = lampion.get_num_threads()
    try:
        text = "train digits --epochs 7 --batch-size 8 --lr 0.5 --seed 9 --out x"
        text += " --no-compile --threads 3 --device cpu"
        assert cli.main(text.split()) == 0
        assert lampion.get_num_threads() == 3
    finally:
        lampion.set_num_threads(before)
    given = {
        "epochs": 7,
        "batch_size": 8,
        "lr": 0.5,
        "seed": 9,
        "out": "x",
        "device": "cpu",
        "compile": False,
    }
    assert seen == given
    seen.clear()
    assert cli.main(["train", "digits"]) == 0
    defaults = {"epochs": 1, "batch_size": 2, "lr": 3.0, "seed": 4, "out": None, "device": "cpu"}
    assert seen == {**defaults, "compile": True}
    monkeypatch.setattr(digits, "train", lambda epochs=1: None)
    assert cli.main(["train", "digits", "--lr", "1"]) == 1
    assert "the recipe digits has no option lr" in capsys.readouterr().err


def test_a_whole_training_from_the_command_line(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: the digits come with it")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    done = command("train", "digits", "--epochs", "1", "--no-compile", "--seed", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "metrics.json").read_text())["seed"] == 2
    assert "test accuracy" in done.stdout and "epoch 1/1" in done.stderr


def test_version_and_a_reader_that_leaves():
    assert command("--version").stdout.strip() == f"lampion {lampion.__version__}"
    if os.name == "nt":
        return
    line = f'"{sys.executable}" -m lampion recipe digits | head -1'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith('"""Handwritten digits') and done.stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="signals differ on Windows")
def test_ctrl_c_ends_cleanly(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: the digits come with it")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    process = subprocess.Popen(
        [sys.executable, "-m", "lampion", "train", "digits", "--epochs", "100000"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    # Not while modules are imported: interrupted inside of exec(), as namedtuple uses it, Python ends by the
    # signal itself, which shells show as 130 too.
    while not list(tmp_path.glob("runs/*/checkpoints/0*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "lampion: interrupted\nto go on from its last checkpoint: lampion train digits --resume" in err
    assert "Traceback" not in err
