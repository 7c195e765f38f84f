"""The recipes of language models, on a small made-up text; on the real ones see benchmarks/results."""

import importlib
import json

import numpy as np
import pytest

import lampion
from lampion import cli
from lampion.errors import LampionError, ShapeError
from lampion.text import UnknownWordError, Vocab

WORDS = ["the", "meaning", "of", "life", "is", "<eos>", "<unk>", "N", *(f"w{i}" for i in range(12))]
SIZES = {"train": 3501, "valid": 301, "test": 302}


class MadeUpWords:
    """A text in which the word before decides four words of five."""

    def __init__(self, split="train"):
        generator = np.random.default_rng(len(split))
        words = [0]
        for _ in range(SIZES[split]):
            random = generator.integers(0, len(WORDS)) if generator.random() < 0.2 else 0
            words.append((3 * words[-1] + 1 + random) % len(WORDS))
        self.split, self.vocab = split, Vocab(WORDS)
        self.corpus = lampion.tensor(np.array(words))


class MadeUpCharacters:
    text = "ROMEO:\nWhat light through yonder window breaks?\n" * 30

    def __init__(self, split="train"):
        self.vocab = Vocab.from_tokens(self.text, order="sorted")
        self.corpus = self.vocab.encode(self.text[: 1000 if split == "train" else 300])


