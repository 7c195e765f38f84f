"""The missing word: a GRU reads newspaper text from both ends, and fills in what is between.

    lampion train cloze

trains it on the Penn Treebank, and leaves weights, history, curves and its guesses in a folder under runs/.

A language model may not look ahead; who fills a gap may. One direction of the layer has read all words
before the gap, the other all words after it, and neither the word itself. (The perplexity is that of each
word of the text, given all others in its piece of 70. It is not a language model's: there the words that
follow are unknown.)
"""

import time
from typing import Any

import lampion
from lampion import nn, viz
from lampion.datasets import PTB
from lampion.nn import functional as F
from lampion.optim import Adam
from lampion.optim.lr_scheduler import LambdaLR
from lampion.text import EveryWord, SequentialBatches
from lampion.training import Checkpoint, CSVLogger, ProgressBar, Run, Schedule, SequenceTrainer
from lampion.utils.files import write_file


class Cloze(nn.Module):
    """Words (B, T) in; out come scores, (B, T, V): place t is about word t + 1, without having read it."""

    def __init__(self, words: int, width: int = 100, dropout: float = 0.4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.gru = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * width, words)
        self.dropout = nn.Dropout(dropout)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.uniform_(self.output.weight, -0.1, 0.1)

    def forward(self, words: Any, state: Any = ()) -> Any:
        h, _ = self.gru(self.dropout(self.embedding(words)))  # (B, T, 2 width)
        before, after = h.chunk(
            2, -1
        )  # at t: what was read up to t, and what was read from the end down to t
        after = F.pad(
            after[:, 2:], (0, 0, 0, min(2, words.shape[1]))
        )  # beyond the end there is nothing to read
        return self.output(self.dropout(lampion.cat([before, after], -1))), ()


def prepare(
    epochs: int, batch_size: int, lr: float, device: str, compile: bool, out: Any = None
) -> tuple[SequenceTrainer, SequentialBatches, EveryWord]:
    """The trainer, the text to learn from in batches, and the text to test on while learning."""
    data, valid = PTB("train"), PTB("valid")
    batches = SequentialBatches(data.corpus, batch_size, time_size=70, shift=True)
    model = Cloze(len(data.vocab)).to(device)
    optimizer = Adam(model.parameters(), lr=lr)
    steps = epochs * len(batches)
    rate = LambdaLR(optimizer, lambda step: 1 - step / steps)
    trainer = SequenceTrainer(
        model, optimizer, clip_norm=1.0, scheduler=Schedule(rate, every="step"),
        callbacks=[ProgressBar(), CSVLogger(), Checkpoint(keep=1)], compile=compile, out=out,
    )  # fmt: skip
    return trainer, batches, EveryWord(valid.corpus, 10, 70)


def train(
    epochs: int = 10, batch_size: int = 20, lr: float = 4e-3, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("cloze", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, batches, valid = prepare(epochs, batch_size, lr, device, compile, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(batches, valid, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    model, test = trainer.model, PTB("test")
    lampion.save(model.state_dict(), run / "model.safetensors")
    found = trainer.evaluate(EveryWord(test.corpus, 10, 70))
    title = (
        f"cloze, seed {seed}: perplexity {found['perplexity']:.1f} of the test text (training: with dropout)"
    )
    viz.curves(history, run / "curves.png", title)
    write_file(run / "guesses.txt", guesses(model, test.vocab, test.corpus[:100]))
    return run.finish(test_perplexity=found["perplexity"], test_loss=found["loss"], seconds=round(seconds, 3))


def guesses(model: nn.Module, vocab: Any, words: Any, count: int = 3) -> str:
    """Each word of a text, and what the model would have put in its place."""
    model.eval()
    with lampion.no_grad():
        chances = model(words.unsqueeze(0))[0][0, :-1].softmax(-1)
    lines = []
    for word, row in zip(vocab.decode(words[1:]), chances, strict=True):
        best = row.topk(count)
        found = zip(vocab.decode(best.indices), best.values.tolist(), strict=True)
        lines.append(f"{word:16} {', '.join(f'{guess} {chance:.0%}' for guess, chance in found)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    train()
