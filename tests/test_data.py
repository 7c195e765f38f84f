"""Datasets, samplers, batches, and the digits."""

import sys
from collections import Counter, namedtuple

import numpy as np
import pytest

import lampion
from lampion.datasets import Digits
from lampion.datasets.digits import split
from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError
from lampion.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)  # fmt: skip


class Squares(Dataset):
    def __len__(self):
        return 7

    def __getitem__(self, index):
        return index, float(index**2)


def generator(seed=0):
    return lampion.Generator().manual_seed(seed)


# -- datasets --------------------------------------------------------------------------------------------


def test_tensor_dataset():
    x, y = lampion.arange(12).reshape(4, 3), lampion.arange(4)
    data = TensorDataset(x, y)
    assert len(data) == 4 and data[-1][0].tolist() == [9, 10, 11] and data[2][1].item() == 2
    assert [part.tolist() for part in data.get_batch([3, 0])] == [[[9, 10, 11], [0, 1, 2]], [3, 0]]
    with pytest.raises(IndexRangeError):
        data[4]
    with pytest.raises(ShapeError, match=r"different numbers of samples"):
        TensorDataset(x, y[:3])
    for bad in ([], [lampion.tensor(1)], [x, [1, 2, 3, 4]]):
        with pytest.raises(LampionError, match="TensorDataset"):
            TensorDataset(*bad)
    with pytest.raises(NotImplementedError, match="does not define __getitem__"):
        Dataset()[0]


def test_random_split_is_disjoint_complete_and_repeatable():
    parts = random_split(range(10), [7, 3], generator())
    assert [len(part) for part in parts] == [7, 3]
    assert sorted(list(parts[0]) + list(parts[1])) == list(range(10))
    assert [list(p) for p in random_split(range(10), [7, 3], generator())] == [list(p) for p in parts]
    assert list(parts[0]) != sorted(parts[0])
    assert [len(p) for p in random_split(range(10), [1 / 3, 1 / 3, 1 / 3])] == [4, 3, 3]
    for lengths in ([5, 4], [11, -1]):
        with pytest.raises(
            IndexRangeError, match=r"(?s)random_split: the lengths do not add up.*a sum of 10"
        ):
            random_split(range(10), lengths)


# -- samplers --------------------------------------------------------------------------------------------


def test_samplers():
    assert list(SequentialSampler("abc")) == [0, 1, 2] and len(SequentialSampler("abc")) == 3
    shuffled = RandomSampler(range(20), generator=generator())
    first, second = list(shuffled), list(shuffled)
    assert sorted(first) == sorted(second) == list(range(20)) and first != second and len(shuffled) == 20
    assert list(RandomSampler(range(20), generator=generator())) == first
    drawn = list(RandomSampler(range(5), replacement=True, num_samples=5000, generator=generator()))
    assert all(850 < n < 1150 for n in Counter(drawn).values()) and len(Counter(drawn)) == 5
    more = list(RandomSampler(range(4), num_samples=10, generator=generator()))
    assert sorted(more[:4]) == sorted(more[4:8]) == [0, 1, 2, 3] and len(more) == 10
    assert list(RandomSampler([])) == []
    with pytest.raises(LampionError, match="num_samples"):
        RandomSampler(range(5), num_samples=0)
    with pytest.raises(NotImplementedError):
        iter(Sampler())


def test_batch_sampler():
    batches = BatchSampler(SequentialSampler(range(5)), 2, drop_last=False)
    assert list(batches) == [[0, 1], [2, 3], [4]] and len(batches) == 3
    batches = BatchSampler(SequentialSampler(range(5)), 2, drop_last=True)
    assert list(batches) == [[0, 1], [2, 3]] and len(batches) == 2
    for size in (0, -1, 2.0, True):
        with pytest.raises(LampionError, match="batch_size is not a size"):
            BatchSampler(SequentialSampler(range(5)), size, drop_last=True)


# -- collate ---------------------------------------------------------------------------------------------


def test_default_collate():
    Point = namedtuple("Point", "x y")
    assert default_collate([1, 2]).dtype is lampion.int64
    assert default_collate([1.0, 2.0]).dtype is lampion.float32
    assert default_collate([True, False]).dtype is lampion.bool
    assert default_collate([np.float64(1), np.float64(2)]).dtype is lampion.float64
    assert default_collate([np.ones((2, 3), np.float32)] * 4).shape == (4, 2, 3)
    assert default_collate([lampion.ones(2)] * 3).shape == (3, 2)
    assert default_collate(["a", "b"]) == ["a", "b"]
    batch = default_collate([{"a": 1, "b": (2.0, "x")}, {"a": 3, "b": (4.0, "y")}])
    assert (
        batch["a"].tolist() == [1, 3] and batch["b"][0].tolist() == [2.0, 4.0] and batch["b"][1] == ["x", "y"]
    )
    point = default_collate([Point(1, 2), Point(3, 4)])
    assert isinstance(point, Point) and point.y.tolist() == [2, 4]
    with pytest.raises(ShapeError, match="different lengths"):
        default_collate([[1], [1, 2]])
    with pytest.raises(ShapeError, match=r"(?s)different shapes.*\(1,\), \(2,\).*collate_fn"):
        default_collate([np.ones(1), np.ones(2)])
    with pytest.raises(ShapeError, match="stack"):
        default_collate([lampion.ones(1), lampion.ones(2)])
    with pytest.raises(DTypeError, match=r"(?s)cannot be joined.*got: object"):
        default_collate([object()])


