"""Early stopping, loggers, the bar, the search for a rate, and the table of layers."""

import csv
import io
import math
import subprocess
import sys
from pathlib import Path

import pytest
from training_world import bits, loader, network, trainer

import lampion as lp
from lampion.errors import LampionError, OptionError
from lampion.training import (
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    ProgressBar,
    TensorBoardLogger,
    find_lr,
    summary,
)

ROOT = Path(__file__).resolve().parent.parent


def losses(values):
    """Writes these into the rows, as if they had been measured."""
    found = iter(values)
    return LambdaCallback(on_epoch_end=lambda t: t.row.update(loss=next(found)))


# -- early stopping --------------------------------------------------------------------------------------


def test_early_stopping_ends_with_the_best_weights():
    seen = []
    made = trainer(callbacks=[
        losses([3.0, 1.0, 2.0, math.nan, 1.0, 0.5]), EarlyStopping(patience=2),
        LambdaCallback(on_epoch_end=lambda t: seen.append(t.model[0].weight.tolist())),
    ])  # fmt: skip
    made.fit(loader(), epochs=9)
    stopping = made.callbacks[1]
    assert made.epoch == 5 and stopping.best == 1.0 and stopping.best_epoch == 2
    assert made.model[0].weight.tolist() == seen[1] != seen[4]


def test_early_stopping_may_leave_the_last_weights():
    made = trainer(callbacks=[losses([1.0, 2.0, 3.0]), EarlyStopping(patience=0, restore_best=False)])
    made.fit(loader(), epochs=9)
    other = trainer()
    other.fit(loader(), epochs=2)
    assert made.epoch == 2 and made.model[0].weight.tolist() == other.model[0].weight.tolist()


def test_what_is_monitored():
    made = trainer(callbacks=[EarlyStopping("validation_accuracy")])
    with pytest.raises(OptionError, match=r"(?s)no column 'validation_accuracy'.*pass validation data"):
        made.fit(loader(), epochs=1)
    assert EarlyStopping("validation_accuracy").mode == "max" and EarlyStopping().mode == "min"
    with pytest.raises(OptionError, match="no such mode"):
        EarlyStopping(mode="sideways")
    with pytest.raises(OptionError, match="not negative"):
        EarlyStopping(patience=-1)


# -- logs ------------------------------------------------------------------------------------------------


def test_csv_goes_on_where_the_run_does(tmp_path):
    def run(epochs, resume=False):
        made = trainer(out=tmp_path, callbacks=[CSVLogger(), Checkpoint()])
        return made.fit(loader(), loader(8), epochs=epochs, resume=resume)

    run(2)
    history = run(4, resume=True)
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "lr"]
    assert [float(row["loss"]) for row in rows] == history["loss"]
    with pytest.raises(OptionError, match="no folder to write to"):
        trainer(callbacks=[CSVLogger()]).fit(loader(), epochs=1)


class Writer:
    """Stands in for tensorboardX's."""

    made: list = []  # noqa: RUF012  # of all

    def __init__(self, folder, purge_step=None):
        self.folder, self.purge_step, self.points, self.closed = folder, purge_step, [], False
        Writer.made.append(self)

    def add_scalar(self, tag, value, step):
        self.points.append((tag, value, step))

    def flush(self):
        pass

    def close(self):
        self.closed = True


def test_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", type(sys)("tensorboardX"))
    sys.modules["tensorboardX"].SummaryWriter = Writer
    Writer.made.clear()
    for epochs in (1, 2):
        made = trainer(out=tmp_path, callbacks=[TensorBoardLogger(every_steps=4), Checkpoint()])
        made.fit(loader(), loader(8), epochs=epochs, resume=True)
    first, second = Writer.made
    assert first.folder == str(tmp_path / "tensorboard") and first.closed and first.purge_step is None
    assert second.purge_step == 7
    assert {tag for tag, *_ in first.points} == {
        "step/loss", "training/loss", "training/accuracy", "training/lr", "validation/loss",
        "validation/accuracy",
    }  # fmt: skip
    assert [step for tag, _, step in second.points if tag == "training/loss"] == [12]
    assert [step for tag, _, step in second.points if tag == "step/loss"] == [8, 12]


