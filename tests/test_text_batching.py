"""Words with their neighbours, negative samples, batches of text, and pieces of words."""

import sys

import numpy as np
import pytest

import lampion
from lampion.errors import DTypeError, IndexRangeError, LampionError, OptionError, ShapeError
from lampion.text import BPE, BucketSampler, SequentialBatches, UnigramSampler, contexts_targets, pad
from lampion.utils.data import DataLoader


def seeded(seed=0):
    return lampion.Generator().manual_seed(seed)


def test_contexts_and_targets():
    ids = [0, 1, 2, 3, 4, 1, 5, 6]
    contexts, targets = contexts_targets(ids)
    assert contexts.tolist() == [[0, 2], [1, 3], [2, 4], [3, 1], [4, 5], [1, 6]]  # the book's
    assert targets.tolist() == [1, 2, 3, 4, 1, 5]
    contexts, targets = contexts_targets(lampion.tensor(ids), window=3)
    assert contexts.tolist() == [[0, 1, 2, 4, 1, 5], [1, 2, 3, 1, 5, 6]] and targets.tolist() == [3, 4]
    contexts[0, 0] = targets[0] = 9  # memory of their own
    assert ids[0] == 0
    with pytest.raises(LampionError, match=r"(?s)too short.*expected: 7 words"):
        contexts_targets(ids[:6], window=3)
    with pytest.raises(OptionError, match="window from 1"):
        contexts_targets(ids, window=0)


def test_negatives_follow_the_counts_and_never_hit_the_target():
    counts = [40, 0, 10, 1, 5, 0]
    sampler = UnigramSampler(counts, generator=seeded())
    weights = np.array(counts) ** 0.75
    assert np.allclose(sampler.probabilities.numpy(), weights / weights.sum(), rtol=0, atol=1e-15)
    for target in range(6):
        words = sampler.negatives([target] * 500, 40).numpy()
        share = np.where(np.arange(6) == target, 0, weights)
        share /= share.sum()
        seen = np.bincount(words.ravel(), minlength=6)
        assert words.shape == (500, 40) and (seen[share == 0] == 0).all()
        # Five standard deviations of the number of hits among 20,000.
        assert (np.abs(seen - 20_000 * share) <= 5 * np.sqrt(20_000 * share * (1 - share)) + 1e-9).all()


def test_negatives_are_the_same_from_the_same_seed():
    a, b = (UnigramSampler([1, 2, 3], generator=seeded(4)) for _ in range(2))
    first = a.negatives([0, 1], 6)
    assert first.tolist() == b.negatives([0, 1], 6).tolist() != a.negatives([0, 1], 6).tolist()
    assert first.dtype is lampion.int64


def test_negatives_where_all_numbers_are_at_the_border(monkeypatch):
    sampler = UnigramSampler([1, 3, 1, 7])
    for value in (0.0, np.nextafter(1.0, 0)):
        numbers = lampion.from_numpy(np.full((4, 2), value))
        monkeypatch.setattr("lampion.text.windows.rand", lambda *a, numbers=numbers, **k: numbers)
        words = sampler.negatives([0, 1, 2, 3], 2).numpy()
        assert (words != np.arange(4)[:, None]).all() and words.min() >= 0 and words.max() <= 3


def test_samplers_refuse():
    for counts in ([5], [0, 3], [0, 0]):
        with pytest.raises(LampionError, match="nothing to choose from"):
            UnigramSampler(counts)
    with pytest.raises(OptionError, match="got: -1"):
        UnigramSampler([1, -1])
    sampler = UnigramSampler([1, 1])
    with pytest.raises(IndexRangeError, match="expected: 0 to 1"):
        sampler.negatives([2], 1)
    with pytest.raises(OptionError, match="count from 1"):
        sampler.negatives([1], 0)


def test_sequential_batches():
    """As the book's trainer reads: offsets, then on and on, around the end."""
    corpus, batch_size, time_size = np.arange(100, 148), 3, 5
    xs, ts = corpus[:-1], corpus[1:]
    jump, time = len(xs) // batch_size, 0
    for carry in (True, False):
        batches = SequentialBatches(corpus, batch_size, time_size, carry)
        assert len(batches) == 3
        for _ in range(7 if carry else 1):
            for x, y in batches:
                places = [[(b * jump + time + t) % len(xs) for t in range(5)] for b in range(3)]
                assert x.tolist() == xs[places].tolist() and y.tolist() == ts[places].tolist()
                time += time_size
        time = 0
    assert next(iter(batches))[0].tolist() == next(iter(batches))[0].tolist()  # from the beginning again
    one = list(SequentialBatches(corpus, 1, 47))
    assert len(one) == 1 and one[0][1].tolist() == [ts.tolist()]
    with pytest.raises(LampionError, match=r"(?s)too short.*49 words"):
        SequentialBatches(corpus, 1, 48)
    with pytest.raises(OptionError, match="from 1 on"):
        SequentialBatches(corpus, 0, 1)


