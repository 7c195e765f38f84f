"""The recipes about words and letters, on a little made-up data; on real data see benchmarks/results."""

import importlib
import json

import numpy as np
import pytest

import lampion
from lampion import cli, nn
from lampion.datasets import Addition, BAbI, Dates
from lampion.errors import LampionError, OptionError
from lampion.text import UnknownWordError, Vocab

COMMON = {"settings.json", "metrics.json", "history.csv", "checkpoints", "curves.png"}
WORDS = (
    "king", "man", "queen", "woman", "take", "took", "go", "went", "car", "cars", "child", "children", "good",
    "better", "bad", "worse",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _pictures():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")


class MadeUpText:
    """Words of which pairs stand together: 0 with 1, 2 with 3..."""

    def __init__(self, split="train"):
        recipe = importlib.import_module("lampion.recipes.counts")
        self.vocab = Vocab(dict.fromkeys([*WORDS, *recipe.SHOWN, *recipe.ASKED]))
        pairs = np.random.default_rng(0).integers(0, len(self.vocab) // 2, 1500)
        self.corpus = lampion.tensor(np.stack([2 * pairs, 2 * pairs + 1], 1).ravel())


def files(folder, metrics):
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return {path.name for path in folder.iterdir()}


def compiled_whole(trainer):
    (explanation,) = trainer.explain()
    assert explanation.fallbacks == explanation.callouts == 0


def in_two_parts(recipe, folder, monkeypatch, epochs, **options):
    """A run that is stopped in the middle and goes on ends with the bits of one that is not."""

    class Stop(recipe.ProgressBar):
        def on_epoch_end(self, trainer):
            super().on_epoch_end(trainer)
            if trainer.epoch == epochs // 2 + 1:
                raise KeyboardInterrupt

    class Often(recipe.Checkpoint):
        def __init__(self, **options):
            super().__init__(every=1, keep=1)

    monkeypatch.setattr(recipe, "Checkpoint", Often)
    recipe.train(epochs=epochs, out=folder / "whole", **options)
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "ProgressBar", Stop)
        with pytest.raises(KeyboardInterrupt):
            recipe.train(epochs=epochs, out=folder / "parts", **options)
    recipe.train(epochs=epochs, out=folder / "parts", resume=True, **options)
    for path in (folder / "whole").glob("*.safetensors"):
        assert path.read_bytes() == (folder / "parts" / path.name).read_bytes()
    name = "history.csv"
    assert (folder / "whole" / name).read_bytes() == (folder / "parts" / name).read_bytes()


def test_counts(monkeypatch, tmp_path, capsys):
    from lampion.recipes import counts

    monkeypatch.setattr(counts, "PTB", MadeUpText)
    metrics = counts.train(out=tmp_path, window=1, dimensions=30)
    assert files(tmp_path, metrics) == {
        "settings.json", "metrics.json", "vectors.safetensors", "vocab.json", "similarities.png",
    }  # fmt: skip
    vectors = lampion.load(tmp_path / "vectors.safetensors")["vectors"]
    vocab = Vocab.load(tmp_path / "vocab.json")
    assert vectors.shape == (len(vocab), 30) and "toyota: " in capsys.readouterr().out
    assert set(metrics["most_similar"]) == set(counts.ASKED)
    with pytest.raises(UnknownWordError, match="'lampion' is not in the vocabulary"):
        lampion.text.most_similar("lampion", vocab, vectors)


def test_nothing_of_counts_is_compiled(monkeypatch, capsys):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: recipes need it")
    assert cli.main(["explain", "counts"]) == 1
    assert "the recipe counts has no training step" in capsys.readouterr().err
    assert cli.main(["train", "counts", "--epochs", "3"]) == 1
    assert "the recipe counts has no option epochs" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["cbow", "skip-gram"])
def test_word2vec(method, monkeypatch, tmp_path, capsys):
    from lampion.recipes import word2vec

    monkeypatch.setattr(word2vec, "PTB", MadeUpText)
    metrics = word2vec.train(epochs=2, batch_size=50, method=method, out=tmp_path)
    assert files(tmp_path, metrics) == COMMON | {"vectors.safetensors", "vocab.json", "similarities.png"}
    assert 0 < metrics["loss"] < np.log(2)
    assert set(metrics["ranks"]) == {"queen-woman", "go-went", "child-children", "bad-worse"}
    assert "king is to man as queen to " in capsys.readouterr().out


