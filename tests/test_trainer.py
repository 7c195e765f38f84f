"""Trainer: the loop equals one written by hand; ragged batches, accumulation, clipping, evaluation."""

import warnings

import numpy as np
import pytest
from training_world import data, loader, network, trainer

import lampion as lp
import lampion.nn.functional as F
from lampion.errors import LampionError, OptionError
from lampion.testing import assert_close
from lampion.training import Callback, LambdaCallback, Schedule, Trainer
from lampion.training.metrics import Accuracy, ConfusionMatrix
from lampion.utils.data import DataLoader, TensorDataset


def weights(model):
    return {name: value.tolist() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
def test_fit_is_the_loop_that_one_would_write(compile):
    made = trainer(compile=compile)
    history = made.fit(loader(), loader(10, shuffle=False), epochs=3)

    lp.manual_seed(0)
    model = network()
    optimizer = lp.optim.Adam(model.parameters(), lr=0.01)
    rows, check = [], loader(10, shuffle=False)
    for epoch in range(3):
        total = right = samples = 0
        for x, y in loader():
            scores = model(x)
            loss = F.cross_entropy(scores, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, samples = total + len(x) * loss.item(), samples + len(x)
            right += (scores.argmax(1) == y).sum().item()
        model.eval()
        with lp.no_grad():
            found = [(len(x), F.cross_entropy(model(x), y).item(), (model(x).argmax(1) == y).sum().item())
                     for x, y in check]  # fmt: skip
        model.train()
        rows.append({
            "epoch": epoch + 1, "loss": total / samples, "accuracy": right / samples,
            "validation_loss": sum(n * loss for n, loss, _ in found) / 10,
            "validation_accuracy": sum(hits for *_, hits in found) / 10, "lr": 0.01,
        })  # fmt: skip
    if compile:  # sums in another order
        assert [list(row) for row in history.rows] == [list(row) for row in rows]
        for name, value in made.model.state_dict().items():
            assert_close(value, model.state_dict()[name], rtol=1e-4, atol=1e-5)
        assert history["loss"] == pytest.approx([row["loss"] for row in rows], rel=1e-4)
    else:
        assert history.rows == rows and weights(made.model) == weights(model)
    assert made.step == 18 and made.epoch == 3 and made.model.training and made.completed


def test_the_smaller_last_batch_is_compiled_too():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = trainer(compile=True, clip_norm=1.0)
        made.fit(loader(), loader(7), epochs=2)
    for function in made._functions.values():
        assert function.refused is None and len(function.plans) == 2


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
def test_accumulation_is_one_large_batch(compile):
    def run(batch_size, accumulate):
        lp.manual_seed(0)
        model = lp.nn.Linear(4, 2)
        made = Trainer(model, F.cross_entropy, lp.optim.SGD(model.parameters(), lr=0.5), compile=compile,
                       accumulate=accumulate, clip_norm=0.3)  # fmt: skip
        history = made.fit(loader(22, batch_size, shuffle=False), epochs=3)
        return model, made, history

    small, made, history = run(3, 4)  # 3 3 3 3 | 3 3 3 1
    large, other, whole = run(12, 1)  # 12 | 10
    assert made.step == other.step == 6
    assert_close(small.weight, large.weight, rtol=1e-5, atol=1e-6)  # sums in another order
    assert history["loss"] == pytest.approx(whole["loss"], rel=1e-5)


def test_clipping():
    def first_update(**options):
        lp.manual_seed(0)
        model = lp.nn.Linear(4, 2)
        before = model.weight.detach().clone()
        Trainer(
            model, F.cross_entropy, lp.optim.SGD(model.parameters(), lr=1.0), compile=False, **options
        ).fit(loader(4, shuffle=False), epochs=1)
        gradients = [before - model.weight.detach(), model.bias.grad]
        return np.sqrt(sum((g**2).sum().item() for g in gradients)), (
            before - model.weight
        ).abs().max().item()

    norm, largest = first_update()
    assert norm > 0.1 and largest > 0.02
    assert first_update(clip_norm=0.1)[0] == pytest.approx(0.1, rel=1e-4)
    assert first_update(clip_value=0.02)[1] == pytest.approx(0.02, rel=1e-4)


def test_schedules_step_at_their_time():
    def rates(schedule, **options):
        seen = []
        made = trainer(schedule=schedule, callbacks=[
            LambdaCallback(on_step_end=lambda t: seen.append(optimizer.param_groups[0]["lr"]))])  # fmt: skip
        optimizer = made.optimizer
        made.fit(loader(), epochs=2)
        return [round(lr, 6) for lr in seen]

    from lampion.optim import lr_scheduler as s

    assert rates(lambda opt: s.ExponentialLR(opt, 0.5)) == [0.01] * 6 + [0.005] * 6
    assert rates(lambda opt: Schedule(s.ExponentialLR(opt, 0.5), every="step"))[:3] == [
        0.005,
        0.0025,
        0.00125,
    ]
    assert (
        len(set(rates(lambda opt: s.OneCycleLR(opt, max_lr=0.1, total_steps=12)))) > 6
    )  # by itself: each step
    assert rates(lambda opt: s.ReduceLROnPlateau(opt, mode="max", patience=0, factor=0.1))[-1] in (
        0.01,
        0.001,
    )
    with pytest.raises(OptionError, match="ReduceLROnPlateau needs what an epoch measured"):
        rates(lambda opt: Schedule(s.ReduceLROnPlateau(opt), every="step"))
    with pytest.raises(OptionError, match="no such time"):
        rates(lambda opt: Schedule(s.ExponentialLR(opt, 0.5), every="day"))


def test_a_second_fit_with_a_new_schedule_does_not_warn():
    made = trainer(compile=True)
    made.fit(loader(), epochs=1)
    made.schedule = Schedule(lp.optim.lr_scheduler.ExponentialLR(made.optimizer, 0.5))
    made.fit(loader(), epochs=2)
    assert made.optimizer.param_groups[0]["lr"] == 0.0025


def test_evaluate_and_predict_leave_the_model_as_it_was():
    made = trainer()
    before = made.state_dict()["random"]["lampion"].tolist(), weights(made.model)
    found = made.evaluate(loader(10, shuffle=False))
    assert set(found) == {"loss", "accuracy"} and made.model.training
    predictions = made.predict(loader(10, shuffle=False))
    inputs = data(10).tensors[0]
    assert predictions.shape == (10, 2) and not predictions.requires_grad
    assert made.predict(DataLoader(TensorDataset(inputs), 4)).tolist() == predictions.tolist()
    assert made.predict([inputs]).shape == (10, 2)
    assert before == (made.state_dict()["random"]["lampion"].tolist(), weights(made.model))
    made.model.eval()
    assert_close(predictions, made.model(inputs).detach(), rtol=1e-6, atol=1e-6)


def test_several_inputs():
    class Sum(lp.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = lp.nn.Parameter(lp.ones(1))

        def forward(self, a, b):
            return self.scale * (a + b)

    model = Sum()
    made = Trainer(model, F.mse_loss, lp.optim.SGD(model.parameters(), lr=0.01), compile=False)
    batches = [(lp.ones(3), lp.ones(3), 4 * lp.ones(3))] * 20
    assert made.fit(batches, epochs=5)["loss"][-1] < 0.1 and made.predict(batches[:1]).shape == (3,)


def test_metrics_have_names_of_their_own_and_tables_stay_out_of_the_history():
    table = ConfusionMatrix(2)
    seen = []
    made = trainer(metrics={"share": Accuracy(), "table": table}, callbacks=[
        LambdaCallback(on_step_end=lambda t: seen.append(table.compute().sum().item()))])  # fmt: skip
    made.fit(loader(), epochs=1)
    assert list(made.history.rows[0]) == ["epoch", "loss", "share", "lr"] and seen[-1] == 22


def test_callbacks_are_called_in_order():
    class Writes(Callback):
        def __init__(self, name, order):
            self.name, self.order = name, order

        def on_epoch_end(self, trainer):
            calls.append(self.name)

    calls = []
    made = trainer(callbacks=[Writes("late", 50), Writes("b", 0), Writes("c", 0), Writes("early", -5)])
    made.fit(loader(), epochs=1)
    assert calls == ["early", "b", "c", "late"]


def test_an_exception_ends_the_callbacks_too():
    ends = []
    made = trainer(callbacks=[LambdaCallback(on_fit_end=lambda t: ends.append(t.completed))])
    with pytest.raises(ZeroDivisionError):
        made.fit((1 / 0 for _ in range(2)), epochs=1)
    assert ends == [False]


def test_stopping():
    made = trainer(callbacks=[LambdaCallback(on_step_end=lambda t: setattr(t, "stop_now", t.step == 2))])
    assert len(made.fit(loader(), epochs=3)) == 0 and made.step == 2
    made = trainer(callbacks=[LambdaCallback(on_step_end=lambda t: setattr(t, "stop", True))])
    assert len(made.fit(loader(), epochs=3)) == 1 and made.step == 6


def test_what_makes_no_sense_is_refused():
    for options in ({"accumulate": 0}, {"clip_norm": 0.0}, {"clip_value": -1.0}, {"callbacks": [print]},
                    {"metrics": [Accuracy(), Accuracy()]}):  # fmt: skip
        with pytest.raises(OptionError, match="Trainer"):
            trainer(**options)
    with pytest.raises(LampionError, match=r"(?s)a batch is not \(input, target\).*got: Tensor"):
        trainer().fit([lp.ones(3)], epochs=1)
    with pytest.raises(LampionError, match="nothing to train on"):
        trainer().fit(loader(3, 4, drop_last=True), epochs=1)
    with pytest.raises(LampionError, match="there are no batches"):
        trainer().predict([])
    with pytest.raises(OptionError, match="epochs is negative"):
        trainer().fit(loader(), epochs=-1)
    with pytest.raises(OptionError, match="no such time"):
        LambdaCallback(on_tuesday=print)
