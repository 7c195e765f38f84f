"""Metrics: against their definitions, in batches and as a whole, and through a checkpoint's JSON."""

import json

import numpy as np
import pytest

import lampion as lp
from lampion.errors import OptionError, ShapeError
from lampion.training.metrics import (
    F1,
    Accuracy,
    ConfusionMatrix,
    ExactMatch,
    MeanAbsoluteError,
    MeanLoss,
    MeanSquaredError,
    Metric,
    TopKAccuracy,
)
from lampion.training.state import decode, encode


def samples(n=50, classes=4):
    rng = np.random.default_rng(0)
    scores = rng.integers(-3, 4, (n, classes)).astype(np.float32)  # with ties
    return scores, rng.integers(0, classes, n)


def f1(scores, target, average="macro"):
    sklearn = pytest.importorskip("sklearn.metrics")
    return sklearn.f1_score(target, scores.argmax(1), average=average, zero_division=0)


CASES = {
    "accuracy": (Accuracy, lambda s, t: (s.argmax(1) == t).mean()),
    "top 1": (lambda: TopKAccuracy(1), lambda s, t: (s.argmax(1) == t).mean()),
    "top 2": (lambda: TopKAccuracy(2), lambda s, t: np.mean(
        [t[i] in np.argsort(-s[i], kind="stable")[:2] for i in range(len(t))])),
    "top 9": (lambda: TopKAccuracy(9), lambda s, t: 1.0),
    "f1": (lambda: F1(4), f1),
    "loss": (lambda: MeanLoss(lp.nn.functional.cross_entropy), lambda s, t: -np.mean(
        [np.log(np.exp(s[i, t[i]]) / np.exp(s[i]).sum()) for i in range(len(t))])),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_classes(name):
    make, reference = CASES[name]
    scores, target = samples()
    metric = make()
    for part in (slice(0, 20), slice(20, 49), slice(49, 50)):
        metric.update(lp.from_numpy(scores[part]), lp.from_numpy(target[part]))
    assert metric.compute() == pytest.approx(reference(scores, target), rel=1e-6)

    other, tensors = make(), {}
    other.load_state_dict(decode(json.loads(json.dumps(encode(metric.state_dict(), tensors))), tensors))
    assert other.compute() == metric.compute()
    metric.reset()
    assert np.isnan(metric.compute())


def test_numbers():
    rng = np.random.default_rng(1)
    guess, truth = rng.normal(size=(2, 12, 3)).astype(np.float32)
    for metric, reference in (
        (MeanSquaredError(), (guess - truth) ** 2),
        (MeanAbsoluteError(), abs(guess - truth)),
    ):
        metric.update(lp.from_numpy(guess[:7]), lp.from_numpy(truth[:7]))
        metric.update(lp.from_numpy(guess[7:]), lp.from_numpy(truth[7:]))
        assert metric.compute() == pytest.approx(reference.mean(), rel=1e-6)
        with pytest.raises(ShapeError, match="squeeze"):
            metric.update(lp.ones(3, 1), lp.ones(3))


def test_two_classes_and_segmentation():
    metric = Accuracy()
    metric.update(lp.tensor([2.0, -1.0]), lp.tensor([1, 1]))
    metric.update(lp.tensor([[2.0], [-1.0]]), lp.tensor([1.0, 0.0]))
    metric.update(lp.tensor([True, False]), lp.tensor([1, 1]))
    assert metric.compute() == 4 / 6
    metric = Accuracy(threshold=0.5)
    metric.update(lp.tensor([0.4, 0.6]), lp.tensor([0, 1]))
    assert metric.compute() == 1.0
    metric = Accuracy()
    metric.update(lp.randn(2, 5, 3, 3), lp.zeros(2, 3, 3, dtype=lp.int64))
    assert metric.count == 18
    with pytest.raises(ShapeError, match="the target does not fit"):
        metric.update(lp.randn(2, 5), lp.zeros(3, dtype=lp.int64))
    with pytest.raises(ShapeError, match="the target does not fit"):
        TopKAccuracy(2).update(lp.randn(3), lp.zeros(3, dtype=lp.int64))


def test_exact_match():
    metric = ExactMatch()
    scores = lp.zeros(4, 3, 5)
    scores[:, 2] = 1.0  # always class 2
    target = lp.full((4, 5), 2)
    target[1, 4] = target[3, 0] = 1
    metric.update(scores[:3], target[:3])
    metric.update(scores[3:], target[3:])
    assert metric.compute() == 0.5
    metric.update(scores[:0], target[:0])
    metric.update(lp.tensor([[0.0, 1.0]]), lp.tensor([1]))  # without a sequence: accuracy
    assert metric.compute() == 3 / 5
    with pytest.raises(ShapeError, match="the target does not fit"):
        metric.update(scores, target[:, :4])


def test_confusion():
    scores, target = samples()
    table = ConfusionMatrix(4)
    table.update(lp.from_numpy(scores), lp.from_numpy(target))
    found = table.compute()
    expected = [[int(((scores.argmax(1) == j) & (target == i)).sum()) for j in range(4)] for i in range(4)]
    assert found.tolist() == expected
    with pytest.raises(OptionError, match=r"(?s)the target is out of range.*0 to 3.*got: 4 to 4"):
        table.update(lp.from_numpy(scores[:1]), lp.tensor([4]))
    with pytest.raises(OptionError, match="this average"):
        F1(3, average="binary")
    with pytest.raises(OptionError, match="k is not positive"):
        TopKAccuracy(0)


def test_the_base_class_says_what_is_missing():
    class Half(Metric):
        def reset(self):
            pass

    with pytest.raises(NotImplementedError, match=r"Half does not define update"):
        Half().update(None, None)
    with pytest.raises(NotImplementedError, match=r"Half does not define compute"):
        Half().compute()
    with pytest.raises(NotImplementedError, match=r"Metric does not define reset"):
        Metric()