def test_word2vec_touches_the_rows_used_and_is_compiled_whole(monkeypatch):
    from lampion.recipes import word2vec

    monkeypatch.setattr(word2vec, "PTB", MadeUpText)
    lampion.manual_seed(0)
    trainer, guesses, _ = word2vec.prepare(1, 50, 0.1, "cpu", True)
    before = trainer.model.given.weight.detach().clone()
    trainer.callbacks = []
    batch = next(iter(guesses))
    trainer.fit([batch], epochs=1)
    compiled_whole(trainer)
    moved = (trainer.model.given.weight != before).any(1).nonzero().flatten().tolist()
    assert moved == sorted(set(batch[0].flatten().tolist()))
    given, guessed, answers = batch
    assert given.shape == (50, 10) and guessed.shape == answers.shape == (50, 6)
    assert not (guessed[:, 1:] == guessed[:, :1]).any()  # what is drawn as wrong is not the right one


def test_word2vec_weighs_neighbours_by_nearness():
    from lampion.recipes import word2vec

    guesses = word2vec.Guesses(lampion.arange(10), "cbow", 6, window=2, wrong=1)
    np.testing.assert_allclose(guesses.shares.numpy(), np.array([1, 2, 2, 1]) / 6, rtol=1e-6)
    shares = word2vec.Guesses(lampion.arange(20), "cbow", 1).shares
    np.testing.assert_allclose(shares.numpy(), np.array([1, 2, 3, 4, 5, 5, 4, 3, 2, 1]) / 30, rtol=1e-6)

    model = word2vec.Word2Vec(6, guesses.shares, width=1)
    assert set(model.state_dict()) == {"given.weight", "guessed.weight"}
    with lampion.no_grad():
        model.given.weight.copy_(lampion.tensor([[1.0], [10.0], [100.0], [1000.0], [0.0], [0.0]]))
        model.guessed.weight.copy_(lampion.tensor([[0.0], [0.0], [0.0], [0.0], [6.0], [-6.0]]))
    given, guessed = lampion.tensor([[0, 1, 2, 3], [1, 0, 2, 3]]), lampion.tensor([[4, 5], [4, 5]])
    # The digits are how often each word counts: the first two change places, and so do theirs.
    expected = [[1221.0, -1221.0], [1212.0, -1212.0]]
    np.testing.assert_allclose(model(given, guessed).detach().numpy(), expected, rtol=1e-6)


def test_the_one_word_that_skip_gram_is_given_counts_whole(monkeypatch):
    from lampion.recipes import word2vec

    monkeypatch.setattr(word2vec, "PTB", MadeUpText)
    lampion.manual_seed(0)
    trainer, guesses, _ = word2vec.prepare(1, 50, 0.1, "cpu", False, method="skip-gram")
    given, guessed, _ = next(iter(guesses))
    assert given.shape == (50, 1) and guesses.shares.tolist() == [1.0]
    model = trainer.model
    by_itself = (model.guessed(guessed) * model.given(given)).sum(-1)
    assert model(given, guessed).tolist() == by_itself.tolist()  # to the last bit


def test_word2vec_says_what_is_wrong(monkeypatch):
    from lampion.recipes import word2vec

    monkeypatch.setattr(word2vec, "PTB", MadeUpText)
    with pytest.raises(OptionError, match=r"(?s)no such method.*cbow or skip-gram.*'bag'"):
        word2vec.prepare(1, 50, 0.1, "cpu", True, method="bag")
    with pytest.raises(LampionError, match="the text is too short"):
        word2vec.Guesses(lampion.arange(10), "cbow", 2)
    vocab = MadeUpText().vocab
    with pytest.raises(UnknownWordError, match="'queer' is not in the vocabulary"):
        word2vec.analogy("king", "man", "queer", vocab, lampion.randn(len(vocab), 3))


def test_word2vec_goes_on(monkeypatch, tmp_path):
    from lampion.recipes import word2vec

    monkeypatch.setattr(word2vec, "PTB", MadeUpText)
    in_two_parts(word2vec, tmp_path, monkeypatch, 3, batch_size=100)


def test_sine(tmp_path):
    from lampion.recipes import sine

    metrics = sine.train(epochs=25, out=tmp_path)
    assert files(tmp_path, metrics) == COMMON | {"model.safetensors", "wave.png"}
    assert metrics["loss"] < 0.01


