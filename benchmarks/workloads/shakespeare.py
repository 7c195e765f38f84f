"""The recipe `shakespeare` from beginning to end, 2,000 steps, beside the same training written with PyTorch.

All start from the same weights and read the same pieces of text; the time is that of the steps and of eight
measurements on held-out text, compilation included (with an empty cache), imports left out.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.harness import Options, Target, ask_child
from benchmarks.unlocked import preload_library

EPOCHS, BATCH, RATE = 8, 12, 3e-3


def torch_network(recipe: Any) -> Any:
    """The recipe's GPT, in PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    width, heads = recipe.WIDTH, recipe.HEADS

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inward = nn.Linear(width, 3 * width, bias=False)
            self.outward = nn.Linear(width, width, bias=False)

        def forward(self, x: Any) -> Any:
            batch, length, _ = x.shape
            q, k, v = (part.view(batch, length, heads, -1).transpose(1, 2)
                       for part in self.inward(x).chunk(3, -1))  # fmt: skip
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.outward(y.transpose(1, 2).reshape(batch, length, width))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.attention = nn.LayerNorm(width, bias=False), Attention()
            self.norm2, self.inward = nn.LayerNorm(width, bias=False), nn.Linear(width, 4 * width, bias=False)
            self.outward = nn.Linear(4 * width, width, bias=False)

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm1(x))
            return x + self.outward(functional.gelu(self.inward(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self, characters: int) -> None:
            super().__init__()
            self.characters = nn.Embedding(characters, width)
            self.places = nn.Embedding(recipe.BLOCK, width)
            self.blocks = nn.ModuleList([Block() for _ in range(recipe.LAYERS)])
            self.norm, self.output = nn.LayerNorm(width, bias=False), nn.Linear(width, characters, bias=False)
            self.output.weight = self.characters.weight

        def forward(self, text: Any) -> Any:
            x = self.characters(text) + self.places(torch.arange(text.shape[1]))
            for block in self.blocks:
                x = block(x)
            return self.output(self.norm(x))

    return GPT


def torch_training(mode: str, epochs: int) -> dict[str, Any]:
    """The training as one writes it with PyTorch; weights and batches are the recipe's, bit for bit."""
    import torch
    from torch.nn import functional

    import lampion
    from lampion.recipes import shakespeare as recipe

    lampion.manual_seed(0)
    trainer, batches, held_out = recipe.prepare(epochs, BATCH, RATE, "cpu", False)
    given = {name: torch.from_numpy(x.numpy().copy()) for name, x in trainer.model.state_dict().items()}
    model = torch_network(recipe)(given["characters.weight"].shape[0])
    model.load_state_dict(given)
    groups = [
        {"params": [p for p in model.parameters() if (p.ndim == 2) == two], "weight_decay": 0.1 * two}
        for two in (True, False)
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99), fused=mode == "fused")
    steps = epochs * len(batches)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 100, (steps - step) / (steps - 100))
    )

    def loss_of(text: Any, targets: Any) -> Any:
        scores = model(text)
        return functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=-100)

    def step(text: Any, targets: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(text, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    def measure(text: Any, targets: Any) -> Any:
        with torch.no_grad():
            return loss_of(text, targets)

    if mode == "compile":
        step, measure = torch.compile(step), torch.compile(measure)

    def tensors(loader: Any) -> Any:
        return ((torch.from_numpy(x.numpy()), torch.from_numpy(y.numpy())) for x, y in loader)

    losses = []
    begun = time.perf_counter()
    for _ in range(epochs):
        model.train()
        for text, targets in tensors(batches):
            step(text, targets).item()  # as the recipe, which adds them up
            scheduler.step()
        model.eval()
        total, count = 0.0, 0
        for text, targets in tensors(held_out):
            size = int((targets >= 0).sum())
            total, count = total + size * measure(text, targets).item(), count + size
        losses.append(total / count)
    return {"seconds": time.perf_counter() - begun, "losses": losses, "version": torch.__version__}


def lampion_training(epochs: int) -> dict[str, Any]:
    """The recipe itself, without its pictures and texts."""
    import lampion
    from lampion.recipes import shakespeare as recipe

    lampion.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        trainer, batches, held_out = recipe.prepare(epochs, BATCH, RATE, "cpu", True, folder)
        begun = time.perf_counter()
        history = trainer.fit(batches, held_out, epochs=epochs)
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "losses": history["validation_loss"], "version": lampion.__version__}


OURS = "lampion compiled"
PEERS = tuple(f"torch {mode}{kind}" for mode in ("eager", "fused", "compile") for kind in ("", " unlocked"))


def measured(name: str, epochs: int, options: Options) -> dict[str, Any] | None:
    """One contender's run, in a process of its own with empty caches; None where it cannot run here."""
    if name not in options.contenders:
        return None
    if reason := CONTENDERS[name].missing():
        options.say(f"shakespeare: without {name}: {reason}")
        return None
    options.say(f"shakespeare: {name}")
    with tempfile.TemporaryDirectory() as cache:
        variables = {"LAMPION_CACHE_DIR": cache, "TORCHINDUCTOR_CACHE_DIR": cache}
        if CONTENDERS[name].unlocked:
            variables["LD_PRELOAD"] = str(preload_library())
        mode = "lampion" if name == OURS else CONTENDERS[name].options["mode"]
        return ask_child(__name__, mode, str(epochs), timeout=3600, **variables)


def run(options: Options) -> dict[str, Any]:
    epochs = 1 if options.quick else EPOCHS
    found = {name: one for name in (OURS, *PEERS) if (one := measured(name, epochs, options)) is not None}
    facts: dict[str, Any] = {"steps": 250 * epochs, "batch": BATCH, "learning rate": RATE, "seed": 0}
    for name, one in found.items():
        facts[f"{name}: seconds"] = round(one["seconds"], 2)
        facts[f"{name}: validation loss after each 250 steps"] = ", ".join(f"{x:.4f}" for x in one["losses"])
    targets = []
    if ours := found.pop(OURS, None):
        bound = None if options.quick else "<= 1.88"
        targets.append(Target("validation loss", ours["losses"][-1], bound))
        if found:
            best = min(found, key=lambda name: found[name]["seconds"])
            ratio = found[best]["seconds"] / ours["seconds"]
            targets.append(Target(f"the whole run against {best}", ratio, ">= 1", "x"))
    return {
        "workload": "shakespeare",
        "title": "the recipe shakespeare: 2,000 steps of a small GPT from beginning to end",
        "kind": "facts",
        "facts": facts,
        "targets": [target.record() for target in targets],
    }


if __name__ == "__main__":
    wanted, count = sys.argv[1], int(sys.argv[2])
    print(json.dumps(lampion_training(count) if wanted == "lampion" else torch_training(wanted, count)))
