"""Language models: an embedding, recurrent layers, and a score for each of 10,000 words.

Each batch starts with a state of zeros. Training hands the state on from batch to batch, which costs nothing
that could be measured here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.contenders import TORCH_OPTIM
from benchmarks.harness import Target, Times
from benchmarks.training import Arrays, Training, jax_cross_entropy

WORDS, BATCH, LENGTH = 10_000, 20, 35
TOKENS = BATCH * LENGTH
GATES = {"LSTM": 4, "GRU": 3}


@dataclass(frozen=True)
class Language:
    """One of these models.

    Attributes:
        kind: the name of the layer in `nn`.
        width: of word vectors and states.
        dropout: the probability of dropping a feature, before, between and behind the layers.
        tied: whether the scores use the word vectors as weights.
    """

    kind: str
    width: int = 100
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    tied: bool = False

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def network(self, nn: Any) -> Any:
        """The model, under `torch.nn` or `lampion.nn`."""
        library, of = importlib.import_module(nn.__name__.partition(".")[0]), self

        class Model(nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.words = nn.Embedding(WORDS, of.width)
                self.drop = nn.Dropout(of.dropout)
                self.layers = getattr(nn, of.kind)(
                    of.width, of.width, of.layers, dropout=of.dropout, bidirectional=of.bidirectional
                )
                if of.tied:
                    self.bias = nn.Parameter(library.zeros(WORDS))
                else:
                    self.scores = nn.Linear(of.width * of.directions, WORDS)

            def forward(self, text: Any) -> Any:  # (T, N)
                h, _ = self.layers(self.drop(self.words(text)))
                h = self.drop(h)
                return nn.functional.linear(h, self.words.weight, self.bias) if of.tied else self.scores(h)

        return Model()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The network's state_dict: names and shapes."""
        found: dict[str, tuple[int, ...]] = {"words.weight": (WORDS, self.width)}
        for layer in range(self.layers):
            inputs = self.width * (self.directions if layer else 1)
            for suffix in ("", "_reverse")[: self.directions]:
                found |= layer_shapes(f"layers.{{}}_l{layer}{suffix}", self.kind, inputs, self.width)
        if self.tied:
            return found | {"bias": (WORDS,)}
        return found | {"scores.weight": (WORDS, self.width * self.directions), "scores.bias": (WORDS,)}

    def jax_loss(self, jax: Any, w: Any, x: Any, y: Any, key: Any = None) -> Any:
        keys = iter(jax.random.split(key, self.layers + 1) if self.dropout else ())

        def drop(h: Any) -> Any:
            if not self.dropout:
                return h
            keep = 1 - self.dropout
            return jax.numpy.where(jax.random.bernoulli(next(keys), keep, h.shape), h / keep, 0)

        h = w["words.weight"][x]
        for layer in range(self.layers):
            h = drop(h)
            names = [f"layers.{{}}_l{layer}{end}" for end in ("", "_reverse")[: self.directions]]
            ways = [jax_layer(jax, self.kind, w, name, h, bool(i))[0] for i, name in enumerate(names)]
            h = jax.numpy.concatenate(ways, -1)
        h = drop(h)
        weight, bias = ("words.weight", "bias") if self.tied else ("scores.weight", "scores.bias")
        return jax_cross_entropy(jax, (h @ w[weight].T + w[bias]).reshape(-1, WORDS), y.reshape(-1))

    @property
    def products(self) -> int:
        """Floating-point operations of a step's products: forward, and the gradients of both factors."""
        inside = sum(
            self.directions * GATES[self.kind] * self.width * (self.width + inputs)
            for inputs in [self.width, *[self.width * self.directions] * (self.layers - 1)]
        )
        return 3 * 2 * TOKENS * (inside + self.width * self.directions * WORDS)

    def training(
        self, name: str, title: str, optimizer: tuple[str, dict[str, float]], clip: float | None = None,
        tolerance: dict[int, float] | None = None,
    ) -> Training:  # fmt: skip
        found = tolerance or {1: 2e-6, 10: 5e-5, 50: 1e-3}
        return Training(
            name=name,
            title=title,
            network=self.network,
            loss=loss,
            jax_loss=self.jax_loss,
            shapes=self.shapes(),
            batch=batch,
            optimizer=optimizer,
            clip=clip,
            random=self.dropout > 0,
            checked=tuple(found),
            pool=16,
            gflop=self.products / 1e9,
            tolerance=found,
        )