def test_sine_carries_its_state_and_is_compiled_whole():
    from lampion.recipes import sine

    lampion.manual_seed(0)
    trainer, pieces, _ = sine.prepare(1, 30, 0.01, "cpu", True)
    trainer.callbacks = []
    trainer.fit(pieces[:1], epochs=1)
    assert trainer.model.h.abs().max() > 0
    with lampion.no_grad():
        _, (h, _) = trainer.model(pieces[0][0])
    trainer.fit(pieces[:1], epochs=1)  # each epoch begins anew
    np.testing.assert_allclose(trainer.model.h.numpy(), h.numpy(), rtol=1e-4, atol=1e-6)
    trainer.fit(pieces[:2], epochs=1)
    with lampion.no_grad():
        _, (alone, _) = trainer.model(pieces[1][0])
    assert (trainer.model.h - alone).abs().max() > 0.01
    compiled_whole(trainer)


def test_sine_goes_on(monkeypatch, tmp_path):
    from lampion.recipes import sine

    in_two_parts(sine, tmp_path, monkeypatch, 4)


def small(monkeypatch, recipe, name, dataset, samples):
    """The recipe with so many samples, and LSTMs of a few units."""
    monkeypatch.setattr(
        recipe, name, lambda train=True, samples=samples: dataset(train=train, samples=samples)
    )
    network = next(value for key, value in vars(recipe).items() if key in ("Seq2Seq", "Attention"))
    monkeypatch.setattr(network.__init__, "__defaults__", (8, 16))
    return recipe


@pytest.mark.parametrize("variant", [{}, {"reverse": False}, {"peeky": False}])
def test_addition(variant, monkeypatch, tmp_path, capsys):
    from lampion.recipes import addition

    small(monkeypatch, addition, "Addition", Addition, 2000)
    metrics = addition.train(epochs=2, batch_size=100, lr=0.02, out=tmp_path, **variant)
    assert files(tmp_path, metrics) == COMMON | {"model.safetensors"}
    assert metrics["test_loss"] < 2.0  # log(13) = 2.56, for letters by chance
    assert len([line for line in capsys.readouterr().out.splitlines() if "+" in line and "=" in line]) == 10


def test_what_addition_writes_is_what_it_is_measured_by(monkeypatch):
    from lampion.recipes import addition

    small(monkeypatch, addition, "Addition", Addition, 300)
    lampion.manual_seed(0)
    trainer, sums, _ = addition.prepare(30, 30, 0.02, "cpu", True)
    trainer.callbacks = []
    trainer.fit(sums, epochs=30)
    compiled_whole(trainer)
    data = addition.Addition(train=True)
    written = addition.written(trainer.model, data, 100)
    right = [
        text.partition("=")[2] == answer[1:] for text, answer in zip(written, data.answers[:100], strict=True)
    ]
    questions, answers = (part[:100] for part in data.tensors)
    metric = addition.ExactMatch()
    metric.update(trainer.model(questions, answers[:, :-1]), answers[:, 1:])
    assert metric.compute() == np.mean(right)
    assert 0.02 < np.mean(right) < 1


def test_addition_goes_on(monkeypatch, tmp_path):
    from lampion.recipes import addition

    small(monkeypatch, addition, "Addition", Addition, 600)
    in_two_parts(addition, tmp_path, monkeypatch, 2, batch_size=100, compile=False)


def test_dates(monkeypatch, tmp_path):
    from lampion.recipes import dates

    small(monkeypatch, dates, "Dates", Dates, 1000)
    metrics = dates.train(epochs=2, batch_size=50, lr=0.02, out=tmp_path)
    assert files(tmp_path, metrics) == COMMON | {"model.safetensors", "attention.png"}
    assert metrics["test_loss"] < 2.5  # log(59) = 4.1


def test_where_dates_looks(monkeypatch):
    from lampion.recipes import dates

    small(monkeypatch, dates, "Dates", Dates, 100)
    trainer, batches, _ = dates.prepare(1, 30, 0.02, "cpu", True)
    trainer.callbacks = []
    trainer.fit(batches, epochs=1)
    compiled_whole(trainer)
    questions, answers = (part[:3] for part in dates.Dates(train=False).tensors)
    scores, weights = trainer.model.look(questions, answers)
    assert scores.shape == (3, 11, 59) and weights.shape == (3, 11, 29)
    np.testing.assert_allclose(weights.sum(-1).detach().numpy(), 1, rtol=1e-5)