def language_model(name, monkeypatch):
    """A recipe, with a network of a few units and the made-up text."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    recipe = importlib.import_module(f"lampion.recipes.{name.replace('-', '_')}")
    monkeypatch.setattr(recipe, "PTB", MadeUpWords)
    network = next(value for key, value in vars(recipe).items() if key.endswith("Rnnlm"))
    monkeypatch.setattr(network.__init__, "__defaults__", (16, *network.__init__.__defaults__[1:]))
    return recipe


@pytest.mark.parametrize(
    ("name", "rate"), [("rnnlm", 0.03), ("rnnlm-lstm", 20.0), ("rnnlm-gru", 20.0), ("rnnlm-better", 20.0)]
)
def test_language_models(name, rate, monkeypatch, tmp_path):
    recipe = language_model(name, monkeypatch)
    metrics = recipe.train(epochs=6, batch_size=5, lr=rate, out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "settings.json", "metrics.json", "history.csv", "model.safetensors", "checkpoints", "curves.png",
        "text.txt",
    }  # fmt: skip
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["test_perplexity"] < 9  # of 20 words; 3.8 is the best that can be
    text = (tmp_path / "text.txt").read_text()
    assert text.count("the meaning of life is") >= 3 and "<unk>" not in text and "N" not in text.split()
    names = (tmp_path / "history.csv").read_text().partition("\n")[0].split(",")
    assert names == ["epoch", "loss", "perplexity", "validation_loss", "validation_perplexity", "lr"]


def test_a_language_model_that_was_stopped_goes_on_with_the_same_bits(monkeypatch, tmp_path):
    recipe = language_model("rnnlm-better", monkeypatch)

    class Often(recipe.Checkpoint):
        def __init__(self, **options):
            super().__init__(every_steps=15)

    class Stop(recipe.CSVLogger):
        def on_step_end(self, trainer):
            if trainer.step == 31:  # in the middle of the second epoch
                raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "Checkpoint", Often)
    options = {"epochs": 2, "batch_size": 5, "compile": False}
    recipe.train(out=tmp_path / "whole", **options)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(recipe, "CSVLogger", Stop)
        recipe.train(out=tmp_path / "stopped", **options)
    recipe.train(out=tmp_path / "stopped", resume=True, **options)
    for name in ("model.safetensors", "history.csv", "text.txt"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.fixture
def shakespeare(monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    from lampion.recipes import shakespeare

    for name, size in (("LAYERS", 1), ("HEADS", 2), ("WIDTH", 16), ("BLOCK", 8)):
        monkeypatch.setattr(shakespeare, name, size)
    monkeypatch.setattr(shakespeare, "TinyShakespeare", MadeUpCharacters)
    return shakespeare


def test_shakespeare(shakespeare, tmp_path):
    metrics = shakespeare.train(epochs=2, lr=0.02, out=tmp_path)
    assert metrics["validation_loss"] < 0.7  # ln 27 = 3.3 at the beginning
    assert (tmp_path / "text.txt").read_text().count("ROMEO:") >= 3
    assert (tmp_path / "curves.png").exists()


def test_a_text_that_is_longer_than_there_are_places(shakespeare):
    model = shakespeare.GPT(5).eval()
    assert model(lampion.zeros(2, 8, dtype=lampion.int64))[0].shape == (2, 8, 5)
    with pytest.raises(ShapeError, match=r"(?s)longer than there are places.*8 at most.*text\[:, -8:\]"):
        model(lampion.zeros(2, 9, dtype=lampion.int64))


def test_writing_with_a_cache_is_writing_without(shakespeare):
    """As long as there are places; then it goes on from the second half of what it saw."""
    lampion.manual_seed(0)
    model = shakespeare.GPT(5).eval()
    for weight in model.parameters():  # so that all that was before matters
        lampion.nn.init.normal_(weight)
    text, state = lampion.randint(0, 5, (1, 15)), None
    writer = shakespeare.Writer(model)
    for end in (3, *range(4, 16)):
        new = text[:, 0 if end == 3 else end - 1 : end]
        start = 0 if end <= 8 else 5 if end <= 13 else 10
        with lampion.no_grad():
            scores, state = writer(new, state)
            whole = model(text[:, start:end])[0]
        assert np.allclose(scores[:, -1].numpy(), whole[:, -1].numpy(), rtol=1e-4, atol=1e-4), end


def test_what_cannot_be_gone_on_with(shakespeare):
    from lampion.text import continue_text

    model, vocab = shakespeare.GPT(3), Vocab("abc")
    with pytest.raises(UnknownWordError, match="'x' is not in the vocabulary"):
        continue_text(model, vocab, "axe", 3)
    with pytest.raises(LampionError, match="there is nothing to go on from"):
        continue_text(model, vocab, "", 3)


def test_without_the_text_a_line_says_so(monkeypatch, capsys, tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    folder = tmp_path / "data" / "ptb"
    folder.mkdir(parents=True)
    (folder / "ptb.train.txt").write_text("")
    monkeypatch.setenv("LAMPION_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "rnnlm-lstm"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("lampion: error: PTB") and "ptb.train.txt" in err and "Traceback" not in err


def test_cloze_reads_all_words_but_the_one_that_is_missing(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
    from lampion.recipes import cloze

    lampion.manual_seed(0)
    model = cloze.Cloze(9, width=4).eval()
    words = lampion.randint(0, 9, (1, 7))
    before = model(words)[0]
    for place in range(7):
        changed = words.clone()
        changed[0, place] = (words[0, place] + 4) % 9
        same = (model(changed)[0] == before).all(-1)[0].tolist()
        assert [t for t in range(7) if same[t]] == [place - 1] * (place > 0), place
    assert model(words[:, :1])[0].shape == (1, 1, 9)  # nothing is read after it

    monkeypatch.setattr(cloze, "PTB", MadeUpWords)
    monkeypatch.setattr(cloze.Cloze.__init__, "__defaults__", (16, 0.0))
    metrics = cloze.train(epochs=8, batch_size=5, lr=0.03, out=tmp_path)
    assert metrics["test_perplexity"] < 4  # below the 3.8 that one side allows, were there more text
    assert len((tmp_path / "guesses.txt").read_text().splitlines()) == 99


def test_the_benchmark_of_shakespeare_trains_the_same_in_torch(shakespeare, monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed: it is what the benchmark compares with")
    from benchmarks.workloads import shakespeare as workload
    from lampion.text import RandomPieces

    monkeypatch.setattr(
        shakespeare, "RandomPieces", lambda corpus, size, time, batches: RandomPieces(corpus, size, time, 60)
    )
    ours, theirs = workload.lampion_training(2), workload.torch_training("eager", 2)
    assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-4)  # 120 steps of float32
    assert ours["losses"][1] < ours["losses"][0] < 3.3