# -- loader ----------------------------------------------------------------------------------------------


def test_loader_reads_every_sample_once():
    loader = DataLoader(Squares(), batch_size=3)
    assert len(loader) == 3
    batches = [(x.tolist(), y.tolist()) for x, y in loader]
    assert batches == [([0, 1, 2], [0, 1, 4]), ([3, 4, 5], [9, 16, 25]), ([6], [36])]
    assert (
        len(DataLoader(Squares(), 3, drop_last=True))
        == len(list(DataLoader(Squares(), 3, drop_last=True)))
        == 2
    )
    shuffled = DataLoader(Squares(), 3, shuffle=True, generator=generator())
    passes = [[i for x, _ in shuffled for i in x.tolist()] for _ in range(2)]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(7)) and passes[0] != passes[1]
    again = DataLoader(Squares(), 3, shuffle=True, generator=generator())
    assert [i for x, _ in again for i in x.tolist()] == passes[0]


def test_shuffling_follows_manual_seed():
    def order():
        lampion.manual_seed(5)
        return [i for x, _ in DataLoader(Squares(), 2, shuffle=True) for i in x.tolist()]

    assert order() == order()


def test_samplers_and_collate_of_the_users_own():
    assert [x.tolist() for x, _ in DataLoader(Squares(), 2, sampler=[5, 1, 3])] == [[5, 1], [3]]
    assert [x.tolist() for x, _ in DataLoader(Squares(), batch_sampler=[[0, 6], [2]])] == [[0, 6], [2]]
    assert list(DataLoader(Squares(), 4, collate_fn=len)) == [4, 3]


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: Subset(data, [3, 1, 4, 1, 5, 9, 2])])
def test_a_batch_read_at_once_is_the_batch_read_one_by_one(wrap):
    x, y = lampion.randn(10, 2, 3), lampion.arange(10)
    data = wrap(TensorDataset(x, y))
    slow = DataLoader(data, 3, collate_fn=default_collate)
    for fast_batch, slow_batch in zip(DataLoader(data, 3), slow, strict=True):
        for a, b in zip(fast_batch, slow_batch, strict=True):
            assert a.dtype is b.dtype and a.tolist() == b.tolist()
    batch = next(iter(DataLoader(data, 3)))[0]
    batch.fill_(0.0)
    assert not (x == 0).any()  # a batch has memory of its own


def test_a_subclass_that_changes_samples_is_believed():
    class Negated(TensorDataset):
        def __getitem__(self, index):
            return tuple(-x for x in super().__getitem__(index))

    batch = next(iter(DataLoader(Negated(lampion.arange(4)), 4)))
    assert batch[0].tolist() == [0, -1, -2, -3]
    batch = next(iter(DataLoader(Subset(Negated(lampion.arange(4)), [2, 1]), 2)))
    assert batch[0].tolist() == [-2, -1]


def test_loader_errors():
    with pytest.raises(LampionError, match="both a sampler and shuffle"):
        DataLoader(Squares(), shuffle=True, sampler=[1])
    with pytest.raises(LampionError, match="batch_sampler decides"):
        DataLoader(Squares(), 2, batch_sampler=[[1]])
    with pytest.raises(LampionError, match="batch_size is not a size"):
        DataLoader(Squares(), 0)


# -- digits ----------------------------------------------------------------------------------------------


def test_split_is_stratified_and_fixed():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    learn, test = split(labels)
    assert sorted([*learn, *test]) == list(range(100))
    assert np.bincount(labels[test]).tolist() == [10, 6, 4]
    assert [part.tolist() for part in split(labels)] == [learn.tolist(), test.tolist()]
    assert test.tolist() == [7, 8, 10, 21, 27, 29, 37, 39, 42, 45, 50, 59, 65, 66, 68, 72, 82, 88, 93, 97]


def test_digits():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: the digits come with it")
    state = lampion.get_rng_state().tolist()
    train, test = Digits(), Digits(train=False)
    assert lampion.get_rng_state().tolist() == state  # the split draws from a generator of its own
    assert len(train) == 1438 and len(test) == 359
    for data in (train, test):
        assert data.images.shape == (len(data), 1, 8, 8) and data.images.dtype is lampion.float32
        assert data.images.amax().item() == 1.0 and data.images.numpy().min() == 0.0
        assert data.labels.dtype is lampion.int64 and set(data.labels.tolist()) == set(range(10))
    seen = {image.tobytes() for image in train.images.numpy()}
    assert len(seen) == 1438 and not any(image.tobytes() in seen for image in test.images.numpy())
    assert test.labels[:10].tolist() == [1, 3, 5, 6, 9, 5, 1, 2, 0, 2]


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        LampionError, match=r'(?s)scikit-learn, which is not installed.*pip install "\.\[recipes\]"'
    ):
        Digits()