def test_the_real_tensorboard_writer(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    trainer(out=tmp_path, callbacks=[TensorBoardLogger()]).fit(loader(), epochs=1)
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert b"training/loss" in file.read_bytes()


def test_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(LampionError, match=r"(?s)tensorboardX is not installed.*pip install"):
        trainer(out=tmp_path, callbacks=[TensorBoardLogger()]).fit(loader(), epochs=1)


def test_the_bar_shows_what_was_measured(tmp_path):
    stream = io.StringIO()
    trainer(out=tmp_path, callbacks=[ProgressBar(stream), Checkpoint()]).fit(loader(), loader(8), epochs=2)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and lines[0].startswith("epoch 1/2  loss ")
    for word in (" accuracy ", " validation loss ", " validation accuracy ", " samples/s"):
        assert word in lines[0]
    stream = io.StringIO()
    trainer(out=tmp_path, callbacks=[ProgressBar(stream), Checkpoint()]).fit(
        loader(), loader(8), epochs=3, resume=True
    )
    assert [line[:9] for line in stream.getvalue().splitlines()] == ["epoch 3/3"]


def test_the_bar_on_a_terminal_shows_the_accuracy_so_far():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    history = trainer(callbacks=[ProgressBar(stream)]).fit(loader(), epochs=2)
    assert f"acc {history['accuracy'][-1]:.1%}" in stream.getvalue().split("\r")[-1]


# -- the search for a learning rate ----------------------------------------------------------------------


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
def test_the_search_leaves_no_trace(compile):
    def run(search):
        made = trainer(compile=compile, schedule=lambda opt: lp.optim.lr_scheduler.ExponentialLR(opt, 0.9))
        batches = loader(generator=lp.Generator().manual_seed(3))
        made.fit(batches, epochs=1)
        if search:
            made.model[0].eval()
            before = bits(made), [p.grad.tolist() for p in made.model.parameters()]
            found = find_lr(made, batches, highest=100.0, updates=40)
            assert (bits(made), [p.grad.tolist() for p in made.model.parameters()]) == before
            assert not made.model[0].training and made.model[1].training
            assert len(found.rates) == len(found.losses) >= 3 and found.suggestion in found.rates
            made.model[0].train()
        made.fit(batches, epochs=2)
        return bits(made)

    assert run(True) == run(False)


def test_the_search_finds_where_the_loss_falls():
    x = lp.linspace(-1, 1, 32).unsqueeze(1)
    model = lp.nn.Linear(1, 1)
    made = lp.training.Trainer(
        model, lp.nn.MSELoss(), lp.optim.SGD(model.parameters(), lr=1.0), compile=False
    )
    found = find_lr(made, [(x, 4 * x + 1)], lowest=1e-4, highest=100.0)
    assert 1e-2 < found.suggestion < 3 and found.rates[-1] < 100  # ended where it diverged
    assert found.rates[1] / found.rates[0] == pytest.approx(1e6 ** (1 / 99))


def test_the_search_is_undone_after_an_error():
    made = trainer()
    before = bits(made)

    def batches():
        yield from loader()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        find_lr(made, batches())
    assert bits(made) == before
    for options in ({"lowest": 0.0}, {"lowest": 2.0, "highest": 1.0}, {"updates": 2}):
        with pytest.raises(OptionError, match="no range to search"):
            find_lr(made, loader(), **options)


# -- the table -------------------------------------------------------------------------------------------


def test_summary():
    model = lp.nn.Sequential(
        lp.nn.Flatten(), lp.nn.Linear(64, 32),
        lp.nn.Sequential(lp.nn.BatchNorm1d(32), lp.nn.Dropout(0.5), lp.nn.Linear(32, 10, bias=False)),
    )  # fmt: skip
    model[1].weight.requires_grad_(False)
    state, training = lp.get_rng_state().tolist(), [m.training for m in model.modules()]
    mean = model[2][0].running_mean.tolist()
    table = summary(model, (5, 1, 8, 8))
    assert lp.get_rng_state().tolist() == state and [m.training for m in model.modules()] == training
    assert model[2][0].running_mean.tolist() == mean
    assert str(table).splitlines()[1:11] == [
        "Layer (type:depth-idx)                   Output Shape              Param #",
        "=" * 90,
        "Sequential                               [5, 10]                   --",
        "├─Flatten: 1-1                           [5, 64]                   --",
        "├─Linear: 1-2                            [5, 32]                   2,080",
        "├─Sequential: 1-3                        [5, 10]                   --",
        "│    └─BatchNorm1d: 2-1                  [5, 32]                   64",
        "│    └─Dropout: 2-2                      [5, 32]                   --",
        "│    └─Linear: 2-3                       [5, 10]                   320",
        "=" * 90,
    ]
    assert (table.total_params, table.trainable_params) == (2464, 416)
    assert table.total_mult_adds == 5 * 2464
    assert table.output_bytes == 2 * 4 * 5 * (64 + 32 + 32 + 32 + 10)
    shallow = summary(model, input_data=lp.ones(1, 64), depth=1)
    assert [layer.params for layer in shallow.layers] == [0, 0, 2080, 384] and shallow.total_mult_adds == 2464


def test_summary_of_uncommon_models():
    shared = lp.nn.Linear(4, 4)
    text = str(summary(lp.nn.Sequential(shared, lp.nn.ReLU(), shared), (2, 4)))
    assert text.count("(recursive)") == 1 and "Total params: 20\n" in text
    text = str(summary(network()))
    assert "Output Shape" not in text and "mult-adds" not in text and "Total params" in text
    words = lp.nn.Sequential(lp.nn.Embedding(7, 3), lp.nn.LayerNorm(3))
    table = summary(words, (2, 5), dtypes=lp.int64)
    assert table.layers[1].shape == (2, 5, 3) and table.total_mult_adds == 2 * 5 * 6
    bilinear = lp.nn.Bilinear(2, 3, 4)
    assert summary(bilinear, [(5, 2), (5, 3)]).layers[0].shape == (5, 4)
    lazy = lp.nn.LazyLinear(3)
    assert summary(lazy).total_params == 0 and summary(lazy, (1, 2)).total_params == 9
    with pytest.raises(LampionError, match="not a module"):
        summary(lp.ones(2))


def test_summary_has_torchinfos_numbers():
    torch = pytest.importorskip("torch")
    torchinfo = pytest.importorskip("torchinfo", reason="torchinfo is not installed")

    def model(nn):
        return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 2)))

    ours, theirs = summary(model(lp.nn), (3, 6)), torchinfo.summary(model(torch.nn), (3, 6), verbose=0)
    assert str(ours).splitlines()[:10] == [line.rstrip() for line in str(theirs).splitlines()[:10]]
    assert (ours.total_params, ours.total_mult_adds) == (theirs.total_params, theirs.total_mult_adds)


# -- kill -9 ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_loses_nothing():
    command = [
        sys.executable,
        str(ROOT / "scripts" / "kill_test.py"),
        "--kills",
        "3",
        "--epochs",
        "6",
        "--seed",
        "0",
    ]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("kills: 3, ")


def test_summary_counts_each_call_of_a_module():
    class Twice(lp.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = lp.nn.Linear(100, 100, bias=False)

        def forward(self, x):
            return self.layer(self.layer(x))

    table = lp.summary(Twice(), (1, 100))
    assert (table.total_params, table.total_mult_adds) == (10_000, 20_000)