def test_padding():
    rows, lengths = pad([[1, 2], lampion.tensor([3]), np.zeros(0)], padding=9, length=3)
    assert rows.tolist() == [[1, 2, 9], [3, 9, 9], [9, 9, 9]] and lengths.tolist() == [2, 1, 0]
    rows, _ = pad([[1, 2], [3], [4, 5, 6]], side="left")
    assert rows.tolist() == [[0, 1, 2], [0, 0, 3], [4, 5, 6]] and rows.dtype is lampion.int64
    with pytest.raises(LampionError, match=r"(?s)longer.*expected: 1 at most.*got: 2 at 1.*cut it"):
        pad([[1], [1, 2]], length=1)
    with pytest.raises(ShapeError, match="at 0"):
        pad([[[1]]])
    with pytest.raises(DTypeError, match="float64 at 1"):
        pad([[1], [0.5]])
    with pytest.raises(OptionError, match="side"):
        pad([[1]], side="top")
    with pytest.raises(LampionError, match="no sequences"):
        pad([])


@pytest.mark.parametrize("drop_last", [False, True])
def test_buckets(drop_last):
    lengths = np.random.default_rng(0).integers(1, 100, 103)
    sampler = BucketSampler(lengths, 4, drop_last, group=10, generator=seeded())
    batches = list(sampler)
    assert len(batches) == len(sampler) == (25 if drop_last else 26)
    indices = sorted(i for batch in batches for i in batch)
    assert indices == list(range(103)) or (drop_last and len(set(indices)) == 100)
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
    assert spread < 15  # of batches by chance: about 60
    assert batches != list(sampler)
    sampler.generator.manual_seed(0)
    assert batches == list(sampler)


def test_buckets_in_a_loader():
    texts = [[1] * n for n in (5, 1, 4, 2, 6)]
    loader = DataLoader(texts, batch_sampler=BucketSampler([len(t) for t in texts], 2), collate_fn=pad)
    assert sorted(rows.shape[0] for rows, _ in loader) == [1, 2, 2]
    with pytest.raises(LampionError, match="there are no lengths"):
        BucketSampler([], 2)
    with pytest.raises(OptionError, match="from 1 on"):
        BucketSampler([1], 0)


def test_bpe(tmp_path):
    pytest.importorskip("tokenizers", reason="finds the pieces of words")
    bpe = BPE.train(["low lower lowest", "new newer newest"] * 5, 270, specials=["<eos>"])
    assert len(bpe) <= 270 and bpe.encode("<eos>").tolist() == [0] and bpe.encode("").shape == (0,)
    for text in ("lowest newer", "Ünknown wörds, 日本", " spaces  and\nlines "):
        assert bpe.decode(bpe.encode(text)) == text and bpe.encode(text).dtype is lampion.int64
    assert len(bpe.pieces("lower")) < len("lower")
    bpe.save(tmp_path / "bpe.json")
    assert BPE.load(tmp_path / "bpe.json").encode("lower new").tolist() == bpe.encode("lower new").tolist()
    (tmp_path / "bpe.json").write_text("{}")
    with pytest.raises(LampionError, match="not a file of tokenizers"):
        BPE.load(tmp_path / "bpe.json")
    with pytest.raises(IndexRangeError, match="no piece"):
        bpe.decode([len(bpe)])


def test_bpe_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(LampionError, match=r"(?s)tokenizers, which is not installed.*\.\[text\]"):
        BPE.train(["text"], 300)
    with pytest.raises(OptionError, match="from 257 on"):
        BPE.train(["text"], 256, specials=["<eos>"])
    for texts in ([], [""], ""):
        with pytest.raises(LampionError, match="text is empty"):
            BPE.train(texts, 300)


def test_numbers_that_are_no_text_are_called_what_they_are():
    sampler = UnigramSampler([3, 2, 1])
    for call, error, message in [
        (lambda: UnigramSampler([5, -1]), OptionError, "some of the counts are negative\n.*0 or more\n.*-1"),
        (lambda: UnigramSampler([]), LampionError, "UnigramSampler: there are no counts"),
        (lambda: UnigramSampler([[1]]), ShapeError, "the counts have one dimension"),
        (lambda: UnigramSampler([0.5]), DTypeError, "the counts are integers"),
        (lambda: sampler.negatives([], 1), LampionError, "there are no targets"),
        (lambda: sampler.negatives([3], 1), IndexRangeError, "outside of the vocabulary\n.*0 to 2\n.*3"),
        (lambda: sampler.negatives([-1], 1), IndexRangeError, "outside of the vocabulary\n.*0 to 2\n.*-1"),
        (lambda: BucketSampler([], 1), LampionError, "BucketSampler: there are no lengths"),
        (lambda: BucketSampler([2, -3], 1), OptionError, "some of the lengths are negative\n.*\n.*-3"),
    ]:
        with pytest.raises(error, match=message):
            call()