class MadeUpStories(BAbI):
    """Fifteen lines each: somebody goes somewhere, and where is he?"""

    def __init__(self, train=True):
        generator = np.random.default_rng(int(train))
        people, places = ("john", "paul", "mary"), ("garden", "kitchen", "office")
        self.lines = []
        for person, place in zip(*generator.integers(0, 3, (2, 60)), strict=True):
            went = [people[person], "went", "to", "the", places[place]]
            self.lines += [went] if len(self.lines) % 15 == 14 else [went, ["where", "is", went[0], went[-1]]]
        del self.lines[len(self.lines) // 15 * 15 :]


def test_babi(monkeypatch, tmp_path):
    from lampion.recipes import babi

    monkeypatch.setattr(babi, "BAbI", MadeUpStories)
    metrics = babi.train(epochs=40, batch_size=4, lr=0.01, out=tmp_path)
    assert files(tmp_path, metrics) == COMMON | {"model.safetensors"}
    assert metrics["test_accuracy"] > 0.7 and metrics["test_answer_accuracy"] > 0.5


def test_babi_counts_the_last_words_and_the_answers(monkeypatch):
    from lampion.recipes import babi

    monkeypatch.setattr(babi, "BAbI", MadeUpStories)
    trainer, stories, test = babi.prepare(1, 4, 0.01, "cpu", True)
    trainer.callbacks = []
    trainer.fit(stories, epochs=1)
    compiled_whole(trainer)
    _, following = next(iter(test))
    scores = nn.functional.one_hot(following, len(stories.vocab)).double().transpose(1, 2)
    lines, questions = (sum(map(condition, MadeUpStories(train=False).lines))
                        for condition in (lambda line: True, lambda line: line[0] == "where"))  # fmt: skip
    for wrong, expected in ((following == test.vocab["garden"], None), (following == test.vocab["the"], 1.0)):
        for name, count in (("last_word_accuracy", lines), ("answer_accuracy", questions)):
            metric = babi.shares(test.vocab)[name]
            metric.update(scores * ~wrong.unsqueeze(1), following)
            gardens = sum(line[-1] == "garden" and (name[0] == "l" or line[0] == "where")
                          for line in MadeUpStories(train=False).lines)  # fmt: skip
            assert metric.compute() == pytest.approx(expected or 1 - gardens / count)
    # New names, the same story: who is where stays as it is.
    told = stories.renamed(stories.words[0]).tolist()
    pairs = set(zip(stories.words[0].tolist(), told, strict=True))
    assert len(pairs) == len({old for old, _ in pairs}) == len({new for _, new in pairs})


def test_babi_goes_on(monkeypatch, tmp_path):
    from lampion.recipes import babi

    monkeypatch.setattr(babi, "BAbI", MadeUpStories)
    in_two_parts(babi, tmp_path, monkeypatch, 3, batch_size=4, compile=False)


class MadeUpReviews:
    kind, unkind = ("wonderful", "excellent", "beautiful", "loved"), ("terrible", "awful", "boring", "bad")

    def __init__(self, train=True):
        generator = np.random.default_rng(int(train))
        self.labels = lampion.tensor(np.repeat(np.arange(2), 100))
        self.texts = []
        for label in self.labels.tolist():
            words = [str(word) for word in generator.choice(self.kind if label else self.unkind, 3)]
            self.texts.append(f"The film was {words[0]}, {words[1]}<br /><br />and {words[2]}!")


def test_imdb(monkeypatch, tmp_path, capsys):
    from lampion.recipes import imdb

    monkeypatch.setattr(imdb, "IMDB", MadeUpReviews)
    metrics = imdb.train(epochs=6, batch_size=20, lr=0.1, out=tmp_path)
    assert files(tmp_path, metrics) == COMMON | {"model.safetensors", "vocab.json", "similarities.png"}
    assert metrics["test_accuracy"] == 1.0
    similar = dict(
        line.split(": ") for line in capsys.readouterr().out.splitlines() if line.startswith(imdb.ASKED)
    )
    assert set(similar["beautiful"].split(", ")[:3]) == {"wonderful", "excellent", "loved"}
    assert set(similar["terrible"].split(", ")[:3]) == {"awful", "boring", "bad"}


def test_imdb_leaves_the_padding_alone_and_goes_on(monkeypatch, tmp_path):
    from lampion.recipes import imdb

    monkeypatch.setattr(imdb, "IMDB", MadeUpReviews)
    trainer, batches, _ = imdb.prepare(1, 20, 0.1, "cpu", True)
    trainer.callbacks = []
    trainer.fit(batches, epochs=1)
    compiled_whole(trainer)
    assert not trainer.model.embedding.weight[0].any()
    in_two_parts(imdb, tmp_path, monkeypatch, 2, batch_size=20)


def test_words_of_a_review():
    from lampion.recipes import imdb

    assert imdb.words_of("It's GOOD.<br /><br />It's, well, good") == ["it's", "good", "well"]
    assert imdb.words_of("") == []
