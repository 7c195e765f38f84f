"""A small GPT over characters: 4 layers of 128, 4 heads, 16 texts of 128 characters, Adam.

The network is nanoGPT's: blocks that normalise first, exact GELU, learned positions; the output layer has
weights of its own.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import numpy as np

from benchmarks.contenders import TORCH_OPTIM
from benchmarks.harness import Options, Target, Times, race
from benchmarks.training import Arrays, Training, jax_cross_entropy

LAYERS, WIDTH, HEADS, BATCH, LENGTH, CHARACTERS = 4, 128, 4, 16, 128, 65
HEAD = WIDTH // HEADS


def network(nn: Any, written_out: bool = False) -> Any:
    """The network, under `torch.nn` or `lampion.nn`.

    Attention is `scaled_dot_product_attention`, or, `written_out`, its products, mask and softmax.
    """
    library = importlib.import_module(nn.__name__.partition(".")[0])
    written_out = written_out or not hasattr(nn.functional, "scaled_dot_product_attention")

    class Attention(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inward, self.outward = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            if written_out:
                later = library.ones(LENGTH, LENGTH, dtype=library.bool).triu(1)
                self.register_buffer("later", later, persistent=False)

        def forward(self, x: Any) -> Any:  # (B, T, width)
            split = self.inward(x).split(WIDTH, dim=2)
            q, k, v = (
                part.view(BATCH, LENGTH, HEADS, HEAD).transpose(1, 2) for part in split
            )  # (B, h, T, head)
            y = self.attend(q, k, v)
            return self.outward(y.transpose(1, 2).contiguous().view(BATCH, LENGTH, WIDTH))

        def attend(self, q: Any, k: Any, v: Any) -> Any:
            if not written_out:
                return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            scores = q @ k.transpose(2, 3) * HEAD**-0.5  # (B, h, T, T)
            return scores.masked_fill(self.later, float("-inf")).softmax(-1) @ v

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention()
            self.norm2 = nn.LayerNorm(WIDTH)
            self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.characters, self.places = nn.Embedding(CHARACTERS, WIDTH), nn.Embedding(LENGTH, WIDTH)
            self.blocks = nn.Sequential(*[Block() for _ in range(LAYERS)])
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CHARACTERS, bias=False)

        def forward(self, text: Any) -> Any:  # (B, T)
            x = self.characters(text) + self.places.weight
            return self.head(self.norm(self.blocks(x)))

    return GPT()


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    return functional.cross_entropy(model(x).view(-1, CHARACTERS), y.view(-1))


def jax_loss(jax: Any, w: Any, x: Any, y: Any, written_out: bool = False) -> Any:
    jnp = jax.numpy

    def linear(name: str, x: Any) -> Any:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def attend(q: Any, k: Any, v: Any) -> Any:  # each (B, T, h, head)
        if not written_out:
            return jax.nn.dot_product_attention(q, k, v, is_causal=True)
        scores = jnp.einsum("bthd,bshd->bhts", q, k) * HEAD**-0.5
        scores = jnp.where(jnp.tril(jnp.ones((LENGTH, LENGTH), bool)), scores, -jnp.inf)
        return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), v)

    h = w["characters.weight"][x] + w["places.weight"]
    for block in (f"blocks.{i}" for i in range(LAYERS)):
        split = jnp.split(linear(f"{block}.attention.inward", norm(f"{block}.norm1", h)), 3, axis=2)
        mixed = attend(*(part.reshape(BATCH, LENGTH, HEADS, HEAD) for part in split))
        h = h + linear(f"{block}.attention.outward", mixed.reshape(BATCH, LENGTH, WIDTH))
        hidden = jax.nn.gelu(linear(f"{block}.mlp.0", norm(f"{block}.norm2", h)), approximate=False)
        h = h + linear(f"{block}.mlp.2", hidden)
    logits = norm("norm", h) @ w["head.weight"].T
    return jax_cross_entropy(jax, logits.reshape(-1, CHARACTERS), y.reshape(-1))


def batch(rng: np.random.Generator) -> Arrays:
    """Texts in which a character often, not always, decides the next one; what follows each is the label."""
    text = np.empty((BATCH, LENGTH + 1), np.int64)
    text[:, 0] = rng.integers(0, CHARACTERS, BATCH)
    surprise = rng.random((BATCH, LENGTH)) < 0.4
    random = rng.integers(0, CHARACTERS, (BATCH, LENGTH))
    for place in range(LENGTH):
        text[:, place + 1] = np.where(
            surprise[:, place], random[:, place], (text[:, place] * 7 + 3) % CHARACTERS
        )
    return np.ascontiguousarray(text[:, :-1]), np.ascontiguousarray(text[:, 1:])


def shapes() -> dict[str, tuple[int, ...]]:
    """The network's state_dict: names and shapes, in order."""
    found: dict[str, tuple[int, ...]] = {
        "characters.weight": (CHARACTERS, WIDTH),
        "places.weight": (LENGTH, WIDTH),
    }

    def linear(name: str, inputs: int, outputs: int) -> None:
        found.update({f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)})

    def norm(name: str) -> None:
        found.update({f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)})

    for block in (f"blocks.{i}" for i in range(LAYERS)):
        norm(f"{block}.norm1")
        linear(f"{block}.attention.inward", WIDTH, 3 * WIDTH)
        linear(f"{block}.attention.outward", WIDTH, WIDTH)
        norm(f"{block}.norm2")
        linear(f"{block}.mlp.0", WIDTH, 4 * WIDTH)
        linear(f"{block}.mlp.2", 4 * WIDTH, WIDTH)
    norm("norm")
    found["head.weight"] = (CHARACTERS, WIDTH)
    return found


