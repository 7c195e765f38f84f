"""Reviews of films, kind or unkind: a vector for each word, added up for a review, and one number from that.

    lampion train imdb

fetches the 50,000 reviews when it is first run (84 MB; or reads them from the folder that LAMPION_DATA
names), trains, and leaves weights, history, curves and a picture of some words in a folder under runs/. Words
that make a review kind become alike, whatever else they mean.
"""

import re
import time
from collections import Counter
from typing import Any

import lampion
from lampion import Tensor, nn, viz
from lampion.datasets import IMDB
from lampion.optim import Adagrad
from lampion.text import Vocab, most_similar, pad
from lampion.training import Checkpoint, ProgressBar, Run, Trainer
from lampion.training.metrics import Accuracy
from lampion.utils.data import DataLoader, TensorDataset

ASKED = ("beautiful", "terrible")
SHOWN = (
    "wonderful", "excellent", "perfect", "great", "superb", "favorite", "loved", "enjoyed", "beautiful",
    "terrible", "awful", "worst", "boring", "waste", "poor", "horrible", "dull", "bad",
    "the", "film", "actor", "scene",
)  # fmt: skip


class Sentiment(nn.Module):
    """Which words a review has, (N, T), padded with 0, in; a score above 0 for a kind one, (N,), out."""

    def __init__(self, words: int, width: int = 100) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0, sparse=True)
        nn.init.uniform_(self.embedding.weight, -0.01, 0.01)
        self.embedding.weight.data[0] = 0.0
        self.output = nn.Linear(width, 1)

    def forward(self, words: Tensor) -> Tensor:
        h = self.embedding(words).sum(1).sigmoid()  # (N, width)
        score: Tensor = self.output(h).squeeze(1)
        return score


def words_of(text: str) -> list[str]:
    """The different words of a review, in the order in which they come."""
    return list(dict.fromkeys(re.findall(r"[a-z']+", text.lower().replace("<br />", " "))))


def numbered(data: IMDB, vocab: Vocab, length: int) -> TensorDataset:
    """The reviews as numbers of words, and 1.0 for the kind ones."""
    rows = [[vocab[word] for word in words_of(text) if word in vocab][:length] for text in data.texts]
    return TensorDataset(pad(rows, length=length)[0], data.labels.float())


def prepare(
    epochs: int, batch_size: int, lr: float, device: str, compile: bool, out: Any = None, words: int = 20_000
) -> tuple[Trainer, DataLoader, DataLoader]:
    """The trainer, the reviews to learn from, and those to test on."""
    data = IMDB(train=True)
    often = Counter(word for text in data.texts for word in words_of(text)).most_common(words)
    vocab = Vocab(["<pad>", *(word for word, _ in often)])
    loader = DataLoader(numbered(data, vocab, 300), batch_size, shuffle=True, drop_last=True)
    model = Sentiment(len(vocab)).to(device)
    model.vocab = vocab
    trainer = Trainer(
        model, nn.BCEWithLogitsLoss(), Adagrad(model.parameters(), lr=lr), metrics=[Accuracy()],
        callbacks=[ProgressBar(), Checkpoint(every=1, keep=1)], compile=compile, out=out,
    )  # fmt: skip
    return trainer, loader, DataLoader(numbered(IMDB(train=False), vocab, 300), batch_size=500)


def train(
    epochs: int = 3, batch_size: int = 50, lr: float = 0.02, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("imdb", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, loader, test = prepare(epochs, batch_size, lr, device, compile, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(loader, test, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    model, vocab = trainer.model, trainer.model.vocab
    lampion.save(model.state_dict(), run / "model.safetensors")
    vocab.save(run / "vocab.json")
    history.save(run / "history.csv")
    accuracy, loss = history["validation_accuracy"][-1], history["validation_loss"][-1]
    viz.curves(history, run / "curves.png", f"imdb, seed {seed}: {accuracy:.1%} of the test reviews right")
    vectors, shown = model.embedding.weight.detach(), [word for word in SHOWN if word in vocab]
    viz.similarities(shown, vectors[vocab.encode(shown)], run / "similarities.png", "imdb: words of reviews")
    for word in ASKED:
        print(f"{word}: {', '.join(other for other, _ in most_similar(word, vocab, vectors))}")
    return run.finish(test_accuracy=accuracy, test_loss=loss, seconds=round(seconds, 3))


if __name__ == "__main__":
    train()