def loss(functional: Any, model: Any, x: Any, y: Any) -> Any:
    return functional.cross_entropy(model(x).view(-1, WORDS), y.view(-1))


def batch(rng: np.random.Generator) -> Arrays:
    """Texts in which a word often, not always, decides the next one; common words are common."""
    text = np.empty((LENGTH + 1, BATCH), np.int64)
    random = (WORDS ** rng.random((LENGTH + 1, BATCH))).astype(np.int64) - 1  # the k-th as often as 1/k
    surprise = rng.random((LENGTH + 1, BATCH)) < 0.4
    text[0] = random[0]
    for place in range(LENGTH):
        text[place + 1] = np.where(surprise[place], random[place], (text[place] * 7 + 3) % WORDS)
    return np.ascontiguousarray(text[:-1]), np.ascontiguousarray(text[1:])


def layer_shapes(name: str, kind: str, inputs: int, width: int) -> dict[str, tuple[int, ...]]:
    """The parameters of one layer in one direction; `name` has a place for what each is."""
    gates = GATES[kind] * width
    return {
        name.format("weight_ih"): (gates, inputs),
        name.format("weight_hh"): (gates, width),
        name.format("bias_ih"): (gates,),
        name.format("bias_hh"): (gates,),
    }


def jax_layer(
    jax: Any, kind: str, w: Any, name: str, x: Any, reverse: bool = False, state: Any = None
) -> tuple[Any, Any]:
    """One layer in one direction over (T, N, features): the outputs at each step, and the last state.

    As one would write it for speed: the input's product for all steps at once, in front of the scan.
    """
    jnp = jax.numpy
    w_ih, w_hh, b_ih, b_hh = (w[name.format(p)] for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    gates = x @ w_ih.T + b_ih
    zeros = jnp.zeros((x.shape[1], w_hh.shape[1]), x.dtype)

    def lstm(state: Any, gates: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(gates + h @ w_hh.T + b_hh, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(h: Any, gates: Any) -> Any:
        (r, z, n), (hr, hz, hn) = jnp.split(gates, 3, -1), jnp.split(h @ w_hh.T + b_hh, 3, -1)
        r, z = jax.nn.sigmoid(r + hr), jax.nn.sigmoid(z + hz)
        n = jnp.tanh(n + r * hn)
        h = n + z * (h - n)
        return h, h

    if kind == "LSTM":
        last, outputs = jax.lax.scan(lstm, (zeros, zeros) if state is None else state, gates, reverse=reverse)
    else:
        last, outputs = jax.lax.scan(gru, zeros if state is None else state, gates, reverse=reverse)
    return outputs, last


def targets(
    products: int, times_torch: float, share: float | None, eager: float | None = None
) -> Callable[[Times, float], list[Target]]:
    """What is promised of such a model.

    Args:
        times_torch: how many times as fast as the best PyTorch a compiled step has to be.
        share: of the FMA peak that it has to use.
        eager: how many times as fast as PyTorch's eager step Lampion's has to be.
    """

    def found(times: Times, peak: float) -> list[Target]:
        if "lampion compiled" not in times:
            return []
        ours, made = times.us("lampion compiled"), []
        bound = None if share is None else f">= {share}"
        made.append(Target("compiled, share of the FMA peak", products / (ours * 1e3) / peak, bound))
        if best := times.best(TORCH_OPTIM):
            ratio = times.ratio(best, "lampion compiled")
            made.append(Target(f"compiled against {best}", ratio, f">= {times_torch}", "x"))
        if "jax jit" in times:
            made.append(
                Target("compiled against jax jit", times.ratio("jax jit", "lampion compiled"), None, "x")
            )
        best = times.best(("torch eager", "torch eager unlocked"))
        if best and "lampion eager" in times:
            bound = None if eager is None else f">= {eager}"
            made.append(Target(f"eager against {best}", times.ratio(best, "lampion eager"), bound, "x"))
        return made

    return found
