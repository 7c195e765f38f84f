"""A language model of newspaper text: one LSTM layer of 100, the next word from all words before it.

    lampion train rnnlm-lstm

trains it on the Penn Treebank, and leaves weights, history, curves and texts of its own in a folder under
runs/.

This is the book's Rnnlm with a little dropout, trained with the book's large steps along clipped gradients;
but the rate of 20 falls linearly to 0 in the last two thirds of the run. (Perplexities are of all
words but the first, with a state that is carried through the whole text, read as ten parts side by side.
With seed 0: 105.83 on the test text; the book's figure is 136.08.)
"""

import time
from typing import Any

import lampion
from lampion import nn, viz
from lampion.datasets import PTB
from lampion.optim import SGD
from lampion.optim.lr_scheduler import LambdaLR
from lampion.text import EveryWord, SequentialBatches, write_samples
from lampion.training import Checkpoint, CSVLogger, ProgressBar, Run, Schedule, SequenceTrainer


class Rnnlm(nn.Module):
    """Words (B, T) in, scores of the words that follow, (B, T, V), out; and the state, to go on with."""

    def __init__(self, words: int, width: int = 100, dropout: float = 0.25) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.output = nn.Linear(width, words)
        self.dropout = nn.Dropout(dropout)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.uniform_(self.output.weight, -0.1, 0.1)

    def forward(self, words: Any, state: Any = None) -> Any:
        h, state = self.lstm(self.dropout(self.embedding(words)), state)  # (B, T, width)
        return self.output(self.dropout(h)), state


def prepare(
    epochs: int, batch_size: int, lr: float, device: str, compile: bool, out: Any = None
) -> tuple[SequenceTrainer, SequentialBatches, EveryWord]:
    """The trainer, the text to learn from in batches, and the text to test on while learning."""
    data, valid = PTB("train"), PTB("valid")
    batches = SequentialBatches(data.corpus, batch_size, time_size=35, shift=True)
    model = Rnnlm(len(data.vocab)).to(device)
    optimizer = SGD(model.parameters(), lr=lr)
    steps = epochs * len(batches)
    rate = LambdaLR(optimizer, lambda step: min(1.0, 1.5 * (1 - step / steps)))
    trainer = SequenceTrainer(
        model, optimizer, clip_norm=0.25, scheduler=Schedule(rate, every="step"),
        callbacks=[ProgressBar(), CSVLogger(), Checkpoint(keep=1)], compile=compile, out=out,
    )  # fmt: skip
    return trainer, batches, EveryWord(valid.corpus, 10, 35)


def train(
    epochs: int = 12, batch_size: int = 20, lr: float = 20.0, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("rnnlm-lstm", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, batches, valid = prepare(epochs, batch_size, lr, device, compile, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(batches, valid, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    model, test = trainer.model, PTB("test")
    lampion.save(model.state_dict(), run / "model.safetensors")
    found = trainer.evaluate(EveryWord(test.corpus, 10, 35))
    title = f"rnnlm-lstm, seed {seed}: test perplexity {found['perplexity']:.1f} (training: with dropout)"
    viz.curves(history, run / "curves.png", title)
    beginning = ["the", "meaning", "of", "life", "is"]
    write_samples(run / "text.txt", model, test.vocab, beginning, length=60, skip=["<unk>", "N"])
    return run.finish(test_perplexity=found["perplexity"], test_loss=found["loss"], seconds=round(seconds, 3))


if __name__ == "__main__":
    train()
