"""A run that cannot go on as it began is told so, instead of going on otherwise."""

import math

import pytest

import lampion as lp
from lampion import nn
from lampion.errors import LampionError, OptionError
from lampion.training import Callback, Checkpoint, Trainer, find_lr
from lampion.utils.data import DataLoader, TensorDataset

DATA = TensorDataset(lp.arange(60.0).reshape(30, 2), lp.arange(30.0).reshape(30, 1))


class Stop(Callback):
    def on_step_end(self, trainer):
        trainer.stop_now = trainer.step == 3


def trainer(out, optimizer=lp.optim.Adam, callbacks=()):
    lp.manual_seed(0)
    model = nn.Linear(2, 1)
    return Trainer(model, nn.MSELoss(), optimizer(model.parameters(), lr=0.01), compile=False, out=out,
                   callbacks=[Checkpoint(every_steps=1), *callbacks])  # fmt: skip


@pytest.fixture
def out(tmp_path):
    """A run that stopped in the middle of a pass, after three batches of five."""
    trainer(tmp_path, callbacks=[Stop()]).fit(DataLoader(DATA, batch_size=5, shuffle=True), epochs=1)
    return tmp_path


@pytest.mark.parametrize("data", [DATA, TensorDataset(*(t[:20] for t in DATA.tensors))])
@pytest.mark.parametrize("size", [5, 10, 3])
def test_other_batches_or_other_data(out, data, size):
    loader = DataLoader(data, batch_size=size, shuffle=True)
    if size == 5 and data is DATA:
        trainer(out).fit(loader, epochs=1, resume=True)
        return
    with pytest.raises(LampionError, match=r"with other batches or data(.|\n)*batches of 5 of 30 samples"):
        trainer(out).fit(loader, epochs=1, resume=True)


def test_another_kind_of_loader(out):
    with pytest.raises(LampionError, match=r"another kind of loader(.|\n)*a DataLoader(.|\n)*got: list"):
        trainer(out).fit(list(DataLoader(DATA, batch_size=5)), epochs=1, resume=True)


def test_a_shorter_loader(tmp_path):
    batches = list(DataLoader(DATA, batch_size=5))
    trainer(tmp_path, callbacks=[Stop()]).fit(batches, epochs=1)
    with pytest.raises(LampionError, match=r"fewer batches than were read(.|\n)*3 or more(.|\n)*got: 2"):
        trainer(tmp_path).fit(batches[:2], epochs=1, resume=True)


def test_another_optimizer(out):
    with pytest.raises(LampionError, match=r"another optimizer(.|\n)*Adam(.|\n)*got: SGD"):
        trainer(out, lp.optim.SGD).fit(DataLoader(DATA, batch_size=5, shuffle=True), epochs=1, resume=True)


def test_between_two_passes_the_size_may_change():
    loader = DataLoader(DATA, batch_size=5)
    list(loader)
    other = DataLoader(DATA, batch_size=10)
    other.load_state_dict(loader.state_dict())
    assert len(list(other)) == 3


def test_an_optimizer_that_needs_a_closure():
    model = nn.Linear(2, 1)
    with pytest.raises(OptionError, match="LBFGS computes the loss several times"):
        Trainer(model, nn.MSELoss(), lp.optim.LBFGS(model.parameters()))


def test_the_rate_that_is_suggested_trains():
    def make(rate):
        lp.manual_seed(3)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        return Trainer(model, nn.CrossEntropyLoss(), lp.optim.SGD(model.parameters(), lr=rate))

    def loader():
        return DataLoader(lp.datasets.Digits(), batch_size=64, shuffle=True)

    rate = find_lr(make(0.1), loader()).suggestion
    # At four times the rate, which is where the mean of the losses falls fastest, nothing is learnt: 2.3.
    assert make(rate).fit(loader(), epochs=5)["loss"][-1] < 0.6


def test_a_loss_that_never_falls():
    model = nn.Linear(2, 1)
    search = Trainer(
        model, lambda p, y: (p * 0).sum() + 1, lp.optim.SGD(model.parameters(), lr=0.1), compile=False
    )
    with pytest.warns(UserWarning, match="fell at no rate"):
        found = find_lr(search, DataLoader(DATA, batch_size=5))
    assert math.isnan(found.suggestion)