TOKENS = BATCH * LENGTH
LINEAR = 2 * TOKENS * WIDTH * (LAYERS * 12 * WIDTH + CHARACTERS)  # forward
ATTENTION = 2 * LAYERS * BATCH * LENGTH * LENGTH * WIDTH  # forward: two products, the half that is not masked
# Forward, and the gradients of both factors of each product. Nothing is counted that is computed twice.
PRODUCTS = 3 * (LINEAR + ATTENTION)


def training(name: str, title: str, written_out: bool) -> Training:
    return Training(
        name=name,
        title=title,
        network=partial(network, written_out=written_out),
        loss=loss,
        jax_loss=partial(jax_loss, written_out=written_out),
        shapes=shapes(),
        batch=batch,
        optimizer=("Adam", {"lr": 0.001}),
        checked=(1, 10, 50),
        pool=16,
        gflop=PRODUCTS / 1e9,
        tolerance={1: 2e-6, 10: 1e-5, 50: 1e-4},
    )


TRAINING = training("chargpt", "char-GPT: 4 layers, d=128, 4 heads, 16x128 characters, Adam", False)


def targets(times: Times, peak: float) -> list[Target]:
    if "lampion compiled" not in times:
        return []
    ours = times.us("lampion compiled")
    share = PRODUCTS / (ours * 1e3) / peak
    whole = (PRODUCTS + 3 * ATTENTION) / (ours * 1e3) / peak
    found = [
        Target("compiled, share of the FMA peak", share, ">= 0.65"),
        Target("the same with the masked half of attention counted as work", whole, None),
    ]
    if best := times.best(TORCH_OPTIM):
        found.append(Target(f"compiled against {best}", times.ratio(best, "lampion compiled"), ">= 1.4", "x"))
    if hand := times.best(("torch one-graph", "torch one-graph unlocked")):
        found.append(Target(f"compiled against {hand}", times.ratio(hand, "lampion compiled"), None, "x"))
    if "jax jit" in times:
        found.append(
            Target("compiled against jax jit", times.ratio("jax jit", "lampion compiled"), ">= 1", "x")
        )
    return found


def run(options: Options) -> dict[str, Any]:
    return race(TRAINING, options, targets)
