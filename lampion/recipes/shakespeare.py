"""Shakespeare, character by character: a GPT of four layers, small enough for a processor.

    lampion train shakespeare

trains it on 1.1 million characters, and leaves weights, history, curves and texts of its own in a folder
under runs/.

The network is nanoGPT's with the settings that it gives for a processor, and so are the 2,000 steps with 12
pieces of 64 characters; the learning rate is three times its rate, and falls to 0. An epoch is 250 steps.
(The validation loss is that of the whole last tenth of the text but its first character, in pieces of 64:
each character knows those before it in its piece. With seeds 0 to 2 it is 1.77, 1.78 and 1.78;
nanoGPT tells of 1.88.)
"""

import math
import time
from functools import partial
from typing import Any

import lampion
from lampion import nn, viz
from lampion.datasets import TinyShakespeare
from lampion.errors import ShapeError
from lampion.nn import functional as F
from lampion.optim import AdamW
from lampion.optim.lr_scheduler import LambdaLR
from lampion.text import EveryWord, KeyValueCache, RandomPieces, write_samples
from lampion.training import Checkpoint, CSVLogger, ProgressBar, Run, Schedule, SequenceTrainer

LAYERS, HEADS, WIDTH, BLOCK = 4, 4, 128, 64  # BLOCK: how many characters it sees at once


class Attention(nn.Module):
    """Each place takes from the places before it, and from itself, what its query asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(WIDTH, 3 * WIDTH, bias=False)  # queries, keys and values
        self.outward = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Any, attend: Any) -> Any:  # (B, T, width)
        B, T, _ = x.shape
        q, k, v = (part.view(B, T, HEADS, -1).transpose(1, 2) for part in self.inward(x).chunk(3, -1))
        y = attend(q, k, v)  # (B, heads, T, width / heads)
        return self.outward(y.transpose(1, 2).reshape(B, T, WIDTH))


class Block(nn.Module):
    """Attention, then two layers for each place alone; what they find is added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH, bias=False), Attention()
        self.norm2, self.inward = nn.LayerNorm(WIDTH, bias=False), nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.outward = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Any, attend: Any) -> Any:
        x = x + self.attention(self.norm1(x), attend)
        return x + self.outward(F.gelu(self.inward(self.norm2(x))))


class GPT(nn.Module):
    """Characters (B, T) in, scores of the characters that follow, (B, T, V), out.

    The state is nothing while it learns, and a `KeyValueCache` while it writes.
    """

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(characters, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.norm, self.output = nn.LayerNorm(WIDTH, bias=False), nn.Linear(WIDTH, characters, bias=False)
        self.output.weight = self.characters.weight
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, 0.0, 0.02 / math.sqrt(2 * LAYERS) if "outward" in name else 0.02)

    def forward(self, text: Any, state: Any = ()) -> Any:
        T, cache = text.shape[1], state if isinstance(state, KeyValueCache) else None
        if T > BLOCK:
            raise ShapeError("GPT", "the text is longer than there are places", expected=f"{BLOCK} at most",
                             got=str(T), fix=f"cut it: text[:, -{BLOCK}:]")  # fmt: skip
        places = lampion.arange(T) if cache is None else cache.positions(T)
        x = self.characters(text) + self.places(places)
        for layer, block in enumerate(self.blocks):
            alone = partial(F.scaled_dot_product_attention, is_causal=True)
            x = block(x, alone if cache is None else partial(cache.attend, layer, at=places))
        return self.output(self.norm(x)), () if cache is None else cache


def prepare(
    epochs: int, batch_size: int, lr: float, device: str, compile: bool, out: Any = None
) -> tuple[SequenceTrainer, RandomPieces, EveryWord]:
    """The trainer, the text to learn from in batches, and the text to test on while learning."""
    data, valid = TinyShakespeare("train"), TinyShakespeare("valid")
    batches = RandomPieces(data.corpus, batch_size, BLOCK, batches=250)
    model = GPT(len(data.vocab)).to(device)
    groups = [{"params": [p for p in model.parameters() if (p.ndim == 2) == matrices],
               "weight_decay": 0.1 * matrices} for matrices in (True, False)]  # fmt: skip
    optimizer = AdamW(groups, lr=lr, betas=(0.9, 0.99))
    steps = epochs * len(batches)
    # Up to `lr` in 100 steps, and down to 0 at the end.
    rate = LambdaLR(optimizer, lambda step: min((step + 1) / 100, (steps - step) / (steps - 100)))
    trainer = SequenceTrainer(
        model, optimizer, clip_norm=1.0, scheduler=Schedule(rate, every="step"),
        callbacks=[ProgressBar(), CSVLogger(), Checkpoint(keep=1)], compile=compile, out=out,
    )  # fmt: skip
    return trainer, batches, EveryWord(valid.corpus, 32, BLOCK)


def train(
    epochs: int = 8, batch_size: int = 12, lr: float = 3e-3, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("shakespeare", seed, out, resume=resume, **settings)
    lampion.manual_seed(seed)
    trainer, batches, valid = prepare(epochs, batch_size, lr, device, compile, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(batches, valid, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    lampion.save(trainer.model.state_dict(), run / "model.safetensors")
    loss, perplexity = history["validation_loss"][-1], history["validation_perplexity"][-1]
    viz.curves(history, run / "curves.png", f"shakespeare, seed {seed}: validation loss {loss:.3f}")
    vocab = TinyShakespeare("valid").vocab
    write_samples(run / "text.txt", Writer(trainer.model), vocab, "ROMEO:", length=300, separator="")
    return run.finish(validation_loss=loss, validation_perplexity=perplexity, seconds=round(seconds, 3))


class Writer(nn.Module):
    """The GPT with a state, to write with: the characters that it sees, and their keys and values."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, text: Any, state: Any) -> Any:
        seen, cache = state or (text[:, :0], KeyValueCache(LAYERS, 1, HEADS, BLOCK, WIDTH // HEADS))
        seen = lampion.cat([seen, text], 1)
        if seen.shape[1] > BLOCK:  # all places are taken: it goes on from the second half of what it sees
            text = seen = seen[:, -BLOCK // 2 :]
            cache.reset()
        return self.model(text, cache)[0], (seen, cache)


if __name__ == "__main__":
    train()
