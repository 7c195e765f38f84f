"""StepTrainer: a step of one's own, with several models, optimizers and losses; and pictures by epoch."""

import pytest
from training_world import bits

import lampion as lp
from lampion import nn
from lampion.errors import LampionError, OptionError, ShapeError
from lampion.optim.lr_scheduler import StepLR
from lampion.training import Checkpoint, ImagesByEpoch, LambdaCallback, Schedule, StepTrainer, latest
from lampion.training.pictures import spread
from lampion.utils.data import DataLoader, TensorDataset


def loader(samples=20, batch_size=4, **options):
    x = lp.randn(samples, 3, generator=lp.Generator().manual_seed(5))
    return DataLoader(TensorDataset(x), batch_size, **{"shuffle": True, **options})


def pair(seed=0, **options):
    """Two models that learn from each other: what they learn does not matter."""
    lp.manual_seed(seed)
    model = nn.ModuleDict(
        {"a": nn.Linear(2, 3), "b": nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))}
    )
    optimizers = {
        "a": lp.optim.Adam(model["a"].parameters(), lr=0.01),
        "b": lp.optim.SGD(model["b"].parameters(), lr=0.1, momentum=0.9),
    }

    def step(x):
        made = model["a"](lp.randn(len(x), 2))
        loss = model["b"](made.detach()).mean() - model["b"](x).mean()
        optimizers["b"].zero_grad()
        loss.backward()
        optimizers["b"].step()
        other = -model["b"](made).mean()
        optimizers["a"].zero_grad()
        other.backward()
        optimizers["a"].step()
        return {"b_loss": loss, "a_loss": other}

    return StepTrainer(model, step, optimizers, **{"compile": False, **options}), step


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
def test_fit_is_the_loop_that_one_would_write(compile):
    made, _ = pair(compile=compile)
    history = made.fit(loader(18), epochs=2)  # the last batch is smaller
    assert made.step == 10 and made.epoch == 2 and made.completed

    _other, step = pair()
    rows = []
    for epoch in range(2):
        totals = {"b_loss": 0.0, "a_loss": 0.0}
        for (x,) in loader(18):
            for name, value in step(x).items():
                totals[name] += len(x) * value.item()
        rows.append({"epoch": epoch + 1, **{name: total / 18 for name, total in totals.items()}, "lr": 0.01})
    assert [list(row) for row in history.rows] == [list(row) for row in rows]
    for row, expected in zip(history.rows, rows, strict=True):
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-6) if compile else row == expected
    if compile:
        (explanation,) = made.explain()
        assert [plan.native for plan in explanation.plans] == [True, True]
        assert "call-outs 0" in str(explanation)


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("stop", [7, 10])
def test_a_run_that_was_interrupted_goes_on_with_the_same_bits(tmp_path, compile, stop):
    def trainer(out, stop=None):
        made, _ = pair(compile=compile, out=out)
        made.callbacks = [Schedule(StepLR(made.optimizer.named["b"], 1)), Checkpoint(1, every_steps=1)]
        if stop is not None:
            made.callbacks.append(
                LambdaCallback(on_step_end=lambda t: setattr(t, "stop_now", t.step == stop))
            )
        return made

    whole = trainer(tmp_path / "whole")
    whole.fit(loader(), epochs=3)
    trainer(tmp_path / "parts", stop).fit(loader(), epochs=3)
    made = trainer(tmp_path / "parts")
    made.fit(loader(), epochs=3, resume=True)
    assert bits(made) == bits(whole)
    assert made.history.rows == whole.history.rows


def test_evaluation_is_a_mean_over_samples_without_gradients():
    made, _ = pair()
    seen = []

    def evaluation(x):
        seen.append((made.model.training, lp.is_grad_enabled()))
        return {"b_loss": x.mean()}

    made._own_evaluation = evaluation
    check = loader(10, shuffle=False)
    history = made.fit(loader(), check, epochs=1)
    assert history["validation_b_loss"][0] == pytest.approx(check.dataset.tensors[0].mean().item(), abs=1e-6)
    assert seen == [(False, False)] * 3 and made.model.training


def changing(x):
    """A loss that only batches of four have, and one for each."""
    found = {"each": x.sum()}
    return found | {"fours": (x * x).sum()} if len(x) == 4 else found


def recorder(out=None, step=changing, **options):
    model = nn.Linear(3, 1)
    optimizers = {"model": lp.optim.SGD(model.parameters(), lr=0.1)}
    return StepTrainer(model, step, optimizers, **{"compile": False, "out": out, **options})


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
def test_a_loss_that_not_each_batch_has_is_a_mean_over_those_that_have_it(tmp_path, compile):
    data = loader(10, shuffle=False)  # four, four, two
    (x,) = data.dataset.tensors
    expected = {
        "each": sum(len(part) * part.sum().item() for part in x.split(4)) / 10,
        "fours": sum((part * part).sum().item() for part in x.split(4)[:2]) / 2,
    }
    made = recorder(evaluation=changing, compile=compile)
    (row,) = made.fit(data, data, epochs=1).rows
    for prefix in ("", "validation_"):  # sums of 12 numbers, rounded differently: a few units of 1e-7
        assert {name: row[prefix + name] for name in expected} == pytest.approx(expected, rel=1e-5)

    def stopping(out, stop):
        made = recorder(out, compile=compile)
        made.callbacks = [Checkpoint(1, every_steps=1)]
        made.callbacks.append(LambdaCallback(on_step_end=lambda t: setattr(t, "stop_now", t.step == stop)))
        return made

    stopping(tmp_path, 2).fit(data, epochs=1)
    resumed = recorder(tmp_path, compile=compile).fit(data, epochs=1, resume=True)
    assert resumed.rows == [{name: row[name] for name in ("epoch", "each", "fours", "lr")}]


