"""Shakespeare, character by character: an LSTM of 256, which carries its state through the whole text.

    lampion train shakespeare-lstm

trains it on 1.1 million characters, and leaves weights, history, curves and texts of its own in a folder
under runs/.

(The validation loss is that of the whole last tenth of the text but its first character, read as ten parts
side by side with a state that is carried on.)
"""

import time
from typing import Any

import lampion
from lampion import nn, viz
from lampion.datasets import TinyShakespeare
from lampion.optim import Adam
from lampion.optim.lr_scheduler import LambdaLR
from lampion.text import EveryWord, SequentialBatches, write_samples
from lampion.training import Checkpoint, CSVLogger, ProgressBar, Run, Schedule, SequenceTrainer


class CharLstm(nn.Module):
    """Characters (B, T) in, scores of those that follow, (B, T, V), out; and the state, to go on with."""

    def __init__(self, characters: int, width: int = 256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, 64)
        self.lstm = nn.LSTM(64, width, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.output = nn.Linear(width, characters)

    def forward(self, text: Any, state: Any = None) -> Any:
        h, state = self.lstm(self.embedding(text), state)  # (B, T, width)
        return self.output(self.dropout(h)), state


def prepare(
    epochs: int, batch_size: int, lr: float, device: str, compile: bool, out: Any = None
) -> tuple[SequenceTrainer, SequentialBatches, EveryWord]:
    """The trainer, the text to learn from in batches, and the text to test on while learning."""
    data, valid = TinyShakespeare("train"), TinyShakespeare("valid")
    batches = SequentialBatches(data.corpus, batch_size, time_size=64, shift=True)
    model = CharLstm(len(data.vocab)).to(device)
    optimizer = Adam(model.parameters(), lr=lr)
    steps = epochs * len(batches)
    rate = LambdaLR(optimizer, lambda step: 1 - step / steps)
    trainer = SequenceTrainer(
        model, optimizer, clip_norm=1.0, scheduler=Schedule(rate, every="step"),
        callbacks=[ProgressBar(), CSVLogger(), Checkpoint(keep=1)], compile=compile, out=out,
    )  # fmt: skip
    return trainer, batches, EveryWord(valid.corpus, 10, 64)


def train(
    epochs: int = 10, batch_size: int = 32, lr: float = 4e-3, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("shakespeare-lstm", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, batches, valid = prepare(epochs, batch_size, lr, device, compile, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(batches, valid, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    lampion.save(trainer.model.state_dict(), run / "model.safetensors")
    loss, perplexity = history["validation_loss"][-1], history["validation_perplexity"][-1]
    viz.curves(history, run / "curves.png", f"shakespeare-lstm, seed {seed}: validation loss {loss:.3f}")
    vocab = TinyShakespeare("valid").vocab
    write_samples(run / "text.txt", trainer.model, vocab, "ROMEO:", length=300, separator="")
    return run.finish(validation_loss=loss, validation_perplexity=perplexity, seconds=round(seconds, 3))


if __name__ == "__main__":
    train()
