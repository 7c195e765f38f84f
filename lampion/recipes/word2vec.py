"""Words as vectors, learned: which word stands between these ten? (CBOW; skip-gram asks the other way round.)

    lampion train word2vec

learns the vectors of the 10,000 words of the Penn Treebank, and leaves them, the history, curves and a
picture in a folder under runs/. `--set method=skip-gram` chooses the other question.

Each answer is a few times yes or no: is it this word (it is), or one of five that are drawn at random (it is
not)? So a step needs a few rows of the tables only, and changes no others: their gradients are sparse.

CBOW's neighbours count the more, the nearer they are. word2vec takes windows of a random size, up to five
words on each side, and these hold a neighbour at distance d with chance (6 - d) / 5; here all ten are taken,
each with a share in that proportion. (T. Mikolov et al.: "Efficient estimation of word representations in
vector space" (2013); O. Levy, Y. Goldberg, I. Dagan: "Improving distributional similarity with lessons
learned from word embeddings" (2015), section 3.1.)

(The answers' places after ten epochs of CBOW, seeds 0-2: king is to man as queen to woman 1, 1, 1; take is to
took as go to went 1, 1, 1; car is to cars as child to children 1, 1, 3; good is to better as bad to worse 11,
4, 7. With equal shares, children came second to "a.m" with each of these seeds; worse was 7, 4, 4.)
"""

import time
from collections.abc import Iterator
from typing import Any

import lampion
from lampion import Tensor, nn, viz
from lampion.datasets import PTB
from lampion.errors import OptionError
from lampion.optim import SparseAdam
from lampion.optim.lr_scheduler import LambdaLR
from lampion.recipes.counts import SHOWN
from lampion.text import UnigramSampler, analogy, contexts_targets
from lampion.training import Checkpoint, ProgressBar, Run, Schedule, Trainer

RATE = 0.006
ANALOGIES = (("king", "man", "queen", "woman"), ("take", "took", "go", "went"),
             ("car", "cars", "child", "children"), ("good", "better", "bad", "worse"))  # fmt: skip


def nearness(window: int) -> Tensor:
    """The shares of the neighbours of a word, (2 window,), in the order of the text: the nearer, the more."""
    before = lampion.arange(1, window + 1, dtype=lampion.float32)
    return lampion.cat([before, before.flip(0)]) / (window * (window + 1))


class Word2Vec(nn.Module):
    """The weighted mean of the given vectors, by the vector of each word that is a guess: its score."""

    def __init__(self, words: int, shares: Tensor, width: int = 100) -> None:
        super().__init__()
        self.register_buffer("shares", shares, persistent=False)  # (C,); not learned
        self.given = nn.Embedding(words, width, sparse=True)
        self.guessed = nn.Embedding(words, width, sparse=True)
        for table in (self.given, self.guessed):
            nn.init.normal_(table.weight, std=0.01)

    def forward(self, given: Tensor, guessed: Tensor) -> Tensor:
        """(N, C) and (N, K) -> (N, K)."""
        h = (self.given(given) * self.shares.unsqueeze(1)).sum(1)  # (N, width)
        scores: Tensor = (self.guessed(guessed) * h.unsqueeze(1)).sum(-1)
        return scores


class Guesses:
    """Batches of words that are given, (N, C), words to judge, (N, K), and which of these are right.

    `shares`, (C,), is how much each word that is given counts.
    """

    def __init__(self, corpus: Tensor, method: str, batch_size: int, window: int = 5, wrong: int = 5) -> None:
        if method not in ("cbow", "skip-gram"):
            raise OptionError("word2vec", "no such method", expected="cbow or skip-gram", got=repr(method))
        self.contexts, self.targets = contexts_targets(corpus, window)
        self.shares = nearness(window) if method == "cbow" else lampion.ones(1)
        self.sampler = UnigramSampler(lampion.bincount(corpus))
        self.method, self.batch_size, self.wrong = method, batch_size, wrong

    def __len__(self) -> int:
        return len(self.targets) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        size = self.batch_size
        order = lampion.randperm(len(self.targets))[: len(self) * size]
        for some in order.split(100 * size):  # the wrong words of a hundred batches are drawn in one go
            given, right = self.contexts[some], self.targets[some].unsqueeze(1)
            if self.method == "skip-gram":
                given, right = right, given
            wrong = self.sampler.negatives(right.flatten(), self.wrong).reshape(len(some), -1)
            answers = lampion.zeros(size, right.shape[1] + wrong.shape[1])
            answers[:, : right.shape[1]] = 1.0
            guessed = lampion.cat([right, wrong], 1)
            for one, other in zip(given.split(size), guessed.split(size), strict=True):
                yield one, other, answers


def prepare(
    epochs: int, batch_size: int, lr: float, device: str, compile: bool, out: Any = None, method: str = "cbow"
) -> tuple[Trainer, Guesses, None]:
    """The trainer, and what it is to guess."""
    data = PTB()
    guesses = Guesses(data.corpus, method, batch_size)
    model = Word2Vec(len(data.vocab), guesses.shares).to(device)
    optimizer = SparseAdam(list(model.parameters()), lr=lr)
    steps = epochs * len(guesses)
    rate = LambdaLR(optimizer, lambda step: max(1 - step / steps, 0))
    trainer = Trainer(
        model, nn.BCEWithLogitsLoss(), optimizer, scheduler=Schedule(rate, every="step"), compile=compile,
        callbacks=[ProgressBar(), Checkpoint(every=1, keep=1)], out=out,
    )  # fmt: skip
    return trainer, guesses, None


def train(
    epochs: int = 10, batch_size: int = 100, lr: float = RATE, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True, method: str = "cbow",
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile, "method": method}
    run = Run("word2vec", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, guesses, _ = prepare(epochs, batch_size, lr, device, compile, run.folder, method)
    begun = time.perf_counter()
    history = trainer.fit(guesses, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    vectors, vocab = trainer.model.given.weight.detach(), PTB().vocab
    lampion.save({"vectors": vectors}, run / "vectors.safetensors")
    vocab.save(run / "vocab.json")
    history.save(run / "history.csv")
    viz.curves(history, run / "curves.png", f"word2vec ({method}), seed {seed}")
    viz.similarities(SHOWN, vectors[vocab.encode(SHOWN)], run / "similarities.png", f"word2vec: {method}")
    ranks = {}
    for a, b, c, right in ANALOGIES:
        found = [word for word, _ in analogy(a, b, c, vocab, vectors, top=len(vocab), unit=False)]
        ranks[f"{c}-{right}"] = found.index(right) + 1
        print(f"{a} is to {b} as {c} to {', '.join(found[:5])} ({right} is number {ranks[f'{c}-{right}']})")
    return run.finish(loss=history["loss"][-1], ranks=ranks, seconds=round(seconds, 3))


if __name__ == "__main__":
    train()