def test_a_checkpoint_of_an_earlier_version_has_no_counts():
    def stopped():
        made = recorder(step=lambda x: {"each": x.sum()})
        made.callbacks = [LambdaCallback(on_step_end=lambda t: setattr(t, "stop_now", t.step == 2))]
        return made

    made, other = stopped(), stopped()
    made.fit(loader(10), epochs=1)
    state = made.state_dict()
    del state["counts"]
    other.fit(loader(10), epochs=0)
    other.load_state_dict(state)
    assert other._means.counts == made._means.counts == {"each": 8}
    assert other._means.totals == made._means.totals


def test_empty_batches_have_no_mean():
    made = recorder(step=lambda x: {"each": x.sum()}, evaluation=lambda x: {"each": x.sum()})
    found = made.evaluate([(lp.ones(0, 3),)])
    assert list(found) == ["each"] and found["each"] != found["each"]
    with pytest.raises(LampionError, match="there is nothing to measure"):
        made.evaluate([])


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    "step, message",
    [
        (lambda x: None, "returned no dict.*got: NoneType.*return {"),
        (lambda x: x.sum(), "returned no dict.*got: Tensor"),
        (lambda x: {"loss": 1.0}, "returned 'loss', which is not a scalar tensor.*got: float"),
        (lambda x: {"loss": x}, r"returned 'loss', which is not a scalar tensor.*got: shape \(4, 3\)"),
        (lambda x: {1: x.sum()}, "returned a loss whose name is no string.*got: 1"),
    ],
    ids=["nothing", "tensor", "float", "vector", "number"],
)
def test_a_step_that_returns_something_else(step, message, compile):
    made = recorder(step=step, evaluation=step, compile=compile)
    with pytest.raises(OptionError, match=f"(?s)step {message}"):
        made.fit(loader(), epochs=1)
    with pytest.raises(OptionError, match=f"(?s)evaluation {message}"):
        made.evaluate(loader())


@pytest.mark.parametrize("name", ["epoch", "lr", "validation_loss"])
def test_names_that_the_history_uses(name):
    with pytest.raises(OptionError, match=f"(?s)a loss named '{name}'.*the history's own"):
        recorder(step=lambda x: {name: x.sum()}).fit(loader(), epochs=1)


def test_what_it_cannot_do_is_said(tmp_path):
    made, step = pair()
    with pytest.raises(OptionError, match="nothing says how to measure validation data"):
        made.fit(loader(), loader(), epochs=1)
    with pytest.raises(OptionError, match="nothing says how to measure validation data"):
        made.evaluate(loader())
    with pytest.raises(LampionError, match="there is no one model that predicts"):
        made.predict(loader())
    with pytest.raises(OptionError, match="the optimizers have no names") as raised:
        StepTrainer(made.model, step, made.optimizer.named["a"])
    assert "got: Adam" in str(raised.value)
    with pytest.raises(OptionError, match="there are no optimizers"):
        StepTrainer(made.model, step, {})

    made, _ = pair(out=tmp_path, callbacks=[Checkpoint()])
    made.fit(loader(), epochs=1)
    other, _ = pair(out=tmp_path, callbacks=[Checkpoint()])
    other.optimizer.named["b"] = lp.optim.Adam(other.model["b"].parameters())
    with pytest.raises(LampionError, match="has other optimizers") as raised:
        other.fit(loader(), epochs=2, resume=True)
    assert "expected: a: Adam, b: SGD" in str(raised.value) and "got: a: Adam, b: Adam" in str(raised.value)


# -- pictures by epoch -----------------------------------------------------------------------------------


def drawing(out, **options):
    made, _ = pair(out=out)
    callback = ImagesByEpoch(lambda: made.model["a"].weight.sigmoid()[:, None], "pair", **options)
    made.callbacks = [callback, Checkpoint()]
    return made, callback


def test_images_by_epoch(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    made, callback = drawing(tmp_path / "whole", columns=2)
    made.fit(loader(), epochs=3)
    names = ["epoch-001.png", "epoch-002.png", "epoch-003.png"]
    assert sorted(path.name for path in (tmp_path / "whole" / "generated").iterdir()) == names
    shapes = {epoch: tuple(images.shape) for epoch, images in callback.kept.items()}
    assert shapes == dict.fromkeys((1, 2, 3), (2, 1, 2))
    assert lp.equal(callback.kept[3], made.model["a"].weight.sigmoid()[:2, None])

    drawing(tmp_path / "parts", columns=2)[0].fit(loader(), epochs=2)
    assert latest(tmp_path / "parts") is not None
    drawing(tmp_path / "parts", columns=2)[0].fit(loader(), epochs=3, resume=True)
    for name in ("by_epoch.png", "generated/epoch-003.png"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_images_by_epoch_says_what_is_wrong(tmp_path):
    made, callback = drawing(None)
    made.callbacks = [callback]
    with pytest.raises(OptionError, match="pictures need a folder"):
        made.fit(loader(), epochs=1)
    with pytest.raises(OptionError, match="too few images"):
        ImagesByEpoch(lambda: lp.ones(1), columns=0)
    made, _ = pair(out=tmp_path, callbacks=[ImagesByEpoch(lambda: lp.ones(2, 3))])
    with pytest.raises(ShapeError, match="something else than images"):
        made.fit(loader(), epochs=1)


@pytest.mark.parametrize("length, count", [(1, 5), (5, 5), (6, 5), (15, 10), (200, 10), (9, 2)])
def test_epochs_are_spread(length, count):
    chosen = spread(list(range(1, length + 1)), count)
    assert chosen == sorted(set(chosen)) and chosen[0] == 1 and chosen[-1] == length
    assert len(chosen) == min(length, count)
